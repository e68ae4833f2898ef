//! Merchants, locations, payments and refunds.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{Access, ApiError, read_query};
use super::paging::{Item, time_of};
use super::{Location, Merchant, Shelf, Square, World};
use crate::catalogue::ShopPlan;
use crate::clock::later;

const OPENED: &str = "2024-03-01T09:00:00.000Z";
const MOST: usize = 100;

impl Square {
    fn merchant_json(&self, access: &Access) -> Result<Value, ApiError> {
        let merchant = self
            .merchant(Some(&access.merchant_id))
            .map_err(|refused| ApiError::not_found(refused.to_string()))?;
        Ok(json!({
            "id": merchant.id,
            "business_name": merchant.name,
            "country": "US",
            "language_code": "en-US",
            "currency": "USD",
            "status": "ACTIVE",
            "main_location_id": merchant.locations.first().map(|location| &location.id),
            "created_at": OPENED,
        }))
    }

    fn locations_of(&self, access: &Access) -> Vec<Value> {
        let shops = self.shops().into_iter();
        shops
            .filter(|(merchant, _, _)| merchant.id == access.merchant_id)
            .map(|(merchant, location, plan)| location_json(merchant, location, plan))
            .collect()
    }
}

fn location_json(merchant: &Merchant, location: &Location, plan: &ShopPlan) -> Value {
    json!({
        "id": location.id,
        "name": location.name,
        "address": {
            "address_line_1": plan.street,
            "locality": plan.city,
            "administrative_district_level_1": plan.state,
            "postal_code": plan.postal_code,
            "country": "US",
        },
        "timezone": location.time_zone,
        "capabilities": ["CREDIT_CARD_PROCESSING"],
        "status": "ACTIVE",
        "created_at": OPENED,
        "merchant_id": merchant.id,
        "country": "US",
        "language_code": "en-US",
        "currency": location.currency,
        "business_name": merchant.name,
        "type": "PHYSICAL",
    })
}

pub async fn list_merchants(
    State(square): State<Arc<Square>>,
    Extension(access): Extension<Access>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({"merchant": [square.merchant_json(&access)?]})))
}

pub async fn get_merchant(
    State(square): State<Arc<Square>>,
    Extension(access): Extension<Access>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    if id != "me" && id != access.merchant_id {
        return Err(ApiError::not_found("Merchant not found").field("merchant_id"));
    }
    Ok(Json(json!({"merchant": square.merchant_json(&access)?})))
}

pub async fn list_locations(
    State(square): State<Arc<Square>>,
    Extension(access): Extension<Access>,
) -> Json<Value> {
    Json(json!({"locations": square.locations_of(&access)}))
}

