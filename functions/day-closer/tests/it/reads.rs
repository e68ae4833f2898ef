//! What a certificate costs.

use day_closer::Operation;
use local::Proxy;
use shared::domain::DayState;

use crate::bench::bench;

/// Keys of one query, and copies of one batched read.
const AT_ONCE: usize = 100;

#[tokio::test]
async fn two_thousand_transactions_are_one_pass() {
    let bench = &*bench().await;
    let day = bench.fresh_day().await;
    bench.sell(day.date, 2_000);
    bench.read(day.date).await;
    bench.until_nothing_is_due().await;
    bench.days().ask(&day, jiff::Timestamp::now()).await.unwrap();
    let proxy = Proxy::start().unwrap();
    bench.invoke(&bench.app(Some(&proxy)), Operation::Tick).await;
    let said = bench.day(&day).await.unwrap().said.unwrap();
    assert_eq!((&said.certificate.state, said.certificate.compared), (&DayState::Proven, 2_000));
    let (queries, reads) = (proxy.count("dynamodb:Query"), proxy.count("dynamodb:BatchGetItem"));
    let shards = 8 * 2;
    println!("{queries} queries, {shards} of them for what is due, and {reads} batched reads; {:?}", {
        let writes = ["dynamodb:PutItem", "dynamodb:UpdateItem"];
        writes.map(|name| (name, proxy.count(name)))
    });
    assert!(queries - shards <= 2_000 / AT_ONCE + 1, "{queries}");
    assert!(reads <= 2_000 / AT_ONCE + 1, "{reads}");
}
