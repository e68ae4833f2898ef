//! Square's signature and what its events say.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::{Environment, EventId, ExternalOrderId, LocationId, MerchantId, ProviderKind, SourceVersion};
use crate::providers::delivery::{is_mac, proving_secret};
use crate::providers::error::read_json;
use crate::providers::{
    Expectation, Notification, Origin, PayloadError, PayloadProblem, SignatureMismatch, Subject, VerifiedDelivery,
    WebhookDelivery, WebhookSecret,
};

const SIGNATURE: &str = "x-square-hmacsha256-signature";
const ENVIRONMENT: &str = "square-environment";

/// base64(HMAC-SHA256(key as text, registered URL + raw body)), without a separator (square-python-sdk,
/// `webhooks_helper`).
pub(super) fn verify<'d>(
    delivery: WebhookDelivery<'d>,
    secrets: &[WebhookSecret],
) -> Result<VerifiedDelivery<'d>, SignatureMismatch> {
    let presented = delivery.headers.get(SIGNATURE).unwrap_or_default();
    let mac = STANDARD.decode(presented).unwrap_or_default();
    let secret_id = proving_secret(secrets, delivery.received_at, |secret| is_signed(secret, delivery.body, &mac))?;
    Ok(VerifiedDelivery {
        provider: ProviderKind::Square,
        environment: match delivery.headers.get(ENVIRONMENT) {
            Some(name) if name.eq_ignore_ascii_case("sandbox") => Environment::Sandbox,
            Some(name) if name.eq_ignore_ascii_case("production") => Environment::Production,
            _ => delivery.environment,
        },
        secret_id,
        body: Cow::Borrowed(delivery.body),
        received_at: delivery.received_at,
        signature: presented.to_owned(),
    })
}

/// Square's own helper refuses an empty body, key or URL; so do we.
fn is_signed(secret: &WebhookSecret, body: &[u8], mac: &[u8]) -> bool {
    let is_complete = !(body.is_empty() || secret.notification_url.is_empty());
    is_mac(&secret.signature_key, &[secret.notification_url.as_bytes(), body], mac) && is_complete
}

#[derive(Deserialize)]
struct Envelope<'a> {
    merchant_id: String,
    event_id: String,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Data<T> {
    object: T,
}

#[derive(Deserialize)]
struct PaymentObject {
    payment: Payment,
}

#[derive(Deserialize)]
struct Payment {
    id: String,
    order_id: Option<String>,
    location_id: Option<String>,
    status: Option<String>,
    updated_at: Option<String>,
}

#[derive(Deserialize)]
struct RefundObject {
    refund: Refund,
}

#[derive(Deserialize)]
struct Refund {
    order_id: Option<String>,
    location_id: Option<String>,
    updated_at: Option<String>,
}

#[derive(Deserialize)]
struct OrderObject {
    #[serde(alias = "order_created", alias = "order_updated", alias = "order_fulfillment_updated")]
    order: OrderChange,
}

#[derive(Deserialize)]
struct OrderChange {
    order_id: String,
    location_id: Option<String>,
    version: Option<i64>,
    updated_at: Option<String>,
    created_at: Option<String>,
}

/// Of which events we make something.
pub(super) const EVENT_TYPES: &[&str] = &[
    "payment.created",
    "payment.updated",
    "refund.created",
    "refund.updated",
    "order.created",
    "order.updated",
    "order.fulfillment.updated",
    "oauth.authorization.revoked",
];

/// Reads an event. The envelope's `created_at` and `data.id` are not to be trusted (official samples contradict
/// themselves there); the inner object is.
pub(super) fn parse(body: &[u8]) -> Result<Notification, PayloadError> {
    let envelope: Envelope = read_json(body)?;
    let subject = match envelope.event_type.as_str() {
        "payment.created" | "payment.updated" => {
            let payment = read_data::<PaymentObject>(&envelope)?.payment;
            let is_paid = payment.status.as_deref() == Some("COMPLETED");
            let expects = if is_paid { Expectation::Payment(payment.id) } else { Expectation::Any };
            order(payment.order_id, payment.location_id, payment.updated_at, expects)?
        }
        "refund.created" | "refund.updated" => {
            let refund = read_data::<RefundObject>(&envelope)?.refund;
            order(refund.order_id, refund.location_id, refund.updated_at, Expectation::Any)?
        }
        "order.created" | "order.updated" | "order.fulfillment.updated" => {
            let change = read_data::<OrderObject>(&envelope)?.order;
            let expects = change.version.map_or(Expectation::Any, |v| Expectation::Version(SourceVersion(v)));
            order(Some(change.order_id), change.location_id, change.updated_at.or(change.created_at), expects)?
        }
        "oauth.authorization.revoked" => Subject::Revoked,
        _ => Subject::Nothing,
    };
    Ok(Notification {
        event_id: EventId::new(envelope.event_id).map_err(|_| invalid("event_id"))?,
        origin: Origin::Merchant(MerchantId::new(envelope.merchant_id).map_err(|_| invalid("merchant_id"))?),
        event_type: envelope.event_type,
        subject,
    })
}

