//! What to read next. Pure: a run, what a page showed, and what follows from it.

use jiff::{SignedDuration, Timestamp, ToSpan};
use shared::domain::{
    Code, Configuration, DayCount, Location, LocationProgress, Run, RunState, Span, Suspicion, SyncRange, Window,
};
use shared::providers::Listing;
use shared::store::sync_logs::Watermarks;

/// An order of a day can change for so long afterwards: Square's offline payments arrive up to three days late.
const LATE: SignedDuration = SignedDuration::from_hours(4 * 24);
/// A window of more pages than a shop can fill in a year is a loop that looks like none.
const PAGE_CAP: u32 = 10_000;
/// A cursor that expires so often will do so for ever.
const MOST_RESTARTS: u32 = 3;
/// Halves of halves: what still looks wrong in a sixty-fourth of a window is left as it is, and noted.
const MOST_HALVINGS: u32 = 6;
/// Nothing shorter is halved.
const SHORTEST: SignedDuration = SignedDuration::from_secs(10);
/// So many windows in a row with the same number of orders, and not a small one, look like a limit.
const EQUAL_WINDOWS: usize = 3;
const EQUAL_FROM: u64 = 10;
/// The last page of a window is full and no other follows: what a silent limit looks like.
const CAPPED: Code = Code::FullPageWithoutNext;

/// The edges of windows, as the deployment says.
#[derive(Debug, Clone, Copy)]
pub struct Edges {
    /// A window begins so long before the watermark: vendors' clocks and ours are not one.
    pub overlap: SignedDuration,
    /// A window ends so long before now: vendors answer from replicas that lag by seconds.
    pub settle: SignedDuration,
}

/// Decides what a run reads, when it begins.
pub fn plan(
    run: &mut Run,
    configuration: &Configuration,
    listing: &Listing,
    watermarks: &Watermarks,
    (edges, now): (Edges, Timestamp),
) {
    let end = now - edges.settle;
    let wanted =
        |location: &&Location| run.request.locations.is_empty() || run.request.locations.contains(&location.id);
    let span = |location: &Location| match run.request.range {
        SyncRange::Incremental => {
            let complete = watermarks.get(&location.id).copied().unwrap_or(configuration.created_at);
            Span { from: complete - edges.overlap.max(listing.late), to: end }
        }
        SyncRange::Backfill { from, to } => {
            let to = location.day_starts_at(to.saturating_add(1.day()));
            Span { from: location.day_starts_at(from), to: to.min(end) }
        }
        SyncRange::Repair { day } => {
            let to = location.day_starts_at(day.saturating_add(1.day())) + LATE;
            Span { from: location.day_starts_at(day), to: to.min(end) }
        }
        SyncRange::Catalog => Span { from: now - SHORTEST, to: now },
    };
    let most = match run.request.range {
        SyncRange::Catalog if listing.shares_catalog => 1,
        SyncRange::Catalog | SyncRange::Incremental | SyncRange::Backfill { .. } | SyncRange::Repair { .. } => {
            usize::MAX
        }
    };
    let progress = configuration.locations.iter().filter(wanted).take(most).map(|location| {
        let Span { from, to } = span(location);
        LocationProgress::new(location.id.clone(), Span { from: from.min(to), to })
    });
    run.locations = progress.collect();
    run.started_at = Some(now);
    run.state = RunState::Reading;
}

/// The shop to go on with, of those that are awake: a window that was begun first, then whoever has the newest left to
/// read.
pub fn next(run: &Run, is_awake: impl Fn(&LocationProgress) -> bool) -> Option<usize> {
    let open = run.locations.iter().enumerate().filter(|(_, progress)| !progress.is_read() && is_awake(progress));
    open.max_by_key(|(_, progress)| (progress.window.is_some(), !progress.halves.is_empty(), progress.reached))
        .map(|(index, _)| index)
}

