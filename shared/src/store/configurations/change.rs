//! The one way to change a configuration: the change, its audit row, the claims of its accounts, and the answer to
//! whoever repeats the request, all in one DynamoDB transaction.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::door::SealedWebhookSecret;
use super::{Configurations, DUE_SHARDS, FORMAT, Item, Row, SEALED, StoreError, TABLE, claim_key, key};
use crate::aws::AwsError;
use crate::domain::{Configuration, ConfigurationId, Run, SyncKind, TenantScope};
use crate::store::audit::{Actor, AuditLog};
use crate::store::coordination::{Coordination, Remembered};
use crate::store::item::{bytes, due_shard, number, text, time, unreadable};
use crate::store::sync_logs::SyncLogs;

/// DynamoDB's limit for one transaction, less the two writes of the audit log.
const MAX_WRITES: usize = 98;
/// How often a change gives way to others of the same tenant before it gives up.
const ATTEMPTS: u32 = 12;

/// Everything that a change of a configuration touches.
#[derive(Clone)]
pub struct Changes {
    pub(super) configurations: Configurations,
    pub(super) audit: AuditLog,
    pub(super) coordination: Coordination,
    pub(super) sync_logs: SyncLogs,
}

/// A change of one configuration.
pub struct Change<'a> {
    /// Who wants it.
    pub actor: &'a Actor,
    /// What it is called in the audit log, such as `configuration.replaced`.
    pub action: &'a str,
    /// What is to be changed; none for a new one.
    pub before: Option<&'a Configuration>,
    /// What it becomes, [touched](Configuration::touch).
    pub after: &'a Configuration,
    /// New sealed credentials, if it gets some.
    pub credentials: Option<Vec<u8>>,
    /// Its sealed webhook secrets as they were read and as they become, if they change.
    pub webhook_secrets: Option<[Vec<SealedWebhookSecret>; 2]>,
    /// The credentials that it is about, if it is about some: with others, it does not apply.
    pub generation: Option<Uuid>,
    /// What a repeat of the request is answered.
    pub remember: Option<Remembered>,
    /// A one-time word that is used up by it.
    pub uses_up: Option<&'a str>,
}

impl<'a> Change<'a> {
    /// A change of nothing but what everybody may see.
    pub fn of(actor: &'a Actor, action: &'a str, before: &'a Configuration, after: &'a Configuration) -> Self {
        Self {
            actor,
            action,
            before: Some(before),
            after,
            credentials: None,
            webhook_secrets: None,
            generation: None,
            remember: None,
            uses_up: None,
        }
    }
}

/// Why a configuration was not changed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else changed it, or removed it.
    #[error("the configuration has changed meanwhile")]
    Moved,
    /// Somebody is connected to one of its accounts already.
    #[error("the merchant is connected already")]
    AccountTaken,
    /// More shops than one transaction has room for.
    #[error("more accounts than one configuration can have")]
    TooManyAccounts,
    /// The same request was carried out by another.
    #[error("the request was carried out already")]
    Repeated,
    /// The one-time word has been used.
    #[error("the one-time word was used already")]
    UsedUp,
    /// A run has begun or ended meanwhile.
    #[error("a run has begun or ended meanwhile")]
    Busy,
    /// A table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a write of the transaction stands for, so that a refusal can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Configuration,
    Claim,
    Door,
    Tombstone,
    Audit,
    Memory,
    OneTimeWord,
    Lane,
}

impl Changes {
    /// Over the tables.
    pub fn new(
        configurations: Configurations,
        audit: AuditLog,
        coordination: Coordination,
        sync_logs: SyncLogs,
    ) -> Self {
        Self { configurations, audit, coordination, sync_logs }
    }

    /// Carries a change out, all of it or nothing. Returns the runs that begin with it: whoever connects a merchant for
    /// the first time lets its past be read.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::configurations::*};
    /// # async fn of(all: &Changes, change: Change<'_>) {
    /// let _ = all.commit(&change).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::configurations::*};
    /// # async fn of(all: &Changes, change: Change<'_>, scope: TenantScope) {
    /// let _ = all.commit(&scope, &change).await;
    /// # }
    /// ```
    pub async fn commit(&self, scope: &TenantScope, change: &Change<'_>) -> Result<Vec<Run>, CommitError> {
        let mut writes = Vec::new();
        // First, because the first refusal is told: whoever repeats a request shall hear that, and not what it led to.
        if let Some(remembered) = &change.remember {
            writes.push((Part::Memory, self.coordination.write_memory(remembered)?));
        }
        if let Some(word) = change.uses_up {
            writes.push((Part::OneTimeWord, self.coordination.use_up(word)?));
        }
        writes.push((Part::Configuration, self.write_configuration(scope, change)?));
        writes.extend(self.move_claims(scope, change)?);
        if let Some(secrets) = &change.webhook_secrets {
            writes.push((Part::Door, self.configurations.write_door(scope, change.after, secrets)?));
        }
        let mut begun = Vec::new();
        if change.before.is_none_or(|before| before.merchant.is_none()) && change.after.merchant.is_some() {
            let now = Timestamp::now();
            begun = Run::first(change.after.sync, change.after.epoch, now);
            let interval = SignedDuration::from_mins(i64::from(change.after.sync.interval_minutes));
            let lanes = self.sync_logs.open_lanes(
                scope,
                change.after.id,
                &begun,
                &[(SyncKind::Incremental, now + interval)],
            )?;
            writes.extend(lanes.into_iter().map(|lane| (Part::Lane, lane)));
        }
        if writes.len() > MAX_WRITES {
            return Err(CommitError::TooManyAccounts);
        }
        let audited = (change.action, change.after.id, changed_fields(change));
        self.transact(scope, change.actor, audited, writes).await?;
        Ok(begun)
    }

