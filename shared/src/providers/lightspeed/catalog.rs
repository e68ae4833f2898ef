//! What is sold. Availability can be read but not written.

use serde::Deserialize;

use super::Text;
use crate::domain::LocationId;
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{Access, CatalogItem, CatalogPage, PayloadError, ProviderError};

const PAGE_SIZE: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    name: Option<String>,
    sku: Option<Text>,
    accounting_group: Option<AccountingGroup>,
}

#[derive(Deserialize)]
struct AccountingGroup {
    name: Option<String>,
}

/// By offset. The lines of a sale name an item by its SKU and by nothing else, so one without is of no use.
pub(super) async fn list(
    http: &Http,
    access: &Access<'_>,
    location: &LocationId,
    cursor: Option<&str>,
) -> Result<CatalogPage, ProviderError> {
    const OPERATION: &str = "list_catalog";
    let offset: usize = cursor.unwrap_or("0").parse().map_err(|_| {
        // Only a cursor of ours comes in here.
        http.unreadable(OPERATION, PayloadError::invalid("cursor"))
    })?;
    let (offset_text, amount) = (offset.to_string(), PAGE_SIZE.to_string());
    let query = [("businessLocationId", location.as_str()), ("offset", &offset_text), ("amount", &amount)];
    let call = http.get(OPERATION, access.environment, &["items", "v1", "items"], &query)?;
    let answer = call.bearer(access.token).send().await?;
    let items: Vec<Item> = read_json(&answer.body).map_err(|error| http.unreadable(OPERATION, error))?;
    let next = (items.len() >= PAGE_SIZE).then(|| (offset + items.len()).to_string());
    let items = items.into_iter().filter_map(|item| {
        let sku = item.sku?.0;
        Some(CatalogItem {
            item_id: sku.clone(),
            name: item.name.unwrap_or_default(),
            sku: Some(sku),
            category: item.accounting_group.and_then(|group| group.name),
        })
    });
    Ok(CatalogPage { items: items.collect(), next })
}
