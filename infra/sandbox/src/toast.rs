//! Toast, as far as a sale needs it.
//!
//! Nobody clicks "agree" here: a restaurant group hands out a client id and a
//! secret, and one token serves all its restaurants. Which restaurant is meant
//! stands in a header of every call.

mod answers;
mod login;
mod restaurants;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use jiff::Timestamp;

use crate::SandboxOptions;
use crate::catalogue::{BUSINESSES, TOAST_SHOPS};
use crate::clock::Clock;
use crate::consent::Consents;
use crate::door::Door;
use crate::seed::Seed;
use crate::shops::{Business, Businesses};

#[derive(Debug, Default)]
struct World {
    tokens: Consents,
    /// When each group asked for tokens.
    logins: BTreeMap<String, Vec<Timestamp>>,
    /// Groups that have deleted their credentials.
    closed: BTreeSet<String>,
}

#[derive(Debug)]
pub struct Toast {
    seed: Seed,
    pub businesses: Businesses,
    clock: Arc<Clock>,
    world: Mutex<World>,
    pub door: Door,
}

pub fn router(toast: Arc<Toast>) -> Router {
    Router::new()
        .route("/authentication/v1/authentication/login", post(login::login))
        .route("/restaurants/v1/restaurants/{guid}", get(restaurants::get_restaurant))
        .route("/restaurants/v1/groups/{guid}/restaurants", get(restaurants::of_group))
        .route("/partners/v1/restaurants", get(restaurants::accessible))
        .route("/partners/v1/connectedRestaurants", get(restaurants::connected))
        .fallback(answers::no_such_route)
        .method_not_allowed_fallback(answers::no_such_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&toast), answers::guard))
        .with_state(toast)
}

impl Toast {
    pub fn open(options: &SandboxOptions, clock: Arc<Clock>) -> Arc<Self> {
        let seed = Seed(options.seed);
        let business = |name: &&'static str| {
            let plans = TOAST_SHOPS.iter().take(options.shops).collect();
            let group = seed.draws(&format!("toast/group/{name}")).uuid();
            Business::new(group, name, plans, |plan| {
                let mut draws = seed.draws(&format!("toast/restaurant/{name}/{}", plan.name));
                // Toast's own samples have guids that are no UUIDs, so one of ours is none either.
                if plan.name == TOAST_SHOPS[1].name { draws.uuid() + "a" } else { draws.uuid() }
            })
        };
        Arc::new(Self {
            seed,
            businesses: Businesses(BUSINESSES.iter().take(options.merchants).map(business).collect()),
            clock,
            world: Mutex::default(),
            door: Door::new("/authentication/", "/authentication/v1/authentication/login"),
        })
    }

    /// A panic elsewhere must not take the simulator down: what it holds is still good enough.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
