//! Messages that come again: which attempt it is, and when the next one may be.

use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;

use crate::aws::AwsError;
use crate::domain::Code;

/// The queue's own limit for a delay is twelve hours; nobody gains by waiting longer than this between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(900);

/// The message must come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later {
    /// Why.
    pub code: Code,
    /// What the provider, or its budget, asked for.
    after: Option<Duration>,
    /// Nothing is wrong, there was only no time left.
    is_unfinished: bool,
}

impl Later {
    /// For a reason of our own.
    pub const fn unexpected(code: Code) -> Self {
        Self::after(code, None)
    }

    /// Nothing is wrong: it goes on as soon as the queue brings it.
    pub const fn at_once(code: Code) -> Self {
        Self { code, after: None, is_unfinished: true }
    }

    /// Not sooner than this, if somebody has asked for it.
    pub const fn after(code: Code, after: Option<Duration>) -> Self {
        Self { code, after, is_unfinished: false }
    }

    /// When the message may come again after so many attempts: 5 s, 15 s, 45 s ... 15 min, and never sooner than asked for.
    pub fn delay(&self, attempt: u32) -> Duration {
        if self.is_unfinished {
            return Duration::ZERO;
        }
        let own = Duration::from_secs(5).saturating_mul(3_u32.saturating_pow(attempt.saturating_sub(1)));
        own.max(self.after.unwrap_or_default()).min(LONGEST_DELAY)
    }
}

#[cfg(feature = "store")]
impl From<crate::store::StoreError> for Later {
    fn from(error: crate::store::StoreError) -> Self {
        tracing::error!(error = ?error, "a table failed");
        Self::unexpected(Code::StoreUnavailable)
    }
}

/// Of a queue.
impl From<AwsError> for Later {
    fn from(error: AwsError) -> Self {
        tracing::error!(error = ?error, "a queue failed");
        Self::unexpected(Code::QueueUnavailable)
    }
}

/// Which of the queue's attempts this is, from 1.
pub fn attempt(message: &SqsMessage) -> u32 {
    message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_further_and_further_apart() {
        let delays: Vec<u64> = (1..=7).map(|attempt| Later::unexpected(Code::Paced).delay(attempt).as_secs()).collect();
        assert_eq!(delays, [5, 15, 45, 135, 405, 900, 900]);
        let wish = |seconds| Later::after(Code::Paced, Some(Duration::from_secs(seconds))).delay(1).as_secs();
        assert_eq!([wish(0), wish(30), wish(1_000_000)], [5, 30, 900]);
        assert_eq!(Later::at_once(Code::OutOfTime).delay(7), Duration::ZERO);
    }
}
