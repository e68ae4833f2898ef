//! The restaurants, one by one and as lists.

use axum::extract::Path;
use axum::http::Uri;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{ApiError, Asker, read_query};
use crate::shops::Shop;

impl Asker {
    pub fn shops(&self) -> impl Iterator<Item = Shop<'_>> {
        self.toast.businesses.shops().filter(|shop| shop.merchant.id == self.group)
    }
}

fn restaurant_json(Shop { merchant, location, plan, .. }: Shop<'_>) -> Value {
    json!({
        "guid": location.id,
        "general": {
            "name": merchant.name,
            "locationName": location.name,
            "locationCode": "",
            "description": "Bread and pastries",
            "timeZone": location.time_zone,
            "closeoutHour": location.day_starts,
            "currencyCode": location.currency,
            "firstBusinessDate": 20_240_301,
            "managementGroupGuid": merchant.id,
            "archived": false,
        },
        "urls": {"website": "https://bakery.example", "facebook": "", "twitter": "", "orderOnline": ""},
        "location": {
            "address1": plan.street,
            "address2": "",
            "city": plan.city,
            "stateCode": plan.state,
            "zipCode": plan.postal_code,
            "country": plan.country,
            "phone": "1112223333",
        },
    })
}

fn partner_json(Shop { merchant, location, .. }: Shop<'_>) -> Value {
    json!({
        "restaurantGuid": location.id,
        "managementGroupGuid": merchant.id,
        "restaurantName": merchant.name,
        "locationName": location.name,
        "createdByEmailAddress": "owner@bakery.example",
        "externalGroupRef": null,
        "externalRestaurantRef": null,
        "modifiedDate": 1_709_283_600_000_i64,
        "createdDate": 1_709_283_600_000_i64,
        "isoModifiedDate": "2024-03-01T09:00:00.000Z",
        "isoCreatedDate": "2024-03-01T09:00:00.000Z",
    })
}

pub async fn get_restaurant(
    Extension(asker): Extension<Asker>,
    Path(guid): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let shop = asker.shops().find(|shop| shop.location.id == guid);
    Ok(Json(restaurant_json(shop.ok_or_else(|| ApiError::not_found("Restaurant not found"))?)))
}

pub async fn of_group(Extension(asker): Extension<Asker>, Path(guid): Path<String>) -> Result<Json<Value>, ApiError> {
    if guid != asker.group {
        return Err(ApiError::not_found("Management group not found"));
    }
    Ok(Json(asker.shops().map(|shop| json!({"guid": shop.location.id})).collect()))
}

pub async fn accessible(Extension(asker): Extension<Asker>) -> Json<Value> {
    Json(asker.shops().map(partner_json).collect())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartnerPage {
    page_size: Option<usize>,
    page_token: Option<String>,
}

pub async fn connected(Extension(asker): Extension<Asker>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let query: PartnerPage = read_query(&uri)?;
    let size = query.page_size.unwrap_or(100).clamp(1, 200);
    let page = match query.page_token {
        None => 0,
        Some(_) if asker.toast.door.faults.take(|faults| &mut faults.expire_cursors) => {
            return Err(ApiError::conflict("The pageToken has expired, start again"));
        }
        Some(token) => {
            let number = token.strip_prefix("page-").and_then(|number| number.parse().ok());
            number.ok_or_else(|| ApiError::bad_request("The pageToken is not one of ours"))?
        }
    };
    let all: Vec<Value> = asker.shops().map(partner_json).collect();
    let from: usize = size.saturating_mul(page);
    let results: Vec<&Value> = all.iter().skip(from).take(size).collect();
    let next = (from.saturating_add(size) < all.len()).then(|| format!("page-{}", page + 1));
    Ok(Json(json!({
        "currentPageNum": page + 1,
        "results": results,
        "totalResultCount": all.len(),
        "pageSize": size,
        "currentPageToken": format!("page-{page}"),
        "nextPageToken": next,
        "totalCount": all.len(),
    })))
}
