//! Deliveries, looked at afterwards: one whole, or a page of them in short, from an index.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Caused, LogOwner, Steps, TABLE, WebhookLogs, key, outcome_key};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, DeliveryOutcome, EventId, Replayed, TenantScope};
use crate::store::item::{Attributes, Item, batch_get, text, time, unreadable};
use crate::store::{Page, StoreError};

/// Entries that one page looks at, if not all that it looks at are wanted. They have some 200 bytes each, and DynamoDB
/// reads a megabyte at once.
const EXAMINED: i32 = 1000;
/// A delivery in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The provider's id, or the hash of a body that has none.
    pub event_id: EventId,
    /// In the provider's words.
    pub event_type: Option<String>,
    /// When it arrived.
    pub received_at: Timestamp,
    /// When the last work on it ended.
    pub finished_at: Timestamp,
    /// When the provider says that the order had changed.
    pub changed_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: DeliveryOutcome,
    /// Why, where it did not end as `done`.
    pub code: Option<String>,
    /// Which of the queue's attempts was the final one.
    pub attempt: u32,
    /// The size of a body that was too large to be kept.
    pub omitted_body_bytes: Option<u64>,
}

/// A delivery in full. Only the log makes one, so its body is one that was proven when it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedDelivery {
    /// In short.
    pub entry: LogEntry,
    /// Where in the payload, or what the provider said.
    pub detail: Option<String>,
    /// How long the last attempt worked on it.
    pub worked_ms: u64,
    /// Which secret proved it.
    pub secret_id: String,
    /// How often it has come again after its end.
    pub repeats: u64,
    /// What it led to.
    pub caused: Vec<Caused>,
    /// When what was done.
    pub steps: Steps,
    /// Replays, the oldest first.
    pub replays: Vec<Replayed>,
    /// When the row is removed.
    pub expires_at: Timestamp,
    body: Option<Vec<u8>>,
}

impl LoggedDelivery {
    /// Whether its body was kept.
    pub fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// As it was kept: for `vault::Bodies` to open.
    pub fn sealed_body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }
}

/// Which deliveries are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Ended like this only: an index has them.
    pub outcome: Option<DeliveryOutcome>,
    /// For this reason only.
    pub code: Option<String>,
    /// Of this type only, in the provider's words.
    pub event_type: Option<String>,
    /// Arrived then or later.
    pub from: Option<Timestamp>,
    /// Arrived then or earlier.
    pub to: Option<Timestamp>,
}

impl LogFilter {
    /// Whether an entry that the index has in this range may be none that is wanted.
    fn is_picky(&self) -> bool {
        self.code.is_some() || self.event_type.is_some() || self.outcome == Some(DeliveryOutcome::Done)
    }

    fn takes(&self, entry: &LogEntry) -> bool {
        self.outcome.is_none_or(|outcome| outcome == entry.outcome)
            && self.code.as_ref().is_none_or(|code| entry.code.as_ref() == Some(code))
            && self.event_type.as_ref().is_none_or(|event_type| entry.event_type.as_ref() == Some(event_type))
    }
}

/// After which delivery the next page starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    received_at: Timestamp,
    event_id: EventId,
}

/// A page, and how many entries were looked at for it.
pub type Examined = (Page<LogEntry, LogPosition>, usize);

