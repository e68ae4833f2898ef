//! Stand-in for the sales domain: the [reference consumer](contract) on a thread of its own, at the stack's queues.
//!
//! What it believes is the reference's affair. Added is what a test wants of a neighbour: to be silent or unreliable,
//! and to tell what it has seen.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use contract::{
    consumer::Consumer,
    event::{DayData, Event, Unreadable},
    ledger::{Effect, Ledger, Total, TotalKey},
    reply::Reply,
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::{Stack, wait::wait_for};

/// How long it waits for messages at a time.
const WAIT: Duration = Duration::from_secs(5);
/// After a failure: the emulator may be gone already, or a test may be breaking the wire on purpose.
const PAUSE: Duration = Duration::from_millis(200);
/// What is delayed is delayed for so long.
const DELAY: Duration = Duration::from_secs(3);

/// How the sales domain answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// As soon as it has a message.
    AtOnce,
    /// It takes messages, writes them down and stays silent.
    Never,
    /// One message of so many is lost, worked on twice, or worked on three seconds later; the others at once.
    Unreliable {
        /// Of so many, one.
        one_in: u64,
        /// Decides which, and what becomes of it.
        seed: u64,
    },
}

/// What arrived, message by message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that were worked on.
    pub received: u64,
    /// Of these, events that were known already.
    pub duplicates: u64,
    /// Of these, revisions older than the one already known.
    pub stale: u64,
    /// Messages that are not the event the contract describes. They stay on the queue, as evidence.
    pub unreadable: u64,
    /// Answers sent.
    pub answered: u64,
    /// Messages that an unreliable sales domain has lost.
    pub lost: u64,
    /// Messages on which it has worked twice.
    pub doubled: u64,
    /// Messages on which it has worked late.
    pub delayed: u64,
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

/// The books, and what was seen beside them.
#[derive(Debug, Default)]
struct Notes {
    ledger: Ledger,
    counts: Counts,
    /// `None` keeps everybody's events.
    kept_tenant: Option<String>,
    known: BTreeMap<String, KnownTransaction>,
    /// Messages of which an unreliable sales domain has decided what becomes of them.
    decided: u64,
}

/// The running stand-in. It stops when dropped.
#[derive(Debug)]
pub struct SalesDomain {
    notes: Arc<Mutex<Notes>>,
    answers: Arc<Mutex<Answers>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl SalesDomain {
    /// Starts to consume the stack's sales queue, on a thread of its own: it outlives the runtime of a single test.
    #[must_use]
    pub fn start(stack: &Stack, answers: Answers) -> Self {
        Self::start_with(stack, answers, Notes::default())
    }

    /// The same, but of other tenants than this it keeps no events: of them there may be too much.
    #[must_use]
    pub fn start_for(stack: &Stack, answers: Answers, tenant: &str) -> Self {
        Self::start_with(stack, answers, Notes { kept_tenant: Some(tenant.to_owned()), ..Notes::default() })
    }

    fn start_with(stack: &Stack, answers: Answers, notes: Notes) -> Self {
        let notes = Arc::new(Mutex::new(notes));
        let answers = Arc::new(Mutex::new(answers));
        let (stop, stopped) = watch::channel(false);
        let queue = |output: &str| stack.output(output).unwrap_or_default().to_owned();
        let (config, sales, replies) = (stack.config(), queue("SalesQueueUrl"), queue("SalesRepliesQueueUrl"));
        let (for_notes, for_answers) = (Arc::clone(&notes), Arc::clone(&answers));
        let thread =
            std::thread::spawn(move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                // The client belongs to the runtime that first uses it.
                Ok(runtime) => runtime.block_on(async {
                    let consumer = Consumer::new(&config, &sales, &replies);
                    consume(&consumer, &for_notes, &for_answers, stopped).await;
                }),
                Err(error) => eprintln!("the sales domain cannot start: {error}"),
            });
        Self { notes, answers, stop, thread: Some(thread) }
    }

    /// Changes how it answers, from the next message on.
    pub fn answer(&self, answers: Answers) {
        *lock(&self.answers) = answers;
    }

    /// What arrived so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.notes).counts
    }

    /// Newest state of each transaction, by its id.
    #[must_use]
    pub fn transactions(&self) -> BTreeMap<String, KnownTransaction> {
        lock(&self.notes).known.clone()
    }

    /// What it believes was sold: completed transactions only.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<TotalKey, Total> {
        lock(&self.notes).ledger.totals()
    }

    /// The newest word on each shop's day.
    #[must_use]
    pub fn days(&self) -> Vec<DayData> {
        lock(&self.notes).ledger.days().map(|(_, day)| day.clone()).collect()
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

async fn consume(
    consumer: &Consumer,
    notes: &Arc<Mutex<Notes>>,
    answers: &Mutex<Answers>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let received = tokio::select! {
            _ = stopped.changed() => return,
            received = consumer.receive(WAIT) => received,
        };
        let Ok(messages) = received else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let answers = *lock(answers);
        let mut delayed = Vec::new();
        let take = |body: &str| {
            let mut notes = lock(notes);
            match notes.fate(answers) {
                Fate::Answered => notes.take(body),
                Fate::Silent => notes.take(body).map(|_| Vec::new()),
                Fate::Lost => Ok(Vec::new()),
                Fate::Doubled => Ok([notes.take(body)?, notes.take(body)?].concat()),
                Fate::Delayed => {
                    delayed.push(body.to_owned());
                    Ok(Vec::new())
                }
            }
        };
        // What was not answered comes again.
        if let Ok(turn) = consumer.work(&messages, take).await {
            lock(notes).counts.answered += turn.answered;
        }
        for body in delayed {
            let (consumer, notes) = (consumer.clone(), Arc::clone(notes));
            tokio::spawn(async move {
                tokio::time::sleep(DELAY).await;
                let replies = lock(&notes).take(&body).unwrap_or_default();
                let are_sent = consumer.answer(&replies.iter().collect::<Vec<_>>()).await;
                lock(&notes).counts.answered += are_sent.into_iter().map(u64::from).sum::<u64>();
            });
        }
    }
}

