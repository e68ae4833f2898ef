//! Messages that were given up: looked at without being taken away, and sent once more.
//!
//! A message is here because its queue's receive limit was reached, or because one of our functions has *parked* it with a
//! reason. Whatever is done to it may be cut off anywhere: it is sent before it is deleted, and everything that our queues
//! carry may come twice.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsMessage, SqsMessageAttribute};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
};
use jiff::Timestamp;

use super::depth::{Depth, depth};
use super::{attribute, is_called};
use crate::aws::AwsError;

/// What SQS does at once.
const BATCH: i32 = 10;
/// How long a message is hidden from others while it is looked at. It is released as soon as it was.
const HIDDEN_FOR: Duration = Duration::from_secs(30);
/// The attribute of a parked message that says why it was.
const REASON: &str = "reason";
/// The attribute of a parked message that says from which queue.
const PARKED_FROM: &str = "parked_from";
/// SQS carries no more with a message.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const MAX_ATTRIBUTES: usize = 10;
/// The reason of what nobody has parked.
const GIVEN_UP: &str = "receive_limit_reached";
/// The longest reason that is shown.
const MAX_REASON: usize = 256;

/// A queue of messages that were given up.
#[derive(Clone)]
pub struct DeadLetters {
    client: Client,
    url: String,
    sources: Vec<String>,
}

/// A message that was given up.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// As its function would have got it.
    pub message: SqsMessage,
    /// Why: the word of whoever parked it, or that its queue's limit was reached.
    pub reason: String,
    /// When it was first sent, or parked.
    pub sent_at: Timestamp,
    attributes: HashMap<String, MessageAttributeValue>,
    group: Option<String>,
}

impl DeadLetter {
    /// The queue's id of it.
    pub fn id(&self) -> &str {
        self.message.message_id.as_deref().unwrap_or_default()
    }

    /// What it takes to release it.
    pub fn handle(&self) -> String {
        self.message.receipt_handle.clone().unwrap_or_default()
    }

    /// What it says of itself.
    pub fn attribute(&self, name: &str) -> Option<String> {
        self.message.message_attributes.get(name)?.string_value.clone()
    }

    fn new(mut message: Message) -> Self {
        let attributes = message.message_attributes.take().unwrap_or_default();
        let system = message.attributes.take().unwrap_or_default();
        let system = |name: &MessageSystemAttributeName| system.get(name).cloned();
        let text = |name: &str| attributes.get(name).and_then(|value| value.string_value.clone());
        let mut read = SqsMessage::default();
        read.message_id = message.message_id;
        read.receipt_handle = message.receipt_handle;
        read.body = message.body;
        // What its sender says of it counts only where the sender is one of us: who has parked it.
        let from_source = system(&MessageSystemAttributeName::DeadLetterQueueSourceArn);
        let is_parked = from_source.is_none();
        read.event_source_arn = from_source.or_else(|| text(PARKED_FROM));
        let reason = text(REASON).filter(|_| is_parked).unwrap_or_else(|| GIVEN_UP.to_owned());
        read.message_attributes = attributes
            .iter()
            .map(|(name, value)| {
                let mut read = SqsMessageAttribute::default();
                read.string_value.clone_from(&value.string_value);
                (name.clone(), read)
            })
            .collect();
        let attempts = system(&MessageSystemAttributeName::ApproximateReceiveCount).unwrap_or_default();
        read.attributes.insert("ApproximateReceiveCount".to_owned(), attempts);
        let sent_at = system(&MessageSystemAttributeName::SentTimestamp).and_then(|millis| millis.parse().ok());
        Self {
            message: read,
            reason: reason.chars().take(MAX_REASON).collect(),
            sent_at: sent_at.and_then(|millis| Timestamp::from_millisecond(millis).ok()).unwrap_or_default(),
            group: system(&MessageSystemAttributeName::MessageGroupId),
            attributes,
        }
    }
}

impl DeadLetters {
    /// `url`: the queue's. `sources`: the queues whose messages end there. What does not say from which of them it came goes
    /// back to the first.
    pub fn new(client: Client, url: String, sources: Vec<String>) -> Self {
        Self { client, url, sources }
    }

    /// How many there are.
    pub async fn depth(&self) -> Result<Depth, AwsError> {
        depth(&self.client, &self.url).await
    }

