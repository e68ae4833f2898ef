//! A delivery that is to be worked on once more. The message names it and does not carry it: only a body that stands in
//! the webhook log, which was proven when it arrived, can be replayed.

use std::borrow::Cow;

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{IntakeQueue, REPLAY, owner_of};
use crate::aws::AwsError;
use crate::domain::{Configuration, ConfigurationId, EventId, Replay, ReplayId, TenantScope};
use crate::providers::VerifiedDelivery;
use crate::queue::{SendError, UnreadableMessage, attribute, attribute_of};
use crate::store::webhook_logs::LoggedDelivery;
use crate::telemetry::TraceParent;

/// What SQS takes at once.
const BATCH: usize = 10;

/// A replay of one delivery as it comes off the queue.
#[derive(Debug, Clone)]
pub struct ReplayMessage {
    /// Whose.
    pub scope: TenantScope,
    /// In whose log the delivery stands.
    pub configuration_id: ConfigurationId,
    /// What is to be done.
    pub order: ReplayOrder,
    /// The trace that it belongs to.
    pub trace: TraceParent,
}

/// One delivery of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayOrder {
    /// Which replay.
    pub replay_id: ReplayId,
    /// Which delivery.
    pub event_id: EventId,
    /// Who wants it.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
}

impl ReplayMessage {
    /// The delivery as it was verified when it arrived: secrets may have changed since. `body`: what its seal has kept.
    pub fn delivery(
        &self,
        logged: &LoggedDelivery,
        body: Vec<u8>,
        configuration: &Configuration,
    ) -> VerifiedDelivery<'static> {
        VerifiedDelivery {
            provider: configuration.provider,
            environment: configuration.environment,
            body: Cow::Owned(body),
            received_at: logged.entry.received_at,
            signature: String::new(),
            secret_id: logged.secret_id.clone(),
        }
    }
}

impl IntakeQueue {
    /// Calls for the replay of these deliveries. Their group is their own: a tenant's past that is being read does not
    /// hold up whoever waits for one delivery.
    pub async fn send_replays(
        &self,
        scope: &TenantScope,
        configuration_id: ConfigurationId,
        replay: &Replay,
        events: &[EventId],
        trace: &TraceParent,
    ) -> Result<(), SendError> {
        const OPERATION: &str = "enqueue replays";
        let owner = format!("{}#{configuration_id}", scope.tenant_id());
        for events in events.chunks(BATCH) {
            let mut entries = Vec::with_capacity(events.len());
            for (index, event) in events.iter().enumerate() {
                let order =
                    ReplayOrder { replay_id: replay.id, event_id: event.clone(), by: replay.by.clone(), at: replay.at };
                let body = serde_json::to_string(&order).map_err(|error| AwsError::new(OPERATION, error))?;
                let mut entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body);
                for (name, value) in [("kind", REPLAY), ("configuration", &owner), ("traceparent", trace.as_str())] {
                    entry = entry.message_attributes(name, attribute(value)?);
                }
                let entry = entry.message_group_id(format!("{}#replays", scope.tenant_id())).build();
                entries.push(entry.map_err(|error| AwsError::new(OPERATION, error))?);
            }
            let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
            let answer = request.send().await.map_err(|error| AwsError::new(OPERATION, error))?;
            if let Some(refused) = answer.failed().first() {
                let refused = std::io::Error::other(format!("an entry was refused: {}", refused.code()));
                return Err(AwsError::new(OPERATION, refused).into());
            }
        }
        Ok(())
    }
}

pub(super) fn decode(message: &SqsMessage) -> Result<ReplayMessage, UnreadableMessage> {
    let body = message.body.as_deref().unwrap_or_default();
    let order = serde_json::from_str(body).map_err(|error| UnreadableMessage(format!("a replay: {error}")))?;
    let (scope, configuration_id) = owner_of(attribute_of(message, "configuration")?)?;
    let trace = TraceParent::from_header(attribute_of(message, "traceparent").ok());
    Ok(ReplayMessage { scope, configuration_id, order, trace })
}