    /// Writes all of it with its audit row. Changes of one tenant go one after the other: the row is chained to the one
    /// before it, and whoever comes second chains anew.
    pub(super) async fn transact(
        &self,
        scope: &TenantScope,
        actor: &Actor,
        audited: (&str, ConfigurationId, Vec<String>),
        mut writes: Vec<(Part, TransactWriteItem)>,
    ) -> Result<(), CommitError> {
        let own = writes.len();
        for attempt in 1..=ATTEMPTS {
            let head = self.audit.head(scope).await?;
            writes.truncate(own);
            let rows = self.audit.append(scope, &head, actor, (audited.0, audited.1, audited.2.clone()))?;
            writes.extend(rows.map(|write| (Part::Audit, write)));
            if self.attempt(&writes, attempt).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Writes what nobody needs to be told of.
    pub(super) async fn transact_unaudited(&self, writes: Vec<(Part, TransactWriteItem)>) -> Result<(), CommitError> {
        for attempt in 1..=ATTEMPTS {
            if self.attempt(&writes, attempt).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended.into())
    }

    /// `false`: others were in the way, and after a while it may go better.
    async fn attempt(&self, writes: &[(Part, TransactWriteItem)], attempt: u32) -> Result<bool, CommitError> {
        let items = writes.iter().map(|(_, write)| write.clone()).collect();
        let sent = self.configurations.client.transact_write_items().set_transact_items(Some(items)).send().await;
        let Err(error) = sent else { return Ok(true) };
        match error.as_service_error().map(|refused| refused_part(refused, writes)) {
            Some(Refused::Condition(Part::Configuration | Part::Door)) => Err(CommitError::Moved),
            Some(Refused::Condition(Part::Claim)) => Err(CommitError::AccountTaken),
            Some(Refused::Condition(Part::Memory)) => Err(CommitError::Repeated),
            Some(Refused::Condition(Part::OneTimeWord)) => Err(CommitError::UsedUp),
            Some(Refused::Condition(Part::Lane)) => Err(CommitError::Busy),
            Some(Refused::Condition(Part::Audit | Part::Tombstone) | Refused::Conflict) => {
                tokio::time::sleep(crate::store::jitter(attempt)).await;
                Ok(false)
            }
            Some(Refused::No) | None => Err(StoreError::from(AwsError::new("change a configuration", error)).into()),
        }
    }

    fn write_configuration(&self, scope: &TenantScope, change: &Change<'_>) -> Result<TransactWriteItem, StoreError> {
        let after = change.after;
        let row = Row {
            tenant_id: scope.tenant_id().clone(),
            configuration_id: after.id,
            format: FORMAT,
            configuration: after.clone(),
        };
        let mut item: Item = serde_dynamo::to_item(row).map_err(|error| unreadable(TABLE, error))?;
        if let Some(due_at) = after.due_at() {
            item.insert("due_shard".into(), due_shard(after.id, DUE_SHARDS));
            item.insert("due_at".into(), time(due_at));
        }
        if let Some(sealed) = &change.credentials {
            item.insert(SEALED.into(), bytes(sealed.clone()));
        }
        let remembered = change.remember.as_ref().map(|remembered| remembered.key.clone());
        let failed = |error| StoreError::from(AwsError::new("change a configuration", error));
        let Some(before) = change.before else {
            if let Some(key) = remembered {
                item.insert("remembered".into(), AttributeValue::Ss(vec![key]));
            }
            let put = Put::builder()
                .table_name(&self.configurations.table)
                .set_item(Some(item))
                .condition_expression("attribute_not_exists(tenant_id)");
            return Ok(TransactWriteItem::builder().put(put.build().map_err(failed)?).build());
        };
        // Others write these without a new version: whoever changes the configuration leaves them alone.
        item.remove("health");
        if change.credentials.is_none() {
            item.remove("credentials");
        }
        let mut update = Update::builder()
            .table_name(&self.configurations.table)
            .set_key(Some(key(scope, after.id)))
            .expression_attribute_values(":seen", number(before.version));
        update = match change.generation {
            None => update.condition_expression("version = :seen"),
            Some(generation) => update
                .condition_expression("version = :seen AND credentials.generation = :generation")
                .expression_attribute_values(":generation", text(generation)),
        };
        let mut expression = String::from("SET #format = :format");
        update = update.expression_attribute_names("#format", "format");
        for (name, value) in item {
            if name == "tenant_id" || name == "configuration_id" {
                continue;
            }
            if name != "format" {
                expression.push_str(&format!(", #{name} = :{name}"));
            }
            update = update
                .expression_attribute_names(format!("#{name}"), &name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        let mut removed = Vec::new();
        if after.due_at().is_none() {
            removed.extend(["due_shard", "due_at"]);
        }
        if change.credentials.is_some() || after.deletion.is_some() {
            // Whoever is renewing the old ones finds their generation gone.
            removed.extend(["lease_owner", "lease_until"]);
        }
        if !removed.is_empty() {
            expression.push_str(&format!(" REMOVE {}", removed.join(", ")));
        }
        if let Some(key) = remembered {
            expression.push_str(" ADD remembered :remembered");
            update = update.expression_attribute_values(":remembered", AttributeValue::Ss(vec![key]));
        }
        let update = update.update_expression(expression).build().map_err(failed)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// Claims the accounts that the configuration has gained and gives up those that it has lost.
    fn move_claims(
        &self,
        scope: &TenantScope,
        change: &Change<'_>,
    ) -> Result<Vec<(Part, TransactWriteItem)>, StoreError> {
        let after = change.after;
        let held = change.before.map(Configuration::accounts).unwrap_or_default();
        let wanted = after.accounts();
        let mut writes = Vec::new();
        for account in wanted.difference(&held) {
            let mut claim = claim_key(after.provider, after.environment, account);
            claim.insert("claimed_by_tenant".into(), text(scope.tenant_id()));
            claim.insert("claimed_by_configuration".into(), text(after.id));
            let put = Put::builder()
                .table_name(&self.configurations.table)
                .set_item(Some(claim))
                .condition_expression("attribute_not_exists(tenant_id)")
                .build()
                .map_err(|error| AwsError::new("claim an account", error))?;
            writes.push((Part::Claim, TransactWriteItem::builder().put(put).build()));
        }
        for account in held.difference(&wanted) {
            writes.push((Part::Claim, self.delete(claim_key(after.provider, after.environment, account))?));
        }
        Ok(writes)
    }

    pub(super) fn delete_if_unchanged(&self, key: Item, version: u64) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder()
            .table_name(&self.configurations.table)
            .set_key(Some(key))
            .condition_expression("version = :seen")
            .expression_attribute_values(":seen", number(version))
            .build()
            .map_err(|error| AwsError::new("change a configuration", error))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    pub(super) fn delete(&self, key: Item) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder()
            .table_name(&self.configurations.table)
            .set_key(Some(key))
            .build()
            .map_err(|error| AwsError::new("change a configuration", error))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

enum Refused {
    Condition(Part),
    Conflict,
    No,
}

/// What the transaction was refused for. A transaction is also canceled by conflicts and throttling, which pass.
fn refused_part(error: &TransactWriteItemsError, writes: &[(Part, TransactWriteItem)]) -> Refused {
    let TransactWriteItemsError::TransactionCanceledException(canceled) = error else { return Refused::No };
    let reasons = canceled.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or_default());
    let reasons: Vec<_> = writes.iter().map(|(part, _)| *part).zip(reasons).collect();
    // What was decided for good comes before what only came first.
    let failed = |(part, code): &&(Part, &str)| *code == "ConditionalCheckFailed" && *part != Part::Audit;
    if let Some((part, _)) = reasons.iter().find(failed) {
        return Refused::Condition(*part);
    }
    match reasons.iter().find(|(_, code)| !matches!(*code, "" | "None")) {
        Some((part, "ConditionalCheckFailed")) => Refused::Condition(*part),
        Some((_, "TransactionConflict")) => Refused::Conflict,
        _ => Refused::No,
    }
}

/// The names of the fields that differ.
fn changed_fields(change: &Change<'_>) -> Vec<String> {
    let fields = |configuration: Option<&Configuration>| match configuration.map(serde_json::to_value) {
        Some(Ok(Value::Object(fields))) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (fields(change.before), fields(Some(change.after)));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let unremarkable = ["version", "updated_at", "created_at", "health"];
    let differs = |name: &&&String| {
        let value = |fields: &serde_json::Map<String, Value>| fields.get(**name).filter(|it| !it.is_null()).cloned();
        value(&before) != value(&after) && !unremarkable.contains(&name.as_str())
    };
    names.iter().filter(differs).map(|name| (*name).clone()).collect()
}
