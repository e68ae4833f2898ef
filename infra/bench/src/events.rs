//! What the functions are given: the recorded events of `events/`, and deliveries of any size, each with an id and a signature
//! of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Map, Value, json};

/// The key of our webhook subscription at Square, and the URL that it is for.
pub const SIGNATURE_KEY: &str = "an-example-key-of-no-application";
pub const NOTIFICATION_URL: &str = "https://pos.example.com/live/api/v1/webhooks/square";

/// Root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An event as the other tests and the documentation use it.
pub fn recorded(name: &str) -> anyhow::Result<Value> {
    let path = workspace().join("events").join(name).with_extension("json");
    let text = std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// One delivery of Square's, of about so many bytes. A forged one is signed for another body.
pub fn delivery(number: usize, bytes: usize, is_forged: bool) -> anyhow::Result<Vec<u8>> {
    let body = payment_updated(number, bytes)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, SIGNATURE_KEY.as_bytes());
    let signed = format!("{NOTIFICATION_URL}{}", if is_forged { "{}" } else { &body });
    let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
    let mut event = recorded("webhooks")?;
    let mut headers: Map<String, Value> = event.get("headers").and_then(Value::as_object).cloned().unwrap_or_default();
    // What the gateway and its network add.
    for (name, value) in [
        ("x-square-hmacsha256-signature", signature.as_str()),
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip, deflate"),
        ("Host", "pos.example.com"),
        ("User-Agent", "Square Connect v2"),
        ("X-Amzn-Trace-Id", "Root=1-67891233-abcdef012345678912345678"),
        ("X-Forwarded-For", "203.0.113.7, 198.51.100.20"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Proto", "https"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ] {
        headers.insert(name.to_owned(), value.into());
    }
    let lists: Map<_, _> = headers.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
    let parts = [("headers", headers.into()), ("multiValueHeaders", lists.into()), ("body", body.into())];
    if let Some(event) = event.as_object_mut() {
        event.extend(parts.map(|(name, value): (_, Value)| (name.to_owned(), value)));
    }
    Ok(serde_json::to_vec(&event)?)
}

/// The body of a notification: the recorded one with what Square says of a card, and as many lines as fill it.
fn payment_updated(number: usize, bytes: usize) -> anyhow::Result<String> {
    let event = recorded("webhooks")?;
    let mut body: Value = serde_json::from_str(event.get("body").and_then(Value::as_str).context("it has no body")?)?;
    if let Some(id) = body.get_mut("event_id") {
        *id = format!("5f0c1f0e-8c1e-4f0e-9a59-{number:012x}").into();
    }
    let line = |line: usize| {
        json!({
            "uid": format!("line-{line:06}"), "name": format!("Oat Milk Latte \u{2013} \"large\" {line}"), "quantity": "2",
            "base_price_money": { "amount": 575, "currency": "USD" }, "total_money": { "amount": 1150, "currency": "USD" },
            "catalog_object_id": "BVFIYFB3QYQCLOLTIYJVHJXW",
        })
    };
    let room = bytes.saturating_sub(body.to_string().len() + 700);
    let lines: Vec<Value> = (0..room / line(0).to_string().len()).map(line).collect();
    let payment =
        body.pointer_mut("/data/object/payment").and_then(Value::as_object_mut).context("it has no payment")?;
    payment.insert(
        "card_details".to_owned(),
        json!({
            "card": {
                "bin": "540988", "card_brand": "MASTERCARD", "card_type": "CREDIT", "exp_month": 11, "exp_year": 2027,
                "fingerprint": "sq-1-0000000000000000000000000000000000000000000000000000000000000000", "last_4": "9029",
            },
            "card_payment_timeline": { "authorized_at": "2026-02-14T12:00:30.905Z", "captured_at": "2026-02-14T12:00:31.139Z" },
            "avs_status": "AVS_ACCEPTED", "cvv_status": "CVV_ACCEPTED", "entry_method": "KEYED", "status": "CAPTURED",
            "statement_description": "SQ *BAKERY",
        }),
    );
    payment.insert("line_items".to_owned(), lines.into());
    Ok(body.to_string())
}

/// An identity provider: its published keys, and a token of a tenant's.
pub struct Identity {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Identity {
    /// With a key of its own.
    pub fn new() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(anyhow::Error::msg)?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).map_err(anyhow::Error::msg)?;
        Ok(Self { key, random })
    }

    /// As a JSON Web Key.
    pub fn public_key(&self) -> Value {
        let point = self.key.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1", "x": x, "y": y })
    }

    /// Good for an hour.
    pub fn token(&self) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let claims = json!({
            "iss": "JWT_ISSUER", "aud": "JWT_AUDIENCE", "sub": "user-1", "tenant_id": "t_1", "roles": ["pos:read"],
            "iat": now.as_secs(), "nbf": now.as_secs() - 5, "exp": (now + Duration::from_secs(3600)).as_secs(),
        });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&json!({ "alg": "ES256", "typ": "JWT", "kid": "1" })), encode(&claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(anyhow::Error::msg)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
