//! Runs that are read without a provider.

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
    let of = |shop: &str| -> Vec<Span> { windows.iter().filter(|(id, _)| id == shop).map(|(_, span)| *span).collect() };
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
    assert!(run.locations.iter().all(|it| it.failed.as_deref() == Some(CAPPED.as_str())), "{:?}", run.locations);
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
        assert_eq!(codes.first(), Some(&Code::TotalsDisagree));
        assert_eq!(codes.contains(&Code::TotalsStillDisagree), stays, "{codes:?}");
        assert_eq!(run.locations[0].disagrees, stays);
    }
}

#[test]
fn a_cursor_that_comes_again_or_expires_for_ever_is_given_up() {
    let span = Span { from: at("2026-02-10T00:00:00Z"), to: at("2026-02-11T00:00:00Z") };
    let mut window = Window::new(span);
    assert_eq!(page_read(&mut window, 3, Some("a".into())), Follows::More);
    assert_eq!(page_read(&mut window, 3, Some("b".into())), Follows::More);
    assert_eq!(page_read(&mut window, 3, Some("b".into())), Follows::Failed(Code::CursorLoop));
    let mut window = Window::new(span);
    for _ in 0..MOST_RESTARTS {
        page_read(&mut window, 3, Some("a".into()));
        assert_eq!(restart(&mut window), Follows::More);
        assert_eq!((window.cursor.as_deref(), window.orders), (None, 0));
    }
    assert_eq!(restart(&mut window), Follows::Failed(Code::CursorExpired));
    let mut window = Window { pages: PAGE_CAP - 1, ..Window::new(span) };
    assert_eq!(page_read(&mut window, 3, Some("z".into())), Follows::Failed(Code::PageCap));
}
