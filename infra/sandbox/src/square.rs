//! Square, as far as a sale needs it.

mod answers;
mod catalog;
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
use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

use crate::catalogue::{SHOPS, SQUARE_ABROAD, business_names};
use crate::clock::Pace;
use crate::consent::Consents;
use crate::customer::Wish;
use crate::delivery::Terms;
use crate::door::Door;
use crate::ledger::EntryState;
use crate::seed::{Draws, Seed};
use crate::shops::{Business, Businesses, Merchant, Vendor};
use crate::stage::{Ends, House, Opening, Place, Plan, Stage};
use crate::{RefundKind, Refused, RungUp, SandboxOptions};

pub use answers::bearer;
pub use oauth::{Application, Grant};
use script::{Counter, Event, Sale};
pub use webhooks::Subscription;

/// The version of Square's API that is spoken here.
const API_VERSION: &str = "2025-08-20";

type World = crate::stage::World<Square>;
type Step = crate::stage::Step<Event>;

#[derive(Debug, Default)]
pub struct Own {
    sales: BTreeMap<String, Sale>,
    grants: Consents,
    subscriptions: Vec<webhooks::Registered>,
    stock: catalog::Stock,
}

/// A stage with Square's manners.
#[derive(Debug)]
pub struct Square(Stage<Self>);

impl Deref for Square {
    type Target = Stage<Self>;

    fn deref(&self) -> &Stage<Self> {
        &self.0
    }
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
        .route("/v2/catalog/search", post(catalog::search))
        .route("/v2/catalog/batch-retrieve", post(catalog::batch_retrieve))
        .route("/v2/catalog/object/{id}", get(catalog::get_object))
        .route("/v2/inventory/changes/batch-create", post(catalog::change))
        .route("/v2/inventory/counts/batch-retrieve", post(catalog::counts))
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
    let business = |name: &String| {
        let abroad = SQUARE_ABROAD.iter().take(if options.abroad { SQUARE_ABROAD.len() } else { 0 });
        let plans = SHOPS.iter().take(options.shops).chain(abroad).collect();
        Business::new(seed.draws(&format!("merchant/{name}")).capitals(13), name, plans, |plan| {
            seed.draws(&format!("location/{name}/{}", plan.name)).capitals(13)
        })
    };
    Businesses::new(business_names(seed, options.merchants).iter().map(business).collect())
}

impl Square {
    pub fn open(opening: Opening) -> Result<Arc<Self>, reqwest::Error> {
        let options = &opening.options;
        let businesses = businesses(Seed(options.seed), options);
        let door = Door::new("/oauth2/", "/oauth2/token", Seed(options.seed));
        let terms = Terms { speed: options.speed, answer_within: options.answer_within, brakes: false };
        Stage::open(Vendor::Square, opening, businesses, door, terms, Self)
    }

    fn merchant(&self, id: Option<&str>) -> Result<&Merchant, Refused> {
        self.businesses.merchant(id)
    }
}

impl House for Square {
    type Own = Own;
    type Event = Event;

    fn plan(&self, world: &mut World, at: Place<'_>, wish: &Wish, draws: &mut Draws) -> Plan<Self> {
        let receipt = wish.ring_up(Vendor::Square, &at.shop.merchant.id, at.shop.plan, self.seed, draws);
        let counter = Counter { seed: self.seed, pace: at.pace, shop: at.shop };
        let (steps, sale) = counter.sale(wish, receipt, at.opens, draws);
        let refund_order_id = steps.iter().rev().find_map(|step| match step.ends {
            Some(Ends::Refund) => step.objects.iter().find(|object| object.shelf == "orders"),
            Some(Ends::Sale) | None => None,
        });
        let refund_order_id = refund_order_id.map(|order| order.id.to_string());
        let rung_up = RungUp { refund_order_id, ..RungUp::of(&sale.entry(EntryState::Completed, at.shop)) };
        world.own.sales.insert(sale.order.id.clone(), sale);
        (steps, rung_up)
    }

    fn plan_refund(
        &self,
        world: &mut World,
        order_id: &str,
        kind: RefundKind,
        pace: Pace,
    ) -> Result<Plan<Self>, Refused> {
        let unknown = || Refused(format!("there is no sale {order_id}"));
        let sale = world.own.sales.get_mut(order_id).ok_or_else(unknown)?;
        let shop = self.businesses.shop(&sale.order.location_id).ok_or_else(unknown)?;
        let counter = Counter { seed: self.seed, pace: pace.not_before(sale.settled), shop };
        let mut steps = Vec::new();
        let entry = counter.refund(sale, kind, std::time::Duration::from_secs(1), &mut steps)?;
        Ok((steps, RungUp::of(&entry)))
    }
}
