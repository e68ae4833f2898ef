//! Subscriptions, and what is sent to them.
//!
//! A signature covers the registered URL and the exact bytes of the body, so
//! the body is made once and kept with the event.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{ApiError, read_json};
use super::script::Event;
use super::{API_VERSION, Square, World};
use crate::clock::rfc3339;
use crate::delivery::{Letter, Parcel, Sending, signature};
use crate::json::Build;
use crate::shelf::Draft;
use crate::stage::{EventRecord, Tells};

const SALE_EVENTS: [&str; 7] = [
    "order.created",
    "order.updated",
    "payment.created",
    "payment.updated",
    "refund.created",
    "refund.updated",
    "oauth.authorization.revoked",
];
/// What else can be subscribed to.
const STOCK_EVENT: &str = "inventory.count.updated";

/// Where notifications go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Square's id, `wbhk_…`.
    pub id: String,
    /// The URL that is signed together with each body.
    pub notification_url: String,
    /// The HMAC key, used as the text it is.
    pub signature_key: String,
}

#[derive(Debug, Clone)]
pub struct Registered {
    subscription: Subscription,
    name: String,
    event_types: Vec<String>,
    api_version: String,
    created_at: String,
    updated_at: String,
    rotations: usize,
    /// When a notification is discarded, in shop time.
    window: Duration,
}

/// Square's published schedule: 1, 2, 4, … 32 minutes, then every hour.
fn pause_before(retry: u32) -> Duration {
    let minutes = if retry <= 6 { 1 << (retry - 1) } else { 60 };
    Duration::from_secs(60 * minutes)
}

impl Tells for Square {
    fn tell(&self, world: &mut World, merchant_id: &str, event: &Event, at: Timestamp, echo: u32) {
        let name = format!("event/{}/{}/{}", event.event_type, event.object_id, event.revision);
        let name = if echo == 0 { name } else { format!("{name}/{echo}") };
        let event_id = self.seed.draws(&name).uuid();
        let body = json!({
            "merchant_id": merchant_id,
            "type": event.event_type,
            "event_id": event_id,
            "created_at": rfc3339(at),
            "data": {"type": event.object_type, "id": event.object_id, "object": event.object.write()},
        });
        let record = EventRecord {
            event_id,
            event_type: event.event_type.to_owned(),
            merchant_id: merchant_id.to_owned(),
            object_id: event.object_id.clone(),
            order_id: event.order_id.clone(),
            body: body.to_string(),
        };
        world.events.push(record.clone());
        if !world.own.allows(merchant_id, event.scope) {
            return;
        }
        for registered in &world.own.subscriptions {
            if registered.event_types.iter().any(|wanted| wanted == event.event_type) {
                self.send(&registered.subscription, &record, &registered.parcel(&record.body, at));
            }
        }
    }
}

impl Square {
    pub(super) fn announce_revocation(&self, world: &mut World, merchant_id: &str, revoker: &str) {
        let now = self.clock.now();
        let revocation = json!({"revocation": {"revoked_at": rfc3339(now), "revoker_type": revoker}});
        let event = Event {
            event_type: "oauth.authorization.revoked",
            scope: "",
            object_type: "revocation",
            object_id: self.seed.draws(&format!("revocation/{}", world.events.len())).uuid(),
            order_id: String::new(),
            revision: 1,
            object: Draft::of(move || revocation.clone()),
        };
        self.tell(world, merchant_id, &event, now, 0);
    }

    pub(super) fn subscribe_to_sales(&self, notification_url: &str) -> Subscription {
        let events = SALE_EVENTS.map(str::to_owned).to_vec();
        self.register("Sales", notification_url, events, API_VERSION).subscription
    }

    fn register(&self, name: &str, notification_url: &str, event_types: Vec<String>, api_version: &str) -> Registered {
        let mut world = self.world();
        let mut draws = self.seed.draws(&format!("subscription/{}", world.own.subscriptions.len()));
        // Not RFC 3339, as in Square's own samples.
        let now = self.clock.now().strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string();
        let registered = Registered {
            subscription: Subscription {
                id: format!("wbhk_{}", draws.uuid().replace('-', "")),
                notification_url: notification_url.to_owned(),
                signature_key: draws.secret(22),
            },
            name: name.to_owned(),
            event_types,
            api_version: api_version.to_owned(),
            created_at: now.clone(),
            updated_at: now,
            rotations: 0,
            window: self.options.retry_window,
        };
        world.own.subscriptions.push(registered.clone());
        registered
    }
}

impl Registered {
    fn parcel(&self, body: &str, at: Timestamp) -> Parcel {
        let Subscription { notification_url, signature_key, .. } = self.subscription.clone();
        let (body, version, first) = (body.to_owned(), self.api_version.clone(), rfc3339(at));
        let letter = move |sending: &Sending| {
            let key = if sending.wrong { "another key" } else { &signature_key };
            let mut headers = vec![
                ("x-square-hmacsha256-signature", signature(key, &notification_url, &body)),
                ("square-environment", "Sandbox".to_owned()),
                ("square-version", version.clone()),
                ("square-initial-delivery-timestamp", first.clone()),
            ];
            if let Some(reason) = &sending.last_failure {
                headers.push(("square-retry-number", sending.retry.to_string()));
                headers.push(("square-retry-reason", reason.clone()));
            }
            Letter { headers, body: body.clone() }
        };
        Parcel { letter: Arc::new(letter), pause: |retry, _| Some(pause_before(retry)), window: Some(self.window) }
    }