    /// Ten messages at most, hidden from others until they are released. None: there are no others, SQS has looked
    /// everywhere.
    pub async fn receive(&self) -> Result<Vec<DeadLetter>, AwsError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(BATCH)
            .visibility_timeout(i32::try_from(HIDDEN_FOR.as_secs()).unwrap_or(i32::MAX))
            // Without waiting SQS asks only some of its servers.
            .wait_time_seconds(1)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await
            .map_err(|error| AwsError::new("look at what was given up", error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().map(DeadLetter::new).collect())
    }

    /// What is to be kept of messages, `most` of them and until the deadline; others see them again at its end. Of the rest
    /// only what that takes is held: a message may have a megabyte.
    pub async fn look<T>(
        &self,
        most: u64,
        deadline: Instant,
        mut keep: impl FnMut(DeadLetter) -> Option<T>,
    ) -> Result<Vec<T>, AwsError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let (mut hidden, mut kept) = (Vec::new(), Vec::new());
        let failed = loop {
            if hidden.len() >= most || Instant::now() >= deadline {
                break None;
            }
            match self.receive().await {
                Ok(letters) if letters.is_empty() => break None,
                Ok(letters) => {
                    hidden.extend(letters.iter().map(DeadLetter::handle));
                    kept.extend(letters.into_iter().filter_map(&mut keep));
                }
                Err(error) => break Some(error),
            }
        };
        self.release(&hidden).await;
        failed.map_or(Ok(kept), Err)
    }

    /// Lets others see messages again, by their handles. If that fails, they do when their time has come.
    pub async fn release(&self, handles: &[String]) {
        let entries: Vec<_> = handles
            .iter()
            .enumerate()
            .filter_map(|(index, handle)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(handle)
                    .visibility_timeout(0);
                entry.build().ok()
            })
            .collect();
        for entries in entries.chunks(10) {
            let request = self.client.change_message_visibility_batch().queue_url(&self.url);
            if let Err(error) = request.set_entries(Some(entries.to_vec())).send().await {
                tracing::warn!(error = ?error, "messages stay hidden until their time has come");
            }
        }
    }

    /// Sends a message once more to where it was given up, and takes it away from here.
    pub async fn send_back(&self, letter: &DeadLetter) -> Result<(), AwsError> {
        const OPERATION: &str = "send a message again that was given up";
        let came_from = letter.message.event_source_arn.as_deref();
        let source = self.sources.iter().find(|url| came_from.is_some_and(|arn| is_called(url, arn)));
        let Some(target) = source.or(self.sources.first()) else {
            return Err(AwsError::new(OPERATION, "no queue to send it to"));
        };
        let mut attributes = letter.attributes.clone();
        attributes.remove(REASON);
        attributes.remove(PARKED_FROM);
        self.client
            .send_message()
            .queue_url(target)
            .message_body(letter.message.body.as_deref().unwrap_or_default())
            .set_message_attributes(Some(attributes).filter(|all| !all.is_empty()))
            .set_message_group_id(letter.group.clone())
            .send()
            .await
            .map_err(|error| AwsError::new(OPERATION, error))?;
        self.client
            .delete_message()
            .queue_url(&self.url)
            .receipt_handle(letter.message.receipt_handle.as_deref().unwrap_or_default())
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::new("delete a message that was sent again", error))
    }

    /// Keeps a message that cannot be taken, with the reason: visible and countable, instead of coming again in vain.
    pub async fn park(&self, message: &SqsMessage, reason: &str) -> Result<(), AwsError> {
        let body = message.body.as_deref().filter(|body| !body.is_empty()).unwrap_or("(empty)");
        let mut request = self.client.send_message().queue_url(&self.url).message_body(body);
        // What our own messages say of themselves leaves room for the reason. Of what others send, only the body counts.
        let room = MAX_ATTRIBUTES.saturating_sub(message.message_attributes.len());
        // Two of them are for us to say.
        let is_theirs = |name: &str| ![REASON, PARKED_FROM].contains(&name);
        for (name, value) in message.message_attributes.iter().filter(|(name, _)| room >= 1 && is_theirs(name)) {
            if let Some(text) = &value.string_value {
                request = request.message_attributes(name, attribute(text)?);
            }
        }
        if let Some(arn) = message.event_source_arn.as_ref().filter(|_| room != 1) {
            request = request.message_attributes(PARKED_FROM, attribute(arn)?);
        }
        let sent = request.message_attributes(REASON, attribute(reason)?).send().await;
        sent.map(drop).map_err(|error| AwsError::new("park a message", error))
    }
}
