//! Sends what was given up to where it came from, when somebody has asked for it.

use std::time::Instant;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use shared::domain::{DeadLetterQueue, Redrive, RedriveScope, RedriveState};
use shared::queue::dead_letters::{DeadLetter, DeadLetters};

use crate::{App, TickError};

/// Each message waits for its queue some milliseconds.
const SENDS_AT_ONCE: usize = 8;
/// What could not be sent is tried again for so long.
const PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// Goes on with the redrive of a queue, if there is one. How many messages were sent.
pub async fn go_on(
    app: &App,
    queue: DeadLetterQueue,
    letters: &DeadLetters,
    deadline: Instant,
) -> Result<u64, TickError> {
    let mut seen = app.coordination.load_redrives(queue).await?;
    let Some(mut redrive) = seen.running().cloned() else { return Ok(0) };
    let before = redrive.moved;
    // They stay hidden until the end of the walk, so that it does not meet them over and over.
    let mut left: Vec<String> = Vec::new();
    let walked: Result<(), TickError> = async {
        redrive.failed = 0;
        loop {
            if Instant::now() >= deadline {
                return Ok(());
            }
            let found = letters.receive().await?;
            let is_end = found.is_empty();
            let (wanted, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|letter| is_meant(&redrive, letter));
            left.extend(others.iter().map(DeadLetter::handle));
            let mut sends = Vec::with_capacity(wanted.len());
            for letter in wanted {
                sends.push(async { (letters.send_back(&letter).await, letter) });
            }
            let sent: Vec<_> = stream::iter(sends).buffer_unordered(SENDS_AT_ONCE).collect().await;
            for (result, letter) in sent {
                match result {
                    Ok(()) => redrive.moved += 1,
                    Err(error) => {
                        tracing::warn!(queue = %queue, message.id = letter.id(), error = ?error, "a message could not be sent again");
                        redrive.failed += 1;
                        left.push(letter.handle());
                    }
                }
            }
            let is_found = matches!(redrive.scope, RedriveScope::MessageId(_)) && redrive.moved > 0;
            // Others may be looking at some of them, which appear again in a moment.
            let is_empty = is_end && letters.depth().await?.in_flight <= u64::try_from(left.len()).unwrap_or(u64::MAX);
            let is_given_up = Timestamp::now().duration_since(redrive.at) > PATIENCE;
            if is_found || (is_empty && (redrive.failed == 0 || is_given_up)) {
                redrive.state = RedriveState::Done;
                redrive.ended_at = Some(Timestamp::now());
            }
            let Some(written) = app.coordination.save_redrive(&seen, &redrive).await? else {
                tracing::warn!(queue = %queue, redrive.id = %redrive.id, "somebody else is at this redrive");
                return Ok(());
            };
            seen = written;
            if is_end || redrive.state == RedriveState::Done {
                return Ok(());
            }
        }
    }
    .await;
    letters.release(&left).await;
    walked?;
    let Redrive { id, moved, failed, state, by, .. } = &redrive;
    tracing::info!(queue = %queue, redrive.id = %id, subject = by, moved, failed, state = ?state, "worked on a redrive");
    Ok(redrive.moved - before)
}

fn is_meant(redrive: &Redrive, letter: &DeadLetter) -> bool {
    let is_named = match &redrive.scope {
        RedriveScope::Reason(reason) => *reason == letter.reason,
        RedriveScope::MessageId(id) => id == letter.id(),
    };
    is_named && letter.sent_at <= redrive.at
}
