//! The webhook log: tenant#configuration (or unmatched#provider) / event.
//!
//! A row is written once, when a delivery has reached its final outcome. It keeps the raw body, so that whatever we
//! made of it can be explained and done again; only a body that no item holds is left out.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};

use super::item::{Item, bytes, is_made, number, purge, text, time};
use super::{Purged, StoreError, configuration_key};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, EventId, ProviderKind, TenantId, TenantScope, TransactionId};

const TABLE: &str = "webhook-logs";
const FORMAT: u8 = 1;
/// An item has at most 400 KB, names and all; what is not the body needs far less than the rest.
const MAX_PACKED_BODY: usize = 380 * 1000;

/// The table.
pub struct WebhookLogs {
    client: Client,
    table: String,
    retention: SignedDuration,
}

/// Whose log a delivery stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOwner {
    /// A tenant's connection.
    Configuration(TenantScope, ConfigurationId),
    /// Nobody's: proven to be the provider's, but of no merchant that we know, or not to be read at all.
    Unmatched(ProviderKind),
}

impl LogOwner {
    /// Whose, if anybody's.
    pub fn tenant_id(&self) -> Option<&TenantId> {
        match self {
            Self::Configuration(scope, _) => Some(scope.tenant_id()),
            Self::Unmatched(_) => None,
        }
    }

    /// Of which connection, if of any.
    pub fn configuration_id(&self) -> Option<ConfigurationId> {
        match self {
            Self::Configuration(_, id) => Some(*id),
            Self::Unmatched(_) => None,
        }
    }
}

/// How a delivery ended. There is no other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its transactions are stored, with at least its version.
    Done,
    /// It needs no work.
    Ignored(&'static str),
    /// It could not be worked on, and doing it again would not help until something else has changed.
    Failed {
        /// Stable word.
        code: &'static str,
        /// Where in the payload, or what the provider said. No secret, no body.
        detail: String,
    },
}

/// A delivery and what became of it.
#[derive(Debug, Clone)]
pub struct LogRow<'a> {
    /// In whose log.
    pub owner: &'a LogOwner,
    /// The provider's id, or the hash of a body that has none.
    pub event_id: &'a EventId,
    /// In the provider's words.
    pub event_type: Option<&'a str>,
    /// When it arrived.
    pub received_at: Timestamp,
    /// How long the final attempt worked on it.
    pub worked_for: Duration,
    /// Which of the queue's attempts was the final one.
    pub attempt: u32,
    /// Which secret proved it.
    pub secret_id: &'a str,
    /// As it came.
    pub body: &'a [u8],
    /// How it ended.
    pub outcome: &'a Outcome,
    /// What it led to.
    pub transactions: &'a [TransactionId],
}

impl WebhookLogs {
    /// `table`: its name. `retention_days`: how long a row is kept.
    pub fn new(client: Client, table: String, retention_days: u32) -> Self {
        Self { client, table, retention: SignedDuration::from_hours(24 * i64::from(retention_days)) }
    }

    /// Whether this delivery has its final outcome already.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::webhook_logs::*};
    /// # async fn of(logs: &WebhookLogs, id: ConfigurationId, event: EventId) {
    /// let _ = logs.is_final(&LogOwner::Configuration(id), &event).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::webhook_logs::*};
    /// # async fn of(logs: &WebhookLogs, id: ConfigurationId, event: EventId, scope: TenantScope) {
    /// let _ = logs.is_final(&LogOwner::Configuration(scope, id), &event).await;
    /// # }
    /// ```
    pub async fn is_final(&self, owner: &LogOwner, event: &EventId) -> Result<bool, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(owner, event)))
            .projection_expression("event_id")
            .send()
            .await
            .map_err(|error| AwsError::new("read the webhook log", error))?;
        Ok(answer.item.is_some())
    }

    /// Counts a repeat of a delivery that is final.
    pub async fn count_repeat(&self, owner: &LogOwner, event: &EventId) -> Result<(), StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(owner, event)))
            .update_expression("ADD repeats :one")
            // A row that has expired meanwhile must not rise again as a mere count.
            .condition_expression("attribute_exists(event_id)")
            .expression_attribute_values(":one", number(1))
            .send()
            .await;
        is_made(result, "count a repeated delivery").map(drop)
    }

    /// Writes the final row. A second writer of the same delivery only counts itself.
    pub async fn record(&self, row: &LogRow<'_>) -> Result<(), StoreError> {
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.to_item(row)?))
            .condition_expression("attribute_not_exists(event_id)")
            .send()
            .await;
        if is_made(result, "write the webhook log")? {
            Ok(())
        } else {
            self.count_repeat(row.owner, row.event_id).await
        }
    }

    /// Removes every row of a configuration, or as many as there is time for.
    pub async fn purge(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        deadline: Instant,
    ) -> Result<Purged, StoreError> {
        let owner = text(owner_key(&LogOwner::Configuration(scope.clone(), configuration)));
        purge(&self.client, &self.table, ("log_key", owner), "event_id", deadline).await
    }

    fn to_item(&self, row: &LogRow<'_>) -> Result<Item, StoreError> {
        let body = zstd::bulk::compress(row.body, 3).map_err(|error| super::item::unreadable(TABLE, error))?;
        let (outcome, code, detail) = match row.outcome {
            Outcome::Done => ("done", None, None),
            Outcome::Ignored(reason) => ("ignored", Some(*reason), None),
            Outcome::Failed { code, detail } => ("failed", Some(*code), Some(detail)),
        };
        let mut item = key(row.owner, row.event_id);
        let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
        set("format", number(FORMAT));
        set("outcome", text(outcome));
        set("received_at", time(row.received_at));
        set("finished_at", time(Timestamp::now()));
        set("worked_ms", number(row.worked_for.as_millis()));
        set("attempt", number(row.attempt));
        set("secret_id", text(row.secret_id));
        // A row without its body is worth more than a delivery that never ends because it cannot be logged.
        if body.len() <= MAX_PACKED_BODY {
            set("body", bytes(body));
        } else {
            set("omitted_body_bytes", number(row.body.len()));
        }
        set("expires_at", number((Timestamp::now() + self.retention).as_second()));
        if let Some(event_type) = row.event_type {
            set("event_type", text(event_type));
        }
        if let Some(code) = code {
            set("code", text(code));
        }
        if let Some(detail) = detail {
            set("detail", text(detail));
        }
        if !row.transactions.is_empty() {
            set("transactions", AttributeValue::L(row.transactions.iter().map(text).collect()));
        }
        Ok(item)
    }
}

fn key(owner: &LogOwner, event: &EventId) -> Item {
    Item::from([("log_key".into(), text(owner_key(owner))), ("event_id".into(), text(event))])
}

fn owner_key(owner: &LogOwner) -> String {
    match owner {
        LogOwner::Configuration(scope, id) => configuration_key(scope, *id),
        // No tenant has this key: a tenant's id holds no `#`, and no configuration is called like a provider.
        LogOwner::Unmatched(provider) => format!("unmatched#{provider}"),
    }
}
