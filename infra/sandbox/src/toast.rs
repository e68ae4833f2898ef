//! Toast, as far as a sale needs it.
//!
//! Nobody clicks "agree" here: a restaurant group hands out a client id and a
//! secret, and one token serves all its restaurants. Which restaurant is meant
//! stands in a header of every call.

mod answers;
mod catalog;
mod limits;
mod login;
mod order;
mod reads;
mod restaurants;
mod script;
mod stock;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post, put};
use jiff::Timestamp;

use crate::catalogue::{TOAST_SHOPS, business_names};
use crate::consent::Consents;
use crate::delivery::Terms;
use crate::door::Door;
use crate::seed::Seed;
use crate::shops::{Business, Businesses, Vendor};
use crate::stage::{Opening, Stage};

pub use order::decimal;

/// A receiver has this long, connection and answer together.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

type World = crate::stage::World<Toast>;
type Step = crate::stage::Step<webhooks::Event>;

#[derive(Debug, Default)]
pub struct Own {
    tokens: Consents,
    /// When each group asked for tokens.
    logins: BTreeMap<String, Vec<Timestamp>>,
    /// Groups that have deleted their credentials.
    closed: BTreeSet<String>,
    limits: limits::Limits,
    subscriptions: Vec<webhooks::Registered>,
    tickets: BTreeMap<String, order::Ticket>,
    /// What is not plainly in stock, by restaurant and item.
    stock: BTreeMap<(String, String), stock::Level>,
    stock_changes: u32,
}

/// A stage with Toast's manners.
#[derive(Debug)]
pub struct Toast(Stage<Self>);

impl Deref for Toast {
    type Target = Stage<Self>;

    fn deref(&self) -> &Stage<Self> {
        &self.0
    }
}

pub fn router(toast: Arc<Toast>) -> Router {
    Router::new()
        .route("/authentication/v1/authentication/login", post(login::login))
        .route("/restaurants/v1/restaurants/{guid}", get(restaurants::get_restaurant))
        .route("/restaurants/v1/groups/{guid}/restaurants", get(restaurants::of_group))
        .route("/partners/v1/restaurants", get(restaurants::accessible))
        .route("/partners/v1/connectedRestaurants", get(restaurants::connected))
        .route("/orders/v2/orders/{guid}", get(reads::get_order))
        .route("/orders/v2/ordersBulk", get(reads::orders_bulk))
        .route("/orders/v2/payments", get(reads::list_payments))
        .route("/orders/v2/payments/{guid}", get(reads::get_payment))
        .route("/menus/v2/metadata", get(catalog::metadata))
        .route("/menus/v2/menus", get(catalog::menus))
        .route("/stock/v1/inventory", get(stock::list))
        .route("/stock/v1/inventory/search", post(stock::search))
        .route("/stock/v1/inventory/update", put(stock::update))
        .fallback(answers::no_such_route)
        .method_not_allowed_fallback(answers::no_such_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&toast), answers::guard))
        .with_state(toast)
}

/// Toast's dates: UTC with milliseconds and an offset without a colon.
fn json_date(stamp: Timestamp) -> String {
    stamp.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

impl Toast {
    pub fn open(opening: Opening) -> Result<Arc<Self>, reqwest::Error> {
        let options = &opening.options;
        let seed = Seed(options.seed);
        let business = |name: &String| {
            let plans = TOAST_SHOPS.iter().take(options.shops).collect();
            let group = seed.draws(&format!("toast/group/{name}")).uuid();
            Business::new(group, name, plans, |plan| {
                let mut draws = seed.draws(&format!("toast/restaurant/{name}/{}", plan.name));
                // Toast's own samples have guids that are no UUIDs, so one of ours is none either.
                if plan.name == TOAST_SHOPS[1].name { draws.uuid() + "a" } else { draws.uuid() }
            })
        };
        let businesses = Businesses::new(business_names(seed, options.merchants).iter().map(business).collect());
        let door = Door::new("/authentication/", "/authentication/v1/authentication/login", Seed(options.seed));
        let answer_within = options.answer_within.min(ANSWER_WITHIN);
        let terms = Terms { speed: options.speed, answer_within, brakes: true };
        Stage::open(Vendor::Toast, opening, businesses, door, terms, Self)
    }
}
