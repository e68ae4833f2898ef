//! Towards the sales domain and back: CloudEvents 1.0 in JSON.
//!
//! An event carries the full state of one revision under an id that repeats keep, so a consumer may see it twice, late
//! or not at all and is still right in the end. It answers on the replies queue.

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{MAX_MESSAGE, ROOM_FOR_ATTRIBUTES, SendError, UnreadableMessage, attribute};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, TenantId, TenantScope, Transaction, TransactionId, TransactionStatus};
use crate::store::transactions::{Stored, TransactionKey};
use crate::telemetry::TraceParent;

const RECORDED: &str = "pos.transaction.recorded.v1";
const VOIDED: &str = "pos.transaction.voided.v1";
const ACCEPTED: &str = "sales.transaction.accepted.v1";

/// The queue to the sales domain.
pub struct SalesQueue {
    client: Client,
    url: String,
}

/// What the sales domain receives: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TransactionEvent {
    /// `1.0`
    specversion: &'static str,
    /// `transaction:revision`; a repeat has the same.
    id: String,
    /// `/pos/{provider}/{configuration}`
    source: String,
    /// `pos.transaction.recorded.v1`, or `pos.transaction.voided.v1` for one that was taken back before money moved.
    #[serde(rename = "type")]
    event_type: &'static str,
    /// The transaction's id.
    subject: TransactionId,
    /// When this message was made.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    time: Timestamp,
    /// `application/json`
    datacontenttype: &'static str,
    /// Whose.
    tenantid: TenantId,
    /// The revision, ten digits, sorts as text.
    sequence: String,
    /// W3C trace context.
    traceparent: String,
    data: TransactionEventData,
}

/// The state of one revision.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TransactionEventData {
    /// Counts from 1, without gaps. The highest is the truth.
    revision: u64,
    transaction: Transaction,
}

impl TransactionEvent {
    /// The event of what is stored.
    pub fn new(stored: &Stored, trace: &TraceParent) -> Self {
        let Stored { transaction, revision, .. } = stored;
        Self {
            specversion: "1.0",
            id: format!("{}:{revision}", transaction.id),
            source: format!("/pos/{}/{}", transaction.provider, transaction.configuration_id),
            event_type: match transaction.status {
                TransactionStatus::Open | TransactionStatus::Completed => RECORDED,
                TransactionStatus::Voided => VOIDED,
            },
            subject: transaction.id,
            time: Timestamp::now(),
            datacontenttype: "application/json",
            tenantid: stored.key.scope.tenant_id().clone(),
            sequence: format!("{revision:010}"),
            traceparent: trace.to_string(),
            data: TransactionEventData { revision: *revision, transaction: transaction.clone() },
        }
    }
}

impl SalesQueue {
    /// `url`: the queue's.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends one revision in full.
    pub async fn send(&self, stored: &Stored, trace: &TraceParent) -> Result<(), SendError> {
        let event = TransactionEvent::new(stored, trace);
        let tenant = event.tenantid.as_str();
        let body = serde_json::to_string(&event).map_err(|error| AwsError::new("build an event", error))?;
        if body.len() > MAX_MESSAGE - ROOM_FOR_ATTRIBUTES {
            return Err(SendError::TooLarge);
        }
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .message_attributes("type", attribute(event.event_type)?)
            .message_attributes("tenantid", attribute(tenant)?)
            // A fair queue: one tenant's flood does not delay the others.
            .message_group_id(tenant)
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::new("send a transaction", error).into())
    }
}

/// What the sales domain answers. Unknown fields are allowed: it may say more than we need.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reply {
    /// `sales.transaction.accepted.v1`
    #[serde(rename = "type")]
    reply_type: String,
    /// Whose.
    tenantid: TenantId,
    data: ReplyData,
}

/// Which revision is answered.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplyData {
    configuration_id: ConfigurationId,
    transaction_id: TransactionId,
    /// As in the event.
    revision: u64,
    /// What the sales domain calls it.
    sales_record_id: String,
}

/// "The sales domain has this revision."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// Of which transaction.
    pub key: TransactionKey,
    /// Which one.
    pub revision: u64,
    /// What the sales domain calls it.
    pub sales_record_id: String,
}

/// Reads a message of the replies queue, to which only the sales domain may send.
pub fn read_reply(message: &SqsMessage) -> Result<Acceptance, UnreadableMessage> {
    let body = message.body.as_deref().unwrap_or_default();
    let reply: Reply =
        crate::providers::error::read_json(body.as_bytes()).map_err(|error| UnreadableMessage(format!("{error}")))?;
    if reply.reply_type != ACCEPTED {
        return Err(UnreadableMessage(format!("unknown type `{}`", reply.reply_type)));
    }
    Ok(Acceptance {
        key: TransactionKey {
            scope: TenantScope::new(reply.tenantid),
            configuration_id: reply.data.configuration_id,
            transaction_id: reply.data.transaction_id,
        },
        revision: reply.data.revision,
        sales_record_id: reply.data.sales_record_id,
    })
}

/// Where replies go that cannot be taken: kept, counted and looked at, never dropped.
pub struct ParkedReplies {
    client: Client,
    url: String,
}

impl ParkedReplies {
    /// `url`: the dead-letter queue of the replies.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Keeps a reply with the reason why it could not be taken.
    pub async fn park(&self, message: &SqsMessage, reason: &str) -> Result<(), AwsError> {
        let body = message.body.as_deref().filter(|body| !body.is_empty()).unwrap_or("(empty)");
        let request = self.client.send_message().queue_url(&self.url).message_body(body);
        let sent = request.message_attributes("reason", attribute(reason)?).send().await;
        sent.map(drop).map_err(|error| AwsError::new("park a reply", error))
    }
}
