//! How fast we ask: one budget for each provider credential, shared by all who ask with it.
//!
//! Live reads, incremental syncs, backfills and syncs that a person asked for are served in this order, and none of them
//! starves. The budget is an item in the coordination table, moved by one conditional write for a live request, or for a
//! block of a sync's requests. In any window of time at most `burst + window / interval` permits are used
//! (`pace/plan.rs` says why); a clock that is wrong by s seconds adds at most `2 * s / interval`, and AWS refuses the calls
//! of one that is wrong by more than minutes. We plan for 5 s.
//!
//! What a provider says counts for all: its `Retry-After` stands in the budget, its outages open a breaker. While the table
//! is away, each execution environment asks at a small part of the rate: slower than allowed, and never without limit.
//!
//! One permit is one call of [`PosProvider`](crate::providers::PosProvider), which is one request but for rare orders (a
//! Square order that was paid offline, a sale of Lightspeed's that is not on the first page) and for what is left of an item
//! at Square. Renewals of credentials and
//! what a person tests are not counted: the rates leave room for them.

mod block;
mod breaker;
mod plan;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::domain::{Code, Environment, ProviderKind};
use crate::providers::{ProviderError, ProviderErrorKind, Rate};
use crate::store::StoreError;
pub use crate::store::budget::BudgetKey;
use crate::store::budget::{Budgets, Lane, Micros, Standing};
use crate::telemetry::metrics;
use block::{Block, Spending};
use breaker::{Breaker, Gate, Tell};
use plan::Plan;

/// How long the table is waited for: a limiter must not cost the work more than it saves.
const TABLE_PATIENCE: Duration = Duration::from_secs(2);
/// How long after a failure the table is not asked again.
const TABLE_AWAY: Duration = Duration::from_secs(5);
/// How often it is logged that it is away.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// So often others may get in between what we know and what we write.
const TRIES: u32 = 4;
/// A provider's wish is obeyed for so long at least and at most.
const WISHES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3600));
/// Without a wish: a second, twice as long each time, a minute at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Budgets that are remembered before those that have come to rest are forgotten.
const REMEMBERED: usize = 1000;

/// Who asks, in the order in which they are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A sale that has just been rung up.
    Live,
    /// The sync that follows the clock.
    Incremental,
    /// The sync that reads the past.
    Backfill,
    /// A sync that a person asked for.
    Manual,
}

/// Later, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not now: {why}, again after {retry_after:?}")]
pub struct NotNow {
    /// Sooner it is in vain.
    pub retry_after: Duration,
    /// What stands against it.
    pub why: Why,
}

impl NotNow {
    /// Stable word.
    pub fn code(&self) -> Code {
        match self.why {
            Why::Budget | Why::RetryAfter => Code::Paced,
            Why::BreakerOpen => Code::ProviderBreakerOpen,
        }
    }

    /// When to ask again, for a queue that counts in whole seconds: sooner is in vain.
    pub fn whole_seconds(&self) -> Duration {
        Duration::from_secs(self.retry_after.as_secs() + 1)
    }
}

/// What stands against a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The budget is used up.
    #[error("the request budget is used up")]
    Budget,
    /// The provider has asked for a pause.
    #[error("the provider wants a pause")]
    RetryAfter,
    /// The provider is down.
    #[error("the provider is down")]
    BreakerOpen,
}

/// The budgets, made once per execution environment.
pub struct Pace {
    budgets: Budgets,
    rate: Box<dyn Fn(ProviderKind) -> Rate + Send + Sync>,
    purses: Mutex<HashMap<BudgetKey, Purse>>,
    breakers: Mutex<HashMap<(ProviderKind, Environment), Breaker>>,
    table: Mutex<Table>,
    /// One lease at a time in this execution environment: the others find what it has brought.
    turn: tokio::sync::Mutex<()>,
}

/// What is known of one budget, and held of it.
#[derive(Default)]
struct Purse {
    known: Standing,
    incremental: Block,
    backfill: Block,
    manual: Block,
    /// Pauses that the provider wanted, since it last answered.
    pauses: u32,
    /// The next slot of this environment while the table is away.
    alone: Option<Micros>,
}

#[derive(Default)]
struct Table {
    away_until: Option<Instant>,
    complained_at: Option<Instant>,
}

