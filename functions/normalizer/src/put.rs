//! From a copy of an order, read or pushed, to the table and the sales queue.

use jiff::Timestamp;
use shared::domain::{Code, EventId, LocationId, Transaction};
use shared::providers::RawOrder;
use shared::store::configurations::SealedConfiguration;
use shared::store::transactions::{Candidate, PutOutcome, Stored, is_news};
use shared::store::webhook_logs::{Caused, Outcome};
use shared::telemetry::TraceParent;
use shared::telemetry::metrics::{self, Way};

use crate::App;
use crate::raw::News;
use crate::work::Stop;

/// For whom a copy is stored, and why.
pub(crate) struct Errand<'e> {
    /// Whose it is.
    pub found: &'e SealedConfiguration,
    /// The event that led to it.
    pub cause: &'e EventId,
    /// From 1.
    pub attempt: u32,
    /// The event's.
    pub trace: &'e TraceParent,
    /// Whether the doorbell rang, or somebody lets it ring again.
    pub way: Way,
    /// When the delivery came.
    pub received_at: Timestamp,
    /// When the till changed it, if the event says so.
    pub changed_at: Option<Timestamp>,
}

/// What became of a copy.
#[derive(Debug, Default)]
pub(crate) struct Put {
    /// What the table has now: this copy, or a newer one.
    pub caused: Vec<Caused>,
    /// The table has other content under the same version, and this copy was not read later.
    pub is_tied: bool,
}

fn change(outcome: &PutOutcome) -> &'static str {
    match outcome {
        PutOutcome::Recorded(stored) if stored.revision == 1 => "created",
        PutOutcome::Recorded(_) => "updated",
        PutOutcome::Unanswered(_) | PutOutcome::Unchanged(_) => "unchanged",
        PutOutcome::Stale(_) => "stale",
    }
}

impl Errand<'_> {
    /// Keeps the order if it is news, stores what is newer than what the table has, and sends it.
    ///
    /// `settles`: pushed copies have disagreed, and this one was read to decide. Then it is kept in any case: of two that were
    /// pushed at once both may have been kept, and nothing but this says which of them is stored.
    pub async fn put(
        &self,
        app: &App,
        order: &RawOrder,
        transactions: &[Transaction],
        observed_at: Option<Timestamp>,
        settles: bool,
    ) -> Result<Put, Stop> {
        let (mut put, mut candidates) = (Put::default(), Vec::with_capacity(transactions.len()));
        let mut days = Vec::new();
        let SealedConfiguration { scope, configuration, .. } = self.found;
        for transaction in transactions {
            let mut candidate = Candidate { transaction: transaction.clone(), observed_at, cause: self.cause };
            let known = app.transactions.find(&candidate.key(scope)).await?;
            let is_news = is_news(known.as_ref(), &candidate);
            if is_news {
                app.products.assign(scope, configuration.id, [&mut candidate.transaction]).await?;
            }
            candidates.push((candidate, known, is_news));
        }
        let news = candidates.iter().filter(|(_, _, is_news)| *is_news || settles).map(|(candidate, known, _)| News {
            place: 0,
            order,
            is_pushed: observed_at.is_none(),
            transaction: &candidate.transaction,
            known: known.as_ref(),
        });
        app.keep_raw(self.found, self.cause, &news.collect::<Vec<_>>()).await?;
        for (transaction, (candidate, known, _)) in transactions.iter().zip(candidates) {
            let outcome = app.transactions.put_if_newer(known, scope, candidate, app.first_resend_after).await?;
            app.note_days(configuration, [outcome.stored()], self.cause, &mut days).await?;
            metrics::transactions(configuration.provider, self.way, change(&outcome), 1);
            put.caused.push(Caused { transaction: transaction.id, revision: outcome.stored().revision });
            match outcome {
                PutOutcome::Recorded(stored) => {
                    self.send(app, &stored).await?;
                    if self.way == Way::Webhook {
                        metrics::webhook_handed_over(configuration.provider, self.received_at);
                    }
                    if let Some(changed_at) = self.changed_at {
                        metrics::handed_over(configuration.provider, self.way, changed_at);
                    }
                }
                // Work that was begun before may have ended between the write and the sending.
                PutOutcome::Unanswered(stored) if self.attempt > 1 => self.send(app, &stored).await?,
                PutOutcome::Stale(stored) if stored.transaction.source_version == transaction.source_version => {
                    put.is_tied = true;
                }
                // Another event's work wrote it and is sending it; if it was cut off, its own message comes again.
                PutOutcome::Unanswered(_) | PutOutcome::Unchanged(_) | PutOutcome::Stale(_) => {}
            }
        }
        Ok(put)
    }

    async fn send(&self, app: &App, stored: &Stored) -> Result<(), Stop> {
        if self.way == Way::Webhook {
            return app.send_sale(stored, self.trace).await;
        }
        // Behind what is being sold. What the queue does not take stays marked.
        app.send_sales(&[stored], self.way, self.trace).await.map(drop).map_err(Stop::Later)
    }

    /// Stores an order as the provider has pushed it, without a call to anybody. `None`: it must be read.
    pub async fn put_pushed(
        &self,
        app: &App,
        body: &[u8],
        location: Option<&LocationId>,
    ) -> Result<Option<Vec<Caused>>, Stop> {
        let configuration = &self.found.configuration;
        let raw = RawOrder {
            body: body.to_vec(),
            location: location.cloned(),
            paid_offline_at: None,
            // Nobody has read it; the candidates below say so.
            observed_at: Timestamp::UNIX_EPOCH,
        };
        let pushed = match app.connections.providers.get(configuration.provider).normalize_order(&raw, configuration) {
            Ok(pushed) => pushed,
            Err(error) => {
                tracing::warn!(event.id = %self.cause, code = %error.problem.code(), error = %error, "a pushed order cannot be taken, and is read");
                return Ok(None);
            }
        };
        if pushed.is_empty() {
            return Err(Stop::Final(Outcome::Ignored(Code::Draft)));
        }
        let Put { caused, is_tied } = self.put(app, &raw, &pushed, None, false).await?;
        Ok((!is_tied).then_some(caused))
    }
}
