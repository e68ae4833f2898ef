//! Toast's endpoints for orders.

use jiff::Timestamp;
use reqwest::header::LINK;
use serde_json::value::RawValue;

use super::RESTAURANT;
use super::normalize::order_id;
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{
    Access, OrderPage, OrderQuery, OrderRef, PayloadError, ProviderError, ProviderErrorKind, RawOrder,
};

/// Half of what Toast gives: its orders are large, and there is little time for an answer.
pub(super) const PAGE_SIZE: usize = 50;
const PAGE_SIZE_TEXT: &str = "50";
const NEXT: &str = "rel=\"next\"";

/// Toast answers for one restaurant at a time, so an order without its shop cannot be asked for.
pub(super) async fn fetch_order(http: &Http, access: &Access<'_>, order: &OrderRef) -> Result<RawOrder, ProviderError> {
    const OPERATION: &str = "fetch_order";
    let Some(shop) = &order.location else { return Err(http.refuse(OPERATION, ProviderErrorKind::Unsupported)) };
    let observed_at = Timestamp::now();
    let call = http.get(OPERATION, access.environment, &["orders", "v2", "orders", order.id.as_str()], &[])?;
    let answer = call.bearer(access.token).header(RESTAURANT, shop.as_str()).send().await?;
    Ok(RawOrder { body: answer.body, location: Some(shop.clone()), paid_offline_at: None, observed_at })
}

/// Changed orders of one restaurant. The pages are numbered, and an order that changes meanwhile leaves the window: all
/// behind it move up, some of them to a page that was read already. So the page before is asked for once more, and what
/// stands there behind the order that was its last has moved up.
pub(super) async fn list_orders(
    http: &Http,
    access: &Access<'_>,
    query: &OrderQuery,
) -> Result<OrderPage, ProviderError> {
    // Only a cursor of ours comes in here: a page, and the last order of the page before.
    let cursor = query.cursor.as_deref().unwrap_or("1");
    let (page, last) = cursor.split_once(':').map_or((cursor, None), |(page, last)| (page, Some(last)));
    let page: u32 = page.parse().map_err(|_| http.unreadable(LIST, PayloadError::invalid("cursor")))?;
    let (mut orders, has_next) = page_of(http, access, query, page).await?;
    let next = orders.last().filter(|_| has_next).and_then(|last| order_id(&last.body));
    let next = next.map(|last| format!("{}:{last}", page + 1));
    let Some(last) = last else { return Ok(OrderPage { orders, next, requests: 1 }) };
    let (mut before, _) = page_of(http, access, query, page.saturating_sub(1)).await?;
    let is_last = |order: &RawOrder| order_id(&order.body).is_some_and(|id| id.as_str() == last);
    let Some(place) = before.iter().position(is_last) else {
        return Err(http.refuse(LIST, ProviderErrorKind::CursorExpired));
    };
    orders.extend(before.drain(place + 1..));
    Ok(OrderPage { orders, next, requests: 2 })
}

const LIST: &str = "list_orders";

/// One page, and whether there is another.
async fn page_of(
    http: &Http,
    access: &Access<'_>,
    query: &OrderQuery,
    page: u32,
) -> Result<(Vec<RawOrder>, bool), ProviderError> {
    let observed_at = Timestamp::now();
    let (page_text, from, to) = (page.to_string(), date(query.from), date(query.to));
    let pairs = [("startDate", from.as_str()), ("endDate", &to), ("pageSize", PAGE_SIZE_TEXT), ("page", &page_text)];
    let call = http.get(LIST, access.environment, &["orders", "v2", "ordersBulk"], &pairs)?;
    let answer = call.bearer(access.token).header(RESTAURANT, query.location.as_str()).send().await?;
    let found: Vec<&RawValue> = read_json(&answer.body).map_err(|error| http.unreadable(LIST, error))?;
    let is_full = found.len() >= PAGE_SIZE;
    let raw = |order: &RawValue| RawOrder {
        body: order.get().as_bytes().to_vec(),
        location: Some(query.location.clone()),
        paid_offline_at: None,
        observed_at,
    };
    let orders = found.into_iter().map(raw).collect();
    // There is no last page in the headers, only a next one.
    let has_next = answer.headers.get_all(LINK).iter().any(|link| link.to_str().is_ok_and(|l| l.contains(NEXT)));
    Ok((orders, has_next && is_full))
}

/// With a fraction and an offset: Toast refuses less.
fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}
