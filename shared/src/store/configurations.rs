//! The configurations table: tenant / configuration.
//!
//! Beside its configuration every connected account has a *claim*, an item under the account's own key that names who
//! is connected to it. It is written in the same transaction, so one till's sales can never arrive through two
//! configurations and count twice; and it is the webhooks' way from an account to a configuration, one consistent read.
//! A configuration with a webhook URL of its own has a *door*, an item under the configuration's id alone, which holds
//! what proves its deliveries and nothing else: the ingress may read doors and no configuration.

mod change;
mod credentials;
mod door;
mod removal;
mod replays;
mod runs;
mod sealed;

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use change::{Change, Changes, CommitError};
pub use credentials::{Lease, NewCredentials};
pub use door::{Door, SealedWebhookSecret};
pub use sealed::{SealedPosition, SealedSecret};

use super::item::{Attributes, Item, due_shard, is_made, number, text, time, unreadable};
use super::{Page, StoreError};
use crate::aws::AwsError;
use crate::domain::{
    Configuration, ConfigurationId, ConfigurationStatus, Environment, ProviderKind, TenantId, TenantScope,
};

const TABLE: &str = "configurations";
const FORMAT: u8 = 2;
const SEALED: &str = "sealed_credentials";
/// The index of what is due spreads over so many partitions.
const DUE_SHARDS: u8 = 4;

/// The table, for whoever changes no configuration.
#[derive(Clone)]
pub struct Configurations {
    client: Client,
    table: String,
}

/// A configuration together with what only the vault can read.
#[derive(Debug, Clone)]
pub struct SealedConfiguration {
    /// Whose it is.
    pub scope: TenantScope,
    /// What everybody may see.
    pub configuration: Configuration,
    /// What the vault can open, if anybody has connected.
    pub sealed_credentials: Option<Vec<u8>>,
}

/// Which configurations of a tenant to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// Of this provider only.
    pub provider: Option<ProviderKind>,
    /// Of this status only.
    pub status: Option<ConfigurationStatus>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    tenant_id: TenantId,
    configuration_id: ConfigurationId,
    format: u8,
    #[serde(flatten)]
    configuration: Configuration,
}

/// Where a listing by status goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusPosition(Item);

impl Configurations {
    /// `table`: its name.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// One configuration of a tenant.
    pub async fn find(&self, scope: &TenantScope, id: ConfigurationId) -> Result<Option<Configuration>, StoreError> {
        Ok(self.load(scope, id).await?.map(|found| found.configuration))
    }

    /// One configuration of a tenant, with what is sealed.
    ///
    /// ```compile_fail,E0061
    /// # async fn of(all: &shared::store::configurations::Configurations, id: shared::domain::ConfigurationId) {
    /// let _ = all.load(id).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::domain::{ConfigurationId, TenantScope};
    /// # async fn of(all: &shared::store::configurations::Configurations, scope: TenantScope, id: ConfigurationId) {
    /// let _ = all.load(&scope, id).await;
    /// # }
    /// ```
    pub async fn load(
        &self,
        scope: &TenantScope,
        id: ConfigurationId,
    ) -> Result<Option<SealedConfiguration>, StoreError> {
        let item = self.get(key(scope, id)).await?;
        item.as_ref().map(read).transpose()
    }

    /// A tenant's configurations, oldest first, from after `start_after`. A filter is applied to what was read: a page
    /// may be shorter than `limit`, and even empty, with more behind it.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::configurations::*};
    /// # async fn of(all: &Configurations) {
    /// let _ = all.list(Filter::default(), 10, None).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::configurations::*};
    /// # async fn of(all: &Configurations, scope: TenantScope) {
    /// let _ = all.list(&scope, Filter::default(), 10, None).await;
    /// # }
    /// ```
    pub async fn list(
        &self,
        scope: &TenantScope,
        filter: Filter,
        limit: i32,
        start_after: Option<ConfigurationId>,
    ) -> Result<Page<Configuration, ConfigurationId>, StoreError> {
        let mut request = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("tenant_id = :tenant")
            .expression_attribute_values(":tenant", text(scope.tenant_id()))
            .set_exclusive_start_key(start_after.map(|id| key(scope, id)))
            .limit(limit);
        let wanted = [
            ("#provider = :provider", filter.provider.map(ProviderKind::as_str)),
            ("#status = :status", filter.status.map(ConfigurationStatus::as_str)),
        ];
        let mut conditions = Vec::new();
        for (condition, value) in wanted {
            if let (Some(value), Some((name, placeholder))) = (value, condition.split_once(" = ")) {
                conditions.push(condition);
                request = request
                    .expression_attribute_names(name, name.trim_start_matches('#'))
                    .expression_attribute_values(placeholder, text(value));
            }
        }
        if !conditions.is_empty() {
            request = request.filter_expression(conditions.join(" AND "));
        }
        let answer = request.send().await.map_err(|error| AwsError::new("list configurations", error))?;
        let next = answer.last_evaluated_key().map(|item| Attributes { table: TABLE, item }.parsed("configuration_id"));
        let items = answer.items().iter().map(|item| read(item).map(|found| found.configuration));
        Ok(Page { items: items.collect::<Result<_, _>>()?, next: next.transpose()? })
    }

