//! Renewed credentials: one winner among all Lambdas, by a lease on the configuration's item.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Configurations, DUE_SHARDS, SEALED, StoreError, TABLE, key};
use crate::domain::{ConfigurationId, ConfigurationStatus, CredentialsSummary, TenantScope};
use crate::store::item::{bytes, due_shard, is_made, text, time, unreadable};

/// The right to renew a configuration's credentials, until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    owner: Uuid,
    /// Of which credentials.
    pub generation: Uuid,
    /// When somebody else may take it.
    pub until: Timestamp,
}

/// What replaces credentials.
#[derive(Debug, Clone)]
pub struct NewCredentials {
    /// What may be known of them.
    pub summary: CredentialsSummary,
    /// What the vault can open.
    pub sealed: Vec<u8>,
}

impl Configurations {
    /// Takes the right to replace the credentials of this generation for so long. `None`: somebody else has it, or has
    /// replaced them already.
    pub async fn take_lease(
        &self,
        scope: &TenantScope,
        id: ConfigurationId,
        generation: Uuid,
        length: SignedDuration,
    ) -> Result<Option<Lease>, StoreError> {
        let now = Timestamp::now();
        let lease = Lease { owner: Uuid::new_v4(), generation, until: now + length };
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, id)))
            .update_expression("SET lease_owner = :me, lease_until = :until")
            .condition_expression(
                "credentials.generation = :seen AND (attribute_not_exists(lease_until) OR lease_until < :now)",
            )
            .expression_attribute_values(":me", text(lease.owner))
            .expression_attribute_values(":until", time(lease.until))
            .expression_attribute_values(":seen", text(generation))
            .expression_attribute_values(":now", time(now))
            .send()
            .await;
        Ok(is_made(result, "lease credentials")?.then_some(lease))
    }

    /// Replaces the credentials and ends the lease. `false`: somebody has replaced them meanwhile, or the configuration is
    /// being removed; nothing is written then.
    pub async fn replace_credentials(
        &self,
        scope: &TenantScope,
        id: ConfigurationId,
        lease: &Lease,
        new: &NewCredentials,
    ) -> Result<bool, StoreError> {
        let summary: aws_sdk_dynamodb::types::AttributeValue =
            serde_dynamo::to_attribute_value(&new.summary).map_err(|error| unreadable(TABLE, error))?;
        let due = match new.summary.refresh_due_at {
            Some(due_at) => [(":due_shard", due_shard(id, DUE_SHARDS)), (":due_at", time(due_at))].to_vec(),
            None => Vec::new(),
        };
        let expression = if due.is_empty() {
            "SET credentials = :summary, sealed_credentials = :sealed REMOVE lease_owner, lease_until, due_shard, due_at"
        } else {
            "SET credentials = :summary, sealed_credentials = :sealed, due_shard = :due_shard, due_at = :due_at \
             REMOVE lease_owner, lease_until"
        };
        debug_assert!(expression.contains(SEALED));
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, id)))
            .update_expression(expression)
            // Not by the lease: whoever has outlived it still holds what the provider gave, and nobody has replaced these.
            .condition_expression("credentials.generation = :seen AND #status <> :deleting")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":deleting", text(ConfigurationStatus::Deleting.as_str()))
            .expression_attribute_values(":summary", summary)
            .expression_attribute_values(":sealed", bytes(new.sealed.clone()))
            .expression_attribute_values(":seen", text(lease.generation));
        for (name, value) in due {
            request = request.expression_attribute_values(name, value);
        }
        is_made(request.send().await, "store renewed credentials")
    }

    /// Gives a lease back unused, and puts off the next attempt to renew.
    pub async fn return_lease(
        &self,
        scope: &TenantScope,
        id: ConfigurationId,
        lease: &Lease,
        look_again_at: Timestamp,
    ) -> Result<(), StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, id)))
            .update_expression(
                "SET due_shard = :due_shard, due_at = :due_at, credentials.refresh_due_at = :again \
                 REMOVE lease_owner, lease_until",
            )
            .condition_expression("lease_owner = :me AND #status <> :deleting")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":deleting", text(ConfigurationStatus::Deleting.as_str()))
            .expression_attribute_values(":me", text(lease.owner))
            .expression_attribute_values(":due_shard", due_shard(id, DUE_SHARDS))
            .expression_attribute_values(":due_at", time(look_again_at))
            .expression_attribute_values(":again", text(look_again_at))
            .send()
            .await;
        is_made(result, "return a lease").map(drop)
    }
}
