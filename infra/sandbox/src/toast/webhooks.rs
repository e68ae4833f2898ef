//! What Toast tells, and to whom.
//!
//! A person at Toast makes a subscription: one category, one URL, one secret.
//! The signature covers the body and then the timestamp that stands inside it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::order::Ticket;
use super::{Toast, World};
use crate::clock::rfc3339;
use crate::delivery::{Letter, Parcel, Sending, signature};
use crate::shelf::Draft;
use crate::square::Subscription;
use crate::stage::{EventRecord, Tells};

/// Something a webhook tells.
#[derive(Debug)]
pub struct Event {
    category: &'static str,
    event_type: &'static str,
    restaurant: String,
    /// Order or item.
    object_id: String,
    order_id: String,
    /// Which change of the object this is; makes the guid.
    revision: u32,
    details: Draft,
}

impl Event {
    pub fn order(ticket: &Arc<Ticket>) -> Self {
        let copy = Arc::clone(ticket);
        Self {
            category: "order_updated",
            event_type: "order_updated",
            restaurant: ticket.restaurant.clone(),
            object_id: ticket.guid.clone(),
            order_id: ticket.guid.clone(),
            revision: ticket.revision,
            details: Draft::of(
                move || json!({"restaurantGuid": copy.restaurant, "order": copy.pushed(), "appliedPackagingInfo": null}),
            ),
        }
    }

    pub fn stock(event_type: &'static str, restaurant: &str, item: &str, revision: u32, details: Value) -> Self {
        Self {
            category: "stock",
            event_type,
            restaurant: restaurant.to_owned(),
            object_id: item.to_owned(),
            order_id: String::new(),
            revision,
            details: Draft::of(move || details.clone()),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Registered {
    category: &'static str,
    subscription: Subscription,
}

/// Two retries, after 5 and after 10 minutes, and none at all for most refusals.
fn pause_before(retry: u32, status: Option<u16>) -> Option<Duration> {
    let worth_it = matches!(status, None | Some(404 | 429 | 500..));
    match retry {
        1 if worth_it => Some(Duration::from_secs(5 * 60)),
        2 if worth_it => Some(Duration::from_secs(10 * 60)),
        _ => None,
    }
}

impl Toast {
    /// Only `stock` and `order_updated` are sent.
    pub fn register(&self, category: &'static str, notification_url: &str) -> Subscription {
        let mut world = self.world();
        let mut draws = self.draws(&format!("subscription/{}", world.own.subscriptions.len()));
        let subscription = Subscription {
            id: draws.uuid(),
            notification_url: notification_url.to_owned(),
            signature_key: draws.secret(48),
        };
        world.own.subscriptions.push(Registered { category, subscription: subscription.clone() });
        subscription
    }
}

impl Tells for Toast {
    fn tell(&self, world: &mut World, merchant_id: &str, event: &Event, at: Timestamp, echo: u32) {
        let name = format!("event/{}/{}/{}/{echo}", event.event_type, event.object_id, event.revision);
        let guid = self.draws(&name).uuid();
        let timestamp = rfc3339(at);
        let body = json!({
            "timestamp": timestamp,
            "eventCategory": event.category,
            "eventType": event.event_type,
            "guid": guid,
            "details": event.details.write(),
        });
        let record = EventRecord {
            event_id: guid,
            event_type: event.event_type.to_owned(),
            merchant_id: merchant_id.to_owned(),
            object_id: event.object_id.clone(),
            order_id: event.order_id.clone(),
            body: body.to_string(),
        };
        world.events.push(record.clone());
        if world.own.closed.contains(merchant_id) {
            return;
        }
        for registered in world.own.subscriptions.iter().filter(|registered| registered.category == event.category) {
            let parcel = registered.parcel(event, record.body.clone(), timestamp.clone());
            self.send(&registered.subscription, &record, &parcel);
        }
    }
}

impl Registered {
    fn parcel(&self, event: &Event, body: String, timestamp: String) -> Parcel {
        let secret = self.subscription.signature_key.clone();
        let (category, event_type, restaurant) = (event.category, event.event_type, event.restaurant.clone());
        let letter = move |sending: &Sending| {
            let secret = if sending.wrong { "another secret" } else { &secret };
            let headers = vec![
                ("toast-signature", signature(secret, &body, &timestamp)),
                ("toast-event-type", event_type.to_owned()),
                ("toast-event-category", category.to_owned()),
                ("toast-restaurant-external-id", restaurant.clone()),
                ("toast-attempt-number", (sending.retry + 1).to_string()),
                ("user-agent", "Apache-HttpClient/4.5.14 (Java/17.0.10)".to_owned()),
            ];
            Letter { headers, body: body.clone() }
        };
        Parcel { letter: Arc::new(letter), pause: pause_before, window: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::vectors;

    #[test]
    fn the_signer_agrees_with_the_computed_vectors() {
        for vector in vectors("toast") {
            let text = |key: &str| vector[key].as_str().unwrap_or_default();
            let body: Value = serde_json::from_str(text("body")).unwrap_or_default();
            let Some(timestamp) = body["timestamp"].as_str() else {
                continue;
            };
            let agrees = signature(text("secret"), text("body"), timestamp) == text("toast_signature");
            assert_eq!(agrees, text("expected") == "valid", "{}", vector["name"]);
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again_and_only_twice() {
        for (retry, status, minutes) in [
            (1, None, Some(5)),
            (2, Some(503), Some(10)),
            (3, Some(503), None),
            (1, Some(429), Some(5)),
            (1, Some(401), None),
            (1, Some(302), None),
        ] {
            assert_eq!(pause_before(retry, status).map(|pause| pause.as_secs() / 60), minutes, "{retry} {status:?}");
        }
    }
}
