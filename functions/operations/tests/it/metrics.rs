//! What Prometheus reads: bounded calls, the formats that its own tool accepts, and only names that are known.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use aws_sdk_dynamodb::types::AttributeValue;
use local::{Fault, Proxy, workspace};
use operations::GAUGES;
use serde_json::Value;
use shared::store::counters::Counters;
use shared::telemetry::metrics::{CATALOGUE, Kind, Series, Tally, Value as Counted};
use tokio::sync::OnceCell;

use crate::bench::{app, get, stack};

const ROUTE: &str = "/api/v1/metrics";

/// Adds one of each metric, as two functions would, once for all tests.
async fn count_something() {
    static COUNTED: OnceCell<()> = OnceCell::const_new();
    COUNTED.get_or_init(count).await;
}

async fn count() {
    let mut tally = Tally::default();
    for code in ["wr:square:accepted", "wr:square:unauthorized", "ts:square:webhook", "ss:webhook:sent"] {
        let series = Series::parse(code).unwrap();
        let mut value = Counted::zero(series.metric.kind);
        match &mut value {
            Counted::Count { count, last } => (*count, *last) = (3, Some(jiff::Timestamp::now())),
            Counted::Sizes { buckets, sum_micros } => (buckets[1], *sum_micros) = (3, 1_500_000),
        }
        tally.add(&series, &value);
    }
    let stack = stack().await;
    for function in ["webhooks", "normalizer"] {
        let client = aws_sdk_dynamodb::Client::new(&stack.config());
        let table = stack.output("CoordinationTable").unwrap().to_owned();
        Counters::new(client, table, function).add(&tally).await.unwrap();
    }
}

fn promtool() -> String {
    let ours = workspace().join(".local/promtool/usr/bin/promtool");
    if ours.exists() { ours.to_str().unwrap().to_owned() } else { "promtool".to_owned() }
}

