//! The queues: what stands in a message, and its version.
//!
//! A message that is written today is read by tomorrow's code, so every kind carries its version and is read by that.

pub mod dead_letters;
pub mod depth;
pub mod intake;
mod later;
#[cfg(feature = "store")]
pub mod sales;
pub mod sync_jobs;

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse};

pub use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::MessageAttributeValue;
pub use later::{Later, attempt};

use crate::aws::AwsError;

/// SQS carries no more than this, body and attributes together.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const MAX_MESSAGE: usize = 1024 * 1024;
/// Attributes are short texts; this is far more than they need.
const ROOM_FOR_ATTRIBUTES: usize = 4 * 1024;

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// SQS refused or did not answer.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Larger than SQS carries, compressed.
    #[error("the message is larger than SQS carries")]
    TooLarge,
}

/// A message that is not one of ours, or of a version that we do not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable message: {0}")]
pub struct UnreadableMessage(pub String);

fn attribute(value: impl Into<String>) -> Result<MessageAttributeValue, AwsError> {
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build()
        .map_err(|error| AwsError::new("build a message", error))
}

fn attribute_of<'m>(message: &'m SqsMessage, name: &str) -> Result<&'m str, UnreadableMessage> {
    let value = message.message_attributes.get(name).and_then(|value| value.string_value.as_deref());
    value.ok_or_else(|| UnreadableMessage(format!("no attribute `{name}`")))
}

/// Names a message to deliver again. An empty id would silently mean the whole batch, so the caller must have one.
pub fn deliver_again(response: &mut SqsBatchResponse, message_id: &str) {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message_id.to_owned();
    response.batch_item_failures.push(failure);
}

/// Whether a queue's URL and an ARN are of the same: name and account, in which the two agree.
fn is_called(url: &str, arn: &str) -> bool {
    arn.rsplit(':').take(2).eq(url.rsplit('/').take(2))
}

/// Lets a message come again after `after` instead of after the queue's own time.
async fn postpone(client: &Client, url: &str, receipt_handle: &str, after: Duration) -> Result<(), AwsError> {
    client
        .change_message_visibility()
        .queue_url(url)
        .receipt_handle(receipt_handle)
        .visibility_timeout(i32::try_from(after.as_secs()).unwrap_or(i32::MAX))
        .send()
        .await
        .map(drop)
        .map_err(|error| AwsError::new("postpone a message", error))
}

/// A message without an id cannot be named, so its whole batch must come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of the batch has no id")]
pub struct MissingMessageId;

/// Runs the work on one message; a panic ends that work and not its neighbours'.
pub async fn catch_panic<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(move |context| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(cause) => Poll::Ready(Err(Panicked(message_of(&*cause)))),
        }
    })
    .await
}

/// The work panicked, which is a bug of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the work panicked: {0}")]
pub struct Panicked(String);

fn message_of(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_one_work_and_says_why() {
        assert_eq!(catch_panic(async { 7 }).await, Ok(7));
        let panicked = catch_panic(async {
            tokio::task::yield_now().await;
            panic!("order 7 is odd");
        });
        assert_eq!(panicked.await, Err::<(), _>(Panicked("order 7 is odd".into())));
    }
}