impl Pace {
    /// `rate`: what each provider allows, [`request_rate`](crate::providers::request_rate) or a deployment's share of it.
    pub fn new(budgets: Budgets, rate: impl Fn(ProviderKind) -> Rate + Send + Sync + 'static) -> Self {
        Self {
            budgets,
            rate: Box::new(rate),
            purses: Mutex::default(),
            breakers: Mutex::default(),
            table: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Whether one request may be made now. Never waits for a permit, only for the table.
    ///
    /// A sync takes permits in blocks and uses them one by one, so mostly this costs nothing; in between it hears
    /// [`Why::Budget`] with the moment of its next permit.
    pub async fn acquire(&self, key: &BudgetKey, priority: Priority) -> Result<(), NotNow> {
        self.pass_breaker(key).await?;
        match priority {
            Priority::Live => self.permit(key, priority).await?,
            Priority::Incremental | Priority::Backfill | Priority::Manual => {
                let _turn = self.turn.lock().await;
                self.permit(key, priority).await?;
            }
        }
        self.claim_probe(key).await
    }

    /// The same, waiting as long as `patience` allows. Says how long it had to wait for its turn.
    pub async fn acquire_within(
        &self,
        key: &BudgetKey,
        priority: Priority,
        patience: Duration,
    ) -> Result<Duration, NotNow> {
        let (started, mut waited) = (Instant::now(), Duration::ZERO);
        loop {
            match self.acquire(key, priority).await {
                Ok(()) => return Ok(waited),
                Err(not_now) if started.elapsed() + not_now.retry_after > patience => {
                    metrics::rate_limited(key.provider, false);
                    return Err(not_now);
                }
                Err(not_now) => {
                    tokio::time::sleep(not_now.retry_after).await;
                    waited += not_now.retry_after;
                }
            }
        }
    }

    /// Takes in what the provider said to a request: its wish for a pause, and whether it is there at all.
    pub async fn note<T>(&self, key: &BudgetKey, said: &Result<T, ProviderError>) {
        let now = now();
        let tell = match meaning(said.as_ref().err().map(|error| &error.kind)) {
            Meaning::Nothing => return,
            Meaning::Down => self.with_breaker(key, |breaker| breaker.note_failure(now)),
            Meaning::Pause(wish) => {
                metrics::rate_limited(key.provider, true);
                self.obey(key, wish).await;
                self.with_breaker(key, Breaker::note_answer)
            }
            Meaning::There => {
                self.with_purse(key, |purse| purse.pauses = 0);
                self.with_breaker(key, Breaker::note_answer)
            }
        };
        let (provider, environment) = (key.provider, key.environment);
        match tell {
            Tell::Nothing => {}
            Tell::Opened(opening, claim) => {
                tracing::error!(provider = %provider, environment = environment.as_str(), failed_probes = opening.failed_probes, "a provider is down: its requests wait");
                self.ask(self.budgets.open(provider, environment, (opening, claim))).await;
            }
            Tell::Closed(claim) => {
                tracing::info!(provider = %provider, environment = environment.as_str(), "a provider answers again");
                self.ask(self.budgets.close(provider, environment, claim)).await;
            }
        }
    }

    async fn pass_breaker(&self, key: &BudgetKey) -> Result<(), NotNow> {
        let mut gate = self.with_breaker(key, |breaker| breaker.gate(now()));
        if gate == Gate::Look {
            let found = self.ask(self.budgets.find_opening(key.provider, key.environment)).await;
            gate = self.with_breaker(key, |breaker| {
                breaker.learn(found, now());
                breaker.gate(now())
            });
        }
        match gate {
            Gate::Open | Gate::Look | Gate::Probe(..) => Ok(()),
            Gate::Closed(wait) => Err(not_now(wait, Why::BreakerOpen)),
        }
    }

    /// The last step: a right to try that is not used would keep the others waiting.
    async fn claim_probe(&self, key: &BudgetKey) -> Result<(), NotNow> {
        let (seen, until) = match self.with_breaker(key, |breaker| breaker.gate(now())) {
            Gate::Open | Gate::Look => return Ok(()),
            Gate::Closed(wait) => return Err(not_now(wait, Why::BreakerOpen)),
            Gate::Probe(seen, until) => (seen, until),
        };
        let claimed = self.ask(self.budgets.claim_probe(key.provider, key.environment, (seen, until))).await;
        let gate = self.with_breaker(key, |breaker| match claimed {
            // Without the table, one of each environment tries.
            None | Some(Ok(())) => {
                breaker.claimed(until);
                Gate::Open
            }
            Some(Err(found)) => {
                breaker.learn(Some(found), now());
                breaker.gate(now())
            }
        });
        match gate {
            Gate::Open | Gate::Look => Ok(()),
            Gate::Closed(wait) => Err(not_now(wait, Why::BreakerOpen)),
            Gate::Probe(..) => Err(not_now(0, Why::BreakerOpen)),
        }
    }

    async fn permit(&self, key: &BudgetKey, priority: Priority) -> Result<(), NotNow> {
        let plan = Plan::of((self.rate)(key.provider));
        let now = now();
        let wanted = self.with_purse(key, |purse| {
            purse.pass_pause(now)?;
            match purse.block(priority).map_or(Spending::Lease(1), |block| block.spend(now)) {
                Spending::Spent => Ok(0),
                Spending::NotBefore(wait) => Err(not_now(wait, Why::Budget)),
                Spending::Lease(permits) => Ok(permits),
            }
        })?;
        if wanted == 0 {
            return Ok(());
        }
        for _ in 0..TRIES {
            let chosen = self.with_purse(key, |purse| {
                purse.pass_pause(now)?;
                plan.choose(&purse.known, priority, wanted, now).map_err(|wait| not_now(wait, Why::Budget))
            });
            let ask = chosen?;
            let Some(taken) = self.ask(self.budgets.take(key, &ask.take)).await else {
                return self.with_purse(key, |purse| purse.permit_alone(&plan, now));
            };
            let is_taken = self.with_purse(key, |purse| match taken {
                Ok(slot) => {
                    purse.known.advance_lane(ask.take.lane, slot.saturating_add(ask.take.cost));
                    if let Some(block) = purse.block(priority) {
                        block.refill(slot, ask.permits, plan.interval, now);
                    }
                    true
                }
                Err(standing) => {
                    purse.known.advance(&standing);
                    false
                }
            });
            if is_taken {
                return Ok(());
            }
        }
        Err(not_now(plan.interval, Why::Budget))
    }

    /// Keeps everybody from asking for as long as the provider wants.
    async fn obey(&self, key: &BudgetKey, wish: Option<Duration>) {
        let until = self.with_purse(key, |purse| {
            let own = FIRST_PAUSE.saturating_mul(1 << purse.pauses.min(6)).min(LONGEST_PAUSE);
            purse.pauses = purse.pauses.saturating_add(1);
            let pause = wish.unwrap_or(own).clamp(WISHES.0, WISHES.1);
            let until = now().saturating_add(Micros::try_from(pause.as_micros()).unwrap_or(Micros::MAX));
            purse.known.blocked_until = purse.known.blocked_until.max(Some(until));
            for block in [&mut purse.incremental, &mut purse.backfill, &mut purse.manual] {
                block.drop_permits();
            }
            until
        });
        tracing::warn!(provider = %key.provider, configuration.id = %key.configuration, "a provider wants a pause");
        self.ask(self.budgets.block(key, until)).await;
    }

    /// Asks the table, if it is there. `None`: what is known here must do.
    async fn ask<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        if lock(&self.table).away_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let error = match tokio::time::timeout(TABLE_PATIENCE, question).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => Some(error),
            Err(_elapsed) => None,
        };
        let mut table = lock(&self.table);
        table.away_until = Some(Instant::now() + TABLE_AWAY);
        if table.complained_at.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            table.complained_at = Some(Instant::now());
            tracing::error!(error = ?error, "the request budgets are out of reach: asking slowly");
        }
        None
    }

    fn with_purse<T>(&self, key: &BudgetKey, work: impl FnOnce(&mut Purse) -> T) -> T {
        let mut purses = lock(&self.purses);
        if purses.len() >= REMEMBERED && !purses.contains_key(key) {
            let now = now();
            purses.retain(|_, purse| !purse.is_at_rest(now));
        }
        work(purses.entry(*key).or_default())
    }

    fn with_breaker<T>(&self, key: &BudgetKey, work: impl FnOnce(&mut Breaker) -> T) -> T {
        work(lock(&self.breakers).entry((key.provider, key.environment)).or_default())
    }
}

