//! Whether all is well: said fast, and with the name of what is not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use local::{Fault, Proxy};
use serde_json::{Value, json};

use crate::bench::{app, get};

#[tokio::test]
async fn health_asks_nobody() {
    let proxy = Proxy::start().unwrap();
    let answer = get(&app(&proxy).await, "/api/v1/health", "*/*").await;
    assert_eq!(answer, (200, "application/json".into(), r#"{"status":"ok"}"#.into()));
    assert_eq!(proxy.calls(), []);
}

/// Status and the dependencies that are not up, by name.
async fn ready(proxy: &Proxy) -> (u16, Value, BTreeMap<String, Value>) {
    let app = app(proxy).await;
    let (status, _, body) = get(&app, "/api/v1/health/ready", "*/*").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let dependencies = body["dependencies"].as_array().unwrap().clone();
    assert_eq!(dependencies.len(), 9 + 10 + 4 + 1 + 6, "tables, queues, secrets, the key, providers: {body}");
    let named = dependencies.into_iter().filter(|it| it["status"] != "up");
    (status, body["status"].clone(), named.map(|it| (it["name"].as_str().unwrap().to_owned(), it)).collect())
}

#[tokio::test]
async fn everything_is_asked_once_and_side_by_side() {
    let proxy = Proxy::start().unwrap();
    assert_eq!(ready(&proxy).await, (200, json!("up"), BTreeMap::new()));
    let mut calls: BTreeMap<String, u32> = BTreeMap::new();
    proxy.calls().iter().for_each(|call| *calls.entry(call.name()).or_default() += 1);
    let expected = [
        ("dynamodb:BatchGetItem", 1),
        ("dynamodb:GetItem", 9),
        ("kms:DescribeKey", 1),
        ("secretsmanager:DescribeSecret", 4),
        ("sqs:GetQueueAttributes", 10),
    ];
    assert_eq!(calls, expected.map(|(name, count)| (name.to_owned(), count)).into());
}

#[tokio::test]
async fn what_is_broken_or_slow_is_named_and_the_answer_comes_in_time() {
    let proxy = Proxy::start().unwrap();
    proxy.hit_named("kms:DescribeKey", 1, Fault::Status500);
    let (status, all, named) = ready(&proxy).await;
    assert_eq!((status, all), (503, json!("down")));
    assert_eq!(named.keys().collect::<Vec<_>>(), ["sealing"]);
    assert_eq!(named["sealing"]["reason"], "it refused, or could not be reached");

    let proxy = Proxy::start().unwrap();
    proxy.hit_named("sqs:GetQueueAttributes", 1, Fault::DropBefore);
    proxy.hit_named("dynamodb:GetItem", 3, Fault::Delay(Duration::from_secs(20)));
    let started = Instant::now();
    let (status, _, named) = ready(&proxy).await;
    let took = started.elapsed();
    assert_eq!(status, 503);
    assert_eq!(named.len(), 2, "{named:?}");
    let reasons: Vec<_> = named.values().map(|it| (it["kind"].as_str().unwrap(), &it["reason"])).collect();
    assert!(reasons.contains(&("queue", &json!("it refused, or could not be reached"))), "{reasons:?}");
    assert!(reasons.contains(&("table", &json!("it did not answer in time"))), "{reasons:?}");
    println!("two seconds at most: {took:?}");
    assert!(took < Duration::from_millis(2_900), "{took:?}");
}
