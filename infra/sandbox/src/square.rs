//! Square, as far as a sale needs it.
//!
//! The state here is what Square knows; [`script`] plans what happens to it,
//! and one clerk copies the steps in when they are due. Objects keep their
//! earlier copies, so that a lagging replica can be imitated.

mod answers;
mod json;
mod oauth;
mod order;
mod paging;
mod payment;
mod reads;
mod refund;
mod script;
mod search;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;

use crate::catalogue::{BUSINESSES, SHOPS};
use crate::clock::{Clock, Pace};
use crate::consent::Consents;
use crate::customer::{SaleKind, Wish};
use crate::delivery::{DeliveryState, PostOffice, Terms};
use crate::door::Door;
use crate::ledger::{Ledger, LedgerEntry};
use crate::seed::{Draws, Seed};
use crate::shops::{Business, Businesses, Merchant, Shop};
use crate::{Progress, RefundKind, Refused, RungUp, SandboxOptions, StillBusy};

pub use answers::bearer;
pub use oauth::{Application, Grant};
use script::{Counter, Ends, Sale, Step};
pub use webhooks::{EventRecord, Subscription};

/// The version of Square's API that is spoken here.
const API_VERSION: &str = "2025-08-20";
/// A bakery is busy for this long.
const MORNING: Duration = Duration::from_secs(4 * 3600);

/// One object with all its earlier copies.
#[derive(Debug, Default)]
struct Copies(Vec<(Instant, Value)>);

impl Copies {
    fn write(&mut self, json: Value) {
        self.0.push((Instant::now(), json));
    }

    /// What a replica knows that is this far behind.
    fn seen(&self, behind: Duration) -> Option<&Value> {
        let copies = self.0.iter().rev();
        copies.into_iter().find(|(written, _)| written.elapsed() >= behind).map(|(_, json)| json)
    }
}

type Shelf = BTreeMap<String, Copies>;

#[derive(Debug)]
struct World {
    clock: Arc<Clock>,
    orders: Shelf,
    payments: Shelf,
    refunds: Shelf,
    sales: BTreeMap<String, Sale>,
    ledger: Ledger,
    grants: Consents,
    subscriptions: Vec<webhooks::Registered>,
    events: Vec<EventRecord>,
    planned: usize,
    rung_up: usize,
    refunded: usize,
    /// What is going to happen, by when and in which order it was noted.
    agenda: BTreeMap<(Instant, u64), Step>,
    noted: u64,
}

#[derive(Debug)]
pub struct Square {
    options: SandboxOptions,
    seed: Seed,
    pub businesses: Businesses,
    world: Mutex<World>,
    pub door: Door,
    pub post: Arc<PostOffice>,
    agenda_changed: Notify,
}

pub fn router(square: Arc<Square>) -> Router {
    Router::new()
        .route("/v2/merchants", get(reads::list_merchants))
        .route("/v2/merchants/{id}", get(reads::get_merchant))
        .route("/v2/locations", get(reads::list_locations))
        .route("/v2/locations/{id}", get(reads::get_location))
        .route("/v2/orders/search", post(search::search))
        .route("/v2/orders/batch-retrieve", post(search::batch_retrieve))
        .route("/v2/orders/{id}", get(search::get_order))
        .route("/v2/payments", get(reads::list_payments))
        .route("/v2/payments/{id}", get(reads::get_payment))
        .route("/v2/refunds", get(reads::list_refunds))
        .route("/v2/refunds/{id}", get(reads::get_refund))
        .route("/v2/webhooks/subscriptions", get(webhooks::list).post(webhooks::create))
        .route("/v2/webhooks/subscriptions/{id}", get(webhooks::get).delete(webhooks::delete))
        .route("/v2/webhooks/subscriptions/{id}/signature-key", post(webhooks::rotate_key))
        .route("/v2/webhooks/subscriptions/{id}/test", post(webhooks::test))
        .route("/oauth2/authorize", get(oauth::authorize))
        .route("/oauth2/token", post(oauth::token))
        .route("/oauth2/revoke", post(oauth::revoke))
        .route("/oauth2/token/status", post(oauth::status))
        .fallback(answers::no_such_route)
        .method_not_allowed_fallback(answers::no_such_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&square), answers::guard))
        .with_state(square)
}

