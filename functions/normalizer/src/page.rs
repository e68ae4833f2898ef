//! A page of orders, read by a sync, becomes transactions.
//!
//! All of it is read from the table at once, what has changed is written one by one, and the page's row comes last. A
//! page that comes again finds its own earlier work by the cause of the revisions, so its counts are the same however
//! often it was cut off.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use shared::domain::{
    Code, ConfigurationStatus, EventId, FailedOrder, Sighting, SyncCounts, SyncKind, Transaction, TransactionId,
    Unannounced,
};
use shared::providers::{PayloadError, RawOrder};
use shared::queue::intake::OrdersMessage;
use shared::queue::{Panicked, SqsMessage, catch_panic};
use shared::store::StoreError;
use shared::store::configurations::SealedConfiguration;
use shared::store::sync_logs::PageRow;
use shared::store::transactions::{Candidate, PutOutcome, Stored, TransactionKey, is_news};
use shared::store::webhook_logs::Caused;
use shared::telemetry::Line;
use shared::telemetry::metrics::{self, Way};

use crate::App;
use crate::batch::{Batch, Lead, NOTE_EVERY, age_ms};
use crate::raw::News;
use crate::work::{Later, attempt, not_kept};

/// Each write waits for the table some milliseconds, and a page has a hundred.
const WRITES_AT_ONCE: usize = 8;
/// The past has time: what is being sold waits behind fewer of its writes.
pub(crate) const PAST_WRITES_AT_ONCE: usize = 2;
/// DynamoDB reads no more at once.
pub(crate) const READS_AT_ONCE: usize = 100;
/// All orders that could not be taken are counted, and so many are named.
const NAMED_FAILURES: usize = 10;

impl Batch<'_> {
    /// Takes a page to its end, or says that it must come again. One log line.
    pub(crate) async fn take_page(&mut self, orders: &OrdersMessage, message: &SqsMessage) -> Result<(), Later> {
        let OrdersMessage { scope, configuration_id, page, trace, .. } = orders;
        let mut line = Line::begin("page").of(scope.tenant_id(), *configuration_id).traced(trace);
        (line.run_id, line.page) = (Some(page.run_id.to_string()), Some(page.number));
        (line.kind, line.attempt) = (Some(page.kind.as_str()), Some(attempt(message)));
        line.message_id = message.message_id.clone();
        let taken = self.store_page(orders, &mut line, attempt(message)).await;
        match taken {
            Ok(outcome) => line.ended(outcome, "").end("worked on a page"),
            Err(later) => {
                line.ended("later", later.code.as_str()).end("a page must come again");
                return Err(later);
            }
        }
        Ok(())
    }

    async fn store_page(
        &mut self,
        message: &OrdersMessage,
        line: &mut Line,
        attempt: u32,
    ) -> Result<&'static str, Later> {
        let OrdersMessage { scope, configuration_id, page, orders, trace } = message;
        let found = self.configuration(Lead::Owner(scope.clone(), *configuration_id)).await?;
        let Some(found) = found.filter(|found| is_wanted(found, page.epoch)) else {
            // Its log is being purged, and a row would outlive it.
            return Ok("dropped");
        };
        let (app, cause) = (self.app, EventId::of_page(page.run_id, page.number));
        let provider = app.connections.providers.get(found.configuration.provider);
        let mut reading = Reading::default();
        for order in orders {
            let result = catch_panic(async { provider.normalize_order(order, &found.configuration) }).await;
            reading.add(order, result, || provider.name_order(order));
        }
        let (way, writes_at_once) = match page.kind {
            SyncKind::Incremental => (Way::Sync, WRITES_AT_ONCE),
            SyncKind::Backfill | SyncKind::Repair | SyncKind::Catalog => (Way::Backfill, PAST_WRITES_AT_ONCE),
        };
        let outcomes = store(app, &found, (orders, reading.copies), &cause, writes_at_once).await?;
        let written = outcomes.iter().map(|(_, outcome)| outcome.stored());
        app.note_days(&found.configuration, written, &cause, &mut Vec::new()).await?;
        let to_send: Vec<&Stored> =
            outcomes.iter().filter_map(|(_, outcome)| to_be_sent(outcome, &cause, attempt)).collect();
        let refused = app.send_sales(&to_send, way, trace).await?;
        let last_webhook_at = found.configuration.health.last_webhook_at.filter(|_| page.kind == SyncKind::Incremental);
        let row = PageRow {
            counts: count(reading.orders, reading.failed, &outcomes, &cause),
            failed_orders: reading.named,
            caused: caused_by(&outcomes, &cause),
            unannounced: unannounced(&outcomes, orders, &cause, last_webhook_at),
        };
        let logs = &app.connections.sync_logs;
        let is_first = logs.record_page(scope, *configuration_id, page.run_id, page.number, &row).await?;
        let SyncCounts { seen, created, updated, unchanged, failed } = row.counts;
        let provider = found.configuration.provider;
        line.provider = Some(provider.as_str());
        if is_first {
            for (change, number) in
                [("created", created), ("updated", updated), ("unchanged", unchanged), ("failed", failed)]
            {
                metrics::transactions(provider, way, change, number);
            }
        }
        let sent = u64::try_from(to_send.len() - refused).unwrap_or(u64::MAX);
        line.age_ms = orders.first().map(|order| age_ms(order.observed_at));
        line.counts = vec![
            ("seen", seen),
            ("created", created),
            ("updated", updated),
            ("unchanged", unchanged),
            ("failed", failed),
            ("sent", sent),
        ];
        Ok(if is_first { "done" } else { "repeat" })
    }
}