    /// Only the answer to a creation shows the key.
    fn json(&self) -> Value {
        json!({
            "id": self.subscription.id,
            "name": self.name,
            "enabled": true,
            "event_types": self.event_types,
            "notification_url": self.subscription.notification_url,
            "api_version": self.api_version,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    #[serde(default)]
    idempotency_key: String,
    subscription: NewSubscription,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSubscription {
    name: String,
    event_types: Vec<String>,
    notification_url: String,
    api_version: Option<String>,
}

pub async fn create(State(square): State<Arc<Square>>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: CreateRequest = read_json(&body)?;
    let new = request.subscription;
    if request.idempotency_key.len() > 45 || new.name.len() > 64 {
        return Err(ApiError::bad_request("idempotency_key takes 45 characters at most, name 64."));
    }
    let is_sent = |wanted: &&String| wanted.as_str() == STOCK_EVENT || SALE_EVENTS.contains(&wanted.as_str());
    if let Some(unknown) = new.event_types.iter().find(|wanted| !is_sent(wanted)) {
        let detail = format!("The simulator sends no `{unknown}`; it sends {}, {STOCK_EVENT}.", SALE_EVENTS.join(", "));
        return Err(ApiError::bad_request(detail).field("subscription.event_types"));
    }
    if let Err(error) = reqwest::Url::parse(&new.notification_url) {
        let detail = format!("notification_url is no URL: {error}");
        return Err(ApiError::bad_request(detail).field("subscription.notification_url"));
    }
    let version = new.api_version.as_deref().unwrap_or(API_VERSION);
    let registered = square.register(&new.name, &new.notification_url, new.event_types, version);
    let json = registered.json().with("signature_key", registered.subscription.signature_key.clone());
    Ok(Json(json!({"subscription": json})))
}

pub async fn list(State(square): State<Arc<Square>>) -> Json<Value> {
    let all: Vec<Value> = square.world().own.subscriptions.iter().map(Registered::json).collect();
    Json(json!({}).with_list("subscriptions", all.into_iter()))
}

/// Does something with one subscription, or says that there is none of that id.
fn with<T>(square: &Square, id: &str, act: impl FnOnce(&mut Registered) -> T) -> Result<T, ApiError> {
    let mut world = square.world();
    let found = world.own.subscriptions.iter_mut().find(|registered| registered.subscription.id == id);
    found.map(act).ok_or_else(|| ApiError::not_found("Webhook subscription not found").field("subscription_id"))
}

pub async fn get(State(square): State<Arc<Square>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let json = with(&square, &id, |registered| registered.json())?;
    Ok(Json(json!({"subscription": json})))
}

pub async fn delete(State(square): State<Arc<Square>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    with(&square, &id, |_| ())?;
    square.world().own.subscriptions.retain(|registered| registered.subscription.id != id);
    Ok(Json(json!({})))
}

/// Changes the key at once; what is under way keeps the old signature.
pub async fn rotate_key(State(square): State<Arc<Square>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let key = with(&square, &id, |registered| {
        registered.rotations += 1;
        let name = format!("rotation/{id}/{}", registered.rotations);
        registered.subscription.signature_key = square.seed.draws(&name).secret(22);
        registered.subscription.signature_key.clone()
    })?;
    Ok(Json(json!({"signature_key": key})))
}

#[derive(Debug, Deserialize)]
pub struct TestRequest {
    event_type: Option<String>,
}

/// Sends a notification that is about nothing and answers with what the receiver said.
pub async fn test(
    State(square): State<Arc<Square>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let request: TestRequest = read_json(&body)?;
    let registered = with(&square, &id, |registered| registered.clone())?;
    let now = square.clock.now();
    let mut draws = square.seed.draws(&format!("test/{id}/{now}"));
    let event_id = draws.uuid();
    let payload = json!({
        "merchant_id": square.merchant(None).map(|merchant| merchant.id.clone()).unwrap_or_default(),
        "type": request.event_type.unwrap_or_else(|| "webhooks.test_notification".to_owned()),
        "event_id": event_id,
        "created_at": rfc3339(now),
        "data": {"type": "webhooks", "id": draws.uuid()},
    })
    .to_string();
    let url = &registered.subscription.notification_url;
    let attempt = square.post.attempt(url, &registered.parcel(&payload, now), 0, None).await;
    Ok(Json(json!({"subscription_test_result": {
        "id": event_id,
        "status_code": attempt.status.unwrap_or(504),
        "payload": payload,
        "created_at": rfc3339(now),
        "updated_at": rfc3339(now),
    }})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::vectors;

    #[test]
    fn the_signer_agrees_with_the_vendors_vectors() {
        for vector in vectors("square") {
            let text = |key: &str| vector[key].as_str().unwrap_or_default();
            // Square's helper refuses an empty key, URL or body before it computes anything.
            if [text("signature_key"), text("notification_url"), text("body")].contains(&"") {
                continue;
            }
            let signed = signature(text("signature_key"), text("notification_url"), text("body"));
            let agrees = signed == text("signature_header");
            assert_eq!(agrees, text("expected") == "valid", "{}", vector["name"]);
        }
    }

    #[test]
    fn retries_double_and_then_come_hourly() {
        let minutes = [1, 2, 3, 6, 7, 30].map(|retry| pause_before(retry).as_secs() / 60);
        assert_eq!(minutes, [1, 2, 4, 32, 60, 60]);
    }
}
