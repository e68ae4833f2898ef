//! What is done with the past: first shown, day by day, then done exactly as it was shown.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{JobId, LocationId};

/// Work on past business days: a remapping, or a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PastJob {
    /// Which one.
    pub id: JobId,
    /// Who wants it.
    pub by: String,
    /// Since when.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// How far it is.
    pub state: PastState,
    /// The first business day.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    pub from: Date,
    /// The last one. Days are worked on from the last to the first.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    pub to: Date,
    /// Days that were looked at for the preview.
    pub days_previewed: u32,
    /// Days that were done since somebody has agreed.
    pub days_applied: u32,
    /// Of the day that is being worked on shop by shop: the last shop that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shop: Option<LocationId>,
    /// Transactions that would change, or be new.
    pub transactions: u64,
    /// Transactions that have changed.
    pub transactions_applied: u64,
    /// Rows of days that were left as they are, because what would change there was no longer what had been shown.
    pub days_skipped: u32,
}

/// How far work on the past is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PastState {
    /// It is being found out what would change. Nothing does.
    Previewing,
    /// It can be looked at and agreed to.
    Previewed,
    /// What was shown is being done.
    Applying,
    /// It is done.
    Applied,
}

impl PastJob {
    /// One that nothing has been done for yet.
    pub fn new(id: JobId, by: String, (from, to): (Date, Date)) -> Self {
        Self {
            id,
            by,
            at: Timestamp::now(),
            state: PastState::Previewing,
            from,
            to,
            days_previewed: 0,
            days_applied: 0,
            shop: None,
            transactions: 0,
            transactions_applied: 0,
            days_skipped: 0,
        }
    }

    /// How many business days it covers.
    pub fn days(&self) -> u32 {
        let days = self.from.until(self.to).map_or(0, |span| span.get_days());
        u32::try_from(days).unwrap_or(0) + 1
    }

    /// The day to be worked on next, in the state it is in.
    pub fn next_day(&self) -> Option<Date> {
        let done = match self.state {
            PastState::Previewing => self.days_previewed,
            PastState::Applying => self.days_applied,
            PastState::Previewed | PastState::Applied => return None,
        };
        let day = self.to.checked_sub(jiff::Span::new().days(done)).ok()?;
        (day >= self.from).then_some(day)
    }

    /// With a row of the preview: so many transactions would change.
    pub fn shown(self, transactions: u64) -> Self {
        Self { transactions: self.transactions + transactions, ..self }
    }

    /// With a row that has come to its end.
    pub fn ended(self, outcome: Option<DayOutcome>, transactions: u64) -> Self {
        let applied = if outcome == Some(DayOutcome::Applied) { transactions } else { 0 };
        Self {
            transactions_applied: self.transactions_applied + applied,
            days_skipped: self.days_skipped + u32::from(outcome == Some(DayOutcome::ChangedSincePreview)),
            ..self
        }
    }

    /// With one day more that was looked at, or done.
    pub fn day_over(self) -> Self {
        match self.state {
            PastState::Applying => Self { days_applied: self.days_applied + 1, shop: None, ..self },
            PastState::Previewing | PastState::Previewed | PastState::Applied => {
                Self { days_previewed: self.days_previewed + 1, shop: None, ..self }
            }
        }
    }
}

/// What a kind of work on the past keeps of a day, in rows of its own.
pub trait PastDay: Serialize + DeserializeOwned {
    /// How its jobs are called in keys, and how their days.
    const WORDS: [&'static str; 2];

    /// Which of the job's rows it is: begins with the day.
    fn place(&self) -> String;

    /// What became of it; absent in a preview.
    fn outcome(&self) -> Option<DayOutcome>;
}

/// What became of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DayOutcome {
    /// What was shown was done.
    Applied,
    /// Transactions have changed since so that what would be done is not what was shown, so nothing was.
    ChangedSincePreview,
}
