//! What is measured. This is the whole list: nothing else can be recorded, and every label is one of a closed set, so
//! that no tenant, id or word of a stranger can ever make a series.
//!
//! Recorded through the functions at the end, and through nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{ProviderKind, RunState, SyncKind};

use super::meter;

mod catalogue;

pub use catalogue::{CATALOGUE, FUNCTIONS};
use catalogue::{
    COLD_STARTS, COMMANDS, DAYS_LOOKED_AT, DAYS_UNPROVEN, DELIVERIES, DENIED, FLUSHES_FAILED, OUTBOX_SWEPT, POSTPONED,
    PROVIDER_REQUEST, PROVIDER_REQUESTS, RATE_LIMITED, REFUSED, REPLIES_PARKED, REQUEST, REQUESTS, SALES_ANSWERS,
    SALES_SENT, SALES_TO_ACCEPTED, SYNC_RUNS, TILL_TO_SALES, TOKEN_REFRESHES, TRANSACTIONS, UNANNOUNCED,
    WEBHOOK_TO_SALES, WEBHOOK_VERIFY, WEBHOOKS_RECEIVED,
};

/// What a label is called, and everything that it can say. What is none of these is recorded as the last of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Label {
    /// As it stands in a series.
    pub name: &'static str,
    /// The closed set.
    pub values: &'static [&'static str],
}

/// How values of a metric add up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Counts, and only upwards.
    Counter,
    /// Counts seconds by size. The upper bounds of its buckets; one more takes what is larger.
    Histogram(&'static [f64]),
}

/// Something that is measured.
#[derive(Debug, PartialEq)]
pub struct Metric {
    /// As it is shown.
    pub name: &'static str,
    /// As it is stored: every write is paid by its size.
    code: &'static str,
    /// How its values add up. A counter has no unit, a histogram is of seconds.
    pub kind: Kind,
    /// For people.
    pub help: &'static str,
    /// In the order in which a series names their values.
    pub labels: &'static [Label],
    /// Whether it is also kept when a series was last counted.
    is_dated: bool,
}

impl Metric {
    /// How many series there can be, as OpenMetrics counts them: a histogram has one for each bucket, its sum and its count.
    pub fn most_series(&self) -> usize {
        let each = match self.kind {
            Kind::Counter => 1,
            Kind::Histogram(bounds) => bounds.len() + 3,
        };
        self.labels.iter().map(|label| label.values.len()).product::<usize>() * each
    }

    /// Whether it is also kept when a series was last counted.
    pub(super) fn is_dated(&self) -> bool {
        self.is_dated
    }

    /// The series with these values.
    fn series(&'static self, values: &[&str]) -> Series {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        let known = self.labels.iter().zip(values).map(|(label, value)| {
            label.values.iter().find(|known| *known == value).or(label.values.last()).copied().unwrap_or_default()
        });
        Series { metric: self, values: known.collect() }
    }
}

/// One of a metric's series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Of what.
    pub metric: &'static Metric,
    /// What its labels say, in the metric's order.
    pub values: Vec<&'static str>,
}

impl Series {
    /// Names and values of its labels.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.metric.labels.iter().map(|label| label.name).zip(self.values.iter().copied())
    }

    /// As it is stored: the metric's code and the labels' values, such as `ts:square:webhook`.
    pub fn code(&self) -> String {
        let values = self.values.iter();
        values.fold(self.metric.code.to_owned(), |code, value| format!("{code}:{value}"))
    }

    /// Reads what [`Self::code`] has written. `None`: this catalogue knows nothing like it (any more, or yet).
    pub fn parse(code: &str) -> Option<Self> {
        let mut parts = code.split(':');
        let metric = parts.next().and_then(|code| CATALOGUE.iter().find(|metric| metric.code == code))?;
        let known = |label: &'static Label| {
            let value = parts.next()?;
            label.values.iter().find(|known| **known == value).copied()
        };
        let values = metric.labels.iter().map(known).collect::<Option<Vec<_>>>()?;
        parts.next().is_none().then_some(Self { metric, values })
    }
}

/// What a series has come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a counter.
    Count {
        /// How often.
        count: u64,
        /// When last, if that is kept of the metric.
        last: Option<Timestamp>,
    },
    /// Of a histogram.
    Sizes {
        /// How many values fell into each bucket, and into no smaller one; the last has no upper bound.
        buckets: Vec<u64>,
        /// All values together, in millionths: integers add up to the same whoever adds them.
        sum_micros: u64,
    },
}

