//! What a caller sees of a transaction: what the sales domain received, and how far the two have agreed.

use jiff::Timestamp;
use serde::Serialize;
use shared::domain::Transaction;
use shared::store::transactions::{Revision, Stored};

/// A transaction as the API shows it.
#[derive(Serialize)]
pub struct TransactionView<'a> {
    #[serde(flatten)]
    transaction: &'a Transaction,
    revision: u64,
    observed_at: Timestamp,
    history: &'a [Revision],
    sales: SalesView<'a>,
}

/// What the sales domain has said.
#[derive(Serialize)]
struct SalesView<'a> {
    acknowledged: bool,
    acknowledged_revision: Option<u64>,
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
