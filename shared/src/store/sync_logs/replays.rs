//! Replays of deliveries: what was asked for, and what has become of each delivery.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};

use super::{Attributes, SyncLogs, TABLE, key, row};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, EventId, Replay, ReplayId, Replayed, TenantScope};
use crate::store::StoreError;

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
        let items = self.entries(scope, configuration, &replayed_prefix(id)).await?;
        items.iter().map(|item| Attributes { table: TABLE, item }.unpacked("replayed")).collect()
    }
}

fn replay_entry(replay: ReplayId) -> String {
    format!("replay#{replay}")
}

fn replayed_prefix(replay: ReplayId) -> String {
    format!("replayed#{replay}#")
}