fn businesses(seed: Seed, options: &SandboxOptions) -> Businesses {
    let business = |name: &&'static str| {
        let plans = SHOPS.iter().take(options.shops).collect();
        Business::new(seed.draws(&format!("merchant/{name}")).capitals(13), name, plans, |plan| {
            seed.draws(&format!("location/{name}/{}", plan.name)).capitals(13)
        })
    };
    Businesses(BUSINESSES.iter().take(options.merchants).map(business).collect())
}

impl Square {
    pub fn open(
        options: SandboxOptions,
        clock: Arc<Clock>,
        runtime: tokio::runtime::Handle,
    ) -> Result<Arc<Self>, reqwest::Error> {
        let seed = Seed(options.seed);
        let door = Door::new("/oauth2/", "/oauth2/token");
        let terms =
            Terms { speed: options.speed, retry_window: options.retry_window, answer_within: options.answer_within };
        let at_once = options.concurrent_deliveries;
        let post = PostOffice::new(runtime.clone(), Arc::clone(&door.faults), at_once, terms)?;
        let world = World {
            clock,
            orders: Shelf::new(),
            payments: Shelf::new(),
            refunds: Shelf::new(),
            sales: BTreeMap::new(),
            ledger: Ledger::default(),
            grants: Consents::default(),
            subscriptions: Vec::new(),
            events: Vec::new(),
            planned: 0,
            rung_up: 0,
            refunded: 0,
            agenda: BTreeMap::new(),
            noted: 0,
        };
        let square = Arc::new(Self {
            businesses: businesses(seed, &options),
            options,
            seed,
            world: Mutex::new(world),
            door,
            post: Arc::new(post),
            agenda_changed: Notify::new(),
        });
        runtime.spawn(Arc::clone(&square).clerk());
        Ok(square)
    }

    pub(super) fn merchant(&self, id: Option<&str>) -> Result<&Merchant, Refused> {
        self.businesses.merchant(id)
    }

