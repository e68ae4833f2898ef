//! What this release makes of the raw orders that are kept: a shop's day in each step.

use std::collections::BTreeSet;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::civil::Date;
use shared::domain::{DayOutcome, EventId, LocationId, PastJob, RebuiltDay, ShopDay, TransactionId};
use shared::queue::catch_panic;
use shared::store::days::DayKey;
use shared::store::transactions::{Candidate, PutOutcome, Stored, TransactionKey};
use shared::telemetry::metrics::Way;

use super::{Past, Work};
use crate::page::{PAST_WRITES_AT_ONCE, READS_AT_ONCE, to_be_sent};
use crate::rebuild::{Plan, Replayed};
use crate::work::{Later, not_kept};

/// Remembers nothing from one shop's day to the next.
pub(super) struct Rebuild;

impl Past for Rebuild {
    type Day = RebuiltDay;

    async fn preview(&mut self, work: &Work<'_>, job: &PastJob, day: Date) -> Result<PastJob, Later> {
        let Some(shop) = next_shop(work, job) else { return Ok(job.clone().day_over()) };
        let day = ShopDay { business_date: day, location_id: shop.clone() };
        let cause = EventId::of_rebuild(job.id);
        let Look { plan, orders, failed } = look(work, &day, &cause).await?;
        let report = plan.report(&day, &cause, (orders, failed));
        let transactions = report.writes();
        // Where nothing was sold there is nothing to be shown.
        if orders > 0 || report.uncovered > 0 {
            let (scope, configuration) = (&work.found.scope, work.found.configuration.id);
            work.app.connections.sync_logs.put_past_day(scope, configuration, job.id, &report).await?;
        }
        Ok(PastJob { shop: Some(shop), ..job.clone().shown(transactions) })
    }

    async fn apply(&mut self, work: &Work<'_>, job: &PastJob, day: Date) -> Result<Option<PastJob>, Later> {
        let Some(shop) = next_shop(work, job) else { return Ok(Some(job.clone().day_over())) };
        let (scope, configuration) = (&work.found.scope, work.found.configuration.id);
        let logs = &work.app.connections.sync_logs;
        let next = |outcome, writes| PastJob { shop: Some(shop.clone()), ..job.clone().ended(outcome, writes) };
        let place = RebuiltDay::place_of(day, &shop);
        let shown = logs.find_past_day::<RebuiltDay>(scope, configuration, job.id, &place).await?;
        let Some(shown) = shown.filter(|shown| shown.writes() > 0) else { return Ok(Some(next(None, 0))) };
        // A worker that died after it had written this.
        if shown.outcome.is_some() {
            return Ok(Some(next(shown.outcome, shown.writes())));
        }
        let day = ShopDay { business_date: day, location_id: shop.clone() };
        let cause = EventId::of_rebuild(job.id);
        let Look { plan, .. } = look(work, &day, &cause).await?;
        // What was begun as it was shown is brought to its end.
        let outcome = if plan.hash(&cause) != shown.plan_hash && plan.done.is_empty() {
            DayOutcome::ChangedSincePreview
        } else if write(work, plan, &cause).await? {
            DayOutcome::Applied
        } else {
            return Ok(None);
        };
        let (outcome, writes) = (Some(outcome), shown.writes());
        logs.put_past_day(scope, configuration, job.id, &RebuiltDay { outcome, ..shown }).await?;
        Ok(Some(next(outcome, writes)))
    }
}

/// The shop after the one that is done. Shops that the configuration no longer has are left as they are.
fn next_shop(work: &Work<'_>, job: &PastJob) -> Option<LocationId> {
    let shops = work.found.configuration.locations.iter().map(|shop| &shop.id);
    let is_left = |shop: &&LocationId| job.shop.as_ref().is_none_or(|done| shop.as_str() > done.as_str());
    shops.filter(is_left).min_by_key(|shop| shop.as_str()).cloned()
}

/// What was found out about a shop's day.
struct Look {
    plan: Plan,
    orders: u64,
    failed: u64,
}

async fn look(work: &Work<'_>, day: &ShopDay, cause: &EventId) -> Result<Look, Later> {
    let (app, scope, configuration) = (work.app, &work.found.scope, &work.found.configuration);
    let found = app.archive.find((scope, configuration), day).await.map_err(not_kept)?;
    let provider = app.connections.providers.get(configuration.provider);
    let replayed = Replayed::of(&found.records, |order| {
        // A bug of the new release is what somebody looks for here: it must not end the look.
        let normalized = catch_panic(async { provider.normalize_order(order, configuration) }).now_or_never();
        normalized.and_then(Result::ok).and_then(Result::ok)
    });
    let shop_day = DayKey {
        scope: scope.clone(),
        configuration_id: configuration.id,
        location_id: day.location_id.clone(),
        date: day.business_date,
    };
    let mut stored = app.transactions.of_shop_day(&shop_day).await?;
    let known: BTreeSet<TransactionId> = stored.iter().map(|it| it.transaction.id).collect();
    let elsewhere = replayed.copies.keys().filter(|id| !known.contains(id)).map(|id| TransactionKey {
        scope: scope.clone(),
        configuration_id: configuration.id,
        transaction_id: *id,
    });
    stored.extend(app.transactions.find_many(&elsewhere.collect::<Vec<_>>()).await?);
    let failed = replayed.failed + found.unreadable;
    let mut plan = Plan::new(day, stored, replayed, cause);
    app.products.assign(scope, configuration.id, plan.changes.iter_mut().map(|it| &mut it.transaction)).await?;
    for change in &mut plan.changes {
        if let Some(known) = &change.known {
            change.transaction.keep_products(&known.transaction);
        }
    }
    let orders = u64::try_from(found.records.len()).unwrap_or(u64::MAX) + found.unreadable;
    Ok(Look { plan, orders, failed })
}

/// Writes and sends what was shown. `false`: there was no time for all of it.
async fn write(work: &Work<'_>, plan: Plan, cause: &EventId) -> Result<bool, Later> {
    let (app, scope) = (work.app, &work.found.scope);
    let (mut changes, mut days) = (plan.changes, Vec::new());
    app.note_days(&work.found.configuration, &plan.done, cause, &mut days).await?;
    // Of what was written before a crash, it is not known whether it was sent.
    let done = plan.done.into_iter().filter(|done| done.outbox.is_some());
    let mut outcomes: Vec<PutOutcome> = done.map(|done| PutOutcome::Unanswered(Box::new(done))).collect();
    while !changes.is_empty() || !outcomes.is_empty() {
        if !work.has_time() {
            return Ok(false);
        }
        let some = changes.drain(..changes.len().min(READS_AT_ONCE));
        let writes = some.map(|change| {
            let candidate = Candidate { transaction: change.transaction, observed_at: change.observed_at, cause };
            app.transactions.rebuild(change.known, scope, candidate, app.first_resend_after)
        });
        let written: Vec<PutOutcome> = stream::iter(writes).buffer_unordered(PAST_WRITES_AT_ONCE).try_collect().await?;
        app.note_days(&work.found.configuration, written.iter().map(PutOutcome::stored), cause, &mut days).await?;
        outcomes.extend(written);
        let to_send: Vec<&Stored> =
            outcomes.iter().filter_map(|outcome| to_be_sent(outcome, cause, work.attempt)).collect();
        // What the queue does not take is marked, and sent by the sweeper.
        if let Err(later) = app.send_sales(&to_send, Way::Rebuild, &work.message.trace).await {
            tracing::warn!(code = %later.code, "rebuilt transactions were not sent");
        }
        outcomes.clear();
    }
    Ok(true)
}
