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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::block::{Block, Spending};
    use super::*;

    const CLASSES: [Priority; 4] = [Priority::Live, Priority::Incremental, Priority::Backfill, Priority::Manual];

    /// The table, and what one execution environment knows and holds.
    #[derive(Default)]
    struct Environment {
        known: Standing,
        blocks: [Block; 4],
        clock_ahead: Micros,
    }

    /// As the table's conditions do.
    fn take(table: &mut Standing, take: &Take) -> Result<Micros, Standing> {
        let slot = match (table.next(take.lane), take.is_busy) {
            (Some(next), true) if next > take.start && next <= take.latest => next,
            (next, false) if next.is_none_or(|next| next <= take.start) => take.start,
            _ => return Err(table.clone()),
        };
        table.advance_lane(take.lane, slot + take.cost);
        Ok(slot)
    }

    impl Environment {
        /// As `Pace::permit` does.
        fn asks(&mut self, table: &mut Standing, plan: &Plan, class: usize, now: Micros) -> bool {
            let now = now + self.clock_ahead;
            let (priority, block) = (CLASSES[class], &mut self.blocks[class]);
            let wanted = match if class == 0 { Spending::Lease(1) } else { block.spend(now) } {
                Spending::Spent => return true,
                Spending::NotBefore(_) => return false,
                Spending::Lease(permits) => permits,
            };
            while let Ok(ask) = plan.choose(&self.known, priority, wanted, now) {
                match take(table, &ask.take) {
                    Ok(slot) => {
                        block.refill(slot, ask.permits, plan.interval, now);
                        return true;
                    }
                    Err(standing) => self.known.advance(&standing),
                }
            }
            false
        }
    }

    fn rate(interval: u64, burst: u32) -> Rate {
        Rate { interval: Duration::from_micros(interval), burst }
    }

    proptest! {
        /// Whoever asks, from wherever, with whatever is held back: no window has more than the burst and what the rate
        /// allows, and what wrong clocks add.
        #[test]
        fn no_window_has_more_than_is_allowed(
            interval in 1_u64..1_000_000,
            burst in 4_u32..60,
            skew in prop_oneof![Just(0), 0_i64..5_000_000],
            ahead in prop::array::uniform3(-100_i64..=100),
            asked in prop::collection::vec((0_i64..300, 0_usize..3, 0_usize..4), 1..400),
        ) {
            let plan = Plan::of(rate(interval, burst));
            let interval = Micros::try_from(interval).unwrap();
            let mut table = Standing::default();
            let mut environments = ahead.map(|ahead| Environment { clock_ahead: ahead * skew / 100, ..Environment::default() });
            let (mut now, mut used) = (1_000_000_000, Vec::new());
            for (pause, environment, class) in asked {
                now += pause * interval / 100;
                if environments[environment].asks(&mut table, &plan, class, now) {
                    used.push(now);
                }
            }
            for (first, from) in used.iter().enumerate() {
                for (count, to) in used[first..].iter().enumerate() {
                    let allowed = Micros::from(burst) + (to - from + 2 * skew) / interval;
                    prop_assert!(Micros::try_from(count).unwrap() < allowed, "{} in {}", count + 1, to - from);
                }
            }
        }
    }

    /// Everybody named asks all the time, each from an environment of its own. How many requests each class gets in a
    /// thousand intervals.
    fn flooded(classes: &[usize]) -> [usize; 4] {
        let (plan, mut table, mut got) = (Plan::of(rate(100_000, 20)), Standing::default(), [0; 4]);
        let mut environments: Vec<_> = classes.iter().map(|_| Environment::default()).collect();
        for step in 0..100_000 {
            for (class, environment) in classes.iter().zip(&mut environments) {
                got[*class] += usize::from(environment.asks(&mut table, &plan, *class, 1_000_000_000 + step * 1000));
            }
        }
        got
    }

    #[test]
    fn the_order_is_kept_and_nobody_starves() {
        let near =
            |got: [usize; 4], wanted: [usize; 4]| got.iter().zip(wanted).all(|(got, wanted)| got.abs_diff(wanted) < 25);
        for (classes, wanted) in [
            (&[3, 2, 1, 0][..], [850, 50, 50, 50]),
            (&[3, 2, 1, 1], [0, 900, 50, 50]),
            (&[3, 2, 2], [0, 0, 900, 50]),
            (&[0], [850, 0, 0, 0]),
            (&[3], [0, 0, 0, 850]),
        ] {
            let got = flooded(classes);
            assert!(near(got, wanted), "{classes:?}: {got:?}");
        }
    }

    #[test]
    fn a_refusal_says_when() {
        let plan = Plan::of(rate(100_000, 20));
        let (mut table, now) = (Standing::default(), 1_000_000_000);
        let refused = loop {
            match plan.choose(&table, Priority::Live, 1, now) {
                Ok(ask) => take(&mut table, &ask.take).map(drop).unwrap(),
                Err(wait) => break wait,
            }
        };
        assert!(plan.choose(&table, Priority::Live, 1, now + refused - 1).is_err());
        assert!(plan.choose(&table, Priority::Live, 1, now + refused).is_ok());
    }

    #[test]
    fn alone_an_environment_asks_at_a_twentieth() {
        let plan = Plan::of(rate(100_000, 20));
        let next = plan.alone(None, 5_000_000).unwrap();
        assert_eq!(plan.alone(Some(next), 5_000_000), Err(2_000_000));
        assert_eq!(plan.alone(Some(next), 7_000_000), Ok(9_000_000));
    }
}
