//! Towards the sales domain and back: CloudEvents 1.0 in JSON.
//!
//! An event carries the full state of one revision under an id that repeats keep, so a consumer may see it twice, late
//! or not at all and is still right in the end. It answers on the replies queue.

mod ending;
mod event;
mod reply;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry, SendMessageBatchResultEntry};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::{MAX_MESSAGE, ROOM_FOR_ATTRIBUTES, SendError, attribute};
use crate::aws::AwsError;
use crate::domain::TransactionId;
use crate::store::StoreError;
use crate::store::transactions::{Stored, Transactions};
use crate::telemetry::TraceParent;

pub use ending::{Ending, EndingsQueue, read_ending};
pub use event::{
    AvailabilityAnswered, AvailabilityEvent, AvailabilityResult, ConfigurationErased, DayEvent, DayFigures,
    ErasedEvent, Event, EventType, Phase, TransactionEvent,
};
pub use reply::{
    Acceptance, AcceptedReply, AvailabilityCommand, AvailabilityData, AvailabilityReply, RejectedReply, Rejection,
    RepliesQueue, Reply, Wanted, read_reply,
};

/// SQS takes no more messages in one call.
const BATCH: usize = 10;
/// Each write waits for the table some milliseconds.
const WRITES_AT_ONCE: usize = 8;

/// The queue to the sales domain.
pub struct SalesQueue {
    client: Client,
    url: String,
    is_answered: bool,
}

impl SalesQueue {
    /// `url`: the queue's.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url, is_answered: true }
    }

    /// Whether the sales domain says what it has taken.
    pub fn answered(self, is_answered: bool) -> Self {
        Self { is_answered, ..self }
    }

    /// Whether somebody does.
    pub fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Where nobody answers, what was sent is done.
    pub async fn settle(&self, transactions: &Transactions, sent: &[&Stored]) -> Result<(), StoreError> {
        if self.is_answered {
            return Ok(());
        }
        let mut writes = Vec::with_capacity(sent.len());
        for stored in sent {
            writes.push(transactions.settle_sent(stored));
        }
        stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await
    }

    /// Sends one revision in full.
    pub async fn send(&self, stored: &Stored, trace: &TraceParent) -> Result<(), SendError> {
        self.send_event(&TransactionEvent::of(stored, trace)).await
    }

    /// Sends an event that happens rarely.
    pub async fn send_event<D: Serialize>(&self, event: &Event<D>) -> Result<(), SendError> {
        let Outgoing { body, event_type, tenant } = Outgoing::new(event)?.ok_or(SendError::TooLarge)?;
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .message_attributes("type", attribute(event_type)?)
            .message_attributes("tenantid", attribute(&tenant)?)
            .message_group_id(Urgency::Live.group(&tenant))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::new("send an event", error).into())
    }

    /// Sends many revisions, as many at once as SQS takes. Answers those that it did not take: they stay marked as
    /// unanswered, and the sweeper sends them.
    pub async fn send_many(
        &self,
        revisions: &[&Stored],
        urgency: Urgency,
        trace: &TraceParent,
    ) -> Result<Vec<Refused>, AwsError> {
        const OPERATION: &str = "send transactions";
        let mut refused = Vec::new();
        let mut events = Vec::with_capacity(revisions.len());
        for stored in revisions {
            match Outgoing::new(&TransactionEvent::of(stored, trace))? {
                Some(event) => events.push((stored.transaction.id, event)),
                None => refused.push(Refused { id: stored.transaction.id, code: "TooLarge".to_owned() }),
            }
        }
        let sizes: Vec<usize> = events.iter().map(|(_, event)| event.body.len()).collect();
        let mut events = events.into_iter();
        for count in batches(&sizes) {
            let mut ids = Vec::with_capacity(count);
            let mut entries = Vec::with_capacity(count);
            for (index, (id, event)) in events.by_ref().take(count).enumerate() {
                ids.push(id);
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .message_attributes("type", attribute(event.event_type)?)
                    .message_attributes("tenantid", attribute(&event.tenant)?)
                    .message_group_id(urgency.group(&event.tenant))
                    .message_body(event.body);
                entries.push(entry.build().map_err(|error| AwsError::new(OPERATION, error))?);
            }
            let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
            let answer = request.send().await.map_err(|error| AwsError::new(OPERATION, error))?;
            refused.extend(not_taken(&ids, answer.successful(), answer.failed()));
        }
        Ok(refused)
    }
}

