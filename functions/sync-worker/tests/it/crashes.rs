//! The crash between every two steps: the worker is cut off at its n-th AWS call, for every n, before the call is executed
//! and after it (the answer lost); another takes over when the lease has ended.

use local::{Fault, Proxy};
use shared::domain::{RunState, SyncRange};

use crate::bench::bench;

#[tokio::test]
async fn a_worker_that_dies_at_any_call_costs_neither_an_order_nor_a_count() {
    let bench = bench().await;
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..60 {
            bench.sell(3).await;
            let before = bench.stored().await;
            let run = bench.begin(SyncRange::Incremental).await;
            let proxy = Proxy::start().unwrap();
            proxy.hit(nth, fault);
            let has_crashed = bench.work_until_crash(&bench.app(Some(&proxy)), &run, &proxy).await;
            proxy.reset();
            let ended = bench.finish(&run).await;

            let (stored, sold) = (bench.stored().await, bench.sold());
            assert_eq!(stored, sold, "call {nth} {fault:?}");
            assert_eq!(ended.state, RunState::Completed, "call {nth} {fault:?}: {ended:?}");
            let orders = |books: &crate::bench::Books| {
                books.keys().map(|(order, _)| order.clone()).collect::<std::collections::BTreeSet<_>>().len()
            };
            let new = u64::try_from(orders(&sold) - orders(&before)).unwrap();
            assert_eq!(ended.counts.created, new, "call {nth} {fault:?}: {ended:?}");
            assert_eq!((ended.pages, ended.counts.failed), (ended.counted_pages, 0), "call {nth} {fault:?}");
            if !has_crashed {
                break;
            }
            calls = nth;
        }
        assert!((8..50).contains(&calls), "{calls} calls {fault:?}");
    }
}
