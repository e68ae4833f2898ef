//! The other side's control desk, for tests and for people.
//!
//! Everything [`Sandbox`](crate::Sandbox) can do in code can be done here over
//! HTTP; nothing below `/_admin` is part of any provider's protocol.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::clock::rfc3339;
use crate::shops::Vendor;
use crate::town::Town;
use crate::{Client, Faults, RefundKind, Refused, SaleKind};

/// `?vendor=toast` or `?vendor=lightspeed` where it makes a difference; Square without it.
const ROUTES: [&str; 23] = [
    "GET    /_admin/progress",
    "GET    /_admin/application",
    "GET    /_admin/merchants",
    "POST   /_admin/play {\"sales\": 40, \"merchant_id\": optional, here and in the next two}",
    "POST   /_admin/history {\"sales\": 200, \"opens_at\": \"2026-02-14T11:00:00Z\"}",
    "POST   /_admin/days {\"days\": 3, \"customers\": 80, \"first\": \"2026-02-14\" for the past, else from now on}",
    "POST   /_admin/subscriptions/restart",
    "GET    /_admin/totals",
    "POST   /_admin/sales {\"kind\": \"split_tender\", \"location_id\": optional, \"at\": optional, in the past}",
    "POST   /_admin/sales/{order_id}/refund {\"kind\": \"full\" | \"line\" | \"amount\"}",
    "POST   /_admin/grants {\"merchant_id\": optional, \"scopes\": optional}",
    "DELETE /_admin/grants/{merchant_id}",
    "POST   /_admin/subscriptions {\"notification_url\": \"http://...\", \"stock\": true for Toast's stock, \"api_key\" and optional \"merchant_id\" for Lightspeed's mirror}",
    "DELETE /_admin/tokens?vendor=",
    "GET    /_admin/calls?vendor=",
    "GET    /_admin/client?vendor=&merchant_id=",
    "GET    /_admin/faults?vendor=",
    "PUT    /_admin/faults {\"failures\": [{\"status\": 429, \"times\": 3}], \"hold_order_ms\": 0, ...} or {\"preset\": \"disorder\", ...}",
    "DELETE /_admin/faults",
    "POST   /_admin/clock {\"advance_seconds\": 2592000}",
    "POST   /_admin/wait?timeout_ms=60000",
    "GET    /_admin/ledger, /_admin/events, /_admin/deliveries",
    "GET    /_admin",
];

pub fn router(town: Arc<Town>) -> Router {
    Router::new()
        .route("/_admin", get(overview))
        .route("/_admin/progress", get(async |State(town): Desk, at: At| Json(at.desk(&town).progress())))
        .route("/_admin/application", get(async |State(town): Desk| Json(town.square.application())))
        .route("/_admin/merchants", get(async |State(town): Desk, at: At| Json(at.desk(&town).merchants())))
        .route("/_admin/ledger", get(async |State(town): Desk, at: At| Json(at.desk(&town).ledger())))
        .route("/_admin/events", get(async |State(town): Desk, at: At| Json(at.desk(&town).events())))
        .route("/_admin/deliveries", get(async |State(town): Desk, at: At| Json(at.desk(&town).deliveries())))
        .route("/_admin/totals", get(async |State(town): Desk, at: At| Json(at.desk(&town).totals())))
        .route("/_admin/days", post(days))
        .route("/_admin/subscriptions/restart", post(restart))
        .route("/_admin/play", post(play))
        .route("/_admin/history", post(history))
        .route("/_admin/sales", post(ring_up))
        .route("/_admin/sales/{order_id}/refund", post(refund))
        .route("/_admin/grants", post(grant))
        .route("/_admin/grants/{merchant_id}", delete(revoke))
        .route("/_admin/subscriptions", post(subscribe))
        .route("/_admin/faults", get(faults).put(set_faults).delete(clear_faults))
        .route("/_admin/tokens", delete(expire_tokens))
        .route("/_admin/calls", get(async |State(town): Desk, at: At| Json(town.door(at.vendor()).calls())))
        .route("/_admin/client", get(client))
        .route("/_admin/clock", post(clock))
        .route("/_admin/wait", post(wait))
        .with_state(town)
}

type Desk = State<Arc<Town>>;

/// Which provider is meant.
#[derive(Debug, Default, Deserialize)]
struct At {
    vendor: Option<Vendor>,
    merchant_id: Option<String>,
}

impl At {
    fn vendor(&self) -> Vendor {
        self.vendor.unwrap_or(Vendor::Square)
    }

    fn desk<'a>(&self, town: &'a Town) -> crate::Desk<'a> {
        crate::Desk::new(town, self.vendor())
    }
}

impl<S: Sync> FromRequestParts<S> for At {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let query = axum::extract::Query::<Self>::try_from_uri(&parts.uri);
        let axum::extract::Query(at) =
            query.map_err(|error| Refused(format!("the query was not understood: {error}")))?;
        Ok(at)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"error": self.0}))).into_response()
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused(format!("the body was not understood: {error}")))
}

