//! One look at a day: what it comes to, how sure we are, and what follows from that.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use shared::domain::{
    Certificate, CertificateMethod, Code, ConfigurationStatus, DayState, Figures, Run, SyncRange, SyncRequest,
    Transaction, TransactionStatus, Trigger,
};
use shared::queue::SendError;
use shared::queue::sales::DayEvent;
use shared::queue::sync_jobs::SyncJob;
use shared::store::configurations::SealedConfiguration;
use shared::store::days::{Day, DayKey, Said};
use shared::store::transactions::{Agreement, Stored, TransactionKey};
use shared::telemetry::{Line, TraceParent, metrics};

use crate::clocks::closes_at;
use crate::listing::{Look, Theirs, Unread};
use crate::verdict::{self, Difference};
use crate::{App, CloserError};

/// For so long a day belongs to whoever has taken it: longer than an invocation lasts.
const TURN: SignedDuration = SignedDuration::from_mins(2);
/// An event that may not have been sent is sent again after this.
const RESEND: SignedDuration = SignedDuration::from_mins(1);
/// Somebody else's turn at the provider, or an index that lags: the look comes again after this, at least.
const SOON: SignedDuration = SignedDuration::from_secs(5);
/// For so long after a day is closed its first word waits for the provider; then the sales domain has its figures all the
/// same.
const GRACE: SignedDuration = SignedDuration::from_mins(15);
/// The provider's figures are not final yet.
const NOT_FINAL: SignedDuration = SignedDuration::from_mins(30);
/// Looks that prove nothing come no further apart.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(6);
/// A week of looks. What is not proven by then waits for somebody, or for a change.
const MOST_LOOKS: u32 = 32;
/// After so many looks, nine hours, it is no longer an outage that passes.
const STAYS: u32 = 5;
/// So many that only we have are looked up one by one; that the others exist nobody believes then either.
const MOST_SURPLUS: usize = 20;

/// Takes a day that is due, and does what it needs. One log line.
pub(crate) async fn at(app: &App, day: &DayKey, due_at: Timestamp, deadline: Instant) -> Result<(), CloserError> {
    let now = Timestamp::now();
    let Some(taken) = app.days.claim(day, due_at, now + TURN).await? else { return Ok(()) };
    let found = app.connections.configurations.load(&day.scope, day.configuration_id).await?;
    let found = found.filter(|found| found.configuration.status != ConfigurationStatus::Deleting);
    let Some(found) = found else {
        // It is being purged.
        app.days.settle(&taken, None).await?;
        return Ok(());
    };
    let mut line = Line::begin("day").of(day.scope.tenant_id(), day.configuration_id);
    line.provider = Some(found.configuration.provider.as_str());
    (line.attempt, line.revision) = (Some(taken.attempts + 1), Some(taken.revision));
    if taken.is_unsent {
        // A closer died before it had noted this. Whatever has made the day due since is looked at all the same.
        send(app, &found, &taken).await?;
    }
    let outcome = look(app, &found, &taken, &mut line, deadline).await;
    line.ended(outcome.as_ref().map_or("failed", |outcome| outcome), "").end("looked at a day");
    outcome.map(drop)
}

