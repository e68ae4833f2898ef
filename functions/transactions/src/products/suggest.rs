//! What an item that is not mapped may be: something with the same number, or the same name.

use std::collections::{BTreeSet, HashMap};

use http::StatusCode;
use serde::{Deserialize, Serialize};
use shared::domain::{CatalogItem, ProductId};
use shared::problem::Problem;
use shared::rest::{Answer, Call, Cursors, Page, unavailable};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::configuration_id;
use crate::{App, configurations};

pub(crate) const DEFAULT_PAGE: i32 = 100;
/// A list of products of some thousands.
const MAX_BODY: usize = 1024 * 1024;
/// Rows that are read at once.
const READ: i32 = 500;
/// Mapped items of all tills that are looked at: more than a chain has.
const MOST_KNOWN: usize = 50_000;

/// What the tenant sells.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "SuggestionRequest")]
#[expect(dead_code, reason = "only its shape is wanted")]
pub struct SuggestionBody {
    /// Beside these, what items of the tenant's tills are mapped to already is suggested.
    products: Option<Vec<Product>>,
}

/// Something that the tenant sells.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The tenant's own id.
    product_id: ProductId,
    /// What it is called.
    #[serde(default)]
    name: Option<String>,
    /// Its number.
    #[serde(default)]
    sku: Option<String>,
}

/// An item, and what it may be.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Suggestion {
    /// The till's id.
    item_id: String,
    /// As the till shows it.
    name: String,
    /// The merchant's own number.
    sku: Option<String>,
    /// Why: the strongest reason that there is.
    reason: Reason,
    /// What has that in common with it. More than one: somebody must choose.
    product_ids: BTreeSet<ProductId>,
}

/// Why something is suggested, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SuggestionReason"))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The same number.
    SameSku,
    /// The same name, letter by letter.
    SameName,
    /// The same name but for case, accents, spaces and signs.
    SimilarName,
}

/// Answers a page of suggestions, by the items' ids.
pub async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let key = app.cursor_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, format!("suggestions {id}"));
    let mut parameters = call.parameters();
    let (limit, mut after) = (parameters.limit(DEFAULT_PAGE), parameters.cursor::<String>(&cursors));
    parameters.finish()?;
    let mut fields = call.fields_of(MAX_BODY)?;
    let products = fields.optional::<Vec<Product>>("products").unwrap_or_default();
    fields.finish()?;

    let mut index = Index::default();
    products.iter().for_each(|product| index.add(&product.product_id, product.name.as_deref(), product.sku.as_deref()));
    learn(app, call, &mut index).await?;
    let (limit, mut items) = (usize::try_from(limit).unwrap_or(0), Vec::new());
    let next = loop {
        let page = app.product_mappings.list(&call.scope, id, READ, after).await;
        let page = page.map_err(|error| unavailable(&error))?;
        for row in page.items.iter().filter(|row| row.mapped.is_none()) {
            items.extend(row.known.as_ref().and_then(|known| index.suggest(&known.item)));
        }
        after = page.next;
        if items.len() > limit {
            items.truncate(limit);
            break items.last().map(|last| last.item_id.clone());
        }
        if after.is_none() {
            break None;
        }
    };
    let next_cursor = next.map(|last| cursors.write(&last)).transpose()?;
    Answer::json(StatusCode::OK, &Page { items, next_cursor })
}

/// What the tenant calls the items of all its tills.
async fn learn(app: &App, call: &Call, index: &mut Index) -> Result<(), Problem> {
    let mut read = 0;
    for id in configurations(app, &call.scope, None).await? {
        let mut after = None;
        loop {
            let page = app.product_mappings.list(&call.scope, id, READ, after).await;
            let page = page.map_err(|error| unavailable(&error))?;
            read += page.items.len();
            for row in &page.items {
                if let (Some(known), Some(mapped)) = (&row.known, &row.mapped) {
                    index.add(&mapped.product_id, Some(&known.item.name), known.item.sku.as_deref());
                }
            }
            after = page.next;
            if after.is_none() || read >= MOST_KNOWN {
                break;
            }
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Index {
    products: HashMap<(Reason, String), BTreeSet<ProductId>>,
}

impl Index {
    fn add(&mut self, product: &ProductId, name: Option<&str>, sku: Option<&str>) {
        for key in keys(name, sku) {
            self.products.entry(key).or_default().insert(product.clone());
        }
    }

    fn suggest(&self, item: &CatalogItem) -> Option<Suggestion> {
        let (reason, product_ids) = keys(Some(&item.name), item.sku.as_deref())
            .find_map(|key| self.products.get(&key).map(|products| (key.0, products.clone())))?;
        Some(Suggestion {
            item_id: item.item_id.clone(),
            name: item.name.clone(),
            sku: item.sku.clone(),
            reason,
            product_ids,
        })
    }
}

/// By what something is found, the strongest first.
fn keys(name: Option<&str>, sku: Option<&str>) -> impl Iterator<Item = (Reason, String)> {
    let sku = sku.map(str::trim).map(|sku| (Reason::SameSku, sku.to_owned()));
    let same = name.map(str::trim).map(|name| (Reason::SameName, name.to_owned()));
    let similar = name.map(|name| (Reason::SimilarName, normalized(name)));
    [sku, same, similar].into_iter().flatten().filter(|(_, text)| !text.is_empty())
}

/// Without case, accents, spaces and signs.
fn normalized(name: &str) -> String {
    let plain = name.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase);
    plain.filter(|c| c.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_reason_counts_and_what_is_ambiguous_is_all_shown() {
        let id = |text: &str| text.parse::<ProductId>().unwrap();
        let mut index = Index::default();
        for (product, name, sku) in [
            ("croissant", Some("Butter Croissant"), Some("100")),
            ("croissant-old", Some("Butter Croissant"), None),
            ("creme", Some("Crème  brûlée"), Some(" ")),
            ("roll", None, Some("7")),
        ] {
            index.add(&id(product), name, sku);
        }
        let suggest = |name: &str, sku: Option<&str>| {
            let item = CatalogItem { item_id: "i".into(), name: name.into(), sku: sku.map(Into::into), category: None };
            let found = index.suggest(&item)?;
            Some((found.reason, found.product_ids.into_iter().map(String::from).collect::<Vec<_>>()))
        };
        for (name, sku, expected) in [
            ("Roll", Some("100"), Some((Reason::SameSku, vec!["croissant"]))),
            ("Butter Croissant", Some("unknown"), Some((Reason::SameName, vec!["croissant", "croissant-old"]))),
            ("BUTTER-CROISSANT!", None, Some((Reason::SimilarName, vec!["croissant", "croissant-old"]))),
            ("creme brulee", None, Some((Reason::SimilarName, vec!["creme"]))),
            ("CRÈME BRÛLÉE", Some(""), Some((Reason::SimilarName, vec!["creme"]))),
            ("Something", None, None),
            ("---", None, None),
        ] {
            let expected = expected.map(|(reason, ids)| (reason, ids.into_iter().map(str::to_owned).collect()));
            assert_eq!(suggest(name, sku), expected, "{name}");
        }
    }
}
