//! What all providers have in common: a day is planned, played and written down.
//!
//! The whole course of a sale is a list of [`Step`]s, written when the sale is
//! planned: objects, times and events. Playing it is then only waiting and
//! copying, and the same seed cannot help but give the same day.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::clock::{Clock, Moment, Pace};
use crate::customer::{Asks, Wish};
use crate::day::{arrivals, visits};
use crate::delivery::{Delivery, DeliveryState, Parcel, PostOffice, Terms};
use crate::door::Door;
use crate::ledger::{Ledger, LedgerEntry};
use crate::seed::{Draws, Seed};
use crate::shelf::{Object, Shelf};
use crate::shops::{Businesses, Shop, Vendor};
use crate::square::{Grant, Subscription};
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

/// Somebody who comes in, and when; what they want is drawn from their number.
pub struct Customer<'a> {
    pub pace: Pace,
    pub opens: Duration,
    /// One of these is drawn.
    pub shops: Arc<[Shop<'a>]>,
    pub asks: Asks,
}

/// The shops of a merchant, or one of them, or all there are.
pub fn shops<'a, H: House>(
    house: &'a H,
    merchant_id: Option<&str>,
    location_id: Option<&str>,
) -> Result<Arc<[Shop<'a>]>, Refused> {
    let businesses = &house.stage().businesses;
    let merchant = merchant_id.map(|id| businesses.merchant(Some(id))).transpose()?;
    let shops = businesses.shops().filter(|shop| {
        merchant.is_none_or(|merchant| merchant.id == shop.merchant.id)
            && location_id.is_none_or(|id| id == shop.location.id)
    });
    let shops: Arc<[Shop<'a>]> = shops.collect();
    match location_id {
        Some(id) if shops.is_empty() => Err(Refused(format!("there is no location {id}"))),
        _ => Ok(shops),
    }
}

/// Plans the next sale. Its number, not the moment, decides what it is.
pub fn plan<H: House>(house: &H, world: &mut World<H>, customer: &Customer<'_>) -> Plan<H> {
    let stage = house.stage();
    let mut draws = stage.draws(&format!("sale/{}", world.planned));
    let mut chance = stage.draws(&format!("late/{}", world.planned));
    world.planned += 1;
    let shop = *draws.pick(&customer.shops);
    let mut wish = customer.asks.wish(&mut draws);
    let is_chosen = matches!(customer.asks, Asks::For(_));
    if !is_chosen && chance.happens(stage.door.faults.get().late_percent) {
        wish = wish.late(&mut chance);
    }
    house.plan(world, Place { shop, pace: customer.pace, opens: customer.opens }, &wish, &mut draws)
}

/// A morning's customers, in the order in which they come in.
pub fn morning<'a, H: House>(
    house: &'a H,
    world: &World<H>,
    pace: Pace,
    sales: usize,
    shops: &Arc<[Shop<'a>]>,
) -> Vec<Customer<'a>> {
    let mut draws = house.stage().draws(&format!("morning/{}", world.planned));
    let arrivals = arrivals(&mut draws, sales).into_iter();
    arrivals.map(|opens| Customer { pace, opens, shops: Arc::clone(shops), asks: Asks::Anything }).collect()
}

/// The customers of whole days of the shops, each at the pace it is given.
pub fn whole_days<'a, H: House>(
    house: &'a H,
    first: Option<Date>,
    days: u16,
    customers: usize,
    shops: &[Shop<'a>],
    pace: impl Fn(Timestamp) -> Option<(Pace, Duration)>,
) -> Vec<Customer<'a>> {
    let stage = house.stage();
    let mut coming = Vec::new();
    for shop in shops {
        let mut date = first.unwrap_or_else(|| shop.business_date(stage.clock.now()));
        let only: Arc<[Shop<'a>]> = [*shop].into();
        for _ in 0..days {
            let mut draws = stage.draws(&format!("day/{}/{date}", shop.location.id));
            for visit in visits(&mut draws, *shop, date, customers) {
                let asks = if visit.closing { Asks::AtClosing } else { Asks::OfADay };
                coming.extend(pace(visit.at).map(|(pace, opens)| Customer {
                    pace,
                    opens,
                    shops: Arc::clone(&only),
                    asks,
                }));
            }
            date = date.tomorrow().unwrap_or(date);
        }
    }
    coming
}

/// What all these customers do, in the order in which it happens.
pub fn plan_all<H: House>(house: &H, world: &mut World<H>, customers: &[Customer<'_>]) -> Vec<Step<H::Event>> {
    let mut steps: Vec<Step<H::Event>> = customers.iter().flat_map(|customer| plan(house, world, customer).0).collect();
    steps.sort_by_key(|step| (step.at.stamp, step.at.due));
    steps
}

/// Puts sales on the shelf as if they had always been there: nobody is told,
/// and only how they ended is kept.
pub fn stock<H: House>(house: &H, world: &mut World<H>, customers: &[Customer<'_>]) -> Option<RungUp> {
    let mut entries: BTreeMap<(Timestamp, usize), LedgerEntry> = BTreeMap::new();
    let mut rung_up = None;
    for customer in customers {
        let (steps, sale) = plan(house, world, customer);
        rung_up = Some(sale);
        let mut objects: BTreeMap<(&'static str, Arc<str>), Object> = BTreeMap::new();
        let mut first: BTreeMap<String, (Timestamp, usize)> = BTreeMap::new();
        for step in steps {
            house.stage().clock.reach(step.at.stamp);
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

pub fn apply<H: House>(house: &H, world: &mut World<H>, step: Step<H::Event>) {
    house.stage().clock.reach(step.at.stamp);
    let now = Instant::now();
    for object in step.objects {
        world.shelves.entry(object.shelf).or_default().write(object, Some(now));
    }
    step.entries.into_iter().for_each(|entry| world.ledger.write(entry));
    world.count(step.ends);
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
