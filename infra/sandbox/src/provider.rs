//! A provider as the control desk sees it: what can be done at every one of them.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::clock::Pace;
use crate::customer::{SaleKind, Wish};
use crate::delivery::Delivery;
use crate::door::Door;
use crate::ledger::LedgerEntry;
use crate::shops::Businesses;
use crate::square::{Grant, Subscription};
use crate::stage::{EventRecord, House, apply, plan, plan_days, plan_morning};
use crate::{Progress, RefundKind, Refused, RungUp, StillBusy};

/// A provider whose words do not matter.
pub trait Provider: Send + Sync {
    fn door(&self) -> &Door;
    fn businesses(&self) -> &Businesses;
    fn play(&self, sales: usize);
    fn stock_history(&self, sales: usize, opens_at: Timestamp);
    fn stock_days(&self, first: Date, days: u16, customers: usize);
    fn play_days(&self, days: u16, customers: usize) -> Result<(), Refused>;
    fn ring_up(&self, kind: SaleKind, location_id: Option<&str>) -> Result<RungUp, Refused>;
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

    fn play(&self, sales: usize) {
        let stage = self.stage();
        let mut world = stage.world();
        let steps = plan_morning(self, &mut world, stage.clock.pace(stage.options.speed), sales);
        stage.begin(world, steps);
    }

    fn stock_history(&self, sales: usize, opens_at: Timestamp) {
        let mut world = self.stage().world();
        for mut step in plan_morning(self, &mut world, Pace::past(opens_at), sales) {
            step.events.clear();
            apply(self, &mut world, step);
        }
    }

    fn stock_days(&self, first: Date, days: u16, customers: usize) {
        let mut world = self.stage().world();
        let steps =
            plan_days(self, &mut world, Some(first), days, customers, |at| Some((Pace::past(at), Duration::ZERO)));
        for mut step in steps {
            step.events.clear();
            apply(self, &mut world, step);
        }
    }

    fn play_days(&self, days: u16, customers: usize) -> Result<(), Refused> {
        let stage = self.stage();
        let pace = stage.clock.pace(stage.options.speed);
        if pace.is_squeezed() {
            return Err(Refused("days only pass where the clock runs or stands still".to_owned()));
        }
        let mut world = stage.world();
        // Who came before now has been here already.
        let ahead = |at: Timestamp| Duration::try_from(at.duration_since(pace.start.stamp)).ok();
        let steps = plan_days(self, &mut world, None, days, customers, |at| ahead(at).map(|opens| (pace, opens)));
        stage.begin(world, steps);
        Ok(())
    }

    fn ring_up(&self, kind: SaleKind, location_id: Option<&str>) -> Result<RungUp, Refused> {
        let stage = self.stage();
        let mut world = stage.world();
        let pace = stage.clock.pace(stage.options.speed);
        let (steps, rung_up) = plan(self, &mut world, pace, Duration::ZERO, location_id, |_| Wish::of(kind))?;
        stage.begin(world, steps);
        Ok(rung_up)
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
