//! Shop time and real time.
//!
//! Usually the sandbox lives by the machine's clock and a morning is squeezed
//! into seconds: every timestamp is then the time at which something really
//! became visible, which is what clients reason about. With a chosen `now` the
//! clock stands still and only the shops move it: timestamps are those of a
//! whole morning, the same in every run. A clock that runs is faster than the
//! machine's, and whole days pass with their nights.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// One for all providers: a day that has passed for one has passed for the others.
#[derive(Debug)]
pub struct Clock(Mutex<Hands>);

#[derive(Debug)]
struct Hands {
    standing: Option<Timestamp>,
    /// When and by how much faster than life it began to run.
    running: Option<(Instant, f64)>,
    ahead: SignedDuration,
}

impl Clock {
    /// `runs`: how many times faster than life, from `start` or this moment on.
    pub fn new(start: Option<Timestamp>, runs: Option<f64>) -> Self {
        let running = runs.map(|rate| (Instant::now(), rate));
        let standing = if running.is_some() { start.or_else(|| Some(Timestamp::now())) } else { start };
        Self(Mutex::new(Hands { standing, running, ahead: SignedDuration::ZERO }))
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Timestamp {
        let hands = self.hands();
        let run = hands.running.map_or(Duration::ZERO, |(began, rate)| began.elapsed().mul_f64(rate));
        let run = SignedDuration::try_from(run).unwrap_or_default();
        later(later(hands.standing.unwrap_or_else(Timestamp::now), run), hands.ahead)
    }

    /// A standing clock follows what happens in the shops, never backwards.
    pub fn reach(&self, stamp: Timestamp) {
        let mut hands = self.hands();
        if hands.running.is_none() {
            hands.standing = hands.standing.map(|standing| stamp.max(standing));
        }
    }

    pub fn advance(&self, by: SignedDuration) -> Timestamp {
        let mut hands = self.hands();
        match &mut hands.standing {
            Some(standing) => *standing = later(*standing, by),
            None => hands.ahead = hands.ahead.saturating_add(by),
        }
        drop(hands);
        self.now()
    }

    /// A tempo for what begins at this moment, when a thousand seconds of a
    /// shop take `1000 / speed` seconds.
    pub fn pace(&self, speed: f64) -> Pace {
        Pace {
            start: Moment { stamp: self.now(), due: Instant::now() },
            speed,
            squeezed: self.hands().standing.is_none(),
        }
    }
}

/// When something happens: on the clock, and when to do it.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub stamp: Timestamp,
    pub due: Instant,
}

/// Turns shop time into moments.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub start: Moment,
    speed: f64,
    squeezed: bool,
}

impl Pace {
    /// Written down after the fact: the times of a real morning, due at once.
    pub fn past(start: Timestamp) -> Self {
        Self { start: Moment { stamp: start, due: Instant::now() }, speed: f64::INFINITY, squeezed: false }
    }

    pub fn at(&self, shop_time: Duration) -> Moment {
        let wait = shop_time.div_f64(self.speed);
        let passed = if self.squeezed { wait } else { shop_time };
        let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        Moment { stamp: later(self.start.stamp, passed), due: self.start.due + wait }
    }

    /// The next shop time on the full minute (the full second where time is squeezed), when many things happen at once.
    pub fn on_the_minute(&self, shop_time: Duration) -> Duration {
        let unit: i64 = if self.squeezed { 1_000 } else { 60_000 };
        let over = self.at(shop_time).stamp.as_millisecond().rem_euclid(unit);
        let missing = Duration::from_millis((unit - over).unsigned_abs());
        shop_time + if self.squeezed { missing.mul_f64(self.speed) } else { missing }
    }

    /// Whether shop time is squeezed into real time, so that tomorrow never comes by itself.
    pub fn is_squeezed(&self) -> bool {
        self.squeezed
    }

    /// The same tempo, not starting before another moment.
    pub fn not_before(mut self, moment: Moment) -> Self {
        self.start.stamp = self.start.stamp.max(moment.stamp);
        self.start.due = self.start.due.max(moment.due);
        self
    }
}

/// Saturating, because an admin may turn the clock as far as he likes.
pub fn later(stamp: Timestamp, by: SignedDuration) -> Timestamp {
    stamp.saturating_add(by).unwrap_or(stamp)
}

/// RFC 3339 in UTC with milliseconds, the form most of Square's answers have.
pub fn rfc3339(stamp: Timestamp) -> String {
    let at = TimeZone::UTC.to_datetime(stamp);
    let (date, time) = (at.date(), at.time());
    let millis = time.subsec_nanosecond() / 1_000_000;
    format!("{date}T{:02}:{:02}:{:02}.{millis:03}Z", time.hour(), time.minute(), time.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_stands_runs_or_is_the_machines() {
        let noon: Timestamp = "2026-03-07T12:00:00Z".parse().unwrap();
        let standing = Clock::new(Some(noon), None);
        assert_eq!(standing.now(), noon);
        standing.reach(later(noon, SignedDuration::from_secs(5)));
        standing.reach(noon);
        assert_eq!(standing.advance(SignedDuration::from_secs(5)), later(noon, SignedDuration::from_secs(10)));

        let running = Clock::new(Some(noon), Some(100_000.0));
        std::thread::sleep(Duration::from_millis(20));
        let first = running.now();
        assert!(first >= later(noon, SignedDuration::from_secs(2_000)), "{first}");
        running.reach(later(noon, SignedDuration::from_hours(9_000)));
        assert!(running.now() < later(noon, SignedDuration::from_hours(9_000)), "nobody else moves it");
        assert!(!running.pace(100_000.0).is_squeezed());

        let machine = Clock::new(None, None);
        assert!(machine.now() <= Timestamp::now() && machine.pace(600.0).is_squeezed());
    }
}
