//! What a sync run is: a walk through windows of time, shop by shop, that finds what no webhook announced.
//!
//! A run is a plain value. Whoever holds its lease reads on from it and stores it again after each page, so whatever dies
//! between two pages repeats one of them and loses none.

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::{Code, ExternalOrderId, LocationId, Minor, RunId, Unannounced};

/// What a run is for. One of each kind can run for a configuration at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SyncKind {
    /// What has changed since the last one.
    Incremental,
    /// Days of the past, newest first.
    Backfill,
    /// One day once more, and what was changed of it later.
    Repair,
    /// What is sold: names, numbers, categories.
    Catalog,
}

impl SyncKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Incremental, Self::Backfill, Self::Repair, Self::Catalog];

    /// The word in keys and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incremental => "incremental",
            Self::Backfill => "backfill",
            Self::Repair => "repair",
            Self::Catalog => "catalog",
        }
    }

    /// The kind that a key or a message names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for SyncKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which days a run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SyncRange {
    /// From each shop's watermark on.
    Incremental,
    /// Accounting days, both ends included.
    Backfill {
        /// The oldest.
        #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
        from: Date,
        /// The newest.
        #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
        to: Date,
    },
    /// One accounting day.
    Repair {
        /// Which.
        #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
        day: Date,
    },
    /// No days: the catalogue of this moment.
    Catalog,
}

/// What a run is asked to read. Two equal requests ask for the same run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SyncRequest {
    /// Which days.
    #[serde(flatten)]
    pub range: SyncRange,
    /// Which shops; none named: all that the configuration has when the run begins.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub locations: BTreeSet<LocationId>,
}

impl SyncRequest {
    /// Of all shops.
    pub fn of(range: SyncRange) -> Self {
        Self { range, locations: BTreeSet::new() }
    }

    /// What it is for.
    pub fn kind(&self) -> SyncKind {
        match self.range {
            SyncRange::Incremental => SyncKind::Incremental,
            SyncRange::Backfill { .. } => SyncKind::Backfill,
            SyncRange::Repair { .. } => SyncKind::Repair,
            SyncRange::Catalog => SyncKind::Catalog,
        }
    }
}

/// Who wanted a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The schedule.
    Schedule,
    /// Somebody connected the merchant.
    FirstConnection,
    /// A look at a day found it short.
    Certificate,
    /// A caller of the API.
    Request {
        /// Who.
        subject: String,
    },
}

/// What became of orders. All of a run together, or of one page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SyncCounts {
    /// Orders (or things of the catalogue) that were read.
    pub seen: u64,
    /// That we did not have.
    pub created: u64,
    /// That we had otherwise.
    pub updated: u64,
    /// That we had, or had newer, or that are no sales.
    pub unchanged: u64,
    /// That could not be taken.
    pub failed: u64,
}

impl SyncCounts {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.seen += other.seen;
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.failed += other.failed;
    }
}

/// An order that a run could not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FailedOrder {
    /// Which, as far as it says.
    pub order_id: Option<ExternalOrderId>,
    /// Why.
    #[cfg_attr(feature = "schema", schemars(schema_with = "super::order_code"))]
    pub code: String,
    /// Where in it, or what was said. No secret, no body.
    pub detail: String,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Asked for, not begun.
    Queued,
    /// Pages are being read.
    Reading,
    /// All is read; what was read last is being worked on.
    Settling,
    /// All of it is read and stored.
    Completed,
    /// Some of it is not; the problems say what and why.
    Partial,
    /// None of it could be read.
    Failed,
    /// Somebody did not want it any more.
    Cancelled,
}

impl RunState {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Reading | Self::Settling => false,
            Self::Completed | Self::Partial | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// Something that a run could not do, or that looks wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunNote {
    /// In which shop; absent: everywhere.
    pub location_id: Option<LocationId>,
    /// Why.
    #[cfg_attr(feature = "schema", schemars(schema_with = "super::note_code"))]
    pub code: String,
    /// What happened.
    pub detail: String,
}

/// A stretch of time at one shop, half-open: from `from` on, before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Span {
    /// Changed at this time or later.
    pub from: Timestamp,
    /// Changed before this time.
    pub to: Timestamp,
}

/// What was counted of an accounting day: as we read it, or as the provider says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DayCount {
    /// Sales that count.
    pub sales: u32,
    /// Refunds that count.
    pub refunds: u32,
    /// Sales less refunds, without tips.
    #[serde(rename = "turnover_minor")]
    pub turnover: Minor,
}

/// The window that is being read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Which stretch.
    pub span: Span,
    /// Where the provider goes on.
    pub cursor: Option<String>,
    /// Pages read of it so far.
    pub pages: u32,
    /// Orders on them.
    pub orders: u64,
    /// How often its cursor has expired.
    pub restarts: u32,
    /// How often its next page was asked for in vain.
    pub attempts: u32,
    /// How many times its stretch was halved because its count looked wrong.
    pub halvings: u32,
    /// What is counted in it, where it is a whole day and the provider counts days, too.
    #[serde(default)]
    pub day: DayCount,
    /// Why it is read again, if it is: with it ends what had looked wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspicion: Option<Suspicion>,
}

impl Window {
    /// Nothing read of it yet.
    pub fn new(span: Span) -> Self {
        Self {
            span,
            cursor: None,
            pages: 0,
            orders: 0,
            restarts: 0,
            attempts: 0,
            halvings: 0,
            day: DayCount::default(),
            suspicion: None,
        }
    }
}