/// Whom a fair queue serves first: it holds back the groups with many messages.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// What is being sold: one tenant's flood does not delay the others.
    Live,
    /// What was sold long ago: a tenant's past does not delay its own live sales.
    Past,
}

impl Urgency {
    fn group(self, tenant: &str) -> String {
        match self {
            Self::Live => tenant.to_owned(),
            Self::Past => format!("{tenant}#past"),
        }
    }
}

/// A revision that the queue did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Of which transaction.
    pub id: TransactionId,
    /// SQS's word for the reason.
    pub code: String,
}

/// An event, ready to be sent.
struct Outgoing {
    event_type: &'static str,
    tenant: String,
    body: String,
}

impl Outgoing {
    /// `None`: it is larger than SQS carries.
    fn new<D: Serialize>(event: &Event<D>) -> Result<Option<Self>, AwsError> {
        let body = serde_json::to_string(event).map_err(|error| AwsError::new("build an event", error))?;
        let fits = body.len() <= MAX_MESSAGE - ROOM_FOR_ATTRIBUTES;
        let (event_type, tenant) = (event.event_type.as_str(), event.tenantid.as_str().to_owned());
        Ok(fits.then_some(Self { event_type, tenant, body }))
    }
}

/// How many go into each call: SQS takes ten, and no more together than what one message may have.
fn batches(sizes: &[usize]) -> Vec<usize> {
    let mut batches: Vec<(usize, usize)> = Vec::new();
    for size in sizes.iter().map(|size| size + ROOM_FOR_ATTRIBUTES) {
        match batches.last_mut() {
            Some((count, sum)) if *count < BATCH && *sum + size <= MAX_MESSAGE => {
                *count += 1;
                *sum += size;
            }
            _ => batches.push((1, size)),
        }
    }
    batches.into_iter().map(|(count, _)| count).collect()
}

/// Whatever SQS does not say that it took. Entries are named by their places.
fn not_taken(
    ids: &[TransactionId],
    successful: &[SendMessageBatchResultEntry],
    failed: &[BatchResultErrorEntry],
) -> Vec<Refused> {
    let mut refused = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        let name = index.to_string();
        if successful.iter().all(|entry| entry.id != name) {
            let failure = failed.iter().find(|entry| entry.id == name);
            let code = failure.map_or("NotMentioned", |entry| &entry.code).to_owned();
            refused.push(Refused { id: *id, code });
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_holds_ten_messages_and_no_more_than_a_large_one() {
        let large = MAX_MESSAGE - ROOM_FOR_ATTRIBUTES;
        let third = MAX_MESSAGE / 3;
        for (sizes, expected) in [
            (vec![], vec![]),
            (vec![4000; 25], vec![10, 10, 5]),
            (vec![large, 1, large], vec![1, 1, 1]),
            (vec![third; 5], vec![2, 2, 1]),
        ] {
            assert_eq!(batches(&sizes), expected, "{sizes:?}");
        }
    }

    #[test]
    fn the_past_of_a_tenant_is_no_part_of_its_live_group() {
        assert_eq!([Urgency::Live, Urgency::Past].map(|urgency| urgency.group("t_1")), ["t_1", "t_1#past"]);
    }

    #[test]
    fn what_the_queue_does_not_say_it_took_is_refused_entry_by_entry() {
        let ids: Vec<TransactionId> =
            (0..3).map(|n| format!("01938d5e-0000-8000-8000-00000000000{n}").parse().unwrap()).collect();
        let taken = |id: &str| {
            let entry = SendMessageBatchResultEntry::builder().id(id).message_id("m").md5_of_message_body("h");
            entry.build().unwrap()
        };
        let failed = BatchResultErrorEntry::builder().id("1").code("InternalError").sender_fault(false);
        let refused = not_taken(&ids, &[taken("0")], &[failed.build().unwrap()]);
        let refusal = |id: usize, code: &str| Refused { id: ids[id], code: code.to_owned() };
        assert_eq!(refused, [refusal(1, "InternalError"), refusal(2, "NotMentioned")]);
        assert_eq!(not_taken(&ids, &[taken("0"), taken("1"), taken("2")], &[]), []);
    }
}
