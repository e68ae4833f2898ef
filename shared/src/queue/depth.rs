//! How much lies on a queue.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;

use crate::aws::AwsError;

/// What SQS counts, approximately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that could be taken now.
    pub visible: u64,
    /// Messages that somebody works on.
    pub in_flight: u64,
    /// Messages that are held back.
    pub delayed: u64,
}

/// Asks a queue.
pub async fn depth(client: &Client, url: &str) -> Result<Depth, AwsError> {
    use QueueAttributeName as Name;
    let answer = client
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(Name::ApproximateNumberOfMessages)
        .attribute_names(Name::ApproximateNumberOfMessagesNotVisible)
        .attribute_names(Name::ApproximateNumberOfMessagesDelayed)
        .send()
        .await
        .map_err(|error| AwsError::new("ask a queue how much lies on it", error))?;
    let count = |name: &Name| {
        let counts = answer.attributes().and_then(|all| all.get(name)).and_then(|count| count.parse().ok());
        counts.unwrap_or_default()
    };
    Ok(Depth {
        visible: count(&Name::ApproximateNumberOfMessages),
        in_flight: count(&Name::ApproximateNumberOfMessagesNotVisible),
        delayed: count(&Name::ApproximateNumberOfMessagesDelayed),
    })
}
