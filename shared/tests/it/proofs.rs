//! What proves that Toast or Lightspeed sent a delivery, and what does not. (Square's signature: `square.rs`.)

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::domain::{Environment, ProviderKind};
use shared::providers::{DeliveryHeaders, VerifiedDelivery, WebhookDelivery, WebhookSecret};

use crate::accounts::pure;
use crate::conformance::samples;

/// As the vendor would. The signatures of the tests below come from another tool; here only the way in matters.
pub fn sign<'k>(kind: ProviderKind, key: &'k str, body: &[u8], sent_at: Timestamp) -> (&'k str, DeliveryHeaders) {
    let mac = |parts: &[&[u8]]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        STANDARD.encode(mac.finalize().into_bytes())
    };
    match kind {
        ProviderKind::Square => {
            let signature = mac(&[b"https://pos.example.com", body]);
            (key, [("x-square-hmacsha256-signature", signature)].into_iter().collect())
        }
        ProviderKind::Toast => {
            let value: Value = serde_json::from_slice(body).unwrap();
            let stamp = value["timestamp"].as_str().map_or_else(|| sent_at.to_string(), str::to_owned);
            (key, [("toast-signature", mac(&[body, stamp.as_bytes()]))].into_iter().collect())
        }
        ProviderKind::Lightspeed => {
            (key, [("authorization", format!("Basic {}", STANDARD.encode(key)))].into_iter().collect())
        }
    }
}

fn secret(id: &str, key: &str) -> WebhookSecret {
    serde_json::from_value(json!({ "id": id, "signature_key": key })).unwrap()
}

/// With the right secret among others.
fn verify(
    kind: ProviderKind,
    key: &str,
    headers: &[(&str, &str)],
    body: &str,
    received_at: &str,
) -> Option<VerifiedDelivery<'static>> {
    let headers: DeliveryHeaders = headers.iter().copied().collect();
    let received_at = received_at.parse().unwrap();
    let delivery =
        WebhookDelivery { headers: &headers, body: body.as_bytes(), received_at, environment: Environment::Sandbox };
    let secrets = [secret("other", "another-key"), secret("right", key), secret("third", "a:b")];
    let verified = pure().get(kind).verify_webhook(delivery, &secrets).ok()?;
    assert_eq!((verified.secret_id(), verified.environment()), ("right", Environment::Sandbox));
    // Nothing that is kept may hold the key.
    assert!(!format!("{}{}", verified.signature(), String::from_utf8_lossy(verified.body())).contains(key));
    Some(verified.into_owned())
}

fn vectors(path: &str) -> Option<Vec<Value>> {
    let vectors: Value = serde_json::from_slice(&std::fs::read(samples(path)?).unwrap()).unwrap();
    Some(vectors["vectors"].as_array().unwrap().clone())
}

const BODY: &str = r#"{"timestamp":"2026-02-14T08:00:00.000Z","eventCategory":"order_updated","eventType":"order_updated","guid":"e1","details":{"restaurantGuid":"r1","order":{"guid":"o1"}}}"#;
/// Computed with another tool: `printf '%s%s' BODY TIMESTAMP | openssl dgst -sha256 -hmac KEY -binary | base64`.
const SIGNATURE: &str = "P8ouIXb32wo9ACSn+t31TRra0d3NCcgx5ghTzl0a3XY=";

