//! A provider as the control desk sees it: what can be done at every one of them.

use crate::ledger::LedgerEntry;
use crate::square::{Grant, Subscription};
use crate::stage::{Customers, EventRecord, Front, House, play, stock};
use crate::{Progress, RefundKind, Refused, RungUp};

/// Who may read what, and who is told.
pub trait Access {
    fn grant(&self, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused>;
    fn revoke(&self, merchant_id: &str) -> Result<(), Refused>;
    fn expire_tokens(&self);
    /// Subscribes a URL to everything that a sale does.
    fn subscribe(&self, notification_url: &str) -> Subscription;
}

/// A provider whose words do not matter.
pub trait Provider: Access + Send + Sync {
    fn front(&self) -> &Front;
    /// Answers with the last one.
    fn play(&self, customers: &Customers<'_>) -> Option<RungUp>;
    fn stock(&self, customers: &Customers<'_>) -> Option<RungUp>;
    fn give_back(&self, order_id: &str, kind: RefundKind) -> Result<RungUp, Refused>;
    fn progress(&self) -> Progress;
    fn events(&self) -> Vec<EventRecord>;
    fn ledger(&self) -> Vec<LedgerEntry>;
}

impl<H: House + Access> Provider for H {
    fn front(&self) -> &Front {
        self
    }

    fn play(&self, customers: &Customers<'_>) -> Option<RungUp> {
        play(self, customers)
    }

    fn stock(&self, customers: &Customers<'_>) -> Option<RungUp> {
        stock(self, customers)
    }

    fn give_back(&self, order_id: &str, kind: RefundKind) -> Result<RungUp, Refused> {
        let mut world = self.world();
        let pace = self.clock.pace(self.options.speed);
        let (steps, rung_up) = self.plan_refund(&mut world, order_id, kind, pace)?;
        self.begin(world, steps);
        Ok(rung_up)
    }

    fn progress(&self) -> Progress {
        (**self).progress()
    }

    fn events(&self) -> Vec<EventRecord> {
        self.world().events.clone()
    }

    fn ledger(&self) -> Vec<LedgerEntry> {
        self.world().ledger.entries()
    }
}
