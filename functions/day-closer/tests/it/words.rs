//! The first word on a day does not wait for a provider that lets us wait.

use day_closer::Operation;
use jiff::Timestamp;
use sandbox::{Failure, Faults};
use shared::domain::DayState;

use crate::bench::bench;

#[tokio::test]
async fn a_day_whose_provider_lets_us_wait_is_told_with_its_figures_and_proven_later() {
    let bench = &*bench().await;
    let day = bench.fresh_day().await;
    bench.sell(day.date, 2);
    bench.read(day.date).await;
    let path = Some("/v2/orders/search".to_owned());
    let failures = vec![Failure { status: 429, times: 1, path, retry_after: Some(1), ..Failure::default() }];
    bench.bakery.sandbox.set_faults(Faults { failures, ..Faults::default() });
    bench.days().ask(&day, Timestamp::now()).await.unwrap();
    bench.invoke(&bench.app(None), Operation::Tick).await;
    bench.bakery.sandbox.set_faults(Faults::default());
    let first = bench.day(&day).await.unwrap();
    let said = first.said.unwrap();
    assert_eq!((first.revision, said.figures.sale_count, first.is_unsent), (1, 2, false));
    assert_eq!(said.certificate.state, DayState::NotProvable { reason: "provider_unavailable".to_owned() });

    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    bench.let_be_due(&day).await;
    bench.invoke(&bench.app(None), Operation::Tick).await;
    let later = bench.day(&day).await.unwrap();
    assert_eq!((later.revision, later.said.unwrap().certificate.state), (2, DayState::Proven));
}