impl Value {
    /// Nothing yet.
    pub fn zero(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Count { count: 0, last: None },
            Kind::Histogram(bounds) => Self::Sizes { buckets: vec![0; bounds.len() + 1], sum_micros: 0 },
        }
    }

    /// Adds what was counted elsewhere, or later.
    pub fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Count { count, last }, Self::Count { count: more, last: later }) => {
                *count = count.saturating_add(*more);
                *last = (*last).max(*later);
            }
            (Self::Sizes { buckets, sum_micros }, Self::Sizes { buckets: more, sum_micros: more_micros }) => {
                buckets.iter_mut().zip(more).for_each(|(bucket, more)| *bucket = bucket.saturating_add(*more));
                *sum_micros = sum_micros.saturating_add(*more_micros);
            }
            // A metric has one kind.
            (Self::Count { .. }, Self::Sizes { .. }) | (Self::Sizes { .. }, Self::Count { .. }) => {}
        }
    }
}

/// What some series have come to, by their codes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally(BTreeMap<String, (Series, Value)>);

impl Tally {
    /// Adds to a series.
    pub fn add(&mut self, series: &Series, value: &Value) {
        let zero = || (series.clone(), Value::zero(series.metric.kind));
        self.0.entry(series.code()).or_insert_with(zero).1.add(value);
    }

    /// Adds all of another.
    pub fn add_all(&mut self, other: &Self) {
        other.iter().for_each(|(series, value)| self.add(series, value));
    }

    /// Every series, in the order of the codes.
    pub fn iter(&self) -> impl Iterator<Item = &(Series, Value)> {
        self.0.values()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many series, as OpenMetrics counts them.
    pub fn series_count(&self) -> usize {
        let each = |value: &Value| match value {
            Value::Count { .. } => 1,
            Value::Sizes { buckets, .. } => buckets.len() + 2,
        };
        self.iter().map(|(_, value)| each(value)).sum()
    }
}

/// How something came to the sales domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The doorbell rang.
    Webhook,
    /// A sync found it among what is new.
    Sync,
    /// A sync read the past.
    Backfill,
    /// A tenant has said what its items are.
    Remapping,
    /// A release has read raw orders again.
    Rebuild,
    /// Somebody has let a delivery be worked on once more.
    Replay,
    /// It was not acknowledged, or somebody asked for it again.
    Resend,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Sync => "sync",
            Self::Backfill => "backfill",
            Self::Remapping => "remapping",
            Self::Rebuild => "rebuild",
            Self::Replay => "replay",
            Self::Resend => "resend",
        }
    }
}

/// What was changed at a till `changed_at` is on the sales queue now. The past is not measured: nobody waits for it.
pub fn handed_over(provider: ProviderKind, way: Way, changed_at: Timestamp) {
    match way {
        Way::Webhook | Way::Sync => observe(&TILL_TO_SALES, &[provider.as_str(), way.as_str()], since(changed_at)),
        Way::Backfill | Way::Remapping | Way::Rebuild | Way::Replay | Way::Resend => {}
    }
}

/// What a webhook announced that arrived `received_at` is on the sales queue now.
pub fn webhook_handed_over(provider: ProviderKind, received_at: Timestamp) {
    observe(&WEBHOOK_TO_SALES, &[provider.as_str()], since(received_at));
}

/// The sales domain has a revision that was written `written_at`.
pub fn accepted(written_at: Timestamp) {
    observe(&SALES_TO_ACCEPTED, &[], since(written_at));
}

/// A delivery was answered: `accepted`, or the code of the problem. `provider`: as the path says.
pub fn webhook_received(provider: &str, outcome: &str) {
    count(&WEBHOOKS_RECEIVED, &[provider, outcome], 1);
}

/// It took so long to say whether a delivery is what it claims to be.
pub fn webhook_verified(provider: ProviderKind, took: Duration) {
    observe(&WEBHOOK_VERIFY, &[provider.as_str()], took.as_secs_f64());
}

/// A delivery has come to its end: `done`, `repeat`, `ignored` or `failed`, the last two with a code.
pub fn delivery_ended(provider: ProviderKind, outcome: &str, code: &str) {
    count(&DELIVERIES, &[provider.as_str(), outcome], 1);
    if !code.is_empty() {
        count(&REFUSED, &[code], 1);
    }
}

/// So many copies were `created`, `updated`, `unchanged` or `stale`; or orders have `failed`.
pub fn transactions(provider: ProviderKind, way: Way, change: &str, number: u64) {
    count(&TRANSACTIONS, &[provider.as_str(), way.as_str(), change], number);
}

/// So many revisions were handed to the sales queue, and so many were not taken by it.
pub fn sales_sent(way: Way, sent: usize, refused: usize) {
    count(&SALES_SENT, &[way.as_str(), "sent"], number(sent));
    count(&SALES_SENT, &[way.as_str(), "refused"], number(refused));
}

