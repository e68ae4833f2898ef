//! What can be asked for, what is answered while a run is under way, and what is shown of it.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde_json::{Value, json};
use shared::domain::{
    Code, FailedOrder, LocationProgress, Run, RunState, Span, SyncCounts, SyncKind, SyncRange, Window,
};
use shared::store::sync_logs::{PageRow, Watermarks};

use crate::desk::{Desk, shop};

fn day(days_from_now: i64) -> String {
    (Timestamp::now().to_zoned(TimeZone::UTC).date() + days_from_now.days()).to_string()
}

fn backfill() -> Value {
    json!({ "kind": "backfill", "from": "2026-02-01", "to": "2026-02-14" })
}

#[tokio::test]
async fn whatever_is_wrong_with_a_request_is_answered_at_once() {
    let desk = Desk::open(|_| {}).await;
    for (body, pointers) in [
        (json!({}), &["/kind"][..]),
        (json!({ "kind": "everything", "from": "soon", "colour": 1 }), &["/colour", "/kind"]),
        (json!({ "kind": "incremental", "from": "2026-02-01", "day": "2026-02-01" }), &["/day", "/from"]),
        (json!({ "kind": "backfill" }), &["/from", "/to"]),
        (
            json!({ "kind": "backfill", "from": "yesterday", "to": 7, "locations": ["L1", "L 2"] }),
            &["/from", "/locations/1", "/to"],
        ),
        (json!({ "kind": "backfill", "from": "2026-02-30", "to": "2026-02-14T08:00" }), &["/from", "/to"]),
        (json!({ "kind": "backfill", "from": "2026-02-15", "to": "2026-02-14" }), &["/from"]),
        (json!({ "kind": "backfill", "from": day(-1825), "to": day(1) }), &["/from"]),
        (json!({ "kind": "backfill", "from": day(2), "to": day(3), "locations": [] }), &["/from", "/locations", "/to"]),
        (json!({ "kind": "repair", "day": day(2), "to": day(0) }), &["/day", "/to"]),
        (json!({ "kind": "repair", "day": null }), &["/day"]),
        (json!({ "kind": "catalog", "locations": ["L1"] }), &["/locations"]),
        (json!({ "kind": "incremental", "locations": ["L1", "L9", "L1", "L2"] }), &["/locations/1", "/locations/2"]),
        (json!({ "kind": "incremental", "locations": "L1" }), &["/locations"]),
    ] {
        let answer = desk.begin(&body).await;
        answer.problem(422, "invalid_fields");
        assert_eq!(answer.pointers(), pointers, "{body}: {answer:?}");
    }
    desk.ask("POST", "/sync", None, &[]).await.problem(415, "unsupported_media_type");
    assert_eq!(desk.status("").await.body["current"], json!([]));
    assert_eq!(desk.audited().await, []);
    // Tomorrow has begun somewhere.
    desk.begun(&json!({ "kind": "backfill", "from": day(-1824), "to": day(1) })).await;
    desk.begun(&json!({ "kind": "repair", "day": day(1), "locations": ["L2", "L1"] })).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_not_begun_and_can_be_looked_at() {
    let deleting = json!({
        "requested_at": "2026-11-28T08:00:00Z", "step": "wait", "due_at": "2099-01-01T00:00:00Z", "attempts": 0,
        "revoked": null, "transactions": 0, "deliveries": 0,
    });
    let reason = |code: &str| json!([{ "code": code, "detail": "", "since": "2026-11-28T08:00:00Z" }]);
    let locations = json!(["L1"]);
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: [(Change<'_>, &str, &str); 4] = [
        (&|it| it["is_paused"] = json!(true), "conflict", "paused"),
        (&|it| it["reasons"] = reason("credentials_refused"), "credentials_refused", "authorize"),
        (&|it| it["deletion"] = deleting.clone(), "conflict", "removed"),
        (
            &|it| {
                (it["reasons"], it["merchant"], it["locations"]) = (reason("not_connected"), json!(null), json!([]));
            },
            "credentials_refused",
            "authorize",
        ),
    ];
    for (change, code, word) in cases {
        let desk = Desk::open(change).await;
        let wanted = json!({ "kind": "repair", "day": "2026-02-14", "locations": locations });
        let detail = desk.begin(&wanted).await.problem(409, code);
        assert!(detail.contains(word), "{detail}");
        let status = desk.status("").await;
        assert_eq!(
            (status.status, &status.body["current"], &status.body["next_incremental_at"]),
            (200, &json!([]), &json!(null))
        );
        desk.cancel(None).await.problem(409, "conflict");
    }
    // Something wants attention, but sales flow.
    let degraded = Desk::open(|it| it["reasons"] = reason("refresh_failing")).await;
    degraded.begun(&backfill()).await;
}

#[tokio::test]
async fn while_a_run_is_under_way_the_same_request_is_answered_with_it_and_another_is_refused() {
    let desk = Desk::open(|_| {}).await;
    let wanted = json!({ "kind": "backfill", "from": "2026-02-01", "to": "2026-02-14", "locations": ["L2", "L1"] });
    let first = desk.begun(&wanted).await;
    let path = format!("/live/api/v1/tenants/{}/pos/configurations/{}", desk.scope.tenant_id(), desk.id);
    assert_eq!(first.header("location"), format!("{path}/sync/status?run_id={}", first.id()));
    let shown = desk.status(&format!("?run_id={}", first.id())).await;
    assert_eq!((shown.status, &shown.body["runs"]), (200, &json!([first.body])));

    let again = json!({ "to": "2026-02-14", "from": "2026-02-01", "locations": ["L1", "L2"], "kind": "backfill" });
    let same = desk.begun(&again).await;
    assert_eq!((&same.body, same.header("location")), (&first.body, first.header("location")));
    for other in
        [backfill(), json!({ "kind": "backfill", "from": "2026-02-02", "to": "2026-02-14", "locations": ["L1", "L2"] })]
    {
        let detail = desk.begin(&other).await.problem(409, "conflict");
        assert!(detail.contains(first.id()), "{detail}");
    }
    // Each kind has its own lane.
    let mut ids = vec![first.id().to_owned()];
    for body in [
        json!({ "kind": "incremental" }),
        json!({ "kind": "repair", "day": "2026-02-14" }),
        json!({ "kind": "catalog" }),
    ] {
        ids.push(desk.begun(&body).await.id().to_owned());
    }
    let current = desk.status("").await.body["current"].clone();
    let mut shown: Vec<_> =
        current.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, ids);

    // A run of the schedule is nobody's, and is the same run all the same.
    let run = desk.running(SyncKind::Incremental).await;
    let held = desk.take(&run).await;
    desk.end(&held, &run).await;
    let scheduled = desk.scheduled(SyncRange::Incremental).await;
    let joined = desk.begun(&json!({ "kind": "incremental" })).await;
    assert_eq!(joined.id(), scheduled.id.to_string());
    assert_eq!((&joined.body["trigger"], &joined.body["requested_by"]), (&json!("schedule"), &json!(null)));
    let told: Vec<_> = desk.audited().await.into_iter().map(|(action, fields)| (action, fields.len())).collect();
    assert_eq!(told, vec![("sync.requested".to_owned(), 1); 4], "joining a run is asking for none");
}

#[tokio::test]
async fn a_repeated_request_is_answered_again_and_carried_out_once() {
    let desk = Desk::open(|_| {}).await;
    let (body, other) = (backfill(), json!({ "kind": "catalog" }));
    let keyed = |key: &'static str, body: &Value| {
        let body = body.clone();
        let desk = &desk;
        async move { desk.ask("POST", "/sync", Some(&body), &[("Idempotency-Key", key)]).await }
    };
    let together = tokio::join!(keyed("a", &body), keyed("a", &body), keyed("a", &body));
    for answer in [&together.0, &together.1, &together.2] {
        assert_eq!((answer.status, &answer.body), (202, &together.0.body), "{answer:?}");
        assert_eq!(answer.header("location"), together.0.header("location"));
    }
    keyed("a", &other).await.problem(422, "idempotency_key_reused");
    assert_eq!(desk.audited().await.len(), 1);

    // Whoever was answered with a run that was under way is answered so again, even after its end.
    let joined = keyed("b", &body).await;
    assert_eq!((joined.status, joined.id()), (202, together.0.id()));
    let run = desk.running(SyncKind::Backfill).await;
    let held = desk.take(&run).await;
    desk.end(&held, &Run { state: RunState::Completed, ..run }).await;
    for key in ["a", "b"] {
        let replayed = keyed(key, &body).await;
        assert_eq!((&replayed.body, replayed.header("idempotent-replayed")), (&together.0.body, "true"));
    }
    assert_eq!(desk.status("").await.body["current"], json!([]), "a repeat has no effect");
    let next = keyed("c", &body).await;
    assert_eq!(next.status, 202);
    assert_ne!(next.id(), together.0.id());

    let cancel = async |key| desk.ask("POST", "/sync/cancel", None, &[("Idempotency-Key", key)]).await;
    let both = tokio::join!(cancel("x"), cancel("x"));
    assert_eq!((both.0.status, &both.0.body), (202, &both.1.body), "{both:?}");
    let run = desk.running(SyncKind::Backfill).await;
    let held = desk.take(&run).await;
    assert!(held.lane.is_cancelled);
    desk.end(&held, &run).await;
    assert_eq!(cancel("x").await.body, both.0.body);
    cancel("y").await.problem(409, "conflict");

    // Where these answers are kept can be found when the configuration is removed.
    let answers = desk.connections.sync_logs.list_answers(&desk.scope, desk.id).await.unwrap();
    assert_eq!(answers.len(), 4);
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_cancelled_by_kind_or_all_together() {
    let desk = Desk::open(|_| {}).await;
    desk.cancel(None).await.problem(409, "conflict");
    for body in [backfill(), json!({ "kind": "repair", "day": "2026-02-14" }), json!({ "kind": "catalog" })] {
        desk.begun(&body).await;
    }
    let kinds = |runs: &Value| {
        let runs = runs.as_array().unwrap().iter().filter(|run| run["cancel_requested"] == true);
        runs.map(|run| run["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    desk.cancel(Some(&json!({ "kind": "incremental" }))).await.problem(409, "conflict");
    let refused = desk.cancel(Some(&json!({ "kind": "all", "run": 1 }))).await;
    refused.problem(422, "invalid_fields");
    assert_eq!(refused.pointers(), ["/kind", "/run"]);
    assert_eq!(kinds(&desk.status("").await.body["current"]), [""; 0]);

    let one = desk.cancel(Some(&json!({ "kind": "repair" }))).await;
    assert_eq!((one.status, kinds(&one.body["cancelled"])), (202, vec!["repair".to_owned()]), "{one:?}");
    assert!(one.header("location").ends_with(&format!("/configurations/{}/sync/status", desk.id)), "{one:?}");
    assert_eq!(kinds(&desk.status("").await.body["current"]), ["repair"]);
    let again = desk.cancel(Some(&json!({ "kind": "repair" }))).await;
    assert_eq!((again.status, &again.body), (202, &one.body));
    let all = desk.cancel(Some(&json!({}))).await;
    assert_eq!(kinds(&all.body["cancelled"]), ["backfill", "catalog", "repair"]);
    assert_eq!(desk.cancel(None).await.body, all.body);

    let told: Vec<_> = desk.audited().await.into_iter().map(|(action, runs)| (action, runs.len())).collect();
    let expected = [
        ("sync.requested", 1),
        ("sync.requested", 1),
        ("sync.requested", 1),
        ("sync.cancelled", 1),
        ("sync.cancelled", 2),
    ];
    assert_eq!(told, expected.map(|(action, runs)| (action.to_owned(), runs)));
    for kind in [SyncKind::Backfill, SyncKind::Repair, SyncKind::Catalog] {
        let run = desk.running(kind).await;
        let held = desk.take(&run).await;
        desk.end(&held, &Run { state: RunState::Cancelled, ..run }).await;
    }
    desk.cancel(None).await.problem(409, "conflict");
}

#[tokio::test]
async fn nothing_begins_once_a_removal_has() {
    let desk = Desk::open(|_| {}).await;
    // The removal begins between the look at the configuration and the run's beginning: its epoch has moved on.
    let seen = desk.connections.configurations.find(&desk.scope, desk.id).await.unwrap().unwrap();
    let stale = shared::domain::Configuration { epoch: seen.epoch + 1, ..seen.clone() };
    let run = Run::new(
        shared::domain::SyncRequest::of(SyncRange::Catalog),
        shared::domain::Trigger::Schedule,
        0,
        Timestamp::now(),
    );
    let actor = shared::store::audit::Actor::service("test");
    let begun = desk.connections.changes.begin_run(&desk.scope, &actor, &stale, &run, None).await;
    assert!(matches!(begun, Err(shared::store::configurations::CommitError::Moved)), "{begun:?}");
    assert_eq!(desk.status("").await.body["current"], json!([]));
    assert!(desk.connections.changes.begin_run(&desk.scope, &actor, &seen, &run, None).await.is_ok());
}

#[tokio::test]
async fn a_run_is_shown_with_all_that_is_known_of_it() {
    let desk = Desk::open(|_| {}).await;
    let begun = desk.begun(&backfill()).await;
    let requested_at = begun.body["requested_at"].clone();
    let nothing = json!({ "seen": 0, "created": 0, "updated": 0, "unchanged": 0, "failed": 0 });
    assert_eq!(
        begun.body,
        json!({
            "id": begun.id(), "kind": "backfill", "from": "2026-02-01", "to": "2026-02-14", "locations": null,
            "trigger": "request", "requested_by": "ann", "state": "queued", "code": null,
            "cancel_requested": false,
            "requested_at": requested_at, "started_at": null, "read_at": null, "ended_at": null,
            "progress": {
                "windows": 0, "pages": 0, "pages_done": 0, "orders": nothing, "requests": 0, "rate_limit_waits": 0,
                "rate_limit_waited_ms": 0, "percent": null, "estimated_seconds_left": null,
            },
            "location_progress": [], "notes": [], "failed_orders": [],
        })
    );

    // A worker has read half of it in an hour, and the rows of two of three new pages are there.
    let at = |hour: i64| Timestamp::from_second(1_770_000_000 + hour * 3600).unwrap();
    let mut run = desk.running(SyncKind::Backfill).await;
    let held = desk.take(&run).await;
    let span = Span { from: at(0), to: at(100) };
    let window = Window { pages: 1, orders: 7, ..Window::new(Span { from: at(40), to: at(50) }) };
    run.locations = vec![
        LocationProgress {
            reached: at(40),
            window: Some(window),
            windows: 5,
            ..LocationProgress::new(shop("L1"), span)
        },
        LocationProgress { failed: Some("permission_missing".into()), ..LocationProgress::new(shop("L2"), span) },
    ];
    run.locations[1].span.from = at(99);
    run.state = RunState::Reading;
    run.started_at = Some(Timestamp::now() - SignedDuration::from_hours(1));
    (run.pages, run.counted_pages, run.requests, run.waits, run.waited_ms) = (8, 5, 11, 2, 3500);
    run.counts = SyncCounts { seen: 50, created: 10, updated: 5, unchanged: 35, failed: 0 };
    run.note(Some(&shop("L2")), Code::PermissionMissing, "the merchant does not share this shop");
    desk.connections.sync_logs.checkpoint(&held, &run, SignedDuration::from_secs(60)).await.unwrap();
    let failed =
        FailedOrder { order_id: Some("ORDER1".parse().unwrap()), code: "unreadable".into(), detail: "/total".into() };
    let counts = SyncCounts { seen: 10, created: 9, failed: 1, ..SyncCounts::default() };
    for page in [6, 7] {
        let row = PageRow { counts, failed_orders: vec![failed.clone()], ..PageRow::default() };
        desk.connections.sync_logs.record_page(&desk.scope, desk.id, run.id, page, &row).await.unwrap();
    }
    let shown = desk.status("").await.body["current"][0].clone();
    let progress = &shown["progress"];
    assert_eq!(progress["orders"], json!({ "seen": 70, "created": 28, "updated": 5, "unchanged": 35, "failed": 2 }));
    let counts = ["windows", "pages", "pages_done", "requests", "rate_limit_waits", "rate_limit_waited_ms", "percent"];
    assert_eq!(counts.map(|name| progress[name].as_u64().unwrap()), [5, 8, 7, 11, 2, 3500, 50]);
    // 51 of 101 hours were read in an hour.
    let left = progress["estimated_seconds_left"].as_u64().unwrap();
    assert!((3529..3540).contains(&left), "{left}");
    assert_eq!(
        shown["location_progress"],
        json!([
            {
                "location_id": "L1", "from": at(0), "to": at(100), "reached": at(40), "windows": 5, "done": false,
                "failed": null,
            },
            {
                "location_id": "L2", "from": at(99), "to": at(100), "reached": at(100), "windows": 0, "done": true,
                "failed": "permission_missing",
            },
        ])
    );
    assert_eq!(
        shown["notes"],
        json!([{ "location_id": "L2", "code": "permission_missing", "detail": "the merchant does not share this shop" }])
    );
    assert_eq!(
        shown["failed_orders"],
        json!(vec![json!({ "order_id": "ORDER1", "code": "unreadable", "detail": "/total" }); 2])
    );
    let joined = desk.begun(&backfill()).await;
    assert_eq!(joined.body["progress"]["orders"], progress["orders"]);
}

#[tokio::test]
async fn history_is_paged_and_a_shop_says_how_complete_it_is() {
    let desk = Desk::open(|_| {}).await;
    // The first reading of the catalogue.
    let mut ids = vec![desk.status("").await.body["runs"][0]["id"].as_str().unwrap().to_owned()];
    let mark = Timestamp::now() - SignedDuration::from_secs(100);
    let next = Timestamp::now() + SignedDuration::from_mins(5);
    for _ in 0..4 {
        let run = desk.scheduled(SyncRange::Incremental).await;
        let held = desk.take(&run).await;
        let done = Run { state: RunState::Completed, ended_at: Some(Timestamp::now()), ..run.clone() };
        let marks = Watermarks::from([(shop("L1"), mark), (shop("GONE"), mark)]);
        assert!(desk.connections.sync_logs.end(&held, &done, (Some(next), Some(300)), &marks).await.unwrap());
        ids.insert(0, run.id.to_string());
    }
    for limit in [1, 2, 4, 100] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = desk.status(&format!("?limit={limit}{cursor}")).await.body;
            found.extend(page["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, ids, "{limit}");
    }
    let shown = desk.status("").await.body;
    assert_eq!((&shown["current"], &shown["interval_seconds"]), (&json!([]), &json!(300)));
    let shown_next: Timestamp = shown["next_incremental_at"].as_str().unwrap().parse().unwrap();
    assert!(shown_next.duration_since(next).abs() < SignedDuration::from_secs(1));
    assert_eq!(shown["locations"].as_array().unwrap().len(), 2);
    assert_eq!((&shown["locations"][0]["id"], &shown["locations"][0]["name"]), (&json!("L1"), &json!("Shop L1")));
    let lag = shown["locations"][0]["lag_seconds"].as_i64().unwrap();
    assert!((100..160).contains(&lag), "{shown}");
    assert_eq!(shown["locations"][1], json!({ "id": "L2", "name": "Shop L2", "watermark": null, "lag_seconds": null }));

    let one = desk.status(&format!("?run_id={}", ids[2])).await.body;
    assert_eq!((one["runs"].as_array().unwrap().len(), &one["runs"][0]["id"]), (1, &json!(ids[2])));
    assert_eq!((&one["runs"][0]["state"], &one["next_cursor"]), (&json!("completed"), &json!(null)));
    desk.status("?run_id=018f0000-0000-7000-8000-000000000001").await.problem(404, "not_found");
    let cursor = desk.status("?limit=1").await.body["next_cursor"].as_str().unwrap().to_owned();
    let other = Desk::open(|_| {}).await;
    for (desk, query, pointers) in [
        (&desk, "?run_id=7&limit=0&kind=backfill".to_owned(), &["kind", "limit", "run_id"][..]),
        (&desk, format!("?run_id={}&cursor={cursor}", ids[0]), &["cursor"]),
        (&other, format!("?cursor={cursor}"), &["cursor"]),
    ] {
        let answer = desk.status(&query).await;
        answer.problem(422, "invalid_fields");
        assert_eq!(answer.pointers(), pointers, "{query}");
    }
    // Another tenant's run is none.
    other.status(&format!("?run_id={}", ids[0])).await.problem(404, "not_found");
    assert_eq!(other.status("").await.body["interval_seconds"], 1800, "as its tenant has set it");
}

#[tokio::test]
async fn a_shorter_interval_counts_at_once() {
    let desk = Desk::open(|_| {}).await;
    let next = async || {
        let shown = desk.status("").await.body;
        let next: Timestamp = shown["next_incremental_at"].as_str().unwrap().parse().unwrap();
        next.duration_since(Timestamp::now()).as_secs()
    };
    let replace = async |minutes: u16| {
        let body = json!({ "name": "Bakery", "sync": { "interval_minutes": minutes } });
        let answer = desk.ask("PUT", "", Some(&body), &[("If-Match", "*")]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["sync"], json!({ "interval_minutes": minutes, "backfill_days": 90 }));
    };
    assert!((1700..=1800).contains(&next().await));
    replace(60).await;
    assert!((1700..=1800).contains(&next().await), "a longer one counts after the next run");
    replace(5).await;
    assert!((200..=300).contains(&next().await));
}
