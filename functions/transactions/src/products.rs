//! What a till sells: what the provider's catalogue says, and what the tenant calls it.

pub(crate) mod import;
pub(crate) mod suggest;
pub(crate) mod unmapped;

use http::StatusCode;
use http::header::ACCEPT;
use jiff::Timestamp;
use serde::Serialize;
use shared::domain::{ConfigurationId, ProductId};
use shared::problem::Problem;
use shared::queue::intake::Job;
use shared::rest::{Answer, Call, Cursors, Page, unavailable};
use shared::store::product_mappings::{MappingChange, ProductMapping, is_item_id};

use crate::App;
use crate::export::Form;
use crate::table::{harmless, record};

pub(crate) const DEFAULT_PAGE: i32 = 100;
/// Rows that are read at once for a table.
const READ: i32 = 1000;

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

/// What an item is from now on.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "ItemMapping")]
#[expect(dead_code, reason = "only its shape is wanted")]
pub struct ItemBody {
    /// The tenant's own id of the product; null: none.
    product_id: Option<ProductId>,
}

/// A page of a till's items, by their ids; or all of them, as a table.
pub async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    if Form::of(call.header(ACCEPT)) == Form::Table {
        call.parameters().finish()?;
        return table(app, call, id).await;
    }
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

/// What `import` reads, with more for people.
async fn table(app: &App, call: &Call, id: ConfigurationId) -> Result<Answer, Problem> {
    let mut table = record(["item_id", "name", "sku", "category", "product_id"])?;
    let mut after = None;
    loop {
        let page = app.product_mappings.list(&call.scope, id, READ, after).await;
        let page = page.map_err(|error| unavailable(&error))?;
        for row in &page.items {
            let ProductView { item_id, name, sku, category, product_id, .. } = ProductView::new(row);
            let product = product_id.map(ProductId::as_str);
            let cells = [Some(item_id), name, sku, category, product];
            table.push_str(&record(cells.map(|cell| cell.map(harmless).unwrap_or_default()))?);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if table.len() > import::MAX_BODY {
        return Err(Problem::conflict("the table is larger than an answer can be: read it page by page, as JSON"));
    }
    Ok(Answer::csv(table))
}

/// Shows one item.
pub async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let item_id = item_id(call)?;
    let row = app.product_mappings.load(&call.scope, id, &item_id).await.map_err(|error| unavailable(&error))?;
    let row = row.ok_or_else(|| Problem::not_found("item"))?;
    Answer::json(StatusCode::OK, &ProductView::new(&row))
}

/// Says what one item is. It need not stand in the catalogue.
pub async fn put(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let item_id = item_id(call)?;
    let mut fields = call.fields()?;
    let product_id = fields.optional::<ProductId>("product_id");
    fields.finish()?;
    let change = MappingChange { item_id: item_id.clone(), product_id };
    let said = (call.subject.as_str(), Timestamp::now());
    app.product_mappings
        .map(&call.scope, id, std::slice::from_ref(&change), said)
        .await
        .map_err(|error| unavailable(&error))?;
    let row = app.product_mappings.load(&call.scope, id, &item_id).await.map_err(|error| unavailable(&error))?;
    let row = row.unwrap_or(ProductMapping { item_id, known: None, mapped: None, said_at: None });
    Answer::json(StatusCode::OK, &ProductView::new(&row))
}

/// The item of the path, if there can be such a one.
fn item_id(call: &Call) -> Result<String, Problem> {
    let item_id: String = call.path_id("item_id", "item")?;
    if is_item_id(&item_id) { Ok(item_id) } else { Err(Problem::not_found("item")) }
}

/// The configuration of the path, if the caller has it.
pub(crate) async fn configuration_id(app: &App, call: &Call) -> Result<ConfigurationId, Problem> {
    let id = call.path_id("configuration_id", "configuration")?;
    let found = app.configurations.find(&call.scope, id).await.map_err(|error| unavailable(&error))?;
    found.map(|_| id).ok_or_else(|| Problem::not_found("configuration"))
}

/// Calls for the work on a job that has been written.
pub(crate) async fn start(app: &App, call: &Call, id: ConfigurationId, job: Job) -> Result<(), Problem> {
    let sent = app.jobs.send_job(&call.scope, id, job, &call.trace()).await;
    sent.map_err(|error| unavailable(&error))
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