    /// The configuration that is connected to an account (see [`Configuration::accounts`]).
    pub async fn find_by_account(
        &self,
        provider: ProviderKind,
        environment: Environment,
        account: &str,
    ) -> Result<Option<SealedConfiguration>, StoreError> {
        let Some(claim) = self.get(claim_key(provider, environment, account)).await? else { return Ok(None) };
        let claim = Attributes { table: TABLE, item: &claim };
        let scope = TenantScope::new(claim.parsed("claimed_by_tenant")?);
        self.load(&scope, claim.parsed("claimed_by_configuration")?).await
    }

    /// Notes that a delivery was worked on, and asks for a look at the configuration if that may heal it. Whoever has
    /// seen the configuration calls this about once a minute, not for each delivery.
    pub async fn note_webhook(
        &self,
        scope: &TenantScope,
        id: ConfigurationId,
        at: Timestamp,
        wants_look: bool,
    ) -> Result<(), StoreError> {
        let values = [(":at", time(at)), (":zero", number(0))];
        if wants_look {
            let update =
                "SET health.last_webhook_at = :at, health.unannounced_sales = :zero, due_shard = :shard, due_at = :at";
            let [at, zero] = values;
            return self.note(scope, id, update, [at, zero, (":shard", due_shard(id, DUE_SHARDS))]).await;
        }
        self.note(scope, id, "SET health.last_webhook_at = :at, health.unannounced_sales = :zero", values).await
    }

