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
pub(crate) struct SalesView<'a> {
    /// How far the two have agreed about the latest revision.
    state: SalesState,
    /// Whether nothing is waited for: it has been answered, or nobody answers.
    acknowledged: bool,
    /// The last revision that it has taken.
    acknowledged_revision: Option<u64>,
    /// Its own id of the sale.
    record_id: Option<&'a str>,
    /// How often it was sent again without an answer.
    attempts: u32,
    /// Why it has not been taken.
    rejection: Option<RejectionView<'a>>,
}

/// How far the sales domain and we have agreed.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum SalesState {
    /// It has not answered yet.
    Waiting,
    /// It has not answered for so long that a person should look at it. It is still being sent.
    Overdue,
    /// It has it.
    Accepted,
    /// It cannot take it: see `rejection`.
    Rejected,
    /// It was sent, and nobody answers here.
    Sent,
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
        let state = match (&stored.outbox, &stored.rejected) {
            (Some(mark), _) if mark.is_overdue() => SalesState::Overdue,
            (Some(_), _) => SalesState::Waiting,
            (None, Some(_)) => SalesState::Rejected,
            (None, None) if stored.acknowledged_revision == Some(stored.revision) => SalesState::Accepted,
            (None, None) => SalesState::Sent,
        };
        let rejection = stored.rejected.as_ref();
        Self {
            state,
            acknowledged: stored.outbox.is_none() && rejection.is_none(),
            acknowledged_revision: stored.acknowledged_revision,
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

    /// When we have heard that it cannot take it.
    pub(crate) fn rejected_at(&self) -> Option<Timestamp> {
        self.rejection.as_ref().map(|why| why.at)
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
