//! What can be done at one of the providers.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::ledger::totals;
use crate::provider::{Provider, wait_until_quiet};
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

    fn provider(&self) -> &'a dyn Provider {
        self.town.at(self.vendor)
    }

    /// The merchants and their shops.
    pub fn merchants(&self) -> Vec<Merchant> {
        self.provider().businesses().merchants()
    }

    /// Subscribes a URL to everything a sale does. At Lightspeed the id is the
    /// user and the key the password.
    pub fn subscribe(&self, notification_url: &str) -> Subscription {
        self.provider().subscribe(notification_url)
    }

    /// Plays a morning of so many sales over all shops; returns at once.
    pub fn play(&self, sales: usize) {
        // Only an unknown merchant is refused.
        let _ = self.provider().play(sales, None);
    }

    /// The same at the shops of one merchant.
    pub fn play_of(&self, merchant_id: &str, sales: usize) -> Result<(), Refused> {
        self.provider().play(sales, Some(merchant_id))
    }

    /// Puts a morning of the past on the shelf: all sales are there at once,
    /// dated from `opens_at` on, and nobody is notified.
    pub fn stock_history(&self, sales: usize, opens_at: Timestamp) {
        let _ = self.provider().stock_history(sales, opens_at, None);
    }

    /// The same at the shops of one merchant.
    pub fn stock_history_of(&self, merchant_id: &str, sales: usize, opens_at: Timestamp) -> Result<(), Refused> {
        self.provider().stock_history(sales, opens_at, Some(merchant_id))
    }

    /// Puts whole days of all shops on the shelf, with their hours, rushes and
    /// weekdays; `customers` is how many a shop has on a usual day. Nobody is notified.
    pub fn stock_days(&self, first: Date, days: u16, customers: usize) {
        let _ = self.provider().stock_days(first, days, customers, None);
    }

    /// The same for the shops of one merchant.
    pub fn stock_days_of(&self, merchant_id: &str, first: Date, days: u16, customers: usize) -> Result<(), Refused> {
        self.provider().stock_days(first, days, customers, Some(merchant_id))
    }

    /// Plays whole days of all shops from now on.
    ///
    /// # Errors
    /// When days do not pass, because the sandbox lives by the machine's clock.
    pub fn play_days(&self, days: u16, customers: usize) -> Result<(), Refused> {
        self.provider().play_days(days, customers, None)
    }

    /// The same for the shops of one merchant.
    pub fn play_days_of(&self, merchant_id: &str, days: u16, customers: usize) -> Result<(), Refused> {
        self.provider().play_days(days, customers, Some(merchant_id))
    }

    /// Rings up one sale, at this shop or a seeded one.
    pub fn ring_up(&self, kind: SaleKind, location_id: Option<&str>) -> Result<RungUp, Refused> {
        self.provider().ring_up(kind, location_id)
    }

    /// Puts one sale on the shelf that began at this moment of the past, with
    /// everything that has become of it since. Nobody is notified.
    pub fn ring_up_past(&self, kind: SaleKind, location_id: &str, at: Timestamp) -> Result<RungUp, Refused> {
        self.provider().ring_up_past(kind, Some(location_id), at)
    }

    /// Gives money back for a sale that was rung up before.
    pub fn refund(&self, order_id: &str, kind: RefundKind) -> Result<RungUp, Refused> {
        self.provider().give_back(order_id, kind)
    }

    /// How far everything is.
    pub fn progress(&self) -> Progress {
        self.provider().progress()
    }

    /// The log of all notifications, in the order in which they came to be.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.provider().deliveries()
    }

    /// Everything that happened, with the bytes of its notification.
    pub fn events(&self) -> Vec<EventRecord> {
        self.provider().events()
    }

    /// What really was sold.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.provider().ledger()
    }

    /// What was sold and given back at each shop on each day.
    pub fn totals(&self) -> Vec<DayTotal> {
        totals(&self.ledger())
    }

    /// Waits until no sale is under way and every notification has its end.
    pub async fn wait_until_quiet(&self, timeout: Duration) -> Result<(), StillBusy> {
        wait_until_quiet(self.provider(), timeout).await
    }
}
