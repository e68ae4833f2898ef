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

use crate::catalogue::{LIGHTSPEED_SHOPS, ShopPlan, business_names};
use crate::consent::Consents;
use crate::delivery::Terms;
use crate::door::Door;
use crate::seed::Seed;
use crate::shops::{Business, Businesses, Vendor};
use crate::square::Subscription;
use crate::stage::{Opening, Stage};

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
    pub fn open(opening: Opening) -> Result<Arc<Self>, reqwest::Error> {
        let options = &opening.options;
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
        Stage::open(Vendor::Lightspeed, opening, businesses, door, terms, Self)
    }
}
