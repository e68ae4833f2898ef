//! A message as SQS's protocol has it, for who sends it without the client.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::aws::AwsError;

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
pub(super) const SEND_MESSAGE: &str = "AmazonSQS.SendMessage";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage<'m> {
    queue_url: &'m str,
    message_body: &'m str,
    message_group_id: &'m str,
    message_attributes: BTreeMap<&'m str, Attribute<'m>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute<'m> {
    data_type: &'static str,
    string_value: &'m str,
}

pub(super) fn message<'m>(
    queue_url: &'m str,
    message_body: &'m str,
    message_group_id: &'m str,
    attributes: impl Iterator<Item = (&'m str, &'m str)>,
) -> Result<String, AwsError> {
    let attribute = |(name, string_value)| (name, Attribute { data_type: "String", string_value });
    let message_attributes = attributes.map(attribute).collect();
    let message = SendMessage { queue_url, message_body, message_group_id, message_attributes };
    serde_json::to_string(&message).map_err(|error| AwsError::new("write a message", error))
}
