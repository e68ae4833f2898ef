use std::collections::BTreeMap;

use base64::Engine;
use hmac::{Hmac, Mac};
use sandbox::{DeliveryState, Faults, SaleKind, Sandbox, SandboxOptions};
use serde_json::json;
use sha2::Sha256;

use crate::receiver::{Got, Receiver};
use crate::{Client, PATIENCE, quick};

fn is_signed(got: &Got, key: &str, url: &str) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(url.as_bytes());
    mac.update(&got.body);
    let expected = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    got.header("x-square-hmacsha256-signature") == Some(expected.as_str())
}

#[tokio::test]
async fn a_receiver_that_fails_at_first_sees_the_same_bytes_again() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let (receiver, url) = Receiver::answering(&[500, 301, 401]).await;
    let subscription = sandbox.subscribe(&url);
    sandbox.grant(None, &[]).unwrap();
    sandbox.ring_up(SaleKind::Simple).unwrap();
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();

    let events = sandbox.events();
    let types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(types, ["payment.created", "payment.updated", "payment.updated"]);
    let got = receiver.got();
    assert_eq!(got.len(), 6, "three events and three failures");
    for delivery in &got {
        assert!(is_signed(delivery, &subscription.signature_key, &url));
        let event = events.iter().find(|event| event.event_id == delivery.event_id()).unwrap();
        assert_eq!(delivery.body, event.body.as_bytes());
        assert_eq!(delivery.header("content-type"), Some("application/json"));
        assert_eq!(delivery.header("square-environment"), Some("Sandbox"));
        let (number, reason) = (delivery.header("square-retry-number"), delivery.header("square-retry-reason"));
        assert_eq!(number.is_some(), reason == Some("http_error"));
    }
    let retries = got.iter().filter(|delivery| delivery.header("square-retry-number").is_some());
    assert_eq!(retries.count(), 3);
    for delivery in sandbox.deliveries() {
        assert_eq!(delivery.state, DeliveryState::Delivered);
        assert_eq!(delivery.attempts.last().unwrap().status, Some(200));
    }
}

#[tokio::test]
async fn nobody_home_is_given_up_at_the_end_of_the_window() {
    let sandbox = Sandbox::start(SandboxOptions { speed: 1_000_000.0, ..quick() }).unwrap();
    sandbox.grant(None, &[]).unwrap();
    sandbox.subscribe("http://127.0.0.1:9/hook");
    sandbox.ring_up(SaleKind::Cash).unwrap();
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();
    for delivery in sandbox.deliveries() {
        assert_eq!(delivery.state, DeliveryState::GivenUp);
        // 1 + 2 + … + 32 minutes are the first seven attempts, then one an hour.
        assert_eq!(delivery.attempts.len(), 29);
    }
}

#[tokio::test]
async fn till_sales_have_no_order_events_and_api_orders_have_versions() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = Client::of(&sandbox);
    for (kind, order_events) in [(SaleKind::Tip, 0), (SaleKind::Api, 3)] {
        let sale = sandbox.ring_up(kind).unwrap();
        sandbox.wait_until_quiet(PATIENCE).await.unwrap();
        let events = sandbox.events();
        let told =
            events.iter().filter(|event| event.order_id == sale.order_id && event.event_type.starts_with("order."));
        assert_eq!(told.count(), order_events, "{kind:?}");
        let (_, answer) = client.get(&format!("/v2/orders/{}", sale.order_id)).await;
        assert_eq!(answer["order"]["version"].is_u64(), order_events > 0);
    }
}

#[tokio::test]
async fn a_sellers_events_need_the_sellers_consent() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let (receiver, url) = Receiver::answering(&[]).await;
    sandbox.subscribe(&url);
    sandbox.ring_up(SaleKind::Simple).unwrap();
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();
    assert!(receiver.got().is_empty());
    sandbox.grant(None, &["ORDERS_READ"]).unwrap();
    sandbox.ring_up(SaleKind::Api).unwrap();
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();
    assert_eq!(receiver.got().len(), 3, "order events only");
}

#[tokio::test]
async fn duplicates_and_losses_are_counted() {
    let options = SandboxOptions { duplicates_percent: 100, disorder_percent: 50, ..quick() };
    let sandbox = Sandbox::start(options).unwrap();
    let (receiver, url) = Receiver::answering(&[]).await;
    sandbox.subscribe(&url);
    sandbox.grant(None, &[]).unwrap();
    sandbox.set_faults(Faults { lose_webhooks: 2, ..Faults::default() });
    sandbox.play(10);
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();
    let progress = sandbox.progress();
    assert_eq!((progress.rung_up, progress.lost), (10, 4), "{progress:?}");
    assert_eq!(progress.deliveries, 2 * progress.events);
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for got in receiver.got() {
        *copies.entry(got.event_id()).or_default() += 1;
    }
    assert_eq!(copies.len(), progress.events - 2);
    assert!(copies.values().all(|count| *count == 2));
}

#[tokio::test]
async fn subscriptions_are_made_with_the_applications_token_and_keys_can_be_changed() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let (receiver, url) = Receiver::answering(&[]).await;
    let new = json!({"idempotency_key": "1", "subscription": {
        "name": "Sales", "event_types": ["payment.updated"], "notification_url": url, "api_version": "2025-08-20",
    }});
    let seller = Client::of(&sandbox);
    assert_eq!(seller.post("/v2/webhooks/subscriptions", new.clone()).await.0, 401);
    let owner = Client::with_token(&sandbox, &sandbox.application().access_token);
    let (status, made) = owner.post("/v2/webhooks/subscriptions", new).await;
    assert_eq!(status, 200, "{made}");
    let path = format!("/v2/webhooks/subscriptions/{}", made["subscription"]["id"].as_str().unwrap());
    let (_, shown) = owner.get(&path).await;
    assert!(shown["subscription"].get("signature_key").is_none(), "the key is shown once");

    let (_, rotated) = owner.post(&format!("{path}/signature-key"), json!({})).await;
    let (_, tested) = owner.post(&format!("{path}/test"), json!({"event_type": "payment.updated"})).await;
    assert_eq!(tested["subscription_test_result"]["status_code"], 200);
    assert!(is_signed(&receiver.got()[0], rotated["signature_key"].as_str().unwrap(), &url));

    assert_eq!(owner.ask(reqwest::Method::DELETE, &path, None).await, (200, json!({})));
    assert_eq!(owner.get(&path).await.0, 404);
}
