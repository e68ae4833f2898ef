//! Two workers and one lease.

use std::time::Duration;

use jiff::SignedDuration;
use local::Proxy;
use sandbox::{Faults, Slowness, Vendor};
use shared::domain::{Run, RunState, SyncKind, SyncRange};
use shared::store::sync_logs::{Checkpoint, Held};

use crate::bench::{Bench, bench};

/// Takes the lease of an incremental run and does nothing with it.
async fn hold(bench: &Bench, run: &Run) -> Held {
    let found = bench.found().await;
    let of = (SyncKind::Incremental, run.id);
    let minute = SignedDuration::from_secs(60);
    let held = bench.tables().sync_logs.take(&found.scope, found.configuration.id, of, minute).await;
    held.unwrap().unwrap()
}

/// Workers that take the run, one after the other, and die before they have kept anything of it.
async fn die(bench: &Bench, run: &Run, workers: usize) {
    for _ in 0..workers {
        hold(bench, run).await;
        bench.let_lease_end(SyncKind::Incremental).await;
    }
}

#[tokio::test]
async fn a_worker_that_slept_through_its_lease_writes_nothing_any_more() {
    let bench = bench().await;
    bench.sell(5).await;
    let run = bench.begin(SyncRange::Incremental).await;
    // The first worker waits for its page so long that another takes over and ends the run.
    let slow = Slowness { path: "/v2/orders/search".into(), millis: 3_000 };
    bench.bakery.sandbox.set_faults(Faults { slow: vec![slow], ..Faults::default() });
    let (proxy, second) = (Proxy::start().unwrap(), async {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        bench.bakery.sandbox.set_faults(Faults::default());
        bench.let_lease_end(SyncKind::Incremental).await;
        bench.work(&bench.app(None), &run).await;
        bench.finish(&run).await
    });
    let first = bench.app(Some(&proxy));
    let (ended, ()) = tokio::join!(second, bench.work(&first, &run));
    assert_eq!(ended.state, RunState::Completed);
    assert_eq!(bench.ended(&run).await.unwrap(), ended, "what has ended stays as it ended");
    // It took the lease, and when it wanted to keep its page it was refused.
    assert!(proxy.calls().iter().any(|call| call.name() == "dynamodb:UpdateItem" && call.status == Some(400)));
    assert_eq!(proxy.count("dynamodb:PutItem"), 0);
    assert_eq!(bench.lane(SyncKind::Incremental).await.run, None);
    assert_eq!(bench.stored().await, bench.sold());
}

#[tokio::test]
async fn while_a_worker_is_at_it_another_job_for_the_same_run_does_nothing() {
    let bench = bench().await;
    bench.sell(2).await;
    let run = bench.begin(SyncRange::Incremental).await;
    hold(&bench, &run).await;
    let proxy = Proxy::start().unwrap();
    let calls = bench.bakery.sandbox.calls(Vendor::Square).api_calls;
    bench.work(&bench.app(Some(&proxy)), &run).await;
    assert_eq!(bench.bakery.sandbox.calls(Vendor::Square).api_calls, calls);
    assert_eq!(proxy.calls().len(), 1, "{:?}", proxy.calls());
    assert_eq!(bench.finish(&run).await.state, RunState::Completed);
}

#[tokio::test]
async fn a_run_that_every_worker_dies_of_ends_and_one_that_gets_on_does_not() {
    let bench = bench().await;
    bench.sell(2).await;
    let begun = bench.begin(SyncRange::Incremental).await;
    let before = bench.lane(SyncKind::Incremental).await.watermarks;
    let calls = bench.bakery.sandbox.calls(Vendor::Square).api_calls;
    die(&bench, &begun, 48).await;
    bench.work(&bench.app(None), &begun).await;
    let ended = bench.ended(&begun).await.unwrap();
    assert_eq!((ended.state, ended.code.as_deref()), (RunState::Failed, Some("no_progress")), "{ended:?}");
    assert_eq!(bench.bakery.sandbox.calls(Vendor::Square).api_calls, calls, "it is not tried again");
    let lane = bench.lane(SyncKind::Incremental).await;
    assert_eq!((lane.run, lane.watermarks), (None, before));

    // The next one begins afresh; and whenever a worker has kept something, the ones before it count no more.
    let next = bench.begin(SyncRange::Incremental).await;
    die(&bench, &next, 47).await;
    let held = hold(&bench, &next).await;
    let kept = bench.tables().sync_logs.checkpoint(&held, &next, SignedDuration::from_secs(-1)).await;
    assert_eq!(kept.unwrap(), Checkpoint::Kept);
    die(&bench, &next, 47).await;
    bench.work(&bench.app(None), &next).await;
    let ended = bench.finish(&next).await;
    assert_eq!((ended.state, bench.stored().await), (RunState::Completed, bench.sold()), "{ended:?}");
}