pub async fn get_location(
    State(square): State<Arc<Square>>,
    Extension(access): Extension<Access>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let mut locations = square.locations_of(&access).into_iter();
    let location = match id.as_str() {
        "main" => locations.next(),
        id => locations.find(|location| location["id"] == id),
    };
    let location =
        location.ok_or_else(|| ApiError::not_found("Location not found").field("location_id"))?;
    Ok(Json(json!({"location": location})))
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    begin_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    updated_at_begin_time: Option<Timestamp>,
    updated_at_end_time: Option<Timestamp>,
    sort_field: Option<String>,
    sort_order: Option<String>,
    location_id: Option<String>,
    status: Option<String>,
    limit: Option<usize>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

/// The list shared by payments and refunds, newest first unless asked otherwise.
fn list(
    square: &Square,
    access: &Access,
    query: &ListQuery,
    shelf: impl Fn(&World) -> &Shelf,
    name: &str,
) -> Result<Json<Value>, ApiError> {
    let by_update = query.sort_field.as_deref() == Some("UPDATED_AT");
    if !by_update && (query.updated_at_begin_time.is_some() || query.updated_at_end_time.is_some())
    {
        let detail = "updated_at_begin_time and updated_at_end_time need sort_field=UPDATED_AT.";
        return Err(ApiError::bad_request(detail).field("sort_field"));
    }
    let limit = query.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit takes 1 to {MOST}.")).field("limit"));
    }
    let asked = format!(
        "{name}{}{}",
        access.merchant_id,
        serde_json::to_string(query).unwrap_or_default()
    );
    let cursor = square.open_cursor(&asked, query.cursor.as_deref())?;
    let last_year = later(cursor.end, SignedDuration::from_hours(-365 * 24));
    let created = query
        .begin_time
        .unwrap_or(if by_update { Timestamp::MIN } else { last_year })
        ..=query.end_time.unwrap_or(cursor.end);
    let updated = query.updated_at_begin_time.unwrap_or(Timestamp::MIN)
        ..=query.updated_at_end_time.unwrap_or(cursor.end);
    let matches = |object: &Value, key: &str, wanted: &Option<String>| {
        wanted
            .as_ref()
            .is_none_or(|wanted| object.get(key).and_then(Value::as_str) == Some(wanted))
    };
    let lag = square.replica_lag();
    let items: Vec<Item> = shelf(&square.world())
        .iter()
        .filter_map(|(id, copies)| {
            let object = copies.seen(lag)?;
            let (created_at, updated_at) = (
                time_of(object, "created_at")?,
                time_of(object, "updated_at")?,
            );
            let wanted = square.owns(access, object)
                && matches(object, "location_id", &query.location_id)
                && matches(object, "status", &query.status)
                && created.contains(&created_at)
                && updated.contains(&updated_at);
            let sorted_by = if by_update { updated_at } else { created_at };
            wanted.then(|| Item {
                sorted_by,
                id: id.clone(),
                json: object.clone(),
            })
        })
        .collect();
    let descending = query.sort_order.as_deref() != Some("ASC");
    let page = square.page(cursor, items, descending, limit);
    let mut answer = json!({});
    if !page.items.is_empty() {
        answer[name] = json!(page.items);
    }
    if let Some(cursor) = page.cursor {
        answer["cursor"] = json!(cursor);
    }
    Ok(Json(answer))
}

/// Without a location only the main one is listed, a trap Square documents.
pub async fn list_payments(
    State(square): State<Arc<Square>>,
    Extension(access): Extension<Access>,
    uri: Uri,
) -> Result<Json<Value>, ApiError> {
    let mut query: ListQuery = read_query(&uri)?;
    if query.location_id.is_none() {
        let merchant = square.merchant(Some(&access.merchant_id)).ok();
        query.location_id = merchant
            .and_then(|merchant| merchant.locations.first())
            .map(|main| main.id.clone());
    }
    list(
        &square,
        &access,
        &query,
        |world| &world.payments,
        "payments",
    )
}

pub async fn list_refunds(
    State(square): State<Arc<Square>>,
    Extension(access): Extension<Access>,
    uri: Uri,
) -> Result<Json<Value>, ApiError> {
    let query: ListQuery = read_query(&uri)?;
    list(&square, &access, &query, |world| &world.refunds, "refunds")
}

fn one(
    square: &Square,
    access: &Access,
    found: Option<Value>,
    name: &str,
) -> Result<Json<Value>, ApiError> {
    let found = found.filter(|object| square.owns(access, object));
    let object = found.ok_or_else(|| ApiError::not_found(format!("Could not find the {name}")))?;
    Ok(Json(json!({name: object})))
}

pub async fn get_payment(
    State(square): State<Arc<Square>>,
    Extension(access): Extension<Access>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let lag = square.replica_lag();
    let found = square
        .world()
        .payments
        .get(&id)
        .and_then(|copies| copies.seen(lag))
        .cloned();
    one(&square, &access, found, "payment")
}

pub async fn get_refund(
    State(square): State<Arc<Square>>,
    Extension(access): Extension<Access>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let lag = square.replica_lag();
    let found = square
        .world()
        .refunds
        .get(&id)
        .and_then(|copies| copies.seen(lag))
        .cloned();
    one(&square, &access, found, "refund")
}
