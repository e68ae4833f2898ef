//! What a caller sees of runs: what was asked, how far it is, and what came of it.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::domain::{
    Configuration, FailedOrder, LocationId, LocationProgress, Run, RunId, RunNote, RunState, SyncCounts, SyncKind,
    SyncRange, Trigger,
};
use shared::store::sync_logs::{Lane, PageRow};

/// What is under way, what was, and up to when each shop is complete.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SyncStatus"))]
pub struct StatusView<'a> {
    /// Runs under way, one of each kind at most.
    pub current: Vec<RunView<'a>>,
    /// Runs that have ended, the newest first; or the one that was asked for.
    pub runs: Vec<RunView<'a>>,
    /// For the next page of `runs`; null on the last.
    pub next_cursor: Option<String>,
    /// The shops, and how complete they are.
    pub locations: Vec<LocationView<'a>>,
    /// When the schedule begins the next incremental run; null while one is under way or none can begin.
    pub next_incremental_at: Option<Timestamp>,
    /// Seconds between two incremental runs, as it has adapted to what they find.
    pub interval_seconds: i64,
}

/// How complete a shop is.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SyncLocation"))]
pub struct LocationView<'a> {
    id: &'a LocationId,
    name: &'a str,
    /// Everything that the provider showed of changes before this time is stored; null until the first run has read it.
    watermark: Option<Timestamp>,
    /// How long ago that is.
    lag_seconds: Option<i64>,
}

/// Runs that are not wanted any more.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "CancelledRuns"))]
pub struct CancelledView<'a> {
    /// As they are now; each ends after the page that it is reading.
    pub cancelled: Vec<RunView<'a>>,
}

/// A run.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Run"))]
pub struct RunView<'a> {
    id: RunId,
    kind: SyncKind,
    /// The oldest accounting day of a backfill.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("format" = "date")))]
    from: Option<Date>,
    /// The newest accounting day of a backfill.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("format" = "date")))]
    to: Option<Date>,
    /// The accounting day of a repair.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("format" = "date")))]
    day: Option<Date>,
    /// The shops that were asked for; null: all of them.
    locations: Option<&'a BTreeSet<LocationId>>,
    trigger: TriggerView,
    /// Who asked for it, if anybody did.
    requested_by: Option<&'a str>,
    state: RunState,
    /// Why, if it failed or was cancelled.
    #[cfg_attr(feature = "schema", schemars(schema_with = "shared::domain::run_code"))]
    code: Option<&'a str>,
    /// Whether somebody does not want it any more.
    cancel_requested: bool,
    requested_at: Timestamp,
    started_at: Option<Timestamp>,
    /// When all was read; what was read last may still be worked on.
    read_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    progress: ProgressView,
    /// How far it is, shop by shop. Empty until it has begun, and for a catalogue.
    location_progress: Vec<LocationProgressView<'a>>,
    /// What it could not do, or what looks wrong.
    notes: &'a [RunNote],
    /// Some of the orders that could not be taken.
    failed_orders: Vec<&'a FailedOrder>,
}

/// Why a run began.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "RunTrigger"))]
#[serde(rename_all = "snake_case")]
enum TriggerView {
    /// The schedule.
    Schedule,
    /// Somebody connected the merchant.
    FirstConnection,
    /// A look at a day found it short.
    Certificate,
    /// A caller of the API.
    Request,
}

/// How far a run is.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "RunProgress"))]
struct ProgressView {
    /// Windows of time that were read to their end, of all shops.
    windows: u32,
    /// Pages that were read.
    pages: u32,
    /// Of those, pages whose orders have been worked on; the counts of orders are theirs.
    pages_done: u32,
    orders: SyncCounts,
    /// Requests that the provider was asked.
    requests: u64,
    /// How often the provider's limit made it wait.
    rate_limit_waits: u64,
    /// For how long together.
    rate_limit_waited_ms: u64,
    /// The share of the time to be read that has been read, whole windows only, over all shops. Null until the run has
    /// begun, and for a catalogue.
    #[cfg_attr(feature = "schema", schemars(range(max = 100)))]
    percent: Option<u8>,
    /// The time that the run has taken since it began, waits included, times what is left of the time to be read over
    /// what has been read. It assumes that the rest goes as the part so far has gone. Null until a window has been read
    /// to its end, and as soon as all are.
    estimated_seconds_left: Option<u64>,
}

