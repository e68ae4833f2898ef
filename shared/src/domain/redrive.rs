//! Messages that were given up, and giving them another chance.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RedriveId;

/// Where messages lie that were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DeadLetterQueue {
    /// Deliveries, pages of orders and mapping jobs that the normalizer could not work on.
    Intake,
    /// Runs that no sync worker could go on with.
    SyncJobs,
    /// Events that the sales domain has given up.
    Sales,
    /// What the sales domain has said and we could not take, and what we wanted to say to a till later.
    SalesReplies,
}

/// A name that is none of these queues'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no queue of messages that were given up")]
pub struct UnknownDeadLetterQueue;

impl DeadLetterQueue {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Intake, Self::SyncJobs, Self::Sales, Self::SalesReplies];

    /// The word in URLs, keys and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::SyncJobs => "sync-jobs",
            Self::Sales => "sales",
            Self::SalesReplies => "sales-replies",
        }
    }
}

impl fmt::Display for DeadLetterQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeadLetterQueue {
    type Err = UnknownDeadLetterQueue;
    fn from_str(name: &str) -> Result<Self, UnknownDeadLetterQueue> {
        Self::ALL.into_iter().find(|queue| queue.as_str() == name).ok_or(UnknownDeadLetterQueue)
    }
}

/// Which messages of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RedriveScope {
    /// All that were given up for this reason.
    Reason(String),
    /// This one, by the queue's id.
    MessageId(String),
}

/// Messages of a queue that are sent once more to where they were given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Redrive {
    /// Its own.
    pub id: RedriveId,
    /// From where.
    pub queue: DeadLetterQueue,
    /// What.
    pub scope: RedriveScope,
    /// Who asked for it.
    pub by: String,
    /// When. What is given up later is no part of it, or a message that fails at once would go round for ever.
    pub at: Timestamp,
    /// How far it is.
    pub state: RedriveState,
    /// Messages that were sent again. After a crash one may have been sent that is not counted.
    pub moved: u64,
    /// Messages that could not be sent again, and still lie there.
    pub failed: u64,
    /// When nothing was left to do.
    pub ended_at: Option<Timestamp>,
}

/// How far a redrive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RedriveState {
    /// It begins, or goes on, within a minute.
    Running,
    /// Nothing is left to do.
    Done,
}
