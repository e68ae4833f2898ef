//! What a caller sees of a transaction: what the sales domain received, and how far the two have agreed.

use jiff::Timestamp;
use serde::Serialize;
use shared::domain::Transaction;
use shared::store::transactions::{Revision, SalesState, Stored};

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
pub(crate) struct SalesView<'a> {
    /// How far the two have agreed about the latest revision.
    state: SalesState,
    /// Whether nothing is waited for: it has been answered, or nobody answers.
    acknowledged: bool,
    /// The last revision that it has taken.
    acknowledged_revision: Option<u64>,
    /// When we heard that.
    acknowledged_at: Option<Timestamp>,
    /// Its own id of the sale.
    record_id: Option<&'a str>,
    /// How often it was sent again without an answer.
    attempts: u32,
    /// Why it has not been taken.
    rejection: Option<RejectionView<'a>>,
}

/// Why the sales domain has not taken a revision.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SalesRejection"))]
struct RejectionView<'a> {
    /// Its word for programs.
    code: &'a str,
    /// Its words for people.
    reason: &'a str,
    /// When we heard it.
    at: Timestamp,
}

impl<'a> SalesView<'a> {
    /// Of a transaction.
    pub(crate) fn new(stored: &'a Stored) -> Self {
        let rejection = stored.rejected.as_ref();
        Self {
            state: stored.sales_state(),
            acknowledged: stored.outbox.is_none() && rejection.is_none(),
            acknowledged_revision: stored.acknowledged_revision,
            acknowledged_at: stored.accepted.last().map(|accepted| accepted.at),
            record_id: stored.sales_record_id.as_deref(),
            attempts: stored.outbox.map_or(0, |mark| mark.attempts),
            rejection: rejection.map(|why| RejectionView { code: &why.code, reason: &why.reason, at: why.at }),
        }
    }
}

impl SalesView<'_> {
    /// Whether it has said something to this revision, or to a newer one.
    pub(crate) fn has_answered(&self, revision: u64) -> bool {
        self.rejection.is_some() || self.acknowledged_revision.is_some_and(|it| it >= revision)
    }

    /// When we have heard its last word.
    pub(crate) fn answered_at(&self) -> Option<Timestamp> {
        self.rejection.as_ref().map(|why| why.at).max(self.acknowledged_at)
    }
}

impl<'a> TransactionView<'a> {
    /// Shows what is stored.
    pub fn new(stored: &'a Stored) -> Self {
        Self {
            transaction: &stored.transaction,
            revision: stored.revision,
            observed_at: stored.observed_at,
            history: &stored.history,
            sales: SalesView::new(stored),
        }
    }
}
