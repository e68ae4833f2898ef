//! The webhook log: tenant#configuration (or unmatched#provider) / event.
//!
//! A row is written once, when a delivery has reached its final outcome. It keeps the raw body, so that whatever we
//! made of it can be explained and done again; only a body that no item holds is left out. A replay gives the row another
//! end and adds itself to its history.

mod read;
mod replay;

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};

use serde::{Deserialize, Serialize};

use super::item::{Item, bytes, is_made, number, purge, text, time, unreadable};
use super::{Purged, StoreError, configuration_key};
use crate::aws::AwsError;
use crate::domain::{
    Code, ConfigurationId, DeliveryOutcome, EventId, ProviderKind, TenantId, TenantScope, TransactionId,
};
pub use read::{Examined, LogEntry, LogFilter, LogPosition, LoggedDelivery};
pub use replay::ReplayEnd;

const TABLE: &str = "webhook-logs";
const FORMAT: u8 = 1;
/// An item has at most 400 KB, names and all; what is not the body needs far less than the rest.
const MAX_SEALED_BODY: usize = 380 * 1000;

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

    /// Whose rows stand together.
    pub fn key(&self) -> String {
        match self {
            Self::Configuration(scope, id) => configuration_key(scope, *id),
            // No tenant has this key: a tenant's id holds no `#`, and no configuration is called like a provider.
            Self::Unmatched(provider) => format!("unmatched#{provider}"),
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
    Ignored(Code),
    /// It could not be worked on, and doing it again would not help until something else has changed.
    Failed {
        /// Why.
        code: Code,
        /// Where in the payload, or what the provider said. No secret, no body.
        detail: String,
    },
    /// It came again until the queue gave it up. Whoever brings it back, or replays it, gives it another end.
    Dead {
        /// Why.
        code: Code,
        /// What is known of the reason. No secret, no body.
        detail: String,
    },
}

impl Outcome {
    /// The outcome, and why; none where all is well.
    pub fn words(&self) -> (DeliveryOutcome, Option<Code>) {
        match self {
            Self::Done => (DeliveryOutcome::Done, None),
            Self::Ignored(reason) => (DeliveryOutcome::Ignored, Some(*reason)),
            Self::Failed { code, .. } => (DeliveryOutcome::Failed, Some(*code)),
            Self::Dead { code, .. } => (DeliveryOutcome::Dead, Some(*code)),
        }
    }

    fn detail(&self) -> Option<&str> {
        match self {
            Self::Done | Self::Ignored(_) => None,
            Self::Failed { detail, .. } | Self::Dead { detail, .. } => Some(detail),
        }
    }
}

/// How the order that a delivery is about was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderSource {
    /// It was read from the provider.
    Read,
    /// The delivery brought it along.
    Pushed,
    /// The table had a copy that was read well after the change.
    Known,
    /// It was read a moment before, for another delivery.
    Neighbour,
}

/// When what was done for a delivery, as far as it was. The last work on it counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Steps {
    /// When it was on the queue.
    pub queued_at: Option<Timestamp>,
    /// When it was first taken off the queue.
    pub picked_up_at: Option<Timestamp>,
    /// When the provider says that the order had changed.
    pub changed_at: Option<Timestamp>,
    /// Where the order came from.
    pub source: Option<OrderSource>,
    /// When we began to read it.
    pub read_at: Option<Timestamp>,
    /// When it was understood.
    pub normalized_at: Option<Timestamp>,
    /// By which release of the normalizer.
    pub normalizer: Option<String>,
    /// When all of its transactions were in the table, and what was new handed over to the sales domain's queue.
    pub handed_over_at: Option<Timestamp>,
}

/// A transaction that a delivery, or a page of a sync, led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Caused {
    /// Which.
    pub transaction: TransactionId,
    /// The revision that the table had then.
    pub revision: u64,
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
    /// As it came, under the seal of `vault::Bodies` for this place ([`LogOwner::key`], event).
    pub sealed_body: &'a [u8],
    /// How long it was when it came.
    pub body_bytes: usize,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// What it led to.
    pub caused: &'a [Caused],
    /// When what was done.
    pub steps: &'a Steps,
}

