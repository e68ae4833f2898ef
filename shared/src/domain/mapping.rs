//! What is done with the mapping of a till's items to the tenant's products, many at once.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::past::{DayOutcome, PastDay};
use super::{Currency, JobId, Minor, ProductId, Quantity};

/// Mappings that somebody has sent together. They are written one by one, and each is used as soon as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "MappingImport"))]
pub struct Import {
    /// Which one.
    pub id: JobId,
    /// Who has sent it.
    pub by: String,
    /// When: a newer word on an item is never undone.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// How many mappings it has.
    pub rows: u64,
    /// Those that were taken so far.
    pub rows_done: u64,
    /// Those of them that said something new.
    pub changed: u64,
    /// Parts that it is kept in.
    pub parts: u32,
    /// Parts that were taken so far.
    pub parts_done: u32,
}

impl Import {
    /// Whether all of it has been taken.
    pub fn is_done(&self) -> bool {
        self.parts_done >= self.parts
    }
}

/// What a remapping changes on one business day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RemappedDay {
    /// Which day.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    pub business_date: Date,
    /// When it was looked at: what was recorded later is left as it is.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub previewed_at: Timestamp,
    /// How many transactions it changes.
    pub transactions: u64,
    /// A hash over the ids of those: these are changed, or none.
    pub transactions_hash: String,
    /// What changes, by item.
    pub changes: Vec<ProductChange>,
    /// What became of it; absent in a preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<DayOutcome>,
}

impl PastDay for RemappedDay {
    const WORDS: [&'static str; 2] = ["remapping", "remapped"];

    fn place(&self) -> String {
        self.business_date.to_string()
    }

    fn outcome(&self) -> Option<DayOutcome> {
        self.outcome
    }
}

/// An item that counts as another product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProductChange {
    /// The till's id of the item.
    pub item_id: String,
    /// As the till prints it.
    pub name: String,
    /// What it counted as; null: as nothing.
    pub from: Option<ProductId>,
    /// What it counts as; null: as nothing.
    pub to: Option<ProductId>,
    /// Lines of transactions, whatever their state.
    pub lines: u64,
    /// Sold less taken back, of what counts as turnover.
    pub quantity: Quantity,
    /// What that came to, in the smallest unit of `currency`.
    #[serde(rename = "total_minor")]
    pub total: Minor,
    /// Of `total_minor`.
    pub currency: Currency,
}