/// What becomes of a message.
enum Fate {
    Answered,
    Silent,
    Lost,
    Doubled,
    Delayed,
}

impl Notes {
    fn fate(&mut self, answers: Answers) -> Fate {
        let (one_in, seed) = match answers {
            Answers::AtOnce => return Fate::Answered,
            Answers::Never => return Fate::Silent,
            Answers::Unreliable { one_in, seed } => (one_in.max(1), seed),
        };
        self.decided += 1;
        let draw = mixed(seed, self.decided);
        if !draw.is_multiple_of(one_in) {
            return Fate::Answered;
        }
        let counts = &mut self.counts;
        let (count, fate) = match (draw / one_in) % 3 {
            0 => (&mut counts.lost, Fate::Lost),
            1 => (&mut counts.doubled, Fate::Doubled),
            _ => (&mut counts.delayed, Fate::Delayed),
        };
        *count += 1;
        fate
    }

    /// As the reference takes it; and notes what a test may ask.
    fn take(&mut self, body: &str) -> Result<Vec<Reply>, Unreadable> {
        let event = Event::read(body).inspect_err(|_| self.counts.unreadable += 1)?;
        self.counts.received += 1;
        let taken = self.ledger.take(event.clone());
        match (taken.effect, event) {
            (Effect::Repeated, _) => self.counts.duplicates += 1,
            (Effect::Overtaken, _) => self.counts.stale += 1,
            (Effect::Booked, Event::Transaction(event)) => {
                if self.kept_tenant.as_ref().is_none_or(|kept| *kept == event.tenant) {
                    let (transaction, received_at) = (event.data.transaction, Timestamp::now());
                    let before = self.known.get(&transaction.id).and_then(|known| known.completed_at);
                    let known = KnownTransaction {
                        revision: event.data.revision,
                        event: serde_json::from_str(body).unwrap_or_default(),
                        received_at,
                        completed_at: before.or_else(|| transaction.counts().then_some(received_at)),
                    };
                    self.known.insert(transaction.id, known);
                }
            }
            (Effect::Erased, Event::Erased(event)) => {
                let (tenant, gone) = (event.tenant, event.data.configuration_id);
                self.known.retain(|_, known| {
                    let text = |pointer: &str| known.event.pointer(pointer).and_then(Value::as_str);
                    let of = (text("/tenantid"), text("/data/transaction/configuration_id"));
                    of != (Some(tenant.as_str()), Some(gone.as_str()))
                });
            }
            (Effect::Booked | Effect::Refused | Effect::Erased | Effect::TooLate | Effect::Ignored, _) => {}
        }
        Ok(taken.reply.into_iter().collect())
    }
}

/// A number that looks like chance and is the same for the same seed: the finalizer of SplitMix64,
/// <https://prng.di.unimi.it/splitmix64.c>.
fn mixed(seed: u64, nth: u64) -> u64 {
    let mut z = seed.wrapping_add(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use contract::letters::{Scene, Spec};

    use super::*;

    #[test]
    fn the_newest_event_is_kept_and_the_others_are_counted() {
        let (mut notes, scene, sale) = (Notes::default(), Scene::new("t", "SHOP1", "2026-11-22"), Spec::sale(100));
        for revision in [2, 1, 2] {
            notes.take(&scene.event(&sale.revised(revision, 100)).body).unwrap();
        }
        let id = sale.id.to_string();
        assert_eq!(notes.known[&id].revision, 2);
        assert_eq!(notes.counts, Counts { received: 3, duplicates: 1, stale: 1, ..Counts::default() });
        assert!(notes.take("no JSON").is_err());
        notes.take(&scene.erased().body).unwrap();
        assert!(notes.known.is_empty());
        assert_eq!(notes.counts.unreadable, 1);
    }

    #[test]
    fn an_unreliable_one_mistreats_one_message_in_five_in_three_ways() {
        let (mut notes, mut mistreated) = (Notes::default(), 0);
        for _ in 0..3_000 {
            let fate = notes.fate(Answers::Unreliable { one_in: 5, seed: 7 });
            mistreated += u32::from(!matches!(fate, Fate::Answered));
        }
        let Counts { lost, doubled, delayed, .. } = notes.counts;
        assert!((500..700).contains(&mistreated), "{mistreated}");
        assert!([lost, doubled, delayed].iter().all(|count| (140..260).contains(count)), "{:?}", notes.counts);
    }
}