/// How far a run is at one shop.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "RunLocationProgress"))]
struct LocationProgressView<'a> {
    location_id: &'a LocationId,
    /// What changed from this time on is read.
    from: Timestamp,
    /// What changed before this time is read.
    to: Timestamp,
    /// From here on to `to`, all windows have been begun: the newest come first.
    reached: Timestamp,
    /// Windows that were read to their end.
    windows: u32,
    /// Whether there is nothing more to be read here.
    done: bool,
    /// Why it is read no further.
    #[cfg_attr(feature = "schema", schemars(schema_with = "shared::domain::run_code"))]
    failed: Option<&'a str>,
}

impl<'a> RunView<'a> {
    /// Shows a run. `pages`: the rows that the run itself does not count yet.
    pub fn new(run: &'a Run, cancel_requested: bool, pages: &'a [PageRow], now: Timestamp) -> Self {
        let (from, to, day) = match run.request.range {
            SyncRange::Backfill { from, to } => (Some(from), Some(to), None),
            SyncRange::Repair { day } => (None, None, Some(day)),
            SyncRange::Incremental | SyncRange::Catalog => (None, None, None),
        };
        let (trigger, requested_by) = match &run.trigger {
            Trigger::Schedule => (TriggerView::Schedule, None),
            Trigger::FirstConnection => (TriggerView::FirstConnection, None),
            Trigger::Certificate => (TriggerView::Certificate, None),
            Trigger::Request { subject } => (TriggerView::Request, Some(subject.as_str())),
        };
        let failed_orders = run.failed_orders.iter().chain(pages.iter().flat_map(|page| &page.failed_orders));
        Self {
            id: run.id,
            kind: run.request.kind(),
            from,
            to,
            day,
            locations: Some(&run.request.locations).filter(|locations| !locations.is_empty()),
            trigger,
            requested_by,
            state: run.state,
            code: run.code.as_deref(),
            cancel_requested,
            requested_at: run.requested_at,
            started_at: run.started_at,
            read_at: run.read_at,
            ended_at: run.ended_at,
            progress: ProgressView::new(run, pages, now),
            location_progress: run.locations.iter().map(LocationProgressView::new).collect(),
            notes: &run.notes,
            failed_orders: failed_orders.take(Run::MOST_NOTES).collect(),
        }
    }

    /// Which run.
    pub fn id(&self) -> RunId {
        self.id
    }
}

impl<'a> LocationProgressView<'a> {
    fn new(progress: &'a LocationProgress) -> Self {
        Self {
            location_id: &progress.location_id,
            from: progress.span.from,
            to: progress.span.to,
            reached: progress.reached,
            windows: progress.windows,
            done: progress.is_read(),
            failed: progress.failed.as_deref(),
        }
    }
}

impl<'a> LocationView<'a> {
    /// The shops of a configuration.
    pub fn of(configuration: &'a Configuration, incremental: Option<&Lane>, now: Timestamp) -> Vec<Self> {
        let shops = configuration.locations.iter().map(|shop| {
            let watermark = incremental.and_then(|lane| lane.watermarks.get(&shop.id)).copied();
            let lag_seconds = watermark.map(|at| now.duration_since(at).as_secs().max(0));
            Self { id: &shop.id, name: &shop.name, watermark, lag_seconds }
        });
        shops.collect()
    }
}

impl ProgressView {
    fn new(run: &Run, pages: &[PageRow], now: Timestamp) -> Self {
        let mut orders = run.counts;
        for page in pages {
            orders.add(&page.counts);
        }
        let (read, all) = run.locations.iter().map(covered).fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let is_read = !run.locations.is_empty() && run.locations.iter().all(LocationProgress::is_read);
        let share = if is_read { Some((1, 1)) } else { Some((read, all)).filter(|_| all > 0) };
        Self {
            windows: run.locations.iter().map(|shop| shop.windows).sum(),
            pages: run.pages,
            pages_done: run.counted_pages.saturating_add(u32::try_from(pages.len()).unwrap_or(u32::MAX)),
            orders,
            requests: run.requests,
            rate_limit_waits: run.waits,
            rate_limit_waited_ms: run.waited_ms,
            percent: share.and_then(|(read, all)| u8::try_from(read * 100 / all).ok()),
            estimated_seconds_left: share.filter(|_| run.state == RunState::Reading).and_then(|share| {
                let taken = now.duration_since(run.started_at?);
                estimate(share, taken)
            }),
        }
    }
}

