//! The days table: tenant#configuration / entry.
//!
//! - `day#{date}#{location}`: a shop's business day as it was said last: figures, certificate, whether the sales domain was
//!   told, and when somebody must look at it.
//! - `revision#{date}#{location}#{revision}`: what was said of it before. Kept for ever.
//! - `moved#{date}#{location}#{transaction}`: a transaction that was of that day once, and is of another since.
//! - `clock#{location}`: which day of a shop is closed next, and when.
//!
//! What somebody must look at stands in the index `by-due-time`. Whoever looks has moved `due_at` before, on the condition
//! that it is what was seen; whatever changes a day moves it, too. So it tells whether a day is still as it was read.

mod clock;
mod row;

use std::time::Instant;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::item::{Attributes, Item, due_shard, is_made, number, purge, refused_with, text, time};
use super::{Purged, StoreError, configuration_key};
use crate::aws::AwsError;
use crate::domain::{Certificate, ConfigurationId, DayProduct, Figures, LocationId, TenantScope, TransactionId};

pub use clock::Clock;
use row::{day_entry, key, moved_entry, read, read_due, read_revision, revision_entry, to_item, to_revision};

const TABLE: &str = "days";
/// The index of what is due spreads over so many partitions.
const DUE_SHARDS: u8 = 8;

/// The table.
#[derive(Clone)]
pub struct Days {
    client: Client,
    table: String,
}

/// A shop's business day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayKey {
    /// Whose.
    pub scope: TenantScope,
    /// Through which connection.
    pub configuration_id: ConfigurationId,
    /// Which shop.
    pub location_id: LocationId,
    /// Its accounting day.
    pub date: Date,
}

/// A day as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// Which.
    pub key: DayKey,
    /// Counts what was said of it, from 1, without gaps. 0: nothing yet.
    pub revision: u64,
    /// What was said last.
    pub said: Option<Said>,
    /// How often in a row it was looked at without being proven.
    pub attempts: u32,
    /// When something of it was changed that nobody has looked at yet.
    pub changed_at: Option<Timestamp>,
    /// Whether the sales domain may not have been told of this revision.
    pub is_unsent: bool,
    /// When somebody must look at it.
    pub due_at: Option<Timestamp>,
}

/// What was said of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// When.
    pub at: Timestamp,
    /// What it comes to.
    pub figures: Figures,
    /// How sure we are. It may have been found anew since `at`, with the same verdict.
    pub certificate: Certificate,
    /// Its products with what has changed of each, if something was said before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub products: Option<Vec<DayProduct>>,
}

/// What somebody must look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// A day.
    Day(DayKey, Timestamp),
    /// A shop whose day is over.
    Clock(Clock),
}

impl Due {
    /// Since when.
    pub fn due_at(&self) -> Timestamp {
        match self {
            Self::Day(_, due_at) => *due_at,
            Self::Clock(clock) => clock.due_at,
        }
    }
}

