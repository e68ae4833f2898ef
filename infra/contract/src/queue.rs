//! SQS, as far as a consumer needs it.

use std::time::Duration;

use anyhow::Context as _;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_sqs::{
    Client,
    config::BehaviorVersion,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
        SendMessageBatchRequestEntry,
    },
};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_types::{SdkConfig, region::Region};

/// SQS takes and gives no more messages in one call.
pub const BATCH: usize = 10;

/// How to reach AWS, with the credentials of the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if there
/// is one, `AWS_SESSION_TOKEN`. `endpoint` replaces AWS's own hosts.
///
/// # Errors
/// When there are no credentials.
pub fn config(endpoint: Option<&str>, region: &str) -> anyhow::Result<SdkConfig> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let (key, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    let credentials = Credentials::new(key, secret, std::env::var("AWS_SESSION_TOKEN").ok(), None, "environment");
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .http_client(http);
    config.set_endpoint_url(endpoint.map(str::to_owned));
    Ok(config.build())
}

/// One queue.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// The queue at this URL.
    #[must_use]
    pub fn new(config: &SdkConfig, url: &str) -> Self {
        Self { client: Client::new(config), url: url.to_owned() }
    }

    /// Up to ten messages; none if none comes while we wait. SQS waits whole seconds, 20 at most.
    ///
    /// # Errors
    /// When the queue cannot be asked.
    pub async fn receive(&self, wait: Duration) -> anyhow::Result<Vec<Message>> {
        let seconds = i32::try_from(wait.as_secs()).unwrap_or(20).min(20);
        let request = self.client.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let answer = request.wait_time_seconds(seconds).send().await;
        Ok(answer.with_context(|| format!("failed to receive from {}", self.url))?.messages.unwrap_or_default())
    }

    /// Sends up to ten messages with these string attributes. Says of each whether the queue has it.
    ///
    /// # Errors
    /// When the queue took none.
    pub async fn send(&self, messages: &[Outgoing<'_>]) -> anyhow::Result<Vec<bool>> {
        let mut entries = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            let mut entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(message.body);
            for (name, value) in message.attributes {
                let value = MessageAttributeValue::builder().data_type("String").string_value(*value).build()?;
                entry = entry.message_attributes(*name, value);
            }
            entries.push(entry.set_message_group_id(message.group.map(str::to_owned)).build()?);
        }
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = request.send().await.with_context(|| format!("failed to send to {}", self.url))?;
        let is_sent = |index: usize| answer.successful().iter().any(|entry| entry.id() == index.to_string());
        Ok((0..messages.len()).map(is_sent).collect())
    }

    /// Takes up to ten messages off the queue. What stays in spite of it comes again, which a consumer must bear anyway.
    ///
    /// # Errors
    /// When the queue cannot be told.
    pub async fn delete(&self, messages: &[&Message]) -> anyhow::Result<()> {
        let entries = messages.iter().enumerate().filter_map(|(index, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
            entry.receipt_handle(message.receipt_handle()?).build().ok()
        });
        let entries: Vec<_> = entries.collect();
        if entries.is_empty() {
            return Ok(());
        }
        let request = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        request.send().await.map(drop).with_context(|| format!("failed to delete from {}", self.url))
    }

    /// Lets others have up to ten messages at once.
    ///
    /// # Errors
    /// When the queue cannot be told.
    pub async fn put_back(&self, messages: &[Message]) -> anyhow::Result<()> {
        let entries = messages.iter().enumerate().filter_map(|(index, message)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
            entry.receipt_handle(message.receipt_handle()?).visibility_timeout(0).build().ok()
        });
        let entries: Vec<_> = entries.collect();
        if entries.is_empty() {
            return Ok(());
        }
        let request = self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
        request.send().await.map(drop).with_context(|| format!("failed to put back to {}", self.url))
    }
}

/// A message to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'m> {
    /// Its text.
    pub body: &'m str,
    /// Its attributes, all of them text.
    pub attributes: &'m [(&'m str, &'m str)],
    /// Which fair share of the queue it takes.
    pub group: Option<&'m str>,
}

impl<'m> Outgoing<'m> {
    /// A text and nothing else.
    #[must_use]
    pub fn plain(body: &'m str) -> Self {
        Self { body, attributes: &[], group: None }
    }
}
