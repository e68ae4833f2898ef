//! The end of a configuration: its item, claims and door go, a tombstone and the audit rows stay.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use jiff::Timestamp;

use super::change::Part;
use super::door::door_key;
use super::{Changes, CommitError, Configurations, DUE_SHARDS, Item, StoreError, TABLE, claim_key, key};
use crate::aws::AwsError;
use crate::domain::{Configuration, ConfigurationId, ConfigurationStatus, Deletion, TenantScope};
use crate::store::audit::Actor;
use crate::store::budget::BudgetKey;
use crate::store::item::{due_shard, is_made, number, text, time, unreadable};

impl Configurations {
    /// Notes how far a removal is, if nobody else has moved it on. `false`: somebody has.
    pub async fn advance_removal(
        &self,
        scope: &TenantScope,
        id: ConfigurationId,
        (seen, next): (&Deletion, &Deletion),
    ) -> Result<bool, StoreError> {
        let value: aws_sdk_dynamodb::types::AttributeValue =
            serde_dynamo::to_attribute_value(next).map_err(|error| unreadable(TABLE, error))?;
        let step: aws_sdk_dynamodb::types::AttributeValue =
            serde_dynamo::to_attribute_value(seen.step).map_err(|error| unreadable(TABLE, error))?;
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, id)))
            .update_expression("SET deletion = :next, due_shard = :shard, due_at = :due_at")
            .condition_expression("deletion.due_at = :seen AND deletion.#step = :step")
            .expression_attribute_names("#step", "step")
            .expression_attribute_values(":next", value)
            .expression_attribute_values(":shard", due_shard(id, DUE_SHARDS))
            .expression_attribute_values(":due_at", time(next.due_at))
            .expression_attribute_values(":seen", text(seen.due_at))
            .expression_attribute_values(":step", step)
            .send()
            .await;
        is_made(result, "note a removal's progress")
    }

    /// Removes what is sealed of a configuration: after this nobody can act for its merchant through us.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::configurations::*};
    /// # async fn of(all: &Configurations, id: ConfigurationId) {
    /// let _ = all.drop_secrets(id).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::configurations::*};
    /// # async fn of(all: &Configurations, id: ConfigurationId, scope: TenantScope) {
    /// let _ = all.drop_secrets(&scope, id).await;
    /// # }
    /// ```
    pub async fn drop_secrets(&self, scope: &TenantScope, id: ConfigurationId) -> Result<(), StoreError> {
        self.note(scope, id, "REMOVE sealed_credentials, lease_owner, lease_until", []).await?;
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(door_key(id)));
        delete.send().await.map(drop).map_err(|error| AwsError::new("remove webhook secrets", error).into())
    }
}

impl Changes {
    /// The last step of a removal. Its request budget, and answers that were kept for repeated requests, are forgotten
    /// first: they show the configuration.
    pub async fn bury(
        &self,
        scope: &TenantScope,
        removed: &Configuration,
        deletion: &Deletion,
        actor: &Actor,
    ) -> Result<(), CommitError> {
        let Some(item) = self.configurations.get(key(scope, removed.id)).await? else { return Ok(()) };
        let mut forgotten = vec![BudgetKey::of(removed).to_string()];
        forgotten.extend(item.get("remembered").and_then(|keys| keys.as_ss().ok()).into_iter().flatten().cloned());
        self.coordination.forget(&forgotten).await?;
        let mut tombstone = tombstone_key(scope, removed.id);
        tombstone.insert("deleted_at".into(), time(Timestamp::now()));
        tombstone.insert("transactions".into(), number(deletion.transactions));
        tombstone.insert("deliveries".into(), number(deletion.deliveries));
        let failed = |error| StoreError::from(AwsError::new("bury a configuration", error));
        let put = Put::builder().table_name(&self.configurations.table).set_item(Some(tombstone));
        let put = TransactWriteItem::builder().put(put.build().map_err(failed)?).build();
        let mut writes = vec![
            (Part::Configuration, self.delete_if_unchanged(key(scope, removed.id), removed.version)?),
            (Part::Tombstone, put),
            (Part::Door, self.delete(door_key(removed.id))?),
        ];
        for account in removed.accounts() {
            let claim = claim_key(removed.provider, removed.environment, account);
            writes.push((Part::Claim, self.delete(claim)?));
        }
        let audited = ("configuration.deleted", removed.id, Vec::new());
        self.transact(scope, actor, audited, writes).await
    }
}

impl Configurations {
    /// Whether there was such a configuration, and it is gone or going.
    pub async fn is_removed(&self, scope: &TenantScope, id: ConfigurationId) -> Result<bool, StoreError> {
        match self.find(scope, id).await? {
            Some(found) => Ok(found.status == ConfigurationStatus::Deleting),
            None => Ok(self.get(tombstone_key(scope, id)).await?.is_some()),
        }
    }
}

/// What is left of a configuration: ids, a time, two counts. No tenant has this key, so no listing shows it.
fn tombstone_key(scope: &TenantScope, id: ConfigurationId) -> Item {
    let tenant = format!("tombstone#{}", scope.tenant_id());
    Item::from([("tenant_id".into(), text(tenant)), ("configuration_id".into(), text(id))])
}
