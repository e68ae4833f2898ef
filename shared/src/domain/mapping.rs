//! What is done with the mapping of a till's items to the tenant's products, many at once.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Currency, MappingJobId, Minor, ProductId, Quantity};

/// Mappings that somebody has sent together. They are written one by one, and each is used as soon as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "MappingImport"))]
pub struct Import {
    /// Which one.
    pub id: MappingJobId,
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

/// The mapping of today, brought to what was sold before: first shown, then done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Remapping {
    /// Which one.
    pub id: MappingJobId,
    /// Who wants it.
    pub by: String,
    /// Since when.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// How far it is.
    pub state: RemappingState,
    /// The first business day.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    pub from: Date,
    /// The last one. Days are worked on from the last to the first.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    pub to: Date,
    /// Days that were looked at for the preview.
    pub days_previewed: u32,
    /// Days that were done since somebody has agreed.
    pub days_applied: u32,
    /// Transactions that would change.
    pub transactions: u64,
    /// Transactions that have changed.
    pub transactions_applied: u64,
    /// Days that were left as they are, because what would change there was no longer what had been shown.
    pub days_skipped: u32,
}

/// How far a remapping is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RemappingState {
    /// It is being found out what would change. Nothing does.
    Previewing,
    /// It can be looked at and agreed to.
    Previewed,
    /// What was shown is being done.
    Applying,
    /// It is done.
    Applied,
}

impl Remapping {
    /// How many business days it covers.
    pub fn days(&self) -> u32 {
        let days = self.from.until(self.to).map_or(0, |span| span.get_days());
        u32::try_from(days).unwrap_or(0) + 1
    }

    /// The day to be worked on next, in the state it is in.
    pub fn next_day(&self) -> Option<Date> {
        let done = match self.state {
            RemappingState::Previewing => self.days_previewed,
            RemappingState::Applying => self.days_applied,
            RemappingState::Previewed | RemappingState::Applied => return None,
        };
        let day = self.to.checked_sub(jiff::Span::new().days(done)).ok()?;
        (day >= self.from).then_some(day)
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
    pub outcome: Option<RemappedDayOutcome>,
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

/// What became of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RemappedDayOutcome {
    /// What was shown was done.
    Applied,
    /// Transactions that were shown have changed since so that others would be concerned, so none was.
    ChangedSincePreview,
}
