//! What the doorbell was worth: which sales a webhook announced, which only a sync found, and how late we knew of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Cause, EventId, Transaction, TransactionKind, TransactionStatus};

/// Who told us of a sale first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstSeen {
    /// A delivery.
    Push,
    /// A sync.
    Pull,
}

/// How we came to know of a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// Who told us.
    pub by: FirstSeen,
    /// When it counts at the till.
    pub occurred_at: Timestamp,
    /// When its first revision was written.
    pub seen_at: Timestamp,
}

impl Sighting {
    /// Of a transaction whose first revision has this cause and was written then. `None`: it is no completed sale, or nobody
    /// told us of it.
    pub fn of(transaction: &Transaction, cause: &EventId, seen_at: Timestamp) -> Option<Self> {
        let counts = transaction.kind == TransactionKind::Sale && transaction.status == TransactionStatus::Completed;
        let by = match Cause::from(cause) {
            Cause::Delivery(_) => FirstSeen::Push,
            Cause::Page { .. } => FirstSeen::Pull,
            Cause::Remapping(_) | Cause::Rebuild(_) => return None,
        };
        counts.then_some(Self { by, occurred_at: transaction.occurred_at, seen_at })
    }
}

/// What the doorbell was worth, at one shop on one business date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Doorbell {
    /// Sales that a delivery told us of first.
    pub announced: Delays,
    /// Sales that a sync had to find.
    pub found: Delays,
}

/// How long after the sale its first revision was written, over some sales. Seconds, rounded up; the time in which a till
/// was offline counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Delays {
    /// How many sales.
    pub sales: u32,
    /// Half of them were known so soon; null without sales.
    pub p50_seconds: Option<u32>,
    /// All but one in a hundred were known so soon.
    pub p99_seconds: Option<u32>,
    /// When we last learned of one.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub last_seen_at: Option<Timestamp>,
}

/// Sales that a sync had to find, though a delivery should have told of them long before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unannounced {
    /// How many.
    pub sales: u32,
    /// When the first of them happened.
    pub first_at: Option<Timestamp>,
}

impl Unannounced {
    /// So many mean that the doorbell is silent: one may be a notification that was lost.
    pub const SEVERAL: u64 = 3;

    /// Those of these sales that happened after the last delivery.
    pub fn of(found: impl IntoIterator<Item = Sighting>, last_webhook_at: Timestamp) -> Self {
        let mut unannounced = Self::default();
        for Sighting { occurred_at, .. } in found.into_iter().filter(|it| it.occurred_at > last_webhook_at) {
            unannounced.add(&Self { sales: 1, first_at: Some(occurred_at) });
        }
        unannounced
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.sales = self.sales.saturating_add(other.sales);
        self.first_at = self.first_at.into_iter().chain(other.first_at).min();
    }
}

/// What the doorbell was worth for these sales. Those that happened before `since`, when the merchant was connected, say
/// nothing of it and are left out.
pub fn doorbell_of(sightings: impl IntoIterator<Item = Sighting>, since: Timestamp) -> Doorbell {
    let (mut pushes, mut pulls) = (Vec::new(), Vec::new());
    for sighting in sightings.into_iter().filter(|sighting| sighting.occurred_at >= since) {
        match sighting.by {
            FirstSeen::Push => pushes.push(sighting),
            FirstSeen::Pull => pulls.push(sighting),
        }
    }
    Doorbell { announced: Delays::of(&pushes), found: Delays::of(&pulls) }
}

impl Delays {
    fn of(sightings: &[Sighting]) -> Self {
        let delay = |it: &Sighting| {
            let millis = it.seen_at.duration_since(it.occurred_at).as_millis().max(0);
            u32::try_from((millis + 999) / 1000).unwrap_or(u32::MAX)
        };
        let mut delays: Vec<u32> = sightings.iter().map(delay).collect();
        delays.sort_unstable();
        // The smallest that so many in a hundred do not exceed.
        let percentile = |share: usize| delays.get((delays.len() * share).div_ceil(100).saturating_sub(1)).copied();
        Self {
            sales: u32::try_from(delays.len()).unwrap_or(u32::MAX),
            p50_seconds: percentile(50),
            p99_seconds: percentile(99),
            last_seen_at: sightings.iter().map(|it| it.seen_at).max(),
        }
    }
}

impl Doorbell {
    /// Of a thousand sales so many were announced; `None` without sales.
    pub fn announced_permille(&self) -> Option<u32> {
        permille(self.announced.sales, self.found.sales)
    }
}

/// Of a thousand so many are of the first kind.
pub fn permille(these: u32, others: u32) -> Option<u32> {
    let (these, all) = (u64::from(these), u64::from(these) + u64::from(others));
    (these * 1000).checked_div(all).and_then(|share| u32::try_from(share).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    #[test]
    fn shares_and_delays_are_those_of_the_sales_after_the_connection() {
        let since: Timestamp = "2026-02-14T08:00:00Z".parse().unwrap();
        let sighting = |by, after: i64, delay_ms: i64| {
            let occurred_at = since + SignedDuration::from_secs(after);
            Sighting { by, occurred_at, seen_at: occurred_at + SignedDuration::from_millis(delay_ms) }
        };
        assert_eq!(doorbell_of([], since), Doorbell::default());
        assert_eq!(Doorbell::default().announced_permille(), None);

        let before = sighting(FirstSeen::Pull, -1, 1);
        let pushes = (1..=200).map(|n| sighting(FirstSeen::Push, n, n * 1000 - 1));
        // A till's clock may be ahead of ours.
        let pull = sighting(FirstSeen::Pull, 0, -5);
        let bell = doorbell_of(pushes.chain([before, pull]), since);
        assert_eq!((bell.announced.sales, bell.found.sales), (200, 1));
        assert_eq!((bell.announced.p50_seconds, bell.announced.p99_seconds), (Some(100), Some(198)));
        assert_eq!((bell.found.p50_seconds, bell.found.p99_seconds), (Some(0), Some(0)));
        assert_eq!(bell.found.last_seen_at, Some(pull.seen_at));
        assert_eq!(bell.announced_permille(), Some(995));
    }

    #[test]
    fn only_sales_after_the_last_delivery_are_unannounced() {
        let heard: Timestamp = "2026-02-14T08:00:00Z".parse().unwrap();
        let at = |after: i64| heard + SignedDuration::from_secs(after);
        let found =
            [9, 0, -5, 2].map(|after| Sighting { by: FirstSeen::Pull, occurred_at: at(after), seen_at: at(60) });
        let unannounced = Unannounced::of(found, heard);
        assert_eq!(unannounced, Unannounced { sales: 2, first_at: Some(at(2)) });
        let mut together = Unannounced::default();
        [unannounced, Unannounced::default(), Unannounced::of([found[0]], heard)]
            .iter()
            .for_each(|it| together.add(it));
        assert_eq!(together, Unannounced { sales: 3, first_at: Some(at(2)) });
    }
}