async fn look(
    app: &App,
    found: &SealedConfiguration,
    taken: &Day,
    line: &mut Line,
    deadline: Instant,
) -> Result<&'static str, CloserError> {
    let (day, now) = (&taken.key, Timestamp::now());
    let Some(shop) = found.configuration.location(&day.location_id) else {
        app.days.settle(taken, None).await?;
        return Ok("no_shop");
    };
    let closes_at = closes_at(shop, day.date, app.close_after);
    if now < closes_at {
        app.days.settle(taken, Some(closes_at)).await?;
        return Ok("under_way");
    }
    let look = Look { app, found, shop, day, deadline };
    let ours = app.transactions.of_shop_day(day).await?;
    let figures = Figures::of(shop.currency, ours.iter().map(|stored| &stored.transaction))?;
    let certificate = match look.certify(&ours, &figures).await? {
        Ok(certificate) => certificate,
        Err(NotYet::Provider(_)) if taken.said.is_none() && now >= closes_at + GRACE => {
            unproven(&figures, Code::ProviderUnavailable)
        }
        Err(NotYet::Changing) => {
            app.days.settle(taken, Some(now + SOON)).await?;
            return Ok("changing");
        }
        Err(NotYet::Provider(wait)) => {
            let wait = SignedDuration::try_from(wait).unwrap_or(SOON).max(SOON);
            app.days.settle(taken, Some(now + wait)).await?;
            return Ok("later");
        }
    };
    let state = &certificate.state;
    line.state = Some(state.as_str().to_owned());
    line.counts =
        vec![("compared", certificate.compared), ("sales", figures.sale_count), ("refunds", figures.refund_count)];
    metrics::day_looked_at(found.configuration.provider, state.as_str());
    if *state != DayState::Proven && taken.attempts >= STAYS && can_be_read(found) {
        metrics::day_stays_unproven(found.configuration.provider);
    }
    // Before it is said, so that it is known when to look again.
    let is_short = matches!(state, DayState::Short { .. });
    let is_repaired = !is_short || repair(app, found, day).await?;
    let next = next(taken, figures, certificate, (now, app.look_again_after), is_repaired);
    if !app.days.say(taken, &next).await? {
        return Ok("changed");
    }
    if next.is_unsent {
        tell(app, found, &next, now).await?;
    }
    Ok("said")
}

/// What is said of a day after a look. What is as it was said before is no new revision; that it was found anew is noted.
///
/// `is_repaired`: what is missing is being read again. Where another day is, this one tries again soon.
fn next(
    taken: &Day,
    figures: Figures,
    certificate: Certificate,
    (now, first_wait): (Timestamp, SignedDuration),
    is_repaired: bool,
) -> Day {
    let is_known = taken
        .said
        .as_ref()
        .filter(|said| said.figures == figures && said.certificate.state.says_same(&certificate.state));
    let attempts = attempts(taken.attempts, &certificate.state, is_repaired);
    let look_again = look_again(&certificate.state, attempts, now, first_wait);
    let (revision, said, due_at) = match is_known {
        Some(said) => (taken.revision, Said { certificate, ..said.clone() }, look_again),
        None => {
            let products = taken.said.as_ref().map(|before| figures.products_since(&before.figures));
            (taken.revision + 1, Said { at: now, figures, certificate, products }, Some(now + RESEND))
        }
    };
    let is_unsent = is_known.is_none();
    Day { key: taken.key.clone(), revision, said: Some(said), attempts, changed_at: None, is_unsent, due_at }
}

/// How often in a row it was looked at in vain. One whose repair has no lane begins anew: it has not been repaired in vain.
fn attempts(before: u32, state: &DayState, is_repaired: bool) -> u32 {
    match (state, is_repaired) {
        (DayState::Proven, _) => 0,
        (_, false) => 1,
        (_, true) => before.saturating_add(1),
    }
}

/// When a day is looked at again, if nothing changes it before.
fn look_again(state: &DayState, attempts: u32, now: Timestamp, first_wait: SignedDuration) -> Option<Timestamp> {
    let factor = 4_i32.saturating_pow(attempts.saturating_sub(1).min(15));
    let later = now + first_wait.saturating_mul(factor).min(LONGEST_WAIT);
    match state {
        DayState::Proven => None,
        _ if attempts > MOST_LOOKS => None,
        DayState::Pending { until } => Some(later.max(*until)),
        DayState::Short { .. } | DayState::Over { .. } | DayState::NotProvable { .. } => Some(later),
    }
}

/// Tells the sales domain, then notes that it was told: a crash between the two tells it once more.
async fn tell(app: &App, found: &SealedConfiguration, day: &Day, now: Timestamp) -> Result<(), CloserError> {
    send(app, found, day).await?;
    let state = day.said.as_ref().map(|said| &said.certificate.state);
    let next = state.and_then(|state| look_again(state, day.attempts, now, app.look_again_after));
    app.days.settle(day, next).await?;
    Ok(())
}