/// The sales domain has `accepted` or `rejected`, and what that came to.
pub fn answered(answer: &str, outcome: &str) {
    count(&SALES_ANSWERS, &[answer, outcome], 1);
}

/// The sweeper has sent so many again, of which so many are overdue, and so many were not taken.
pub fn swept(resent: usize, overdue: usize, refused: usize) {
    for (outcome, swept) in [("resent", resent), ("overdue", overdue), ("refused", refused)] {
        count(&OUTBOX_SWEPT, &[outcome], number(swept));
    }
}

/// A reply waits for a person.
pub fn reply_parked() {
    count(&REPLIES_PARKED, &[], 1);
}

/// What became of a command at one item in one shop.
pub fn command_ended(provider: ProviderKind, verdict: &str) {
    count(&COMMANDS, &[provider.as_str(), verdict], 1);
}

/// A message must come again, for the reason of this code.
pub fn postponed(code: &str) {
    count(&POSTPONED, &[code], 1);
}

/// A provider was asked. `status`: what it answered, if it did.
pub fn provider_asked(provider: ProviderKind, operation: &str, status: Option<u16>, took: Duration) {
    let outcome = match status {
        Some(200..=399) => "ok",
        Some(429) => "rate_limited",
        Some(400..=499) => "refused",
        Some(_) | None => "failed",
    };
    super::line::count_provider_call();
    #[cfg(feature = "otlp")]
    super::spans::asked(provider, operation, status, took);
    let operation = if operation == "refresh_token" { "refresh_credentials" } else { operation };
    count(&PROVIDER_REQUESTS, &[provider.as_str(), operation, outcome], 1);
    observe(&PROVIDER_REQUEST, &[provider.as_str()], took.as_secs_f64());
}

/// A request had to wait: because the provider said so, or for our own budget.
pub fn rate_limited(provider: ProviderKind, is_theirs: bool) {
    count(&RATE_LIMITED, &[provider.as_str(), if is_theirs { "theirs" } else { "ours" }], 1);
}

/// A run has ended.
pub fn sync_run_ended(provider: ProviderKind, kind: SyncKind, state: RunState) {
    let state = match state {
        RunState::Completed => "completed",
        RunState::Partial => "partial",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
        RunState::Queued | RunState::Reading | RunState::Settling => return,
    };
    count(&SYNC_RUNS, &[provider.as_str(), kind.as_str(), state], 1);
}

/// A day was looked at, and is `proven`, or whatever else can be said of it.
pub fn day_looked_at(provider: ProviderKind, state: &str) {
    count(&DAYS_LOOKED_AT, &[provider.as_str(), state], 1);
}

/// A day stays unproven, and it is not that its tenant lets nobody read.
pub fn day_stays_unproven(provider: ProviderKind) {
    count(&DAYS_UNPROVEN, &[provider.as_str()], 1);
}

/// A sync has found so many sales that a delivery should have announced.
pub fn unannounced(provider: ProviderKind, sales: u32) {
    count(&UNANNOUNCED, &[provider.as_str()], u64::from(sales));
}

/// Credentials were `renewed`; or `refused`, or it has `failed` for a reason that passes.
pub fn token_refreshed(provider: ProviderKind, outcome: &str) {
    count(&TOKEN_REFRESHES, &[provider.as_str(), outcome], 1);
}

/// A request to the API was answered. Who was not let in is counted once more.
pub fn request_answered(status: u16, took: Duration) {
    let class = match status {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "other",
    };
    count(&REQUESTS, &[super::function(), class], 1);
    observe(&REQUEST, &[super::function()], took.as_secs_f64());
}

/// Somebody was not let in: `unauthorized`, `other_tenant` or `forbidden`.
pub fn denied(reason: &str) {
    count(&DENIED, &[reason], 1);
}

/// An execution environment was asked for something for the first time.
pub fn cold_start() {
    count(&COLD_STARTS, &[super::function()], 1);
}

/// The counts could not be added to the table.
pub fn flush_failed() {
    count(&FLUSHES_FAILED, &[super::function()], 1);
}

fn count(metric: &'static Metric, values: &[&str], number: u64) {
    if number > 0 {
        meter::count(&metric.series(values), number);
    }
}

fn observe(metric: &'static Metric, values: &[&str], seconds: f64) {
    meter::observe(&metric.series(values), seconds);
}

/// Seconds. A provider's clock may be ahead of ours: never less than none.
fn since(at: Timestamp) -> f64 {
    Timestamp::now().duration_since(at).as_secs_f64().max(0.0)
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