/// Why a stretch is read in halves. The second half carries it, with what the first had shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// The whole stretch.
    pub span: Span,
    /// Orders that the whole stretch had shown.
    pub orders: u64,
    /// Orders that the first half has shown.
    pub read: u64,
    /// What the first half has counted.
    pub day: DayCount,
}

/// How far a run is at one shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationProgress {
    /// Which shop.
    pub location_id: LocationId,
    /// All that is to be read.
    pub span: Span,
    /// From here on to the end of `span` all windows have been begun: the newest first.
    pub reached: Timestamp,
    /// What is being read.
    pub window: Option<Window>,
    /// Halves that are still to be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub halves: Vec<Window>,
    /// Windows read to their end.
    pub windows: u32,
    /// Orders in the last few whole windows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<u64>,
    /// The last page that was sent on for it.
    pub last_page: u32,
    /// Why it is read no further.
    pub failed: Option<String>,
    /// Whether the provider counts another sum to a day than we have read, twice.
    #[serde(default)]
    pub disagrees: bool,
}

impl LocationProgress {
    /// Nothing read yet.
    pub fn new(location_id: LocationId, span: Span) -> Self {
        Self {
            location_id,
            span,
            reached: span.to,
            window: None,
            halves: Vec::new(),
            windows: 0,
            recent: Vec::new(),
            last_page: 0,
            failed: None,
            disagrees: false,
        }
    }

    /// Whether there is nothing more to be read.
    pub fn is_read(&self) -> bool {
        self.failed.is_some() || (self.window.is_none() && self.halves.is_empty() && self.reached <= self.span.from)
    }
}

/// A run, under way or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Which.
    pub id: RunId,
    /// What it was asked for.
    pub request: SyncRequest,
    /// Who wanted it.
    pub trigger: Trigger,
    /// The configuration's when it was asked for: after a removal has begun it comes to nothing.
    pub epoch: u64,
    /// Where it is.
    pub state: RunState,
    /// Why, if it failed or was cancelled: a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When somebody began.
    pub started_at: Option<Timestamp>,
    /// When all was read.
    #[serde(default)]
    pub read_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How far it is, shop by shop.
    pub locations: Vec<LocationProgress>,
    /// Pages sent on so far; they are numbered from 1.
    pub pages: u32,
    /// Pages whose rows are in `counts`, from the first on without a gap.
    pub counted_pages: u32,
    /// Of the counted pages.
    pub counts: SyncCounts,
    /// Of the counted pages.
    #[serde(default)]
    pub unannounced: Unannounced,
    /// Requests that the provider was asked.
    pub requests: u64,
    /// How often its budget, or the provider, made us wait.
    pub waits: u64,
    /// For how long together.
    pub waited_ms: u64,
    /// What it could not do, or what looks wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<RunNote>,
    /// Some of the orders that could not be taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_orders: Vec<FailedOrder>,
}

impl Run {
    /// The most notes and orders that a run keeps; what happens more often is one thing, seen often.
    pub const MOST_NOTES: usize = 20;

    /// Asked for and not begun.
    pub fn new(request: SyncRequest, trigger: Trigger, epoch: u64, requested_at: Timestamp) -> Self {
        Self {
            id: RunId::generate(),
            request,
            trigger,
            epoch,
            state: RunState::Queued,
            code: None,
            requested_at,
            started_at: None,
            read_at: None,
            ended_at: None,
            locations: Vec::new(),
            pages: 0,
            counted_pages: 0,
            counts: SyncCounts::default(),
            unannounced: Unannounced::default(),
            requests: 0,
            waits: 0,
            waited_ms: 0,
            notes: Vec::new(),
            failed_orders: Vec::new(),
        }
    }

    /// What begins when a merchant is connected: the past, as far as the tenant wants it, and the catalogue.
    pub fn first(settings: SyncSettings, epoch: u64, now: Timestamp) -> Vec<Self> {
        // No zone is further ahead than a day; what has not happened yet is not read.
        let to = now.to_zoned(TimeZone::UTC).date().saturating_add(1.day());
        let mut ranges = vec![SyncRange::Catalog];
        if settings.backfill_days > 0 {
            let from = to.saturating_sub(i64::from(settings.backfill_days).days());
            ranges.insert(0, SyncRange::Backfill { from, to });
        }
        let run = |range| Self::new(SyncRequest::of(range), Trigger::FirstConnection, epoch, now);
        ranges.into_iter().map(run).collect()
    }

    /// Notes something once.
    pub fn note(&mut self, location_id: Option<&LocationId>, code: Code, detail: impl Into<String>) {
        let is_known = self.notes.iter().any(|it| it.location_id.as_ref() == location_id && it.code == code.as_str());
        if !is_known && self.notes.len() < Self::MOST_NOTES {
            let location_id = location_id.cloned();
            self.notes.push(RunNote { location_id, code: code.into(), detail: detail.into() });
        }
    }
}

/// How often a tenant wants to be sure, and how far back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SyncSettings {
    /// Minutes between two incremental runs while webhooks are neither complete nor missed, 1 to 1440.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1440)))]
    pub interval_minutes: u16,
    /// Days that are read back when a merchant is connected, 0 to 1825; 90 unless said otherwise.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1825)))]
    pub backfill_days: u16,
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self { interval_minutes: 15, backfill_days: 90 }
    }
}
