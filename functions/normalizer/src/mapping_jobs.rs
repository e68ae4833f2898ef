//! Many mappings at once, and what a mapping changes of the past.
//!
//! One message is one job. It comes again until the job is done: after a crash, or when no time is left. Each part can be
//! done twice, and the job's own row says how far it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use jiff::civil::Date;
use sha2::{Digest, Sha256};
use shared::domain::{
    ConfigurationStatus, Currency, EventId, Import, MappingJobId, Minor, ProductChange, ProductId, Quantity,
    RemappedDay, RemappedDayOutcome, Remapping, RemappingState, TransactionId, TransactionKind, TransactionStatus,
};
use shared::queue::SqsMessage;
use shared::queue::intake::{MappingJob, MappingJobMessage};
use shared::store::StoreError;
use shared::store::configurations::SealedConfiguration;
use shared::store::sync_logs::Seen;
use shared::store::transactions::{PutOutcome, Stored, TransactionKey, Wanted};
use shared::telemetry::Line;
use shared::telemetry::metrics::Way;

use crate::App;
use crate::batch::{Batch, Lead};
use crate::page::{PAST_WRITES_AT_ONCE, READS_AT_ONCE, to_be_sent};
use crate::work::{Later, attempt};

/// Transactions that are looked at together: what DynamoDB reads at once.
const AT_ONCE: i32 = 100;
/// The largest part of a job that is not cut: a look at a day, or a thousand mappings.
const ROOM: Duration = Duration::from_secs(5);
/// The queue gives a message up after a hundred attempts. A job that has taken so many goes on in a new one.
const MOST_ATTEMPTS: u32 = 50;

impl Batch<'_> {
    /// Takes a job to its end, or as far as there is time. One log line each time.
    pub(crate) async fn take_mapping_job(
        &mut self,
        message: &MappingJobMessage,
        carrier: &SqsMessage,
    ) -> Result<(), Later> {
        let MappingJobMessage { scope, configuration_id, job, trace } = message;
        let attempt = attempt(carrier);
        let mut line = Line::begin("mapping_job").of(scope.tenant_id(), *configuration_id).traced(trace);
        (line.attempt, line.message_id) = (Some(attempt), carrier.message_id.clone());
        line.kind = Some(match job {
            MappingJob::Import(_) => "import",
            MappingJob::Preview(_) => "preview",
            MappingJob::Apply(_) => "apply",
        });
        let found = self.configuration(Lead::Owner(scope.clone(), *configuration_id)).await?;
        let found = found.filter(|found| found.configuration.status != ConfigurationStatus::Deleting);
        let Some(found) = found else {
            line.ended("dropped", "").end("worked on a mapping job");
            return Ok(());
        };
        let work = Work { app: self.app, found: &found, deadline: self.deadline(), message, attempt };
        let ended = match job {
            MappingJob::Import(id) => work.import(*id).await?,
            MappingJob::Preview(id) => work.remap(*id, RemappingState::Previewing).await?,
            MappingJob::Apply(id) => work.remap(*id, RemappingState::Applying).await?,
        };
        let (outcome, reason) = match ended {
            Ended::Done => ("done", ""),
            Ended::Gone => ("dropped", ""),
            Ended::OutOfTime => ("later", "out_of_time"),
        };
        line.ended(outcome, reason).end("worked on a mapping job");
        match ended {
            Ended::Done | Ended::Gone => Ok(()),
            Ended::OutOfTime if attempt < MOST_ATTEMPTS => Err(Later::at_once("out_of_time")),
            Ended::OutOfTime => {
                let sent = self.app.intake_backfill.send_mapping_job(scope, *configuration_id, *job, trace).await;
                sent.map_err(|error| {
                    tracing::error!(error = ?error, "a mapping job could not be sent on");
                    Later::unexpected("queue_unavailable")
                })
            }
        }
    }
}

/// How far the work on a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Nothing is left to do.
    Done,
    /// There is no such job any more.
    Gone,
    /// It goes on when the message comes again.
    OutOfTime,
}

struct Work<'w> {
    app: &'w App,
    found: &'w SealedConfiguration,
    deadline: Instant,
    message: &'w MappingJobMessage,
    attempt: u32,
}