fn read_data<'a, T: Deserialize<'a>>(envelope: &Envelope<'a>) -> Result<T, PayloadError> {
    let data = envelope.data.ok_or_else(|| PayloadError::new("data", PayloadProblem::Missing))?;
    read_json::<Data<T>>(data.get().as_bytes()).map(|data| data.object).map_err(|mut error| {
        error.path = format!("data.{}", error.path);
        error
    })
}

/// A payment without an order (an invoice's deposit, say) moves no sale.
fn order(
    id: Option<String>,
    location: Option<String>,
    changed_at: Option<String>,
    expects: Expectation,
) -> Result<Subject, PayloadError> {
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(Subject::Nothing) };
    let id = ExternalOrderId::new(id).map_err(|_| invalid("data.object"))?;
    // Official samples have times that are none; without one the order is simply read.
    let changed_at = changed_at.and_then(|text| text.parse::<Timestamp>().ok());
    let location = location.and_then(|id| LocationId::new(id).ok());
    Ok(Subject::Order { id, location, changed_at, expects, pushed: None })
}

fn invalid(path: &str) -> PayloadError {
    PayloadError::new(path, PayloadProblem::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_type: &str, object: &str) -> String {
        format!(
            r#"{{"merchant_id":"M1","type":"{event_type}","event_id":"e1","data":{{"type":"x","id":"1","object":{object}}}}}"#
        )
    }

    #[test]
    fn an_event_leads_to_the_order_that_it_is_about() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let lead = |id: &str, changed_at, expects| Subject::Order {
            id: ExternalOrderId::new(id).unwrap(),
            location: None,
            changed_at,
            expects,
            pushed: None,
        };
        for (event_type, object, subject) in [
            (
                "payment.updated",
                r#"{"payment":{"id":"P1","order_id":"O1","status":"COMPLETED","updated_at":"2026-02-14T08:00:00.123456789Z"}}"#,
                lead("O1", at("2026-02-14T08:00:00.123456789Z"), Expectation::Payment("P1".into())),
            ),
            (
                "payment.created",
                r#"{"payment":{"id":"P1","order_id":"O1","status":"APPROVED"}}"#,
                lead("O1", None, Expectation::Any),
            ),
            (
                "payment.created",
                r#"{"payment":{"id":"P1","order_id":"O1","updated_at":"2022-01-10 23:29:48 +0000 UTC"}}"#,
                lead("O1", None, Expectation::Any),
            ),
            ("payment.created", r#"{"payment":{"id":"P1"}}"#, Subject::Nothing),
            ("refund.created", r#"{"refund":{"order_id":"R1"}}"#, lead("R1", None, Expectation::Any)),
            (
                "order.updated",
                r#"{"order_updated":{"order_id":"O2","version":4,"updated_at":"2026-02-14T08:00:00Z"}}"#,
                lead("O2", at("2026-02-14T08:00:00Z"), Expectation::Version(SourceVersion(4))),
            ),
            (
                "order.created",
                r#"{"order_created":{"order_id":"O2","version":1,"created_at":"2026-02-14T08:00:00Z"}}"#,
                lead("O2", at("2026-02-14T08:00:00Z"), Expectation::Version(SourceVersion(1))),
            ),
            (
                "order.fulfillment.updated",
                r#"{"order_fulfillment_updated":{"order_id":"O2"}}"#,
                lead("O2", None, Expectation::Any),
            ),
            ("oauth.authorization.revoked", r#"{"revocation":{"revoker_type":"MERCHANT"}}"#, Subject::Revoked),
            ("inventory.count.updated", r#"{"inventory_counts":[]}"#, Subject::Nothing),
        ] {
            let notification = parse(event(event_type, object).as_bytes()).unwrap();
            assert_eq!(notification.subject, subject, "{event_type} {object}");
            let is_listed = EVENT_TYPES.contains(&event_type);
            assert!(is_listed || subject == Subject::Nothing, "{event_type}");
        }
    }

    #[test]
    fn a_broken_event_names_the_field() {
        for (body, path) in [
            ("{".to_owned(), ""),
            (r#"{"merchant_id":"M1","type":"payment.created","event_id":"e"}"#.to_owned(), "data"),
            (event("payment.created", r#"{"payment":{"id":7}}"#), "data.object.payment.id"),
            (event("x", "{}").replace("M1", "M 1"), "merchant_id"),
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap_err().path, path, "{body}");
        }
    }
}
