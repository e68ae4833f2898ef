//! What all providers have in common: a day is planned, played and written down.
//!
//! The whole course of a sale is a list of [`Step`]s, written when the sale is
//! planned: objects, times and events. Playing it is then only waiting and
//! copying, and the same seed cannot help but give the same day. Objects keep
//! their earlier copies, so that a lagging replica can be imitated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use crate::clock::{Clock, Moment, Pace};
use crate::customer::{SaleKind, Wish};
use crate::day::{arrivals, visits};
use crate::delivery::{Delivery, DeliveryState, Parcel, PostOffice, Terms};
use crate::door::Door;
use crate::ledger::{Ledger, LedgerEntry};
use crate::seed::{Draws, Seed};
use crate::shops::{Businesses, Shop, Vendor};
use crate::square::{Grant, Subscription};
use crate::{Progress, RefundKind, Refused, RungUp, SandboxOptions, StillBusy};

/// Something that happened, as it would be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The same in every copy of it.
    pub event_id: String,
    /// Such as `payment.updated`.
    pub event_type: String,
    /// Whose it is.
    pub merchant_id: String,
    /// Payment, refund or order id.
    pub object_id: String,
    /// The order it leads to, if any.
    pub order_id: String,
    /// The exact bytes of the notification.
    pub body: String,
}

/// One object with all its earlier copies.
#[derive(Debug, Default)]
pub struct Copies(Vec<(Instant, Value)>);

impl Copies {
    fn write(&mut self, json: Value) {
        self.0.push((Instant::now(), json));
    }

    /// What a replica knows that is this far behind.
    pub fn seen(&self, behind: Duration) -> Option<&Value> {
        let copies = self.0.iter().rev();
        copies.into_iter().find(|(written, _)| written.elapsed() >= behind).map(|(_, json)| json)
    }
}

/// All objects of one kind, by id.
pub type Shelf = BTreeMap<String, Copies>;

static NOTHING: Shelf = Shelf::new();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    Sale,
    Refund,
}

/// Everything that changes at one moment.
#[derive(Debug)]
pub struct Step<E> {
    pub merchant_id: String,
    pub at: Moment,
    /// Shelf, id and new copy.
    pub objects: Vec<(&'static str, String, Value)>,
    pub entries: Vec<LedgerEntry>,
    pub events: Vec<E>,
    /// Counted when the step has happened.
    pub ends: Option<Ends>,
}

impl<E> Step<E> {
    pub fn new(merchant_id: &str, at: Moment) -> Self {
        let merchant_id = merchant_id.to_owned();
        Self { merchant_id, at, objects: Vec::new(), entries: Vec::new(), events: Vec::new(), ends: None }
    }
}

/// What a provider knows, and what is going to happen.
#[derive(Debug)]
pub struct World<H: House> {
    shelves: BTreeMap<&'static str, Shelf>,
    ledger: Ledger,
    pub events: Vec<EventRecord>,
    planned: usize,
    rung_up: usize,
    refunded: usize,
    /// By when, and in which order it was noted.
    agenda: BTreeMap<(Instant, u64), Step<H::Event>>,
    noted: u64,
    /// What only this provider has.
    pub own: H::Own,
}

impl<H: House> World<H> {
    pub fn shelf(&self, name: &str) -> &Shelf {
        self.shelves.get(name).unwrap_or(&NOTHING)
    }
}

/// What a planned sale leads to.
pub type Plan<H> = (Vec<Step<<H as House>::Event>>, RungUp);

/// A provider's own manners; everything else is done by its [`Stage`].
pub trait House: std::fmt::Debug + Sized + Send + Sync + 'static {
    /// Grants, subscriptions, sales: what the provider remembers.
    type Own: std::fmt::Debug + Default + Send;
    /// Something a webhook may tell.
    type Event: std::fmt::Debug + Send;

    fn stage(&self) -> &Stage<Self>;