async fn overview(State(town): Desk, at: At) -> Json<Value> {
    Json(
        json!({"progress": at.desk(&town).progress(), "faults": town.door(at.vendor()).faults.get(), "routes": ROUTES}),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Play {
    sales: usize,
    merchant_id: Option<String>,
}

async fn play(State(town): Desk, at: At, body: Bytes) -> Result<Response, Refused> {
    let Play { sales, merchant_id } = read(&body)?;
    at.desk(&town).play_at(merchant_id.as_deref(), sales)?;
    Ok((StatusCode::ACCEPTED, Json(at.desk(&town).progress())).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    sales: usize,
    opens_at: Timestamp,
    merchant_id: Option<String>,
}

async fn history(State(town): Desk, at: At, body: Bytes) -> Result<Response, Refused> {
    let History { sales, opens_at, merchant_id } = read(&body)?;
    at.desk(&town).stock_history_at(merchant_id.as_deref(), sales, opens_at)?;
    Ok((StatusCode::CREATED, Json(at.desk(&town).progress())).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Days {
    days: u16,
    customers: usize,
    first: Option<Date>,
    merchant_id: Option<String>,
}

async fn days(State(town): Desk, at: At, body: Bytes) -> Result<Response, Refused> {
    let Days { days, customers, first, merchant_id } = read(&body)?;
    let desk = at.desk(&town);
    match first {
        Some(first) => desk.stock_days_at(merchant_id.as_deref(), first, days, customers)?,
        None => desk.play_days_at(merchant_id.as_deref(), days, customers)?,
    }
    Ok((StatusCode::ACCEPTED, Json(desk.progress())).into_response())
}

async fn restart(State(town): Desk) -> StatusCode {
    town.toast.post.restart();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneSale {
    kind: SaleKind,
    location_id: Option<String>,
    at: Option<Timestamp>,
}

async fn ring_up(State(town): Desk, at: At, body: Bytes) -> Result<Response, Refused> {
    let OneSale { kind, location_id, at: past } = read(&body)?;
    let rung_up = match (past, &location_id) {
        (Some(past), Some(shop)) => at.desk(&town).ring_up_past(kind, shop, past)?,
        (Some(_), None) => return Err(Refused("a sale of the past needs its location_id".to_owned())),
        (None, shop) => at.desk(&town).ring_up(kind, shop.as_deref())?,
    };
    Ok((StatusCode::CREATED, Json(rung_up)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneRefund {
    kind: RefundKind,
}

async fn refund(State(town): Desk, at: At, Path(order_id): Path<String>, body: Bytes) -> Result<Response, Refused> {
    let OneRefund { kind } = read(&body)?;
    let rung_up = at.desk(&town).refund(&order_id, kind)?;
    Ok((StatusCode::CREATED, Json(rung_up)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connect {
    merchant_id: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
}

async fn grant(State(town): Desk, at: At, body: Bytes) -> Result<Response, Refused> {
    let Connect { merchant_id, scopes } = read(&body)?;
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let grant = town.at(at.vendor()).grant(merchant_id.as_deref(), &scopes)?;
    Ok((StatusCode::CREATED, Json(grant)).into_response())
}

async fn revoke(State(town): Desk, at: At, Path(merchant_id): Path<String>) -> Result<StatusCode, Refused> {
    town.at(at.vendor()).revoke(&merchant_id)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    notification_url: String,
    #[serde(default)]
    stock: bool,
    api_key: Option<String>,
    merchant_id: Option<String>,
}

async fn subscribe(State(town): Desk, at: At, body: Bytes) -> Result<Response, Refused> {
    let Subscribe { notification_url, stock, api_key, merchant_id } = read(&body)?;
    let subscription = match api_key {
        Some(api_key) => town.lightspeed.mirror(merchant_id.as_deref(), &notification_url, &api_key)?,
        None if stock => town.toast.register("stock", &notification_url),
        None => town.at(at.vendor()).subscribe(&notification_url),
    };
    Ok((StatusCode::CREATED, Json(subscription)).into_response())
}

async fn expire_tokens(State(town): Desk, at: At) -> StatusCode {
    town.at(at.vendor()).expire_tokens();
    StatusCode::NO_CONTENT
}

async fn client(State(town): Desk, at: At) -> Result<Json<Client>, Refused> {
    Ok(Json(town.client(at.vendor(), at.merchant_id.as_deref())?))
}

async fn faults(State(town): Desk, at: At) -> Json<Faults> {
    Json(town.door(at.vendor()).faults.get())
}

async fn set_faults(State(town): Desk, at: At, body: Bytes) -> Result<Json<Faults>, Refused> {
    let faults = &town.door(at.vendor()).faults;
    let mut wanted: Map<String, Value> = read(&body)?;
    if let Some(preset) = wanted.remove("preset") {
        if preset != "disorder" {
            return Err(Refused(format!("there is no preset {preset}, only \"disorder\"")));
        }
        // What is given besides changes the preset.
        let all = json!(Faults::disorder()).as_object().cloned().unwrap_or_default();
        wanted = all.into_iter().chain(wanted).collect();
    }
    faults.set(read(&json!(wanted).to_string().into())?);
    Ok(Json(faults.get()))
}

async fn clear_faults(State(town): Desk, at: At) -> StatusCode {
    town.door(at.vendor()).faults.set(Faults::default());
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u32,
}

async fn clock(State(town): Desk, body: Bytes) -> Result<Json<Value>, Refused> {
    let Advance { advance_seconds } = read(&body)?;
    let now = town.advance_clock(Duration::from_secs(u64::from(advance_seconds)));
    Ok(Json(json!({"now": rfc3339(now)})))
}

#[derive(Deserialize)]
struct Patience {
    #[serde(default = "a_minute")]
    timeout_ms: u64,
}

fn a_minute() -> u64 {
    60_000
}

async fn wait(State(town): Desk, at: At, uri: Uri) -> Result<Response, Refused> {
    let axum::extract::Query(patience) = axum::extract::Query::<Patience>::try_from_uri(&uri)
        .map_err(|error| Refused(format!("the query was not understood: {error}")))?;
    Ok(match at.desk(&town).wait_until_quiet(Duration::from_millis(patience.timeout_ms)).await {
        Ok(()) => Json(at.desk(&town).progress()).into_response(),
        Err(busy) => (StatusCode::GATEWAY_TIMEOUT, Json(busy.0)).into_response(),
    })
}
