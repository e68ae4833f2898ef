//! Lightspeed Restaurant (K-Series), as far as a sale needs it.

mod answers;
mod businesses;
mod oauth;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

use crate::SandboxOptions;
use crate::catalogue::{BUSINESSES, LIGHTSPEED_SHOPS};
use crate::clock::Clock;
use crate::consent::Consents;
use crate::door::Door;
use crate::seed::Seed;
use crate::shops::{Business, Businesses};

#[derive(Debug, Default)]
struct World {
    grants: Consents,
}

#[derive(Debug)]
pub struct Lightspeed {
    seed: Seed,
    pub businesses: Businesses,
    clock: Arc<Clock>,
    world: Mutex<World>,
    pub door: Door,
}

pub fn router(lightspeed: Arc<Lightspeed>) -> Router {
    Router::new()
        .route("/oauth/authorize", get(oauth::authorize))
        .route("/oauth/token", post(oauth::token))
        .route("/f/data/businesses", get(businesses::financial))
        .route("/o/op/data/businesses", get(businesses::order_and_pay))
        .fallback(answers::no_such_route)
        .method_not_allowed_fallback(answers::no_such_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&lightspeed), answers::guard))
        .with_state(lightspeed)
}

impl Lightspeed {
    pub fn open(options: &SandboxOptions, clock: Arc<Clock>) -> Arc<Self> {
        let seed = Seed(options.seed);
        let business = |(name, shops): (&&'static str, &'static [_; 3])| {
            let number = |what: &str, digits: usize| {
                let mut draws = seed.draws(&format!("lightspeed/{what}"));
                (0..digits).map(|_| draws.between(1, 9).to_string()).collect::<String>()
            };
            let plans = shops.iter().take(options.shops).collect();
            // Ids of locations need more bits than an `i32`, and fewer than a `double` loses.
            let location_id = |plan: &crate::catalogue::ShopPlan| number(&format!("location/{}", plan.name), 14);
            Business::new(number(&format!("business/{name}"), 9), name, plans, location_id)
        };
        let all = BUSINESSES.iter().zip(&LIGHTSPEED_SHOPS).take(options.merchants);
        Arc::new(Self {
            seed,
            businesses: Businesses(all.map(business).collect()),
            clock,
            world: Mutex::default(),
            door: Door::new("/oauth/", "/oauth/token"),
        })
    }

    /// A panic elsewhere must not take the simulator down: what it holds is still good enough.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
