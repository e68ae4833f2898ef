//! Toast's endpoints for orders.

use jiff::Timestamp;
use reqwest::header::LINK;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::RESTAURANT;
use super::normalize::order_id;
use crate::domain::LocationId;
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{
    Access, DayPage, DayQuery, OrderPage, OrderQuery, OrderRef, PayloadError, ProviderError, ProviderErrorKind,
    RawOrder,
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
    let wanted = [("startDate", date(query.from)), ("endDate", date(query.to))];
    bulk(http, access, "list_orders", (&query.location, &wanted), query.cursor.as_deref()).await
}

/// The lists of a day's payments: what was paid on it, and what was given back. The cursor of a day names the one that is
/// being looked through, and how far that is.
const PAYMENTS: [&str; 2] = ["paidBusinessDate", "refundBusinessDate"];
/// Orders that are looked up by a payment together, two requests for each: they are few.
const PAYMENTS_AT_ONCE: usize = 5;

/// A day's orders by their business date. Then the orders of payments that were made or given back on it and are none of
/// those: what was given back of another day's order, and what the first list has left out.
pub(super) async fn list_day(http: &Http, access: &Access<'_>, query: &DayQuery) -> Result<DayPage, ProviderError> {
    const OPERATION: &str = "list_day";
    let (shop, day) = (&query.location.id, query.date.strftime("%Y%m%d").to_string());
    let place = query.cursor.as_deref().and_then(|cursor| {
        let (list, done) = cursor.split_once('/')?;
        Some((PAYMENTS.iter().position(|known| *known == list)?, done.parse().ok()?))
    });
    let page = match place {
        Some(place) => of_payments(http, access, OPERATION, (query, &day), place).await?,
        None => bulk(http, access, OPERATION, (shop, &[("businessDate", day)]), query.cursor.as_deref()).await?,
    };
    // A full page of orders with none behind it may have been cut.
    let is_capped = place.is_none() && page.next.is_none() && page.orders.len() >= PAGE_SIZE;
    let following = PAYMENTS.get(place.map_or(0, |(list, _)| list + 1));
    let next = page.next.or_else(|| following.map(|list| format!("{list}/0")));
    Ok(DayPage { orders: page.orders, next, requests: page.requests, is_final: true, is_capped })
}

/// The orders of a few payments of a day that were not read with those before. Toast lists payments by name only.
async fn of_payments(
    http: &Http,
    access: &Access<'_>,
    operation: &'static str,
    (query, day): (&DayQuery, &str),
    (list, done): (usize, usize),
) -> Result<OrderPage, ProviderError> {
    let (shop, refuse) = (&query.location.id, |error| http.unreadable(operation, error));
    let get = async |path: &[&str], pairs: &[(&str, &str)]| {
        let call = http.get(operation, access.environment, path, pairs)?;
        Ok::<_, ProviderError>(call.bearer(access.token).header(RESTAURANT, shop.as_str()).send().await?.body)
    };
    let Some(name) = PAYMENTS.get(list) else { return Err(refuse(PayloadError::invalid("cursor"))) };
    let listed = get(&["orders", "v2", "payments"], &[(*name, day)]).await?;
    let payments: Vec<String> = read_json(&listed).map_err(refuse)?;
    let mut page = OrderPage { orders: Vec::new(), next: None, requests: 1 };
    for (reached, payment) in payments.iter().enumerate().skip(done) {
        if page.orders.len() == PAYMENTS_AT_ONCE {
            page.next = Some(format!("{name}/{reached}"));
            break;
        }
        if query.payments.contains(payment) {
            continue;
        }
        let body = get(&["orders", "v2", "payments", payment], &[]).await?;
        let PaymentOrder { order_guid } = read_json(&body).map_err(refuse)?;
        let observed_at = Timestamp::now();
        let body = get(&["orders", "v2", "orders", &order_guid], &[]).await?;
        page.orders.push(RawOrder { body, location: Some(shop.clone()), paid_offline_at: None, observed_at });
        page.requests += 2;
    }
    Ok(page)
}

/// Whose payment it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaymentOrder {
    order_guid: String,
}

/// A page of a list, with what has moved up to the page before it.
async fn bulk(
    http: &Http,
    access: &Access<'_>,
    operation: &'static str,
    (shop, wanted): (&LocationId, &[(&str, String)]),
    cursor: Option<&str>,
) -> Result<OrderPage, ProviderError> {
    // Only a cursor of ours comes in here: a page, and the last order of the page before.
    let cursor = cursor.unwrap_or("1");
    let (page, last) = cursor.split_once(':').map_or((cursor, None), |(page, last)| (page, Some(last)));
    let page: u32 = page.parse().map_err(|_| http.unreadable(operation, PayloadError::invalid("cursor")))?;
    let (mut orders, has_next) = page_of(http, access, operation, (shop, wanted), page).await?;
    let next = orders.last().filter(|_| has_next).and_then(|last| order_id(&last.body));
    let next = next.map(|last| format!("{}:{last}", page + 1));
    let Some(last) = last else { return Ok(OrderPage { orders, next, requests: 1 }) };
    let (mut before, _) = page_of(http, access, operation, (shop, wanted), page.saturating_sub(1)).await?;
    let is_last = |order: &RawOrder| order_id(&order.body).is_some_and(|id| id.as_str() == last);
    let Some(place) = before.iter().position(is_last) else {
        return Err(http.refuse(operation, ProviderErrorKind::CursorExpired));
    };
    orders.extend(before.drain(place + 1..));
    Ok(OrderPage { orders, next, requests: 2 })
}

/// One page, and whether there is another.
async fn page_of(
    http: &Http,
    access: &Access<'_>,
    operation: &'static str,
    (shop, wanted): (&LocationId, &[(&str, String)]),
    page: u32,
) -> Result<(Vec<RawOrder>, bool), ProviderError> {
    let (observed_at, page) = (Timestamp::now(), page.to_string());
    let mut pairs: Vec<(&str, &str)> = wanted.iter().map(|(name, value)| (*name, value.as_str())).collect();
    pairs.extend([("pageSize", PAGE_SIZE_TEXT), ("page", &page)]);
    let call = http.get(operation, access.environment, &["orders", "v2", "ordersBulk"], &pairs)?;
    let answer = call.bearer(access.token).header(RESTAURANT, shop.as_str()).send().await?;
    let found: Vec<&RawValue> = read_json(&answer.body).map_err(|error| http.unreadable(operation, error))?;
    let is_full = found.len() >= PAGE_SIZE;
    let raw = |order: &RawValue| RawOrder {
        body: order.get().as_bytes().to_vec(),
        location: Some(shop.clone()),
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
