//! A till whose credentials are refused proves nothing; one renewal is tried before.

use day_closer::Operation;
use jiff::Timestamp;
use sandbox::{Failure, Faults};
use shared::domain::DayState;

use crate::bench::{Bench, bench};

/// What is said of a day while searches are refused so often.
async fn said_after(bench: &Bench, refusals: u32) -> DayState {
    let day = bench.fresh_day().await;
    let path = Some("/v2/orders/search".to_owned());
    let failures = vec![Failure { status: 401, times: refusals, path, ..Failure::default() }];
    bench.bakery.sandbox.set_faults(Faults { failures, ..Faults::default() });
    bench.days().ask(&day, Timestamp::now()).await.unwrap();
    bench.invoke(&bench.app(None), Operation::Tick).await;
    bench.bakery.sandbox.set_faults(Faults::default());
    bench.day(&day).await.unwrap().said.unwrap().certificate.state
}

#[tokio::test]
async fn credentials_are_renewed_once_and_what_is_refused_again_proves_nothing() {
    let bench = &*bench().await;
    assert_eq!(said_after(bench, 1).await, DayState::Proven, "with new credentials");
    let refused = DayState::NotProvable { reason: "credentials_refused".to_owned() };
    assert_eq!(said_after(bench, 2).await, refused);
    // As the configuration says by now, nobody needs to be asked.
    assert_eq!(said_after(bench, 0).await, refused);
    bench.connect_again().await;
    assert_eq!(said_after(bench, 0).await, DayState::Proven);
}
