//! Clocks are wound up once, strike once, and are taken away with their shop.

use day_closer::Operation;
use jiff::{Timestamp, ToSpan};
use local::{Fault, Proxy};
use shared::store::days::{Clock, Days};

use crate::bench::{Bench, bench};

async fn clocks(bench: &Bench) -> Vec<Clock> {
    let found = bench.found().await;
    bench.days().list_clocks(&found.scope, found.configuration.id).await.unwrap()
}

async fn is_due(days: &Days) -> bool {
    for shard in Days::due_shards() {
        if !days.list_due(shard, Timestamp::now(), 10).await.unwrap().is_empty() {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_clock_that_is_cut_off_anywhere_asks_for_the_day_that_is_over_and_moves_on_by_one() {
    let bench = &*bench().await;
    bench.invoke(&bench.app(None), Operation::WindUp).await;
    let wound = clocks(bench).await;
    assert_eq!(wound.len(), bench.bakery.sandbox.merchants()[0].locations.len());
    let found = bench.found().await;
    for clock in &wound {
        let shop = found.configuration.location(&clock.location_id).unwrap();
        assert_eq!(clock.date, shop.business_date(Timestamp::now()));
    }
    bench.invoke(&bench.app(None), Operation::WindUp).await;
    assert_eq!(clocks(bench).await, wound, "each shop has one");

    for fault in [Fault::DropBefore, Fault::DropAfter] {
        for nth in 1..60 {
            // As if the day before had just ended.
            let day = bench.fresh_day().await;
            let now = clocks(bench).await.into_iter().find(|clock| clock.location_id == day.location_id).unwrap();
            let over = Clock { date: day.date, due_at: Timestamp::now() - 1.minute(), ..now.clone() };
            assert!(bench.days().move_on(&now, &over).await.unwrap());
            let proxy = Proxy::start().unwrap();
            proxy.hit(nth, fault);
            let has_crashed = bench.invoke_until_crash(&proxy).await;
            proxy.reset();
            bench.invoke(&bench.app(None), Operation::Tick).await;
            let after = clocks(bench).await.into_iter().find(|clock| clock.location_id == day.location_id).unwrap();
            // Months have passed meanwhile: it strikes on until today.
            assert!(after.date > day.date, "call {nth} {fault:?}");
            let closed = bench.finish(&day).await;
            assert_eq!(closed.revision, 1, "call {nth} {fault:?}");
            assert!(bench.days().move_on(&after, &now).await.unwrap());
            if !has_crashed {
                break;
            }
        }
    }
    while is_due(&bench.days()).await {
        bench.invoke(&bench.app(None), Operation::Tick).await;
    }
}
