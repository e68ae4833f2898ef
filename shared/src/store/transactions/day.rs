//! Listings: all of a configuration, a business day of it, or a shop's.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::row::{day_prefix, key, read, read_key};
use super::{Attributes, Item, Page, StoreError, Stored, TABLE, TransactionKey, Transactions};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, LocationId, TenantScope, Transaction, TransactionId};
use crate::store::configuration_key;
use crate::store::days::{DayKey, Days};
use crate::store::item::text;

/// Keys of one query, and copies of one batched read: DynamoDB reads no more at once.
const AT_ONCE: i32 = 100;

/// Which transactions of a configuration are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// All, newest first.
    All,
    /// Those of an accounting day, shop by shop, newest first in each.
    Day(Date),
    /// Those of a shop's accounting day, newest first.
    ShopDay(Date, &'a LocationId),
}

/// After which transaction a listing goes on. It belongs to this listing and to no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    id: TransactionId,
    /// Of a day's listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    day_key: Option<String>,
}

impl Position {
    fn of(last: &Item) -> Result<Self, StoreError> {
        let last = Attributes { table: TABLE, item: last };
        Ok(Self { id: last.parsed("transaction_id")?, day_key: last.optional_text("day_key").map(str::to_owned) })
    }
}

impl Transactions {
    /// A page of a configuration's transactions, from after `start_after`. At most a hundred, if they are a day's.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::transactions::*};
    /// # async fn of(all: &Transactions, id: ConfigurationId) {
    /// let _ = all.list(id, Wanted::All, 10, None).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::transactions::*};
    /// # async fn of(all: &Transactions, id: ConfigurationId, scope: TenantScope) {
    /// let _ = all.list(&scope, id, Wanted::All, 10, None).await;
    /// # }
    /// ```
    pub async fn list(
        &self,
        scope: &TenantScope,
        configuration_id: ConfigurationId,
        wanted: Wanted<'_>,
        limit: i32,
        start_after: Option<Position>,
    ) -> Result<Page<Stored, Position>, StoreError> {
        let start = start_after.map(|Position { id, day_key }| {
            let mut start = key(&TransactionKey { scope: scope.clone(), configuration_id, transaction_id: id });
            start.extend(day_key.map(|day_key| ("day_key".into(), text(day_key))));
            start
        });
        let request = self
            .client
            .query()
            .table_name(&self.table)
            .expression_attribute_values(":configuration", text(configuration_key(scope, configuration_id)))
            .scan_index_forward(false)
            .set_exclusive_start_key(start)
            .limit(limit);
        let prefix = match wanted {
            Wanted::All => {
                let request = request.key_condition_expression("configuration_key = :configuration");
                let answer = request.send().await.map_err(|error| AwsError::new("list transactions", error))?;
                let items = answer.items().iter().map(read).collect::<Result<_, _>>()?;
                return Ok(Page { items, next: answer.last_evaluated_key().map(Position::of).transpose()? });
            }
            Wanted::Day(date) => day_prefix(date, None),
            Wanted::ShopDay(date, shop) => day_prefix(date, Some(shop)),
        };
        let request = request
            .index_name("by-business-date")
            .key_condition_expression("configuration_key = :configuration AND begins_with(day_key, :day)")
            .expression_attribute_values(":day", text(prefix));
        let answer = request.send().await.map_err(|error| AwsError::new("list a day's transactions", error))?;
        let keys = answer.items().iter().map(read_key).collect::<Result<Vec<_>, _>>()?;
        let next = answer.last_evaluated_key().map(Position::of).transpose()?;
        Ok(Page { items: self.find_many(&keys).await?, next })
    }

    /// All of a shop's day: one pass, a hundred in each read.
    pub async fn of_shop_day(&self, day: &DayKey) -> Result<Vec<Stored>, StoreError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let wanted = Wanted::ShopDay(day.date, &day.location_id);
            let page = self.list(&day.scope, day.configuration_id, wanted, AT_ONCE, after).await?;
            found.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    /// What a shop's day was believed to hold at a moment: of each transaction the revision that was in force then. Those
    /// that have left the day since are found by what was noted before they left.
    pub async fn believed(&self, days: &Days, day: &DayKey, at: Timestamp) -> Result<Vec<Transaction>, StoreError> {
        let mut stored = self.of_shop_day(day).await?;
        let moved = days.list_moved(day).await?.into_iter();
        let key = |transaction_id| {
            let (scope, configuration_id) = (day.scope.clone(), day.configuration_id);
            TransactionKey { scope, configuration_id, transaction_id }
        };
        let is_elsewhere = |id: &TransactionId| stored.iter().all(|stored| stored.transaction.id != *id);
        let keys: Vec<TransactionKey> = moved.filter(is_elsewhere).map(key).collect();
        for keys in keys.chunks(usize::try_from(AT_ONCE).unwrap_or(1)) {
            stored.extend(self.find_many(keys).await?);
        }
        let believed = stored.iter().filter_map(|stored| stored.believed_at(at));
        let is_of_day = |it: &&Transaction| it.business_date == day.date && it.location_id == day.location_id;
        Ok(believed.filter(is_of_day).cloned().collect())
    }
}
