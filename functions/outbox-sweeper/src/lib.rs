//! What the sales domain has not acknowledged in time is sent again, less and less often, for as long as it takes.
//!
//! Sending comes before noting that it was sent: a crash between the two sends once more, which harms nobody.

use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use lambda_runtime::Context;
use shared::queue::SendError;
use shared::queue::sales::SalesQueue;
use shared::store::StoreError;
use shared::store::transactions::{TransactionKey, Transactions};
use shared::telemetry::TraceParent;

/// Nobody waits longer than this for the next attempt.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);
/// After so many attempts a person should look at the sales domain.
const OVERDUE_AFTER: u32 = 5;
/// Items of one query.
const PAGE: i32 = 50;
/// What is left of the time when no further item is begun.
const RESERVE: Duration = Duration::from_secs(5);

/// What a sweep needs, made once per execution environment.
pub struct App {
    /// Where the marks are.
    pub transactions: Transactions,
    /// Where to send.
    pub sales: SalesQueue,
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
    Send(#[from] SendError),
}

/// Sends again everything that is due, or as much as there is time for.
pub async fn sweep(app: &App, context: &Context) -> Result<(), SweepError> {
    let time_left = context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    let deadline = Instant::now() + time_left.saturating_sub(RESERVE);
    let now = Timestamp::now();
    let (mut resent, mut overdue, mut failed) = (0_u32, 0_u32, 0_u32);
    // Another shard first each time, so that none waits for ever when there is more due than time.
    let shards = Transactions::outbox_shards();
    let first = usize::try_from(now.as_second() / 60).unwrap_or(0) % shards.len();
    'shards: for shard in shards.clone().cycle().skip(first).take(shards.len()) {
        let mut position = None;
        loop {
            let due = app.transactions.list_due(shard, now, PAGE, position).await?;
            for key in &due.items {
                if Instant::now() >= deadline {
                    break 'shards;
                }
                match send_again(app, key).await {
                    Ok(attempts) => {
                        resent += u32::from(attempts > 0);
                        overdue += u32::from(attempts >= OVERDUE_AFTER);
                    }
                    // One that cannot be sent must not hold up the others.
                    Err(error) => {
                        failed += 1;
                        tracing::error!(transaction.id = %key.transaction_id, error = ?error, "a transaction could not be sent again");
                    }
                }
            }
            position = due.next;
            if position.is_none() {
                break;
            }
        }
    }
    tracing::info!(resent, overdue, failed, "swept the outbox");
    if overdue > 0 {
        tracing::error!(overdue, "the sales domain does not acknowledge");
    }
    Ok(())
}

/// Sends one transaction again. Answers how often that has been done.
async fn send_again(app: &App, key: &TransactionKey) -> Result<u32, SweepError> {
    // The index may lag: it may have been answered, or revised and sent, a moment ago.
    let Some(stored) = app.transactions.find(key).await? else { return Ok(0) };
    let Some(mark) = stored.outbox else { return Ok(0) };
    app.sales.send(&stored, &TraceParent::generate()).await?;
    let attempts = mark.attempts.saturating_add(1);
    app.transactions.postpone(&stored, attempts, Timestamp::now() + wait(app.first_resend_after, attempts)).await?;
    Ok(attempts)
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