/// Whether the configuration is the one that the run was asked for. One that is paused, or must be connected again,
/// still owns what was read before.
fn is_wanted(found: &SealedConfiguration, epoch: u64) -> bool {
    found.configuration.status != ConfigurationStatus::Deleting && found.configuration.epoch == epoch
}

/// A copy of a transaction, and the order that it is of, by its place on the page.
#[derive(Debug)]
struct Copy {
    order: usize,
    transaction: Transaction,
    observed_at: Timestamp,
}

/// What a page says, before anybody has looked into the table.
#[derive(Debug, Default)]
struct Reading {
    orders: usize,
    /// No transaction twice: an order may stand on a page twice, and its newer copy counts.
    copies: Vec<Copy>,
    failed: u64,
    named: Vec<FailedOrder>,
}

impl Reading {
    fn add(
        &mut self,
        order: &RawOrder,
        result: Result<Result<Vec<Transaction>, PayloadError>, Panicked>,
        name: impl FnOnce() -> Option<shared::domain::ExternalOrderId>,
    ) {
        let place = self.orders;
        self.orders += 1;
        let (code, detail) = match result {
            Ok(Ok(transactions)) => {
                let copy = |transaction| Copy { order: place, transaction, observed_at: order.observed_at };
                return transactions.into_iter().map(copy).for_each(|copy| self.keep_newer(copy));
            }
            Ok(Err(error)) => (error.problem.code(), error.to_string()),
            Err(panicked) => {
                tracing::error!(error = %panicked, "an order made us panic");
                (Code::Panicked, "a bug of ours; it is in our log".to_owned())
            }
        };
        self.failed += 1;
        if self.named.len() < NAMED_FAILURES {
            self.named.push(FailedOrder { order_id: name(), code: code.into(), detail });
        }
    }

    fn keep_newer(&mut self, copy: Copy) {
        match self.copies.iter_mut().find(|known| known.transaction.id == copy.transaction.id) {
            Some(known) => {
                let age = |copy: &Copy| (copy.transaction.source_version, copy.observed_at);
                if age(&copy) > age(known) {
                    *known = copy;
                }
            }
            None => self.copies.push(copy),
        }
    }
}

/// Writes what has changed, and nothing else. All of it may be cut off and done again.
async fn store(
    app: &App,
    found: &SealedConfiguration,
    (orders, copies): (&[RawOrder], Vec<Copy>),
    cause: &EventId,
    writes_at_once: usize,
) -> Result<Vec<(usize, PutOutcome)>, Later> {
    let key = |copy: &Copy| TransactionKey {
        scope: found.scope.clone(),
        configuration_id: found.configuration.id,
        transaction_id: copy.transaction.id,
    };
    let keys: Vec<TransactionKey> = copies.iter().map(key).collect();
    let stored = app.transactions.find_many(&keys).await?.into_iter();
    let mut known: HashMap<TransactionId, Stored> = stored.map(|it| (it.key.transaction_id, it)).collect();
    let candidate = |Copy { order, transaction, observed_at }: Copy| {
        (order, Candidate { transaction, observed_at: Some(observed_at), cause })
    };
    let mut candidates: Vec<(usize, Candidate<'_>)> = copies.into_iter().map(candidate).collect();
    let is_new = |candidate: &Candidate<'_>| is_news(known.get(&candidate.transaction.id), candidate);
    let news = candidates.iter_mut().filter(|(_, it)| is_new(it)).map(|(_, it)| &mut it.transaction);
    app.products.assign(&found.scope, found.configuration.id, news).await?;
    let news = candidates.iter().filter(|(_, it)| is_new(it)).filter_map(|(place, it)| {
        let (order, known) = (orders.get(*place)?, known.get(&it.transaction.id));
        Some(News { place: *place, order, is_pushed: false, transaction: &it.transaction, known })
    });
    app.keep_raw(found, cause, &news.collect::<Vec<_>>()).await.map_err(not_kept)?;
    let writes = candidates.into_iter().map(|(order, candidate)| {
        let known = known.remove(&candidate.transaction.id);
        async move {
            let put = app.transactions.put_if_newer(known, &found.scope, candidate, app.first_resend_after);
            Ok::<_, StoreError>((order, put.await?))
        }
    });
    Ok(stream::iter(writes).buffer_unordered(writes_at_once).try_collect::<Vec<_>>().await?)
}

/// What this page has written; when it comes again, also what it wrote before and may not have sent. The work of others
/// is sent by them.
pub(crate) fn to_be_sent<'o>(outcome: &'o PutOutcome, cause: &EventId, attempt: u32) -> Option<&'o Stored> {
    match outcome {
        PutOutcome::Recorded(stored) => Some(stored),
        PutOutcome::Unanswered(stored) => {
            let is_ours = stored.history.last().is_some_and(|revision| revision.cause == *cause);
            (attempt > 1 && is_ours).then_some(stored)
        }
        PutOutcome::Unchanged(_) | PutOutcome::Stale(_) => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Unchanged,
    Updated,
    Created,
}

