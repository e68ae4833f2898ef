//! What the running release makes of the raw orders that are kept, compared with what is stored.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::past::{DayOutcome, PastDay};
use super::{Amounts, Currency, LocationId, Minor, ProductId, Quantity, Transaction, TransactionId, TransactionStatus};

/// A location on one business date.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShopDay {
    /// Which day.
    pub business_date: Date,
    /// Which shop.
    pub location_id: LocationId,
}

impl ShopDay {
    /// Where a transaction counts.
    pub fn of(transaction: &Transaction) -> Self {
        Self { business_date: transaction.business_date, location_id: transaction.location_id.clone() }
    }
}

/// What a rebuild would change of a shop's day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RebuiltDay {
    /// Which day.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    pub business_date: Date,
    /// Which shop.
    pub location_id: LocationId,
    /// When it was looked at.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub previewed_at: Timestamp,
    /// The release that has read the raw orders again.
    pub normalizer: String,
    /// Copies of orders that were read again.
    pub orders: u64,
    /// Of those, what this release cannot take, or what could not be opened.
    pub failed: u64,
    /// Transactions that are not stored and would be.
    pub created: u64,
    /// Transactions that would have other content.
    pub changed: u64,
    /// Transactions that come out as they are stored.
    pub same: u64,
    /// Transactions that are stored, and of whose newest copy nothing raw is kept. They stay as they are.
    pub uncovered: u64,
    /// Over the ids and contents of the transactions that are stored, sorted.
    pub hash_now: String,
    /// Over those that would be. One that would move to another day counts where it is now.
    pub hash_then: String,
    /// Over what would be written, and what it would be written over: exactly that is done, or nothing.
    pub plan_hash: String,
    /// What would change, by transaction: the first hundred.
    pub transactions: Vec<RebuiltTransaction>,
    /// What would change, by product: only what comes to something.
    pub products: Vec<ProductDifference>,
    /// What would change, by currency: then less now, of what counts as turnover, refunds taken off.
    pub amounts: Vec<AmountsDifference>,
    /// What became of it; absent in a preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<DayOutcome>,
}

impl PastDay for RebuiltDay {
    const WORDS: [&'static str; 2] = ["rebuild", "rebuilt"];

    fn place(&self) -> String {
        Self::place_of(self.business_date, &self.location_id)
    }

    fn outcome(&self) -> Option<DayOutcome> {
        self.outcome
    }
}

impl RebuiltDay {
    /// Where the row of a shop's day stands.
    pub fn place_of(business_date: Date, location_id: &LocationId) -> String {
        format!("{business_date}#{location_id}")
    }

    /// How many transactions would be written.
    pub fn writes(&self) -> u64 {
        self.created + self.changed
    }
}

/// A transaction that would change, or be new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RebuiltTransaction {
    /// Which one.
    pub id: TransactionId,
    /// As it is stored; null: it is not.
    pub now: Option<Booked>,
    /// As it would be.
    pub then: Booked,
}

/// What a transaction comes to, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Booked {
    /// Where it counts.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    pub business_date: Date,
    /// Whether it does.
    pub status: TransactionStatus,
    /// Its totals, in the smallest unit of `currency`.
    pub amounts: Amounts,
    /// Of the amounts.
    pub currency: Currency,
}

impl Booked {
    /// What this one comes to.
    pub fn of(transaction: &Transaction) -> Self {
        let Transaction { business_date, status, amounts, currency, .. } = *transaction;
        Self { business_date, status, amounts, currency }
    }
}

/// What a product would come to, less what it comes to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProductDifference {
    /// The till's id of the item; null: an amount that was typed in.
    pub item_id: Option<String>,
    /// As the till prints it.
    pub name: String,
    /// What the tenant calls it; null: nothing yet.
    pub product_id: Option<ProductId>,
    /// Sold less taken back.
    pub quantity: Quantity,
    /// What that came to, in the smallest unit of `currency`.
    #[serde(rename = "total_minor")]
    pub total: Minor,
    /// Of `total_minor`.
    pub currency: Currency,
}

/// What a shop's day would come to, less what it comes to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AmountsDifference {
    /// Of the amounts.
    pub currency: Currency,
    /// In its smallest unit.
    #[serde(flatten)]
    pub amounts: Amounts,
}
