//! The intake queue: everything that may become a transaction.
//!
//! A delivery travels as its raw body, with what proves it as attributes, so that whoever reads it can check the
//! signature again. One that is large, or no text that SQS would carry, travels compressed. What a sync has read travels
//! page by page; live sales and the past have queues of their own, so that the past never delays a sale.

mod express;
mod jobs;
mod orders;
#[cfg(feature = "store")]
mod replays;

use std::borrow::Cow;
use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{MAX_MESSAGE, ROOM_FOR_ATTRIBUTES, SendError, UnreadableMessage, attribute, attribute_of};
use crate::aws::{AwsError, Express};
use crate::domain::{ConfigurationId, Environment, TenantScope};
use crate::providers::VerifiedDelivery;
use crate::telemetry::TraceParent;

pub use jobs::{Job, JobMessage};
pub use orders::{OrdersMessage, PageRef};
#[cfg(feature = "store")]
pub use replays::{ReplayMessage, ReplayOrder};

/// The kind and version of the message that carries a webhook delivery.
const DELIVERY: &str = "delivery.v1";
/// The kind and version of the message that carries orders which a sync has read.
const ORDERS: &str = "orders.v1";
/// The kind and version of the message that calls for work on mappings.
const JOB: &str = "mapping-job.v1";
/// The kind and version of the message that calls for a delivery to be worked on once more.
#[cfg(feature = "store")]
const REPLAY: &str = "replay.v1";
/// SQS is paid by 64 KiB; below this a message is one unit with room for its attributes.
const COMPRESS_FROM: usize = 60 * 1024;
/// Bodies up to 5 MiB are taken in, so nothing of ours unpacks to more.
const MAX_BODY: usize = 5 * 1024 * 1024;

const PLAIN: &str = "plain";
const ZSTD: &str = "zstd";

/// The queue.
pub struct IntakeQueue {
    client: Client,
    url: String,
    express: Option<Express>,
}

/// A webhook delivery as it comes off the queue.
#[derive(Debug, Clone)]
pub struct DeliveryMessage {
    /// Proven when it arrived.
    pub delivery: VerifiedDelivery<'static>,
    /// Whose secret proved it, if it came to a configuration's own URL: it can be about nobody else's sales.
    pub owner: Option<(TenantScope, ConfigurationId)>,
    /// The trace that it belongs to.
    pub trace: TraceParent,
}

impl IntakeQueue {
    /// `url`: the queue's.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url, express: None }
    }

    /// Sends deliveries by hand, and by the client only what was not taken so: for the one whose sender is waiting.
    pub fn expressly(self, express: Express) -> Self {
        Self { express: Some(express), ..self }
    }

    /// Puts a delivery on the queue. When this has returned, it cannot be lost.
    ///
    /// `fairness_key` keeps one noisy merchant from delaying the others.
    pub async fn send_delivery(
        &self,
        delivery: &VerifiedDelivery<'_>,
        owner: Option<(&TenantScope, ConfigurationId)>,
        fairness_key: &str,
        trace: &TraceParent,
    ) -> Result<(), SendError> {
        let (encoding, body) = encode(delivery.body())?;
        if body.len() > MAX_MESSAGE - ROOM_FOR_ATTRIBUTES {
            return Err(SendError::TooLarge);
        }
        let received_at = delivery.received_at.to_string();
        let owner = owner.map(|(scope, id)| format!("{}#{id}", scope.tenant_id()));
        let attributes = [
            ("kind", DELIVERY),
            ("encoding", encoding),
            ("provider", delivery.provider.as_str()),
            ("environment", delivery.environment.as_str()),
            ("received_at", &received_at),
            ("signature", &delivery.signature),
            ("secret_id", &delivery.secret_id),
            ("traceparent", trace.as_str()),
        ];
        let attributes = attributes.into_iter().chain(owner.as_deref().map(|owner| ("configuration", owner)));
        if let Some(express) = &self.express {
            let message = express::message(&self.url, &body, fairness_key, attributes.clone());
            if express.call(express::SEND_MESSAGE, message?).await {
                return Ok(());
            }
        }
        let mut request = self.client.send_message().queue_url(&self.url).message_body(body);
        for (name, value) in attributes {
            request = request.message_attributes(name, attribute(value)?);
        }
        let sent = request.message_group_id(fairness_key).send().await;
        sent.map(drop).map_err(|error| AwsError::new("enqueue a delivery", error).into())
    }

    /// Whether this is the queue of this ARN.
    pub fn is_called(&self, arn: &str) -> bool {
        super::is_called(&self.url, arn)
    }

    /// Lets a message come again after `after` instead of after the queue's own time.
    pub async fn postpone(&self, receipt_handle: &str, after: Duration) -> Result<(), AwsError> {
        super::postpone(&self.client, &self.url, receipt_handle, after).await
    }
}

/// What a message of the queue carries.
#[derive(Debug, Clone)]
pub enum IntakeMessage {
    /// The doorbell rang.
    Delivery(DeliveryMessage),
    /// A sync has read these.
    Orders(OrdersMessage),
    /// A tenant has said what things are.
    Job(JobMessage),
    /// Somebody wants a delivery to be worked on once more.
    #[cfg(feature = "store")]
    Replay(ReplayMessage),
}

