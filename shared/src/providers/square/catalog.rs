//! What is sold, and how much of it is left.
//!
//! Square has no flag for "sold out" that an application could write: an item whose stock is counted is sold out when
//! the count is nothing, and of the others nobody can say so.

use std::collections::HashMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::VERSION;
use crate::domain::{LocationId, Quantity};
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{
    Access, Availability, AvailabilityChange, AvailabilityOutcome, CatalogItem, CatalogPage, PayloadError,
    ProviderError, ProviderErrorKind, ShownAvailability,
};

#[derive(Deserialize)]
struct SearchAnswer {
    #[serde(default)]
    objects: Vec<Object>,
    #[serde(default)]
    related_objects: Vec<Object>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    id: String,
    item_data: Option<ItemData>,
    item_variation_data: Option<VariationData>,
    category_data: Option<CategoryData>,
}

#[derive(Deserialize)]
struct ItemData {
    name: Option<String>,
    reporting_category: Option<CategoryId>,
    #[serde(default)]
    categories: Vec<CategoryId>,
    #[serde(default)]
    variations: Vec<Object>,
}

#[derive(Deserialize)]
struct CategoryId {
    id: Option<String>,
}

#[derive(Deserialize)]
struct VariationData {
    name: Option<String>,
    sku: Option<String>,
    track_inventory: Option<bool>,
    #[serde(default)]
    location_overrides: Vec<LocationOverride>,
}

#[derive(Deserialize)]
struct LocationOverride {
    location_id: Option<String>,
    track_inventory: Option<bool>,
}

#[derive(Deserialize)]
struct Count {
    state: Option<String>,
    /// A decimal number as text.
    quantity: Option<String>,
}

#[derive(Deserialize)]
struct CategoryData {
    name: Option<String>,
}

/// The variations: a line names one of them, never the item.
pub(super) async fn list(http: &Http, access: &Access<'_>, cursor: Option<&str>) -> Result<CatalogPage, ProviderError> {
    const OPERATION: &str = "list_catalog";
    #[derive(Serialize)]
    struct Search<'a> {
        object_types: [&'static str; 1],
        include_related_objects: bool,
        limit: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    }
    let search = Search { object_types: ["ITEM"], include_related_objects: true, limit: 100, cursor };
    let call = http.post(OPERATION, access.environment, &["v2", "catalog", "search"])?;
    let call = call.bearer(access.token).header("square-version", VERSION).json(&search);
    let answer = call.send_for_page(super::client::is_cursor_invalid).await?;
    let answer: SearchAnswer = read_json(&answer.body).map_err(|error| http.unreadable(OPERATION, error))?;
    let categories = answer.related_objects.into_iter();
    let categories: HashMap<String, String> =
        categories.filter_map(|object| Some((object.id, object.category_data?.name?))).collect();
    let items = answer.objects.into_iter().filter_map(|object| object.item_data);
    Ok(CatalogPage { items: items.flat_map(|item| variations(item, &categories)).collect(), next: answer.cursor })
}

fn variations(item: ItemData, categories: &HashMap<String, String>) -> Vec<CatalogItem> {
    let category = item.reporting_category.iter().chain(&item.categories).find_map(|category| category.id.as_ref());
    let category = category.and_then(|id| categories.get(id)).cloned();
    let name = item.name.unwrap_or_default();
    let variations = item.variations.into_iter();
    variations
        .filter_map(|variation| {
            let data = variation.item_variation_data?;
            Some(CatalogItem {
                item_id: variation.id,
                name: super::normalize::display_name(Some(&name), data.name.as_deref()),
                sku: data.sku.filter(|sku| !sku.is_empty()),
                category: category.clone(),
            })
        })
        .collect()
}

