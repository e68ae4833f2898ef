//! How runs begin and end: with a connection, by the schedule, after a crash, and when nobody wants them any more.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sandbox::{Faults, SaleKind, Vendor};
use serde_json::{Value, json};

use crate::sync_town::{PATIENCE, SilentTown, Till, silent_town, slow_lists};
use crate::town::invoke;

/// The date so many days ago.
fn days_ago(days: i64) -> jiff::civil::Date {
    let at = Timestamp::now() - SignedDuration::from_hours(24 * days);
    at.to_string()[..10].parse().unwrap()
}

/// Orders at the tills of a merchant, those included that came to nothing.
fn orders(till: &Till<'_>) -> u64 {
    let ledger = till.desk().ledger();
    let own = ledger.iter().filter(|entry| entry.merchant_id == till.merchant.id).count();
    own.try_into().unwrap()
}

fn created(run: &Value) -> u64 {
    run["progress"]["orders"]["created"].as_u64().unwrap()
}

/// A merchant with a past: whole days of which all is over, and a few sales of the last day that is.
fn with_a_past(town: &SilentTown, vendor: Vendor) -> Vec<String> {
    let (desk, merchant) = (town.bakery.sandbox.at(vendor), &town.bakery.sandbox.merchants_of(vendor)[5]);
    desk.stock_days_of(&merchant.id, days_ago(24), 19, 5).unwrap();
    let yesterday = Timestamp::now() - SignedDuration::from_hours(36);
    let sale = |shop: &str| desk.ring_up_past(SaleKind::Simple, shop, yesterday).unwrap().order_id;
    merchant.locations.iter().map(|shop| sale(&shop.id)).collect()
}

#[tokio::test]
async fn a_first_connection_reads_the_past_by_itself_the_newest_first() {
    let town = &*silent_town().await;
    let pasts = Vendor::ALL.map(|vendor| (vendor, with_a_past(town, vendor)));
    // As far away as a provider is.
    slow_lists(&town.bakery, Vendor::Square, 40);
    let mut tills = Vec::new();
    for (vendor, yesterday) in pasts {
        let began = Instant::now();
        let till = town.connect("newcomer", vendor, 5, json!({ "backfill_days": 25 })).await;
        let has_yesterday = || {
            let received = till.received(&town.sales);
            yesterday.iter().all(|order| received.0.contains_key(&(order.clone(), "sale".to_owned())))
        };
        assert!(town.sales.wait_until(PATIENCE, |_| has_yesterday()));
        let within = began.elapsed();
        println!("{vendor:?}: yesterday is received {within:.1?} after the request that connects");
        assert!(within < Duration::from_secs(60), "{vendor:?} {within:?}");
        if vendor == Vendor::Square {
            its_progress_is_shown(&till).await;
        }
        tills.push((till, began));
    }
    for (till, began) in &tills {
        till.idle().await;
        let [backfills, catalogs] = [till.runs("backfill").await, till.runs("catalog").await];
        let ([backfill], [catalog]) = (backfills.as_slice(), catalogs.as_slice()) else {
            panic!("{backfills:#?} {catalogs:#?}")
        };
        for run in [backfill, catalog] {
            assert_eq!(run["trigger"], "first_connection", "{run:#}");
        }
        assert_eq!(catalog["state"], "completed", "{catalog:#}");
        assert_eq!(
            (&backfill["state"], &backfill["progress"]["percent"]),
            (&json!("completed"), &json!(100)),
            "{backfill:#}"
        );
        let progress = &backfill["progress"];
        assert_eq!(progress["pages"], progress["pages_done"], "{backfill:#}");
        let shops: u64 = till.merchant.locations.len().try_into().unwrap();
        // Before the day begins in a shop, it has one day less.
        assert!(progress["windows"].as_u64().unwrap() >= 24 * shops, "{backfill:#}");
        let books = till.assert_balanced(&town.sales).await;
        if till.vendor == Vendor::Square {
            assert_eq!(created(backfill), orders(till), "{backfill:#}");
        }
        println!("{:?}: {} orders of 25 days within {:.1?}", till.vendor, books.orders(), began.elapsed());
        till.sync(json!({ "kind": "incremental" })).await;
        for shop in till.status("").await["locations"].as_array().unwrap() {
            let lag = shop["lag_seconds"].as_i64().unwrap();
            assert!(shop["watermark"].is_string() && (0..60).contains(&lag), "{shop}");
        }
    }
}

/// A share that grows while the newest days are there already.
async fn its_progress_is_shown(till: &Till<'_>) {
    let current = till.status("").await["current"].clone();
    let run = current.as_array().unwrap().iter().find(|run| run["kind"] == "backfill").cloned();
    let run = run.unwrap_or_else(|| panic!("the newest comes long before the end: {current:#}"));
    let percent = |run: &Value| run["progress"]["percent"].as_u64().unwrap();
    assert!(percent(&run) < 100 && run["state"] == "reading", "{run:#}");
    assert!(
        run["location_progress"]
            .as_array()
            .unwrap()
            .iter()
            .all(|shop| shop["reached"].as_str() > shop["from"].as_str()),
        "{run:#}"
    );
    let id = run["id"].as_str().unwrap();
    let later = till.run_that(id, "to go on", |later| percent(later) > percent(&run)).await;
    assert!(later["progress"]["windows"].as_u64() > run["progress"]["windows"].as_u64(), "{later:#}");
    assert!(created(&later) >= created(&run));
}

