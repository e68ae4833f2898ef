//! Days that were closed and have changed since.

use jiff::{SignedDuration, Timestamp};
use local::{Fault, Proxy};
use serde_json::Value;
use shared::store::days::{DayKey, Days};

use crate::bench::{Bench, bench, work};
use crate::crashes::cut_off;
use crate::sync_page::Page;

const NOTHING: [String; 0] = [];

fn days(bench: &Bench) -> Days {
    let client = aws_sdk_dynamodb::Client::new(&bench.bakery.stack.config());
    Days::new(client, bench.bakery.stack.output("DaysTable").unwrap().to_owned())
}

/// An order that was closed then.
fn closed(order: &mut Value, at: Timestamp) {
    for field in ["created_at", "closed_at"] {
        order[field] = at.to_string().into();
    }
}

/// The till changes an order, for the `nth` time.
fn change(order: &mut Value, nth: i64) {
    let at: Timestamp = order["updated_at"].as_str().unwrap().parse().unwrap();
    order["updated_at"] = (at + SignedDuration::from_secs(1)).to_string().into();
    order["line_items"][0]["name"] = format!("Renamed {nth}").into();
}

/// The day that a page's order counts to, as if it had been closed.
async fn closed_day(bench: &Bench, page: &Page) -> DayKey {
    let stored = page.stored(bench).await.remove(0);
    let day = DayKey {
        scope: stored.key.scope,
        configuration_id: stored.key.configuration_id,
        location_id: stored.transaction.location_id,
        date: stored.transaction.business_date,
    };
    // In a while, so that nobody looks at it behind the test's back.
    days(bench).ask(&day, Timestamp::now() + SignedDuration::from_hours(1)).await.unwrap();
    day
}

/// When a day was changed, if that was since `then`.
async fn changed_since(bench: &Bench, day: &DayKey, then: Timestamp) -> bool {
    let changed_at = days(bench).find(day).await.unwrap().and_then(|day| day.changed_at);
    changed_at.is_some_and(|at| at >= then - SignedDuration::from_millis(1))
}

#[tokio::test]
async fn that_a_closed_day_has_changed_is_noted_wherever_the_work_is_cut_off() {
    let bench = bench();
    let mut page = Page::of(bench, bench.orders("late", 3));
    let noon = Timestamp::now() - SignedDuration::from_hours(24 * 9);
    page.orders.iter_mut().for_each(|order| closed(order, noon));
    assert_eq!(work(&bench.app(&Proxy::start().unwrap()), page.event(1)).await, NOTHING);
    let day = closed_day(bench, &page).await;
    let mut changes = 0;
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..40 {
            changes += 1;
            page.orders.iter_mut().for_each(|order| change(order, changes));
            page.number += 1;
            let (proxy, then) = (Proxy::start().unwrap(), Timestamp::now());
            let has_crashed = cut_off(bench, &proxy, nth, fault, page.event(1)).await;
            proxy.reset();
            assert_eq!(work(&bench.app(&proxy), page.event(2)).await, NOTHING);
            assert!(changed_since(bench, &day, then).await, "call {nth} {fault:?}");
            if !has_crashed {
                break;
            }
            calls = nth;
        }
        // The configuration, the copies, the raw orders, three writes, the day, the queue, the row; what the tenant calls the
        // things, a key for what is kept, and where that is kept.
        assert!((9..=12).contains(&calls), "{calls} calls {fault:?}");
    }
}

#[tokio::test]
async fn a_sale_that_moves_to_another_day_has_changed_both_and_is_found_on_the_old_one() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let mut page = Page::of(bench, bench.orders("moved", 1));
    let noon = Timestamp::now() - SignedDuration::from_hours(24 * 12);
    closed(&mut page.orders[0], noon);
    assert_eq!(work(&bench.app(&proxy), page.event(1)).await, NOTHING);
    let from = closed_day(bench, &page).await;
    let to = DayKey { date: from.date.tomorrow().unwrap(), ..from.clone() };
    days(bench).ask(&to, Timestamp::now() + SignedDuration::from_hours(1)).await.unwrap();

    let (then, created_at) = (Timestamp::now(), page.orders[0]["created_at"].clone());
    closed(&mut page.orders[0], noon + SignedDuration::from_hours(24));
    // Its id is made of when it was opened, which does not change.
    page.orders[0]["created_at"] = created_at;
    change(&mut page.orders[0], 1);
    page.number += 1;
    proxy.reset();
    assert_eq!(work(&bench.app(&proxy), page.event(1)).await, NOTHING);
    assert_eq!(proxy.count("dynamodb:UpdateItem"), 2, "one write for each day: {:?}", proxy.calls());
    assert!(changed_since(bench, &from, then).await && changed_since(bench, &to, then).await);
    let stored = page.stored(bench).await.remove(0);
    assert_eq!(stored.transaction.business_date, to.date);
    assert_eq!(days(bench).list_moved(&from).await.unwrap(), [stored.transaction.id]);
    assert_eq!(days(bench).list_moved(&to).await.unwrap(), []);
}