/// What this page made of a transaction, now or when it came before: the history names the cause of each revision.
fn fate(stored: &Stored, cause: &EventId) -> Fate {
    match stored.history.iter().find(|revision| revision.cause == *cause) {
        Some(revision) if revision.revision == 1 => Fate::Created,
        Some(_) => Fate::Updated,
        None => Fate::Unchanged,
    }
}

/// The revisions that are this page's work, now or when it came before.
fn caused_by(outcomes: &[(usize, PutOutcome)], cause: &EventId) -> Vec<Caused> {
    let of_one = |(_, outcome): &(usize, PutOutcome)| {
        let stored = outcome.stored();
        let revision = stored.history.iter().rfind(|revision| revision.cause == *cause)?.revision;
        Some(Caused { transaction: stored.key.transaction_id, revision })
    };
    let mut caused: Vec<Caused> = outcomes.iter().filter_map(of_one).collect();
    caused.sort_unstable();
    caused
}

/// Order by order: one that any of its transactions has changed has changed.
fn count(orders: usize, failed: u64, outcomes: &[(usize, PutOutcome)], cause: &EventId) -> SyncCounts {
    let mut fates: HashMap<usize, Fate> = HashMap::with_capacity(orders);
    for (order, outcome) in outcomes {
        let of_order = fates.entry(*order).or_insert(Fate::Unchanged);
        *of_order = fate(outcome.stored(), cause).max(*of_order);
    }
    let number = |wanted: Fate| fates.values().filter(|fate| **fate == wanted).count().try_into().unwrap_or(u64::MAX);
    let (seen, created, updated) =
        (u64::try_from(orders).unwrap_or(u64::MAX), number(Fate::Created), number(Fate::Updated));
    // Drafts, and copies that another on the page is newer than, have no outcome.
    SyncCounts { seen, created, updated, unchanged: seen - created - updated - failed, failed }
}

/// Sales that this page had to create, though deliveries used to come and none has since before them. What a sync reads has
/// changed a while ago, so a delivery had its time. Tills that were offline ring when they are back.
fn unannounced(
    outcomes: &[(usize, PutOutcome)],
    orders: &[RawOrder],
    cause: &EventId,
    last_webhook_at: Option<Timestamp>,
) -> Unannounced {
    let Some(last_webhook_at) = last_webhook_at else { return Unannounced::default() };
    let is_online = |order: &RawOrder| order.paid_offline_at.is_none();
    let created = outcomes.iter().filter(|(order, outcome)| {
        fate(outcome.stored(), cause) == Fate::Created && orders.get(*order).is_some_and(is_online)
    });
    let sighted = created.filter_map(|(_, outcome)| {
        let stored = outcome.stored();
        let first = stored.history.first()?;
        Sighting::of(&stored.transaction, &first.cause, first.at)
    });
    // A later delivery may not be noted yet.
    Unannounced::of(sighted, last_webhook_at + NOTE_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> RawOrder {
        RawOrder { body: Vec::new(), location: None, paid_offline_at: None, observed_at: Timestamp::UNIX_EPOCH }
    }

    #[tokio::test]
    async fn an_order_that_makes_us_panic_is_one_that_could_not_be_taken() {
        let mut reading = Reading::default();
        let panicked = catch_panic(async { panic!("order 7 is odd") }).await;
        reading.add(&order(), panicked, || "ORDER7".parse().ok());
        reading.add(&order(), Ok(Ok(Vec::new())), || None);
        assert_eq!((reading.orders, reading.failed, reading.copies.len()), (2, 1, 0));
        let FailedOrder { order_id, code, detail } = &reading.named[0];
        assert_eq!((order_id.as_ref().unwrap().as_str(), code.as_str()), ("ORDER7", "panicked"));
        assert!(!detail.contains("odd"), "what we say to ourselves is for the log");
        let counts = count(reading.orders, reading.failed, &[], &EventId::hash_of(b"cause"));
        assert_eq!(counts, SyncCounts { seen: 2, unchanged: 1, failed: 1, ..SyncCounts::default() });
    }

    #[test]
    fn all_failures_are_counted_and_some_are_named() {
        let mut reading = Reading::default();
        for _ in 0..25 {
            reading
                .add(&order(), Ok(Err(PayloadError::new("id", shared::providers::PayloadProblem::Missing))), || None);
        }
        assert_eq!((reading.failed, reading.named.len()), (25, NAMED_FAILURES));
    }
}