impl WebhookLogs {
    /// One delivery.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::webhook_logs::*};
    /// # async fn of(logs: &WebhookLogs, event: EventId) {
    /// let _ = logs.find(&event).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::webhook_logs::*};
    /// # async fn of(logs: &WebhookLogs, owner: LogOwner, event: EventId) {
    /// let _ = logs.find(&owner, &event).await;
    /// # }
    /// ```
    pub async fn find(&self, owner: &LogOwner, event: &EventId) -> Result<Option<LoggedDelivery>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key(owner, event)));
        let answer = request.consistent_read(true).send().await;
        let answer = answer.map_err(|error| AwsError::new("read a logged delivery", error))?;
        answer.item.as_ref().map(read).transpose()
    }

    /// Some deliveries, in no order; those that are gone are left out. One read for each hundred.
    pub async fn find_many<'e>(
        &self,
        owner: &LogOwner,
        events: impl IntoIterator<Item = &'e EventId>,
    ) -> Result<Vec<LoggedDelivery>, StoreError> {
        let keys = BTreeSet::from_iter(events).into_iter().map(|event| key(owner, event)).collect();
        let items = batch_get(&self.client, &self.table, keys, true, "read logged deliveries").await?;
        items.iter().map(read).collect()
    }

    /// A configuration's deliveries, newest first, from after `start_after`; at most `limit`. One read of one index: where
    /// few of many are wanted, the page may be short or empty and yet have a next one. May lag by a moment.
    pub async fn list(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        filter: &LogFilter,
        limit: i32,
        start_after: Option<LogPosition>,
    ) -> Result<Examined, StoreError> {
        let owner = LogOwner::Configuration(scope.clone(), configuration);
        let indexed = filter.outcome.filter(|outcome| *outcome != DeliveryOutcome::Done);
        let (index, attribute, partition) = match indexed {
            Some(outcome) => ("by-outcome", "outcome_key", outcome_key(scope, configuration, outcome)),
            None => ("by-received-time", "log_key", owner.key()),
        };
        let start = start_after.map(|LogPosition { received_at, event_id }| {
            let mut start = key(&owner, &event_id);
            start.insert("received_at".into(), time(received_at));
            start.insert(attribute.into(), text(&partition));
            start
        });
        let first = filter.from.unwrap_or_default().max(Timestamp::UNIX_EPOCH);
        let last = filter.to.unwrap_or_else(Timestamp::now);
        // DynamoDB calls that a mistake.
        if first > last {
            return Ok((Page { items: Vec::new(), next: None }, 0));
        }
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .key_condition_expression(format!("{attribute} = :partition AND received_at BETWEEN :first AND :last"))
            .expression_attribute_values(":partition", text(&partition))
            .expression_attribute_values(":first", time(first))
            .expression_attribute_values(":last", time(last))
            .scan_index_forward(false)
            .set_exclusive_start_key(start)
            .limit(if filter.is_picky() { EXAMINED } else { limit })
            .send()
            .await
            .map_err(|error| AwsError::new("list deliveries", error))?;
        let examined = answer.items().len();
        let mut items = answer.items().iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        items.retain(|entry| filter.takes(entry));
        let wanted = usize::try_from(limit).unwrap_or(0);
        let next = if items.len() > wanted {
            items.truncate(wanted);
            items.last().map(|last| LogPosition { received_at: last.received_at, event_id: last.event_id.clone() })
        } else {
            answer.last_evaluated_key().map(position).transpose()?
        };
        Ok((Page { items, next }, examined))
    }
}

fn position(item: &Item) -> Result<LogPosition, StoreError> {
    let item = Attributes { table: TABLE, item };
    Ok(LogPosition { received_at: item.parsed("received_at")?, event_id: item.parsed("event_id")? })
}

fn entry(item: &Item) -> Result<LogEntry, StoreError> {
    let item = Attributes { table: TABLE, item };
    Ok(LogEntry {
        event_id: item.parsed("event_id")?,
        event_type: item.optional_text("event_type").map(str::to_owned),
        received_at: item.parsed("received_at")?,
        finished_at: item.parsed("finished_at")?,
        changed_at: item.optional_parsed("changed_at")?,
        outcome: item.parsed("outcome")?,
        code: item.optional_text("code").map(str::to_owned),
        attempt: item.number("attempt")?,
        omitted_body_bytes: item.optional_number("omitted_body_bytes")?,
    })
}

fn read(item: &Item) -> Result<LoggedDelivery, StoreError> {
    let whole = Attributes { table: TABLE, item };
    let list = |name: &str| item.get(name).and_then(|value| value.as_l().ok()).map(Vec::as_slice).unwrap_or_default();
    let caused = list("transactions").iter().zip(list("revisions")).map(|(transaction, revision)| {
        let transaction = transaction.as_s().ok().and_then(|id| id.parse().ok());
        let revision = revision.as_n().ok().and_then(|number| number.parse().ok());
        let caused = transaction.zip(revision).map(|(transaction, revision)| Caused { transaction, revision });
        caused.ok_or_else(|| whole.unreadable("transactions"))
    });
    let replays = list("replays").iter().map(|replay| {
        serde_dynamo::from_attribute_value::<AttributeValue, Replayed>(replay.clone())
            .map_err(|error| unreadable(TABLE, error))
    });
    let steps = item.get("steps").cloned().map(serde_dynamo::from_attribute_value::<AttributeValue, Steps>);
    Ok(LoggedDelivery {
        entry: entry(item)?,
        detail: whole.optional_text("detail").map(str::to_owned),
        worked_ms: whole.number("worked_ms")?,
        secret_id: whole.text("secret_id")?.to_owned(),
        repeats: whole.optional_number("repeats")?.unwrap_or(0),
        caused: caused.collect::<Result<_, _>>()?,
        steps: steps.transpose().map_err(|error| unreadable(TABLE, error))?.unwrap_or_default(),
        replays: replays.collect::<Result<_, _>>()?,
        expires_at: Timestamp::from_second(whole.number("expires_at")?).map_err(|error| unreadable(TABLE, error))?,
        body: item.get("body").and_then(|value| value.as_b().ok()).map(|body| body.as_ref().to_vec()),
    })
}
