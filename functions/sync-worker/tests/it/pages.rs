//! What a run makes of a provider's pages, good and bad.

use std::time::Duration;

use local::Proxy;
use sandbox::{Failure, Faults, Slowness, Vendor};
use shared::domain::{Run, RunState, SyncKind, SyncRange};

use crate::bench::{Bench, bench};

fn codes(run: &Run) -> Vec<&str> {
    run.notes.iter().map(|note| note.code.as_str()).collect()
}

async fn run(bench: &Bench, range: SyncRange) -> Run {
    let run = bench.begin(range).await;
    bench.work(&bench.app(None), &run).await;
    bench.finish(&run).await
}

fn search_fails(status: u16, times: u32, location_id: Option<String>) -> Faults {
    let path = Some("/v2/orders/search".to_owned());
    let failure = Failure { status, times, path, location_id, retry_after: (status == 429).then_some(1) };
    Faults { failures: vec![failure], ..Faults::default() }
}

#[tokio::test]
async fn what_nothing_has_changed_of_costs_a_handful_of_calls_and_no_message() {
    let bench = bench().await;
    bench.sell(4).await;
    assert_eq!(run(&bench, SyncRange::Incremental).await.state, RunState::Completed);
    let begun = bench.begin(SyncRange::Incremental).await;
    let (proxy, asked) = (Proxy::start().unwrap(), bench.bakery.sandbox.calls(Vendor::Square).api_calls);
    let without_overlap = |name: &str| (name == "SYNC_OVERLAP_SECONDS").then(|| "0".to_owned());
    bench.work(&bench.app_with(Some(&proxy), without_overlap), &begun).await;
    let ended = bench.ended(&begun).await.unwrap();
    assert_eq!((ended.state, ended.counts.seen, ended.pages), (RunState::Completed, 0, 0), "{ended:?}");
    assert_eq!(bench.bakery.sandbox.calls(Vendor::Square).api_calls - asked, 2, "one page for each shop");
    assert_eq!(ended.requests, 2);
    let mut calls: Vec<String> = proxy.calls().iter().map(local::Call::name).collect();
    calls.sort();
    // The lease, the lane's end, the budget; the run's row; the configuration; the token.
    println!("an incremental run of nothing: {calls:?}");
    assert_eq!(proxy.count("sqs:SendMessage"), 0);
    assert!(proxy.count("dynamodb:PutItem") == 1 && proxy.count("dynamodb:UpdateItem") <= 5, "{calls:?}");
}

#[tokio::test]
async fn a_storm_of_refusals_costs_time_and_is_obeyed() {
    let bench = bench().await;
    bench.sell(6).await;
    bench.bakery.sandbox.set_faults(search_fails(429, 3, None));
    let ended = run(&bench, SyncRange::Incremental).await;
    assert_eq!((ended.state, bench.stored().await), (RunState::Completed, bench.sold()), "{ended:?}");
    assert!(ended.waits >= 3, "{ended:?}");
    assert!(ended.waited_ms >= 1_000, "the provider's second is waited for: {ended:?}");
}

#[tokio::test]
async fn a_token_that_ends_on_the_way_is_renewed() {
    let bench = bench().await;
    bench.sell(6).await;
    bench.bakery.sandbox.expire_tokens(Vendor::Square);
    let given = bench.bakery.sandbox.calls(Vendor::Square).tokens_given;
    let ended = run(&bench, SyncRange::Incremental).await;
    assert_eq!((ended.state, bench.stored().await), (RunState::Completed, bench.sold()), "{ended:?}");
    assert_eq!(bench.bakery.sandbox.calls(Vendor::Square).tokens_given - given, 1);
}

#[tokio::test]
async fn an_expired_cursor_lets_the_window_be_read_from_its_start() {
    let bench = bench().await;
    bench.sell(250).await;
    bench.bakery.sandbox.set_faults(Faults { expire_cursors: 1, ..Faults::default() });
    let ended = run(&bench, SyncRange::Incremental).await;
    assert_eq!((ended.state, bench.stored().await), (RunState::Completed, bench.sold()), "{ended:?}");
    assert_eq!(ended.pages, ended.counted_pages);
    assert_eq!(bench.bakery.sandbox.faults().expire_cursors, 0, "it has happened");
}

#[tokio::test]
async fn a_shop_that_fails_holds_back_nobody_and_its_watermark_stays() {
    let bench = bench().await;
    bench.sell(4).await;
    assert_eq!(run(&bench, SyncRange::Incremental).await.state, RunState::Completed);
    let before = bench.lane(SyncKind::Incremental).await.watermarks;
    bench.sell(8).await;
    let shops: Vec<String> = bench.bakery.sandbox.merchants()[0].locations.iter().map(|shop| shop.id.clone()).collect();
    // Refused for good, not for a while.
    bench.bakery.sandbox.set_faults(search_fails(400, 1, Some(shops[0].clone())));
    let ended = run(&bench, SyncRange::Incremental).await;
    assert_eq!((ended.state, codes(&ended)), (RunState::Partial, vec!["request_refused"]), "{ended:?}");
    let after = bench.lane(SyncKind::Incremental).await.watermarks;
    let mark = |marks: &shared::store::sync_logs::Watermarks, shop: &str| marks[&shop.parse().unwrap()];
    assert_eq!(mark(&after, &shops[0]), mark(&before, &shops[0]));
    assert!(mark(&after, &shops[1]) > mark(&before, &shops[1]));
    let missing = bench.sold().len() - bench.stored().await.len();
    let healed = run(&bench, SyncRange::Incremental).await;
    assert_eq!((healed.state, bench.stored().await), (RunState::Completed, bench.sold()));
    assert!(missing == 0 || healed.counts.created > 0);
}