    /// A panic elsewhere must not take the simulator down: what it holds is still good enough.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replica_lag(&self) -> Duration {
        Duration::from_millis(self.door.faults.get().replica_lag_ms)
    }

    /// Plans the next sale. Its number, not the moment, decides what it is.
    fn plan(
        &self,
        world: &mut World,
        pace: Pace,
        opens: Duration,
        location_id: Option<&str>,
        wish: impl FnOnce(&mut Draws) -> Wish,
    ) -> Result<(Vec<Step>, RungUp), Refused> {
        let mut shops: Vec<Shop<'_>> = self.businesses.shops().collect();
        if let Some(id) = location_id {
            shops.retain(|shop| shop.location.id == id);
            if shops.is_empty() {
                return Err(Refused(format!("there is no location {id}")));
            }
        }
        let mut draws = self.seed.draws(&format!("sale/{}", world.planned));
        world.planned += 1;
        let Shop { merchant, location, plan } = *draws.pick(&shops);
        let team: Vec<String> =
            (0..4).map(|member| self.seed.draws(&format!("team/{}/{member}", merchant.id)).letters(16)).collect();
        let wish = wish(&mut draws);
        let receipt = wish.ring_up(&merchant.id, plan, self.seed, &mut draws);
        let counter =
            Counter { seed: self.seed, pace, merchant_id: &merchant.id, location_id: &location.id, team: &team };
        let (steps, sale) = counter.sale(&wish, receipt, opens, &mut draws);
        let refund_order_id = steps.iter().rev().find_map(|step| match step.ends {
            Some(Ends::Refund) => step.orders.first().map(|(id, _)| id.clone()),
            Some(Ends::Sale) | None => None,
        });
        let rung_up = RungUp {
            order_id: sale.order.id.clone(),
            refund_order_id,
            merchant_id: merchant.id.clone(),
            location_id: location.id.clone(),
            currency: sale.receipt.currency.to_owned(),
            total_minor: sale.receipt.total(),
        };
        world.sales.insert(sale.order.id.clone(), sale);
        Ok((steps, rung_up))
    }

    /// A morning's customers, in the order in which they come in.
    fn plan_morning(&self, world: &mut World, pace: Pace, sales: usize) -> Vec<Step> {
        let mut draws = self.seed.draws(&format!("morning/{}", world.planned));
        let last = i64::try_from(MORNING.as_millis()).unwrap_or(i64::MAX);
        let mut arrivals: Vec<i64> = (0..sales).map(|_| draws.between(0, last)).collect();
        arrivals.sort_unstable();
        let mut steps: Vec<Step> = arrivals
            .into_iter()
            .filter_map(|arrival| {
                let opens = Duration::from_millis(arrival.unsigned_abs());
                self.plan(world, pace, opens, None, Wish::random).ok()
            })
            .flat_map(|(steps, _)| steps)
            .collect();
        steps.sort_by_key(|step| (step.at.stamp, step.at.due));
        steps
    }

    pub fn play(&self, sales: usize) {
        let mut world = self.world();
        let pace = world.clock.pace(self.options.speed);
        let steps = self.plan_morning(&mut world, pace, sales);
        self.begin(world, steps);
    }

    pub fn stock_history(&self, sales: usize, opens_at: Timestamp) {
        let mut world = self.world();
        let steps = self.plan_morning(&mut world, Pace::past(opens_at), sales);
        for mut step in steps {
            step.events.clear();
            self.apply(&mut world, step);
        }
    }

    pub fn ring_up(&self, kind: SaleKind, location_id: Option<&str>) -> Result<RungUp, Refused> {
        let mut world = self.world();
        let pace = world.clock.pace(self.options.speed);
        let (steps, rung_up) = self.plan(&mut world, pace, Duration::ZERO, location_id, |_| Wish::of(kind))?;
        self.begin(world, steps);
        Ok(rung_up)
    }

    pub fn refund(&self, order_id: &str, kind: RefundKind) -> Result<RungUp, Refused> {
        let mut world = self.world();
        let pace = world.clock.pace(self.options.speed);
        let unknown = || Refused(format!("there is no sale {order_id}"));
        let sale = world.sales.get_mut(order_id).ok_or_else(unknown)?;
        let counter = Counter {
            seed: self.seed,
            pace: pace.not_before(sale.settled),
            merchant_id: &sale.merchant_id.clone(),
            location_id: &sale.order.location_id.clone(),
            team: &[],
        };
        let mut steps = Vec::new();
        let entry = counter.refund(sale, kind, Duration::from_secs(1), &mut steps)?;
        let rung_up = RungUp {
            order_id: entry.order_id,
            refund_order_id: None,
            merchant_id: entry.merchant_id,
            location_id: entry.location_id,
            currency: entry.currency,
            total_minor: entry.total_minor,
        };
        self.begin(world, steps);
        Ok(rung_up)
    }

    /// Puts the steps on the agenda; the clerk does them when they are due.
    fn begin(&self, mut world: MutexGuard<'_, World>, steps: Vec<Step>) {
        for step in steps {
            world.noted += 1;
            let place = (step.at.due, world.noted);
            world.agenda.insert(place, step);
        }
        self.agenda_changed.notify_one();
    }

    /// Does what is on the agenda, one step after the other: a refund that
    /// is due right after a fee must not be overtaken by it.
    async fn clerk(self: Arc<Self>) {
        loop {
            let next = self.world().agenda.first_key_value().map(|((due, _), _)| *due);
            match next {
                None => self.agenda_changed.notified().await,
                Some(due) if due > Instant::now() => {
                    let earlier = self.agenda_changed.notified();
                    let _ = tokio::time::timeout_at(due.into(), earlier).await;
                }
                Some(_) => {
                    let mut world = self.world();
                    if let Some((_, step)) = world.agenda.pop_first() {
                        self.apply(&mut world, step);
                    }
                }
            }
        }
    }

    fn apply(&self, world: &mut World, step: Step) {
        world.clock.reach(step.at.stamp);
        for (shelf, objects) in
            [(&mut world.orders, step.orders), (&mut world.payments, step.payments), (&mut world.refunds, step.refunds)]
        {
            for (id, json) in objects {
                shelf.entry(id).or_default().write(json);
            }
        }
        if let Some(entry) = step.entry {
            world.ledger.write(entry);
        }
        match step.ends {
            Some(Ends::Sale) => world.rung_up += 1,
            Some(Ends::Refund) => world.refunded += 1,
            None => {}
        }
        for event in step.events {
            self.announce(world, &step.merchant_id, &event, step.at.stamp);
        }
    }

    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.world().ledger.entries()
    }

    pub fn events(&self) -> Vec<EventRecord> {
        self.world().events.clone()
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

    /// Polls: a person or a test is waiting, and a few milliseconds do not matter.
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
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
