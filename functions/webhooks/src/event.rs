//! API Gateway's event, as far as a delivery needs it.
//!
//! A type of our own, because reading all of the event with `lambda_http` costs as much as everything else that this
//! function does.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use shared::problem::Problem;
use shared::providers::DeliveryHeaders;

/// A REST API proxy event (payload 1.0).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    #[serde(deserialize_with = "headers")]
    pub(crate) headers: DeliveryHeaders,
    path_parameters: Option<PathParameters>,
    request_context: RequestContext,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
struct PathParameters {
    pos_system: Option<String>,
    configuration_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    #[serde(default)]
    request_id: String,
}

impl Request {
    pub(crate) fn provider_name(&self) -> &str {
        self.path_parameters.as_ref().and_then(|path| path.pos_system.as_deref()).unwrap_or_default()
    }

    /// Whose own URL it came to, if not to the one that all share.
    pub(crate) fn configuration_id(&self) -> Option<&str> {
        self.path_parameters.as_ref()?.configuration_id.as_deref()
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.request_context.request_id
    }

    /// As it came, in bytes; of an encoded one at most a third too many.
    pub(crate) fn body_len(&self) -> usize {
        let len = self.body.as_ref().map_or(0, String::len);
        if self.is_base64_encoded { len / 4 * 3 } else { len }
    }

    /// The raw bytes, which the signature covers.
    pub(crate) fn body(&self) -> Option<Cow<'_, [u8]>> {
        let body = self.body.as_deref().unwrap_or_default();
        if self.is_base64_encoded {
            STANDARD.decode(body).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(body.as_bytes()))
        }
    }
}

fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeliveryHeaders, D::Error> {
    struct Headers;
    impl<'de> Visitor<'de> for Headers {
        type Value = DeliveryHeaders;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of headers")
        }
        fn visit_unit<E>(self) -> Result<DeliveryHeaders, E> {
            Ok(DeliveryHeaders::default())
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DeliveryHeaders, A::Error> {
            let mut headers = Vec::new();
            while let Some(header) = map.next_entry::<String, String>()? {
                headers.push(header);
            }
            Ok(headers.into_iter().collect())
        }
    }
    deserializer.deserialize_any(Headers)
}

/// The answer in the shape that API Gateway wants.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// HTTP.
    pub status_code: u16,
    headers: ResponseHeaders,
    /// JSON.
    pub body: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ResponseHeaders {
    content_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<&'static str>,
}

impl Response {
    pub(crate) fn accepted() -> Self {
        let headers = ResponseHeaders { content_type: "application/json", retry_after: None };
        Self { status_code: 200, headers, body: r#"{"status":"accepted"}"#.to_owned() }
    }

    pub(crate) fn problem(problem: &Problem, instance: &str) -> Self {
        let retry_after = (problem.status() == 503).then_some("30");
        let headers = ResponseHeaders { content_type: "application/problem+json", retry_after };
        Self { status_code: problem.status(), headers, body: problem.body(instance) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::domain::{Environment, ProviderKind};
    use shared::providers::{ProviderHosts, Providers, WebhookDelivery};

    #[test]
    fn the_recorded_event_is_read_and_its_signature_holds() {
        let request: Request = serde_json::from_str(include_str!("../../../events/webhooks.json")).unwrap();
        assert_eq!(request.provider_name(), "square");
        let secret = serde_json::json!({
            "id": "wbhk_1",
            "notification_url": "https://pos.example.com/live/api/v1/webhooks/square",
            "signature_key": "an-example-key-of-no-application",
        });
        let body = request.body().unwrap();
        let received_at = jiff::Timestamp::UNIX_EPOCH;
        let environment = Environment::Production;
        let delivery = WebhookDelivery { headers: &request.headers, body: &body, received_at, environment };
        let providers = Providers::new(ProviderHosts::default());
        let square = providers.get(ProviderKind::Square);
        let verified = square.verify_webhook(delivery, &[serde_json::from_value(secret).unwrap()]).unwrap();
        let notification = square.parse_notification(&verified).unwrap();
        assert_eq!(notification.origin.as_str(), "MERCHANT1");
    }

    #[test]
    fn an_encoded_body_is_decoded_before_it_is_verified() {
        let event = |body: &str, encoded| {
            let event = serde_json::json!({
                "headers": null, "pathParameters": null, "requestContext": {}, "body": body, "isBase64Encoded": encoded,
            });
            serde_json::from_value::<Request>(event).unwrap()
        };
        assert_eq!(event("eyJhIjoxfQ==", true).body().as_deref(), Some(br#"{"a":1}"#.as_slice()));
        assert_eq!(event("eyJhIjoxfQ==", false).body().as_deref(), Some(b"eyJhIjoxfQ==".as_slice()));
        assert_eq!(event("no base64!", true).body(), None);
    }
}
