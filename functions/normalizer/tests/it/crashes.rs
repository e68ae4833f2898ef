//! The crash between every two steps: the work is cut off at its n-th AWS call, for every n, before the call is
//! executed and after it (the answer lost); then the message comes again, to a fresh execution environment.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::LambdaEvent;
use local::{Answers, Fault, Proxy, SalesDomain};
use sandbox::SaleKind;
use tokio::sync::Notify;

use crate::bench::{Bench, PATIENCE, batch, bench, work};
use crate::raw::assert_order_is_covered;

#[tokio::test]
async fn a_crash_at_any_call_loses_nothing_and_doubles_nothing() {
    let bench = bench();
    let sales_domain = SalesDomain::start(&bench.bakery.stack, Answers::Never);
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..40 {
            let sale = bench.sell(SaleKind::Simple);
            let body = an_hour_older(&bench.paid_event(&sale.order_id));
            let proxy = Proxy::start().unwrap();
            let event = batch(std::slice::from_ref(&body), 1);
            let has_crashed = cut_off(bench, &proxy, nth, fault, event).await;
            // Raw first: what is stored at this moment has its order.
            assert_order_is_covered(bench, &sale.order_id).await;
            proxy.reset();
            let failed = work(&bench.app(&proxy), batch(std::slice::from_ref(&body), 2)).await;
            assert_eq!(failed, Vec::<String>::new(), "call {nth} {fault:?}");

            let stored = bench.stored(&sale.order_id).await.unwrap();
            assert_eq!(stored["amounts"]["total_minor"], sale.total_minor, "call {nth} {fault:?}");
            assert_eq!(stored["revision"], 1, "call {nth} {fault:?}");
            assert_eq!(bench.outcome(&body).await, Some(("done".into(), None)), "call {nth} {fault:?}");
            assert_order_is_covered(bench, &sale.order_id).await;
            let id = stored["id"].as_str().unwrap();
            let is_received = sales_domain.wait_until(PATIENCE, |domain| domain.transactions().contains_key(id));
            assert!(is_received, "call {nth} {fault:?}");
            if !has_crashed {
                break;
            }
            calls = nth;
        }
        // The claim, the configuration, the log, the known copies, the key, the budget, the transaction, its products, the
        // key of bodies, where that is kept, the raw log, the transaction, the queue, the log.
        assert_eq!(calls, 14, "{fault:?}");
    }
}

/// Works until the n-th AWS call and no further. `false`: there were fewer.
pub async fn cut_off(bench: &Bench, proxy: &Proxy, nth: u32, fault: Fault, event: LambdaEvent<SqsEvent>) -> bool {
    let crash = Arc::new(Notify::new());
    proxy.on_drop({
        let crash = Arc::clone(&crash);
        move || crash.notify_one()
    });
    proxy.hit(nth, fault);
    let app = bench.app(proxy);
    tokio::select! {
        biased;
        () = crash.notified() => true,
        failed = work(&app, event) => {
            assert_eq!(failed, Vec::<String>::new(), "call {nth} {fault:?}");
            false
        }
    }
}

/// So old that a copy of the first attempt would spare a second attempt its reading, and with it the sending.
pub fn an_hour_older(body: &str) -> String {
    let mut event: serde_json::Value = serde_json::from_str(body).unwrap();
    let payment = &mut event["data"]["object"]["payment"];
    let at: jiff::Timestamp = payment["updated_at"].as_str().unwrap().parse().unwrap();
    payment["updated_at"] = (at - jiff::SignedDuration::from_hours(1)).to_string().into();
    event.to_string()
}
