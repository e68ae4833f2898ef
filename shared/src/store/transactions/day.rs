//! Listings: all of a configuration, a business day of it, or a shop's.

use jiff::Timestamp;
use jiff::civil::Date;

use super::{Page, Position, Search, StoreError, Stored, TransactionKey, Transactions};
use crate::domain::{ConfigurationId, LocationId, TenantScope, Transaction, TransactionId};
use crate::store::days::{DayKey, Days};

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

impl Wanted<'_> {
    fn search(self) -> Search {
        let (date, shop) = match self {
            Self::All => (None, None),
            Self::Day(date) => (Some(date), None),
            Self::ShopDay(date, shop) => (Some(date), Some(shop.clone())),
        };
        Search { from_date: date, to_date: date, location_id: shop, ..Search::default() }
    }
}

impl Transactions {
    /// A page of a configuration's transactions, from after `start_after`.
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
        let most = usize::try_from(limit).unwrap_or(0);
        let page = self.search(scope, configuration_id, &wanted.search(), (most, most), start_after).await?;
        Ok(Page { items: page.found.into_iter().map(|(_, stored)| stored).collect(), next: page.next })
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
        stored.extend(self.find_many(&keys).await?);
        let believed = stored.iter().filter_map(|stored| stored.believed_at(at));
        let is_of_day = |it: &&Transaction| it.business_date == day.date && it.location_id == day.location_id;
        Ok(believed.filter(is_of_day).cloned().collect())
    }
}
