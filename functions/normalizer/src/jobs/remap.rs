//! The mapping of today, brought to what was sold before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use jiff::civil::Date;
use sha2::{Digest, Sha256};
use shared::domain::{
    Currency, DayOutcome, EventId, Minor, PastJob, ProductChange, ProductId, Quantity, RemappedDay, TransactionId,
    TransactionKind, TransactionStatus,
};
use shared::store::StoreError;
use shared::store::transactions::{PutOutcome, Stored, TransactionKey, Wanted};
use shared::telemetry::metrics::Way;

use super::{Past, Work};
use crate::page::{PAST_WRITES_AT_ONCE, READS_AT_ONCE, to_be_sent};
use crate::work::Later;

/// Transactions that are looked at together: what DynamoDB reads at once.
const AT_ONCE: i32 = 100;

/// One word for all of a preview's days, as far as one environment makes it.
#[derive(Default)]
pub(super) struct Remap {
    products: HashMap<String, Option<ProductId>>,
}

impl Past for Remap {
    type Day = RemappedDay;

    /// Finds out what would change on a day, and writes it down.
    async fn preview(&mut self, work: &Work<'_>, job: &PastJob, day: Date) -> Result<PastJob, Later> {
        let (app, products) = (work.app, &mut self.products);
        let (scope, configuration) = (&work.found.scope, work.found.configuration.id);
        let (previewed_at, mut tally, mut after) = (Timestamp::now(), Tally::default(), None);
        loop {
            let page = app.transactions.list(scope, configuration, Wanted::Day(day), AT_ONCE, after).await?;
            let unknown: BTreeSet<&str> = page.items.iter().flat_map(|stored| stored.transaction.item_ids()).collect();
            let unknown: Vec<&str> = unknown.into_iter().filter(|id| !products.contains_key(*id)).collect();
            for ids in unknown.chunks(READS_AT_ONCE) {
                let mut read = app.products.mappings().find(scope, configuration, ids).await?;
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
        let transactions = u64::try_from(tally.ids.len()).unwrap_or(u64::MAX);
        if transactions > 0 {
            let day = tally.day(day, previewed_at);
            app.connections.sync_logs.put_past_day(scope, configuration, job.id, &day).await?;
        }
        Ok(job.clone().shown(transactions).day_over())
    }

    async fn apply(&mut self, work: &Work<'_>, job: &PastJob, date: Date) -> Result<Option<PastJob>, Later> {
        let (app, scope, configuration) = (work.app, &work.found.scope, work.found.configuration.id);
        let logs = &app.connections.sync_logs;
        let next = |outcome, transactions| job.clone().ended(outcome, transactions).day_over();
        let day = logs.find_past_day::<RemappedDay>(scope, configuration, job.id, &date.to_string()).await?;
        let Some(day) = day else {
            return Ok(Some(next(None, 0)));
        };
        // A worker that died after it had written this.
        if day.outcome.is_some() {
            return Ok(Some(next(day.outcome, day.transactions)));
        }
        let cause = EventId::of_remapping(job.id);
        let products: HashMap<String, Option<ProductId>> =
            day.changes.iter().map(|change| (change.item_id.clone(), change.to.clone())).collect();
        let concerned = concerned(work, &day, &products, &cause).await?;
        let is_begun = concerned.iter().any(|concerned| concerned.is_done);
        let is_as_shown = hash_of(&concerned.iter().map(|it| it.key.transaction_id).collect()) == day.transactions_hash;
        // What was begun as it was shown is brought to its end.
        if !is_as_shown && !is_begun {
            let outcome = Some(DayOutcome::ChangedSincePreview);
            logs.put_past_day(scope, configuration, job.id, &RemappedDay { outcome, ..day }).await?;
            return Ok(Some(next(outcome, 0)));
        }
        let keys: Vec<TransactionKey> = concerned.into_iter().map(|concerned| concerned.key).collect();
        let mut days = Vec::new();
        for keys in keys.chunks(READS_AT_ONCE) {
            if !work.has_time() {
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
            app.note_days(&work.found.configuration, written, &cause, &mut days).await?;
            let to_send: Vec<&Stored> =
                outcomes.iter().filter_map(|outcome| to_be_sent(outcome, &cause, work.attempt)).collect();
            // What the queue does not take is marked, and sent by the sweeper.
            if let Err(later) = app.send_sales(&to_send, Way::Remapping, &work.message.trace).await {
                tracing::warn!(code = %later.code, "remapped transactions were not sent");
            }
        }
        let (outcome, transactions) = (Some(DayOutcome::Applied), day.transactions);
        logs.put_past_day(scope, configuration, job.id, &RemappedDay { outcome, ..day }).await?;
        Ok(Some(next(outcome, transactions)))
    }
}

/// What a remapping changes on a day, and what it has changed already.
async fn concerned(
    work: &Work<'_>,
    day: &RemappedDay,
    products: &HashMap<String, Option<ProductId>>,
    cause: &EventId,
) -> Result<Vec<Concerned>, StoreError> {
    let (scope, configuration) = (&work.found.scope, work.found.configuration.id);
    let (mut concerned, mut after) = (Vec::new(), None);
    loop {
        let date = Wanted::Day(day.business_date);
        let page = work.app.transactions.list(scope, configuration, date, AT_ONCE, after).await?;
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
    format!("{:x}", hash.finalize())
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
