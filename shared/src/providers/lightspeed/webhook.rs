//! What proves Lightspeed's pushes, and which sale they ring the bell for.
//!
//! Three kinds come: real-time notifications (RTN) about every account, the PMS mirror of every receipt, and Order and
//! Pay messages about what was ordered through the API. None is signed and none is believed: only ids and times are
//! read from them, and only closed accounts matter, for the Financial API knows no others.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Text, sale_id};
use crate::domain::{EventId, ExternalOrderId, LocationId, ProviderKind};
use crate::providers::delivery::{is_same_secret, proving_secret};
use crate::providers::error::read_json;
use crate::providers::{
    Expectation, Notification, Origin, PayloadError, PayloadProblem, SignatureMismatch, Subject, VerifiedDelivery,
    WebhookDelivery, WebhookSecret,
};

#[derive(Deserialize)]
struct Keyed<'a> {
    #[serde(rename = "apiKey", borrow)]
    api_key: Option<&'a RawValue>,
}

/// `user:password` by HTTP Basic authentication, or else the `apiKey` of a PMS call, which is cut out of the body before
/// anybody keeps it.
pub(super) fn verify<'d>(
    delivery: WebhookDelivery<'d>,
    secrets: &[WebhookSecret],
) -> Result<VerifiedDelivery<'d>, SignatureMismatch> {
    let basic = delivery.headers.get("authorization").and_then(|value| {
        let (scheme, rest) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest.trim()).ok())?
    });
    let raw_key = std::str::from_utf8(delivery.body).ok().and_then(raw_key);
    let api_key: Option<String> = raw_key.and_then(|raw| serde_json::from_str(raw).ok());
    let presented = basic.as_deref().or(api_key.as_deref().map(str::as_bytes)).unwrap_or_default();
    let secret_id =
        proving_secret(secrets, delivery.received_at, |secret| is_same_secret(presented, &secret.signature_key))?;
    Ok(VerifiedDelivery {
        provider: ProviderKind::Lightspeed,
        environment: delivery.environment,
        secret_id,
        body: without(delivery.body, raw_key),
        received_at: delivery.received_at,
        signature: if basic.is_some() { "basic" } else { "api_key" }.to_owned(),
    })
}

fn raw_key(body: &str) -> Option<&str> {
    serde_json::from_str::<Keyed>(body).ok()?.api_key.map(RawValue::get)
}

/// Every place where the key stands as a value or name of its own.
fn without<'d>(body: &'d [u8], raw_key: Option<&str>) -> Cow<'d, [u8]> {
    match (raw_key, std::str::from_utf8(body)) {
        (Some(key), Ok(text)) => Cow::Owned(text.replace(key, r#""[cut out]""#).into_bytes()),
        _ => Cow::Borrowed(body),
    }
}

/// All three kinds: their fields do not get into each other's way.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Push {
    business_location_id: Option<Text>,
    // RTN
    notification_type: Option<String>,
    account: Option<Account>,
    // Order and Pay
    #[serde(rename = "type")]
    push_type: Option<String>,
    status: Option<String>,
    third_party_reference: Option<IgnoredAny>,
    ikentoo_account_identifier: Option<String>,
    // PMS
    fisc_id: Option<String>,
    transactions: Option<IgnoredAny>,
    close_date: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    account_number: Option<String>,
    business_location_id: Option<Text>,
    #[serde(rename = "type")]
    account_type: Option<String>,
    cancelled: Option<bool>,
    /// Milliseconds.
    close_date: Option<i64>,
}

/// Of which events we make something: the closing of an account, however it is told.
pub(super) const EVENT_TYPES: &[&str] = &["rtn.CLOSE", "ORDER.CLOSED", "pms.charge"];

pub(super) fn parse(body: &[u8], received_at: Timestamp) -> Result<Notification, PayloadError> {
    let push: Push = read_json(body)?;
    let location = push.business_location_id.as_ref();
    let location = location.or(push.account.as_ref().and_then(|account| account.business_location_id.as_ref()));
    let location = location.map(|id| LocationId::new(id.0.as_str())).transpose();
    let location = location.map_err(|_| invalid("businessLocationId"))?;
    let (event_type, sale) = match (&push.notification_type, &push.push_type) {
        (Some(kind), _) => {
            // Nobody promises a time at the very closing. It is sent at once.
            let closing = (kind == "CLOSE").then_some(received_at);
            let account = push.account.as_ref();
            (format!("rtn.{kind}"), account.and_then(|account| closed_account(account, closing)))
        }
        (None, Some(kind)) => {
            let status = push.status.as_deref().unwrap_or_default();
            let is_closed = kind == "ORDER" && status == "CLOSED";
            let account = push.ikentoo_account_identifier.clone().filter(|_| is_closed);
            // It does not say when; it is sent at once.
            (format!("{kind}.{status}"), account.map(|account| (account, received_at)))
        }
        (None, None) if push.fisc_id.is_some() || push.transactions.is_some() => {
            // Some tills write the time without a zone, and then nobody knows which. It is sent at once.
            let closed_at = push.close_date.as_deref().and_then(|text| text.parse().ok()).unwrap_or(received_at);
            ("pms.charge".to_owned(), push.fisc_id.clone().map(|account| (account, closed_at)))
        }
        // A failure of Order and Pay leaves its type out.
        (None, None) if push.third_party_reference.is_some() => {
            (format!("ORDER.{}", push.status.as_deref().unwrap_or_default()), None)
        }
        (None, None) => return Err(PayloadError::new("", PayloadProblem::Unsupported)),
    };
    let subject = match sale {
        Some((account, closed_at)) => Subject::Order {
            id: match &location {
                Some(shop) => sale_id(shop, &account),
                // Whoever knows the shops looks for it in each.
                None => ExternalOrderId::new(account),
            }
            .map_err(|_| invalid("account"))?,
            location: location.clone(),
            changed_at: Some(closed_at),
            expects: Expectation::Any,
            pushed: None,
        },
        None => Subject::Nothing,
    };
    Ok(Notification {
        event_id: EventId::hash_of(body),
        event_type,
        origin: location.map_or(Origin::Url, Origin::Location),
        subject,
    })
}

