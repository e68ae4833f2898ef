//! The transactions table: tenant#configuration / transaction.
//!
//! There is one way in: `put_if_newer`, one conditional write. It keeps the newer of two copies, counts the revision and
//! sets the outbox mark, all in the same item; whatever happens after it can be repeated.

mod answers;
mod day;
mod decide;
mod put;
mod rebuild;
mod row;
mod search;

use std::time::Instant;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::days::{DayKey, Days};
use super::item::{Attributes, Item, batch_get, is_made, number, purge, text, time};
use super::{Page, Purged, StoreError, configuration_key};
use crate::aws::AwsError;
use crate::domain::{
    ConfigurationId, EventId, ExternalOrderId, Minor, SourceVersion, TenantScope, Transaction, TransactionId,
};
use crate::telemetry::TraceParent;
pub use answers::{Accepted, Answered, Rejected, RejectedBy, RejectedEntry, RejectedPosition, SalesState};
pub use day::Wanted;
pub use decide::{Agreement, is_news};
pub use rebuild::{Rebuilding, content_id, day_hash, rebuilding};
use row::{key, order_key, read, read_key};
pub use search::{Position, Search, SearchPage};

const TABLE: &str = "transactions";
/// Spreads the unacknowledged over the index, so that no partition of it grows hot.
const OUTBOX_SHARDS: u8 = 8;

/// The table.
pub struct Transactions {
    client: Client,
    table: String,
    /// Where it is noted that a transaction leaves a day. Only who writes copies needs it.
    days: Option<Days>,
}

/// Where a transaction lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionKey {
    /// Whose.
    pub scope: TenantScope,
    /// Through which connection.
    pub configuration_id: ConfigurationId,
    /// Which.
    pub transaction_id: TransactionId,
}

/// A transaction as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it lies.
    pub key: TransactionKey,
    /// The latest revision in full.
    pub transaction: Transaction,
    /// Counts changes of the content, from 1, without gaps.
    pub revision: u64,
    /// When we began to read this copy from the provider; never, if the provider has pushed it.
    pub observed_at: Option<Timestamp>,
    /// Every revision in short, this one included.
    pub history: Vec<Revision>,
    /// Set until the sales domain has acknowledged this revision.
    pub outbox: Option<OutboxMark>,
    /// The trace of whoever has asked for it to be sent again.
    pub resend_trace: Option<TraceParent>,
    /// The last revision that the sales domain has acknowledged.
    pub acknowledged_revision: Option<u64>,
    /// What the sales domain calls it.
    pub sales_record_id: Option<String>,
    /// When the sales domain has taken which revision, the oldest first.
    pub accepted: Vec<Accepted>,
    /// Why the sales domain has not taken this revision.
    pub rejected: Option<Rejected>,
    source_version: SourceVersion,
    /// Of the copy that the content is of: older, where the same content came under a newer version.
    copy_version: SourceVersion,
    content_hash: Vec<u8>,
}

impl Stored {
    /// The shop's day that a copy of it counts to.
    fn day_of(&self, copy: &Transaction) -> DayKey {
        DayKey {
            scope: self.key.scope.clone(),
            configuration_id: self.key.configuration_id,
            location_id: copy.location_id.clone(),
            date: copy.business_date,
        }
    }

    /// The shop's days in which something is otherwise since these revisions were written: those that they are of, and
    /// those that the ones before them were of.
    pub fn days_changed_by(&self, cause: &EventId) -> Vec<DayKey> {
        let copy = |at: usize| match self.history.get(at + 1) {
            Some(_) => self.history.get(at).and_then(|revision| revision.content.as_deref()),
            None => Some(&self.transaction),
        };
        let caused = self.history.iter().enumerate().filter(|(_, revision)| revision.cause == *cause);
        let copies = caused.flat_map(|(at, _)| [at.checked_sub(1).and_then(copy), copy(at)]).flatten();
        let mut days = Vec::new();
        for day in copies.map(|copy| self.day_of(copy)) {
            if !days.contains(&day) {
                days.push(day);
            }
        }
        days
    }

