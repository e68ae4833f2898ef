//! The crash between every two steps: the work is cut off at its n-th AWS call, for every n, before the call is executed
//! and after it (the answer lost); the message comes again.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use local::{Fault, Proxy};
use serde_json::json;
use shared::domain::Availability;
use tokio::sync::Notify;

use crate::bench::{Bench, Branch, bench, left, take, verdicts};

/// Takes a command that is cut off at the `nth` call, and again. Whether it was cut off at all.
async fn crash_and_come_again(bench: &Bench, command: &serde_json::Value, nth: u32, fault: Fault) -> bool {
    let (proxy, crash) = (Proxy::start().unwrap(), Arc::new(Notify::new()));
    proxy.on_drop({
        let crash = Arc::clone(&crash);
        move || crash.notify_one()
    });
    let cut_off = bench.app(Some(&proxy));
    proxy.hit(nth, fault);
    let has_crashed = tokio::select! {
        biased;
        () = crash.notified() => true,
        is_done = take(&cut_off, command, 1) => { assert!(is_done); false }
    };
    proxy.reset();
    assert!(take(&bench.app(None), command, 2).await);
    has_crashed
}

async fn walk(bench: &Bench, till: &Branch, name: &str, before: Availability) {
    let item = till.item(name).await;
    let product = bench.map(till, &[&item]).await;
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..40 {
            till.say(0, &item, before).await;
            // Whatever was said before, this is news.
            assert_eq!(bench.verdicts(&till.available(&product)).await, ["unchanged"]);
            let mut command = till.sold_out(&product);
            command["data"]["until"] = json!(Timestamp::now() + SignedDuration::from_hours(1));
            let has_crashed = crash_and_come_again(bench, &command, nth, fault).await;
            let id = command["id"].as_str().unwrap();
            assert_eq!(verdicts(&bench.answered(&format!("{id}:1")).await), ["applied"], "call {nth} {fault:?}");
            assert_eq!(till.shown(0, &item).await, Availability::SoldOut, "call {nth} {fault:?}");

            // Its end, as it would come in an hour.
            let ending = json!({
                "type": "pos.availability.until.v1", "tenantid": command["tenantid"], "id": id, "time": command["time"],
                "data": {
                    "configuration_id": till.configuration_id, "product_id": product, "until": Timestamp::now(),
                    "places": [{ "location_id": till.shops[0], "item_id": item }],
                },
            });
            let has_crashed_again = crash_and_come_again(bench, &ending, nth, fault).await;
            assert_eq!(verdicts(&bench.answered(&format!("{id}:2")).await), ["applied"], "call {nth} {fault:?}");
            assert_eq!(till.shown(0, &item).await, before, "call {nth} {fault:?}");
            if !has_crashed && !has_crashed_again {
                break;
            }
            calls = nth;
        }
        // The configuration, what is mapped, what was said; the key; two permits; the intention, the result; the message to
        // ourselves, the answer.
        assert!((9..16).contains(&calls), "{calls} calls {fault:?}");
    }
}

#[tokio::test]
async fn a_command_that_is_cut_off_anywhere_is_carried_out_and_answered_once() {
    let bench = bench().await;
    walk(&bench, &bench.toast, "Cheese", Availability::Available).await;
    walk(&bench, &bench.square, "Brioche", left("8")).await;
}
