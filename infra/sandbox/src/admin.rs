//! The other side's control desk, for tests and for people.
//!
//! Everything [`Sandbox`](crate::Sandbox) can do in code can be done here over
//! HTTP; nothing below `/_admin` is part of any provider's protocol.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Query};
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
use crate::{Client, Desk, Faults, RefundKind, Refused, SaleKind};

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
        .route("/_admin/progress", get(async |desk: Desk| Json(desk.progress())))
        .route("/_admin/application", get(async |desk: Desk| Json(desk.town.square.application())))
        .route("/_admin/merchants", get(async |desk: Desk| Json(desk.merchants())))
        .route("/_admin/ledger", get(async |desk: Desk| Json(desk.ledger())))
        .route("/_admin/events", get(async |desk: Desk| Json(desk.events())))
        .route("/_admin/deliveries", get(async |desk: Desk| Json(desk.deliveries())))
        .route("/_admin/totals", get(async |desk: Desk| Json(desk.totals())))
        .route("/_admin/days", post(days))
        .route("/_admin/subscriptions/restart", post(restart))
        .route("/_admin/play", post(play))
        .route("/_admin/history", post(history))
        .route("/_admin/sales", post(ring_up))
        .route("/_admin/sales/{order_id}/refund", post(refund))
        .route("/_admin/grants", post(grant))
        .route("/_admin/grants/{merchant_id}", delete(revoke))
        .route("/_admin/subscriptions", post(subscribe))
        .route("/_admin/faults", get(async |desk: Desk| Json(desk.faults())).put(set_faults).delete(clear_faults))
        .route("/_admin/tokens", delete(expire_tokens))
        .route("/_admin/calls", get(async |desk: Desk| Json(desk.town.door(desk.vendor).calls())))
        .route("/_admin/client", get(client))
        .route("/_admin/clock", post(clock))
        .route("/_admin/wait", post(wait))
        .with_state(town)
}

/// Which provider is meant.
#[derive(Debug, Deserialize)]
struct At {
    vendor: Option<Vendor>,
}