/// Opens the next window of a shop, if none is open. Days of the past are read one by one, the newest first.
pub fn open<'p>(
    progress: &'p mut LocationProgress,
    range: &SyncRange,
    shop: &Location,
    listing: &Listing,
) -> &'p mut Window {
    if progress.window.is_none() {
        progress.window = progress.halves.pop();
    }
    let reached = &mut progress.reached;
    progress.window.get_or_insert_with(|| {
        let to = *reached;
        let from = match range {
            SyncRange::Backfill { .. } | SyncRange::Repair { .. } => {
                shop.day_starts_at(shop.business_date(to - SignedDuration::from_millis(1)))
            }
            SyncRange::Incremental | SyncRange::Catalog => to - listing.longest_window,
        };
        let from = from.max(progress.span.from);
        *reached = from;
        Window::new(Span { from, to })
    })
}

/// The accounting day that a window is, if it is a whole one.
pub fn whole_day(window: &Window, shop: &Location) -> Option<jiff::civil::Date> {
    let day = shop.business_date(window.span.from);
    let is_whole = |span: Span| {
        span == Span { from: shop.day_starts_at(day), to: shop.day_starts_at(day.saturating_add(1.day())) }
    };
    let span = window.suspicion.as_ref().map_or(window.span, |suspicion| suspicion.span);
    is_whole(span).then_some(day)
}

/// Whether the window that is open completes its day: the first half of one does not.
pub fn is_last_of_its_day(progress: &LocationProgress) -> bool {
    let suspicion = progress.window.as_ref().and_then(|window| window.suspicion.as_ref());
    suspicion.is_none() || progress.halves.last().and_then(|half| half.suspicion.as_ref()) != suspicion
}

/// What follows from a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follows {
    /// There is more in the window.
    More,
    /// The window has been read to its end.
    End,
    /// The shop cannot be read on.
    Failed(Code),
}

/// Takes note of a page of so many orders.
pub fn page_read(window: &mut Window, orders: usize, next: Option<String>) -> Follows {
    window.pages += 1;
    window.attempts = 0;
    window.orders += u64::try_from(orders).unwrap_or(u64::MAX);
    match next {
        None => Follows::End,
        Some(cursor) if window.cursor.as_ref() == Some(&cursor) => Follows::Failed(Code::CursorLoop),
        Some(_) if window.pages >= PAGE_CAP => Follows::Failed(Code::PageCap),
        Some(cursor) => {
            window.cursor = Some(cursor);
            Follows::More
        }
    }
}

/// Takes note of a cursor that is no longer good: the window is read from its start.
pub fn restart(window: &mut Window) -> Follows {
    if window.restarts == MOST_RESTARTS {
        return Follows::Failed(Code::CursorExpired);
    }
    *window = Window {
        restarts: window.restarts + 1,
        halvings: window.halvings,
        suspicion: window.suspicion.clone(),
        ..Window::new(window.span)
    };
    Follows::More
}

/// What the provider counts to the day of a window, if it does and has all of it.
pub type Counted = Option<DayCount>;

/// What was found out at a window's end, for the run's notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub code: Code,
    /// In words.
    pub detail: String,
}