#[test]
fn a_toast_signature_covers_the_body_and_the_time_in_it() {
    let is_signed = |key: &str, signature: &str, body: &str, received_at: &str| {
        verify(ProviderKind::Toast, key, &[("Toast-Signature", signature)], body, received_at).is_some()
    };
    let (key, now) = ("a-toast-secret", "2026-02-14T08:00:01Z");
    assert!(is_signed(key, SIGNATURE, BODY, now));
    // The second repeat, fifteen minutes later, and a clock that is behind.
    assert!(is_signed(key, SIGNATURE, BODY, "2026-02-14T08:15:04Z"));
    assert!(is_signed(key, SIGNATURE, BODY, "2026-02-14T07:56:00Z"));
    for (key, signature, body, received_at) in [
        ("a-toast-secre", SIGNATURE, BODY, now),
        (key, "", BODY, now),
        (key, "not base64!", BODY, now),
        (key, SIGNATURE, &BODY.replace("08:00:00.000Z", "08:00:00.001Z"), now),
        (key, SIGNATURE, &BODY.replace("o1", "o2"), now),
        (key, SIGNATURE, "{}", now),
        (key, SIGNATURE, "", now),
        (key, SIGNATURE, BODY, "2026-02-14T08:30:01Z"),
        (key, SIGNATURE, BODY, "2026-02-14T07:54:00Z"),
    ] {
        assert!(!is_signed(key, signature, body, received_at), "{key} {signature} {body} {received_at}");
    }
}

#[test]
fn toasts_signature_vectors_hold() {
    let Some(vectors) = vectors("toast/signature-vectors.json") else { return };
    for vector in &vectors {
        let text = |field: &str| vector[field].as_str().unwrap();
        let body: Value = serde_json::from_str(text("body")).unwrap();
        // They are years old: each arrives a second after it was sent.
        let sent_at: Timestamp = body["timestamp"].as_str().unwrap_or("2026-02-14T08:00:00Z").parse().unwrap();
        let received_at = (sent_at + SignedDuration::from_secs(1)).to_string();
        let headers = [("toast-signature", text("toast_signature"))];
        let verified = verify(ProviderKind::Toast, text("secret"), &headers, text("body"), &received_at);
        assert_eq!(verified.is_some(), text("expected") == "valid", "{}", text("name"));
        if let Some(verified) = verified {
            pure().get(ProviderKind::Toast).parse_notification(&verified).unwrap();
        }
    }
    assert!(vectors.len() >= 15);
}

#[test]
fn lightspeed_proves_itself_by_name_and_password_or_by_key() {
    let now = "2026-02-14T08:00:00Z";
    let is_proven = |key: &str, authorization: &str, body: &str| {
        verify(ProviderKind::Lightspeed, key, &[("Authorization", authorization)], body, now).is_some()
    };
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    // printf 'north:pâte:à' | base64
    assert!(is_proven("north:pâte:à", "basic bm9ydGg6cMOidGU6w6A=", "{}"));
    assert!(is_proven("k3y", "", r#"{"apiKey":"k3y","fiscId":"A1.1"}"#));
    for (key, authorization, body) in [
        ("north:pâte:à", basic("north:pâte"), "{}"),
        ("north:pâte:à", "Basic".to_owned(), "{}"),
        ("north:pâte:à", "Bearer bm9ydGg6cMOidGU6w6A=".to_owned(), "{}"),
        ("k3y", String::new(), r#"{"apiKey":"k3"}"#),
        ("k3y", String::new(), r#"{"apiKey":7}"#),
        ("k3y", String::new(), "k3y"),
        ("", basic(""), r#"{"apiKey":""}"#),
        ("", String::new(), ""),
        // Who shows a wrong password is not asked for a key.
        ("k3y", basic("north:guessed"), r#"{"apiKey":"k3y"}"#),
    ] {
        assert!(!is_proven(key, &authorization, body), "{key} {authorization} {body}");
    }
}

#[test]
fn lightspeeds_basic_vectors_hold() {
    let Some(vectors) = vectors("lightspeed/basic-auth-vectors.json") else { return };
    for vector in &vectors {
        let text = |field: &str| vector[field].as_str().unwrap_or_default();
        let key = format!("{}:{}", text("username"), text("password"));
        let headers = [("authorization", text("authorization"))];
        let verified = verify(ProviderKind::Lightspeed, &key, &headers, "{}", "2026-02-14T08:00:00Z");
        assert_eq!(verified.is_some(), text("expected") == "valid", "{}", text("name"));
    }
    assert!(vectors.len() >= 7);
}
