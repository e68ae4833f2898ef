//! Clocks are wound up once, strike once, and are taken away with their shop.

use day_closer::Operation;
use jiff::{Timestamp, ToSpan};
use local::{Fault, Proxy};
use shared::store::days::{Clock, DayKey, Days};

use crate::bench::{Bench, bench};

async fn clocks(bench: &Bench) -> Vec<Clock> {
    let found = bench.found().await;
    bench.days().list_clocks(&found.scope, found.configuration.id).await.unwrap()
}

async fn clock_of(bench: &Bench, day: &DayKey) -> Clock {
    clocks(bench).await.into_iter().find(|clock| clock.location_id == day.location_id).unwrap()
}

/// The deployed closer ticks, too, and may have moved it on a moment ago.
async fn set(bench: &Bench, clock: &Clock) {
    let day = DayKey {
        scope: clock.scope.clone(),
        configuration_id: clock.configuration_id,
        location_id: clock.location_id.clone(),
        date: clock.date,
    };
    while !bench.days().move_on(&clock_of(bench, &day).await, clock).await.unwrap() {}
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
            let due_at = Timestamp::now() - 1.minute();
            set(bench, &Clock { date: day.date, due_at, ..clock_of(bench, &day).await }).await;
            let proxy = Proxy::start().unwrap();
            proxy.hit(nth, fault);
            let has_crashed = bench.invoke_until_crash(&proxy).await;
            proxy.reset();
            bench.invoke(&bench.app(None), Operation::Tick).await;
            // Months have passed meanwhile: it strikes on until today.
            assert!(clock_of(bench, &day).await.date > day.date, "call {nth} {fault:?}");
            let closed = bench.finish(&day).await;
            assert_eq!(closed.revision, 1, "call {nth} {fault:?}");
            let now = wound.iter().find(|clock| clock.location_id == day.location_id).unwrap();
            set(bench, now).await;
            if !has_crashed {
                break;
            }
        }
    }
    while is_due(&bench.days()).await {
        bench.invoke(&bench.app(None), Operation::Tick).await;
    }
}
