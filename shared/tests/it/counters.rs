//! The counters that all execution environments share.

use std::time::Duration;

use shared::domain::ProviderKind;
use shared::invocation::Flushes;
use shared::store::counters::Counters;
use shared::telemetry::metrics::{self, Kind, Series, Tally, Value, Way};
use tokio::sync::Mutex;

use crate::stack::stack;

/// What is counted is counted for the process: one test at a time.
static TURN: Mutex<()> = Mutex::const_new(());

fn value_of(tally: &Tally, code: &str) -> Option<Value> {
    let series = Series::parse(code).unwrap();
    tally.iter().find(|(found, _)| *found == series).map(|(_, value)| value.clone())
}

fn count_of(tally: &Tally, code: &str) -> u64 {
    match value_of(tally, code) {
        Some(Value::Count { count, .. }) => count,
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_add_up_and_nothing_is_lost_between_them() {
    let _turn = TURN.lock().await;
    let client = aws_sdk_dynamodb::Client::new(&stack().config());
    let table = stack().output("CoordinationTable").unwrap();
    let environment = |function| Counters::new(client.clone(), table.to_owned(), function);
    let environments: Vec<Counters> = ["webhooks", "normalizer"].repeat(5).into_iter().map(environment).collect();
    let before = environments[0].read().await.unwrap();
    let _ = shared::telemetry::take();
    metrics::webhook_received("square", "accepted");
    metrics::webhook_received("square", "accepted");
    metrics::webhook_received("acme", "a word of a stranger");
    metrics::webhook_verified(ProviderKind::Toast, Duration::from_micros(700));
    metrics::webhook_verified(ProviderKind::Toast, Duration::from_secs(60));
    let counted = shared::telemetry::take();
    assert!(shared::telemetry::take().is_empty());

    let adds = environments.iter().map(|environment| environment.add(&counted));
    futures_util::future::try_join_all(adds).await.unwrap();

    let after = environments[0].read().await.unwrap();
    let grown = |code| count_of(&after, code) - count_of(&before, code);
    assert_eq!((grown("wr:square:accepted"), grown("wr:other:other")), (20, 10));
    let sizes = |tally| match value_of(tally, "wv:toast") {
        Some(Value::Sizes { buckets, sum_micros }) => (buckets[0], *buckets.last().unwrap(), sum_micros),
        _ => (0, 0, 0),
    };
    let (first, last, sum) = sizes(&before);
    assert_eq!(sizes(&after), (first + 10, last + 10, sum + 10 * 60_000_700));
    let Some(Value::Count { last: Some(last), .. }) = value_of(&after, "wr:square:accepted") else {
        panic!("when it was last counted is kept");
    };
    assert!(jiff::Timestamp::now().duration_since(last).as_secs() < 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_away_delays_little_and_loses_nothing() {
    let _turn = TURN.lock().await;
    let table = stack().output("CoordinationTable").unwrap();
    let at = |endpoint: &str| {
        let client = aws_sdk_dynamodb::Client::new(&stack().config_at(endpoint));
        Flushes::new(Counters::new(client, table.to_owned(), "upkeep"))
    };
    let _ = shared::telemetry::take();
    // Somebody who takes the call and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = at(&format!("http://{}", silent.local_addr().unwrap()));
    metrics::answered("accepted", "repeat");
    let started = std::time::Instant::now();
    away.after_answer().await;
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    metrics::answered("accepted", "repeat");
    let kept = shared::telemetry::take();
    assert_eq!((count_of(&kept, "an:accepted:repeat"), count_of(&kept, "ff:other")), (2, 1));
    shared::telemetry::put_back(&kept);

    let reader = Counters::new(aws_sdk_dynamodb::Client::new(&stack().config()), table.to_owned(), "upkeep");
    let before = count_of(&reader.read().await.unwrap(), "an:accepted:repeat");
    let there = at(stack().endpoint());
    there.after_answer().await;
    assert!(shared::telemetry::take().is_empty());
    // Not again within ten seconds: what is counted until then waits.
    metrics::answered("accepted", "repeat");
    there.after_answer().await;
    assert_eq!(count_of(&shared::telemetry::take(), "an:accepted:repeat"), 1);
    assert_eq!(count_of(&reader.read().await.unwrap(), "an:accepted:repeat"), before + 2);
}

#[test]
fn ten_thousand_tenants_make_no_more_series_than_one() {
    let _turn = TURN.blocking_lock();
    let _ = shared::telemetry::take();
    let providers = [ProviderKind::Square, ProviderKind::Toast, ProviderKind::Lightspeed];
    let ways = [Way::Webhook, Way::Sync, Way::Backfill, Way::Remapping, Way::Resend];
    let now = jiff::Timestamp::now();
    for tenant in 0..10_000_u16 {
        let hostile = format!("t_{tenant}\n{{\"_aws\":{{}}}}:/@#{{tenant=\"{tenant}\"}}");
        let (provider, way) = (providers[usize::from(tenant) % 3], ways[usize::from(tenant) % 5]);
        let age = jiff::SignedDuration::from_secs(i64::from(tenant));
        metrics::handed_over(provider, way, now - age);
        metrics::webhook_handed_over(provider, now + age);
        metrics::accepted(now - age);
        metrics::webhook_received(&hostile, "accepted");
        metrics::webhook_received(provider.as_str(), &hostile);
        metrics::webhook_verified(provider, Duration::from_millis(u64::from(tenant)));
        for outcome in ["done", "repeat", "ignored", "failed", &hostile] {
            metrics::delivery_ended(provider, outcome, &hostile);
        }
        metrics::transactions(provider, way, &hostile, 1);
        metrics::sales_sent(way, 1, 1);
        metrics::answered(&hostile, &hostile);
        metrics::swept(1, 1, 1);
        metrics::reply_parked();
        metrics::command_ended(provider, &hostile);
        metrics::postponed(&hostile);
        metrics::provider_asked(provider, &hostile, Some(tenant), Duration::from_secs(u64::from(tenant)));
        metrics::rate_limited(provider, tenant.is_multiple_of(2));
        metrics::token_refreshed(provider, &hostile);
        metrics::request_answered(tenant, Duration::from_millis(u64::from(tenant)));
        metrics::denied(&hostile);
        metrics::flush_failed();
    }
    let counted = shared::telemetry::take();
    let most: usize = metrics::CATALOGUE.iter().map(|metric| metric.most_series()).sum();
    println!("10000 tenants: {} series; the catalogue allows {most}", counted.series_count());
    assert!(counted.series_count() <= most && most <= 1_000, "{most}");
    let names: String = counted.iter().map(|(series, _)| series.code()).collect();
    // Other tests count into the same process, so pieces of the hostile labels are looked for that no series has.
    assert!(!names.contains("_aws") && !names.contains("@#") && !names.contains('\n'), "{names}");
}

/// The catalogue as a page for people.
fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\nWritten by `UPDATE_SCHEMAS=1` with the tests of `shared`, from `shared/src/telemetry/metrics/catalogue.rs`.\n\n\
         | metric | labels | what it is |\n|---|---|---|\n",
    );
    for metric in metrics::CATALOGUE {
        let label = |label: &metrics::Label| format!("`{}`: {}", label.name, label.values.join(", "));
        let labels: Vec<_> = metric.labels.iter().map(label).collect();
        let buckets = match metric.kind {
            Kind::Counter => String::new(),
            Kind::Histogram(bounds) => {
                let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
                format!(". Buckets: {} s", bounds.join(", "))
            }
        };
        page += &format!("| `{}` | {} | {}{buckets} |\n", metric.name, labels.join("; "), metric.help);
    }
    page
}

#[test]
fn the_page_of_metrics_is_the_catalogue() {
    let file = local::workspace().join("infra/dashboards/METRICS.md");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, page()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), page(), "run it with UPDATE_SCHEMAS=1");
}
