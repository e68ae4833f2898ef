//! Transactions that somebody looks for: one range of one index, and what of it is wanted.
//!
//! What has no index of its own is picked from the range that holds it best, so the work of a page is bounded whatever
//! is asked for. Entries of an index are looked at by their keys first, and only those that may be wanted are read.

use aws_sdk_dynamodb::operation::query::QueryOutput;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::row::{day_prefix, key, read, read_day, read_key};
use super::{Item, SalesState, StoreError, Stored, TABLE, TransactionKey, Transactions};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, LocationId, TenantScope, TransactionId, TransactionKind, TransactionStatus};
use crate::store::configuration_key;
use crate::store::item::{Attributes, text};

/// DynamoDB's own limit for one read of many items.
const READ_AT_ONCE: usize = 100;
/// Before and after all dates: what is compared is text.
const FIRST_DATE: &str = "0";
const LAST_DATE: &str = ":";

/// Which transactions are looked for. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Of this shop.
    pub location_id: Option<LocationId>,
    /// Of this business date or a later one.
    pub from_date: Option<Date>,
    /// Of this business date or an earlier one.
    pub to_date: Option<Date>,
    /// Whose order was opened in this millisecond or later.
    pub from: Option<Timestamp>,
    /// Whose order was opened in this millisecond or earlier.
    pub to: Option<Timestamp>,
    /// Which way the money went.
    pub kind: Option<TransactionKind>,
    /// How far it has come.
    pub status: Option<TransactionStatus>,
    /// How far the sales domain and we have agreed.
    pub sales: Option<SalesState>,
    /// Whether its sums do not add up.
    pub is_flagged: Option<bool>,
}

/// After which transaction a search goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    transaction_id: TransactionId,
    /// Where it stands in an index that is not sorted by the id.
    sort: Option<String>,
}

/// What was found of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPage {
    /// What is wanted of it, in the range's order, and where a search that stops there goes on.
    pub found: Vec<(Position, Stored)>,
    /// Entries that were looked at.
    pub examined: usize,
    /// Where a search goes on that has taken all of it; none: there is no more.
    pub next: Option<Position>,
}

/// A stretch of the table or of an index, newest first.
struct Range {
    index: Option<&'static str>,
    partition: &'static str,
    sort: &'static str,
    bounds: Option<(String, String)>,
    /// Whether it may hold what is not wanted.
    is_picked_from: bool,
}

impl Search {
    /// The range that holds what is wanted and the least else.
    fn range(&self) -> Range {
        let ids = match (self.from, self.to) {
            (None, None) => None,
            (from, to) => Some((
                TransactionId::first_of(from.unwrap_or_default()).to_string(),
                TransactionId::last_of(to.unwrap_or(Timestamp::MAX)).to_string(),
            )),
        };
        let has_days = self.from_date.is_some() || self.to_date.is_some();
        let is_any = |more: bool| more || self.kind.is_some() || self.status.is_some();
        let sparse = |index, partition, sort, bounds, more| Range {
            index: Some(index),
            partition,
            sort,
            bounds,
            is_picked_from: is_any(more || has_days || self.location_id.is_some()),
        };
        let is_timed = ids.is_some();
        match (self.sales, self.is_flagged) {
            (Some(SalesState::Rejected), flagged) => {
                sparse("rejected", "rejected_key", "rejected_at", None, flagged.is_some() || is_timed)
            }
            (Some(SalesState::Overdue), flagged) => {
                sparse("overdue", "overdue_key", "transaction_id", ids, flagged.is_some())
            }
            (sales, Some(true)) => sparse("flagged", "flagged_key", "transaction_id", ids, sales.is_some()),
            (sales, flagged) if has_days || (self.location_id.is_some() && !is_timed) => {
                let one_day = self.from_date.filter(|from| Some(*from) == self.to_date);
                let (bounds, is_exact) = match (one_day, &self.location_id) {
                    (Some(day), Some(shop)) => {
                        let shop = day_prefix(day, Some(shop));
                        let (first, last) = ids.unwrap_or_else(|| (String::new(), "~".to_owned()));
                        ((format!("{shop}{first}"), format!("{shop}{last}")), true)
                    }
                    (_, shop) => {
                        let from = self.from_date.map_or_else(|| FIRST_DATE.to_owned(), |date| day_prefix(date, None));
                        let to = self.to_date.map_or_else(|| LAST_DATE.to_owned(), |date| format!("{date}$"));
                        ((from, to), shop.is_none() && !is_timed)
                    }
                };
                Range {
                    index: Some("by-business-date"),
                    partition: "configuration_key",
                    sort: "day_key",
                    bounds: Some(bounds),
                    is_picked_from: is_any(!is_exact || sales.is_some() || flagged.is_some()),
                }
            }
            (sales, flagged) => Range {
                index: None,
                partition: "configuration_key",
                sort: "transaction_id",
                bounds: ids,
                is_picked_from: is_any(sales.is_some() || flagged.is_some() || self.location_id.is_some()),
            },
        }
    }

    /// Whether an entry of an index may be wanted, by its keys.
    fn takes_entry(&self, item: &Item) -> Result<bool, StoreError> {
        let id = read_key(item)?.transaction_id;
        let (date, location_id) = read_day(item)?;
        Ok(self.takes_keys(id, date, &location_id))
    }