/// Reads a message of the queue. Only what we put there ourselves becomes a verified delivery.
pub fn decode(message: &SqsMessage) -> Result<IntakeMessage, UnreadableMessage> {
    match attribute_of(message, "kind")? {
        DELIVERY => decode_delivery(message).map(IntakeMessage::Delivery),
        ORDERS => orders::decode(message).map(IntakeMessage::Orders),
        JOB => jobs::decode(message).map(IntakeMessage::Job),
        #[cfg(feature = "store")]
        REPLAY => replays::decode(message).map(IntakeMessage::Replay),
        other => Err(UnreadableMessage(format!("unknown kind `{other}`"))),
    }
}

fn decode_delivery(message: &SqsMessage) -> Result<DeliveryMessage, UnreadableMessage> {
    let unreadable = |what: &str| UnreadableMessage(what.to_owned());
    let attribute = |name| attribute_of(message, name);
    let body = message.body.as_deref().unwrap_or_default();
    Ok(DeliveryMessage {
        delivery: VerifiedDelivery {
            provider: attribute("provider")?.parse().map_err(|_| unreadable("unknown provider"))?,
            environment: match attribute("environment")? {
                "production" => Environment::Production,
                "sandbox" => Environment::Sandbox,
                _ => return Err(unreadable("unknown environment")),
            },
            body: Cow::Owned(unpack(attribute("encoding")?, body).ok_or_else(|| unreadable("body"))?),
            received_at: attribute("received_at")?.parse().map_err(|_| unreadable("received_at"))?,
            signature: attribute("signature")?.to_owned(),
            secret_id: attribute("secret_id")?.to_owned(),
        },
        owner: attribute("configuration").ok().map(owner_of).transpose()?,
        trace: TraceParent::from_header(attribute("traceparent").ok()),
    })
}

fn owner_of(text: &str) -> Result<(TenantScope, ConfigurationId), UnreadableMessage> {
    let parsed = text.split_once('#').and_then(|(tenant, id)| Some((tenant.parse().ok()?, id.parse().ok()?)));
    let (tenant, id) = parsed.ok_or_else(|| UnreadableMessage("unknown configuration".to_owned()))?;
    Ok((TenantScope::new(tenant), id))
}

fn encode(body: &[u8]) -> Result<(&'static str, String), SendError> {
    if let Ok(text) = std::str::from_utf8(body)
        && body.len() < COMPRESS_FROM
        && is_carried(text)
    {
        return Ok((PLAIN, text.to_owned()));
    }
    let packed = zstd::bulk::compress(body, 3).map_err(|error| AwsError::new("compress a delivery", error))?;
    Ok((ZSTD, STANDARD.encode(packed)))
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>: `#x9 | #xA | #xD | #x20
/// to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF`.
fn is_carried(text: &str) -> bool {
    // Counted and not looked for, because that goes by many bytes at once.
    let refused = text.bytes().filter(|byte| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')).count();
    refused == 0 && !text.contains('\u{FFFE}') && !text.contains('\u{FFFF}')
}

fn unpack(encoding: &str, body: &str) -> Option<Vec<u8>> {
    match encoding {
        PLAIN => Some(body.as_bytes().to_vec()),
        ZSTD => zstd::bulk::decompress(&STANDARD.decode(body).ok()?, MAX_BODY).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_that_sqs_would_refuse_travels_packed() {
        for (body, encoding) in [
            (b"{\"a\": 1}\n".to_vec(), PLAIN),
            ("Käse \u{1F950}".into(), PLAIN),
            (b"\x00{".to_vec(), ZSTD),
            (b"\xFF\xFE".to_vec(), ZSTD),
            ("\u{FFFF}".into(), ZSTD),
            (vec![b'x'; 600 * 1024], ZSTD),
        ] {
            let (found, text) = encode(&body).unwrap();
            assert_eq!(found, encoding);
            assert_eq!(unpack(found, &text), Some(body));
        }
    }

    #[test]
    fn a_queue_knows_its_arn() {
        let config = aws_sdk_sqs::Config::builder().behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest());
        let url = "https://sqs.eu-central-1.amazonaws.com/123456789012/pos-backfill".to_owned();
        let queue = IntakeQueue::new(Client::from_conf(config.build()), url);
        for (arn, is_ours) in [
            ("arn:aws:sqs:eu-central-1:123456789012:pos-backfill", true),
            ("arn:aws:sqs:eu-central-1:123456789012:pos-intake", false),
            ("arn:aws:sqs:eu-central-1:210987654321:pos-backfill", false),
            ("", false),
        ] {
            assert_eq!(queue.is_called(arn), is_ours, "{arn}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_they_come_back(body: Vec<u8>) {
            let (encoding, text) = encode(&body).unwrap();
            prop_assert!(is_carried(&text));
            prop_assert_eq!(unpack(encoding, &text), Some(body));
        }

        #[test]
        fn text_is_carried_if_each_character_is(text: Vec<char>, odd in "[\x00-\x20\u{FFF0}-\u{1000F}]{0,2}") {
            let text: String = text.into_iter().chain(odd.chars()).collect();
            let each = |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..);
            prop_assert_eq!(is_carried(&text), text.chars().all(each));
        }
    }
}
