//! Sold-out commands: from the sales domain to the till, and the answer back.
//!
//! Each step may be the last before a crash. What is about to be written is remembered first, under a name that every
//! attempt gives the provider, so a repeat neither writes twice nor mistakes its own word for somebody's at the till. The
//! message is deleted after the answer; a repeat finds every item settled and answers the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use shared::domain::{
    AvailabilityVerdict, Code, ConfigurationId, ConfigurationStatus, Intent, ItemPlace, LocationId, ProductId, Said,
    Standing, TenantScope,
};
use shared::providers::{AvailabilityOutcome, AvailabilitySupport, ShownAvailability};
use shared::queue::sales::{
    AvailabilityAnswered, AvailabilityCommand, AvailabilityEvent, AvailabilityResult, Ending, Phase, Wanted,
};
use shared::queue::{Later, SendError};
use shared::store::configurations::SealedConfiguration;
use shared::store::product_mappings::Kept;
use shared::telemetry::{Line, TraceParent, metrics};
use uuid::Uuid;

use crate::App;
use crate::rule::{Decision, Turn, Wish, decide, left_behind, settled, turn};
use crate::till::{Stop, Till};

/// Somebody else has noted something at an item at the same moment.
const CONTENDED: Later = Later::unexpected(Code::Contended);

/// By so much two clocks may differ. A command of the future would keep all that follow from counting.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What an item may take: two calls at their slowest, and the writes around them.
const ROOM: Duration = Duration::from_secs(9);

/// For so long after its time an ending waits for a till that is paused or must be connected again.
const LONGEST_SLEEP: SignedDuration = SignedDuration::from_hours(24 * 7);
/// How often such a till is looked at.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(15);

/// The attempt at a message.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Which of the queue's, from 1.
    pub number: u32,
    /// When it is cut off.
    pub deadline: Instant,
}

/// How work on a command ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It has been answered, or needs no answer.
    Done,
    /// One of the two sides is wrong: a person must see it.
    Park(&'static str),
}

/// A command, or the end of its `until`.
struct Errand<'c> {
    scope: &'c TenantScope,
    configuration_id: ConfigurationId,
    product_id: &'c ProductId,
    id: &'c str,
    given_at: Timestamp,
    trace: &'c TraceParent,
    phase: Phase,
    wish: Wish,
    /// When what it wants has passed.
    until: Option<Timestamp>,
}