impl WebhookLogs {
    /// `table`: its name. `retention_days`: how long a row is kept.
    pub fn new(client: Client, table: String, retention_days: u32) -> Self {
        Self { client, table, retention: SignedDuration::from_hours(24 * i64::from(retention_days)) }
    }

    /// Whether this delivery has its final outcome already. One that the queue had given up can still come back.
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
            .projection_expression("outcome")
            .send()
            .await
            .map_err(|error| AwsError::new("read the webhook log", error))?;
        Ok(answer.item.is_some_and(|item| item.get("outcome") != Some(&text(DeliveryOutcome::Dead))))
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

    /// Writes that a delivery was given up. `false`: it has a row.
    pub async fn record_dead(&self, row: &LogRow<'_>) -> Result<bool, StoreError> {
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.to_item(row)?))
            .condition_expression("attribute_not_exists(event_id)")
            .send()
            .await;
        is_made(result, "write the webhook log")
    }

    /// Writes the final row. A second writer of the same delivery only counts itself, unless the first was who gave it up.
    pub async fn record(&self, row: &LogRow<'_>) -> Result<(), StoreError> {
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.to_item(row)?))
            .condition_expression("attribute_not_exists(event_id) OR outcome = :dead")
            .expression_attribute_values(":dead", text(DeliveryOutcome::Dead))
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
        let owner = text(LogOwner::Configuration(scope.clone(), configuration).key());
        purge(&self.client, &self.table, ("log_key", owner), "event_id", deadline).await
    }

    fn to_item(&self, row: &LogRow<'_>) -> Result<Item, StoreError> {
        let mut item = key(row.owner, row.event_id);
        item.extend(ended(row.owner, row.outcome, (row.worked_for, row.caused, row.steps))?);
        let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
        set("format", number(FORMAT));
        set("received_at", time(row.received_at));
        set("attempt", number(row.attempt));
        set("secret_id", text(row.secret_id));
        // A row without its body is worth more than a delivery that never ends because it cannot be logged.
        if row.sealed_body.len() <= MAX_SEALED_BODY {
            set("body", bytes(row.sealed_body.to_vec()));
        } else {
            set("omitted_body_bytes", number(row.body_bytes));
        }
        set("expires_at", number((Timestamp::now() + self.retention).as_second()));
        if let Some(event_type) = row.event_type {
            set("event_type", text(event_type));
        }
        if let Some(at) = row.steps.changed_at {
            set("changed_at", time(at));
        }
        Ok(item)
    }
}

/// The attributes that say how a delivery ended, which a replay writes anew.
fn ended(
    owner: &LogOwner,
    outcome: &Outcome,
    (worked_for, caused, steps): (Duration, &[Caused], &Steps),
) -> Result<Item, StoreError> {
    let (kind, code) = outcome.words();
    let steps = serde_dynamo::to_attribute_value(steps).map_err(|error| unreadable(TABLE, error))?;
    let mut item = Item::from([
        ("outcome".into(), text(kind)),
        ("finished_at".into(), time(Timestamp::now())),
        ("worked_ms".into(), number(worked_for.as_millis())),
        ("steps".into(), steps),
    ]);
    let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
    if let Some(code) = code {
        set("code", text(code));
    }
    if let Some(detail) = outcome.detail() {
        set("detail", text(detail));
    }
    if !caused.is_empty() {
        set("transactions", AttributeValue::L(caused.iter().map(|it| text(it.transaction)).collect()));
        set("revisions", AttributeValue::L(caused.iter().map(|it| number(it.revision)).collect()));
    }
    if let (LogOwner::Configuration(scope, id), true) = (owner, kind != DeliveryOutcome::Done) {
        set("outcome_key", text(outcome_key(scope, *id, kind)));
    }
    Ok(item)
}

/// Where the index has what did not end as `done`.
fn outcome_key(scope: &TenantScope, configuration: ConfigurationId, outcome: DeliveryOutcome) -> String {
    format!("{}#{outcome}", configuration_key(scope, configuration))
}

fn key(owner: &LogOwner, event: &EventId) -> Item {
    Item::from([("log_key".into(), text(owner.key())), ("event_id".into(), text(event))])
}
