//! The crash between every two steps: the worker is cut off at its n-th AWS call, for every n, before the call is executed
//! and after it (the answer lost); another takes over when the lease has ended.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use local::{Call, Fault, Proxy};
use shared::domain::{RunState, SyncRange};

use crate::bench::{Bench, Books, bench};

#[tokio::test]
async fn a_worker_that_dies_at_any_call_costs_neither_an_order_nor_a_count() {
    let repair = |bench: &Bench| SyncRange::Repair { day: bench.stock_a_day(2) };
    let last = die_at_each_call(Duration::from_secs(75), repair, 12..55).await;
    assert_eq!(last.name(), "dynamodb:UpdateItem", "the lane is free: {last:?}");
}

#[tokio::test]
async fn a_worker_that_dies_while_it_hands_a_run_on_costs_neither_an_order_nor_a_count() {
    let backfill = |bench: &Bench| {
        let day = bench.stock_a_quiet_day();
        SyncRange::Backfill { from: day, to: day }
    };
    // What the worker keeps for a page at its worst is all the time that it has: one page, and the run is another's.
    let last = die_at_each_call(Duration::from_secs(15), backfill, 8..15).await;
    assert_eq!(last.name(), "sqs:SendMessage", "{last:?}");
    assert!(last.resource.contains("SyncJobs"), "the next worker is called: {last:?}");
}

/// Lets turns of this length be cut off at each of their calls, of which there are so many. The last call of a turn that
/// was not cut off.
async fn die_at_each_call(time: Duration, stock: impl Fn(&Bench) -> SyncRange, expected: Range<u32>) -> Call {
    let (bench, mut last) = (bench().await, None);
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..60 {
            let range = stock(&bench);
            let before = orders(&bench.stored().await);
            let run = bench.begin(range).await;
            let proxy = Proxy::start().unwrap();
            proxy.hit(nth, fault);
            let has_crashed = bench.work_until_crash(&bench.app(Some(&proxy)), &run, time, &proxy).await;
            let made = proxy.calls();
            proxy.reset();
            let ended = bench.finish(&run).await;

            assert_eq!(bench.stored().await, bench.sold(), "call {nth} {fault:?}");
            assert_eq!(ended.state, RunState::Completed, "call {nth} {fault:?}: {ended:?}");
            let new = orders(&bench.sold()) - before;
            assert_eq!(ended.counts.created, new, "call {nth} {fault:?}: {ended:?}");
            assert_eq!((ended.pages, ended.counts.failed), (ended.counted_pages, 0), "call {nth} {fault:?}");
            if !has_crashed {
                last = made.last().cloned();
                break;
            }
            calls = nth;
        }
        assert!(expected.contains(&calls), "{calls} calls {fault:?}");
    }
    last.unwrap()
}

fn orders(books: &Books) -> u64 {
    let orders: BTreeSet<&str> = books.keys().map(|(order, _)| order.as_str()).collect();
    u64::try_from(orders.len()).unwrap()
}