async fn send(app: &App, found: &SealedConfiguration, day: &Day) -> Result<(), CloserError> {
    let event = DayEvent::of_day(day, found.configuration.provider, &TraceParent::generate());
    let Some(event) = event else { return Ok(()) };
    match app.sales.send_event(&event).await {
        Err(error @ SendError::TooLarge) => {
            // A day of more products than a message has room for will not become smaller.
            tracing::error!(configuration.id = %found.configuration.id, date = %day.key.date, error = %error, "a day could not be sent");
            Ok(())
        }
        sent => Ok(sent?),
    }
}

/// Has the day read again. `false`: the lane is taken, by this day or by another.
async fn repair(app: &App, found: &SealedConfiguration, day: &DayKey) -> Result<bool, CloserError> {
    let locations = [day.location_id.clone()].into();
    let request = SyncRequest { range: SyncRange::Repair { day: day.date }, locations };
    let run = Run::new(request, Trigger::Certificate, found.configuration.epoch, Timestamp::now());
    let has_begun = app.connections.sync_logs.begin(&day.scope, day.configuration_id, &run, None).await?;
    if has_begun {
        let job = SyncJob::of(&day.scope, day.configuration_id, &run, &TraceParent::generate());
        app.jobs.send(&job, 0).await?;
    }
    Ok(has_begun)
}

/// Why nothing can be said of a day now.
enum NotYet {
    /// It is not its turn at the provider, or there is no time left to ask; the same again after so long.
    Provider(Duration),
    /// Something has come while it was looked at.
    Changing,
}

fn can_be_read(found: &SealedConfiguration) -> bool {
    matches!(found.configuration.status, ConfigurationStatus::Active | ConfigurationStatus::Degraded)
}

/// Nothing to compare with.
fn unproven(figures: &Figures, reason: Code) -> Certificate {
    Certificate {
        state: DayState::NotProvable { reason: reason.into() },
        method: CertificateMethod::Nothing,
        taken_at: Timestamp::now(),
        compared: 0,
        outdated: Vec::new(),
        ours: figures.count(),
        theirs: None,
    }
}

