//! What the sales domain has not acknowledged in time is sent again, less and less often, for as long as it takes.
//!
//! Sending comes before noting that it was sent: a crash between the two sends once more, which harms nobody.
//!
//! As long as sales or answers pile up on their queues, only a few are sent again: more would be more of what is too much
//! already, and mostly what lies there is not lost.

use std::time::{Duration, Instant, SystemTime};

use aws_sdk_sqs::Client;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::Context;
use shared::aws::AwsError;
use shared::queue::depth::depth;
use shared::queue::sales::{SalesQueue, Urgency};
use shared::store::StoreError;
use shared::store::transactions::{OutboxMark, Stored, TransactionKey, Transactions};
use shared::telemetry::metrics::{self, Way};
use shared::telemetry::{Line, TraceParent};

/// Nobody waits longer than this for the next attempt.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);
/// Items of one query: what DynamoDB reads at once.
const PAGE: i32 = 100;
/// Each mark waits for the table some milliseconds.
const WRITES_AT_ONCE: usize = 8;
/// What is left of the time when no further item is begun.
const RESERVE: Duration = Duration::from_secs(5);

/// More messages than are on their way when all is well.
const JAM: u64 = 1000;
/// So many of each shard are sent again then: what nobody has sent before gets through, and no storm begins.
const TRICKLE: i32 = 10;

/// The two queues on which a sale waits for its answer.
pub struct Ways {
    /// Of SQS.
    pub client: Client,
    /// To the sales domain, and back.
    pub urls: [String; 2],
}

impl Ways {
    async fn are_jammed(&self) -> Result<bool, AwsError> {
        let [there, back] = &self.urls;
        let (there, back) = tokio::try_join!(depth(&self.client, there), depth(&self.client, back))?;
        Ok(there.visible > JAM || back.visible > JAM)
    }
}

/// What a sweep needs, made once per execution environment.
pub struct App {
    /// Where the marks are.
    pub transactions: Transactions,
    /// Where to send.
    pub sales: SalesQueue,
    /// Where what was sent may still be.
    pub ways: Ways,
    /// How long the first answer may take.
    pub first_resend_after: SignedDuration,
}

/// Why a sweep stopped. What it had not reached is still due at the next.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue failed.
    #[error(transparent)]
    Send(#[from] AwsError),
}

/// What a sweep has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Transactions that were sent again.
    pub resent: usize,
    /// Those of them that have been sent so often that a person should look at the sales domain.
    pub overdue: usize,
    /// Transactions that the queue did not take.
    pub refused: usize,
    /// Only a few were sent, because what was sent before still waits.
    pub is_held_back: bool,
}

/// Sends again everything that is due, or as much as there is time for.
pub async fn sweep(app: &App, context: &Context) -> Result<Swept, SweepError> {
    let time_left = context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    let deadline = Instant::now() + time_left.saturating_sub(RESERVE);
    let (mut line, now) = (Line::begin("sweep"), Timestamp::now());
    // Where nobody answers, what is due was never sent.
    let is_held_back = app.sales.is_answered() && app.ways.are_jammed().await?;
    let page = if is_held_back { TRICKLE } else { PAGE };
    let mut swept = Swept { is_held_back, ..Swept::default() };
    // Another shard first each time, so that none waits for ever when there is more due than time.
    let shards = Transactions::outbox_shards();
    let first = usize::try_from(now.as_second() / 60).unwrap_or(0) % shards.len();
    'shards: for shard in shards.clone().cycle().skip(first).take(shards.len()) {
        let mut position = None;
        loop {
            let due = app.transactions.list_due(shard, now, page, position).await?;
            if Instant::now() >= deadline {
                break 'shards;
            }
            send_again(app, &due.items, &mut swept).await?;
            position = due.next.filter(|_| !is_held_back);
            if position.is_none() {
                break;
            }
        }
    }
    let Swept { resent, overdue, refused, .. } = swept;
    metrics::swept(resent, overdue, refused);
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    line.counts = vec![("resent", number(resent)), ("overdue", number(overdue)), ("refused", number(refused))];
    let outcome = if is_held_back { ("held_back", "queues_are_jammed") } else { ("done", "") };
    line.ended(outcome.0, outcome.1).end("swept the outbox");
    if overdue > 0 {
        tracing::error!(overdue, "the sales domain does not acknowledge");
    }
    Ok(swept)
}

/// Sends some transactions again, ten in each call. One that the queue does not take does not hold up the others.
async fn send_again(app: &App, due: &[TransactionKey], swept: &mut Swept) -> Result<(), SweepError> {
    // The index may lag: it may have been answered, or revised and sent, a moment ago.
    let found = app.transactions.find_many(due).await?;
    let marked: Vec<&Stored> = found.iter().filter(|stored| stored.outbox.is_some()).collect();
    let refused = app.sales.send_many(&marked, Urgency::Past, &TraceParent::generate()).await?;
    for refused in &refused {
        tracing::error!(transaction.id = %refused.id, code = refused.code, "a transaction could not be sent again");
    }
    let is_sent = |stored: &&Stored| refused.iter().all(|it| it.id != stored.transaction.id);
    let sent: Vec<&Stored> = marked.into_iter().filter(is_sent).collect();
    let mut writes = Vec::with_capacity(sent.len());
    for stored in &sent {
        let attempts = stored.outbox.map_or(0, |mark| mark.attempts).saturating_add(1);
        swept.overdue += usize::from(OutboxMark { attempts }.is_overdue());
        let due_at = Timestamp::now() + wait(app.first_resend_after, attempts);
        writes.push(app.transactions.postpone(stored, attempts, due_at));
    }
    let written: Result<Vec<_>, StoreError> = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await;
    written?;
    app.sales.settle(&app.transactions, &sent).await?;
    metrics::sales_sent(Way::Resend, sent.len(), refused.len());
    swept.resent += sent.len();
    swept.refused += refused.len();
    Ok(())
}

fn wait(first: SignedDuration, attempts: u32) -> SignedDuration {
    first.saturating_mul(2_i32.saturating_pow(attempts)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_further_apart_but_never_end() {
        let first = SignedDuration::from_secs(120);
        let waits: Vec<i64> = (1..=6).map(|attempts| wait(first, attempts).as_secs()).collect();
        assert_eq!(waits, [240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(wait(first, u32::MAX), LONGEST_WAIT);
    }
}
