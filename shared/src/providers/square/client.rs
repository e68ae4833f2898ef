//! Square's endpoints for orders.

use jiff::{SignedDuration, Timestamp};

use serde_json::json;

use super::wire;
use crate::domain::LocationId;
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{
    Access, DayPage, DayQuery, OrderPage, OrderQuery, OrderRef, PayloadError, ProviderError, RawOrder,
};

/// Square gives a thousand; a page should fit an answer and the time that there is for it.
pub(super) const PAGE_SIZE: usize = 100;

/// An order that takes longer than this to close may have waited for the network.
const SLOW_TO_CLOSE: SignedDuration = SignedDuration::from_mins(15);
/// The version whose shapes `wire.rs` describes.
pub(super) const VERSION: &str = "2025-08-20";

pub(super) async fn fetch_order(http: &Http, access: &Access<'_>, order: &OrderRef) -> Result<RawOrder, ProviderError> {
    const OPERATION: &str = "fetch_order";
    let observed_at = Timestamp::now();
    let call = http.get(OPERATION, access.environment, &["v2", "orders", order.id.as_str()], &[])?;
    let answer = call.bearer(access.token).header("square-version", VERSION).send().await?;
    let answer: wire::OrderAnswer = read_json(&answer.body).map_err(|error| http.unreadable(OPERATION, error))?;
    let body = answer.order.get().as_bytes().to_vec();
    let (paid_offline_at, _) = paid_offline_at(http, access, OPERATION, &body).await?;
    Ok(RawOrder { body, location: order.location.clone(), paid_offline_at, observed_at })
}

/// When the guest paid, if the till was offline then: only the payment knows. Most orders close soon after they were
/// opened, and of those nobody needs to ask. Also says how many requests that took.
async fn paid_offline_at(
    http: &Http,
    access: &Access<'_>,
    operation: &'static str,
    order: &[u8],
) -> Result<(Option<Timestamp>, u32), ProviderError> {
    let refuse = |error| http.unreadable(operation, error);
    // One that cannot be read is refused where its place can be told, and must not hold up its page.
    let Ok(order) = read_json::<wire::OrderTimes>(order) else { return Ok((None, 0)) };
    let is_slow = |closed_at: &Timestamp| closed_at.duration_since(order.created_at) >= SLOW_TO_CLOSE;
    if !order.closed_at.as_ref().is_some_and(is_slow) {
        return Ok((None, 0));
    }
    let payments = order.tenders.iter().filter_map(|tender| tender.payment_id.as_deref().or(tender.id.as_deref()));
    let (mut paid_at, mut requests) = (None, 0);
    for id in payments {
        requests += 1;
        let call = http.get(operation, access.environment, &["v2", "payments", id], &[])?;
        let answer = call.bearer(access.token).header("square-version", VERSION).send().await?;
        let answer: wire::PaymentAnswer = read_json(&answer.body).map_err(refuse)?;
        paid_at = paid_at.max(answer.payment.offline_payment_details.and_then(|details| details.client_created_at));
    }
    Ok((paid_at, requests))
}

/// Changed orders of one shop, oldest change first. `updated_at` and nothing else: what an offline till sends late keeps
/// its old `created_at`.
pub(super) async fn list_orders(
    http: &Http,
    access: &Access<'_>,
    query: &OrderQuery,
) -> Result<OrderPage, ProviderError> {
    let search = json!({
        "filter": { "date_time_filter": { "updated_at": { "start_at": query.from, "end_at": query.to } } },
        "sort": { "sort_field": "UPDATED_AT", "sort_order": "ASC" },
    });
    let found = search_orders(http, access, "list_orders", &query.location, (search, query.cursor.as_deref())).await?;
    Ok(OrderPage { orders: found.orders, next: found.next, requests: found.requests })
}

/// How long after a day an offline till may send what was paid in it (Square: 72 hours); it is closed only then.
const OFFLINE: SignedDuration = SignedDuration::from_hours(72);

