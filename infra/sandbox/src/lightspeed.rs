//! Lightspeed Restaurant (K-Series), as far as a sale needs it.
//!
//! Nothing changes here once it is closed: what is taken back, opened again
//! or divided becomes another sale with negative or positive lines.

mod account;
mod answers;
mod businesses;
mod items;
mod mirror;
mod notifications;
mod oauth;
mod reads;
mod script;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use jiff::Timestamp;

use crate::catalogue::{LIGHTSPEED_SHOPS, ShopPlan, business_names};
use crate::clock::{Clock, Pace};
use crate::consent::Consents;
use crate::customer::Wish;
use crate::delivery::Terms;
use crate::door::Door;
use crate::seed::{Draws, Seed};
use crate::shops::{Business, Businesses, Vendor};
use crate::square::{Grant, Subscription};
use crate::stage::{House, Place, Plan, Stage, clerk};
use crate::{RefundKind, Refused, SandboxOptions};

type World = crate::stage::World<Lightspeed>;
type Step = crate::stage::Step<notifications::Event>;

#[derive(Debug, Default)]
pub struct Own {
    grants: Consents,
    subscriptions: Vec<Subscription>,
    mirrors: Vec<mirror::Mirror>,
    /// The last number of an account at each location.
    numbers: BTreeMap<String, u32>,
    /// By the fiscal id and the location, for refunds.
    bills: BTreeMap<String, script::Bill>,
}

/// A stage with Lightspeed's manners.
#[derive(Debug)]
pub struct Lightspeed(Stage<Self>);

impl Deref for Lightspeed {
    type Target = Stage<Self>;

    fn deref(&self) -> &Stage<Self> {
        &self.0
    }
}

pub fn router(lightspeed: Arc<Lightspeed>) -> Router {
    Router::new()
        .route("/oauth/authorize", get(oauth::authorize))
        .route("/oauth/token", post(oauth::token))
        .route("/f/data/businesses", get(businesses::financial))
        .route("/o/op/data/businesses", get(businesses::order_and_pay))
        .route("/f/v2/business-location/{id}/sales", get(reads::sales))
        .route("/f/v2/business-location/{id}/sales-daily", get(reads::sales_daily))
        .route("/items/v1/items", get(items::list))
        .route("/items/v1/items/{id}", get(items::one))
        .route("/o/op/1/itemAvailability", get(items::availability).post(items::availability_posted))
        .fallback(answers::no_such_route)
        .method_not_allowed_fallback(answers::no_such_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&lightspeed), answers::guard))
        .with_state(lightspeed)
}

impl Lightspeed {
    pub fn open(
        options: SandboxOptions,
        clock: Arc<Clock>,
        runtime: tokio::runtime::Handle,
    ) -> Result<Arc<Self>, reqwest::Error> {
        let seed = Seed(options.seed);
        let number = |what: &str, digits: usize| seed.draws(&format!("lightspeed/{what}")).digits(digits);
        let names = business_names(seed, options.merchants);
        let business = |(number_of, name): (usize, &String)| {
            let plans = LIGHTSPEED_SHOPS.iter().cycle().nth(number_of).into_iter().flatten().take(options.shops);
            // Ids of locations need more bits than an `i32`, and fewer than a `double` loses.
            let location_id = |plan: &ShopPlan| match number_of < LIGHTSPEED_SHOPS.len() {
                true => number(&format!("location/{}", plan.name), 14),
                false => number(&format!("location/{name}/{}", plan.name), 14),
            };
            Business::new(number(&format!("business/{name}"), 9), name, plans.collect(), location_id)
        };
        let businesses = Businesses::new(names.iter().enumerate().map(business).collect());
        let door = Door::new("/oauth/", "/oauth/token", Seed(options.seed));
        let terms = Terms { speed: options.speed, answer_within: options.answer_within, brakes: false };
        let stage = Stage::open(Vendor::Lightspeed, options, clock, businesses, door, terms, runtime.clone())?;
        let lightspeed = Arc::new(Self(stage));
        runtime.spawn(clerk(Arc::clone(&lightspeed)));
        Ok(lightspeed)
    }
}

impl House for Lightspeed {
    type Own = Own;
    type Event = notifications::Event;

    fn stage(&self) -> &Stage<Self> {
        &self.0
    }

    fn plan(&self, world: &mut World, at: Place<'_>, wish: &Wish, draws: &mut Draws) -> Plan<Self> {
        self.plan_account(world, at, wish, draws)
    }

    fn plan_refund(
        &self,
        world: &mut World,
        order_id: &str,
        kind: RefundKind,
        pace: Pace,
    ) -> Result<Plan<Self>, Refused> {
        self.plan_money_back(world, order_id, kind, pace)
    }

    fn announce(&self, world: &mut World, merchant_id: &str, event: &notifications::Event, at: Timestamp, echo: u32) {
        self.tell(world, merchant_id, event, at, echo);
    }

    fn grant(&self, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused> {
        self.consent(merchant_id, scopes)
    }

    fn revoke(&self, merchant_id: &str) -> Result<(), Refused> {
        self.end_consent(merchant_id)
    }

    fn expire_tokens(&self) {
        let now = self.clock.now();
        self.world().own.grants.expire_access(now);
    }

    fn subscribe(&self, notification_url: &str) -> Subscription {
        self.register(notification_url)
    }
}
