//! What all providers have in common: a day is planned, played and written down.
//!
//! The whole course of a sale is a list of [`Step`]s, written when the sale is
//! planned: objects, times and events. Playing it is then only waiting and
//! copying, and the same seed cannot help but give the same day.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::clock::{Clock, Moment, Pace};
use crate::customer::{Asks, Wish};
use crate::day::Customer;
use crate::delivery::{Delivery, DeliveryState, Parcel, PostOffice, Terms};
use crate::door::Door;
use crate::ledger::{Ledger, LedgerEntry};
use crate::seed::{Draws, Seed};
use crate::shelf::{Object, Shelf};
use crate::shops::{Businesses, Shop, Vendor};
use crate::square::Subscription;
use crate::{Progress, RefundKind, Refused, RungUp, SandboxOptions};

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
    pub objects: Vec<Object>,
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
    pub ledger: Ledger,
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

    fn count(&mut self, ends: Option<Ends>) {
        match ends {
            Some(Ends::Sale) => self.rung_up += 1,
            Some(Ends::Refund) => self.refunded += 1,
            None => {}
        }
    }
}

/// What a planned sale leads to.
pub type Plan<H> = (Vec<Step<<H as House>::Event>>, RungUp);

/// A provider, as far as it is not like all others; the rest is its [`Stage`].
pub trait House: std::fmt::Debug + Sized + Send + Sync + Deref<Target = Stage<Self>> + 'static {
    /// Grants, subscriptions, sales: what the provider remembers.
    type Own: std::fmt::Debug + Default + Send;
    /// Something a webhook may tell.
    type Event: std::fmt::Debug + Send;

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
}

/// How a provider tells what happened.
pub trait Tells: House {
    /// Records an event and sends it to whom it may concern; an echo tells the
    /// same once more, under an id of its own.
    fn tell(&self, world: &mut World<Self>, merchant_id: &str, event: &Self::Event, at: Timestamp, echo: u32);
}

/// Where and when a sale is planned.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub shop: Shop<'a>,
    pub pace: Pace,
    /// Shop time from the start of the pace.
    pub opens: Duration,
}

/// What is known of a provider from the outside.
#[derive(Debug)]
pub struct Front {
    vendor: Vendor,
    pub options: SandboxOptions,
    pub seed: Seed,
    pub clock: Arc<Clock>,
    pub businesses: Businesses,
    pub door: Door,
    pub post: Arc<PostOffice>,
}

#[derive(Debug)]
pub struct Stage<H: House> {
    front: Front,
    world: Mutex<World<H>>,
    agenda_changed: Notify,
}

impl<H: House> Deref for Stage<H> {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

/// What every provider opens with.
#[derive(Debug, Clone)]
pub struct Opening {
    pub options: SandboxOptions,
    pub clock: Arc<Clock>,
    pub runtime: tokio::runtime::Handle,
}

impl<H: Tells> Stage<H> {
    /// `house`: what the stage belongs to.
    pub fn open(
        vendor: Vendor,
        opening: Opening,
        businesses: Businesses,
        door: Door,
        terms: Terms,
        house: fn(Self) -> H,
    ) -> Result<Arc<H>, reqwest::Error> {
        let Opening { options, clock, runtime } = opening;
        let at_once = options.concurrent_deliveries;
        let post = Arc::new(PostOffice::new(runtime.clone(), Arc::clone(&door.faults), at_once, terms)?);
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
        let front = Front { vendor, seed: Seed(options.seed), options, clock, businesses, door, post };
        let house = Arc::new(house(Self { front, world: Mutex::new(world), agenda_changed: Notify::new() }));
        runtime.spawn(clerk(Arc::clone(&house)));
        Ok(house)
    }
}

impl<H: House> Stage<H> {
    /// A panic elsewhere must not take the simulator down: what it holds is still good enough.
    pub fn world(&self) -> MutexGuard<'_, World<H>> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the steps on the agenda; the clerk does them when they are due.
    pub fn begin(&self, mut world: MutexGuard<'_, World<H>>, steps: Vec<Step<H::Event>>) {
        for step in steps {
            world.noted += 1;
            let place = (step.at.due, world.noted);
            world.agenda.insert(place, step);
        }
        self.agenda_changed.notify_one();
    }