impl Days {
    /// `table`: its name.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// A day, if anything is known of it.
    ///
    /// ```compile_fail,E0063
    /// # use shared::{domain::*, store::days::*};
    /// # async fn of(days: &Days, configuration_id: ConfigurationId, location_id: LocationId, date: jiff::civil::Date) {
    /// let _ = days.find(&DayKey { configuration_id, location_id, date }).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::days::*};
    /// # async fn of(days: &Days, configuration_id: ConfigurationId, location_id: LocationId, date: jiff::civil::Date,
    /// #     scope: TenantScope) {
    /// let _ = days.find(&DayKey { scope, configuration_id, location_id, date }).await;
    /// # }
    /// ```
    pub async fn find(&self, day: &DayKey) -> Result<Option<Day>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key(day, day_entry(day))));
        let answer = request.send().await.map_err(|error| AwsError::new("read a day", error))?;
        answer.item.as_ref().map(read).transpose()
    }

    /// The days of a configuration from one date to another, both included, in the order of their dates and shops.
    pub async fn list(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        (from, to): (Date, Date),
    ) -> Result<Vec<Day>, StoreError> {
        // What follows a date in an entry sorts before `~`.
        let range = (format!("day#{from}#"), format!("day#{to}#~"));
        self.entries(scope, configuration, range).await?.iter().map(read).collect()
    }

    /// What was said of a day before the latest, the oldest first.
    pub async fn list_revisions(&self, day: &DayKey) -> Result<Vec<(u64, Said)>, StoreError> {
        let range = (revision_entry(day, 0), revision_entry(day, u64::MAX));
        let found = self.entries(&day.scope, day.configuration_id, range).await?;
        found.iter().map(read_revision).collect()
    }

    /// Asks for a look at a day at `due_at`, whatever is known of it so far.
    pub async fn ask(&self, day: &DayKey, due_at: Timestamp) -> Result<(), StoreError> {
        let request = self.due(day, due_at).update_expression(
            "SET due_shard = :shard, due_at = :due, revision = if_not_exists(revision, :zero), attempts = :zero",
        );
        is_made(request.send().await, "ask for a day").map(drop)
    }

    /// Says that a transaction of a day was written, if anything was said of the day: it is looked at soon. `false`: nothing
    /// was.
    pub async fn note_change(&self, day: &DayKey, at: Timestamp, due_at: Timestamp) -> Result<bool, StoreError> {
        let request = self
            .due(day, due_at)
            .update_expression("SET due_shard = :shard, due_at = :due, changed_at = :now, attempts = :zero")
            .condition_expression("attribute_exists(entry)")
            .expression_attribute_values(":now", time(at));
        is_made(request.send().await, "note a change of a day")
    }

    /// Says, before it is done, that a transaction leaves a day for another: who asks what was believed finds it there.
    pub async fn note_move(&self, from: &DayKey, transaction: TransactionId) -> Result<(), StoreError> {
        let request = self.client.put_item().table_name(&self.table);
        let item = key(from, moved_entry(from, &transaction.to_string()));
        let sent = request.set_item(Some(item)).send().await;
        sent.map(drop).map_err(|error| AwsError::new("note that a transaction moves", error).into())
    }

    /// The transactions that were of a day once, and have left it.
    pub async fn list_moved(&self, day: &DayKey) -> Result<Vec<TransactionId>, StoreError> {
        let range = (moved_entry(day, ""), moved_entry(day, "~"));
        let found = self.entries(&day.scope, day.configuration_id, range).await?;
        let id = |item: &Item| {
            let item = Attributes { table: TABLE, item };
            let id = item.text("entry")?.rsplit('#').next().and_then(|id| id.parse().ok());
            id.ok_or_else(|| item.unreadable("entry"))
        };
        found.iter().map(id).collect()
    }

    /// Takes a day that is due, until `until`. `None`: somebody else has, or it has changed meanwhile, or is gone.
    pub async fn claim(
        &self,
        day: &DayKey,
        seen_due_at: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Day>, StoreError> {
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(day, day_entry(day))))
            .update_expression("SET due_at = :until")
            .condition_expression("due_at = :seen")
            .expression_attribute_values(":until", time(until))
            .expression_attribute_values(":seen", time(seen_due_at))
            .return_values(ReturnValue::AllNew);
        let Ok(taken) = refused_with(request.send().await, "take a day")? else { return Ok(None) };
        taken.attributes().map(read).transpose()
    }

    /// Says something of a day, if it is still as it was `taken`. What was said before is kept first: a crash between the
    /// two leaves it twice. `false`: it has changed meanwhile, and is due again.
    pub async fn say(&self, taken: &Day, next: &Day) -> Result<bool, StoreError> {
        if next.revision > taken.revision
            && let Some(before) = &taken.said
        {
            let put = self.client.put_item().table_name(&self.table);
            let put = put.set_item(Some(to_revision(&taken.key, taken.revision, before)?)).send().await;
            put.map_err(|error| AwsError::new("keep what was said of a day", error))?;
        }
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(next)?))
            .condition_expression("revision = :seen AND due_at = :due")
            .expression_attribute_values(":seen", number(taken.revision))
            .expression_attribute_values(":due", taken.due_at.map_or_else(|| text(""), time));
        is_made(put.send().await, "say what a day came to")
    }

    /// Notes that the sales domain was told of a revision, and when the day must be looked at again, if it must.
    pub async fn settle(&self, said: &Day, due_at: Option<Timestamp>) -> Result<bool, StoreError> {
        let update = match due_at {
            Some(_) => "SET due_at = :next REMOVE is_unsent",
            None => "REMOVE is_unsent, due_at, due_shard",
        };
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(&said.key, day_entry(&said.key))))
            .update_expression(update)
            .condition_expression("revision = :seen AND due_at = :due")
            .expression_attribute_values(":seen", number(said.revision))
            .expression_attribute_values(":due", said.due_at.map_or_else(|| text(""), time));
        if let Some(next) = due_at {
            request = request.expression_attribute_values(":next", time(next));
        }
        is_made(request.send().await, "settle a day")
    }

    /// Shards of the index of what is due.
    pub fn due_shards() -> std::ops::Range<u8> {
        0..DUE_SHARDS
    }

    /// What somebody must look at by now, the longest due first.
    pub async fn list_due(&self, shard: u8, now: Timestamp, limit: i32) -> Result<Vec<Due>, StoreError> {
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
            .map_err(|error| AwsError::new("list due days", error))?;
        answer.items().iter().map(read_due).collect()
    }

    /// Removes everything of a configuration, or as much as there is time for.
    pub async fn purge(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        deadline: Instant,
    ) -> Result<Purged, StoreError> {
        let partition = ("configuration_key", text(configuration_key(scope, configuration)));
        purge(&self.client, &self.table, partition, "entry", deadline).await
    }

    /// A write that makes a day due.
    fn due(&self, day: &DayKey, due_at: Timestamp) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.table).set_key(Some(key(day, day_entry(day))));
        request
            .expression_attribute_values(":shard", due_shard(day.configuration_id, DUE_SHARDS))
            .expression_attribute_values(":due", time(due_at))
            .expression_attribute_values(":zero", number(0))
    }

    /// All entries of a configuration between two names, both included.
    async fn entries(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        (first, last): (String, String),
    ) -> Result<Vec<Item>, StoreError> {
        let (mut found, mut start) = (Vec::new(), None);
        // DynamoDB refuses a range that ends before it begins.
        if first > last {
            return Ok(found);
        }
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("configuration_key = :configuration AND entry BETWEEN :first AND :last")
                .expression_attribute_values(":configuration", text(configuration_key(scope, configuration)))
                .expression_attribute_values(":first", text(&first))
                .expression_attribute_values(":last", text(&last))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| AwsError::new("list days", error))?;
            found.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(found);
            }
        }
    }
}