/// What an errand is about.
enum Reach<'c> {
    /// What is mapped to the product, in these shops, or in all.
    Product(&'c [LocationId]),
    /// These.
    Places(&'c [ItemPlace]),
}

/// Carries out a command.
pub async fn take(app: &App, command: &AvailabilityCommand, attempt: Attempt) -> Result<Ended, Later> {
    if command.given_at.duration_since(Timestamp::now()) > CLOCK_SKEW {
        return Ok(Ended::Park("given in the future"));
    }
    let data = &command.data;
    let (wish, until) = match command.wanted {
        Wanted::SoldOut => (Wish::SoldOut, data.until),
        Wanted::Available => (Wish::Available(data.quantity), None),
    };
    let errand = Errand {
        scope: &command.scope,
        configuration_id: data.configuration_id,
        product_id: &data.product_id,
        id: &command.id,
        given_at: command.given_at,
        trace: &command.trace,
        phase: Phase::Given,
        wish,
        until,
    };
    let Some(found) = app.connections.configurations.load(errand.scope, errand.configuration_id).await? else {
        return Ok(Ended::Park("no such configuration"));
    };
    tracing::info!(command.id = command.id, because = data.reason, "a command came");
    let mut line = Line::begin("command").of(errand.scope.tenant_id(), errand.configuration_id).traced(errand.trace);
    line.attempt = Some(attempt.number);
    let answer = errand.carry_out(app, &found, &Reach::Product(&data.location_ids), attempt).await?;
    // Before the answer: after it, nobody comes again.
    if let Some(until) = until
        && let Some(ending) = Ending::of(command, until, shown(&answer))
        && let Ended::Park(reason) = hold_back(app, &ending, until).await?
    {
        return Ok(Ended::Park(reason));
    }
    errand.answer(app, &found, answer, line).await
}

/// Lets what a command has sold out be available again, when its time has come.
pub async fn end(app: &App, ending: &Ending, attempt: Attempt) -> Result<Ended, Later> {
    if Timestamp::now() < ending.until {
        return hold_back(app, ending, ending.until).await;
    }
    let errand = Errand {
        scope: &ending.scope,
        configuration_id: ending.configuration_id,
        product_id: &ending.product_id,
        id: &ending.command_id,
        given_at: ending.given_at,
        trace: &ending.trace,
        phase: Phase::Ended,
        wish: Wish::Available(None),
        until: None,
    };
    // It was there when the command was taken: it has been removed since, and nobody waits for an answer.
    let Some(found) = app.connections.configurations.load(errand.scope, errand.configuration_id).await? else {
        return Ok(Ended::Done);
    };
    // What is switched off for a while is not forgotten.
    let status = found.configuration.status;
    let is_asleep = matches!(status, ConfigurationStatus::Paused | ConfigurationStatus::ReauthRequired);
    if is_asleep && Timestamp::now().duration_since(ending.until) < LONGEST_SLEEP {
        return hold_back(app, ending, Timestamp::now() + LOOK_AGAIN).await;
    }
    let mut line = Line::begin("command").of(errand.scope.tenant_id(), errand.configuration_id).traced(errand.trace);
    line.attempt = Some(attempt.number);
    let answer = errand.carry_out(app, &found, &Reach::Places(&ending.places), attempt).await?;
    errand.answer(app, &found, answer, line).await
}

async fn hold_back(app: &App, ending: &Ending, at: Timestamp) -> Result<Ended, Later> {
    match app.endings.send_ending(ending, at).await {
        Ok(()) => Ok(Ended::Done),
        Err(SendError::Aws(error)) => Err(error.into()),
        Err(SendError::TooLarge) => Ok(Ended::Park("more items than a message has room for")),
    }
}

/// Where the till shows what was wanted.
fn shown(answer: &AvailabilityAnswered) -> Vec<ItemPlace> {
    let shown = answer.results.iter().filter(|result| result.verdict.is_shown());
    shown.map(|result| ItemPlace { location_id: result.location_id.clone(), item_id: result.item_id.clone() }).collect()
}

impl Errand<'_> {
    /// What has become of it at each item, or why nothing was tried.
    async fn carry_out(
        &self,
        app: &App,
        found: &SealedConfiguration,
        reach: &Reach<'_>,
        attempt: Attempt,
    ) -> Result<AvailabilityAnswered, Later> {
        let mut till = Till::new(app, found, attempt.deadline);
        let support = till.provider().availability_support();
        if let Some(reason) = obstacle(found, support) {
            return Ok(self.answered(Vec::new(), Some(reason)));
        }
        let places = match reach {
            Reach::Places(places) => places.to_vec(),
            Reach::Product(shops) => {
                let items = app.mappings.items_of(self.scope, self.configuration_id, self.product_id).await?;
                places_of(&items, shops, found)
            }
        };
        if places.is_empty() {
            return Ok(self.answered(Vec::new(), Some("not_mapped")));
        }
        let known = app.mappings.find_said(self.scope, self.configuration_id, &places).await?;
        // What was begun in time is carried out, and ended.
        let is_begun = || known.values().any(|kept| kept.said.command_id == self.id);
        if self.until.is_some_and(|until| until <= Timestamp::now()) && !is_begun() {
            return Ok(self.answered(Vec::new(), Some("too_late")));
        }
        let (mut results, mut reason, mut again) = (Vec::with_capacity(places.len()), None, None);
        for place in places {
            let has_time = Instant::now() + ROOM <= attempt.deadline;
            let settled = match found.configuration.location(&place.location_id) {
                None => Ok(AvailabilityVerdict::UnknownLocation),
                Some(_) if has_time => self.settle(&mut till, (app, support), &place, &known).await,
                Some(_) => Err(Stop::Later(Later::at_once(Code::OutOfTime))),
            };
            let verdict = match settled {
                Ok(verdict) | Err(Stop::Refused(verdict)) => verdict,
                Err(Stop::NotConnected) => {
                    reason = Some("not_connected");
                    break;
                }
                // What is not done by now is said to have failed, rather than to nobody in the dead-letter queue.
                Err(Stop::Later(later)) if attempt.number >= app.attempts => {
                    tracing::error!(tenant.id = %self.scope.tenant_id(), command.id = self.id, code = %later.code, "gave a command up");
                    AvailabilityVerdict::Failed
                }
                // One shop that does not answer holds up no other.
                Err(Stop::Later(later)) => {
                    again.get_or_insert(later);
                    continue;
                }
            };
            results.push(AvailabilityResult { location_id: place.location_id, item_id: place.item_id, verdict });
        }
        match again {
            Some(later) if reason.is_none() => Err(later),
            Some(_) | None => Ok(self.answered(results, reason)),
        }
    }

    fn answered(&self, results: Vec<AvailabilityResult>, reason: Option<&str>) -> AvailabilityAnswered {
        AvailabilityAnswered {
            command_id: self.id.to_owned(),
            configuration_id: self.configuration_id,
            product_id: self.product_id.clone(),
            results,
            reason: reason.map(str::to_owned),
        }
    }

    /// One item in one shop: look, decide, remember what is about to be written, write, remember what became of it.
    async fn settle(
        &self,
        till: &mut Till<'_>,
        (app, support): (&App, AvailabilitySupport),
        place: &ItemPlace,
        known: &HashMap<ItemPlace, Kept>,
    ) -> Result<AvailabilityVerdict, Stop> {
        let seen = known.get(place);
        let said = seen.map(|kept| &kept.said);
        let begun = match turn(said, (self.id, self.given_at, self.phase), Timestamp::now()) {
            Turn::Been(verdict) => return Ok(verdict),
            Turn::Superseded => return Ok(AvailabilityVerdict::Superseded),
            Turn::Busy(left) => return Err(Stop::Later(busy(left))),
            Turn::Ours => None,
            Turn::Resumed(intent) => Some(intent),
        };
        let stood = said.and_then(|said| said.stands);
        let shown = match till.shown(place).await {
            Ok(ShownAvailability::Known(shown)) => shown,
            Ok(ShownAvailability::NotCounted) => {
                return self.conclude(app, place, (seen, stood, None), AvailabilityVerdict::Unsupported).await;
            }
            Ok(ShownAvailability::UnknownItem) => {
                return self.conclude(app, place, (seen, stood, None), AvailabilityVerdict::UnknownItem).await;
            }
            Err(Stop::Refused(verdict)) => {
                let intent = said.and_then(|said| said.intent);
                return self.conclude(app, place, (seen, stood, intent), verdict).await;
            }
            Err(stop) => return Err(stop),
        };
        let (kept, intent) = match begun {
            Some(intent) if intent.to == shown => {
                let stands = Some(intent.leaves());
                return self.conclude(app, place, (seen, stands, None), AvailabilityVerdict::Applied).await;
            }
            Some(intent) => (seen.cloned(), intent),
            None => {
                let stands = said.and_then(|said| left_behind(said, shown));
                let to = match decide(stands, shown, self.wish, support) {
                    // It was sold out before we said so: what we did not take away is not ours to put back.
                    Decision::Write(_)
                        if self.phase == Phase::Ended && stands.and_then(|stands| stands.before).is_none() =>
                    {
                        let verdict = AvailabilityVerdict::Overridden;
                        return self.conclude(app, place, (seen, stands, None), verdict).await;
                    }
                    Decision::Write(to) => to,
                    Decision::Settled(verdict) => {
                        let stands = settled(stands, shown, verdict);
                        return self.conclude(app, place, (seen, stands, None), verdict).await;
                    }
                };
                let intent = Intent { to, from: shown, key: Uuid::new_v4(), at: Timestamp::now() };
                let next = Said { stands, intent: Some(intent), ..self.said(said) };
                let kept = app.mappings.say(self.scope, self.configuration_id, place, (seen, next)).await?;
                (Some(kept.ok_or(Stop::Later(CONTENDED))?), intent)
            }
        };
        let stands = kept.as_ref().and_then(|kept| kept.said.stands);
        let told = till.show(place, &intent).await;
        self.log(place, &intent, &told);
        let (standing, verdict) = match told {
            Ok(AvailabilityOutcome::Applied) => ((Some(intent.leaves()), None), AvailabilityVerdict::Applied),
            Ok(AvailabilityOutcome::UnknownItem) => ((stands, None), AvailabilityVerdict::UnknownItem),
            // Whether it was made, not every refusal tells.
            Err(Stop::Refused(verdict)) => ((stands, Some(intent)), verdict),
            Err(stop) => return Err(stop),
        };
        self.conclude(app, place, (kept.as_ref(), standing.0, standing.1), verdict).await
    }

    /// What is remembered of this errand: in the end of a command's `until`, what had become of the command.
    fn said(&self, before: Option<&Said>) -> Said {
        let own = before.filter(|said| said.command_id == self.id);
        Said {
            command_id: self.id.to_owned(),
            given_at: self.given_at,
            stands: None,
            intent: None,
            verdict: own.and_then(|said| said.verdict),
            ended: own.and_then(|said| said.ended),
        }
    }

    /// Remembers what has become of it.
    async fn conclude(
        &self,
        app: &App,
        place: &ItemPlace,
        (seen, stands, intent): (Option<&Kept>, Option<Standing>, Option<Intent>),
        verdict: AvailabilityVerdict,
    ) -> Result<AvailabilityVerdict, Stop> {
        let mut next = Said { stands, intent, ..self.said(seen.map(|kept| &kept.said)) };
        match self.phase {
            Phase::Given => next.verdict = Some(verdict),
            Phase::Ended => next.ended = Some(verdict),
        }
        let kept = app.mappings.say(self.scope, self.configuration_id, place, (seen, next)).await?;
        kept.map(|_| verdict).ok_or(Stop::Later(CONTENDED))
    }

    /// Every write at a till, and what the provider said to it.
    fn log(&self, place: &ItemPlace, intent: &Intent, told: &Result<AvailabilityOutcome, Stop>) {
        tracing::info!(
            tenant.id = %self.scope.tenant_id(),
            configuration.id = %self.configuration_id,
            location.id = %place.location_id,
            item.id = place.item_id,
            command.id = self.id,
            from = ?intent.from,
            to = ?intent.to,
            key = %intent.key,
            outcome = ?told,
            "told a till what there is"
        );
    }

    /// Sends the answer, and logs it.
    async fn answer(
        &self,
        app: &App,
        found: &SealedConfiguration,
        answer: AvailabilityAnswered,
        mut line: Line,
    ) -> Result<Ended, Later> {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for result in &answer.results {
            metrics::command_ended(found.configuration.provider, result.verdict.as_str());
            *counts.entry(result.verdict.as_str()).or_default() += 1;
        }
        line.provider = Some(found.configuration.provider.as_str());
        line.command_id = Some(self.id.to_owned());
        line.kind = Some(match self.phase {
            Phase::Given => "given",
            Phase::Ended => "ended",
        });
        line.age_ms =
            Some(i64::try_from(Timestamp::now().duration_since(self.given_at).as_millis()).unwrap_or(i64::MAX));
        line.counts = counts.into_iter().collect();
        line.ended("done", answer.reason.as_deref().unwrap_or_default()).end("carried out a command");
        let provider = found.configuration.provider;
        let event = AvailabilityEvent::of(self.scope, provider, (answer, self.phase), self.trace);
        match app.sales.send_event(&event).await {
            Ok(()) => Ok(Ended::Done),
            Err(SendError::Aws(error)) => Err(error.into()),
            Err(SendError::TooLarge) => Ok(Ended::Park("more results than an event has room for")),
        }
    }
}