    /// Writes down the whole course of one sale.
    fn plan(&self, world: &mut World<Self>, at: Place<'_>, wish: &Wish, draws: &mut Draws) -> Plan<Self>;

    /// Writes down a refund that begins now, or as soon as the sale is settled.
    fn plan_refund(
        &self,
        world: &mut World<Self>,
        order_id: &str,
        kind: RefundKind,
        pace: Pace,
    ) -> Result<Plan<Self>, Refused>;

    /// Records an event and sends it to whom it may concern; an echo tells the
    /// same once more, under an id of its own.
    fn announce(&self, world: &mut World<Self>, merchant_id: &str, event: &Self::Event, at: Timestamp, echo: u32);

    fn grant(&self, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused>;

    fn revoke(&self, merchant_id: &str) -> Result<(), Refused>;

    fn expire_tokens(&self);

    /// Subscribes a URL to everything that a sale does.
    fn subscribe(&self, notification_url: &str) -> Subscription;
}

/// Where and when a sale is planned.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub shop: Shop<'a>,
    pub pace: Pace,
    /// Shop time from the start of the pace.
    pub opens: Duration,
}

#[derive(Debug)]
pub struct Stage<H: House> {
    vendor: Vendor,
    pub options: SandboxOptions,
    pub seed: Seed,
    pub clock: Arc<Clock>,
    pub businesses: Businesses,
    pub door: Door,
    pub post: Arc<PostOffice>,
    world: Mutex<World<H>>,
    agenda_changed: Notify,
}

impl<H: House> Stage<H> {
    pub fn open(
        vendor: Vendor,
        options: SandboxOptions,
        clock: Arc<Clock>,
        businesses: Businesses,
        door: Door,
        terms: Terms,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, reqwest::Error> {
        let at_once = options.concurrent_deliveries;
        let post = PostOffice::new(runtime, Arc::clone(&door.faults), at_once, terms)?;
        let world = World {
            shelves: BTreeMap::new(),
            ledger: Ledger::default(),
            events: Vec::new(),
            planned: 0,
            rung_up: 0,
            refunded: 0,
            agenda: BTreeMap::new(),
            noted: 0,
            own: H::Own::default(),
        };
        Ok(Self {
            vendor,
            seed: Seed(options.seed),
            options,
            clock,
            businesses,
            door,
            post: Arc::new(post),
            world: Mutex::new(world),
            agenda_changed: Notify::new(),
        })
    }

    /// A panic elsewhere must not take the simulator down: what it holds is still good enough.
    pub fn world(&self) -> MutexGuard<'_, World<H>> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn replica_lag(&self) -> Duration {
        Duration::from_millis(self.door.faults.get().replica_lag_ms)
    }

    /// Draws that belong to one thing of this provider.
    pub fn draws(&self, name: &str) -> Draws {
        match self.vendor {
            // The first one here; its days stay what they were.
            Vendor::Square => self.seed.draws(name),
            Vendor::Toast => self.seed.draws(&format!("toast/{name}")),
            Vendor::Lightspeed => self.seed.draws(&format!("lightspeed/{name}")),
        }
    }

    /// Puts the steps on the agenda; the clerk does them when they are due.
    fn begin(&self, mut world: MutexGuard<'_, World<H>>, steps: Vec<Step<H::Event>>) {
        for step in steps {
            world.noted += 1;
            let place = (step.at.due, world.noted);
            world.agenda.insert(place, step);
        }
        self.agenda_changed.notify_one();
    }

    fn progress(&self) -> Progress {
        let world = self.world();
        let pending = self.post.count(DeliveryState::Pending);
        let [delivered, lost, given_up] =
            [DeliveryState::Delivered, DeliveryState::Lost, DeliveryState::GivenUp].map(|state| self.post.count(state));
        Progress {
            planned: world.planned,
            rung_up: world.rung_up,
            refunded: world.refunded,
            events: world.events.len(),
            deliveries: pending + delivered + lost + given_up,
            pending,
            delivered,
            lost,
            given_up,
            idle: world.agenda.is_empty() && pending == 0,
        }
    }