    fn takes_keys(&self, id: TransactionId, date: Date, location_id: &LocationId) -> bool {
        self.location_id.as_ref().is_none_or(|wanted| wanted == location_id)
            && self.from_date.is_none_or(|from| from <= date)
            && self.to_date.is_none_or(|to| date <= to)
            && self.from.is_none_or(|from| TransactionId::first_of(from) <= id)
            && self.to.is_none_or(|to| id <= TransactionId::last_of(to))
    }

    /// Whether a transaction is one that is looked for.
    pub fn takes(&self, stored: &Stored) -> bool {
        let transaction = &stored.transaction;
        self.takes_keys(transaction.id, transaction.business_date, &transaction.location_id)
            && self.kind.is_none_or(|kind| kind == transaction.kind)
            && self.status.is_none_or(|status| status == transaction.status)
            && self.sales.is_none_or(|sales| sales == stored.sales_state())
            && self.is_flagged.is_none_or(|is_flagged| is_flagged != transaction.discrepancies.is_empty())
    }
}

impl Transactions {
    /// What is wanted of a configuration's transactions, newest first, from after `start_after`: enough for a page of
    /// `wanted`, or what there is among `examined` entries (DynamoDB may have enough of it after a megabyte). One read of
    /// the range and, of an index, one for each hundred transactions. May lag by a moment.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::transactions::*};
    /// # async fn of(all: &Transactions, id: ConfigurationId) {
    /// let _ = all.search(id, &Search::default(), (10, 100), None).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::transactions::*};
    /// # async fn of(all: &Transactions, id: ConfigurationId, scope: TenantScope) {
    /// let _ = all.search(&scope, id, &Search::default(), (10, 100), None).await;
    /// # }
    /// ```
    pub async fn search(
        &self,
        scope: &TenantScope,
        configuration_id: ConfigurationId,
        search: &Search,
        (wanted, examined): (usize, usize),
        start_after: Option<Position>,
    ) -> Result<SearchPage, StoreError> {
        let range = search.range();
        let limit = if range.is_picked_from { examined } else { wanted };
        let owner = configuration_key(scope, configuration_id);
        let start = start_after.map(|Position { transaction_id, sort }| {
            let mut start = key(&TransactionKey { scope: scope.clone(), configuration_id, transaction_id });
            start.insert(range.partition.into(), text(&owner));
            sort.map(|sort| start.insert(range.sort.into(), text(sort)));
            start
        });
        let answer = self.query(&range, &owner, limit, start).await?;
        let mut page = SearchPage { found: Vec::new(), examined: answer.items().len(), next: None };
        page.next = answer.last_evaluated_key().map(|item| range.position(item)).transpose()?;
        let mut entries = Vec::new();
        for item in answer.items() {
            if range.index.is_none() || search.takes_entry(item)? {
                entries.push((range.position(item)?, item));
            }
        }
        let count = entries.len();
        for (chunk, entries) in entries.chunks(READ_AT_ONCE).enumerate() {
            // What the index says may be over by now, so the transaction has the last word.
            let stored = match range.index {
                None => entries.iter().map(|(_, item)| read(item)).collect::<Result<Vec<_>, _>>()?,
                Some(_) => {
                    let keys = entries.iter().map(|(_, item)| read_key(item)).collect::<Result<Vec<_>, _>>()?;
                    self.find_many(&keys).await?
                }
            };
            for stored in stored.into_iter().filter(|stored| search.takes(stored)) {
                let id = stored.key.transaction_id;
                let place = entries.iter().find(|(position, _)| position.transaction_id == id);
                page.found.extend(place.map(|(position, _)| (position.clone(), stored)));
            }
            let looked_at = chunk * READ_AT_ONCE + entries.len();
            if page.found.len() >= wanted && looked_at < count {
                page.next = entries.last().map(|(position, _)| position.clone());
                break;
            }
        }
        Ok(page)
    }

    async fn query(
        &self,
        range: &Range,
        owner: &str,
        limit: usize,
        start: Option<Item>,
    ) -> Result<QueryOutput, StoreError> {
        let mut condition = "#partition = :owner".to_owned();
        let mut request = self
            .client
            .query()
            .table_name(&self.table)
            .set_index_name(range.index.map(str::to_owned))
            .expression_attribute_names("#partition", range.partition)
            .expression_attribute_values(":owner", text(owner))
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start);
        if let Some((first, last)) = &range.bounds {
            // DynamoDB refuses a range that ends before it begins.
            if first > last {
                return Ok(QueryOutput::builder().build());
            }
            condition.push_str(" AND #sort BETWEEN :first AND :last");
            request = request
                .expression_attribute_names("#sort", range.sort)
                .expression_attribute_values(":first", text(first))
                .expression_attribute_values(":last", text(last));
        }
        let answer = request.key_condition_expression(condition).send().await;
        answer.map_err(|error| AwsError::new("search transactions", error).into())
    }
}

impl Range {
    fn position(&self, item: &Item) -> Result<Position, StoreError> {
        let item = Attributes { table: TABLE, item };
        let sort = (self.sort != "transaction_id").then(|| item.text(self.sort).map(str::to_owned));
        Ok(Position { transaction_id: item.parsed("transaction_id")?, sort: sort.transpose()? })
    }
}
