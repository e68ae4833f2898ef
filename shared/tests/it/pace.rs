//! One budget for each credential, whoever asks and from wherever.
//!
//! Several `Pace`s stand for several execution environments. A breaker belongs to a provider's environment, so each test
//! that makes one fail has a provider's environment for itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use local::Proxy;
use shared::domain::{ConfigurationId, Environment, ProviderKind};
use shared::pace::{BudgetKey, NotNow, Pace, Priority, Why};
use shared::providers::{ProviderError, ProviderErrorKind, Rate};
use shared::store::budget::Budgets;

use crate::stack::stack;

const CLASSES: [Priority; 4] = [Priority::Live, Priority::Incremental, Priority::Backfill, Priority::Manual];
const WRITE: &str = "dynamodb:UpdateItem";

fn pace_at(endpoint: &str, rate: Rate) -> Pace {
    let table = stack().output("CoordinationTable").unwrap().to_owned();
    Pace::new(Budgets::new(Client::new(&stack().config_at(endpoint)), table), move |_| rate)
}

fn pace(rate: Rate) -> Pace {
    pace_at(stack().endpoint(), rate)
}

fn rate(interval_ms: u64, burst: u32) -> Rate {
    Rate { interval: Duration::from_millis(interval_ms), burst }
}

fn key(provider: ProviderKind, environment: Environment) -> BudgetKey {
    BudgetKey { provider, environment, configuration: ConfigurationId::generate() }
}

fn quiet_key() -> BudgetKey {
    key(ProviderKind::Square, Environment::Production)
}

fn failure(kind: ProviderErrorKind) -> Result<(), ProviderError> {
    Err(ProviderError { provider: ProviderKind::Square, operation: "fetch_order", kind, source: None })
}

/// A permit, and between which moments it was given.
type Given = (Priority, Instant, Instant);

/// Asks without a pause, as each of these classes, from environments of their own, for some time.
async fn flood(key: BudgetKey, classes: &[Priority], rate: Rate, time: Duration) -> Vec<Given> {
    let asking = classes.iter().map(|class| {
        let (pace, class) = (pace(rate), *class);
        tokio::spawn(async move {
            let (mut given, end) = (Vec::new(), Instant::now() + time);
            while Instant::now() < end {
                let before = Instant::now();
                match pace.acquire(&key, class).await {
                    Ok(()) => given.push((class, before, Instant::now())),
                    Err(not_now) => tokio::time::sleep(not_now.retry_after.min(end - Instant::now().min(end))).await,
                }
            }
            given
        })
    });
    let mut given = Vec::new();
    for asking in asking.collect::<Vec<_>>() {
        given.extend(asking.await.unwrap());
    }
    given
}