impl FromRequestParts<Arc<Town>> for Desk {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, town: &Arc<Town>) -> Result<Self, Refused> {
        let At { vendor } = read_query(&parts.uri)?;
        Ok(Self { town: Arc::clone(town), vendor: vendor.unwrap_or(Vendor::Square) })
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

fn read_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refused> {
    let query = Query::try_from_uri(uri).map(|Query(query)| query);
    query.map_err(|error| Refused(format!("the query was not understood: {error}")))
}

async fn overview(desk: Desk) -> Json<Value> {
    Json(json!({"progress": desk.progress(), "faults": desk.faults(), "routes": ROUTES}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Play {
    sales: usize,
    merchant_id: Option<String>,
}

async fn play(desk: Desk, body: Bytes) -> Result<Response, Refused> {
    let Play { sales, merchant_id } = read(&body)?;
    desk.play_at(merchant_id.as_deref(), sales)?;
    Ok((StatusCode::ACCEPTED, Json(desk.progress())).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    sales: usize,
    opens_at: Timestamp,
    merchant_id: Option<String>,
}

async fn history(desk: Desk, body: Bytes) -> Result<Response, Refused> {
    let History { sales, opens_at, merchant_id } = read(&body)?;
    desk.stock_history_at(merchant_id.as_deref(), sales, opens_at)?;
    Ok((StatusCode::CREATED, Json(desk.progress())).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Days {
    days: u16,
    customers: usize,
    first: Option<Date>,
    merchant_id: Option<String>,
}

async fn days(desk: Desk, body: Bytes) -> Result<Response, Refused> {
    let Days { days, customers, first, merchant_id } = read(&body)?;
    match first {
        Some(first) => desk.stock_days_at(merchant_id.as_deref(), first, days, customers)?,
        None => desk.play_days_at(merchant_id.as_deref(), days, customers)?,
    }
    Ok((StatusCode::ACCEPTED, Json(desk.progress())).into_response())
}

async fn restart(desk: Desk) -> StatusCode {
    desk.town.toast.post.restart();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneSale {
    kind: SaleKind,
    location_id: Option<String>,
    at: Option<Timestamp>,
}

async fn ring_up(desk: Desk, body: Bytes) -> Result<Response, Refused> {
    let OneSale { kind, location_id, at: past } = read(&body)?;
    let rung_up = match (past, &location_id) {
        (Some(past), Some(shop)) => desk.ring_up_past(kind, shop, past)?,
        (Some(_), None) => return Err(Refused("a sale of the past needs its location_id".to_owned())),
        (None, shop) => desk.ring_up(kind, shop.as_deref())?,
    };
    Ok((StatusCode::CREATED, Json(rung_up)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneRefund {
    kind: RefundKind,
}

async fn refund(desk: Desk, Path(order_id): Path<String>, body: Bytes) -> Result<Response, Refused> {
    let OneRefund { kind } = read(&body)?;
    let rung_up = desk.refund(&order_id, kind)?;
    Ok((StatusCode::CREATED, Json(rung_up)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connect {
    merchant_id: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
}

async fn grant(desk: Desk, body: Bytes) -> Result<Response, Refused> {
    let Connect { merchant_id, scopes } = read(&body)?;
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let grant = desk.grant(merchant_id.as_deref(), &scopes)?;
    Ok((StatusCode::CREATED, Json(grant)).into_response())
}

async fn revoke(desk: Desk, Path(merchant_id): Path<String>) -> Result<StatusCode, Refused> {
    desk.revoke(&merchant_id)?;
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

async fn subscribe(desk: Desk, body: Bytes) -> Result<Response, Refused> {
    let Subscribe { notification_url, stock, api_key, merchant_id } = read(&body)?;
    let subscription = match api_key {
        Some(api_key) => desk.town.lightspeed.mirror(merchant_id.as_deref(), &notification_url, &api_key)?,
        None if stock => desk.town.toast.register("stock", &notification_url),
        None => desk.subscribe(&notification_url),
    };
    Ok((StatusCode::CREATED, Json(subscription)).into_response())
}

async fn expire_tokens(desk: Desk) -> StatusCode {
    desk.provider().expire_tokens();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Whose {
    merchant_id: Option<String>,
}

async fn client(desk: Desk, uri: Uri) -> Result<Json<Client>, Refused> {
    let Whose { merchant_id } = read_query(&uri)?;
    Ok(Json(desk.town.client(desk.vendor, merchant_id.as_deref())?))
}

async fn set_faults(desk: Desk, body: Bytes) -> Result<Json<Faults>, Refused> {
    let mut wanted: Map<String, Value> = read(&body)?;
    if let Some(preset) = wanted.remove("preset") {
        if preset != "disorder" {
            return Err(Refused(format!("there is no preset {preset}, only \"disorder\"")));
        }
        // What is given besides changes the preset.
        let all = json!(Faults::disorder()).as_object().cloned().unwrap_or_default();
        wanted = all.into_iter().chain(wanted).collect();
    }
    desk.set_faults(read(&json!(wanted).to_string().into())?);
    Ok(Json(desk.faults()))
}

async fn clear_faults(desk: Desk) -> StatusCode {
    desk.set_faults(Faults::default());
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u32,
}

async fn clock(desk: Desk, body: Bytes) -> Result<Json<Value>, Refused> {
    let Advance { advance_seconds } = read(&body)?;
    let now = desk.town.advance_clock(Duration::from_secs(u64::from(advance_seconds)));
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

async fn wait(desk: Desk, uri: Uri) -> Result<Response, Refused> {
    let Patience { timeout_ms } = read_query(&uri)?;
    Ok(match desk.wait_until_quiet(Duration::from_millis(timeout_ms)).await {
        Ok(()) => Json(desk.progress()).into_response(),
        Err(busy) => (StatusCode::GATEWAY_TIMEOUT, Json(busy.0)).into_response(),
    })
}