/// A day's orders by the time of their closing. Where the list ends it is asked for once more, from the last order on: a
/// list that is cut in silence ends where there is more. A cursor of ours says since when was asked, and Square's own.
pub(super) async fn list_day(http: &Http, access: &Access<'_>, query: &DayQuery) -> Result<DayPage, ProviderError> {
    const OPERATION: &str = "list_day";
    let DayQuery { location, date, until, cursor, .. } = query;
    let ends = location.day_starts_at(date.tomorrow().unwrap_or(*date)) + OFFLINE;
    let (from, cursor) = match cursor.as_deref().and_then(|cursor| cursor.split_once(' ')) {
        Some((from, cursor)) => {
            let from = from.parse().map_err(|_| http.unreadable(OPERATION, PayloadError::invalid("cursor")))?;
            (from, Some(cursor).filter(|cursor| !cursor.is_empty()))
        }
        None => (location.day_starts_at(*date), None),
    };
    let search = json!({
        "filter": {
            "date_time_filter": { "closed_at": { "start_at": from, "end_at": ends.min(*until) } },
            // Square sorts by the time of closing only what is closed.
            "state_filter": { "states": ["COMPLETED", "CANCELED"] },
        },
        "sort": { "sort_field": "CLOSED_AT", "sort_order": "ASC" },
    });
    let found = search_orders(http, access, OPERATION, &location.id, (search, cursor)).await?;
    let next = match (found.next, found.last_closed_at.filter(|last| *last > from)) {
        (Some(cursor), _) => Some(format!("{from} {cursor}")),
        (None, Some(last)) => Some(format!("{last} ")),
        (None, None) => None,
    };
    let is_capped = next.is_none() && found.orders.len() >= PAGE_SIZE;
    Ok(DayPage { orders: found.orders, next, requests: found.requests, is_final: true, is_capped })
}

/// A page of a search.
struct Searched {
    orders: Vec<RawOrder>,
    next: Option<String>,
    requests: u32,
    /// When the last of them was closed.
    last_closed_at: Option<Timestamp>,
}

async fn search_orders(
    http: &Http,
    access: &Access<'_>,
    operation: &'static str,
    location: &LocationId,
    (query, cursor): (serde_json::Value, Option<&str>),
) -> Result<Searched, ProviderError> {
    let observed_at = Timestamp::now();
    // With a cursor the same query must come again, its end included.
    let mut search = json!({ "location_ids": [location], "query": query, "limit": PAGE_SIZE });
    if let (Some(cursor), Some(search)) = (cursor, search.as_object_mut()) {
        search.insert("cursor".to_owned(), cursor.into());
    }
    let call = http.post(operation, access.environment, &["v2", "orders", "search"])?;
    let call = call.bearer(access.token).header("square-version", VERSION).json(&search);
    let answer = call.send_for_page(is_cursor_invalid).await?;
    let refuse = |error| http.unreadable(operation, error);
    let page: wire::SearchAnswer = read_json(&answer.body).map_err(refuse)?;
    let orders = Vec::with_capacity(page.orders.len());
    let mut found = Searched { orders, next: page.cursor, requests: 1, last_closed_at: None };
    for order in page.orders {
        let body = order.get().as_bytes().to_vec();
        let closed_at = read_json::<wire::OrderTimes>(&body).ok().and_then(|times| times.closed_at);
        found.last_closed_at = found.last_closed_at.max(closed_at);
        let (paid_offline_at, asked) = paid_offline_at(http, access, operation, &body).await?;
        found.requests += asked;
        found.orders.push(RawOrder { body, location: Some(location.clone()), paid_offline_at, observed_at });
    }
    Ok(found)
}

/// A cursor that is too old, or was given for another query.
pub(super) fn is_cursor_invalid(refusal: &[u8]) -> bool {
    let errors = serde_json::from_slice::<wire::Errors>(refusal).map(|refusal| refusal.errors).unwrap_or_default();
    errors.iter().any(|error| error.code.as_deref() == Some("INVALID_CURSOR"))
}