fn of(class: Priority, given: &[Given]) -> usize {
    given.iter().filter(|(of, ..)| *of == class).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_has_more_requests_than_the_burst_and_what_the_rate_allows() {
    let rate = rate(25, 16);
    let classes = [CLASSES.as_slice(), &[Priority::Live; 4], &[Priority::Incremental; 2]].concat();
    let given = flood(quiet_key(), &classes, rate, Duration::from_secs(3)).await;
    for (_, from, _) in &given {
        for (_, _, to) in given.iter().filter(|(_, _, to)| to > from) {
            let inside = given.iter().filter(|(_, before, after)| before >= from && after <= to).count();
            let allowed = u128::from(rate.burst) + (*to - *from).as_nanos() / rate.interval.as_nanos();
            assert!(u128::try_from(inside).unwrap() <= allowed, "{inside} in {:?}", *to - *from);
        }
    }
    assert!(given.len() > 70, "most of 136 were given: {}", given.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_flood_of_live_reads_each_class_of_syncs_gets_a_twentieth_and_no_more() {
    // So slow that a busy machine is fast enough: live reads would have to pause for a second before a sync had more than
    // its twentieth. The exact shares are `pace::plan`'s own test.
    let (key, rate) = (quiet_key(), rate(200, 20));
    let live = pace(rate);
    while live.acquire(&key, Priority::Live).await.is_ok() {}
    let classes = [CLASSES.as_slice(), &[Priority::Live; 2]].concat();
    let given = flood(key, &classes, rate, Duration::from_secs(9)).await;
    let counts = CLASSES.map(|class| of(class, &given));
    // 45 in nine seconds: one every four seconds, from the first moment on, for each class of syncs, the rest for live reads.
    assert!(counts[1..].iter().all(|syncs| (2..=4).contains(syncs)), "{counts:?}");
    assert!(counts[0] > 25, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_live_reads_the_next_class_has_what_is_left() {
    let classes = [[Priority::Incremental; 4].as_slice(), &[Priority::Backfill; 2], &[Priority::Manual]].concat();
    let given = flood(quiet_key(), &classes, rate(20, 40), Duration::from_secs(3)).await;
    let counts = CLASSES.map(|class| of(class, &given));
    assert!(counts[1] > 3 * counts[2] && counts[1] > 3 * counts[3], "{counts:?}");
    assert!(counts[2] >= 2 && counts[3] >= 2, "{counts:?}");
}

#[tokio::test]
async fn a_live_request_costs_one_write_and_a_sync_one_for_each_block() {
    let proxy = Proxy::start().unwrap();
    proxy.forward_to(stack().endpoint());
    let (pace, key) = (pace_at(proxy.url(), rate(20, 100)), quiet_key());
    for _ in 0..12 {
        pace.acquire(&key, Priority::Live).await.unwrap();
    }
    assert_eq!((proxy.count(WRITE), proxy.calls().len()), (12, 12));

    proxy.reset();
    let key = quiet_key();
    for _ in 0..15 {
        pace.acquire_within(&key, Priority::Backfill, Duration::from_secs(5)).await.unwrap();
    }
    // 1, 2, 4, 8.
    assert_eq!((proxy.count(WRITE), proxy.calls().len()), (4, 4));

    // Nine of the next ten are still in hand, and the execution environment is frozen.
    pace.acquire_within(&key, Priority::Backfill, Duration::from_secs(5)).await.unwrap();
    assert_eq!(proxy.count(WRITE), 5);
    tokio::time::sleep(Duration::from_secs(2)).await;
    pace.acquire(&key, Priority::Backfill).await.unwrap();
    assert_eq!(proxy.count(WRITE), 6, "an old permit is not used");
}

#[tokio::test]
async fn what_is_known_to_be_used_up_costs_no_write_and_says_exactly_when() {
    let proxy = Proxy::start().unwrap();
    proxy.forward_to(stack().endpoint());
    let (pace, key) = (pace_at(proxy.url(), rate(1000, 5)), quiet_key());
    pace.acquire(&key, Priority::Live).await.unwrap();
    pace.acquire(&key, Priority::Live).await.unwrap();
    let NotNow { retry_after, why } = pace.acquire(&key, Priority::Live).await.unwrap_err();
    assert_eq!((why, proxy.count(WRITE)), (Why::Budget, 2));
    let waited = pace.acquire_within(&key, Priority::Live, retry_after).await.unwrap();
    // What is left to wait is asked for a moment later.
    assert!(waited + Duration::from_millis(200) >= retry_after && proxy.count(WRITE) == 3, "{waited:?}");
    let patience = Duration::from_millis(100);
    assert_eq!(pace.acquire_within(&key, Priority::Live, patience).await.unwrap_err().why, Why::Budget);
}

#[tokio::test]
async fn a_pause_that_the_provider_wants_is_kept_by_every_class_everywhere() {
    let rate = rate(1, 1000);
    let (here, there, key) = (pace(rate), pace(rate), quiet_key());
    there.acquire(&key, Priority::Live).await.unwrap();
    // A block in hand is given up.
    for _ in 0..4 {
        here.acquire_within(&key, Priority::Incremental, Duration::from_secs(1)).await.unwrap();
    }
    let wish = Duration::from_millis(2500);
    let noted = Instant::now();
    here.note(&key, &failure(ProviderErrorKind::RateLimited { retry_after: Some(wish) })).await;
    here.note(&key, &failure(ProviderErrorKind::RateLimited { retry_after: Some(Duration::ZERO) })).await;
    for pace in [&here, &there, &pace(rate)] {
        for class in CLASSES {
            let NotNow { retry_after, why } = pace.acquire(&key, class).await.unwrap_err();
            assert_eq!(why, Why::RetryAfter);
            assert!(retry_after <= wish + Duration::from_millis(2), "{retry_after:?}");
        }
    }
    there.acquire(&quiet_key(), Priority::Live).await.unwrap();
    there.acquire_within(&key, Priority::Backfill, Duration::from_secs(3)).await.unwrap();
    assert!(noted.elapsed() >= wish);
}

#[tokio::test]
async fn a_provider_that_is_down_is_tried_by_one_of_all() {
    let (rate, key) = (rate(1, 1000), key(ProviderKind::Lightspeed, Environment::Production));
    let paces: [Arc<Pace>; 3] = std::array::from_fn(|_| Arc::new(pace(rate)));
    let down = || failure(ProviderErrorKind::Unavailable);
    for _ in 0..5 {
        paces[0].acquire(&key, Priority::Live).await.unwrap();
        paces[0].note(&key, &down()).await;
    }
    let opened = Instant::now();
    assert_eq!(paces[0].acquire(&key, Priority::Live).await.unwrap_err().why, Why::BreakerOpen);
    // Another environment has had one failure, or none: it learns of the others' with its own first.
    paces[1].acquire(&key, Priority::Live).await.unwrap();
    paces[1].note(&key, &down()).await;
    let NotNow { retry_after, why } = paces[1].acquire(&key, Priority::Incremental).await.unwrap_err();
    assert!(why == Why::BreakerOpen && retry_after < Duration::from_secs(5));
    let elsewhere = BudgetKey { environment: Environment::Sandbox, ..key };
    paces[0].acquire(&elsewhere, Priority::Live).await.unwrap();

    let tries = async |first: &Pace, second: &Pace| {
        let (a, b) = tokio::join!(first.acquire(&key, Priority::Live), second.acquire(&key, Priority::Live));
        (a.is_ok(), b.is_ok())
    };
    tokio::time::sleep(Duration::from_secs(5).saturating_sub(opened.elapsed()) + Duration::from_millis(50)).await;
    let (first, second) = tries(&paces[0], &paces[1]).await;
    assert!(first != second, "one tries: {first} {second}");
    let (tried, waited) = if first { (&paces[0], &paces[1]) } else { (&paces[1], &paces[0]) };
    // Who starts now fails once and finds it open, too.
    paces[2].note(&key, &down()).await;
    assert!(paces[2].acquire(&key, Priority::Live).await.is_err());

    tried.note(&key, &Ok::<(), _>(())).await;
    tried.acquire(&key, Priority::Live).await.unwrap();
    for pace in [waited, &paces[2]] {
        let closed = Instant::now();
        while let Err(not_now) = pace.acquire(&key, Priority::Live).await {
            assert!(closed.elapsed() < Duration::from_secs(4), "{not_now:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn a_failed_try_opens_it_for_longer() {
    let (rate, key) = (rate(1, 1000), key(ProviderKind::Toast, Environment::Production));
    let (here, there) = (pace(rate), pace(rate));
    let down = || failure(ProviderErrorKind::Unavailable);
    for _ in 0..5 {
        here.note(&key, &down()).await;
    }
    let wait = here.acquire(&key, Priority::Live).await.unwrap_err().retry_after;
    here.acquire_within(&key, Priority::Live, wait + Duration::from_secs(1)).await.unwrap();
    here.note(&key, &down()).await;
    there.note(&key, &down()).await;
    for pace in [&here, &there] {
        let NotNow { retry_after, why } = pace.acquire(&key, Priority::Live).await.unwrap_err();
        assert!(why == Why::BreakerOpen && retry_after > Duration::from_secs(8), "{retry_after:?}");
    }
}

#[tokio::test]
async fn without_the_table_each_environment_asks_at_a_twentieth_and_never_without_limit() {
    let proxy = Proxy::start().unwrap();
    let (pace, key) = (pace_at(proxy.url(), rate(10, 100)), quiet_key());
    // Nothing is behind the proxy: every call fails.
    pace.acquire(&key, Priority::Live).await.unwrap();
    let (began, asked) = (Instant::now(), proxy.calls().len());
    let mut given = 0;
    while began.elapsed() < Duration::from_secs(2) {
        for class in CLASSES {
            given += u32::from(pace.acquire(&key, class).await.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Every 200 ms.
    assert!((6..=11).contains(&given), "{given}");
    assert_eq!(proxy.calls().len(), asked, "what is away is not asked for each request");

    proxy.forward_to(stack().endpoint());
    tokio::time::sleep(Duration::from_secs(4)).await;
    proxy.reset();
    pace.acquire(&key, Priority::Live).await.unwrap();
    assert_eq!(proxy.count(WRITE), 1, "it is found again");
}
