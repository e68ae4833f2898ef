//! What is looked at, and done again, of webhook deliveries that have been worked on.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventId, ReplayId};

/// How a delivery ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// Its transactions are stored, with at least its version.
    Done,
    /// It needs no work.
    Ignored,
    /// It could not be worked on; a replay helps when something else has changed.
    Failed,
    /// It came again until the queue gave it up.
    Dead,
}

impl DeliveryOutcome {
    /// The word in keys and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for DeliveryOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an outcome of a delivery")]
pub struct UnknownOutcome;

impl FromStr for DeliveryOutcome {
    type Err = UnknownOutcome;
    fn from_str(word: &str) -> Result<Self, UnknownOutcome> {
        let all = [Self::Done, Self::Ignored, Self::Failed, Self::Dead];
        all.into_iter().find(|outcome| outcome.as_str() == word).ok_or(UnknownOutcome)
    }
}

/// Deliveries that somebody wants to be worked on once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Replay {
    /// Which one.
    pub id: ReplayId,
    /// Who wants it.
    pub by: String,
    /// Since when.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// What is wanted.
    #[serde(flatten)]
    pub request: ReplayRequest,
    /// How many deliveries it is about.
    pub deliveries: u64,
}

/// Which deliveries are worked on once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReplayRequest {
    /// One.
    Delivery {
        /// Which.
        event_id: EventId,
    },
    /// All that have ended in one way and arrived within a time.
    Window {
        /// In which way.
        outcome: DeliveryOutcome,
        /// For this reason only.
        code: Option<String>,
        /// Arrived then or later; null: from the oldest that is kept.
        #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("format" = "date-time")))]
        from: Option<Timestamp>,
        /// Arrived then or earlier.
        #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
        to: Timestamp,
    },
}

/// What a replay has made of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Replayed {
    /// Which replay.
    pub replay_id: ReplayId,
    /// Who wanted it.
    pub by: String,
    /// When it was worked on.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// How it ended.
    pub outcome: DeliveryOutcome,
    /// Why, where it did not end well.
    #[cfg_attr(feature = "schema", schemars(schema_with = "super::delivery_code"))]
    pub code: Option<String>,
}