/// Runs that the schedule has begun.
async fn scheduled(till: &Till<'_>) -> Vec<Value> {
    let runs = till.runs("incremental").await;
    runs.into_iter().filter(|run| run["trigger"] == "schedule").collect()
}

/// Makes the next incremental run due, and lets the clock tick twice at once.
async fn tick_twice(till: &Till<'_>) {
    till.tamper("incremental", &["due_at"]).await;
    let tick = || invoke(till.bakery, "sync-scheduler", "{}");
    tokio::join!(tick(), tick());
}

#[tokio::test]
async fn the_schedule_begins_each_run_once_and_revives_what_a_dead_worker_left() {
    let town = &*silent_town().await;
    let sync = json!({ "interval_minutes": 1, "backfill_days": 0 });
    let till = town.connect("punctual", Vendor::Square, 3, sync).await;
    till.idle().await;
    till.desk().play_of(&till.merchant.id, 30).unwrap();
    till.quiet().await;

    tick_twice(&till).await;
    let runs = scheduled(&till).await;
    assert_eq!(runs.len(), 1, "{runs:#?}");
    let run = till.ended(runs[0]["id"].as_str().unwrap()).await;
    assert_eq!((&run["state"], created(&run)), (&json!("completed"), orders(&till)), "{run:#}");
    till.assert_balanced(&town.sales).await;

    assert_eq!(till.post("/pause", Value::Null).await.status, 200);
    let before = scheduled(&till).await.len();
    tick_twice(&till).await;
    assert_eq!(scheduled(&till).await.len(), before, "nothing is read while paused");
    assert_eq!(till.post("/resume", Value::Null).await.status, 200);

    let known = orders(&till);
    till.desk().play_of(&till.merchant.id, 40).unwrap();
    till.quiet().await;
    slow_lists(&town.bakery, Vendor::Square, 1_500);
    tick_twice(&till).await;
    let run = scheduled(&till).await.into_iter().find(|run| run["ended_at"].is_null()).unwrap();
    let id = run["id"].as_str().unwrap();
    till.run_that(id, "to read", |run| run["progress"]["pages"].as_u64() >= Some(2)).await;
    assert!(town.bakery.stack.kill_function("sync-worker").unwrap() >= 1);
    town.bakery.sandbox.set_faults_of(Vendor::Square, Faults::default());
    let left = till.run(id).await;
    assert_eq!(left["state"], "reading", "{left:#}");
    // The lease and its grace have passed.
    till.tamper("incremental", &["lease_until", "due_at"]).await;
    invoke(&town.bakery, "sync-scheduler", "{}").await;
    let run = till.ended(id).await;
    assert_eq!((&run["state"], created(&run)), (&json!("completed"), orders(&till) - known), "{run:#}");
    assert_eq!(run["progress"]["pages"], run["progress"]["pages_done"], "{run:#}");
    till.assert_balanced(&town.sales).await;
}

#[tokio::test]
async fn a_backfill_that_is_cancelled_or_paused_ends_and_another_can_begin() {
    let town = &*silent_town().await;
    let till = town.connect("changeable", Vendor::Square, 4, json!({ "backfill_days": 0 })).await;
    till.desk().stock_days_of(&till.merchant.id, days_ago(9), 4, 4).unwrap();
    till.sync(json!({ "kind": "incremental" })).await;
    let marks = async || till.status("?limit=1").await["locations"].as_array().unwrap().clone();
    let marks = async || marks().await.iter().map(|shop| shop["watermark"].clone()).collect::<Vec<_>>();
    let before = marks().await;

    let wanted = json!({ "kind": "backfill", "from": days_ago(9).to_string(), "to": days_ago(0).to_string() });
    slow_lists(&town.bakery, Vendor::Square, 500);
    let first = till.begin(wanted.clone()).await;
    till.run_that(&first, "to read", |run| run["progress"]["windows"].as_u64() >= Some(2)).await;
    assert_eq!(till.begin(wanted.clone()).await, first, "the same request is the same run");
    let answer = till.post("/sync/cancel", json!({ "kind": "backfill" })).await;
    let cancelled = &answer.json()["cancelled"];
    assert_eq!((answer.status, &cancelled[0]["id"]), (202, &json!(first)), "{answer:?}");
    assert_eq!(cancelled[0]["cancel_requested"], true, "{answer:?}");
    let run = till.ended(&first).await;
    assert_eq!((&run["state"], &run["code"]), (&json!("cancelled"), &json!("requested")), "{run:#}");
    assert!(run["progress"]["percent"].as_u64() < Some(100), "{run:#}");
    assert_eq!(till.post("/sync/cancel", Value::Null).await.status, 409, "nothing is under way");

    let second = till.begin(wanted.clone()).await;
    assert_ne!(second, first);
    till.run_that(&second, "to read", |run| run["progress"]["windows"].as_u64() >= Some(2)).await;
    let paused = Instant::now();
    assert_eq!(till.post("/pause", Value::Null).await.status, 200);
    let run = till.ended(&second).await;
    println!("a running backfill ends {:.1?} after the pause", paused.elapsed());
    assert_eq!((&run["state"], &run["code"]), (&json!("cancelled"), &json!("paused")), "{run:#}");
    till.post("/sync", wanted.clone()).await.problem(409, "conflict");
    assert_eq!(marks().await, before, "neither has moved a watermark");

    assert_eq!(till.post("/resume", Value::Null).await.status, 200);
    town.bakery.sandbox.set_faults_of(Vendor::Square, Faults::default());
    till.sync(wanted).await;
    till.assert_balanced(&town.sales).await;
}
