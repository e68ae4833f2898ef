//! Merchants, locations, payments and refunds.

use axum::extract::Path;
use axum::http::Uri;
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{ApiError, Asker, read_query};
use super::paging::List;
use crate::clock::later;
use crate::json::Build;
use crate::shelf::{By, Object};
use crate::shops::Shop;

pub(super) const OPENED: &str = "2024-03-01T09:00:00.000Z";
const MOST: usize = 100;

impl Asker {
    fn merchant_json(&self) -> Result<Value, ApiError> {
        let merchant = self
            .square
            .merchant(Some(&self.merchant_id))
            .map_err(|refused| ApiError::not_found(refused.to_string()))?;
        let main = self.square.businesses.shops().find(|shop| shop.merchant.id == merchant.id);
        Ok(json!({
            "id": merchant.id,
            "business_name": merchant.name,
            "country": main.map(|shop| shop.plan.country),
            "language_code": "en-US",
            "currency": main.map(|shop| shop.plan.currency),
            "status": "ACTIVE",
            "main_location_id": merchant.locations.first().map(|location| &location.id),
            "created_at": OPENED,
        }))
    }

    fn locations(&self) -> Vec<Value> {
        let shops = self.square.businesses.shops();
        shops.filter(|shop| shop.merchant.id == self.merchant_id).map(location_json).collect()
    }
}

fn location_json(Shop { merchant, location, plan, .. }: Shop<'_>) -> Value {
    json!({
        "id": location.id,
        "name": location.name,
        "address": {
            "address_line_1": plan.street,
            "locality": plan.city,
            "administrative_district_level_1": plan.state,
            "postal_code": plan.postal_code,
            "country": plan.country,
        },
        "timezone": location.time_zone,
        "capabilities": ["CREDIT_CARD_PROCESSING"],
        "status": "ACTIVE",
        "created_at": OPENED,
        "merchant_id": merchant.id,
        "country": plan.country,
        "language_code": "en-US",
        "currency": location.currency,
        "business_name": merchant.name,
        "type": "PHYSICAL",
    })
}

pub async fn list_merchants(Extension(asker): Extension<Asker>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({"merchant": [asker.merchant_json()?]})))
}

pub async fn get_merchant(Extension(asker): Extension<Asker>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    if id != "me" && id != asker.merchant_id {
        return Err(ApiError::not_found("Merchant not found").field("merchant_id"));
    }
    Ok(Json(json!({"merchant": asker.merchant_json()?})))
}

pub async fn list_locations(Extension(asker): Extension<Asker>) -> Json<Value> {
    Json(json!({"locations": asker.locations()}))
}

pub async fn get_location(Extension(asker): Extension<Asker>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let mut locations = asker.locations().into_iter();
    let location = match id.as_str() {
        "main" => locations.next(),
        id => locations.find(|location| location.get("id") == Some(&json!(id))),
    };
    let location = location.ok_or_else(|| ApiError::not_found("Location not found").field("location_id"))?;
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
fn list(asker: &Asker, query: &ListQuery, shelf: &'static str) -> Result<Json<Value>, ApiError> {
    let by_update = query.sort_field.as_deref() == Some("UPDATED_AT");
    if !by_update && (query.updated_at_begin_time.is_some() || query.updated_at_end_time.is_some()) {
        let detail = "updated_at_begin_time and updated_at_end_time need sort_field=UPDATED_AT.";
        return Err(ApiError::bad_request(detail).field("sort_field"));
    }
    let limit = query.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit takes 1 to {MOST}.")).field("limit"));
    }
    let asked = format!("{shelf}{}{}", asker.merchant_id, serde_json::to_string(query).unwrap_or_default());
    let cursor = asker.square.open_cursor(&asked, query.cursor.as_deref())?;
    let last_year = later(cursor.end, SignedDuration::from_hours(-365 * 24));
    let created = (
        query.begin_time.unwrap_or(if by_update { Timestamp::MIN } else { last_year }),
        query.end_time.unwrap_or(cursor.end),
    );
    let updated =
        (query.updated_at_begin_time.unwrap_or(Timestamp::MIN), query.updated_at_end_time.unwrap_or(cursor.end));
    let merchant = asker.square.merchant(Some(&asker.merchant_id)).ok();
    let here = merchant.iter().flat_map(|merchant| &merchant.locations).map(|location| location.id.as_str());
    let locations: Vec<&str> =
        here.filter(|id| query.location_id.as_deref().is_none_or(|wanted| wanted == *id)).collect();
    let (from, to) = if by_update { updated } else { created };
    let descending = query.sort_order.as_deref() != Some("ASC");
    let by = if by_update { By::Changed } else { By::Created };
    let list = List { shelf, by, locations: &locations, from, to, descending, limit };
    let within = |object: &Object, by: By, (from, to): (Timestamp, Timestamp)| {
        object.time(by).is_some_and(|stamp| (from..=to).contains(&stamp))
    };
    let page = asker.square.page(cursor, &list, |object| {
        query.status.as_deref().is_none_or(|status| status == object.state)
            && within(object, By::Created, created)
            && within(object, By::Changed, updated)
    });
    Ok(Json(json!({}).with_list(shelf, page.items.into_iter()).with_some("cursor", page.cursor)))
}

/// Without a location only the main one is listed, a trap Square documents.
pub async fn list_payments(Extension(asker): Extension<Asker>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let mut query: ListQuery = read_query(&uri)?;
    if query.location_id.is_none() {
        let merchant = asker.square.merchant(Some(&asker.merchant_id)).ok();
        query.location_id = merchant.and_then(|merchant| merchant.locations.first()).map(|main| main.id.clone());
    }
    list(&asker, &query, "payments")
}

pub async fn list_refunds(Extension(asker): Extension<Asker>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let query: ListQuery = read_query(&uri)?;
    list(&asker, &query, "refunds")
}

fn one(asker: &Asker, shelf: &str, id: &str, name: &str) -> Result<Json<Value>, ApiError> {
    let object = asker.seen(shelf, id).ok_or_else(|| ApiError::not_found(format!("Could not find the {name}")))?;
    Ok(Json(json!({name: object})))
}

pub async fn get_payment(Extension(asker): Extension<Asker>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    one(&asker, "payments", &id, "payment")
}

pub async fn get_refund(Extension(asker): Extension<Asker>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    one(&asker, "refunds", &id, "refund")
}
