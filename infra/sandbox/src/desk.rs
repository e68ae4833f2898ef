//! What can be done at one of the providers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::clock::Pace;
use crate::customer::Asks;
use crate::day::{Customer, morning, whole_day};
use crate::ledger::totals;
use crate::provider::Provider;
use crate::shops::Shop;
use crate::stage::Front;
use crate::town::Town;
use crate::{
    DayTotal, Delivery, EventRecord, Faults, Grant, LedgerEntry, Merchant, Progress, RefundKind, Refused, RungUp,
    SaleKind, StillBusy, Subscription, Vendor,
};

/// A provider of a running sandbox; Square's is behind the [`Sandbox`](crate::Sandbox) itself.
#[derive(Debug, Clone)]
pub struct Desk {
    pub(crate) town: Arc<Town>,
    pub(crate) vendor: Vendor,
}

impl Desk {
    pub(crate) fn provider(&self) -> &dyn Provider {
        self.town.at(self.vendor)
    }

    fn front(&self) -> &Front {
        self.provider().front()
    }

    /// The merchants and their shops.
    pub fn merchants(&self) -> Vec<Merchant> {
        self.front().businesses.merchants()
    }

    /// Subscribes a URL to everything a sale does. At Lightspeed the id is the
    /// user and the key the password.
    pub fn subscribe(&self, notification_url: &str) -> Subscription {
        self.provider().subscribe(notification_url)
    }

    /// Plays a morning of so many sales over all shops; returns at once.
    pub fn play(&self, sales: usize) {
        // Only an unknown merchant is refused.
        let _ = self.play_at(None, sales);
    }

    /// The same at the shops of one merchant.
    pub fn play_of(&self, merchant_id: &str, sales: usize) -> Result<(), Refused> {
        self.play_at(Some(merchant_id), sales)
    }

    /// Puts a morning of the past on the shelf: all sales are there at once,
    /// dated from `opens_at` on, and nobody is notified.
    pub fn stock_history(&self, sales: usize, opens_at: Timestamp) {
        let _ = self.stock_history_at(None, sales, opens_at);
    }

    /// The same at the shops of one merchant.
    pub fn stock_history_of(&self, merchant_id: &str, sales: usize, opens_at: Timestamp) -> Result<(), Refused> {
        self.stock_history_at(Some(merchant_id), sales, opens_at)
    }

    /// Puts whole days of all shops on the shelf, with their hours, rushes and
    /// weekdays; `customers` is how many a shop has on a usual day. Nobody is notified.
    pub fn stock_days(&self, first: Date, days: u16, customers: usize) {
        let _ = self.stock_days_at(None, first, days, customers);
    }

    /// The same for the shops of one merchant.
    pub fn stock_days_of(&self, merchant_id: &str, first: Date, days: u16, customers: usize) -> Result<(), Refused> {
        self.stock_days_at(Some(merchant_id), first, days, customers)
    }

    /// Plays whole days of all shops from now on.
    ///
    /// # Errors
    /// When days do not pass, because the sandbox lives by the machine's clock.
    pub fn play_days(&self, days: u16, customers: usize) -> Result<(), Refused> {
        self.play_days_at(None, days, customers)
    }

    /// The same for the shops of one merchant.
    pub fn play_days_of(&self, merchant_id: &str, days: u16, customers: usize) -> Result<(), Refused> {
        self.play_days_at(Some(merchant_id), days, customers)
    }

    /// Rings up one sale, at this shop or a seeded one.
    pub fn ring_up(&self, kind: SaleKind, location_id: Option<&str>) -> Result<RungUp, Refused> {
        let shops = self.shops(None, location_id)?;
        let sale = self.provider().play(&|_| vec![self.one(self.pace(), &shops, kind)]);
        sale.ok_or_else(|| Refused("nobody came".to_owned()))
    }

    /// Puts one sale on the shelf that began at this moment of the past, with
    /// everything that has become of it since. Nobody is notified.
    pub fn ring_up_past(&self, kind: SaleKind, location_id: &str, at: Timestamp) -> Result<RungUp, Refused> {
        if at > self.front().clock.now() {
            return Err(Refused(format!("{at} is not in the past")));
        }
        let shops = self.shops(None, Some(location_id))?;
        let sale = self.provider().stock(&|_| vec![self.one(Pace::past(at), &shops, kind)]);
        sale.ok_or_else(|| Refused("nobody came".to_owned()))
    }

    /// Gives money back for a sale that was rung up before.
    pub fn refund(&self, order_id: &str, kind: RefundKind) -> Result<RungUp, Refused> {
        self.provider().give_back(order_id, kind)
    }

