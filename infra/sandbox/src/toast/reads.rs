//! Orders and payments, one by one and page by page.

use std::time::Duration;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{ApiError, Asker, read_query};
use crate::clock::later;
use crate::shelf::{By, Wanted};

const PAGE: usize = 100;
/// Toast allows a month at a time.
const LONGEST: SignedDuration = SignedDuration::from_hours(31 * 24);

/// As exact as time is here.
const MOMENT: SignedDuration = SignedDuration::from_nanos(1);

/// A business day, `20260307`, as lists have it.
pub fn midnight(day: Date) -> Option<Timestamp> {
    day.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn read_day(day: i64) -> Result<Timestamp, ApiError> {
    let date = Date::strptime("%Y%m%d", day.to_string()).ok().and_then(midnight);
    date.ok_or_else(|| ApiError::bad_request(format!("{day} is no business date")))
}

/// Toast writes `+0000`, and takes every offset.
pub fn read_date(text: &str) -> Option<Timestamp> {
    let loose = || Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok();
    text.parse().ok().or_else(loose)
}

impl Asker {
    /// The object as this restaurant sees it.
    fn read(&self, shelf: &str, guid: &str) -> Option<Value> {
        let lag = self.toast.replica_lag();
        let json = {
            let world = self.toast.world();
            let object = world.shelf(shelf).seen(guid, lag)?;
            (*object.location == *self.restaurant).then(|| object.json.clone())?
        };
        Some(json.write())
    }

    /// A part of one of this restaurant's lists.
    fn wanted<'a>(&self, by: By, locations: &'a [&'a str], from: Timestamp, to: Timestamp) -> Wanted<'a> {
        let lag = self.toast.replica_lag();
        Wanted { by, locations, from, to, after: None, descending: false, lag }
    }
}

/// Reads at once and may answer late, so that an old copy can overtake a new one.
pub async fn get_order(Extension(asker): Extension<Asker>, Path(guid): Path<String>) -> Result<Json<Value>, ApiError> {
    let order = asker.read("orders", &guid);
    tokio::time::sleep(Duration::from_millis(asker.toast.door.faults.get().hold_order_ms)).await;
    order.map(Json).ok_or_else(|| ApiError::not_found("Order not found"))
}

pub async fn get_payment(
    Extension(asker): Extension<Asker>,
    Path(guid): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let payment = asker.read("payments", &guid);
    payment.map(Json).ok_or_else(|| ApiError::not_found("Payment not found"))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PaymentQuery {
    paid_business_date: Option<i64>,
    refund_business_date: Option<i64>,
    void_business_date: Option<i64>,
}

/// Guids only.
pub async fn list_payments(Extension(asker): Extension<Asker>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let query: PaymentQuery = read_query(&uri)?;
    let (by, day) = match query {
        PaymentQuery { paid_business_date: Some(day), .. } => (By::PaidOn, day),
        PaymentQuery { refund_business_date: Some(day), .. } => (By::RefundedOn, day),
        PaymentQuery { void_business_date: Some(day), .. } => (By::VoidedOn, day),
        PaymentQuery { .. } => return Err(ApiError::bad_request("One of the business dates is needed")),
    };
    let midnight = read_day(day)?;
    let here = [asker.restaurant.as_str()];
    let world = asker.toast.world();
    let found = world.shelf("payments").list(&asker.wanted(by, &here, midnight, midnight), usize::MAX, |_| true);
    Ok(Json(found.into_iter().map(|(_, payment)| json!(*payment.id)).collect()))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BulkQuery {
    start_date: Option<String>,
    end_date: Option<String>,
    business_date: Option<i64>,
    page_size: Option<usize>,
    page: Option<usize>,
}

impl BulkQuery {
    /// The list, and the part of it; its end is not inside.
    fn wanted(&self) -> Result<(By, Timestamp, Timestamp), ApiError> {
        let read = |text: &Option<String>, name: &str| {
            let text = text.as_deref().ok_or_else(|| ApiError::bad_request(format!("{name} is missing")))?;
            read_date(text).ok_or_else(|| ApiError::bad_request(format!("{name} is no date: {text}")))
        };
        if let Some(day) = self.business_date {
            let midnight = read_day(day)?;
            return Ok((By::Day, midnight, later(midnight, MOMENT)));
        }
        let (start, end) = (read(&self.start_date, "startDate")?, read(&self.end_date, "endDate")?);
        if end < start || end.duration_since(start) > LONGEST {
            return Err(ApiError::bad_request("The range must not be negative or longer than a month"));
        }
        if start.as_second() < 1_448_928_000 {
            return Err(ApiError::bad_request("startDate must not be before 2015-12-01"));
        }
        Ok((By::Changed, start, end))
    }
}

/// Sorted by their last change, so that what changes meanwhile moves to the end.
pub async fn orders_bulk(
    Extension(asker): Extension<Asker>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query: BulkQuery = read_query(&uri)?;
    let (by, from, to) = query.wanted()?;
    let (size, page) = (query.page_size.unwrap_or(PAGE), query.page.unwrap_or(1));
    if !(1..=PAGE).contains(&size) || page == 0 {
        return Err(ApiError::bad_request("pageSize must be 1 to 100, and pages begin with 1"));
    }
    let here = [asker.restaurant.as_str()];
    let faults = &asker.toast.door.faults;
    let before = size.saturating_mul(page - 1);
    let size = if page > 1 && faults.take(|faults| &mut faults.empty_pages) { 0 } else { size };
    let (size, is_cut) = faults.capped(before, size);
    let (found, more) = {
        let world = asker.toast.world();
        let wanted = asker.wanted(by, &here, from, later(to, -MOMENT));
        // A day's orders are found by their day, and sorted by their last change like all others.
        let most = if by == By::Day { usize::MAX } else { before.saturating_add(size).saturating_add(1) };
        let mut found = world.shelf("orders").list(&wanted, most, |_| true);
        found.sort_by_key(|(_, order)| order.time(By::Changed));
        let more = found.len() > before.saturating_add(size) && !is_cut;
        let shown = found.into_iter().skip(before).take(size);
        (shown.map(|(_, order)| order.json.clone()).collect::<Vec<_>>(), more)
    };
    let orders: Value = found.into_iter().map(|json| json.write()).collect();
    let next = match faults.take(|faults| &mut faults.repeat_cursors) {
        true => Some(page),
        false => more.then_some(page + 1),
    };
    let mut response = Json(orders).into_response();
    for link in links(&headers, &uri, page, next) {
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().append(header::LINK, link);
        }
    }
    Ok(response)
}

/// Neither a last page nor a total: how much there is turns out by reading it.
fn links(headers: &HeaderMap, uri: &Uri, page: usize, next: Option<usize>) -> Vec<String> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let asked = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.starts_with("page="));
    let asked: Vec<&str> = asked.collect();
    let link = |rel: &str, page: Option<usize>| {
        let number = page.map(|page| format!("&page={page}")).unwrap_or_default();
        format!("<http://{host}{}?{}{number}>; rel=\"{rel}\"", uri.path(), asked.join("&"))
    };
    let mut links = vec![link("first", None), link("self", Some(page))];
    links.extend((page > 1).then(|| link("prev", Some(page - 1))));
    links.extend(next.map(|next| link("next", Some(next))));
    links
}