/// A closed account and when it was closed. An open one, one that was cancelled, and one that the till only carries over
/// to the next day (`TRANSITORY`) are no sale that could be read.
fn closed_account(account: &Account, closing: Option<Timestamp>) -> Option<(String, Timestamp)> {
    let is_sale = account.account_type.as_deref() != Some("TRANSITORY") && account.cancelled != Some(true);
    let stated = account.close_date.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    Some((account.account_number.clone()?, stated.or(closing).filter(|_| is_sale)?))
}

fn invalid(path: &str) -> PayloadError {
    PayloadError::new(path, PayloadProblem::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_account_rings_the_bell() {
        let received_at: Timestamp = "2026-02-14T08:00:00Z".parse().unwrap();
        let sale = |id: &str, location: Option<&str>, at: &str| Subject::Order {
            id: ExternalOrderId::new(id).unwrap(),
            location: location.map(|id| LocationId::new(id).unwrap()),
            changed_at: Some(at.parse().unwrap()),
            expects: Expectation::Any,
            pushed: None,
        };
        let closed = r#"{"notificationType":"CLOSE","businessLocationId":45454565682155,"account":{"accountNumber":"A1.2","closeDate":1771056000000"#;
        for (body, subject) in [
            (format!("{closed}}}}}"), sale("45454565682155/A1.2", Some("45454565682155"), "2026-02-14T08:00:00Z")),
            (
                format!(r#"{closed},"type":"SALE"}}}}"#),
                sale("45454565682155/A1.2", Some("45454565682155"), "2026-02-14T08:00:00Z"),
            ),
            (format!(r#"{closed},"type":"TRANSITORY"}}}}"#), Subject::Nothing),
            (format!(r#"{closed},"cancelled":true}}}}"#), Subject::Nothing),
            (
                r#"{"notificationType":"OPEN","account":{"accountNumber":"A1.2","closeDate":null}}"#.into(),
                Subject::Nothing,
            ),
            (
                r#"{"type":"ORDER","status":"CLOSED","businessLocationId":"7","ikentooAccountIdentifier":"A1.3"}"#
                    .into(),
                sale("7/A1.3", Some("7"), "2026-02-14T08:00:00Z"),
            ),
            (
                r#"{"notificationType":"CLOSE","account":{"accountNumber":"A1.2","closeDate":null}}"#.into(),
                sale("A1.2", None, "2026-02-14T08:00:00Z"),
            ),
            (r#"{"type":"PAYMENT","status":"SUCCESS","ikentooAccountIdentifier":"A1.3"}"#.into(), Subject::Nothing),
            (r#"{"status":"FAILURE","reason":"x","thirdPartyReference":"r"}"#.into(), Subject::Nothing),
            (r#"{"apiKey":"k","closeDate":"2026-02-14T07:59:00Z","transactions":[]}"#.into(), Subject::Nothing),
            (r#"{"type":"ITEM","status":"RESTRICTED","sku":"x"}"#.into(), Subject::Nothing),
            (
                r#"{"receiptId":"R1.1","fiscId":"A1.4","closeDate":"2026-02-14T07:59:00Z"}"#.into(),
                sale("A1.4", None, "2026-02-14T07:59:00Z"),
            ),
            (
                r#"{"receiptId":"R1.1","fiscId":"A1.4","closeDate":"2026-02-14T09:59:00"}"#.into(),
                sale("A1.4", None, "2026-02-14T08:00:00Z"),
            ),
        ] {
            assert_eq!(parse(body.as_bytes(), received_at).unwrap().subject, subject, "{body}");
            let event_type = parse(body.as_bytes(), received_at).unwrap().event_type;
            assert!(EVENT_TYPES.contains(&event_type.as_str()) || subject == Subject::Nothing, "{event_type}");
        }
        let strange = parse(br#"{"hello":1}"#, received_at).unwrap_err();
        assert_eq!(strange.problem, PayloadProblem::Unsupported);
    }

    #[test]
    fn the_key_of_a_pms_call_leaves_no_trace() {
        let body = r#"{"apiKey" : "se\"cret","name":"T1","copy":"se\"cret"}"#;
        let cut = without(body.as_bytes(), raw_key(body));
        assert_eq!(&*cut, br#"{"apiKey" : "[cut out]","name":"T1","copy":"[cut out]"}"#);
    }
}