impl Purse {
    fn block(&mut self, priority: Priority) -> Option<&mut Block> {
        match priority {
            Priority::Live => None,
            Priority::Incremental => Some(&mut self.incremental),
            Priority::Backfill => Some(&mut self.backfill),
            Priority::Manual => Some(&mut self.manual),
        }
    }

    fn pass_pause(&self, now: Micros) -> Result<(), NotNow> {
        match self.known.blocked_until {
            Some(until) if now < until => Err(not_now(until - now, Why::RetryAfter)),
            Some(_) | None => Ok(()),
        }
    }

    fn permit_alone(&mut self, plan: &Plan, now: Micros) -> Result<(), NotNow> {
        let next = plan.alone(self.alone, now).map_err(|wait| not_now(wait, Why::Budget))?;
        self.alone = Some(next);
        Ok(())
    }

    /// Whether forgetting it changes nothing.
    fn is_at_rest(&self, now: Micros) -> bool {
        let times = Lane::ALL.map(|lane| self.known.next(lane)).into_iter();
        times.chain([self.known.blocked_until, self.alone]).flatten().all(|time| time < now)
    }
}

/// What an answer means to who asks next.
enum Meaning {
    There,
    Pause(Option<Duration>),
    Down,
    /// Nobody was asked.
    Nothing,
}

fn meaning(failure: Option<&ProviderErrorKind>) -> Meaning {
    match failure {
        // A refusal is an answer.
        None
        | Some(
            ProviderErrorKind::Unauthorized
            | ProviderErrorKind::Forbidden
            | ProviderErrorKind::NotFound
            | ProviderErrorKind::Rejected { .. }
            | ProviderErrorKind::Malformed
            | ProviderErrorKind::CursorExpired
            | ProviderErrorKind::SeveralMerchants,
        ) => Meaning::There,
        Some(ProviderErrorKind::RateLimited { retry_after }) => Meaning::Pause(*retry_after),
        Some(ProviderErrorKind::Unavailable) => Meaning::Down,
        Some(ProviderErrorKind::Unsupported) => Meaning::Nothing,
    }
}

fn not_now(wait: Micros, why: Why) -> NotNow {
    // A moment more: what is asked for at the very microsecond may be early on another clock.
    let wait = u64::try_from(wait).unwrap_or_default().saturating_add(1000);
    NotNow { retry_after: Duration::from_micros(wait), why }
}

fn now() -> Micros {
    Timestamp::now().as_microsecond()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