    /// Sends a notification of an event, with the bad manners that are drawn for it.
    ///
    /// Delays, duplicates and disorder are drawn from the event's id: they
    /// belong to the event, not to the moment.
    pub fn send(&self, subscription: &Subscription, record: &EventRecord, parcel: &Parcel) {
        let faults = self.door.faults.get();
        let mut draws = self.seed.draws(&format!("delivery/{}/{}", subscription.id, record.event_id));
        let mut delay = millis(&mut draws, 300, 2_500);
        if draws.happens(faults.disorder_percent.unwrap_or(self.options.disorder_percent)) {
            delay += millis(&mut draws, 5_000, 90_000);
        }
        let copies =
            if draws.happens(faults.duplicates_percent.unwrap_or(self.options.duplicates_percent)) { 2 } else { 1 };
        let lost = draws.happens(faults.loss_percent.unwrap_or(self.options.loss_percent))
            || self.door.faults.take(|faults| &mut faults.lose_webhooks);
        for copy in 0..copies {
            let delivery = Delivery {
                event_id: record.event_id.clone(),
                event_type: record.event_type.clone(),
                object_id: record.object_id.clone(),
                subscription_id: subscription.id.clone(),
                url: subscription.notification_url.clone(),
                duplicate: copy > 0,
                state: if lost { DeliveryState::Lost } else { DeliveryState::Pending },
                attempts: Vec::new(),
            };
            self.post.post(delivery, parcel.clone(), delay);
            delay += millis(&mut draws, 1_000, 120_000);
        }
    }
}

fn millis(draws: &mut Draws, least: i64, most: i64) -> Duration {
    Duration::from_millis(draws.between(least, most).unsigned_abs())
}

/// Plans the next sale. Its number, not the moment, decides what it is.
fn plan<H: House>(
    house: &H,
    world: &mut World<H>,
    pace: Pace,
    opens: Duration,
    location_id: Option<&str>,
    wish: impl FnOnce(&mut Draws) -> Wish,
) -> Result<Plan<H>, Refused> {
    let stage = house.stage();
    let mut shops: Vec<Shop<'_>> = stage.businesses.shops().collect();
    if let Some(id) = location_id {
        shops.retain(|shop| shop.location.id == id);
        if shops.is_empty() {
            return Err(Refused(format!("there is no location {id}")));
        }
    }
    let mut draws = stage.draws(&format!("sale/{}", world.planned));
    world.planned += 1;
    let shop = *draws.pick(&shops);
    let wish = wish(&mut draws);
    Ok(house.plan(world, Place { shop, pace, opens }, &wish, &mut draws))
}

/// A morning's customers, in the order in which they come in.
fn plan_morning<H: House>(house: &H, world: &mut World<H>, pace: Pace, sales: usize) -> Vec<Step<H::Event>> {
    let mut draws = house.stage().draws(&format!("morning/{}", world.planned));
    let mut steps: Vec<Step<H::Event>> = arrivals(&mut draws, sales)
        .into_iter()
        .filter_map(|opens| plan(house, world, pace, opens, None, Wish::random).ok())
        .flat_map(|(steps, _)| steps)
        .collect();
    steps.sort_by_key(|step| (step.at.stamp, step.at.due));
    steps
}

/// Whole days of all shops, each visit at the pace it is given.
fn plan_days<H: House>(
    house: &H,
    world: &mut World<H>,
    first: Option<Date>,
    days: u16,
    customers: usize,
    pace: impl Fn(Timestamp) -> Option<(Pace, Duration)>,
) -> Vec<Step<H::Event>> {
    let stage = house.stage();
    let mut steps = Vec::new();
    for shop in stage.businesses.shops() {
        let mut date = first.unwrap_or_else(|| shop.business_date(stage.clock.now()));
        for _ in 0..days {
            let mut draws = stage.draws(&format!("day/{}/{date}", shop.location.id));
            for visit in visits(&mut draws, shop, date, customers) {
                let wish = |draws: &mut Draws| {
                    let wish = Wish::random(draws);
                    if visit.closing { wish.at_closing(draws) } else { wish }
                };
                if let Some((pace, opens)) = pace(visit.at)
                    && let Ok((planned, _)) = plan(house, world, pace, opens, Some(&shop.location.id), wish)
                {
                    steps.extend(planned);
                }
            }
            date = date.tomorrow().unwrap_or(date);
        }
    }
    steps.sort_by_key(|step| (step.at.stamp, step.at.due));
    steps
}

fn apply<H: House>(house: &H, world: &mut World<H>, step: Step<H::Event>) {
    house.stage().clock.reach(step.at.stamp);
    for (shelf, id, json) in step.objects {
        world.shelves.entry(shelf).or_default().entry(id).or_default().write(json);
    }
    for mut entry in step.entries {
        if entry.business_date.is_none() {
            let at: Option<Timestamp> = entry.closed_at.as_ref().and_then(|closed| closed.parse().ok());
            let shop = house.stage().businesses.shop(&entry.location_id);
            entry.business_date = shop.map(|shop| shop.business_date(at.unwrap_or(step.at.stamp)).to_string());
        }
        world.ledger.write(entry);
    }
    match step.ends {
        Some(Ends::Sale) => world.rung_up += 1,
        Some(Ends::Refund) => world.refunded += 1,
        None => {}
    }
    let burst = house.stage().door.faults.get().burst;
    for event in step.events {
        for echo in 0..=burst {
            house.announce(world, &step.merchant_id, &event, step.at.stamp, echo);
        }
    }
}

/// Does what is on the agenda, one step after the other: a refund that
/// is due right after a fee must not be overtaken by it.
pub async fn clerk<H: House>(house: Arc<H>) {
    let stage = house.stage();
    loop {
        let next = stage.world().agenda.first_key_value().map(|((due, _), _)| *due);
        match next {
            None => stage.agenda_changed.notified().await,
            Some(due) if due > Instant::now() => {
                let earlier = stage.agenda_changed.notified();
                let _ = tokio::time::timeout_at(due.into(), earlier).await;
            }
            Some(_) => {
                let mut world = stage.world();
                if let Some((_, step)) = world.agenda.pop_first() {
                    apply(&*house, &mut world, step);
                }
            }
        }
    }
}

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