/// Ends the window that has been read. If its count looks wrong it is read again in halves; one that is still full when
/// it cannot be divided any more fails its shop.
pub fn close(progress: &mut LocationProgress, last_page: usize, listing: &Listing, theirs: Counted) -> Vec<Finding> {
    let Some(window) = progress.window.take() else { return Vec::new() };
    let mut findings = Vec::new();
    let is_half = window.suspicion.is_some();
    // The first half of a suspicion is not the end of it: the second carries what it had shown.
    let is_first_half =
        is_half && progress.halves.last().and_then(|half| half.suspicion.as_ref()) == window.suspicion.as_ref();
    let day = match &window.suspicion {
        Some(suspicion) => sum(suspicion.day, window.day),
        None => window.day,
    };
    let suspicious = if last_page >= listing.page_size {
        Some((CAPPED, format!("{} orders, the last page full and none after it", window.orders)))
    } else if is_half {
        None
    } else if is_one_of_equals(progress, window.orders) {
        Some((Code::EqualCounts, format!("{EQUAL_WINDOWS} windows in a row show {} orders each", window.orders)))
    } else if theirs.is_some_and(|theirs| theirs != day) {
        Some((Code::TotalsDisagree, difference(day, theirs.unwrap_or_default())))
    } else {
        None
    };
    if let Some((code, detail)) = suspicious {
        let halves = if window.halvings < MOST_HALVINGS { halve(&window) } else { None };
        let what = if halves.is_some() { "read again in halves" } else { "too short to be divided" };
        findings.push(Finding { code, detail: format!("{}: {detail}; {what}", shown(window.span)) });
        if let Some(halves) = halves {
            progress.halves.extend(halves);
            return findings;
        }
        if code == CAPPED {
            progress.failed = Some(code.into());
        }
    }
    progress.windows += 1;
    if is_first_half {
        carry(progress, window.span, (window.orders, window.day));
    } else if let Some(suspicion) = &window.suspicion {
        let read = suspicion.read + window.orders;
        if read > suspicion.orders {
            let detail = format!("{}: {read} orders, not {}", shown(suspicion.span), suspicion.orders);
            findings.push(Finding { code: Code::SilentCap, detail });
        }
        if let Some(theirs) = theirs.filter(|theirs| *theirs != day) {
            let detail = format!("{}: {}, read twice", shown(suspicion.span), difference(day, theirs));
            findings.push(Finding { code: Code::TotalsStillDisagree, detail });
            progress.disagrees = true;
        }
        carry(progress, suspicion.span, (read, day));
    }
    findings
}

/// Hands what a first half has shown to the second, if it is the half of something.
fn carry(progress: &mut LocationProgress, of: Span, (orders, day): (u64, DayCount)) {
    let second = progress.halves.last_mut().and_then(|second| second.suspicion.as_mut());
    if let Some(suspicion) = second.filter(|it| it.span.from <= of.from && of.to <= it.span.to) {
        suspicion.read += orders;
        suspicion.day = sum(suspicion.day, day);
    }
}

fn is_one_of_equals(progress: &mut LocationProgress, orders: u64) -> bool {
    progress.recent.push(orders);
    if progress.recent.len() < EQUAL_WINDOWS {
        return false;
    }
    let is_equal = orders >= EQUAL_FROM && progress.recent.iter().all(|count| *count == orders);
    if is_equal {
        // Read in halves once; the next to look alike must be three again.
        progress.recent.clear();
    } else {
        progress.recent.remove(0);
    }
    is_equal
}

/// The two halves of a window, the newer one last: it is read first.
fn halve(window: &Window) -> Option<[Window; 2]> {
    let Span { from, to } = window.span;
    let length = to.duration_since(from);
    if length < SHORTEST {
        return None;
    }
    let middle = from + length / 2;
    let middle = Timestamp::from_millisecond(middle.as_millisecond()).unwrap_or(middle);
    let half = |span| Window {
        halvings: window.halvings + 1,
        suspicion: Some(Suspicion { span: window.span, orders: window.orders, read: 0, day: DayCount::default() }),
        ..Window::new(span)
    };
    Some([half(Span { from, to: middle }), half(Span { from: middle, to })])
}

/// Both together.
pub fn sum(one: DayCount, other: DayCount) -> DayCount {
    DayCount {
        sales: one.sales + other.sales,
        refunds: one.refunds + other.refunds,
        turnover: one.turnover.checked_add(other.turnover).unwrap_or_default(),
    }
}

fn difference(ours: DayCount, theirs: DayCount) -> String {
    let show = |it: DayCount| format!("{} sales and {} refunds of {} together", it.sales, it.refunds, it.turnover);
    format!("we read {}, the provider counts {}", show(ours), show(theirs))
}

fn shown(span: Span) -> String {
    format!("{} to {}", span.from, span.to)
}

#[cfg(test)]
mod tests;