fn busy(left: Duration) -> Later {
    Later::after(Code::AnotherCommand, Some(left))
}

/// Why nothing is tried at a till.
fn obstacle(found: &SealedConfiguration, support: AvailabilitySupport) -> Option<&'static str> {
    if !found.configuration.sold_out_enabled {
        return Some("not_enabled");
    }
    if support == AvailabilitySupport::Nothing {
        return Some("unsupported");
    }
    match found.configuration.status {
        ConfigurationStatus::Active | ConfigurationStatus::Degraded => None,
        ConfigurationStatus::Paused => Some("paused"),
        ConfigurationStatus::ReauthRequired | ConfigurationStatus::Deleting => Some("not_connected"),
    }
}

/// Each item in each shop, in an order that every attempt has.
fn places_of(items: &[String], shops: &[LocationId], found: &SealedConfiguration) -> Vec<ItemPlace> {
    let all = || found.configuration.locations.iter().map(|shop| &shop.id).collect::<BTreeSet<_>>();
    let shops = if shops.is_empty() { all() } else { shops.iter().collect() };
    let items: BTreeSet<&String> = items.iter().collect();
    let place = |shop: &LocationId, item: &String| ItemPlace { location_id: shop.clone(), item_id: item.clone() };
    shops.into_iter().flat_map(|shop| items.iter().map(move |item| place(shop, item))).collect()
}
