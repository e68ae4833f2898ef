//! What a caller sees of a transaction: what the sales domain received, and how far the two have agreed.

use jiff::Timestamp;
use serde::Serialize;
use shared::domain::Transaction;
use shared::store::transactions::{Revision, Stored};

/// A transaction as the API shows it.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "StoredTransaction"))]
pub struct TransactionView<'a> {
    #[serde(flatten)]
    transaction: &'a Transaction,
    /// Counts what became of it, from 1, without gaps.
    revision: u64,
    /// When we began to read it from the provider; null where the provider has sent it whole.
    observed_at: Option<Timestamp>,
    /// Its revisions, in short.
    history: &'a [Revision],
    sales: SalesView<'a>,
}

/// What the sales domain has said.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SalesAnswer"))]
struct SalesView<'a> {
    /// Whether it has the latest revision.
    acknowledged: bool,
    /// The last revision that it has taken.
    acknowledged_revision: Option<u64>,
    /// Its own id of the sale.
    record_id: Option<&'a str>,
}

impl<'a> TransactionView<'a> {
    /// Shows what is stored.
    pub fn new(stored: &'a Stored) -> Self {
        Self {
            transaction: &stored.transaction,
            revision: stored.revision,
            observed_at: stored.observed_at,
            history: &stored.history,
            sales: SalesView {
                acknowledged: stored.outbox.is_none(),
                acknowledged_revision: stored.acknowledged_revision,
                record_id: stored.sales_record_id.as_deref(),
            },
        }
    }
}
