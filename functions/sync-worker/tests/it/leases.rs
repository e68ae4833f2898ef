//! Two workers and one lease.

use std::time::Duration;

use local::Proxy;
use sandbox::{Faults, Slowness};
use shared::domain::{RunState, SyncKind, SyncRange};

use crate::bench::bench;

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
    let found = bench.found().await;
    let held = bench
        .tables()
        .sync_logs
        .take(
            &found.scope,
            found.configuration.id,
            (SyncKind::Incremental, run.id),
            jiff::SignedDuration::from_secs(60),
        )
        .await;
    assert!(held.unwrap().is_some());
    let proxy = Proxy::start().unwrap();
    let calls = bench.bakery.sandbox.calls(sandbox::Vendor::Square).api_calls;
    bench.work(&bench.app(Some(&proxy)), &run).await;
    assert_eq!(bench.bakery.sandbox.calls(sandbox::Vendor::Square).api_calls, calls);
    assert_eq!(proxy.calls().len(), 1, "{:?}", proxy.calls());
    assert_eq!(bench.finish(&run).await.state, RunState::Completed);
}
