//! A provider that is down is left alone, and tried by one.
//!
//! Who has only good answers asks nobody. Whoever has failed looks every few seconds whether others have opened the breaker,
//! so an outage costs each execution environment one failed call or a few, however many messages wait.

use std::collections::VecDeque;

use crate::store::budget::{Micros, Opening};

const SECOND: Micros = 1_000_000;
/// So many failures without an answer between them open it ...
const IN_A_ROW: u32 = 5;
/// ... or half of so many calls.
const WINDOW: usize = 20;
/// The first try; each failed one doubles it.
const FIRST_BACK_OFF: Micros = 5 * SECOND;
const LONGEST_BACK_OFF: Micros = 60 * SECOND;
/// How long one may try before somebody else does: longer than a provider is waited for.
const PROBE: Micros = 15 * SECOND;
/// How often the table is looked at, by who has a reason to.
const LOOK_EVERY: Micros = 3 * SECOND;
/// An opening that nobody has tried for so long says nothing any more.
const STALE_AFTER: Micros = 600 * SECOND;

/// What one execution environment knows of one provider.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    has_failed: VecDeque<bool>,
    in_a_row: u32,
    opening: Option<Opening>,
    /// The claim under which this environment tries.
    probe: Option<Micros>,
    looked_at: Option<Micros>,
}

/// Whether a request may be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// Others may know more.
    Look,
    /// One may try, if it is the first to claim it: from this, until that.
    Probe(Micros, Micros),
    Closed(Micros),
}

/// What the others must be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tell {
    Nothing,
    /// And the claim that has failed, if one has.
    Opened(Opening, Option<Micros>),
    /// The claim that has succeeded.
    Closed(Micros),
}

impl Breaker {
    pub(super) fn gate(&self, now: Micros) -> Gate {
        let has_reason = self.in_a_row > 0 || self.opening.is_some();
        if has_reason && self.looked_at.is_none_or(|at| now - at >= LOOK_EVERY) {
            return Gate::Look;
        }
        match self.opening {
            None => Gate::Open,
            Some(opening) if now < opening.until => Gate::Closed(opening.until - now),
            Some(opening) => Gate::Probe(opening.until, now + PROBE),
        }
    }

    /// Takes in what stands in the table; or, where it could not be read, that nothing new is known.
    pub(super) fn learn(&mut self, found: Option<Option<Opening>>, now: Micros) {
        self.looked_at = Some(now);
        let Some(found) = found else { return };
        let found = found.filter(|opening| now - opening.until < STALE_AFTER);
        if self.opening.is_some() && found.is_none() {
            self.forget();
        }
        self.probe = self.probe.filter(|claim| found.is_some_and(|opening| opening.until == *claim));
        self.opening = found;
    }

    /// This environment tries.
    pub(super) fn claimed(&mut self, until: Micros) {
        self.probe = Some(until);
        if let Some(opening) = &mut self.opening {
            opening.until = until;
        }
    }

    pub(super) fn note_answer(&mut self) -> Tell {
        let Some(claim) = self.probe.take() else {
            self.count(false);
            return Tell::Nothing;
        };
        self.forget();
        Tell::Closed(claim)
    }

    pub(super) fn note_failure(&mut self, now: Micros) -> Tell {
        let claim = self.probe.take();
        let failed_probes = match (claim, self.opening) {
            (Some(_), Some(opening)) => opening.failed_probes.saturating_add(1),
            (None, Some(_)) => return Tell::Nothing,
            (_, None) => {
                self.count(true);
                let failed = self.has_failed.iter().filter(|failed| **failed).count();
                let is_half = self.has_failed.len() == WINDOW && failed * 2 >= WINDOW;
                if self.in_a_row < IN_A_ROW && !is_half {
                    return Tell::Nothing;
                }
                0
            }
        };
        self.forget();
        let back_off = FIRST_BACK_OFF.saturating_mul(1 << failed_probes.min(4)).min(LONGEST_BACK_OFF);
        let opening = Opening { until: now + back_off, failed_probes };
        self.opening = Some(opening);
        self.looked_at = Some(now);
        Tell::Opened(opening, claim)
    }

    fn count(&mut self, failed: bool) {
        self.in_a_row = if failed { self.in_a_row.saturating_add(1) } else { 0 };
        if self.has_failed.len() == WINDOW {
            self.has_failed.pop_front();
        }
        self.has_failed.push_back(failed);
    }

    fn forget(&mut self) {
        *self = Self { looked_at: self.looked_at, ..Self::default() };
    }
}
