//! What is read page by page, and what is written back.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::RawOrder;
pub use crate::domain::{Availability, CatalogItem};
use crate::domain::{Currency, Location, LocationId, Minor};

/// Which orders of a shop are wanted: those that changed in a window of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderQuery {
    /// The shop.
    pub location: LocationId,
    /// Changed at this time or later.
    pub from: Timestamp,
    /// Changed before this time. Some providers count the end itself in; doing it twice is harmless.
    pub to: Timestamp,
    /// Where to go on, from the page before. It belongs to this query and to no other.
    pub cursor: Option<String>,
}

/// A page of orders.
#[derive(Debug, Clone)]
pub struct OrderPage {
    /// Whole, so that nothing more needs to be read; in the provider's order.
    pub orders: Vec<RawOrder>,
    /// Where to go on. `None`: the window has been read to its end.
    pub next: Option<String>,
    /// Requests that the page took: the budget is charged for those beyond the first.
    pub requests: u32,
}

/// Which accounting day of a shop is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayQuery {
    /// The shop.
    pub location: Location,
    /// The day.
    pub date: Date,
    /// What happens after this moment is not wanted: the same for all pages.
    pub until: Timestamp,
    /// The payments of what was read so far: where a provider lists a day's payments, those that are not among them lead to
    /// orders that its list of orders has left out.
    pub payments: BTreeSet<String>,
    /// Where to go on, from the page before. It belongs to this query and to no other.
    pub cursor: Option<String>,
}

/// A page of a day.
#[derive(Debug, Clone)]
pub struct DayPage {
    /// Whole; some may stand on several pages, or be of another day.
    pub orders: Vec<RawOrder>,
    /// Where to go on. `None`: this was all.
    pub next: Option<String>,
    /// Requests that the page took.
    pub requests: u32,
    /// Whether the provider has everything of that day.
    pub is_final: bool,
    /// Whether it looks as if there were more that is not shown.
    pub is_capped: bool,
}

/// How a provider lists what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// The longest window that [`list_orders`](super::PosProvider::list_orders) may be asked for.
    pub longest_window: SignedDuration,
    /// Orders of a full page. A full page without a next one may have been cut.
    pub page_size: usize,
    /// Whether it says what it counts to a day, and lists a sale in the window of that day only.
    pub counts_days: bool,
    /// Whether all shops of a merchant have one catalogue.
    pub shares_catalog: bool,
    /// How long after the time it is listed under an order may still turn up. Nothing, where that is the time of the
    /// change.
    pub late: SignedDuration,
}

/// A page of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogPage {
    /// What is sold.
    pub items: Vec<CatalogItem>,
    /// Where to go on.
    pub next: Option<String>,
}

/// What a provider says that a shop sold in an accounting day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyTotals {
    /// Which day, by the provider's reckoning.
    pub date: Date,
    /// Whether the provider has everything of that day.
    pub is_final: bool,
    /// Of the turnover.
    pub currency: Currency,
    /// How many sales count.
    pub sales: u32,
    /// How many refunds count.
    pub refunds: u32,
    /// Sales less refunds, without tips.
    pub turnover: Minor,
}

/// For what a provider lets us say whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AvailabilitySupport {
    /// For everything.
    AllItems,
    /// For what it keeps a count of, by setting the count.
    CountedItems,
    /// For nothing.
    Nothing,
}

/// An item that is there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailabilityChange {
    /// In which shop.
    pub location: LocationId,
    /// As lines and catalogue name it.
    pub item_id: String,
    /// What is to be shown at the till.
    pub availability: Availability,
    /// The same for every attempt at the same change.
    pub idempotency_key: String,
    /// When it was decided: the same for every attempt, too.
    pub decided_at: Timestamp,
}

/// What a till shows of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownAvailability {
    /// This.
    Known(Availability),
    /// The provider keeps no count of this item, so it can neither be known nor said.
    NotCounted,
    /// There is no such item.
    UnknownItem,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AvailabilityOutcome {
    /// The till shows it.
    Applied,
    /// There is no such item.
    UnknownItem,
}