/// What is counted, and how many there are. What was never counted there has no count, and so no units.
pub(super) async fn fetch_availability(
    http: &Http,
    access: &Access<'_>,
    location: &LocationId,
    item_id: &str,
) -> Result<ShownAvailability, ProviderError> {
    const OPERATION: &str = "fetch_availability";
    #[derive(Deserialize)]
    struct ObjectAnswer {
        object: Object,
    }
    #[derive(Deserialize)]
    struct CountsAnswer {
        #[serde(default)]
        counts: Vec<Count>,
    }
    let call = http.get(OPERATION, access.environment, &["v2", "catalog", "object", item_id], &[])?;
    let answer = match call.bearer(access.token).header("square-version", VERSION).send().await {
        Ok(answer) => answer,
        Err(ProviderError { kind: ProviderErrorKind::NotFound, .. }) => return Ok(ShownAvailability::UnknownItem),
        Err(error) => return Err(error),
    };
    let found: ObjectAnswer = read_json(&answer.body).map_err(|error| http.unreadable(OPERATION, error))?;
    if !found.object.item_variation_data.is_some_and(|data| is_counted_in(&data, location)) {
        return Ok(ShownAvailability::NotCounted);
    }
    let wanted = json!({ "catalog_object_ids": [item_id], "location_ids": [location] });
    let call = http.post(OPERATION, access.environment, &["v2", "inventory", "counts", "batch-retrieve"])?;
    let answer = call.bearer(access.token).header("square-version", VERSION).json(&wanted).send().await?;
    let answer: CountsAnswer = read_json(&answer.body).map_err(|error| http.unreadable(OPERATION, error))?;
    let count = answer.counts.into_iter().find(|count| count.state.as_deref() == Some("IN_STOCK"));
    let quantity = match count.and_then(|count| count.quantity) {
        Some(quantity) => Quantity::from_str(&quantity)
            .map_err(|_| http.unreadable(OPERATION, PayloadError::invalid("counts[].quantity")))?,
        None => return Ok(ShownAvailability::Known(Availability::SoldOut)),
    };
    // More may have been sold than was counted.
    let is_there = quantity.value().is_sign_positive() && !quantity.value().is_zero();
    Ok(ShownAvailability::Known(if is_there { Availability::Left(quantity) } else { Availability::SoldOut }))
}

pub(super) async fn set_availability(
    http: &Http,
    access: &Access<'_>,
    change: &AvailabilityChange,
) -> Result<AvailabilityOutcome, ProviderError> {
    const OPERATION: &str = "set_availability";
    let quantity = match change.availability {
        Availability::SoldOut => "0".to_owned(),
        Availability::Left(quantity) => quantity.to_string(),
        // Of what is counted, somebody must know the count.
        Availability::Available => return Err(http.refuse(OPERATION, ProviderErrorKind::Unsupported)),
    };
    // Under its key a repeat must be the same to the letter, the time included.
    let request = json!({
        "idempotency_key": change.idempotency_key,
        "changes": [{
            "type": "PHYSICAL_COUNT",
            "physical_count": {
                "catalog_object_id": change.item_id,
                "location_id": change.location,
                "state": "IN_STOCK",
                "quantity": quantity,
                "occurred_at": change.decided_at,
            },
        }],
    });
    let call = http.post(OPERATION, access.environment, &["v2", "inventory", "changes", "batch-create"])?;
    match call.bearer(access.token).header("square-version", VERSION).json(&request).send().await {
        Ok(_) => Ok(AvailabilityOutcome::Applied),
        Err(ProviderError { kind: ProviderErrorKind::NotFound, .. }) => Ok(AvailabilityOutcome::UnknownItem),
        Err(error) => Err(error),
    }
}

/// A shop's own setting comes before the item's.
fn is_counted_in(data: &VariationData, location: &LocationId) -> bool {
    let is_here = |place: &&LocationOverride| place.location_id.as_deref() == Some(location.as_str());
    let own = data.location_overrides.iter().find(is_here).and_then(|place| place.track_inventory);
    own.or(data.track_inventory) == Some(true)
}