    /// What was believed of it at a moment: the revision in force then, and what it said. `None`: it was not known, or that
    /// was so many revisions ago that it is kept in short only.
    pub fn believed_at(&self, at: Timestamp) -> Option<&Transaction> {
        let place = self.history.iter().rposition(|revision| revision.at <= at)?;
        match self.history.get(place + 1) {
            Some(_) => self.history.get(place).and_then(|revision| revision.content.as_deref()),
            None => Some(&self.transaction),
        }
    }
}

/// A revision in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Revision {
    /// Its number.
    pub revision: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The event that led to it.
    pub cause: EventId,
    /// What it came to.
    #[serde(rename = "total_minor")]
    pub total: Minor,
    /// The first half of the content's hash.
    pub hash: String,
    /// The release that wrote it; those of the first months did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalizer: Option<String>,
    /// What it said, if another has followed it: the latest stands in [`Stored::transaction`]. The last fifty earlier ones
    /// are kept. Never part of an answer in which somebody asks for a history in short.
    #[serde(skip)]
    pub content: Option<Box<Transaction>>,
}

/// "The sales domain has not answered yet."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxMark {
    /// How often it was sent again.
    pub attempts: u32,
}

/// A copy of an order on its way into the table.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// What it says.
    pub transaction: Transaction,
    /// When we began to read it. `None`: the provider has pushed it. Then it was observed at no time, before all others.
    pub observed_at: Option<Timestamp>,
    /// The event that led to it.
    pub cause: &'a EventId,
}

/// What became of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// A new revision, to be sent.
    Recorded(Box<Stored>),
    /// Nothing new, but the sales domain has not answered yet; maybe it was never sent.
    Unanswered(Box<Stored>),
    /// Nothing new.
    Unchanged(Box<Stored>),
    /// The table has a newer copy.
    Stale(Box<Stored>),
}

impl PutOutcome {
    /// What the table has now.
    pub fn stored(&self) -> &Stored {
        match self {
            Self::Recorded(stored) | Self::Unanswered(stored) | Self::Unchanged(stored) | Self::Stale(stored) => stored,
        }
    }
}

/// Where a listing of what is due goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct DuePosition(Item);

/// A copy that the table has of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCopy {
    /// When we began to read it, if we did.
    pub observed_at: Option<Timestamp>,
    /// Which version it was.
    pub source_version: SourceVersion,
    /// As which transaction.
    pub transaction_id: TransactionId,
    /// As which revision of it.
    pub revision: u64,
}

