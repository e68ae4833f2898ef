//! Where permits stand in time: the generic cell rate algorithm (GCRA), for several classes of askers.
//!
//! A lane hands out *slots*, one `interval` after the other. A permit is used at most `(burst - 1) * interval` before its
//! slot and never after it. So those used within a window W have their slots within W + (burst - 1) * interval, and of
//! these there are at most `burst + W / interval`, whoever used them and wherever. A permit counts from the moment it is asked
//! for: how long the table, and then the request, are on their way is nobody's to promise.
//!
//! A rate is divided into lanes: one for each class of syncs with a twentieth of the rate and a burst of one, and a shared
//! one with the rest. The bounds of the lanes add up to the bound of the rate. In the shared lane a class is served while
//! less of the burst is used up than its share: so whatever the lower classes do, some of the burst is left to the higher
//! ones. In its own lane a class meets nobody: so whatever the higher classes do, it gets a twentieth of the rate.

use super::Priority;
use crate::providers::Rate;
use crate::store::budget::{Lane, Micros, Standing, Take};

const DAY: Micros = 24 * 3600 * 1_000_000;
/// The rate of a lane of one's own is this part of the whole.
const OWN_PART: Micros = 20;
/// As many lanes of one's own as there are classes of syncs.
const OWN_LANES: u32 = 3;
/// The most permits that are leased at once.
pub(super) const LARGEST_BLOCK: u32 = 10;
/// The longest that a leased permit waits to be used, besides its place in the block.
const LONGEST_LINGER: Micros = 2_000_000;
/// While the table is away, so many execution environments are taken to ask at the same time.
const ASSUMED_ENVIRONMENTS: Micros = 20;

/// A provider's rate, divided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Of the shared lane.
    pub interval: Micros,
    burst: Micros,
    own_interval: Micros,
    /// Of one execution environment that cannot see the others.
    alone_interval: Micros,
}

/// Permits that may be asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub take: Take,
    pub permits: u32,
}

impl Plan {
    pub(super) fn of(rate: Rate) -> Self {
        let interval = Micros::try_from(rate.interval.as_nanos().div_ceil(1000)).unwrap_or(DAY).clamp(1, DAY);
        let shared_parts = OWN_PART - Micros::from(OWN_LANES);
        Self {
            // Rounded up: never faster than the rate.
            interval: (interval * OWN_PART + shared_parts - 1) / shared_parts,
            burst: Micros::from(rate.burst.saturating_sub(OWN_LANES).max(1)),
            own_interval: interval * OWN_PART,
            alone_interval: interval * ASSUMED_ENVIRONMENTS,
        }
    }

    /// What to ask for, given what is known to stand in the budget; or how long to wait. Slots are only ever moved
    /// forward, so what is known may be old: what it refuses is refused.
    pub(super) fn choose(&self, known: &Standing, priority: Priority, wanted: u32, now: Micros) -> Result<Ask, Micros> {
        let mut wait = Micros::MAX;
        for permits in [wanted, 1] {
            match decide(known, self.shared(priority, permits, now)) {
                Ok(ask) => return Ok(ask),
                Err(shared) => wait = shared,
            }
        }
        let Some(lane) = own_lane(priority) else { return Err(wait) };
        let take = Take { lane, now, start: now, latest: now, cost: self.own_interval, is_busy: false };
        decide(known, Ask { take, permits: 1 }).map_err(|own| own.min(wait))
    }

    /// So many slots of the shared lane, or as many as the class may have.
    fn shared(&self, priority: Priority, wanted: u32, now: Micros) -> Ask {
        let headroom =
            (self.burst.saturating_mul(self.interval).saturating_mul(percent(priority)) / 100).max(self.interval);
        // A block is used over some time, but no permit after its slot: the slots are put so much later.
        let linger = (headroom / 2).min(LONGEST_LINGER);
        let fitting = u32::try_from((headroom - linger) / self.interval).unwrap_or(u32::MAX);
        let permits = wanted.min(LARGEST_BLOCK).min(fitting.max(1));
        let start = if permits > 1 { now + linger } else { now };
        let cost = self.interval * Micros::from(permits);
        let take = Take { lane: Lane::Shared, now, start, latest: now + headroom - cost, cost, is_busy: false };
        Ask { take, permits }
    }

    /// For an environment that cannot see the others: its next free slot after a request, or how long to wait.
    pub(super) fn alone(&self, next: Option<Micros>, now: Micros) -> Result<Micros, Micros> {
        match next.filter(|next| *next > now) {
            Some(next) => Err(next - now),
            None => Ok(now + self.alone_interval),
        }
    }
}

/// What the conditions in the table decide, on what is known of it.
fn decide(known: &Standing, mut ask: Ask) -> Result<Ask, Micros> {
    let next = known.next(ask.take.lane).unwrap_or(Micros::MIN);
    ask.take.is_busy = next > ask.take.start;
    if ask.take.is_busy && next > ask.take.latest {
        return Err(next - ask.take.latest);
    }
    Ok(ask)
}

/// How much of the burst may be used up before a class is refused.
fn percent(priority: Priority) -> Micros {
    match priority {
        Priority::Live => 100,
        Priority::Incremental => 75,
        Priority::Backfill => 50,
        Priority::Manual => 25,
    }
}

fn own_lane(priority: Priority) -> Option<Lane> {
    match priority {
        Priority::Live => None,
        Priority::Incremental => Some(Lane::Incremental),
        Priority::Backfill => Some(Lane::Backfill),
        Priority::Manual => Some(Lane::Manual),
    }
}
