//! Square: what is refused and where, and its signature.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use shared::domain::{Configuration, Environment, ProviderKind, Transaction};
use shared::providers::{DeliveryHeaders, PayloadError, PayloadProblem, Providers, RawOrder, WebhookDelivery};

use crate::conformance::samples;
use crate::scenarios::configuration;

fn normalize(order: &Value, configuration: &Configuration) -> Result<Vec<Transaction>, PayloadError> {
    let raw = RawOrder {
        body: serde_json::to_vec(order).unwrap(),
        location: None,
        paid_offline_at: None,
        observed_at: Timestamp::UNIX_EPOCH,
    };
    providers().get(ProviderKind::Square).normalize_order(&raw, configuration)
}

fn providers() -> &'static Providers {
    crate::accounts::pure()
}

fn own(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/fixtures/square/{name}.json"));
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn an_order_that_cannot_be_taken_is_refused_with_the_place() {
    let configuration = configuration(ProviderKind::Square, &[("SHOP1", "America/New_York", "USD")]);
    let mut draft = own("simple_sale");
    draft["state"] = "DRAFT".into();
    assert_eq!(normalize(&draft, &configuration), Ok(Vec::new()));

    type Change = fn(&mut Value);
    let cases: [(&str, PayloadProblem, Change); 8] = [
        ("location_id", PayloadProblem::UnknownLocation, |order| order["location_id"] = "ELSEWHERE".into()),
        ("state", PayloadProblem::Invalid, |order| order["state"] = "PARKED".into()),
        ("state", PayloadProblem::Missing, |order| order["state"] = Value::Null),
        ("total_money", PayloadProblem::Missing, |order| order["total_money"]["amount"] = Value::Null),
        ("line_items[0].quantity", PayloadProblem::Invalid, |order| {
            order["line_items"][0]["quantity"] = "a few".into()
        }),
        ("line_items[0].gross_sales_money", PayloadProblem::MixedCurrencies, |order| {
            order["line_items"][0]["gross_sales_money"]["currency"] = "EUR".into();
        }),
        ("tenders[0].amount_money.amount", PayloadProblem::Unreadable, |order| {
            order["tenders"][0]["amount_money"]["amount"] = serde_json::json!(7.5);
        }),
        ("line_items", PayloadProblem::AmountOutOfRange, |order| {
            let line = &mut order["line_items"][0];
            line["gross_sales_money"]["amount"] = i64::MAX.into();
            let line = line.clone();
            order["line_items"] = vec![line.clone(), line].into();
        }),
    ];
    for (path, problem, change) in cases {
        let mut order = own("simple_sale");
        change(&mut order);
        assert_eq!(normalize(&order, &configuration), Err(PayloadError { path: path.into(), problem }), "{path}");
    }
}

#[test]
fn the_vendors_signature_vectors_hold() {
    let Some(folder) = samples("square") else { return };
    let vectors = read(&folder.join("signature-vectors.json"));
    let vectors = vectors["vectors"].as_array().unwrap();
    for vector in vectors {
        let text = |field: &str| vector[field].as_str().unwrap();
        // Given as text, or as base64 where the bytes are no text.
        let is_valid = is_signed(
            text("notification_url"),
            text("signature_key"),
            text("signature_header"),
            text("body").as_bytes(),
        );
        // What Square's helper calls a mistake in the configuration is for us just another refusal.
        assert_eq!(is_valid, text("expected") == "valid", "{}", text("name"));
    }
    println!("{} signature vectors hold", vectors.len());
    assert!(vectors.len() >= 20);
}

/// Computed with another tool: `printf '%s%s' URL BODY | openssl dgst -sha256 -hmac KEY -binary | base64`.
#[test]
fn a_signature_covers_every_byte_of_url_and_body() {
    let (url, key, body) = ("https://pos.example.com/api/v1/webhooks/square", "a-signature-key", br#"{"a":1}"#);
    let signature = "MoVuBNIMjBDEoEJFl7jgeYigchLSq/BQVsGNUdNCJWo=";
    assert!(is_signed(url, key, signature, body));
    for (url, key, signature, body) in [
        ("https://pos.example.com/api/v1/webhooks/square/", key, signature, body.as_slice()),
        (url, "another-key", signature, body),
        (url, key, "", body),
        (url, key, "not base64!", body),
        (url, key, signature, br#"{"a":2}"#),
        (url, key, signature, b""),
    ] {
        assert!(!is_signed(url, key, signature, body), "{url} {key} {signature} {body:?}");
    }
}

fn is_signed(url: &str, key: &str, signature: &str, body: &[u8]) -> bool {
    let secret = serde_json::json!({ "id": "wbhk_1", "notification_url": url, "signature_key": key });
    let other =
        serde_json::json!({ "id": "wbhk_2", "notification_url": "https://other.example.com", "signature_key": "k" });
    let secrets = [serde_json::from_value(other).unwrap(), serde_json::from_value(secret).unwrap()];
    let headers: DeliveryHeaders = [("X-Square-HmacSha256-Signature", signature)].into_iter().collect();
    let (received_at, environment) = (Timestamp::UNIX_EPOCH, Environment::Production);
    let delivery = WebhookDelivery { headers: &headers, body, received_at, environment };
    let verified = providers().get(ProviderKind::Square).verify_webhook(delivery, &secrets);
    verified.is_ok_and(|verified| verified.secret_id() == "wbhk_1")
}
