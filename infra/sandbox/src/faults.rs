//! What goes wrong on purpose.
//!
//! A fault that names a number of times is used up by happening; the others
//! stay until they are replaced.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::door::Call;
use crate::seed::Seed;

/// API calls that fail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// 401 (token expired), 403, 429, 500, 503 or any other error status.
    pub status: u16,
    /// How many calls fail.
    pub times: u32,
    /// Only calls whose path begins with this; all API calls (not those for tokens) when absent.
    #[serde(default)]
    pub path: Option<String>,
    /// Only calls that name this shop: in the path, the query or the body, or in Toast's header.
    #[serde(default)]
    pub location_id: Option<String>,
    /// Seconds for a `Retry-After` header; Square documents none.
    #[serde(default)]
    pub retry_after: Option<u32>,
}

/// A share of the calls fails, and the seed decides which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomFailure {
    /// Of a hundred calls.
    pub percent: u8,
    /// One of these is answered; 503 when there is none.
    #[serde(default)]
    pub statuses: Vec<u16>,
    /// Only calls whose path begins with this; all API calls (not those for tokens) when absent.
    #[serde(default)]
    pub path: Option<String>,
}

/// Calls that are answered late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slowness {
    /// Only calls whose path begins with this; `/` is every call.
    pub path: String,
    /// How long the answer waits, in real time. The work is done before.
    pub millis: u64,
}

/// All faults of one provider that are switched on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// API calls that fail; the first one that fits is used.
    pub failures: Vec<Failure>,
    /// API calls of which a share fails.
    pub random_failures: Vec<RandomFailure>,
    /// Calls that are done and whose answer is lost on the way: the caller sees this status instead.
    pub lost_answers: Vec<Failure>,
    /// A share of the calls is done, and the answer lost in the same way.
    pub random_lost_answers: Vec<RandomFailure>,
    /// GET of an order reads at once and answers this many milliseconds later.
    pub hold_order_ms: u64,
    /// Reads of orders, payments and refunds see the state of this many milliseconds ago.
    pub replica_lag_ms: u64,
    /// The next so many delivery attempts carry a wrong signature.
    pub wrong_signatures: u32,
    /// The next so many notifications are never sent.
    pub lose_webhooks: u32,
    /// The next so many cursors are refused as expired.
    pub expire_cursors: u32,
    /// The next so many search pages are empty, with a cursor to go on.
    pub empty_pages: u32,
    /// The next so many search pages lead to themselves: their cursor is the one they were asked with.
    pub repeat_cursors: u32,
    /// A search finds so many at most, on all pages together, and does not say that there is more.
    pub silent_cap: Option<usize>,
    /// Calls that are answered late; all that fit add up.
    pub slow: Vec<Slowness>,
    /// Scopes no token has any more, whatever was granted.
    pub refuse_scopes: Vec<String>,
    /// Notifications sent twice, of a hundred; the options when absent.
    pub duplicates_percent: Option<u8>,
    /// Notifications held back until later ones have overtaken them, of a hundred; the options when absent.
    pub disorder_percent: Option<u8>,
    /// Notifications never sent, of a hundred; the options when absent.
    pub loss_percent: Option<u8>,
    /// Every notification is followed by so many more of the same object, each an event of its own.
    pub burst: u32,
    /// Sales, of a hundred, that come late or change when they are over: uploaded by a till that was offline for up
    /// to three days, tipped or edited afterwards, given back on a later day, several at one instant.
    pub late_percent: u8,
    /// Toast: do not count calls.
    pub no_rate_limits: bool,
    /// Toast: refuse a third login within an hour, as the documentation threatens.
    pub limit_logins: bool,
}

impl Faults {
    /// Everything at once that a provider does to its clients, and that books have to survive.
    pub fn disorder() -> Self {
        let some = |percent, statuses: &[u16]| vec![RandomFailure { percent, statuses: statuses.to_vec(), path: None }];
        Self {
            random_failures: some(4, &[429, 500, 503]),
            random_lost_answers: some(1, &[502]),
            replica_lag_ms: 300,
            wrong_signatures: 5,
            expire_cursors: 3,
            empty_pages: 5,
            duplicates_percent: Some(15),
            disorder_percent: Some(30),
            loss_percent: Some(10),
            burst: 1,
            late_percent: 20,
            ..Self::default()
        }
    }
}

/// The faults in force, shared by the API and the deliveries.
#[derive(Debug)]
pub struct FaultBox {
    faults: Mutex<Faults>,
    seed: Seed,
    /// Calls that chance has looked at.
    drawn: AtomicU64,
}

impl FaultBox {
    pub fn new(seed: Seed) -> Self {
        Self { faults: Mutex::default(), seed, drawn: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self) -> Faults {
        self.lock().clone()
    }

    pub fn set(&self, faults: Faults) {
        *self.lock() = faults;
    }

    /// The failure this call has to answer with, if any.
    pub fn take_failure(&self, call: &Call) -> Option<Failure> {
        let mut faults = self.lock();
        first_that_fits(&mut faults.failures, call).or_else(|| self.draw(&faults.random_failures, call))
    }

    /// What the caller sees instead of the answer, if that is lost.
    pub fn take_lost_answer(&self, call: &Call) -> Option<Failure> {
        let mut faults = self.lock();
        first_that_fits(&mut faults.lost_answers, call).or_else(|| self.draw(&faults.random_lost_answers, call))
    }

    fn draw(&self, chances: &[RandomFailure], call: &Call) -> Option<Failure> {
        chances.iter().filter(|chance| call.is_at(chance.path.as_deref())).find_map(|chance| {
            let number = self.drawn.fetch_add(1, Ordering::Relaxed);
            let mut draws = self.seed.draws(&format!("failure/{number}"));
            let status = if chance.statuses.is_empty() { 503 } else { *draws.pick(&chance.statuses) };
            draws.happens(chance.percent).then(|| Failure { status, ..Failure::default() })
        })
    }

    /// How long the answer to a call has to wait.
    pub fn slowness(&self, path: &str) -> Duration {
        let faults = self.lock();
        let fits = faults.slow.iter().filter(|slow| path.starts_with(slow.path.as_str()));
        Duration::from_millis(fits.map(|slow| slow.millis).sum())
    }

    pub fn refuses(&self, scope: &str) -> bool {
        self.lock().refuse_scopes.iter().any(|refused| refused == scope)
    }

    /// How much of a page is shown when so much was given before, and whether the list ends there in silence.
    pub fn capped(&self, given: usize, size: usize) -> (usize, bool) {
        match self.lock().silent_cap {
            Some(most) => {
                let left = most.saturating_sub(given);
                (size.min(left), size >= left)
            }
            None => (size, false),
        }
    }

    /// Uses up one of a counted fault.
    pub fn take(&self, counter: impl FnOnce(&mut Faults) -> &mut u32) -> bool {
        let mut faults = self.lock();
        let left = counter(&mut faults);
        let happens = *left > 0;
        *left = left.saturating_sub(1);
        happens
    }
}

fn first_that_fits(failures: &mut [Failure], call: &Call) -> Option<Failure> {
    let failure = failures.iter_mut().find(|failure| {
        failure.times > 0
            && call.is_at(failure.path.as_deref())
            && failure.location_id.as_deref().is_none_or(|shop| call.names(shop))
    })?;
    failure.times -= 1;
    Some(failure.clone())
}