/// Milliseconds of a shop's time that were read, and all of them. A window counts when it has been read to its end.
fn covered(shop: &LocationProgress) -> (u128, u128) {
    let length = |from: Timestamp, to: Timestamp| u128::try_from(to.duration_since(from).as_millis()).unwrap_or(0);
    let all = length(shop.span.from, shop.span.to);
    if shop.is_read() {
        return (all, all);
    }
    let open = shop.window.iter().chain(&shop.halves).map(|window| length(window.span.from, window.span.to));
    let begun = length(shop.reached.max(shop.span.from), shop.span.to);
    (begun.saturating_sub(open.sum()), all)
}

/// Seconds that the rest takes, if it goes on like this, rounded up.
fn estimate((read, all): (u128, u128), taken: SignedDuration) -> Option<u64> {
    if read == 0 || read >= all {
        return None;
    }
    let taken = u128::try_from(taken.as_millis()).ok()?;
    u64::try_from((taken * (all - read)).div_ceil(read).div_ceil(1000)).ok()
}

#[cfg(test)]
mod tests {
    use shared::domain::{Span, SyncRequest, Window};

    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + hour * 3600).unwrap()
    }

    fn window(from: i64, to: i64) -> Window {
        let span = Span { from: at(from), to: at(to) };
        Window { pages: 1, orders: 7, ..Window::new(span) }
    }

    fn shop(reached: i64, window: Option<Window>, halves: Vec<Window>) -> LocationProgress {
        let span = Span { from: at(0), to: at(100) };
        LocationProgress { reached: at(reached), window, halves, ..LocationProgress::new("L1".parse().unwrap(), span) }
    }

    fn run(locations: Vec<LocationProgress>) -> Run {
        let request = SyncRequest::of(SyncRange::Incremental);
        let run = Run::new(request, Trigger::Schedule, 0, at(0));
        Run { state: RunState::Reading, started_at: Some(at(1)), locations, ..run }
    }

    #[test]
    fn the_share_counts_whole_windows_and_the_estimate_follows_from_it() {
        // An hour has passed since it began.
        let shown = |run: &Run| {
            let progress = ProgressView::new(run, &[], at(2));
            (progress.percent, progress.estimated_seconds_left)
        };
        assert_eq!(shown(&run(vec![])), (None, None), "not begun");
        assert_eq!(shown(&run(vec![shop(100, None, vec![])])), (Some(0), None));
        assert_eq!(shown(&run(vec![shop(80, Some(window(80, 100)), vec![])])), (Some(0), None), "nothing is whole yet");
        assert_eq!(shown(&run(vec![shop(60, Some(window(60, 80)), vec![])])), (Some(20), Some(4 * 3600)));
        assert_eq!(shown(&run(vec![shop(60, Some(window(70, 80)), vec![window(60, 70)])])), (Some(20), Some(4 * 3600)));
        assert_eq!(shown(&run(vec![shop(50, None, vec![])])), (Some(50), Some(3600)));
        let failed = LocationProgress { failed: Some("gone".into()), ..shop(100, None, vec![]) };
        assert_eq!(shown(&run(vec![shop(50, None, vec![]), failed])), (Some(75), Some(1200)));
        assert_eq!(shown(&run(vec![shop(0, None, vec![])])), (Some(100), None));
        assert_eq!(shown(&run(vec![shop(0, Some(window(0, 1)), vec![])])), (Some(99), Some(37)));
        let ended = Run { state: RunState::Cancelled, ..run(vec![shop(50, None, vec![])]) };
        assert_eq!(shown(&ended), (Some(50), None));
        let waiting = Run { started_at: None, ..run(vec![shop(50, None, vec![])]) };
        assert_eq!(shown(&waiting), (Some(50), None));
    }

    #[test]
    fn pages_that_the_run_has_not_counted_yet_are_shown() {
        let counts = SyncCounts { seen: 3, created: 2, failed: 1, ..SyncCounts::default() };
        let failed = FailedOrder { order_id: None, code: "unreadable".into(), detail: "/total".into() };
        let rows = vec![PageRow { counts, failed_orders: vec![failed; 15], ..PageRow::default() }; 2];
        let mut run = run(vec![]);
        (run.pages, run.counted_pages, run.counts) = (9, 4, SyncCounts { seen: 10, unchanged: 10, ..counts });
        let view = RunView::new(&run, false, &rows, at(2));
        assert_eq!((view.progress.pages, view.progress.pages_done), (9, 6));
        let SyncCounts { seen, created, updated, unchanged, failed } = view.progress.orders;
        assert_eq!((seen, created, updated, unchanged, failed), (16, 6, 0, 10, 3));
        assert_eq!(view.failed_orders.len(), Run::MOST_NOTES);
    }
}