impl Look<'_> {
    /// How sure we are.
    async fn certify(&self, ours: &[Stored], figures: &Figures) -> Result<Result<Certificate, NotYet>, CloserError> {
        let now = Timestamp::now();
        let unproven = |reason| unproven(figures, reason);
        match self.found.configuration.status {
            ConfigurationStatus::Active | ConfigurationStatus::Degraded => {}
            ConfigurationStatus::Paused => return Ok(Ok(unproven(Code::Paused))),
            ConfigurationStatus::ReauthRequired | ConfigurationStatus::Deleting => {
                return Ok(Ok(unproven(Code::CredentialsRefused)));
            }
        }
        let is_foreign =
            |it: &Transaction| it.status == TransactionStatus::Completed && it.currency != self.shop.currency;
        if ours.iter().any(|stored| is_foreign(&stored.transaction)) {
            return Ok(Ok(unproven(Code::MixedCurrencies)));
        }
        let theirs = match self.theirs().await? {
            Ok(theirs) => theirs,
            Err(Unread::Later(wait)) => return Ok(Err(NotYet::Provider(wait))),
            Err(Unread::Because(reason)) => return Ok(Ok(unproven(reason))),
        };
        let mut difference = verdict::compare(ours, &theirs.copies);
        if self.look_up_missing(&mut difference, &theirs).await? {
            return Ok(Err(NotYet::Changing));
        }
        // A list that is short, or cut, says nothing about what only we have.
        let is_decided = theirs.is_capped || !difference.missing.is_empty() || !difference.outdated.is_empty();
        if !is_decided && let Err(unread) = self.look_up_surplus(&mut difference, ours).await? {
            return Ok(match unread {
                Unread::Later(wait) => Err(NotYet::Provider(wait)),
                Unread::Because(reason) => Ok(unproven(reason)),
            });
        }
        let look_again = now + if difference.ahead > 0 { self.app.look_again_after } else { NOT_FINAL };
        let state = verdict::state(&difference, (theirs.is_final, theirs.is_capped), look_again);
        let method = self.provider().day_method();
        let their_figures = Figures::of(self.shop.currency, theirs.copies.values())?;
        Ok(Ok(Certificate {
            state,
            method,
            taken_at: now,
            compared: difference.compared,
            outdated: difference.outdated,
            ours: figures.count(),
            theirs: Some(their_figures.count()),
        }))
    }

    /// Looks for what the day's list does not have by its key: the index may lag, and what we have may be of another day.
    /// Whether something has come meanwhile, so that nothing can be said yet.
    async fn look_up_missing(&self, difference: &mut Difference, theirs: &Theirs) -> Result<bool, CloserError> {
        let DayKey { scope, configuration_id, .. } = self.day;
        let key = |id| TransactionKey { scope: scope.clone(), configuration_id: *configuration_id, transaction_id: id };
        let keys: Vec<TransactionKey> = difference.missing.iter().copied().map(key).collect();
        for stored in self.app.transactions.find_many(&keys).await? {
            let id = stored.transaction.id;
            let Some(copy) = theirs.copies.get(&id) else { continue };
            match stored.agrees_with(copy) {
                Agreement::Same => return Ok(true),
                Agreement::Ahead => difference.ahead += 1,
                Agreement::Outdated => difference.outdated.push(id),
            }
            difference.missing.retain(|missing| *missing != id);
        }
        Ok(false)
    }

    /// Asks the provider for what only we have, one by one.
    async fn look_up_surplus(
        &self,
        difference: &mut Difference,
        ours: &[Stored],
    ) -> Result<Result<(), Unread>, CloserError> {
        let asked: Vec<_> = difference.surplus.iter().copied().take(MOST_SURPLUS).collect();
        for id in asked {
            if Instant::now() >= self.deadline {
                return Ok(Err(Unread::Later(Duration::ZERO)));
            }
            let Some(stored) = ours.iter().find(|stored| stored.transaction.id == id) else { continue };
            let copy = match self.read_again(&stored.transaction).await? {
                Ok(copy) => copy,
                Err(unread) => return Ok(Err(unread)),
            };
            match copy.map(|copy| stored.agrees_with(&copy)) {
                None => continue,
                Some(Agreement::Same) => difference.unlisted += 1,
                Some(Agreement::Ahead) => difference.ahead += 1,
                Some(Agreement::Outdated) => difference.outdated.push(id),
            }
            difference.surplus.retain(|surplus| *surplus != id);
        }
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: SignedDuration = SignedDuration::from_mins(2);

    fn hours_until_given_up(state: impl Fn(Timestamp) -> DayState) -> i64 {
        let (mut now, mut attempts) = (Timestamp::UNIX_EPOCH, 0);
        loop {
            attempts += 1;
            match look_again(&state(now), attempts, now, FIRST) {
                Some(next) => now = next,
                None => return now.duration_since(Timestamp::UNIX_EPOCH).as_hours(),
            }
        }
    }

    #[test]
    fn what_is_not_proven_is_looked_at_for_a_week_whatever_it_is() {
        let pending = hours_until_given_up(|now| DayState::Pending { until: now + NOT_FINAL });
        let short = hours_until_given_up(|_| DayState::Short { missing: Vec::new() });
        assert!((160..180).contains(&pending), "{pending}");
        assert!((160..180).contains(&short), "{short}");
        assert_eq!(hours_until_given_up(|_| DayState::Proven), 0);
    }

    #[test]
    fn a_day_whose_repair_has_no_lane_tries_again_soon_however_often_it_was_looked_at() {
        let short = DayState::Short { missing: Vec::new() };
        let waits = |is_repaired| {
            let now = Timestamp::UNIX_EPOCH;
            look_again(&short, attempts(6, &short, is_repaired), now, FIRST).unwrap().duration_since(now)
        };
        assert_eq!((waits(false), waits(true)), (FIRST, LONGEST_WAIT));
    }
}
