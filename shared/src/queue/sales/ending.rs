//! The `until` of a sold-out command: a message of ours to ourselves on a queue of its own, held back until it has come. On
//! the queue of the replies the sales domain could say it in our name, and we in theirs.
//!
//! SQS holds a message back for a quarter of an hour at most, so it is sent again and again. Whoever dies in between leaves
//! the message on the queue; one that comes twice does nothing the second time.

use std::time::Duration;

use aws_sdk_sqs::Client;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::{MAX_MESSAGE, SendError, SqsMessage, UnreadableMessage, is_called, postpone};
use super::AvailabilityCommand;
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, ItemPlace, ProductId, TenantId, TenantScope};
use crate::providers::error::read_json;
use crate::telemetry::TraceParent;

const TYPE: &str = "pos.availability.until.v1";

/// SQS holds a message back for no longer.
const LONGEST_DELAY: u64 = 900;

/// What a command has sold out becomes available again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Whose till.
    pub scope: TenantScope,
    /// Of which command.
    pub command_id: String,
    /// When that was given: a newer one makes this come to nothing.
    pub given_at: Timestamp,
    /// At which till.
    pub configuration_id: ConfigurationId,
    /// As in the command.
    pub product_id: ProductId,
    /// When.
    pub until: Timestamp,
    /// The command's trace.
    pub trace: TraceParent,
    /// What it has sold out, whatever is mapped to the product by then.
    pub places: Vec<ItemPlace>,
}

impl Ending {
    /// Of a command that has sold out `places`, if it has any.
    pub fn of(command: &AvailabilityCommand, until: Timestamp, places: Vec<ItemPlace>) -> Option<Self> {
        (!places.is_empty()).then(|| Self {
            scope: command.scope.clone(),
            command_id: command.id.clone(),
            given_at: command.given_at,
            configuration_id: command.data.configuration_id,
            product_id: command.data.product_id.clone(),
            until,
            trace: command.trace.clone(),
            places,
        })
    }
}

/// In the frame of the commands.
#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(rename = "type")]
    message_type: String,
    tenantid: TenantId,
    id: String,
    time: Timestamp,
    #[serde(default)]
    traceparent: Option<String>,
    data: Data,
}

#[derive(Serialize, Deserialize)]
struct Data {
    configuration_id: ConfigurationId,
    product_id: ProductId,
    until: Timestamp,
    places: Vec<ItemPlace>,
}

/// Reads a message of the queue, to which only we send.
pub fn read_ending(message: &SqsMessage) -> Result<Ending, UnreadableMessage> {
    let body = message.body.as_deref().unwrap_or_default().as_bytes();
    let Body { message_type, tenantid, id, time, traceparent, data } =
        read_json(body).map_err(|error| UnreadableMessage(error.to_string()))?;
    if message_type != TYPE {
        return Err(UnreadableMessage(format!("unknown type `{message_type}`")));
    }
    let Data { configuration_id, product_id, until, places } = data;
    let scope = TenantScope::new(tenantid);
    let trace = TraceParent::from_header(traceparent.as_deref());
    Ok(Ending { scope, trace, command_id: id, given_at: time, configuration_id, product_id, until, places })
}

/// The queue of the endings.
pub struct EndingsQueue {
    client: Client,
    url: String,
}

impl EndingsQueue {
    /// `url`: the queue's.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Lets an ending come at this time, or on its way there.
    pub async fn send_ending(&self, ending: &Ending, at: Timestamp) -> Result<(), SendError> {
        const OPERATION: &str = "send an ending";
        let body = Body {
            message_type: TYPE.to_owned(),
            tenantid: ending.scope.tenant_id().clone(),
            id: ending.command_id.clone(),
            time: ending.given_at,
            traceparent: Some(ending.trace.to_string()),
            data: Data {
                configuration_id: ending.configuration_id,
                product_id: ending.product_id.clone(),
                until: ending.until,
                places: ending.places.clone(),
            },
        };
        let body = serde_json::to_string(&body).map_err(|error| AwsError::new(OPERATION, error))?;
        if body.len() > MAX_MESSAGE {
            return Err(SendError::TooLarge);
        }
        let request = self.client.send_message().queue_url(&self.url).message_body(body);
        let sent = request.delay_seconds(held_back(Timestamp::now(), at)).send().await;
        sent.map(drop).map_err(|error| AwsError::new(OPERATION, error).into())
    }

    /// Whether this is the queue of this ARN.
    pub fn is_called(&self, arn: &str) -> bool {
        is_called(&self.url, arn)
    }

    /// Lets a message come again after `after` instead of after the queue's own time.
    pub async fn postpone(&self, receipt_handle: &str, after: Duration) -> Result<(), AwsError> {
        postpone(&self.client, &self.url, receipt_handle, after).await
    }
}

/// Whole seconds, rounded up: too early is in vain.
fn held_back(now: Timestamp, until: Timestamp) -> i32 {
    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    i32::try_from(seconds.min(LONGEST_DELAY)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_held_back_until_its_time_or_as_long_as_the_queue_can() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (until, seconds) in [
            ("2026-02-14T07:00:00Z", 0),
            ("2026-02-14T08:00:00Z", 0),
            ("2026-02-14T08:00:00.001Z", 1),
            ("2026-02-14T08:00:59.5Z", 60),
            ("2026-02-14T08:15:00Z", 900),
            ("2026-02-15T08:00:00Z", 900),
        ] {
            assert_eq!(held_back(at("2026-02-14T08:00:00Z"), at(until)), seconds, "{until}");
        }
    }
}
