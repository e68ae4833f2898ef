//! Toast's signature and what its messages say.
//!
//! The signature covers the body and a time that stands inside the body, so one field must be read before anything is
//! proven. `verify` reads that one and nothing else.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::instant;
use crate::domain::{EventId, ExternalOrderId, LocationId, ProviderKind, SourceVersion};
use crate::providers::delivery::{is_mac, proving_secret};
use crate::providers::error::read_json;
use crate::providers::{
    Expectation, Notification, Origin, PayloadError, SignatureMismatch, Subject, VerifiedDelivery, WebhookDelivery,
    WebhookSecret,
};

const SIGNATURE: &str = "toast-signature";
/// Two repeats, after five and ten minutes more, and as much again for a slow sender. Older ones are somebody's replay.
const OLDEST: SignedDuration = SignedDuration::from_mins(30);
/// Whose clock is right, nobody knows.
const NEWEST: SignedDuration = SignedDuration::from_mins(5);

#[derive(Deserialize)]
struct Stamp<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
}

/// base64(HMAC-SHA256(key as text, raw body + `timestamp` of the body as it stands there)) (Toast's page "Message
/// signing", which has no test vector).
pub(super) fn verify<'d>(
    delivery: WebhookDelivery<'d>,
    secrets: &[WebhookSecret],
) -> Result<VerifiedDelivery<'d>, SignatureMismatch> {
    let presented = delivery.headers.get(SIGNATURE).unwrap_or_default();
    let mac = STANDARD.decode(presented).unwrap_or_default();
    let stamp: Stamp = serde_json::from_slice(delivery.body).map_err(|_| SignatureMismatch)?;
    let parts = [delivery.body, stamp.timestamp.as_bytes()];
    let proven = proving_secret(secrets, delivery.received_at, |secret| is_mac(&secret.signature_key, &parts, &mac));
    let sent_at: Timestamp = stamp.timestamp.parse().map_err(|_| SignatureMismatch)?;
    let age = delivery.received_at.duration_since(sent_at);
    if age > OLDEST || age < -NEWEST {
        return Err(SignatureMismatch);
    }
    Ok(VerifiedDelivery {
        provider: ProviderKind::Toast,
        environment: delivery.environment,
        secret_id: proven?,
        body: Cow::Borrowed(delivery.body),
        received_at: delivery.received_at,
        signature: presented.to_owned(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    guid: String,
    event_type: String,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details<'a> {
    restaurant_guid: String,
    #[serde(borrow)]
    order: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    guid: Option<String>,
    modified_date: Option<String>,
}

/// Of which events we make something.
pub(super) const EVENT_TYPES: &[&str] = &["order_updated", "channel_order_updated"];

/// Reads a message. An order comes whole but for what we do not keep (external ids, guests), maybe late or out of order;
/// its time of change tells. One without that is no better than a bell, and must be read.
pub(super) fn parse(body: &[u8]) -> Result<Notification, PayloadError> {
    let envelope: Envelope = read_json(body)?;
    let details = envelope.details.ok_or_else(|| PayloadError::missing("details"))?;
    let details: Details = read_json(details.get().as_bytes()).map_err(inside("details"))?;
    let location =
        LocationId::new(details.restaurant_guid).map_err(|_| PayloadError::invalid("details.restaurantGuid"))?;
    let subject = match envelope.event_type.as_str() {
        "order_updated" | "channel_order_updated" => {
            let whole = details.order.ok_or_else(|| PayloadError::missing("details.order"))?.get();
            let order: Order = read_json(whole.as_bytes()).map_err(inside("details.order"))?;
            let id = order.guid.ok_or_else(|| PayloadError::missing("details.order.guid"))?;
            let changed_at = order.modified_date.as_deref().and_then(instant);
            Subject::Order {
                id: ExternalOrderId::new(id).map_err(|_| PayloadError::invalid("details.order.guid"))?,
                location: Some(location.clone()),
                changed_at,
                expects: changed_at
                    .map_or(Expectation::Any, |at| Expectation::Version(SourceVersion(at.as_microsecond()))),
                pushed: changed_at.map(|_| whole.as_bytes().to_vec()),
            }
        }
        _ => Subject::Nothing,
    };
    Ok(Notification {
        event_id: EventId::new(envelope.guid).map_err(|_| PayloadError::invalid("guid"))?,
        event_type: envelope.event_type,
        origin: Origin::Location(location),
        subject,
    })
}

/// Paths begin at the message.
fn inside(place: &str) -> impl Fn(PayloadError) -> PayloadError {
    move |error| {
        let path = if error.path.is_empty() { place.to_owned() } else { format!("{place}.{}", error.path) };
        PayloadError::new(path, error.problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event_type: &str, details: &str) -> String {
        format!(
            r#"{{"timestamp":"2026-02-14T08:00:00.000Z","eventCategory":"x","eventType":"{event_type}","guid":"e1","details":{details}}}"#
        )
    }

    #[test]
    fn a_message_leads_to_the_order_and_its_restaurant() {
        let changed_at: Timestamp = "2026-02-14T07:59:58.123Z".parse().unwrap();
        let order = |changed_at: Option<Timestamp>, pushed: Option<&str>| Subject::Order {
            id: ExternalOrderId::new("o1").unwrap(),
            location: Some(LocationId::new("r1").unwrap()),
            changed_at,
            expects: changed_at.map_or(Expectation::Any, |at| Expectation::Version(SourceVersion(at.as_microsecond()))),
            pushed: pushed.map(Into::into),
        };
        let whole = r#"{"guid":"o1","modifiedDate":"2026-02-14T07:59:58.123+0000","checks":[ ]}"#;
        for (event_type, details, subject) in [
            (
                "order_updated",
                format!(r#"{{"restaurantGuid":"r1","order":{whole}}}"#).as_str(),
                order(Some(changed_at), Some(whole)),
            ),
            (
                "channel_order_updated",
                r#"{"restaurantGuid":"r1","order":{"guid":"o1","modifiedDate":null}}"#,
                order(None, None),
            ),
            ("low_quantity", r#"{"restaurantGuid":"r1","itemGuid":"i1"}"#, Subject::Nothing),
        ] {
            let notification = parse(message(event_type, details).as_bytes()).unwrap();
            assert_eq!(notification.subject, subject, "{event_type} {details}");
            assert_eq!(EVENT_TYPES.contains(&event_type), subject != Subject::Nothing, "{event_type}");
            assert_eq!(notification.origin, Origin::Location(LocationId::new("r1").unwrap()));
        }
    }

    #[test]
    fn a_broken_message_names_the_field() {
        for (body, path) in [
            ("{".to_owned(), ""),
            (message("order_updated", r#"{"restaurantGuid":7}"#), "details.restaurantGuid"),
            (message("order_updated", r#"{"restaurantGuid":"r1"}"#), "details.order"),
            (message("order_updated", r#"{"restaurantGuid":"r1","order":{}}"#), "details.order.guid"),
            (message("order_updated", r#"{"restaurantGuid":"r1","order":7}"#), "details.order"),
            (message("order_updated", r#"{"restaurantGuid":"r 1"}"#), "details.restaurantGuid"),
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap_err().path, path, "{body}");
        }
    }
}
