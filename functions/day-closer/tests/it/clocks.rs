//! Clocks are wound up once, strike once, and are taken away with their shop.

use day_closer::Operation;
use jiff::{Timestamp, ToSpan};
use local::{Fault, Proxy};
use shared::store::days::{Clock, DayKey};

use crate::bench::{Bench, bench};

async fn clocks(bench: &Bench) -> Vec<Clock> {
    let found = bench.found().await;
    bench.days().list_clocks(&found.scope, found.configuration.id).await.unwrap()
}

async fn clock_of(bench: &Bench, of: &Clock) -> Clock {
    clocks(bench).await.into_iter().find(|clock| clock.location_id == of.location_id).unwrap()
}

/// The deployed closer ticks, too, and may have moved it on a moment ago.
async fn set(bench: &Bench, clock: &Clock) {
    while !bench.days().move_on(&clock_of(bench, clock).await, clock).await.unwrap() {}
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

    // As if the day before had just ended: the shop's clock stands at it.
    let today = &wound[0];
    let over = Clock { date: today.date.yesterday().unwrap(), ..today.clone() };
    let day = DayKey {
        scope: over.scope.clone(),
        configuration_id: over.configuration_id,
        location_id: over.location_id.clone(),
        date: over.date,
    };
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..60 {
            let then = Timestamp::now();
            set(bench, &Clock { due_at: then - 1.minute(), ..over.clone() }).await;
            let proxy = Proxy::start().unwrap();
            proxy.hit(nth, fault);
            let has_crashed = bench.invoke_until_crash(&proxy).await;
            proxy.reset();
            bench.invoke(&bench.app(None), Operation::Tick).await;
            // (The deployed closer waits half an hour longer than a test.)
            assert_eq!(clock_of(bench, today).await.date, today.date, "call {nth} {fault:?}");
            let closed = bench.finish(&day).await;
            let taken_at = closed.said.unwrap().certificate.taken_at;
            assert!(closed.revision == 1 && taken_at >= then, "call {nth} {fault:?}: {taken_at}");
            if !has_crashed {
                break;
            }
            calls = nth;
        }
        // Eight shards; the configuration, the day, the clock; and the look that follows.
        assert!(calls >= 20, "{calls} calls {fault:?}");
    }
    bench.until_nothing_is_due().await;
}

#[tokio::test]
async fn the_clock_of_a_shop_that_is_gone_is_taken_away_and_closes_nothing() {
    let bench = &*bench().await;
    bench.invoke(&bench.app(None), Operation::WindUp).await;
    let clock = clocks(bench).await.remove(0);
    let gone = Clock { location_id: "GONE".parse().unwrap(), due_at: Timestamp::now() - 1.minute(), ..clock };
    assert!(bench.days().wind_up(&gone).await.unwrap());
    bench.invoke(&bench.app(None), Operation::Tick).await;
    assert!(clocks(bench).await.iter().all(|clock| clock.location_id != gone.location_id));
    let dates = (gone.date, gone.date);
    let closed = bench.days().list(&gone.scope, gone.configuration_id, dates).await.unwrap();
    assert!(closed.iter().all(|day| day.key.location_id != gone.location_id));
}
