//! What is sold, and whether it is there. Items and prices can be read only.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::RESTAURANT;
use crate::domain::LocationId;
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{
    Access, Availability, AvailabilityChange, AvailabilityOutcome, CatalogItem, CatalogPage, PayloadError,
    ProviderError, ShownAvailability,
};

#[derive(Deserialize)]
struct Menus {
    #[serde(default)]
    menus: Vec<Menu>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Menu {
    #[serde(default)]
    menu_groups: Vec<MenuGroup>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MenuGroup {
    name: Option<String>,
    #[serde(default)]
    menu_items: Vec<MenuItem>,
    #[serde(default)]
    menu_groups: Vec<MenuGroup>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MenuItem {
    guid: Option<String>,
    name: Option<String>,
    sku: Option<String>,
    plu: Option<String>,
    sales_category: Option<SalesCategory>,
}

#[derive(Deserialize)]
struct SalesCategory {
    name: Option<String>,
}

/// All menus of a restaurant in one answer; an item may stand in several. (The names of the fields are those of the
/// menus API as public code reads them.)
pub(super) async fn list(
    http: &Http,
    access: &Access<'_>,
    location: &LocationId,
) -> Result<CatalogPage, ProviderError> {
    const OPERATION: &str = "list_catalog";
    let call = http.get(OPERATION, access.environment, &["menus", "v2", "menus"], &[])?;
    let answer = call.bearer(access.token).header(RESTAURANT, location.as_str()).send().await?;
    let menus: Menus = read_json(&answer.body).map_err(|error| http.unreadable(OPERATION, error))?;
    let mut items = Vec::new();
    for group in menus.menus.into_iter().flat_map(|menu| menu.menu_groups) {
        collect(group, &mut items);
    }
    let mut seen = HashSet::new();
    items.retain(|item| seen.insert(item.item_id.clone()));
    Ok(CatalogPage { items, next: None })
}

fn collect(group: MenuGroup, items: &mut Vec<CatalogItem>) {
    for item in group.menu_items {
        let Some(item_id) = item.guid else { continue };
        let sku = item.sku.filter(|sku| !sku.is_empty()).or(item.plu.filter(|plu| !plu.is_empty()));
        let category = item.sales_category.and_then(|category| category.name).or_else(|| group.name.clone());
        items.push(CatalogItem { item_id, name: item.name.unwrap_or_default(), sku, category });
    }
    for inner in group.menu_groups {
        collect(inner, items);
    }
}

#[derive(Serialize)]
struct StockUpdate<'a> {
    guid: &'a str,
    status: &'static str,
    /// A number in Toast's shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<Box<serde_json::value::RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StockAnswer {
    item_guid_validity: Option<String>,
    status: Option<String>,
    /// A number in Toast's shape, only with the status `QUANTITY`.
    quantity: Option<Box<serde_json::value::RawValue>>,
}

impl StockAnswer {
    /// An item that it does not know is no error to Toast. `None`: it does not say.
    fn is_unknown(&self) -> Option<bool> {
        match self.item_guid_validity.as_deref() {
            Some("VALID") => Some(false),
            Some("INVALID") => Some(true),
            Some(_) | None => None,
        }
    }
}

/// Wants the scope `stock:read`. Of an item that it does not know it says "out of stock", too.
pub(super) async fn fetch_availability(
    http: &Http,
    access: &Access<'_>,
    location: &LocationId,
    item_id: &str,
) -> Result<ShownAvailability, ProviderError> {
    const OPERATION: &str = "fetch_availability";
    #[derive(Serialize)]
    struct Search<'a> {
        guids: [&'a str; 1],
    }
    let call = http.post(OPERATION, access.environment, &["stock", "v1", "inventory", "search"])?;
    let call = call.bearer(access.token).header(RESTAURANT, location.as_str());
    let answer = call.json(&Search { guids: [item_id] }).send().await?;
    let answer: Vec<StockAnswer> = read_json(&answer.body).map_err(|error| http.unreadable(OPERATION, error))?;
    let unreadable = |name: &str| http.unreadable(OPERATION, PayloadError::invalid(name));
    let entry = answer.first().ok_or_else(|| unreadable("itemGuidValidity"))?;
    if entry.is_unknown().ok_or_else(|| unreadable("itemGuidValidity"))? {
        return Ok(ShownAvailability::UnknownItem);
    }
    Ok(ShownAvailability::Known(match entry.status.as_deref() {
        Some("IN_STOCK") => Availability::Available,
        Some("OUT_OF_STOCK") => Availability::SoldOut,
        Some("QUANTITY") => {
            let quantity = entry.quantity.as_ref().and_then(|number| number.get().parse().ok());
            Availability::Left(quantity.ok_or_else(|| unreadable("quantity"))?)
        }
        Some(_) | None => return Err(unreadable("status")),
    }))
}

/// Wants the scope `stock:write`, which Toast gives to partners and custom integrations alone. Repeating it is harmless,
/// so the idempotency key is not needed.
pub(super) async fn set_availability(
    http: &Http,
    access: &Access<'_>,
    change: &AvailabilityChange,
) -> Result<AvailabilityOutcome, ProviderError> {
    const OPERATION: &str = "set_availability";
    let (status, quantity) = match change.availability {
        Availability::SoldOut => ("OUT_OF_STOCK", None),
        Availability::Available => ("IN_STOCK", None),
        Availability::Left(quantity) => {
            ("QUANTITY", serde_json::value::RawValue::from_string(quantity.to_string()).ok())
        }
    };
    let call = http.put(OPERATION, access.environment, &["stock", "v1", "inventory", "update"])?;
    let call = call.bearer(access.token).header(RESTAURANT, change.location.as_str());
    let answer = call.json(&[StockUpdate { guid: &change.item_id, status, quantity }]).send().await?;
    let answer: Vec<StockAnswer> = read_json(&answer.body).map_err(|error| http.unreadable(OPERATION, error))?;
    match answer.first().and_then(StockAnswer::is_unknown) {
        Some(false) => Ok(AvailabilityOutcome::Applied),
        Some(true) => Ok(AvailabilityOutcome::UnknownItem),
        None => Err(http.unreadable(OPERATION, PayloadError::invalid("itemGuidValidity"))),
    }
}