/// The value of a line.
fn value(text: &str, line: &str) -> Option<f64> {
    let found = text.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(' '));
    found.map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn a_scrape_costs_a_bounded_number_of_calls_and_the_next_one_none() {
    let proxy = Proxy::start().unwrap();
    let app = app(&proxy).await;
    let (status, media_type, text) = get(&app, ROUTE, "*/*").await;
    assert_eq!((status, media_type.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let mut calls: BTreeMap<(String, String), u32> = BTreeMap::new();
    proxy.calls().iter().for_each(|call| *calls.entry((call.name(), call.operation.clone())).or_default() += 1);
    println!("{} calls: {calls:?}", proxy.calls().len());
    let count = |name: &str| proxy.count(name);
    // The counters and the breakers; eight shards of transactions and of runs, five statuses; each queue.
    let counts = (count("dynamodb:BatchGetItem"), count("dynamodb:Query"), count("sqs:GetQueueAttributes"));
    assert_eq!(counts, (2, 8 + 8 + 5, 10));
    assert_eq!(proxy.calls().len(), 33, "nothing else, and no scan");
    let open = "application/openmetrics-text;version=1.0.0";
    let (_, media_type, again) = get(&app, ROUTE, open).await;
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(again.ends_with("# EOF\n"));
    assert_eq!(proxy.calls().len(), 33, "kept for ten seconds");
    let gauges = |text: &str| text.lines().filter(|it| it.starts_with("pos_queue_messages")).count();
    assert_eq!((gauges(&text), gauges(&again)), (18, 18));
}

#[tokio::test]
async fn prometheus_accepts_it_and_the_sums_are_those_of_all_functions() {
    count_something().await;
    let stack = stack().await;
    let dead = stack.output("SyncJobsDeadLetterQueueUrl").unwrap();
    let sqs = aws_sdk_sqs::Client::new(&stack.config());
    sqs.send_message().queue_url(dead).message_body("dead").send().await.unwrap();
    // A connection, as far as the index knows it, and a transaction that nobody has acknowledged.
    let dynamodb = aws_sdk_dynamodb::Client::new(&stack.config());
    let of = |text: &str| AttributeValue::S(text.to_owned());
    let put = dynamodb.put_item().table_name(stack.output("ConfigurationsTable").unwrap());
    let put = put.item("tenant_id", of("t_1")).item("configuration_id", of("c"));
    put.item("status", of("reauth_required")).item("provider", of("toast")).send().await.unwrap();
    let put = dynamodb.put_item().table_name(stack.output("SyncLogsTable").unwrap());
    let put = put.item("configuration_key", of("t_1#c")).item("entry", of("other"));
    put.item("due_shard", of("3")).item("due_at", of("2026-01-01T00:00:00.000Z")).send().await.unwrap();

    let proxy = Proxy::start().unwrap();
    let (_, _, text) = get(&app(&proxy).await, ROUTE, "text/plain").await;
    for (line, expected) in [
        ("pos_webhooks_received_total{provider=\"square\",outcome=\"accepted\"}", 6.0),
        ("pos_till_to_sales_seconds_count{provider=\"square\",way=\"webhook\"}", 6.0),
        ("pos_till_to_sales_seconds_sum{provider=\"square\",way=\"webhook\"}", 3.0),
        ("pos_dead_letter_messages{queue=\"sync-jobs\"}", 1.0),
        ("pos_configurations{provider=\"toast\",status=\"reauth_required\"}", 1.0),
        ("pos_configurations{provider=\"toast\",status=\"active\"}", 0.0),
        ("pos_outbox_overdue_seconds", 0.0),
        ("pos_provider_breaker_open{provider=\"square\",environment=\"production\"}", 0.0),
        ("pos_scrape_source_up{source=\"counters\"}", 1.0),
    ] {
        assert_eq!(value(&text, line), Some(expected), "{line}\n{text}");
    }
    assert!(value(&text, "pos_sync_overdue_seconds").unwrap() > 86_400.0);
    assert!(!text.contains("t_1"), "no tenant");

    let mut child = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool is missing ({error}): run `make lint`"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
    println!("promtool check metrics: {} lines accepted {said}", text.lines().count());
}

#[tokio::test]
async fn what_cannot_be_asked_is_left_out_and_said_to_be() {
    let proxy = Proxy::start().unwrap();
    proxy.hit_named("sqs:GetQueueAttributes", 4, Fault::Status500);
    let (status, _, text) = get(&app(&proxy).await, ROUTE, "*/*").await;
    assert_eq!(status, 200);
    assert_eq!(value(&text, "pos_scrape_source_up{source=\"queues\"}"), Some(0.0));
    assert_eq!(value(&text, "pos_scrape_source_up{source=\"sync\"}"), Some(1.0));
    assert!(!text.contains("pos_queue_messages{"));
}

#[tokio::test]
async fn the_receiver_of_webhooks_tells_what_it_takes_and_when_it_was_last_given_something() {
    count_something().await;
    let proxy = Proxy::start().unwrap();
    let app = app(&proxy).await;
    let (status, _, body) = get(&app, "/api/v1/webhooks/{pos_system}/status", "*/*").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["pos_system"], &body["status"]), (200, &"square".into(), &"up".into()));
    assert!(body["event_types"].as_array().unwrap().contains(&"payment.updated".into()));
    assert!(body["deliveries"]["accepted"].as_u64().unwrap() >= 6, "{body}");
    assert!(body["deliveries"]["refused"].as_u64().unwrap() >= 6, "{body}");
    assert!(body["last_delivery_age_seconds"].as_u64().unwrap() < 60, "{body}");
    get(&app, "/api/v1/webhooks/{pos_system}/status", "*/*").await;
    assert_eq!(proxy.calls().len(), 1, "a stranger buys no reads");
}

/// Every word that looks like one of our metrics.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| word.starts_with("pos_")).map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboards_speak_only_of_what_is_measured() {
    let mut known: BTreeSet<String> = GAUGES.iter().map(|gauge| gauge.name.to_owned()).collect();
    for metric in CATALOGUE {
        match metric.kind {
            Kind::Counter => drop(known.insert(metric.name.to_owned())),
            Kind::Histogram(_) => {
                known.extend(["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", metric.name)))
            }
        }
    }
    for name in ["prometheus-rules.yaml", "grafana.json"] {
        let text = std::fs::read_to_string(workspace().join("infra/dashboards").join(name)).unwrap();
        let found = names(&text);
        assert!(found.len() > 10, "{name}: {found:?}");
        let unknown: Vec<_> = found.iter().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}
