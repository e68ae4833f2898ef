//! What a till sells: what the provider's catalogue says, and what the tenant calls it.

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use shared::domain::{ConfigurationId, ProductId};
use shared::problem::Problem;
use shared::rest::{Answer, Call, Cursors, Page, unavailable};
use shared::store::product_mappings::ProductMapping;

use crate::App;

pub(crate) const DEFAULT_PAGE: i32 = 100;

/// An item of a till.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ProductMapping"))]
pub struct ProductView<'a> {
    /// The till's id, as the line items of transactions name it.
    item_id: &'a str,
    /// As the till shows it; null if the catalogue has not been read, or does not have it.
    name: Option<&'a str>,
    /// The merchant's own number.
    sku: Option<&'a str>,
    /// The group it is in.
    category: Option<&'a str>,
    /// When we first read it like this.
    changed_at: Option<Timestamp>,
    /// What the tenant calls it.
    product_id: Option<&'a ProductId>,
    /// Since when.
    mapped_at: Option<Timestamp>,
    /// Who said so.
    mapped_by: Option<&'a str>,
}

/// A page of a catalogue, by the items' ids.
pub async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id: ConfigurationId = call.path_id("configuration_id", "configuration")?;
    let found = app.configurations.find(&call.scope, id).await.map_err(|error| unavailable(&error))?;
    found.ok_or_else(|| Problem::not_found("configuration"))?;
    let key = app.cursor_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, format!("products {id}"));
    let mut parameters = call.parameters();
    let (limit, start_after) = (parameters.limit(DEFAULT_PAGE), parameters.cursor(&cursors));
    parameters.finish()?;
    let found = app.product_mappings.list(&call.scope, id, limit, start_after).await;
    let found = found.map_err(|error| unavailable(&error))?;
    let next_cursor = found.next.map(|last| cursors.write(&last)).transpose()?;
    let items = found.items.iter().map(ProductView::new).collect();
    Answer::json(StatusCode::OK, &Page { items, next_cursor })
}

impl<'a> ProductView<'a> {
    fn new(row: &'a ProductMapping) -> Self {
        let (known, mapped) = (row.known.as_ref(), row.mapped.as_ref());
        Self {
            item_id: &row.item_id,
            name: known.map(|known| known.item.name.as_str()),
            sku: known.and_then(|known| known.item.sku.as_deref()),
            category: known.and_then(|known| known.item.category.as_deref()),
            changed_at: known.map(|known| known.changed_at),
            product_id: mapped.map(|mapped| &mapped.product_id),
            mapped_at: mapped.map(|mapped| mapped.at),
            mapped_by: mapped.map(|mapped| mapped.by.as_str()),
        }
    }
}
