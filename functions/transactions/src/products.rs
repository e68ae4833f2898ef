//! What a till sells, as the provider's catalogue says. What the tenant calls it will stand beside it.

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use shared::domain::ConfigurationId;
use shared::problem::Problem;
use shared::rest::{Answer, Call, Cursors, Page, unavailable};
use shared::store::product_mappings::KnownItem;

use crate::App;

pub(crate) const DEFAULT_PAGE: i32 = 100;

/// An item of the catalogue.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ProductMapping"))]
pub struct ProductView<'a> {
    /// The till's id, as the line items of transactions name it.
    item_id: &'a str,
    /// As the till shows it.
    name: &'a str,
    /// The merchant's own number.
    sku: Option<&'a str>,
    /// The group it is in.
    category: Option<&'a str>,
    /// When we first read it like this.
    changed_at: Timestamp,
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
    fn new(known: &'a KnownItem) -> Self {
        Self {
            item_id: &known.item.item_id,
            name: &known.item.name,
            sku: known.item.sku.as_deref(),
            category: known.item.category.as_deref(),
            changed_at: known.changed_at,
        }
    }
}
