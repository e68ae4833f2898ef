//! The crash between every two steps: a tick is cut off at its n-th AWS call, for every n, before the call is executed and
//! after it (the answer lost); the next one finds the day due again.

use local::{Fault, Proxy, SalesDomain};
use shared::domain::DayState;
use shared::store::days::DayKey;

use crate::bench::{PATIENCE, bench};

fn is_heard(sales: &SalesDomain, day: &DayKey, revision: u64, sales_count: u64) -> bool {
    let days = sales.days().into_iter();
    let mut of_day =
        days.filter(|it| it.business_date == day.date.to_string() && it.location_id == day.location_id.as_str());
    of_day.any(|it| (it.revision, it.sale_count) == (revision, sales_count))
}

#[tokio::test]
async fn a_look_that_is_cut_off_anywhere_says_once_what_the_day_came_to_and_tells_it() {
    let bench = &*bench().await;
    let day = bench.fresh_day().await;
    bench.sell(day.date, 2);
    bench.read(day.date).await;
    let mut revision = 0;
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..60 {
            // Another sale each time: the day must be restated, by one revision.
            bench.sell(day.date, 1);
            bench.read(day.date).await;
            revision += 1;
            bench.days().ask(&day, jiff::Timestamp::now()).await.unwrap();
            let proxy = Proxy::start().unwrap();
            proxy.hit(nth, fault);
            let has_crashed = bench.invoke_until_crash(&proxy).await;
            proxy.reset();
            let found = bench.finish(&day).await;

            let said = found.said.clone().unwrap();
            assert_eq!(said.certificate.state, DayState::Proven, "call {nth} {fault:?}");
            assert_eq!((found.revision, said.figures.sale_count), (revision, revision + 2), "call {nth} {fault:?}");
            assert!(!found.is_unsent, "call {nth} {fault:?}");
            let earlier = bench.days().list_revisions(&day).await.unwrap();
            let numbers: Vec<u64> = earlier.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, (1..revision).collect::<Vec<_>>(), "call {nth} {fault:?}");
            let heard = |sales: &SalesDomain| is_heard(sales, &day, revision, revision + 2);
            assert!(bench.sales.wait_until(PATIENCE, heard), "call {nth} {fault:?}");
            if !has_crashed {
                break;
            }
            calls = nth;
        }
        println!("{calls} calls {fault:?}");
        // Eight shards; the day, the configuration, the day's keys and copies, the key, the budget; what was said before,
        // what is said now, the queue, the end.
        assert!((18..40).contains(&calls), "{calls} calls {fault:?}");
    }
}

#[tokio::test]
async fn a_day_that_is_short_is_repaired_whatever_the_closer_dies_of() {
    let bench = &*bench().await;
    // The row; the repair's lane; its job, and the event.
    for (operation, nth) in
        [("dynamodb:PutItem", 1), ("dynamodb:TransactWriteItems", 1), ("sqs:SendMessage", 1), ("sqs:SendMessage", 2)]
    {
        for fault in [Fault::DropBefore, Fault::DropAfter] {
            bench.until_nothing_is_repaired().await;
            let day = bench.fresh_day().await;
            let unheard = bench.sell(day.date, 3);
            bench.days().ask(&day, jiff::Timestamp::now()).await.unwrap();
            let proxy = Proxy::start().unwrap();
            proxy.hit_named(operation, nth, fault);
            assert!(bench.invoke_until_crash(&proxy).await, "{operation} {fault:?}");
            proxy.reset();
            bench.let_repair_be_due().await;
            let found = bench.finish(&day).await;
            let said = found.said.unwrap();
            assert_eq!(
                (said.certificate.state, said.figures.sale_count),
                (DayState::Proven, 3),
                "{operation} {fault:?}"
            );
            assert!(bench.sales.wait_until(PATIENCE, |sales| is_heard(sales, &day, found.revision, 3)));
            let earlier = bench.days().list_revisions(&day).await.unwrap();
            let Some((_, first)) = earlier.first() else {
                // The repair was on its way and has ended before the next look: then nobody ever said that it was short.
                let is_said = nth == 2 || (operation, fault) == ("dynamodb:PutItem", Fault::DropAfter);
                assert!(!is_said, "{operation} {fault:?}");
                continue;
            };
            let DayState::Short { missing } = &first.certificate.state else { panic!("{earlier:?}") };
            assert_eq!(missing.len(), unheard.len());
        }
    }
}
