//! Stand-in for the sales domain: the consumer behind the sales queue.
//!
//! It does what the contract asks of a consumer and no more: it keeps the highest revision of each transaction,
//! counts only what is completed, and answers. So its totals say what our neighbour would have believed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use aws_sdk_sqs::{
    Client,
    types::{DeleteMessageBatchRequestEntry, Message, SendMessageBatchRequestEntry},
};
use aws_types::SdkConfig;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{Stack, wait::wait_for};

/// When the sales domain answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// As soon as it has a message.
    AtOnce,
    /// Some time later.
    After(Duration),
    /// It takes messages and stays silent.
    Never,
}

/// What one figure is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TotalKey {
    /// Whose sales.
    pub tenant: String,
    /// Which provider's till.
    pub provider: String,
    /// ISO 4217 code.
    pub currency: String,
    /// `sale` or `refund`; both have positive amounts.
    pub kind: String,
    /// The shop's accounting day.
    pub business_date: String,
}

/// How many, and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Completed transactions.
    pub count: u64,
    /// Sum of their totals in minor units.
    pub total_minor: i64,
}

/// What arrived, message by message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages taken from the queue.
    pub received: u64,
    /// Of these, events whose id had been seen before.
    pub duplicates: u64,
    /// Of these, first sightings of a revision older than the one already known.
    pub stale: u64,
    /// Messages that are not the event the contract describes. They stay on the queue, as evidence.
    pub unreadable: u64,
    /// Answers sent.
    pub answered: u64,
}

/// The newest state of one transaction, as the sales domain knows it.
#[derive(Debug, Clone)]
pub struct KnownTransaction {
    /// Its revision.
    pub revision: u64,
    /// The whole event that brought it.
    pub event: Value,
    /// When that came.
    pub received_at: Timestamp,
    /// When this was first known to be completed.
    pub completed_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Ledger {
    counts: Counts,
    /// `None` keeps everybody's.
    kept_tenant: Option<String>,
    seen: BTreeSet<String>,
    known: BTreeMap<String, KnownTransaction>,
}

/// The running stand-in. It stops when dropped.
#[derive(Debug)]
pub struct SalesDomain {
    ledger: Arc<Mutex<Ledger>>,
    answers: Arc<Mutex<Answers>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl SalesDomain {
    /// Starts to consume the stack's sales queue, on a thread of its own: it outlives the runtime of a single test.
    #[must_use]
    pub fn start(stack: &Stack, answers: Answers) -> Self {
        Self::start_with(stack, answers, Ledger::default())
    }

    /// The same, but it answers all and keeps what it hears of one tenant only: of the others there may be too much.
    #[must_use]
    pub fn start_for(stack: &Stack, answers: Answers, tenant: &str) -> Self {
        Self::start_with(stack, answers, Ledger { kept_tenant: Some(tenant.to_owned()), ..Ledger::default() })
    }

    fn start_with(stack: &Stack, answers: Answers, ledger: Ledger) -> Self {
        let ledger = Arc::new(Mutex::new(ledger));
        let answers = Arc::new(Mutex::new(answers));
        let (stop, stopped) = watch::channel(false);
        let consumer = Consumer {
            config: stack.config(),
            sales: stack.output("SalesQueueUrl").unwrap_or_default().to_owned(),
            replies: stack.output("SalesRepliesQueueUrl").unwrap_or_default().to_owned(),
            ledger: Arc::clone(&ledger),
            answers: Arc::clone(&answers),
        };
        let thread =
            std::thread::spawn(move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(consumer.run(stopped)),
                Err(error) => eprintln!("the sales domain cannot start: {error}"),
            });
        Self { ledger, answers, stop, thread: Some(thread) }
    }

    /// Changes when it answers, from the next message on.
    pub fn answer(&self, answers: Answers) {
        *lock(&self.answers) = answers;
    }

    /// What arrived so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.ledger).counts
    }

    /// Newest state of each transaction, by its id.
    #[must_use]
    pub fn transactions(&self) -> BTreeMap<String, KnownTransaction> {
        lock(&self.ledger).known.clone()
    }

    /// What it believes was sold: completed transactions only.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<TotalKey, Total> {
        let mut totals = BTreeMap::<TotalKey, Total>::new();
        for known in lock(&self.ledger).known.values() {
            let Ok(event) = Event::deserialize(&known.event) else {
                continue;
            };
            let transaction = event.data.transaction;
            if transaction.status != "completed" {
                continue;
            }
            let key = TotalKey {
                tenant: event.tenantid,
                provider: transaction.provider,
                currency: transaction.currency,
                kind: transaction.kind,
                business_date: transaction.business_date,
            };
            let total = totals.entry(key).or_default();
            total.count += 1;
            total.total_minor += transaction.amounts.total_minor;
        }
        totals
    }

    /// Looks again and again until `is_enough`, and says whether it came to that in time.
    #[must_use]
    pub fn wait_until(&self, within: Duration, is_enough: impl Fn(&Self) -> bool) -> bool {
        wait_for(within, || is_enough(self)).is_some()
    }
}

