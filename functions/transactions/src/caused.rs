//! What a delivery, or a page of a sync, has led to.

use serde::Serialize;
use shared::domain::{ConfigurationId, EventId, TransactionId};
use shared::problem::Problem;
use shared::rest::{Call, unavailable};
use shared::store::transactions::{Revision, Stored, TransactionKey};
use shared::store::webhook_logs::Caused;

use crate::App;
use crate::view::SalesView;

/// A transaction that a delivery, or a page, led to.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "CausedTransaction"))]
pub(crate) struct CausedView<'a> {
    /// Which.
    transaction_id: TransactionId,
    /// The revision that the table had after the work.
    pub revision: u64,
    /// The revisions that are its own work; none if it told nothing new.
    pub caused: Vec<&'a Revision>,
    /// The revision that the table had after the work: where its own work is none of it, what had led to it before.
    recorded: Option<&'a Revision>,
    /// The revision that the table has now.
    current_revision: Option<u64>,
    /// What the sales domain has said.
    pub sales: Option<SalesView<'a>>,
}

impl<'a> CausedView<'a> {
    /// Of everything that `cause` has led to, what the table has of it now.
    pub fn all(caused: &[Caused], cause: &EventId, stored: &'a [Stored]) -> Vec<Self> {
        let view = |caused: &Caused| {
            let stored = stored.iter().find(|stored| stored.transaction.id == caused.transaction);
            let history = stored.map(|stored| stored.history.as_slice()).unwrap_or_default();
            Self {
                transaction_id: caused.transaction,
                revision: caused.revision,
                caused: history.iter().filter(|revision| revision.cause == *cause).collect(),
                recorded: history.iter().find(|revision| revision.revision == caused.revision),
                current_revision: stored.map(|stored| stored.revision),
                sales: stored.map(SalesView::new),
            }
        };
        caused.iter().map(view).collect()
    }

    /// Whether the sales domain has said something to this revision or a newer one.
    pub fn is_answered(&self) -> bool {
        self.sales.as_ref().is_some_and(|sales| sales.has_answered(self.revision))
    }
}

/// What the table has of transactions now: one read for each hundred.
pub(crate) async fn find_caused(
    app: &App,
    call: &Call,
    configuration_id: ConfigurationId,
    caused: &[Caused],
) -> Result<Vec<Stored>, Problem> {
    let key =
        |it: &Caused| TransactionKey { scope: call.scope.clone(), configuration_id, transaction_id: it.transaction };
    let keys: Vec<TransactionKey> = caused.iter().map(key).collect();
    app.transactions.find_many(&keys).await.map_err(|error| unavailable(&error))
}