    /// Connects a merchant (the first one by default) the short way round OAuth
    /// or the login. No scopes are all scopes; Toast has no refresh token.
    pub fn grant(&self, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused> {
        self.provider().grant(merchant_id, scopes)
    }

    /// The merchant disconnects the application; at Toast he deletes the credentials.
    pub fn revoke(&self, merchant_id: &str) -> Result<(), Refused> {
        self.provider().revoke(merchant_id)
    }

    /// Replaces all faults of the provider.
    pub fn set_faults(&self, faults: Faults) {
        self.front().door.faults.set(faults);
    }

    /// The faults in force, with what is left of them.
    pub fn faults(&self) -> Faults {
        self.front().door.faults.get()
    }

    /// How far everything is.
    pub fn progress(&self) -> Progress {
        self.provider().progress()
    }

    /// The log of all notifications, in the order in which they came to be.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.front().post.deliveries()
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
        let deadline = Instant::now() + timeout;
        loop {
            let progress = self.progress();
            if progress.idle {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(StillBusy(progress));
            }
            // Polled: a person or a test is waiting, and a few milliseconds do not matter.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The same for one merchant or all, as the control desk asks for it.
impl Desk {
    pub(crate) fn play_at(&self, merchant_id: Option<&str>, sales: usize) -> Result<(), Refused> {
        let (shops, pace) = (self.shops(merchant_id, None)?, self.pace());
        self.provider().play(&|planned| morning(&mut self.morning_draws(planned), pace, sales, &shops));
        Ok(())
    }

    pub(crate) fn stock_history_at(
        &self,
        merchant_id: Option<&str>,
        sales: usize,
        opens_at: Timestamp,
    ) -> Result<(), Refused> {
        let (shops, pace) = (self.shops(merchant_id, None)?, Pace::past(opens_at));
        self.provider().stock(&|planned| morning(&mut self.morning_draws(planned), pace, sales, &shops));
        Ok(())
    }

    pub(crate) fn stock_days_at(
        &self,
        merchant_id: Option<&str>,
        first: Date,
        days: u16,
        customers: usize,
    ) -> Result<(), Refused> {
        let shops = self.shops(merchant_id, None)?;
        let past = |at: Timestamp| Some((Pace::past(at), Duration::ZERO));
        self.provider().stock(&|_| self.days(&shops, Some(first), days, customers, past));
        Ok(())
    }

    pub(crate) fn play_days_at(&self, merchant_id: Option<&str>, days: u16, customers: usize) -> Result<(), Refused> {
        let (shops, pace) = (self.shops(merchant_id, None)?, self.pace());
        if pace.is_squeezed() {
            return Err(Refused("days only pass where the clock runs or stands still".to_owned()));
        }
        // Who came before now has been here already.
        let ahead = |at: Timestamp| Duration::try_from(at.duration_since(pace.start.stamp)).ok();
        self.provider().play(&|_| self.days(&shops, None, days, customers, |at| Some((pace, ahead(at)?))));
        Ok(())
    }

    fn pace(&self) -> Pace {
        self.front().clock.pace(self.front().options.speed)
    }

    fn morning_draws(&self, planned: usize) -> crate::seed::Draws {
        self.front().draws(&format!("morning/{planned}"))
    }

    fn one<'a>(&self, pace: Pace, shops: &Arc<[Shop<'a>]>, kind: SaleKind) -> Customer<'a> {
        Customer { pace, opens: Duration::ZERO, shops: Arc::clone(shops), asks: Asks::For(kind) }
    }

    /// The shops of a merchant, or one of them, or all there are.
    fn shops(&self, merchant_id: Option<&str>, location_id: Option<&str>) -> Result<Arc<[Shop<'_>]>, Refused> {
        let businesses = &self.front().businesses;
        let merchant = merchant_id.map(|id| businesses.merchant(Some(id))).transpose()?;
        let shops = businesses.shops().filter(|shop| {
            merchant.is_none_or(|merchant| merchant.id == shop.merchant.id)
                && location_id.is_none_or(|id| id == shop.location.id)
        });
        let shops: Arc<[Shop<'_>]> = shops.collect();
        match location_id {
            Some(id) if shops.is_empty() => Err(Refused(format!("there is no location {id}"))),
            _ => Ok(shops),
        }
    }

    /// The customers of whole days, from today on when no first day is given.
    fn days<'a>(
        &self,
        shops: &[Shop<'a>],
        first: Option<Date>,
        days: u16,
        customers: usize,
        pace: impl Fn(Timestamp) -> Option<(Pace, Duration)>,
    ) -> Vec<Customer<'a>> {
        let front = self.front();
        let dates = |shop: Shop<'_>| {
            let first = first.unwrap_or_else(|| shop.business_date(front.clock.now()));
            std::iter::successors(Some(first), |date| date.tomorrow().ok()).take(days.into())
        };
        let all = shops.iter().flat_map(|shop| dates(*shop).map(move |date| (*shop, date)));
        all.flat_map(|(shop, date)| {
            let mut draws = front.draws(&format!("day/{}/{date}", shop.location.id));
            whole_day(&mut draws, shop, date, customers, &pace)
        })
        .collect()
    }
}
