//! What to read next. Pure: a run, what a page showed, and what follows from it.

use jiff::{SignedDuration, Timestamp, ToSpan};
use shared::domain::{
    Configuration, DayCount, Location, LocationProgress, Run, RunState, Span, Suspicion, SyncRange, Window,
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
const CAPPED: &str = "full_page_without_next";

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
    Failed(&'static str),
}

/// Takes note of a page of so many orders.
pub fn page_read(window: &mut Window, orders: usize, next: Option<String>) -> Follows {
    window.pages += 1;
    window.attempts = 0;
    window.orders += u64::try_from(orders).unwrap_or(u64::MAX);
    match next {
        None => Follows::End,
        Some(cursor) if window.cursor.as_ref() == Some(&cursor) => Follows::Failed("cursor_loop"),
        Some(_) if window.pages >= PAGE_CAP => Follows::Failed("page_cap"),
        Some(cursor) => {
            window.cursor = Some(cursor);
            Follows::More
        }
    }
}

/// Takes note of a cursor that is no longer good: the window is read from its start.
pub fn restart(window: &mut Window) -> Follows {
    if window.restarts == MOST_RESTARTS {
        return Follows::Failed("cursor_expired");
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
    /// Stable word.
    pub code: &'static str,
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
        Some(("equal_counts", format!("{EQUAL_WINDOWS} windows in a row show {} orders each", window.orders)))
    } else if theirs.is_some_and(|theirs| theirs != day) {
        Some(("totals_disagree", difference(day, theirs.unwrap_or_default())))
    } else {
        None
    };
    if let Some((code, detail)) = suspicious {
        let halves = if window.halvings < MOST_HALVINGS { halve(&window, code) } else { None };
        let what = if halves.is_some() { "read again in halves" } else { "too short to be divided" };
        findings.push(Finding { code, detail: format!("{}: {detail}; {what}", shown(window.span)) });
        if let Some(halves) = halves {
            progress.halves.extend(halves);
            return findings;
        }
        if code == CAPPED {
            progress.failed = Some(code.to_owned());
        }
    }
    progress.windows += 1;
    if is_first_half {
        carry(progress, window.span, (window.orders, window.day));
    } else if let Some(suspicion) = &window.suspicion {
        let read = suspicion.read + window.orders;
        if read > suspicion.orders {
            let detail = format!("{}: {read} orders, not {}", shown(suspicion.span), suspicion.orders);
            findings.push(Finding { code: "silent_cap", detail });
        }
        if let Some(theirs) = theirs.filter(|theirs| *theirs != day) {
            let detail = format!("{}: {}, read twice", shown(suspicion.span), difference(day, theirs));
            findings.push(Finding { code: "totals_still_disagree", detail });
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
fn halve(window: &Window, code: &str) -> Option<[Window; 2]> {
    let Span { from, to } = window.span;
    let length = to.duration_since(from);
    if length < SHORTEST {
        return None;
    }
    let middle = from + length / 2;
    let middle = Timestamp::from_millisecond(middle.as_millisecond()).unwrap_or(middle);
    let half = |span| Window {
        halvings: window.halvings + 1,
        suspicion: Some(Suspicion {
            code: code.to_owned(),
            span: window.span,
            orders: window.orders,
            read: 0,
            day: DayCount::default(),
        }),
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
mod tests {
    use super::*;
    use shared::domain::{Minor, SyncRequest, Trigger};

    const LISTING: Listing = Listing {
        longest_window: SignedDuration::from_hours(28 * 24),
        page_size: 100,
        counts_days: true,
        shares_catalog: false,
        late: SignedDuration::ZERO,
    };
    const EDGES: Edges = Edges { overlap: SignedDuration::from_mins(15), settle: SignedDuration::from_secs(60) };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn configuration() -> Configuration {
        let shop = |id: &str, zone: &str| serde_json::json!({ "id": id, "name": id, "time_zone": zone, "currency": "EUR", "day_start": "04:00" });
        serde_json::from_value(serde_json::json!({
            "id": "01938d5e-0000-7000-8000-000000000001", "provider": "toast", "environment": "sandbox",
            "name": "Bakery", "merchant": null, "status": "active", "deletion": null, "credentials": null, "epoch": 0,
            "locations": [shop("A", "Europe/Berlin"), shop("B", "America/New_York")], "version": 1,
            "created_at": "2026-02-01T08:00:00Z", "updated_at": "2026-02-01T08:00:00Z",
        }))
        .unwrap()
    }

    fn planned(range: SyncRange, watermarks: &Watermarks, now: &str) -> Run {
        let mut run = Run::new(SyncRequest::of(range), Trigger::Schedule, 0, at(now));
        plan(&mut run, &configuration(), &LISTING, watermarks, (EDGES, at(now)));
        run
    }

    /// Reads a run to its end; `count` says how many orders a window shows, and whether its last page is full.
    fn read(run: &mut Run, mut count: impl FnMut(Span) -> (usize, usize)) -> Vec<(String, Span)> {
        let configuration = configuration();
        let mut windows = Vec::new();
        while let Some(index) = next(run, |_| true) {
            assert!(windows.len() < 500, "it never ends");
            let range = run.request.range;
            let progress = &mut run.locations[index];
            let shop = configuration.location(&progress.location_id).unwrap();
            let window = open(progress, &range, shop, &LISTING);
            windows.push((shop.id.to_string(), window.span));
            let (orders, last_page) = count(window.span);
            assert_eq!(page_read(window, orders, None), Follows::End);
            for Finding { code, detail } in close(progress, last_page, &LISTING, None) {
                let location = progress.location_id.clone();
                run.notes.push(shared::domain::RunNote { location_id: Some(location), code: code.into(), detail });
            }
        }
        windows
    }

    #[test]
    fn an_incremental_run_reads_each_shop_from_its_own_watermark() {
        let watermarks = Watermarks::from([("A".parse().unwrap(), at("2026-02-14T08:00:00Z"))]);
        let mut run = planned(SyncRange::Incremental, &watermarks, "2026-02-14T09:00:00Z");
        let windows = read(&mut run, |_| (3, 3));
        let span = |from: &str| Span { from: at(from), to: at("2026-02-14T08:59:00Z") };
        assert_eq!(windows.len(), 2);
        assert!(windows.contains(&("A".into(), span("2026-02-14T07:45:00Z"))));
        // Never read before: from the moment at which it was connected.
        assert!(windows.contains(&("B".into(), span("2026-02-01T07:45:00Z"))));
        assert!(run.notes.is_empty());
    }

    #[test]
    fn a_backfill_reads_days_the_newest_first_and_one_shop_beside_the_other() {
        let range = SyncRange::Backfill { from: "2026-03-27".parse().unwrap(), to: "2026-03-30".parse().unwrap() };
        let mut run = planned(range, &Watermarks::new(), "2026-03-30T12:00:00Z");
        let mut n = 0;
        let windows = read(&mut run, |_| {
            n += 7;
            (n, n % 50)
        });
        let of =
            |shop: &str| -> Vec<Span> { windows.iter().filter(|(id, _)| id == shop).map(|(_, span)| *span).collect() };
        let berlin = of("A");
        assert_eq!(berlin.len(), 4);
        // Today so far; then whole days, one of them with 23 hours: the clock moves on in that night.
        assert_eq!(berlin[0], Span { from: at("2026-03-30T02:00:00Z"), to: at("2026-03-30T11:59:00Z") });
        assert_eq!(berlin[1], Span { from: at("2026-03-29T02:00:00Z"), to: at("2026-03-30T02:00:00Z") });
        assert_eq!(berlin[2], Span { from: at("2026-03-28T03:00:00Z"), to: at("2026-03-29T02:00:00Z") });
        assert_eq!(berlin[3].from, at("2026-03-27T03:00:00Z"));
        assert!(berlin.windows(2).all(|pair| pair[0].from == pair[1].to), "no gap: {berlin:?}");
        assert_eq!(of("B").len(), 4);
        let first_days: Vec<_> = windows.iter().take(2).map(|(id, _)| id.as_str()).collect();
        assert!(first_days.contains(&"A") && first_days.contains(&"B"), "yesterday of both before last week of one");
    }

    #[test]
    fn what_is_asked_for_that_has_not_happened_yet_is_nothing() {
        let day = "2026-04-02".parse().unwrap();
        let mut run = planned(SyncRange::Repair { day }, &Watermarks::new(), "2026-04-01T12:00:00Z");
        assert_eq!(read(&mut run, |_| (0, 0)), []);
    }

    #[test]
    fn a_full_page_without_a_next_one_is_read_again_in_halves_until_all_is_seen() {
        // A vendor that shows a hundred and says nothing: 160 orders, evenly over a day.
        let day = "2026-02-10".parse().unwrap();
        let mut run = planned(SyncRange::Backfill { from: day, to: day }, &Watermarks::new(), "2026-02-14T09:00:00Z");
        let mut seen = 0;
        let windows = read(&mut run, |span| {
            let there = span.to.duration_since(span.from).as_mins() * 160 / (24 * 60);
            let shown = usize::try_from(there).unwrap().min(100);
            if there <= 100 {
                seen += shown;
            }
            (shown, shown)
        });
        assert_eq!(windows.len(), 6, "each shop's day and its two halves");
        assert_eq!(seen, 320);
        let mut codes: Vec<&str> = run.notes.iter().map(|note| note.code.as_str()).collect();
        codes.sort_unstable();
        assert_eq!(codes, ["full_page_without_next", "full_page_without_next", "silent_cap", "silent_cap"]);
        assert!(run.locations.iter().all(|it| it.is_read() && it.windows == 2));
    }

    #[test]
    fn a_page_that_is_full_by_chance_costs_one_more_reading_and_says_nothing_more() {
        let day = "2026-02-10".parse().unwrap();
        let mut run = planned(SyncRange::Backfill { from: day, to: day }, &Watermarks::new(), "2026-02-14T09:00:00Z");
        read(&mut run, |span| if span.to.duration_since(span.from).as_hours() > 20 { (100, 100) } else { (50, 50) });
        assert!(run.notes.iter().all(|note| note.code == "full_page_without_next"), "{:?}", run.notes);
    }

    #[test]
    fn what_is_full_however_short_it_is_fails_its_shop() {
        let mut run = planned(SyncRange::Incremental, &Watermarks::new(), "2026-02-01T08:10:00Z");
        let windows = read(&mut run, |_| (100, 100));
        assert!(run.locations.iter().all(|it| it.failed.as_deref() == Some(CAPPED)), "{:?}", run.locations);
        assert!(windows.len() <= 2 * 7, "{}", windows.len());
    }

    #[test]
    fn days_of_the_same_count_are_looked_at_twice() {
        let range = SyncRange::Backfill { from: "2026-02-01".parse().unwrap(), to: "2026-02-03".parse().unwrap() };
        let mut run = planned(range, &Watermarks::new(), "2026-02-14T09:00:00Z");
        let windows =
            read(&mut run, |span| if span.to.duration_since(span.from).as_hours() > 20 { (40, 40) } else { (30, 30) });
        assert_eq!(windows.len(), 2 * (3 + 2));
        assert_eq!(run.notes.iter().filter(|note| note.code == "equal_counts").count(), 2);
        assert_eq!(run.notes.iter().filter(|note| note.code == "silent_cap").count(), 2);
        let mut small = planned(range, &Watermarks::new(), "2026-02-14T09:00:00Z");
        assert_eq!(read(&mut small, |_| (4, 4)).len(), 6, "small shops have days alike");
    }

    #[test]
    fn totals_that_disagree_are_read_twice_and_said_if_they_stay() {
        let configuration = configuration();
        let day: jiff::civil::Date = "2026-02-10".parse().unwrap();
        let range = SyncRange::Repair { day };
        for (after, stays) in [(10, false), (9, true)] {
            let mut run = planned(range, &Watermarks::new(), "2026-02-11T03:30:00Z");
            run.locations.truncate(1);
            let shop = configuration.location(&run.locations[0].location_id).unwrap();
            let theirs = DayCount { sales: 10, refunds: 0, turnover: Minor(1000) };
            let mut codes = Vec::new();
            while let Some(index) = next(&run, |_| true) {
                let progress = &mut run.locations[index];
                let window = open(progress, &range, shop, &LISTING);
                let is_whole = whole_day(window, shop) == Some(day);
                let sales = match (&window.suspicion, is_whole) {
                    (_, false) => 0,
                    (None, true) => 9,
                    (Some(_), true) => {
                        if window.span.from == shop.day_starts_at(day) {
                            after - 4
                        } else {
                            4
                        }
                    }
                };
                window.day = DayCount { sales, refunds: 0, turnover: Minor(i64::from(sales) * 100) };
                page_read(window, usize::try_from(sales).unwrap(), None);
                let theirs = is_whole.then_some(theirs);
                let theirs = theirs.filter(|_| is_last_of_its_day(progress));
                codes.extend(close(progress, 1, &LISTING, theirs).into_iter().map(|finding| finding.code));
            }
            assert_eq!(codes.first(), Some(&"totals_disagree"));
            assert_eq!(codes.contains(&"totals_still_disagree"), stays, "{codes:?}");
        }
    }

    #[test]
    fn a_cursor_that_comes_again_or_expires_for_ever_is_given_up() {
        let span = Span { from: at("2026-02-10T00:00:00Z"), to: at("2026-02-11T00:00:00Z") };
        let mut window = Window::new(span);
        assert_eq!(page_read(&mut window, 3, Some("a".into())), Follows::More);
        assert_eq!(page_read(&mut window, 3, Some("b".into())), Follows::More);
        assert_eq!(page_read(&mut window, 3, Some("b".into())), Follows::Failed("cursor_loop"));
        let mut window = Window::new(span);
        for _ in 0..MOST_RESTARTS {
            page_read(&mut window, 3, Some("a".into()));
            assert_eq!(restart(&mut window), Follows::More);
            assert_eq!((window.cursor.as_deref(), window.orders), (None, 0));
        }
        assert_eq!(restart(&mut window), Follows::Failed("cursor_expired"));
        let mut window = Window { pages: PAGE_CAP - 1, ..Window::new(span) };
        assert_eq!(page_read(&mut window, 3, Some("z".into())), Follows::Failed("page_cap"));
    }
}
