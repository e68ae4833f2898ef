//! A provider as the control desk sees it: what can be done at every one of them.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::clock::Pace;
use crate::customer::{Asks, SaleKind};
use crate::delivery::Delivery;
use crate::door::Door;
use crate::ledger::LedgerEntry;
use crate::shops::Businesses;
use crate::square::{Grant, Subscription};
use crate::stage::{Customer, EventRecord, House, morning, plan, plan_all, shops, stock, whole_days};
use crate::{Progress, RefundKind, Refused, RungUp, StillBusy};

/// A provider whose words do not matter.
pub trait Provider: Send + Sync {
    fn door(&self) -> &Door;
    fn businesses(&self) -> &Businesses;
    fn play(&self, sales: usize, merchant_id: Option<&str>) -> Result<(), Refused>;
    fn stock_history(&self, sales: usize, opens_at: Timestamp, merchant_id: Option<&str>) -> Result<(), Refused>;
    fn stock_days(&self, first: Date, days: u16, customers: usize, merchant_id: Option<&str>) -> Result<(), Refused>;
    fn play_days(&self, days: u16, customers: usize, merchant_id: Option<&str>) -> Result<(), Refused>;
    fn ring_up(&self, kind: SaleKind, location_id: Option<&str>) -> Result<RungUp, Refused>;
    fn ring_up_past(&self, kind: SaleKind, location_id: Option<&str>, at: Timestamp) -> Result<RungUp, Refused>;
    fn give_back(&self, order_id: &str, kind: RefundKind) -> Result<RungUp, Refused>;
    fn progress(&self) -> Progress;
    fn deliveries(&self) -> Vec<Delivery>;
    fn events(&self) -> Vec<EventRecord>;
    fn ledger(&self) -> Vec<LedgerEntry>;
    fn grant(&self, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused>;
    fn revoke(&self, merchant_id: &str) -> Result<(), Refused>;
    fn expire_tokens(&self);
    fn subscribe(&self, notification_url: &str) -> Subscription;
}

impl<H: House> Provider for H {
    fn door(&self) -> &Door {
        &self.stage().door
    }

    fn businesses(&self) -> &Businesses {
        &self.stage().businesses
    }

    fn play(&self, sales: usize, merchant_id: Option<&str>) -> Result<(), Refused> {
        let stage = self.stage();
        let shops = shops(self, merchant_id, None)?;
        let mut world = stage.world();
        let customers = morning(self, &world, stage.clock.pace(stage.options.speed), sales, &shops);
        let steps = plan_all(self, &mut world, &customers);
        stage.begin(world, steps);
        Ok(())
    }

    fn stock_history(&self, sales: usize, opens_at: Timestamp, merchant_id: Option<&str>) -> Result<(), Refused> {
        let shops = shops(self, merchant_id, None)?;
        let mut world = self.stage().world();
        let customers = morning(self, &world, Pace::past(opens_at), sales, &shops);
        stock(self, &mut world, &customers);
        Ok(())
    }

    fn stock_days(&self, first: Date, days: u16, customers: usize, merchant_id: Option<&str>) -> Result<(), Refused> {
        let shops = shops(self, merchant_id, None)?;
        let mut world = self.stage().world();
        let past = |at: Timestamp| Some((Pace::past(at), Duration::ZERO));
        let customers = whole_days(self, Some(first), days, customers, &shops, past);
        stock(self, &mut world, &customers);
        Ok(())
    }

    fn play_days(&self, days: u16, customers: usize, merchant_id: Option<&str>) -> Result<(), Refused> {
        let stage = self.stage();
        let pace = stage.clock.pace(stage.options.speed);
        if pace.is_squeezed() {
            return Err(Refused("days only pass where the clock runs or stands still".to_owned()));
        }
        let shops = shops(self, merchant_id, None)?;
        let mut world = stage.world();
        // Who came before now has been here already.
        let ahead = |at: Timestamp| Duration::try_from(at.duration_since(pace.start.stamp)).ok();
        let ahead = |at: Timestamp| ahead(at).map(|opens| (pace, opens));
        let customers = whole_days(self, None, days, customers, &shops, ahead);
        let steps = plan_all(self, &mut world, &customers);
        stage.begin(world, steps);
        Ok(())
    }

    fn ring_up(&self, kind: SaleKind, location_id: Option<&str>) -> Result<RungUp, Refused> {
        let stage = self.stage();
        let shops = shops(self, None, location_id)?;
        let mut world = stage.world();
        let pace = stage.clock.pace(stage.options.speed);
        let customer = Customer { pace, opens: Duration::ZERO, shops, asks: Asks::For(kind) };
        let (steps, rung_up) = plan(self, &mut world, &customer);
        stage.begin(world, steps);
        Ok(rung_up)
    }

    fn ring_up_past(&self, kind: SaleKind, location_id: Option<&str>, at: Timestamp) -> Result<RungUp, Refused> {
        if at > self.stage().clock.now() {
            return Err(Refused(format!("{at} is not in the past")));
        }
        let shops = shops(self, None, location_id)?;
        let customer = Customer { pace: Pace::past(at), opens: Duration::ZERO, shops, asks: Asks::For(kind) };
        let sale = stock(self, &mut self.stage().world(), &[customer]);
        sale.ok_or_else(|| Refused("nobody came".to_owned()))
    }

    fn give_back(&self, order_id: &str, kind: RefundKind) -> Result<RungUp, Refused> {
        let stage = self.stage();
        let mut world = stage.world();
        let pace = stage.clock.pace(stage.options.speed);
        let (steps, rung_up) = self.plan_refund(&mut world, order_id, kind, pace)?;
        stage.begin(world, steps);
        Ok(rung_up)
    }

    fn progress(&self) -> Progress {
        self.stage().progress()
    }

    fn deliveries(&self) -> Vec<Delivery> {
        self.stage().post.deliveries()
    }

    fn events(&self) -> Vec<EventRecord> {
        self.stage().world().events.clone()
    }

    fn ledger(&self) -> Vec<LedgerEntry> {
        self.stage().world().ledger.entries()
    }

    fn grant(&self, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused> {
        House::grant(self, merchant_id, scopes)
    }

    fn revoke(&self, merchant_id: &str) -> Result<(), Refused> {
        House::revoke(self, merchant_id)
    }

    fn expire_tokens(&self) {
        House::expire_tokens(self);
    }

    fn subscribe(&self, notification_url: &str) -> Subscription {
        House::subscribe(self, notification_url)
    }
}

/// Polls: a person or a test is waiting, and a few milliseconds do not matter.
pub async fn wait_until_quiet(provider: &dyn Provider, timeout: Duration) -> Result<(), StillBusy> {
    let deadline = Instant::now() + timeout;
    loop {
        let progress = provider.progress();
        if progress.idle {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(StillBusy(progress));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
