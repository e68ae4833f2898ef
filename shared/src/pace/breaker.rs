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

#[cfg(test)]
mod tests {
    use super::*;

    const START: Micros = 1_000_000_000;

    fn opened() -> (Breaker, Opening) {
        let mut breaker = Breaker::default();
        for _ in 1..IN_A_ROW {
            assert_eq!(breaker.note_failure(START), Tell::Nothing);
        }
        let Tell::Opened(opening, None) = breaker.note_failure(START) else { panic!("not opened") };
        assert_eq!(opening, Opening { until: START + FIRST_BACK_OFF, failed_probes: 0 });
        (breaker, opening)
    }

    #[test]
    fn who_has_only_good_answers_never_looks() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            assert_eq!(breaker.note_answer(), Tell::Nothing);
            assert_eq!(breaker.gate(START), Gate::Open);
        }
        breaker.note_failure(START);
        assert_eq!(breaker.gate(START), Gate::Look);
        breaker.learn(Some(None), START);
        assert_eq!(breaker.gate(START), Gate::Open);
        assert_eq!(breaker.gate(START + LOOK_EVERY), Gate::Look);
        breaker.note_answer();
        assert_eq!(breaker.gate(START + LOOK_EVERY), Gate::Open);
    }

    #[test]
    fn half_of_the_last_twenty_opens_it() {
        let mut breaker = Breaker::default();
        let mut tells = Vec::new();
        for _ in 0..WINDOW / 2 {
            breaker.note_answer();
            tells.push(breaker.note_failure(START));
        }
        let opening = tells.pop();
        assert!(matches!(opening, Some(Tell::Opened(..))), "{opening:?}");
        assert!(tells.iter().all(|tell| *tell == Tell::Nothing));
    }

    #[test]
    fn each_failed_try_doubles_the_wait_to_a_minute() {
        let (mut breaker, mut opening) = opened();
        let mut waits = Vec::new();
        for _ in 0..6 {
            let now = opening.until;
            breaker.learn(None, now);
            let Gate::Probe(seen, until) = breaker.gate(now) else { panic!("no try") };
            assert_eq!((seen, until), (opening.until, now + PROBE));
            breaker.claimed(until);
            assert!(matches!(breaker.gate(now), Gate::Closed(_)), "one at a time");
            let Tell::Opened(next, Some(claim)) = breaker.note_failure(now) else { panic!("not opened again") };
            assert_eq!(claim, until);
            waits.push((next.until - now) / SECOND);
            opening = next;
        }
        assert_eq!(waits, [10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn a_good_try_closes_it_and_a_late_answer_does_not() {
        let (mut breaker, opening) = opened();
        assert_eq!(breaker.note_answer(), Tell::Nothing, "asked before it opened");
        assert_eq!(breaker.note_failure(START), Tell::Nothing);
        breaker.learn(None, opening.until);
        assert!(matches!(breaker.gate(opening.until), Gate::Probe(..)));
        breaker.claimed(opening.until + PROBE);
        assert_eq!(breaker.note_answer(), Tell::Closed(opening.until + PROBE));
        assert_eq!(breaker.gate(opening.until), Gate::Open);
    }

    #[test]
    fn the_table_is_believed_but_not_for_ever() {
        let (mut breaker, opening) = opened();
        breaker.learn(Some(None), START + SECOND);
        assert_eq!(breaker.gate(START + SECOND), Gate::Open, "somebody has closed it");
        breaker.note_failure(START);
        breaker.learn(Some(Some(opening)), START + SECOND);
        assert!(matches!(breaker.gate(START + SECOND), Gate::Closed(_)));
        breaker.learn(Some(Some(opening)), opening.until + STALE_AFTER);
        assert_eq!(breaker.gate(opening.until + STALE_AFTER), Gate::Open);
    }
}
