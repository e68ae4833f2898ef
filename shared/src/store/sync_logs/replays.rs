//! Replays of deliveries: what was asked for, and what has become of each delivery.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};

use super::{Attributes, SyncLogs, TABLE, key, row};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, EventId, Replay, ReplayId, Replayed, TenantScope};
use crate::store::item::text;
use crate::store::{StoreError, configuration_key};

impl SyncLogs {
    /// The write that begins a replay, on the condition that there is none of its id.
    pub(crate) fn write_replay(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        replay: &Replay,
    ) -> Result<TransactWriteItem, StoreError> {
        let item = row(key(scope, configuration, &replay_entry(replay.id)), "replay", replay)?;
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = put.condition_expression("attribute_not_exists(entry)").build();
        let put = put.map_err(|error| AwsError::new("begin a replay", error))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// A replay.
    pub async fn find_replay(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        id: ReplayId,
    ) -> Result<Option<Replay>, StoreError> {
        let item = self.get(key(scope, configuration, &replay_entry(id))).await?;
        item.map(|item| Attributes { table: TABLE, item: &item }.unpacked("replay")).transpose()
    }

    /// Writes what a replay has made of a delivery. Whoever does so again writes the same.
    pub async fn put_replayed(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        event: &EventId,
        replayed: &Replayed,
    ) -> Result<(), StoreError> {
        let entry = format!("{}{event}", replayed_prefix(replayed.replay_id));
        let item = row(key(scope, configuration, &entry), "replayed", replayed)?;
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        request.send().await.map(drop).map_err(|error| AwsError::new("write what a replay has made", error).into())
    }

    /// What a replay has made of its deliveries so far, in no order.
    pub async fn list_replayed(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        id: ReplayId,
    ) -> Result<Vec<Replayed>, StoreError> {
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("configuration_key = :configuration AND begins_with(entry, :replayed)")
                .expression_attribute_values(":configuration", text(configuration_key(scope, configuration)))
                .expression_attribute_values(":replayed", text(replayed_prefix(id)))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| AwsError::new("list what a replay has made", error))?;
            for item in answer.items() {
                found.push(Attributes { table: TABLE, item }.unpacked("replayed")?);
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(found);
            }
        }
    }
}

fn replay_entry(replay: ReplayId) -> String {
    format!("replay#{replay}")
}

fn replayed_prefix(replay: ReplayId) -> String {
    format!("replayed#{replay}#")
}