    pub fn progress(&self) -> Progress {
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
}

impl Front {
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

/// Those who come, when so many sales have been planned before.
pub type Customers<'a> = dyn Fn(usize) -> Vec<Customer<'a>> + 'a;

/// Plans the next sale. Its number, not the moment, decides what it is.
fn plan<H: House>(house: &H, world: &mut World<H>, customer: &Customer<'_>) -> Plan<H> {
    let mut draws = house.draws(&format!("sale/{}", world.planned));
    world.planned += 1;
    let shop = *draws.pick(&customer.shops);
    let mut wish = customer.asks.wish(&mut draws);
    let late_percent = house.door.faults.get().late_percent;
    if late_percent > 0 && !matches!(customer.asks, Asks::For(_)) {
        let mut chance = house.draws(&format!("late/{}", world.planned));
        wish = if chance.happens(late_percent) { wish.late(&mut chance) } else { wish };
    }
    house.plan(world, Place { shop, pace: customer.pace, opens: customer.opens }, &wish, &mut draws)
}

/// Lets them come: the clerk does their steps when they are due.
pub fn play<H: House>(house: &H, customers: &Customers<'_>) -> Option<RungUp> {
    let mut world = house.world();
    let plans: Vec<Plan<H>> =
        customers(world.planned).iter().map(|customer| plan(house, &mut world, customer)).collect();
    let rung_up = plans.last().map(|(_, rung_up)| rung_up.clone());
    let mut steps: Vec<Step<H::Event>> = plans.into_iter().flat_map(|(steps, _)| steps).collect();
    steps.sort_by_key(|step| (step.at.stamp, step.at.due));
    house.begin(world, steps);
    rung_up
}

/// Puts sales on the shelf as if they had always been there: nobody is told,
/// and only how they ended is kept.
pub fn stock<H: House>(house: &H, customers: &Customers<'_>) -> Option<RungUp> {
    let mut world = house.world();
    let mut entries: BTreeMap<(Timestamp, usize), LedgerEntry> = BTreeMap::new();
    let mut rung_up = None;
    for customer in customers(world.planned) {
        let (steps, sale) = plan(house, &mut world, &customer);
        rung_up = Some(sale);
        let mut objects: BTreeMap<(&'static str, Arc<str>), Object> = BTreeMap::new();
        let mut first: BTreeMap<String, (Timestamp, usize)> = BTreeMap::new();
        for step in steps {
            house.clock.reach(step.at.stamp);
            objects.extend(step.objects.into_iter().map(|object| ((object.shelf, Arc::clone(&object.id)), object)));
            for entry in step.entries {
                let place = (step.at.stamp, entries.len());
                let place = *first.entry(entry.order_id.clone()).or_insert(place);
                entries.insert(place, entry);
            }
            world.count(step.ends);
        }
        for ((shelf, _), object) in objects {
            world.shelves.entry(shelf).or_default().write(object, None);
        }
    }
    entries.into_values().for_each(|entry| world.ledger.write(entry));
    rung_up
}

fn apply<H: Tells>(house: &H, world: &mut World<H>, step: Step<H::Event>) {
    house.clock.reach(step.at.stamp);
    let now = Instant::now();
    for object in step.objects {
        world.shelves.entry(object.shelf).or_default().write(object, Some(now));
    }
    step.entries.into_iter().for_each(|entry| world.ledger.write(entry));
    world.count(step.ends);
    let burst = house.door.faults.get().burst;
    for event in step.events {
        for echo in 0..=burst {
            house.tell(world, &step.merchant_id, &event, step.at.stamp, echo);
        }
    }
}

/// Does what is on the agenda, one step after the other: a refund that
/// is due right after a fee must not be overtaken by it.
async fn clerk<H: Tells>(house: Arc<H>) {
    loop {
        let next = house.world().agenda.first_key_value().map(|((due, _), _)| *due);
        match next {
            None => house.agenda_changed.notified().await,
            Some(due) if due > Instant::now() => {
                let earlier = house.agenda_changed.notified();
                let _ = tokio::time::timeout_at(due.into(), earlier).await;
            }
            Some(_) => {
                let mut world = house.world();
                if let Some((_, step)) = world.agenda.pop_first() {
                    apply(&*house, &mut world, step);
                }
            }
        }
    }
}
