//! What can be done at one of the providers.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::ledger::totals;
use crate::stage::wait_until_quiet;
use crate::town::Town;
use crate::{
    DayTotal, Delivery, EventRecord, LedgerEntry, Merchant, Progress, RefundKind, Refused, RungUp, SaleKind, StillBusy,
    Subscription, Vendor,
};

/// A provider of a running sandbox. What is here is also there for Square, on the [`Sandbox`](crate::Sandbox) itself.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'a> {
    town: &'a Town,
    vendor: Vendor,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(town: &'a Town, vendor: Vendor) -> Self {
        Self { town, vendor }
    }

    /// The merchants and their shops.
    pub fn merchants(&self) -> Vec<Merchant> {
        self.town.at(self.vendor).businesses().merchants()
    }

    /// Subscribes a URL to everything a sale does. At Lightspeed the id is the
    /// user and the key the password.
    pub fn subscribe(&self, notification_url: &str) -> Subscription {
        self.town.at(self.vendor).subscribe(notification_url)
    }

    /// Plays a morning of so many sales over all shops; returns at once.
    pub fn play(&self, sales: usize) {
        self.town.at(self.vendor).play(sales);
    }

    /// Puts a morning of the past on the shelf: all sales are there at once,
    /// dated from `opens_at` on, and nobody is notified.
    pub fn stock_history(&self, sales: usize, opens_at: Timestamp) {
        self.town.at(self.vendor).stock_history(sales, opens_at);
    }

    /// Puts whole days of all shops on the shelf, with their hours, rushes and
    /// weekdays; `customers` is how many a shop has on a usual day. Nobody is notified.
    pub fn stock_days(&self, first: Date, days: u16, customers: usize) {
        self.town.at(self.vendor).stock_days(first, days, customers);
    }

    /// Plays whole days of all shops from now on.
    ///
    /// # Errors
    /// When days do not pass, because the sandbox lives by the machine's clock.
    pub fn play_days(&self, days: u16, customers: usize) -> Result<(), Refused> {
        self.town.at(self.vendor).play_days(days, customers)
    }

    /// Rings up one sale, at this shop or a seeded one.
    pub fn ring_up(&self, kind: SaleKind, location_id: Option<&str>) -> Result<RungUp, Refused> {
        self.town.at(self.vendor).ring_up(kind, location_id)
    }

    /// Gives money back for a sale that was rung up before.
    pub fn refund(&self, order_id: &str, kind: RefundKind) -> Result<RungUp, Refused> {
        self.town.at(self.vendor).give_back(order_id, kind)
    }

    /// How far everything is.
    pub fn progress(&self) -> Progress {
        self.town.at(self.vendor).progress()
    }

    /// The log of all notifications, in the order in which they came to be.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.town.at(self.vendor).deliveries()
    }

    /// Everything that happened, with the bytes of its notification.
    pub fn events(&self) -> Vec<EventRecord> {
        self.town.at(self.vendor).events()
    }

    /// What really was sold.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.town.at(self.vendor).ledger()
    }

    /// What was sold and given back at each shop on each day.
    pub fn totals(&self) -> Vec<DayTotal> {
        totals(&self.ledger())
    }

    /// Waits until no sale is under way and every notification has its end.
    pub async fn wait_until_quiet(&self, timeout: Duration) -> Result<(), StillBusy> {
        wait_until_quiet(self.town.at(self.vendor), timeout).await
    }
}