impl Drop for SalesDomain {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The parts of the event that a consumer must read.
#[derive(Deserialize)]
struct Event {
    id: String,
    subject: String,
    tenantid: String,
    data: EventBody,
}

#[derive(Deserialize)]
struct EventBody {
    revision: u64,
    transaction: Transaction,
}

#[derive(Deserialize)]
struct Transaction {
    configuration_id: String,
    provider: String,
    kind: String,
    status: String,
    currency: String,
    business_date: String,
    amounts: Amounts,
}

#[derive(Deserialize)]
struct Amounts {
    total_minor: i64,
}

struct Consumer {
    config: SdkConfig,
    sales: String,
    replies: String,
    ledger: Arc<Mutex<Ledger>>,
    answers: Arc<Mutex<Answers>>,
}

impl Consumer {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let client = Client::new(&self.config);
        loop {
            let receive =
                client.receive_message().queue_url(&self.sales).max_number_of_messages(10).wait_time_seconds(5).send();
            let received = tokio::select! {
                _ = stopped.changed() => return,
                received = receive => received,
            };
            match received {
                Ok(batch) => self.take(&client, batch.messages()).await,
                // The emulator may be gone already, or a test may be breaking the wire on purpose.
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Ten at a time, as a consumer that has to keep up does.
    async fn take(&self, client: &Client, messages: &[Message]) {
        let answers = *lock(&self.answers);
        let mut taken: Vec<(&Message, Value)> = Vec::new();
        for message in messages {
            let body = serde_json::from_str::<Value>(message.body().unwrap_or_default()).unwrap_or_default();
            let Ok(event) = Event::deserialize(&body) else {
                lock(&self.ledger).counts.unreadable += 1;
                continue;
            };
            taken.push((message, acceptance(&event)));
            lock(&self.ledger).record(event, body);
        }
        if taken.is_empty() {
            return;
        }
        let replies = taken.iter().enumerate().filter_map(|(index, (_, reply))| {
            let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(reply.to_string());
            entry.build().ok()
        });
        let replies: Vec<_> = replies.collect();
        let send = client.send_message_batch().queue_url(&self.replies).set_entries(Some(replies));
        match answers {
            Answers::AtOnce => {
                let sent = send.send().await;
                let is_sent = |index: usize| {
                    sent.as_ref()
                        .is_ok_and(|sent| sent.successful().iter().any(|entry| entry.id() == index.to_string()))
                };
                // What was not answered is not deleted: the queue brings it again, as it would with a real consumer.
                let mut index = 0..;
                taken.retain(|_| index.next().is_some_and(is_sent));
                lock(&self.ledger).counts.answered += u64::try_from(taken.len()).unwrap_or_default();
            }
            Answers::After(delay) => {
                let (ledger, count) = (Arc::clone(&self.ledger), u64::try_from(taken.len()).unwrap_or_default());
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    if send.send().await.is_ok() {
                        lock(&ledger).counts.answered += count;
                    }
                });
            }
            Answers::Never => {}
        }
        let done = taken.iter().enumerate().filter_map(|(index, (message, _))| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
            entry.receipt_handle(message.receipt_handle()?).build().ok()
        });
        let done: Vec<_> = done.collect();
        if !done.is_empty() {
            let _ = client.delete_message_batch().queue_url(&self.sales).set_entries(Some(done)).send().await;
        }
    }
}

impl Ledger {
    fn record(&mut self, event: Event, body: Value) {
        self.counts.received += 1;
        if !self.seen.insert(event.id) {
            self.counts.duplicates += 1;
            return;
        }
        if self.kept_tenant.as_ref().is_some_and(|kept| *kept != event.tenantid) {
            return;
        }
        let revision = event.data.revision;
        let is_completed = event.data.transaction.status == "completed";
        if self.known.get(&event.subject).is_some_and(|known| known.revision >= revision) {
            self.counts.stale += 1;
            return;
        }
        let received_at = Timestamp::now();
        let before = self.known.get(&event.subject).and_then(|known| known.completed_at);
        let completed_at = before.or_else(|| is_completed.then_some(received_at));
        self.known.insert(event.subject, KnownTransaction { revision, event: body, received_at, completed_at });
    }
}

fn acceptance(event: &Event) -> Value {
    json!({
        "specversion": "1.0",
        "id": uuid::Uuid::new_v4(),
        "source": "/sales",
        "type": "sales.transaction.accepted.v1",
        "subject": event.subject,
        "time": Timestamp::now().to_string(),
        "datacontenttype": "application/json",
        "tenantid": event.tenantid,
        "data": {
            "configuration_id": event.data.transaction.configuration_id,
            "transaction_id": event.subject,
            "revision": event.data.revision,
            "sales_record_id": format!("sales-{}", event.subject),
        },
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, subject: &str, revision: u64) -> (Event, Value) {
        let body = json!({
            "id": id, "subject": subject, "tenantid": "t",
            "data": { "revision": revision, "transaction": {
                "configuration_id": "c", "provider": "square", "kind": "sale", "status": "completed", "currency": "USD",
                "business_date": "2026-11-22", "amounts": { "total_minor": 100 },
            }},
        });
        (Event::deserialize(&body).unwrap(), body)
    }

    #[test]
    fn the_highest_revision_wins_in_any_order() {
        let mut ledger = Ledger::default();
        for (id, revision) in [("a:2", 2), ("a:1", 1), ("a:2", 2)] {
            let (event, body) = event(id, "a", revision);
            ledger.record(event, body);
        }
        assert_eq!(ledger.known["a"].revision, 2);
        assert_eq!(ledger.counts, Counts { received: 3, duplicates: 1, stale: 1, ..Counts::default() });
    }
}