impl Work<'_> {
    fn has_time(&self) -> bool {
        self.deadline.saturating_duration_since(Instant::now()) > ROOM
    }

    async fn import(&self, id: MappingJobId) -> Result<Ended, StoreError> {
        let (scope, configuration) = (&self.found.scope, self.found.configuration.id);
        let logs = &self.app.connections.sync_logs;
        loop {
            let Some(seen) = logs.find_import(scope, configuration, id).await? else { return Ok(Ended::Gone) };
            if seen.job.is_done() {
                return Ok(Ended::Done);
            }
            if !self.has_time() {
                return Ok(Ended::OutOfTime);
            }
            let part = logs.load_import_part(scope, configuration, (id, seen.job.parts_done)).await?;
            let said = (seen.job.by.as_str(), seen.job.at);
            let changed = self.app.products.mappings().map(scope, configuration, &part, said).await?;
            let next = Import {
                rows_done: seen.job.rows_done + u64::try_from(part.len()).unwrap_or(0),
                changed: seen.job.changed + changed,
                parts_done: seen.job.parts_done + 1,
                ..seen.job.clone()
            };
            logs.save_import(scope, configuration, &next, Some(&seen)).await?;
        }
    }

    async fn remap(&self, id: MappingJobId, wanted: RemappingState) -> Result<Ended, StoreError> {
        let (scope, configuration) = (&self.found.scope, self.found.configuration.id);
        let logs = &self.app.connections.sync_logs;
        // One word for all of a preview's days, as far as one environment makes it.
        let mut products = HashMap::new();
        loop {
            let Some(seen) = logs.find_remapping(scope, configuration, id).await? else { return Ok(Ended::Gone) };
            if seen.job.state != wanted {
                return Ok(Ended::Done);
            }
            if !self.has_time() {
                return Ok(Ended::OutOfTime);
            }
            let next = match (seen.job.next_day(), wanted) {
                (Some(day), RemappingState::Applying) => match self.apply(&seen, day).await? {
                    Some(next) => next,
                    None => return Ok(Ended::OutOfTime),
                },
                (Some(day), _) => self.preview(&seen, day, &mut products).await?,
                (None, RemappingState::Applying) => Remapping { state: RemappingState::Applied, ..seen.job.clone() },
                (None, _) => Remapping { state: RemappingState::Previewed, ..seen.job.clone() },
            };
            logs.save_remapping(scope, configuration, &next, Some(&seen)).await?;
        }
    }

    /// Finds out what would change on a day, and writes it down.
    async fn preview(
        &self,
        seen: &Seen<Remapping>,
        day: Date,
        products: &mut HashMap<String, Option<ProductId>>,
    ) -> Result<Remapping, StoreError> {
        let (scope, configuration) = (&self.found.scope, self.found.configuration.id);
        let (previewed_at, mut tally, mut after) = (Timestamp::now(), Tally::default(), None);
        loop {
            let page = self.app.transactions.list(scope, configuration, Wanted::Day(day), AT_ONCE, after).await?;
            let unknown: BTreeSet<&str> = page.items.iter().flat_map(|stored| stored.transaction.item_ids()).collect();
            let unknown: Vec<&str> = unknown.into_iter().filter(|id| !products.contains_key(*id)).collect();
            for ids in unknown.chunks(READS_AT_ONCE) {
                let mut read = self.app.products.mappings().find(scope, configuration, ids).await?;
                for id in ids {
                    let product = read.remove(*id).and_then(|row| row.mapped).map(|mapped| mapped.product_id);
                    products.insert((*id).to_owned(), product);
                }
            }
            page.items.iter().for_each(|stored| tally.add(stored, products));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let job = &seen.job;
        let transactions = u64::try_from(tally.ids.len()).unwrap_or(u64::MAX);
        if transactions > 0 {
            let day = tally.day(day, previewed_at);
            self.app.connections.sync_logs.put_remapped_day(scope, configuration, job.id, &day).await?;
        }
        Ok(Remapping {
            days_previewed: job.days_previewed + 1,
            transactions: job.transactions + transactions,
            ..job.clone()
        })
    }

    /// Does on a day what was shown, or nothing. `None`: there was no time for all of it.
    async fn apply(&self, seen: &Seen<Remapping>, date: Date) -> Result<Option<Remapping>, StoreError> {
        let (app, scope, configuration) = (self.app, &self.found.scope, self.found.configuration.id);
        let (logs, job) = (&app.connections.sync_logs, &seen.job);
        let next = |outcome: Option<RemappedDayOutcome>, transactions: u64| {
            let is_applied = outcome == Some(RemappedDayOutcome::Applied);
            Remapping {
                days_applied: job.days_applied + 1,
                transactions_applied: job.transactions_applied + if is_applied { transactions } else { 0 },
                days_skipped: job.days_skipped + u32::from(outcome == Some(RemappedDayOutcome::ChangedSincePreview)),
                ..job.clone()
            }
        };
        let Some(day) = logs.find_remapped_day(scope, configuration, job.id, date).await? else {
            return Ok(Some(next(None, 0)));
        };
        // A worker that died after it had written this.
        if day.outcome.is_some() {
            return Ok(Some(next(day.outcome, day.transactions)));
        }
        let cause = EventId::of_remapping(job.id);
        let products: HashMap<String, Option<ProductId>> =
            day.changes.iter().map(|change| (change.item_id.clone(), change.to.clone())).collect();
        let concerned = self.concerned(&day, &products, &cause).await?;
        let is_begun = concerned.iter().any(|concerned| concerned.is_done);
        let is_as_shown = hash_of(&concerned.iter().map(|it| it.key.transaction_id).collect()) == day.transactions_hash;
        // What was begun as it was shown is brought to its end.
        if !is_as_shown && !is_begun {
            let outcome = Some(RemappedDayOutcome::ChangedSincePreview);
            logs.put_remapped_day(scope, configuration, job.id, &RemappedDay { outcome, ..day }).await?;
            return Ok(Some(next(outcome, 0)));
        }
        let keys: Vec<TransactionKey> = concerned.into_iter().map(|concerned| concerned.key).collect();
        let mut days = Vec::new();
        for keys in keys.chunks(READS_AT_ONCE) {
            if !self.has_time() {
                return Ok(None);
            }
            let stored = app.transactions.find_many(keys).await?;
            let mut writes = Vec::with_capacity(stored.len());
            for stored in stored {
                writes.push(app.transactions.remap(stored, &products, &cause, app.first_resend_after));
            }
            let outcomes: Vec<PutOutcome> =
                stream::iter(writes).buffer_unordered(PAST_WRITES_AT_ONCE).try_collect().await?;
            let written = outcomes.iter().map(PutOutcome::stored);
            app.note_days(&self.found.configuration, written, &cause, &mut days).await?;
            let to_send: Vec<&Stored> =
                outcomes.iter().filter_map(|outcome| to_be_sent(outcome, &cause, self.attempt)).collect();
            // What the queue does not take is marked, and sent by the sweeper.
            if let Err(later) = app.send_sales(&to_send, Way::Remapping, &self.message.trace).await {
                tracing::warn!(code = later.code, "remapped transactions were not sent");
            }
        }
        let (outcome, transactions) = (Some(RemappedDayOutcome::Applied), day.transactions);
        logs.put_remapped_day(scope, configuration, job.id, &RemappedDay { outcome, ..day }).await?;
        Ok(Some(next(outcome, transactions)))
    }

    /// What a remapping changes on a day, and what it has changed already.
    async fn concerned(
        &self,
        day: &RemappedDay,
        products: &HashMap<String, Option<ProductId>>,
        cause: &EventId,
    ) -> Result<Vec<Concerned>, StoreError> {
        let (scope, configuration) = (&self.found.scope, self.found.configuration.id);
        let (mut concerned, mut after) = (Vec::new(), None);
        loop {
            let date = Wanted::Day(day.business_date);
            let page = self.app.transactions.list(scope, configuration, date, AT_ONCE, after).await?;
            for stored in page.items {
                let is_done = stored.history.iter().any(|revision| revision.cause == *cause);
                let is_old = stored.history.first().is_some_and(|first| first.at <= day.previewed_at);
                if is_done || (is_old && differs(&stored, products)) {
                    concerned.push(Concerned { key: stored.key, is_done });
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(concerned);
            }
        }
    }
}

/// A transaction that a remapping is about.
struct Concerned {
    key: TransactionKey,
    is_done: bool,
}

/// Whether an item of it counts as something else than it should.
fn differs(stored: &Stored, products: &HashMap<String, Option<ProductId>>) -> bool {
    stored.transaction.line_items.iter().any(|line| {
        let wanted = line.item_id.as_ref().and_then(|id| products.get(id));
        wanted.is_some_and(|wanted| *wanted != line.product_id)
    })
}

/// In whatever order they were read.
fn hash_of(ids: &BTreeSet<TransactionId>) -> String {
    let hash = ids.iter().fold(Sha256::new(), |hash, id| hash.chain_update(id.to_string()));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An item, what it counted as and what it counts as, in a currency.
type ChangeKey = (String, Option<ProductId>, Option<ProductId>, &'static str);

/// What would change on a day.
#[derive(Default)]
struct Tally {
    ids: BTreeSet<TransactionId>,
    changes: BTreeMap<ChangeKey, ProductChange>,
}

impl Tally {
    fn add(&mut self, stored: &Stored, products: &HashMap<String, Option<ProductId>>) {
        let transaction = &stored.transaction;
        for line in &transaction.line_items {
            let Some(id) = line.item_id.as_deref() else { continue };
            let Some(to) = products.get(id).filter(|product| **product != line.product_id) else { continue };
            self.ids.insert(transaction.id);
            let currency: Currency = transaction.currency;
            let key = (id.to_owned(), line.product_id.clone(), to.clone(), currency.code());
            let change = self.changes.entry(key).or_insert_with(|| ProductChange {
                item_id: id.to_owned(),
                name: line.name.clone(),
                from: line.product_id.clone(),
                to: to.clone(),
                lines: 0,
                quantity: Quantity::ZERO,
                total: Minor::ZERO,
                currency,
            });
            change.lines += 1;
            if transaction.status == TransactionStatus::Completed {
                let is_sale = transaction.kind == TransactionKind::Sale;
                let quantity = if is_sale { line.quantity } else { -line.quantity };
                change.quantity = change.quantity + quantity;
                let total =
                    if is_sale { change.total.checked_add(line.total) } else { change.total.checked_sub(line.total) };
                // A shop's day is far from the largest sum.
                change.total = total.unwrap_or(change.total);
            }
        }
    }

    fn day(self, business_date: Date, previewed_at: Timestamp) -> RemappedDay {
        RemappedDay {
            business_date,
            previewed_at,
            transactions: u64::try_from(self.ids.len()).unwrap_or(u64::MAX),
            transactions_hash: hash_of(&self.ids),
            changes: self.changes.into_values().collect(),
            outcome: None,
        }
    }
}
