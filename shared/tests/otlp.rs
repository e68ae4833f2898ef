//! Spans reach a receiver, after the answer and in bounded time. `make otlp` builds and runs it: nothing else has the feature.
//!
//! What is exported is decided once in a process, by its environment; so each case is a process of its own.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly"
)]

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::domain::ProviderKind;
use shared::invocation::Flushes;
use shared::store::counters::Counters;
use shared::telemetry::{self, Line, TraceParent, metrics};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<(HeaderMap, Value)>>>);

/// A receiver that answers, or one that never does. It ends with the test's runtime.
async fn receiver(answers: bool) -> (String, Received) {
    let received = Received::default();
    let take = async move |State(received): State<Received>, headers: HeaderMap, Json(body): Json<Value>| {
        received.0.lock().unwrap().push((headers, body));
        if !answers {
            std::future::pending::<()>().await;
        }
        Json(json!({}))
    };
    let router = Router::new().route("/v1/traces", post(take)).with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

/// Lets a process do the work below.
async fn work_with(variables: &[(&str, &str)]) -> Output {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "work", "--ignored", "--nocapture"]);
    let lambdas = [("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "key")];
    process.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT").env("RUST_LOG", "warn").envs(lambdas);
    process.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9").envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || process.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

#[tokio::test]
#[ignore = "the process that `work_with` starts"]
async fn work() {
    telemetry::init("normalizer");
    // Nobody is there: what is counted cannot be added, and the spans go all the same.
    let config = shared::aws::config_from_env().unwrap();
    let counters = Counters::new(aws_sdk_dynamodb::Client::new(&config), "none".into(), "normalizer");
    let flushes = Flushes::new(counters);
    for caller in [CALLER, UNSAMPLED] {
        let line = Line::begin("delivery").of_tenant("bakery").traced(&TraceParent::from_header(Some(caller)));
        metrics::provider_asked(ProviderKind::Square, "fetch_order", Some(503), Duration::from_millis(20));
        line.ended("failed", "unreadable_payload").end("worked on a delivery");
    }
    Line::begin("tick").end("looked after configurations");
    for _ in 0..2 {
        let begun = Instant::now();
        flushes.after_answer().await;
        println!("flushed after {:?}", begun.elapsed());
        // Half a second each for the spans and the table.
        assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    }
}

fn spans(received: &Received) -> Vec<Value> {
    let received = received.0.lock().unwrap();
    let scopes = received.iter().flat_map(|(_, body)| body["resourceSpans"][0]["scopeSpans"].as_array().unwrap());
    scopes.flat_map(|scope| scope["spans"].as_array().unwrap()).cloned().collect()
}

fn attribute<'a>(attributes: &'a Value, key: &str) -> &'a Value {
    let found = attributes["attributes"].as_array().unwrap().iter().find(|it| it["key"] == key);
    &found.unwrap_or_else(|| panic!("no {key}: {attributes:#}"))["value"]
}

#[tokio::test]
async fn every_unit_is_a_span_of_its_trace_with_the_providers_requests_inside() {
    let (url, received) = receiver(true).await;
    work_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=k1")]).await;
    {
        let received = received.0.lock().unwrap();
        assert_eq!(received.len(), 1, "what was sent is not sent again");
        let (headers, body) = &received[0];
        assert_eq!(headers["x-key"], "k1");
        let resource = &body["resourceSpans"][0]["resource"];
        assert_eq!(attribute(resource, "service.name")["stringValue"], "normalizer");
    }
    let spans = spans(&received);
    let names: Vec<_> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["delivery", "square fetch_order", "tick"], "and nothing of a trace that is not sampled");
    let (delivery, asked, tick) = (&spans[0], &spans[1], &spans[2]);
    assert_eq!(delivery["traceId"], CALLER[3..35]);
    assert_eq!(delivery["parentSpanId"], CALLER[36..52]);
    assert_eq!(attribute(delivery, "tenant.id")["stringValue"], "bakery");
    assert_eq!(attribute(delivery, "reason")["stringValue"], "unreadable_payload");
    assert_eq!(attribute(delivery, "provider_calls")["intValue"], json!("1"));
    assert_eq!(delivery["status"]["code"], 2);
    assert_eq!((&asked["traceId"], &asked["parentSpanId"]), (&delivery["traceId"], &delivery["spanId"]));
    assert_ne!(tick["traceId"], delivery["traceId"]);
    let nanos = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
    let took = nanos(asked, "endTimeUnixNano") - nanos(asked, "startTimeUnixNano");
    assert_eq!(took, 20_000_000);
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_costs_half_a_second_and_is_left_alone_then() {
    let (url, received) = receiver(false).await;
    let output = work_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
    assert_eq!(received.0.lock().unwrap().len(), 1);
    let log = String::from_utf8(output.stdout).unwrap();
    assert_eq!(log.matches("spans were not taken").count(), 1, "{log}");
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_sent() {
    // The library would take this one; whether anything is exported, ours alone decides.
    let (url, received) = receiver(true).await;
    let traces = format!("{url}/v1/traces");
    work_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", ""), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces)]).await;
    assert!(received.0.lock().unwrap().is_empty());
}
