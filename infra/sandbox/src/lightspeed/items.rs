//! Items and how many are left. Here they are only read.

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::Uri;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{ApiError, Asker, read_query};
use super::businesses::number;
use crate::catalogue::{PRODUCTS, Product};
use crate::clock::rfc3339;
use crate::shops::Vendor;
use crate::till::item_id;
use crate::toast::decimal;

const MOST: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListQuery {
    business_location_id: Option<String>,
    sku: Option<String>,
    name: Option<String>,
    offset: Option<usize>,
    amount: Option<usize>,
}

impl Asker {
    fn items(&self) -> impl Iterator<Item = (String, &'static Product)> {
        PRODUCTS.iter().map(|product| {
            let id = item_id(Vendor::Lightspeed, self.lightspeed.seed, &self.business, product.name, product.variation);
            (id, product)
        })
    }
}

/// What is typed in by hand has none of its own.
pub fn sku(id: Option<&str>) -> String {
    id.unwrap_or("OPEN").chars().take(8).collect()
}

fn item_json((id, product): (String, &Product)) -> Value {
    json!({
        "id": number(&id),
        "name": format!("{} {}", product.name, product.variation),
        "sku": sku(Some(&id)),
        "active": true,
        "accountingGroup": {
            "id": 141_948_669_132_845_i64 + i64::from(product.taxed),
            "name": if product.taxed { "Pastry" } else { "Bread" },
        },
        "statisticGroups": [],
        "prices": [{"name": "Default", "amount": decimal(product.price_minor, 2)}],
        "sharingType": "GLOBAL",
    })
}

/// The location has to be named, and to be one of the business.
fn checked(asker: &Asker, query: ListQuery) -> Result<ListQuery, ApiError> {
    let location = query.business_location_id.as_deref();
    asker.shop(location.ok_or_else(|| ApiError::bad_request("businessLocationId is missing"))?)?;
    Ok(query)
}

pub async fn list(Extension(asker): Extension<Asker>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let query = checked(&asker, read_query(&uri)?)?;
    let amount = query.amount.unwrap_or(100).min(MOST);
    let wanted = asker.items().filter(|(id, product)| {
        query.sku.as_ref().is_none_or(|wanted| *wanted == sku(Some(id)))
            && query.name.as_ref().is_none_or(|wanted| product.name.contains(wanted.as_str()))
    });
    Ok(Json(wanted.skip(query.offset.unwrap_or(0)).take(amount).map(item_json).collect()))
}

pub async fn one(
    Extension(asker): Extension<Asker>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, ApiError> {
    checked(&asker, read_query(&uri)?)?;
    let item = asker.items().find(|(known, _)| *known == id);
    Ok(Json(item_json(item.ok_or_else(|| ApiError::not_found(&id))?)))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AvailabilityQuery {
    business_location_id: Value,
    /// A list when posted, separated by commas in a query.
    #[serde(default)]
    skus: Value,
    page: Option<usize>,
    size: Option<usize>,
}

pub async fn availability(Extension(asker): Extension<Asker>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let fields: std::collections::BTreeMap<String, String> = read_query(&uri)?;
    let field = |name: &str| fields.get(name).cloned();
    let count = |name: &str| field(name).and_then(|text| text.parse().ok());
    let skus = field("skus").map(|skus| skus.split(',').map(|sku| json!(sku)).collect());
    let query = AvailabilityQuery {
        business_location_id: json!(field("businessLocationId")),
        skus: skus.unwrap_or_default(),
        page: count("page"),
        size: count("size"),
    };
    available(&asker, &query)
}

pub async fn availability_posted(Extension(asker): Extension<Asker>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let query = serde_json::from_slice(&body);
    available(&asker, &query.map_err(|error| ApiError::bad_request(error.to_string()))?)
}

/// Some items are counted, and one of them is sold out.
fn available(asker: &Asker, query: &AvailabilityQuery) -> Result<Json<Value>, ApiError> {
    // A number when posted, text in a query.
    let location = query.business_location_id.to_string().replace('"', "");
    asker.shop(&location)?;
    let wanted: Vec<&str> = query.skus.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if wanted.len() > 50 {
        return Err(ApiError::bad_request("skus takes 50 at most"));
    }
    let (page, size) = (query.page.unwrap_or(0), query.size.unwrap_or(100).clamp(1, 100));
    let updated = rfc3339(asker.lightspeed.clock.now()).replace('Z', "+00:00");
    let counted: Vec<Value> = asker
        .items()
        .step_by(4)
        .enumerate()
        .map(|(place, (id, _))| (sku(Some(&id)), 12 * place))
        .filter(|(sku, _)| wanted.is_empty() || wanted.contains(&sku.as_str()))
        .map(|(sku, count)| json!({"sku": sku, "count": count, "updatedAt": updated}))
        .collect();
    let shown: Vec<&Value> = counted.iter().skip(page.saturating_mul(size)).take(size).collect();
    Ok(Json(json!({
        "data": shown,
        "metadata": {
            "current": {"page": page, "pageSize": size},
            "total": counted.len(),
            "totalPages": counted.len().div_ceil(size),
            "warnings": [],
        },
    })))
}
