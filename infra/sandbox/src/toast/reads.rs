//! Orders and payments, one by one and page by page.

use std::time::Duration;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{ApiError, Asker, read_query};
use crate::shops::Shop;

const PAGE: usize = 100;
/// Toast allows a month at a time.
const LONGEST: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Toast writes `+0000`, and takes every offset.
pub fn read_date(text: &str) -> Option<Timestamp> {
    let loose = || Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok();
    text.parse().ok().or_else(loose)
}

fn date_of(json: &Value, key: &str) -> Option<Timestamp> {
    read_date(json.get(key)?.as_str()?)
}

impl Asker {
    fn shop(&self) -> Result<Shop<'_>, ApiError> {
        let shop = self.toast.businesses.shop(&self.restaurant);
        shop.ok_or_else(|| ApiError::not_found("Restaurant not found"))
    }

    /// The object as this restaurant sees it.
    fn read(&self, shelf: &str, guid: &str) -> Option<Value> {
        let lag = self.toast.replica_lag();
        let found = self.toast.world().shelf(shelf).get(guid).and_then(|copies| copies.seen(lag)).cloned()?;
        self.owns(shelf, guid, &found).then_some(found)
    }

    fn owns(&self, shelf: &str, guid: &str, object: &Value) -> bool {
        match shelf {
            "payments" => object.get("restaurant").and_then(Value::as_str) == Some(self.restaurant.as_str()),
            _ => self.toast.world().own.tickets.get(guid).is_some_and(|ticket| ticket.restaurant == self.restaurant),
        }
    }
}

/// Reads at once and may answer late, so that an old copy can overtake a new one.
pub async fn get_order(Extension(asker): Extension<Asker>, Path(guid): Path<String>) -> Result<Json<Value>, ApiError> {
    let order = asker.read("orders", &guid);
    tokio::time::sleep(Duration::from_millis(asker.toast.door.faults.get().hold_order_ms)).await;
    order.map(Json).ok_or_else(|| ApiError::not_found("Order not found"))
}

fn without_restaurant(mut payment: Value) -> Value {
    if let Some(fields) = payment.as_object_mut() {
        fields.remove("restaurant");
    }
    payment
}

pub async fn get_payment(
    Extension(asker): Extension<Asker>,
    Path(guid): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let payment = asker.read("payments", &guid).map(without_restaurant);
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
    let (pointer, wanted) = match query {
        PaymentQuery { paid_business_date: Some(day), .. } => ("/paidBusinessDate", day),
        PaymentQuery { refund_business_date: Some(day), .. } => ("/refund/refundBusinessDate", day),
        PaymentQuery { void_business_date: Some(day), .. } => ("/voidInfo/voidBusinessDate", day),
        PaymentQuery { .. } => return Err(ApiError::bad_request("One of the business dates is needed")),
    };
    let lag = asker.toast.replica_lag();
    let world = asker.toast.world();
    let found = world.shelf("payments").iter().filter_map(|(guid, copies)| {
        let payment = copies.seen(lag)?;
        let here = payment.get("restaurant").and_then(Value::as_str) == Some(asker.restaurant.as_str());
        (here && payment.pointer(pointer).and_then(Value::as_i64) == Some(wanted)).then(|| json!(guid))
    });
    Ok(Json(found.collect()))
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

/// Which orders are wanted.
enum Wanted {
    Modified(Timestamp, Timestamp),
    Day(i64),
}

impl BulkQuery {
    fn wanted(&self) -> Result<Wanted, ApiError> {
        let read = |text: &Option<String>, name: &str| {
            let text = text.as_deref().ok_or_else(|| ApiError::bad_request(format!("{name} is missing")))?;
            read_date(text).ok_or_else(|| ApiError::bad_request(format!("{name} is no date: {text}")))
        };
        if let Some(day) = self.business_date {
            return Ok(Wanted::Day(day));
        }
        let (start, end) = (read(&self.start_date, "startDate")?, read(&self.end_date, "endDate")?);
        if end < start || end.duration_since(start) > LONGEST {
            return Err(ApiError::bad_request("The range must not be negative or longer than a month"));
        }
        if start.as_second() < 1_448_928_000 {
            return Err(ApiError::bad_request("startDate must not be before 2015-12-01"));
        }
        Ok(Wanted::Modified(start, end))
    }
}

/// Sorted by their last change, so that what changes meanwhile moves to the end.
pub async fn orders_bulk(
    Extension(asker): Extension<Asker>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query: BulkQuery = read_query(&uri)?;
    let wanted = query.wanted()?;
    let (size, page) = (query.page_size.unwrap_or(PAGE), query.page.unwrap_or(1));
    if !(1..=PAGE).contains(&size) || page == 0 {
        return Err(ApiError::bad_request("pageSize must be 1 to 100, and pages begin with 1"));
    }
    let restaurant = asker.shop()?.location.id.clone();
    let lag = asker.toast.replica_lag();
    let mut found: Vec<(Timestamp, String, Value)> = {
        let world = asker.toast.world();
        let here = |guid: &str| world.own.tickets.get(guid).is_some_and(|ticket| ticket.restaurant == restaurant);
        let orders = world.shelf("orders").iter().filter(|(guid, _)| here(guid));
        orders
            .filter_map(|(guid, copies)| {
                let order = copies.seen(lag)?;
                let modified = date_of(order, "modifiedDate")?;
                let fits = match wanted {
                    Wanted::Modified(start, end) => start <= modified && modified < end,
                    Wanted::Day(day) => order.get("businessDate").and_then(Value::as_i64) == Some(day),
                };
                fits.then(|| (modified, guid.clone(), order.clone()))
            })
            .collect()
    };
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let from = size.saturating_mul(page - 1);
    let more = found.len() > from.saturating_add(size);
    let orders: Value = found.into_iter().skip(from).take(size).map(|(_, _, order)| order).collect();
    let mut response = Json(orders).into_response();
    for link in links(&headers, &uri, page, more) {
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().append(header::LINK, link);
        }
    }
    Ok(response)
}

/// Neither a last page nor a total: how much there is turns out by reading it.
fn links(headers: &HeaderMap, uri: &Uri, page: usize, more: bool) -> Vec<String> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let asked = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.starts_with("page="));
    let asked: Vec<&str> = asked.collect();
    let link = |rel: &str, page: Option<usize>| {
        let number = page.map(|page| format!("&page={page}")).unwrap_or_default();
        format!("<http://{host}{}?{}{number}>; rel=\"{rel}\"", uri.path(), asked.join("&"))
    };
    let mut links = vec![link("first", None), link("self", Some(page))];
    links.extend((page > 1).then(|| link("prev", Some(page - 1))));
    links.extend(more.then(|| link("next", Some(page + 1))));
    links
}
