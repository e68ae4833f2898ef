//! Toast's endpoints for orders.

use jiff::Timestamp;
use reqwest::header::LINK;
use serde_json::value::RawValue;

use super::RESTAURANT;
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

/// Changed orders of one restaurant. The pages are numbered, and an order that changes meanwhile moves to another page,
/// so windows must overlap.
pub(super) async fn list_orders(
    http: &Http,
    access: &Access<'_>,
    query: &OrderQuery,
) -> Result<OrderPage, ProviderError> {
    const OPERATION: &str = "list_orders";
    let refuse = |error| http.unreadable(OPERATION, error);
    let page: u32 = query.cursor.as_deref().unwrap_or("1").parse().map_err(|_| {
        // Only a cursor of ours comes in here.
        refuse(PayloadError::invalid("cursor"))
    })?;
    let observed_at = Timestamp::now();
    let (page_text, from, to) = (page.to_string(), date(query.from), date(query.to));
    let pairs = [("startDate", from.as_str()), ("endDate", &to), ("pageSize", PAGE_SIZE_TEXT), ("page", &page_text)];
    let call = http.get(OPERATION, access.environment, &["orders", "v2", "ordersBulk"], &pairs)?;
    let answer = call.bearer(access.token).header(RESTAURANT, query.location.as_str()).send().await?;
    let found: Vec<&RawValue> = read_json(&answer.body).map_err(refuse)?;
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
    Ok(OrderPage { orders, next: (has_next && is_full).then(|| (page + 1).to_string()), requests: 1 })
}

/// With a fraction and an offset: Toast refuses less.
fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}
