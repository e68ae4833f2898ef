//! What is sold and counts as nothing of the tenant's, by what is at stake.
//!
//! It is counted when somebody asks, from what was sold of late: exact, and no sale ever pays for it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::domain::{Currency, LineItemKind, Minor, Quantity, Transaction, TransactionKind, TransactionStatus};
use shared::problem::Problem;
use shared::rest::{Answer, Call, unavailable};
use shared::store::transactions::Wanted;

use super::configuration_id;
use crate::App;

pub(crate) const DEFAULT_DAYS: u8 = 7;
pub(crate) const MAX_DAYS: u8 = 31;
pub(crate) const DEFAULT_PAGE: i32 = 50;
/// Transactions that are read together.
const READ: i32 = 500;
/// The gateway waits 29 seconds, the function 25; what was counted until then is answered.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is not mapped.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unmapped {
    /// Sales and refunds since then were counted.
    since: Timestamp,
    /// Whether that is all that was asked for; else there was no time for more.
    complete: bool,
    /// How many transactions were counted.
    transactions: u64,
    /// The dearest first.
    items: Vec<UnmappedItem>,
    /// How many more there are.
    more: u64,
}

/// An item that is not mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UnmappedItem {
    /// The till's id.
    item_id: String,
    /// As the till printed it last.
    name: String,
    /// Sold less taken back.
    quantity: Quantity,
    /// Sold less taken back, in the smallest unit of `currency`.
    #[serde(rename = "total_minor")]
    total: Minor,
    /// Of `total_minor`.
    currency: Currency,
    /// In how many lines.
    lines: u64,
    /// When it was sold last.
    last_sold_at: Timestamp,
}

/// Answers what is at stake.
pub async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let mut parameters = call.parameters();
    let Days(days) = parameters.get("days", Days::EXPECTED).unwrap_or_default();
    let limit = parameters.limit(DEFAULT_PAGE);
    parameters.finish()?;
    let (deadline, wanted) =
        (Instant::now() + PATIENCE, Timestamp::now() - SignedDuration::from_hours(24 * i64::from(days)));
    let (mut tally, mut since, mut after, mut transactions) = (Tally::default(), wanted, None, 0);
    let complete = loop {
        let page = app.transactions.list(&call.scope, id, Wanted::All, READ, after).await;
        let page = page.map_err(|error| unavailable(&error))?;
        let mut is_past = false;
        // The newest first.
        for stored in &page.items {
            if stored.transaction.created_at < wanted {
                is_past = true;
                break;
            }
            transactions += 1;
            since = stored.transaction.created_at;
            tally.add(&stored.transaction);
        }
        after = page.next;
        if is_past || after.is_none() {
            break true;
        }
        if Instant::now() >= deadline {
            break false;
        }
    };
    // A line may be older than the mapping: what counts is what the item is today.
    let ids: Vec<String> = tally.items.keys().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    for ids in ids.chunks(100) {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let found = app.product_mappings.find(&call.scope, id, &ids).await.map_err(|error| unavailable(&error))?;
        tally.items.retain(|(id, _), _| found.get(id).is_none_or(|row| row.mapped.is_none()));
    }
    let mut items = tally.by_stake();
    let more = items.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    items.truncate(items.len() - more);
    let since = if complete { wanted } else { since };
    let more = u64::try_from(more).unwrap_or(u64::MAX);
    Answer::json(StatusCode::OK, &Unmapped { since, complete, transactions, items, more })
}

/// How far back.
pub(crate) struct Days(pub u8);

impl Days {
    pub(crate) const EXPECTED: &str = "a number from 1 to 31";
}

impl Default for Days {
    fn default() -> Self {
        Self(DEFAULT_DAYS)
    }
}

impl std::str::FromStr for Days {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().ok().filter(|days| (1..=MAX_DAYS).contains(days)).map(Self).ok_or(())
    }
}

#[derive(Default)]
struct Tally {
    items: BTreeMap<(String, &'static str), UnmappedItem>,
}

impl Tally {
    fn add(&mut self, transaction: &Transaction) {
        if transaction.status != TransactionStatus::Completed {
            return;
        }
        let is_sale = transaction.kind == TransactionKind::Sale;
        for line in transaction.line_items.iter().filter(|line| line.kind == LineItemKind::Item) {
            let Some(item_id) = &line.item_id else { continue };
            let item =
                self.items.entry((item_id.clone(), transaction.currency.code())).or_insert_with(|| UnmappedItem {
                    item_id: item_id.clone(),
                    name: line.name.clone(),
                    quantity: Quantity::ZERO,
                    total: Minor::ZERO,
                    currency: transaction.currency,
                    lines: 0,
                    last_sold_at: transaction.occurred_at,
                });
            item.lines += 1;
            item.last_sold_at = item.last_sold_at.max(transaction.occurred_at);
            item.quantity = item.quantity + if is_sale { line.quantity } else { -line.quantity };
            let total = if is_sale { item.total.checked_add(line.total) } else { item.total.checked_sub(line.total) };
            // What a shop sells in a month is far from the largest sum.
            item.total = total.unwrap_or(item.total);
        }
    }

    fn by_stake(self) -> Vec<UnmappedItem> {
        let mut items: Vec<UnmappedItem> = self.items.into_values().collect();
        items.sort_by_key(|item| (Reverse(item.total.0.unsigned_abs()), Reverse(item.quantity), item.item_id.clone()));
        items
    }
}
