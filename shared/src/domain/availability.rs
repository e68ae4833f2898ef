//! Whether something is there, who said so last, and what became of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{LocationId, Quantity};

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// No more.
    SoldOut,
    /// It is, without a count.
    Available,
    /// It is, so many.
    Left(Quantity),
}

impl Availability {
    /// Whether there is none.
    pub fn is_sold_out(self) -> bool {
        self == Self::SoldOut
    }
}

/// An item in a shop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemPlace {
    /// The shop.
    pub location_id: LocationId,
    /// The till's id of the item.
    pub item_id: String,
}

/// What became of a sold-out command at one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AvailabilityVerdict {
    /// The till shows it.
    Applied,
    /// The till showed it already.
    Unchanged,
    /// Somebody at the till has said otherwise since our last command, and knows better.
    Overridden,
    /// A newer command had been carried out before.
    Superseded,
    /// The provider, or this item there, cannot be told.
    Unsupported,
    /// The merchant has not permitted us to say it.
    NotPermitted,
    /// The provider knows no such item.
    UnknownItem,
    /// The connection has no such shop.
    UnknownLocation,
    /// The provider refused, or was away for too long.
    Failed,
}

impl AvailabilityVerdict {
    /// The word in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Overridden => "overridden",
            Self::Superseded => "superseded",
            Self::Unsupported => "unsupported",
            Self::NotPermitted => "not_permitted",
            Self::UnknownItem => "unknown_item",
            Self::UnknownLocation => "unknown_location",
            Self::Failed => "failed",
        }
    }

    /// Whether the till shows what was wanted.
    pub fn is_shown(self) -> bool {
        matches!(self, Self::Applied | Self::Unchanged)
    }
}

/// What the sales domain's commands have come to at an item in a shop: remembered so that a repeat is answered as the
/// first was, an older command comes to nothing, and a word of the staff's is told from one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The newest command that was looked at.
    pub command_id: String,
    /// When that was given.
    pub given_at: Timestamp,
    /// What we have left at the till, by this command or by one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stands: Option<Standing>,
    /// What is about to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// What became of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<AvailabilityVerdict>,
    /// What became of the end of its `until`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<AvailabilityVerdict>,
}

/// What we have left at a till.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// As it was when we had spoken.
    pub left: Availability,
    /// Sold out by us: what stood there before, to be put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Availability>,
}

/// A write that is about to be made, or was when its maker died. Every attempt at it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What the till shall show.
    pub to: Availability,
    /// What it showed.
    pub from: Availability,
    /// Names the write at the provider.
    pub key: Uuid,
    /// When it was decided.
    pub at: Timestamp,
}

impl Intent {
    /// What we shall have left once it is made.
    pub fn leaves(&self) -> Standing {
        Standing { left: self.to, before: self.to.is_sold_out().then_some(self.from) }
    }
}