impl Transactions {
    /// `table`: its name.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table, days: None }
    }

    /// For who writes copies: where it is noted that a transaction leaves a day for another.
    pub fn noting_moves(self, days: Days) -> Self {
        Self { days: Some(days), ..self }
    }

    /// One transaction.
    ///
    /// ```compile_fail,E0063
    /// # use shared::{domain::*, store::transactions::*};
    /// # async fn of(all: &Transactions, configuration_id: ConfigurationId, transaction_id: TransactionId) {
    /// let _ = all.find(&TransactionKey { configuration_id, transaction_id }).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::transactions::*};
    /// # async fn of(all: &Transactions, configuration_id: ConfigurationId, transaction_id: TransactionId, scope: TenantScope) {
    /// let _ = all.find(&TransactionKey { scope, configuration_id, transaction_id }).await;
    /// # }
    /// ```
    pub async fn find(&self, at: &TransactionKey) -> Result<Option<Stored>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key(at)));
        let answer = request.send().await.map_err(|error| AwsError::new("read a transaction", error))?;
        answer.item.as_ref().map(read).transpose()
    }

    /// Some transactions, in the order of their keys; those that are gone are left out. A read for each hundred.
    pub async fn find_many(&self, at: &[TransactionKey]) -> Result<Vec<Stored>, StoreError> {
        let keys = at.iter().map(key).collect();
        let items = batch_get(&self.client, &self.table, keys, false, "read transactions").await?;
        let mut found = items.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        found.sort_by_key(|stored| at.iter().position(|key| *key == stored.key));
        Ok(found)
    }

    /// The copies that we have of an order: one, or two of an exchange. May lag by a moment.
    pub async fn find_by_order(
        &self,
        scope: &TenantScope,
        configuration_id: ConfigurationId,
        order: &ExternalOrderId,
    ) -> Result<Vec<KnownCopy>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-order")
            .key_condition_expression("order_key = :order")
            .expression_attribute_values(":order", text(order_key(scope, configuration_id, order)))
            .send()
            .await
            .map_err(|error| AwsError::new("find an order's transactions", error))?;
        let copy = |item| {
            let item = Attributes { table: TABLE, item };
            Ok(KnownCopy {
                observed_at: item.optional_parsed("observed_at")?,
                source_version: SourceVersion(item.number("source_version")?),
                transaction_id: item.parsed("transaction_id")?,
                revision: item.number("revision")?,
            })
        };
        answer.items().iter().map(copy).collect()
    }

    /// Transactions of one shard whose acknowledgement is overdue at `now`, longest first, from after `start_after`.
    pub async fn list_due(
        &self,
        shard: u8,
        now: Timestamp,
        limit: i32,
        start_after: Option<DuePosition>,
    ) -> Result<Page<TransactionKey, DuePosition>, StoreError> {
        let answer = self.query_due(shard, now, limit, start_after).await?;
        let items = answer.items().iter().map(read_key).collect::<Result<_, _>>()?;
        Ok(Page { items, next: answer.last_evaluated_key.map(DuePosition) })
    }

    /// When the longest overdue acknowledgement was due, if any is by now.
    pub async fn find_first_due(&self, shard: u8) -> Result<Option<Timestamp>, StoreError> {
        let due = self.query_due(shard, Timestamp::now(), 1, None).await?;
        due.items().first().map(|item| Attributes { table: TABLE, item }.parsed("outbox_due_at")).transpose()
    }

    async fn query_due(
        &self,
        shard: u8,
        now: Timestamp,
        limit: i32,
        start_after: Option<DuePosition>,
    ) -> Result<QueryOutput, StoreError> {
        self.client
            .query()
            .table_name(&self.table)
            .index_name("unacknowledged")
            .key_condition_expression("outbox_shard = :shard AND outbox_due_at <= :now")
            .expression_attribute_values(":shard", text(shard))
            .expression_attribute_values(":now", time(now))
            .set_exclusive_start_key(start_after.map(|DuePosition(key)| key))
            .limit(limit)
            .send()
            .await
            .map_err(|error| AwsError::new("list unacknowledged transactions", error).into())
    }

    /// Removes every transaction of a configuration, or as many as there is time for.
    pub async fn purge(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        deadline: Instant,
    ) -> Result<Purged, StoreError> {
        let partition = ("configuration_key", text(configuration_key(scope, configuration)));
        purge(&self.client, &self.table, partition, "transaction_id", deadline).await
    }

    /// The shards of the outbox.
    pub fn outbox_shards() -> std::ops::Range<u8> {
        0..OUTBOX_SHARDS
    }

    /// Notes that a revision was sent again and is due again at `due_at`. Does nothing if it was answered meanwhile.
    pub async fn postpone(&self, sent: &Stored, attempts: u32, due_at: Timestamp) -> Result<(), StoreError> {
        let set = "SET outbox_due_at = :due, outbox_attempts = :attempts";
        let owner = OutboxMark { attempts }.is_overdue().then(|| text(sent.key.owner()));
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(&sent.key)))
            .update_expression(if owner.is_some() { format!("{set}, overdue_key = :owner") } else { set.to_owned() })
            .condition_expression("revision = :sent AND attribute_exists(outbox_shard)")
            .set_expression_attribute_values(owner.map(|owner| Item::from([(":owner".into(), owner)])))
            .expression_attribute_values(":due", time(due_at))
            .expression_attribute_values(":attempts", number(attempts))
            .expression_attribute_values(":sent", number(sent.revision));
        is_made(request.send().await, "postpone a transaction").map(drop)
    }
}
