//! The crash between every two steps: the worker is cut off at its n-th AWS call, for every n, before the call is executed
//! and after it (the answer lost); another takes over when the lease has ended.

use std::collections::BTreeSet;

use local::{Fault, Proxy};
use shared::domain::{RunState, SyncRange};

use crate::bench::{Books, bench};

#[tokio::test]
async fn a_worker_that_dies_at_any_call_costs_neither_an_order_nor_a_count() {
    let bench = bench().await;
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..60 {
            let day = bench.stock_a_day(2);
            let before = orders(&bench.stored().await);
            let run = bench.begin(SyncRange::Repair { day }).await;
            let proxy = Proxy::start().unwrap();
            proxy.hit(nth, fault);
            let has_crashed = bench.work_until_crash(&bench.app(Some(&proxy)), &run, &proxy).await;
            proxy.reset();
            let ended = bench.finish(&run).await;

            assert_eq!(bench.stored().await, bench.sold(), "call {nth} {fault:?}");
            assert_eq!(ended.state, RunState::Completed, "call {nth} {fault:?}: {ended:?}");
            let new = orders(&bench.sold()) - before;
            assert_eq!(ended.counts.created, new, "call {nth} {fault:?}: {ended:?}");
            assert_eq!((ended.pages, ended.counts.failed), (ended.counted_pages, 0), "call {nth} {fault:?}");
            if !has_crashed {
                break;
            }
            calls = nth;
        }
        assert!((12..55).contains(&calls), "{calls} calls {fault:?}");
    }
}

fn orders(books: &Books) -> u64 {
    let orders: BTreeSet<&str> = books.keys().map(|(order, _)| order.as_str()).collect();
    u64::try_from(orders.len()).unwrap()
}