#[tokio::test]
async fn a_provider_that_is_away_for_good_fails_the_run_with_a_reason() {
    let bench = bench().await;
    bench.sell(2).await;
    bench.bakery.sandbox.set_faults(search_fails(400, 50, None));
    let ended = run(&bench, SyncRange::Incremental).await;
    assert_eq!((ended.state, ended.code.as_deref()), (RunState::Failed, Some("request_refused")), "{ended:?}");
    bench.bakery.sandbox.set_faults(Faults::default());
    assert_eq!(run(&bench, SyncRange::Incremental).await.state, RunState::Completed);
    assert_eq!(bench.stored().await, bench.sold());
}

#[tokio::test]
async fn a_cursor_that_goes_round_in_circles_ends_the_shop_with_a_reason() {
    let bench = bench().await;
    bench.sell(250).await;
    bench.bakery.sandbox.set_faults(Faults { repeat_cursors: 6, ..Faults::default() });
    let ended = run(&bench, SyncRange::Incremental).await;
    assert!(codes(&ended).contains(&"cursor_loop"), "{ended:?}");
    bench.bakery.sandbox.set_faults(Faults::default());
    assert_eq!(run(&bench, SyncRange::Incremental).await.state, RunState::Completed);
    assert_eq!(bench.stored().await, bench.sold());
}

#[tokio::test]
async fn a_list_that_is_cut_in_silence_is_read_in_halves_until_all_is_there() {
    let bench = bench().await;
    // On a quiet day of the week there are fewer than the limit at each shop.
    let day = bench.stock_a_day(300);
    bench.bakery.sandbox.set_faults(Faults { silent_cap: Some(100), ..Faults::default() });
    let before = bench.stored().await.len();
    let ended = run(&bench, SyncRange::Repair { day }).await;
    assert!(codes(&ended).contains(&"full_page_without_next") && codes(&ended).contains(&"silent_cap"), "{ended:?}");
    assert_eq!((ended.state, bench.stored().await), (RunState::Completed, bench.sold()));
    assert!(bench.stored().await.len() > before + 200);
}

#[tokio::test]
async fn a_run_that_nobody_wants_any_more_ends_between_two_pages() {
    let bench = bench().await;
    bench.sell(3).await;
    let begun = bench.begin(SyncRange::Incremental).await;
    let found = bench.found().await;
    let before = bench.lane(SyncKind::Incremental).await.watermarks;
    let (changes, actor) = (bench.tables().changes, shared::store::audit::Actor::service("test"));
    changes.cancel_runs(&found.scope, &actor, &found.configuration, &[&begun], None).await.unwrap();
    bench.work(&bench.app(None), &begun).await;
    let ended = bench.ended(&begun).await.unwrap();
    assert_eq!((ended.state, ended.code.as_deref()), (RunState::Cancelled, Some("requested")));
    assert_eq!(bench.lane(SyncKind::Incremental).await.watermarks, before);
    assert_eq!(run(&bench, SyncRange::Incremental).await.state, RunState::Completed);
    assert_eq!(bench.stored().await, bench.sold());
}

#[tokio::test]
async fn a_worker_whose_time_runs_out_hands_the_run_on() {
    let bench = bench().await;
    let day = bench.stock_a_day(120);
    let slow = Slowness { path: "/v2/orders/search".into(), millis: 300 };
    bench.bakery.sandbox.set_faults(Faults { slow: vec![slow], ..Faults::default() });
    let before = bench.stored().await.len();
    let begun = bench.begin(SyncRange::Repair { day }).await;
    // A second of work, and what the worker keeps for a page at its worst.
    bench.work_for(&bench.app(None), &begun, Duration::from_millis(16_000)).await;
    assert_eq!(bench.ended(&begun).await, None, "there was no time for all of it");
    // The job that it sent calls the deployed worker.
    bench.until_idle(SyncKind::Repair).await;
    let ended = bench.ended(&begun).await.unwrap();
    assert_eq!((ended.state, bench.stored().await), (RunState::Completed, bench.sold()), "{ended:?}");
    assert!(bench.stored().await.len() > before + 100);
}

#[tokio::test]
async fn the_recorded_job_of_a_run_that_is_gone_is_done_with() {
    let bench = bench().await;
    let (proxy, event) = (Proxy::start().unwrap(), include_str!("../../../../events/sync-worker.json"));
    let calls = bench.bakery.sandbox.calls(Vendor::Square).api_calls;
    bench.invoke(&bench.app(Some(&proxy)), serde_json::from_str(event).unwrap(), Duration::from_secs(60)).await;
    assert_eq!(bench.bakery.sandbox.calls(Vendor::Square).api_calls, calls);
    assert_eq!(proxy.calls().len(), 1, "{:?}", proxy.calls());
}

#[tokio::test]
async fn the_catalogue_is_kept_and_written_once() {
    let bench = bench().await;
    let ended = run(&bench, SyncRange::Catalog).await;
    assert_eq!(ended.state, RunState::Completed, "{ended:?}");
    // The first connection has read it already.
    assert!(ended.counts.seen > 5 && ended.counts.unchanged == ended.counts.seen, "{ended:?}");
}
