//! Which business a token reaches, and where its shops are.

use axum::http::Uri;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{ApiError, Asker, read_query};
use crate::shops::Business;

#[derive(Debug, Deserialize)]
struct Page {
    page: Option<usize>,
    size: Option<usize>,
}

impl Asker {
    fn businesses(&self) -> impl Iterator<Item = &Business> {
        self.lightspeed.businesses.all.iter().filter(|business| business.merchant.id == self.business)
    }
}

/// Ids are numbers here, and text everywhere else.
pub fn number(id: &str) -> Value {
    id.parse::<i64>().map_or_else(|_| json!(id), |number| json!(number))
}

pub async fn financial(Extension(asker): Extension<Asker>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let Page { page, size } = read_query(&uri)?;
    let (page, size) = (page.unwrap_or(0), size.unwrap_or(20).clamp(1, 100));
    let all: Vec<Value> = asker
        .businesses()
        .map(|Business { merchant, plans, .. }| {
            let locations = merchant.locations.iter().zip(plans).map(|(location, plan)| {
                json!({
                    "blName": location.name,
                    "blID": number(&location.id),
                    "country": plan.country,
                    "timezone": location.time_zone,
                })
            });
            json!({
                "businessName": merchant.name,
                "businessId": number(&merchant.id),
                "currencyCode": merchant.locations.first().map(|location| &location.currency),
                "businessLocations": locations.collect::<Value>(),
            })
        })
        .collect();
    let shown: Vec<&Value> = all.iter().skip(page.saturating_mul(size)).take(size).collect();
    Ok(Json(json!({
        "_embedded": {"businessList": shown},
        "page": {
            "size": size,
            "totalElements": all.len(),
            "totalPages": all.len().div_ceil(size),
            "number": page,
        },
    })))
}

pub async fn order_and_pay(Extension(asker): Extension<Asker>) -> Json<Value> {
    let business = |Business { merchant, .. }: &Business| {
        let locations = merchant.locations.iter();
        let locations = locations.map(|location| json!({"id": number(&location.id), "name": location.name}));
        json!({"name": merchant.name, "id": number(&merchant.id), "businessLocations": locations.collect::<Value>()})
    };
    Json(asker.businesses().map(business).collect())
}