    /// Adds sales that a sync had to find, and asks for a look at the configuration. `false`: a delivery has come since
    /// the first of them happened, or none has ever come, so that nothing has stopped.
    pub async fn note_unannounced(
        &self,
        scope: &TenantScope,
        id: ConfigurationId,
        (sales, first_at): (u32, Timestamp),
    ) -> Result<bool, StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, id)))
            .update_expression(
                "SET health.unannounced_sales = if_not_exists(health.unannounced_sales, :zero) + :sales, \
                 due_shard = :shard, due_at = :now",
            )
            .condition_expression("attribute_exists(version) AND health.last_webhook_at < :first")
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":sales", number(sales))
            .expression_attribute_values(":shard", due_shard(id, DUE_SHARDS))
            .expression_attribute_values(":now", time(Timestamp::now()))
            .expression_attribute_values(":first", time(first_at))
            .send()
            .await;
        is_made(result, "note unannounced sales")
    }

    /// Notes that a sync was completed. Called every ten minutes or so, not for each run.
    pub async fn note_sync(&self, scope: &TenantScope, id: ConfigurationId, at: Timestamp) -> Result<(), StoreError> {
        self.note(scope, id, "SET health.last_sync_at = :at", [(":at", time(at))]).await
    }

    /// Adds deliveries that nothing proved, and asks for a look at the configuration.
    pub async fn note_signature_failures(
        &self,
        scope: &TenantScope,
        id: ConfigurationId,
        count: u64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let update = "SET health.last_signature_failure_at = :at, due_shard = :shard, due_at = :at, \
                      health.signature_failures = if_not_exists(health.signature_failures, :zero) + :count";
        let values =
            [(":at", time(at)), (":count", number(count)), (":zero", number(0)), (":shard", due_shard(id, DUE_SHARDS))];
        self.note(scope, id, update, values).await
    }

    /// Puts the configuration into the index of what is due where it belongs, or takes it out. Whoever has changed it
    /// meanwhile has done so already.
    pub async fn correct_due(&self, scope: &TenantScope, seen: &Configuration) -> Result<(), StoreError> {
        let (update, due) = match seen.due_at() {
            Some(due_at) => ("SET due_shard = :shard, due_at = :due_at", Some(due_at)),
            None => ("REMOVE due_shard, due_at", None),
        };
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, seen.id)))
            .update_expression(update)
            .condition_expression("version = :seen")
            .expression_attribute_values(":seen", number(seen.version));
        if let Some(due_at) = due {
            request = request
                .expression_attribute_values(":shard", due_shard(seen.id, DUE_SHARDS))
                .expression_attribute_values(":due_at", time(due_at));
        }
        is_made(request.send().await, "correct when a configuration is due").map(drop)
    }

    /// Shards of the index of what is due.
    pub fn due_shards() -> std::ops::Range<u8> {
        0..DUE_SHARDS
    }

    /// Configurations that somebody must look after by now, the longest due first.
    pub async fn list_due(
        &self,
        shard: u8,
        now: Timestamp,
        limit: i32,
    ) -> Result<Vec<(TenantScope, ConfigurationId)>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-due-time")
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", text(shard))
            .expression_attribute_values(":now", time(now))
            .limit(limit)
            .send()
            .await
            .map_err(|error| AwsError::new("list due configurations", error))?;
        let found = answer.items().iter().map(|item| {
            let item = Attributes { table: TABLE, item };
            Ok((TenantScope::new(item.parsed("tenant_id")?), item.parsed("configuration_id")?))
        });
        found.collect()
    }

    /// Configurations with this status, of all tenants: it reads nothing but the index.
    pub async fn list_by_status(
        &self,
        status: ConfigurationStatus,
        start_after: Option<StatusPosition>,
    ) -> Result<Page<(TenantScope, ConfigurationId), StatusPosition>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-status")
            .key_condition_expression("#status = :status")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", text(status.as_str()))
            .set_exclusive_start_key(start_after.map(|StatusPosition(key)| key))
            .send()
            .await
            .map_err(|error| AwsError::new("list configurations by status", error))?;
        let found = answer.items().iter().map(|item| {
            let item = Attributes { table: TABLE, item };
            Ok((TenantScope::new(item.parsed("tenant_id")?), item.parsed("configuration_id")?))
        });
        Ok(Page {
            items: found.collect::<Result<_, StoreError>>()?,
            next: answer.last_evaluated_key().cloned().map(StatusPosition),
        })
    }

    /// How many configurations have this status, by provider. Of all tenants: it reads nothing but the index.
    pub async fn count(&self, status: ConfigurationStatus) -> Result<BTreeMap<&'static str, u64>, StoreError> {
        let (mut counts, mut start) = (BTreeMap::new(), None);
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .index_name("by-status")
                .key_condition_expression("#status = :status")
                .projection_expression("provider")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":status", text(status.as_str()))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| AwsError::new("count configurations", error))?;
            for item in answer.items() {
                let provider: ProviderKind = Attributes { table: TABLE, item }.parsed("provider")?;
                *counts.entry(provider.as_str()).or_default() += 1;
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(counts);
            }
        }
    }

    async fn note<const N: usize>(
        &self,
        scope: &TenantScope,
        id: ConfigurationId,
        update: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<(), StoreError> {
        let values = values.map(|(name, value)| (name.to_owned(), value));
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, id)))
            .update_expression(update)
            // A configuration that was removed meanwhile must not rise again as a mere note.
            .condition_expression("attribute_exists(version)")
            .set_expression_attribute_values((N > 0).then(|| HashMap::from(values)))
            .send()
            .await;
        is_made(result, "note on a configuration").map(drop)
    }

    async fn get(&self, key: Item) -> Result<Option<Item>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| AwsError::new("read a configuration", error))?;
        Ok(answer.item)
    }
}

fn key(scope: &TenantScope, id: ConfigurationId) -> Item {
    Item::from([("tenant_id".into(), text(scope.tenant_id())), ("configuration_id".into(), text(id))])
}

/// No tenant has this key: a tenant's id holds no `#`.
fn claim_key(provider: ProviderKind, environment: Environment, account: &str) -> Item {
    let account = format!("merchant#{provider}#{}#{account}", environment.as_str());
    Item::from([("tenant_id".into(), text(account)), ("configuration_id".into(), text("claim"))])
}

fn read(item: &Item) -> Result<SealedConfiguration, StoreError> {
    let sealed_credentials = item.get(SEALED).and_then(|value| value.as_b().ok()).map(|blob| blob.as_ref().to_vec());
    let row: Row = serde_dynamo::from_item(item.clone()).map_err(|error| unreadable(TABLE, error))?;
    Ok(SealedConfiguration {
        scope: TenantScope::new(row.tenant_id),
        configuration: row.configuration,
        sealed_credentials,
    })
}
