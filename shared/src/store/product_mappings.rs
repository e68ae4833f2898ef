//! The product-mappings table: tenant#configuration / item of the provider's catalogue.
//!
//! What the catalogue says of an item and what the tenant calls it stand side by side on one row. Each is written without
//! touching the other, so a catalogue that is read every day never undoes a mapping. What the sales domain's commands have
//! come to has rows of its own.

mod said;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use aws_sdk_dynamodb::Client;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::item::{Attributes, Item, as_kept, batch_get, is_made, number, purge, text, time};
use super::{Page, Purged, StoreError, configuration_key};
use crate::aws::AwsError;
use crate::domain::{CatalogItem, ConfigurationId, ProductId, SyncCounts, TenantScope};
pub use said::Kept;

const TABLE: &str = "product-mappings";
const FORMAT: u8 = 1;
/// DynamoDB reads so many items at once.
const BATCH: usize = 100;
/// Each write waits for the table some milliseconds, and an import has thousands.
const WRITES_AT_ONCE: usize = 16;
/// DynamoDB's limit for such a key.
pub const MAX_ITEM_ID: usize = 1024;

/// Whether a text can be a till's id of an item.
pub fn is_item_id(text: &str) -> bool {
    (1..=MAX_ITEM_ID).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The table.
#[derive(Clone)]
pub struct ProductMappings {
    client: Client,
    table: String,
}

/// An item of a till: what its catalogue says, and what the tenant calls it. Either may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductMapping {
    /// The till's id of the item.
    pub item_id: String,
    /// What the catalogue says.
    pub known: Option<KnownItem>,
    /// What the tenant calls it.
    pub mapped: Option<Mapped>,
    /// When the tenant has said so, or that it is nothing.
    pub said_at: Option<Timestamp>,
}

/// An item as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownItem {
    /// What it is.
    pub item: CatalogItem,
    /// Since when we know it like this.
    pub changed_at: Timestamp,
}

/// What the tenant calls an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Its own id of the product.
    pub product_id: ProductId,
    /// Since when.
    pub at: Timestamp,
    /// Who said so.
    pub by: String,
}

/// What somebody says of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingChange {
    /// The till's id of the item.
    pub item_id: String,
    /// What it is from now on; `None`: nothing of the tenant's.
    pub product_id: Option<ProductId>,
}

impl ProductMappings {
    /// `table`: its name.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Takes over what a catalogue that was read at `seen_at` says. Nothing is written for what we know already, nor for
    /// what we have learned later.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::product_mappings::*};
    /// # async fn of(all: &ProductMappings, id: ConfigurationId, items: &[CatalogItem], at: jiff::Timestamp) {
    /// let _ = all.record_catalog(id, items, at).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::product_mappings::*};
    /// # async fn of(
    /// #     all: &ProductMappings, id: ConfigurationId, items: &[CatalogItem], at: jiff::Timestamp, scope: TenantScope,
    /// # ) {
    /// let _ = all.record_catalog(&scope, id, items, at).await;
    /// # }
    /// ```
    pub async fn record_catalog(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        items: &[CatalogItem],
        seen_at: Timestamp,
    ) -> Result<SyncCounts, StoreError> {
        let mut counts = SyncCounts::default();
        // A catalogue may name an item twice (in two groups); DynamoDB does not read one twice.
        let mut wanted = BTreeMap::new();
        for item in items {
            counts.seen += 1;
            if !(1..=MAX_ITEM_ID).contains(&item.item_id.len()) {
                counts.failed += 1;
            } else if wanted.insert(item.item_id.as_str(), item).is_some() {
                counts.unchanged += 1;
            }
        }
        let wanted: Vec<&CatalogItem> = wanted.into_values().collect();
        for batch in wanted.chunks(BATCH) {
            // What was written a moment ago, before a crash, must not count as new once more.
            let ids = batch.iter().map(|item| item.item_id.as_str());
            let known = self.find_many(scope, configuration, ids, true).await?;
            for item in batch {
                let before = known.get(item.item_id.as_str()).and_then(|row| row.known.as_ref());
                if before.is_some_and(|known| known.item == **item) {
                    counts.unchanged += 1;
                    continue;
                }
                let is_written = self.write(scope, configuration, item, seen_at).await?;
                match (is_written, before) {
                    (true, None) => counts.created += 1,
                    (true, Some(_)) => counts.updated += 1,
                    (false, _) => counts.unchanged += 1,
                }
            }
        }
        Ok(counts)
    }

    /// What is known of one item, as it is now.
    pub async fn load(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        item_id: &str,
    ) -> Result<Option<ProductMapping>, StoreError> {
        let found = self.find_many(scope, configuration, std::iter::once(item_id), true).await?;
        Ok(found.into_values().next())
    }

    /// What is known of some items, by their ids. At most a hundred; may lag by a moment.
    pub async fn find(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        item_ids: &[&str],
    ) -> Result<HashMap<String, ProductMapping>, StoreError> {
        self.find_many(scope, configuration, item_ids.iter().copied(), false).await
    }

    /// The items that are mapped to a product. May lag by a moment.
    pub async fn items_of(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        product: &ProductId,
    ) -> Result<Vec<String>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-product")
            .key_condition_expression("product_key = :product")
            .expression_attribute_values(":product", text(product_key(scope, configuration, product)))
            .send()
            .await
            .map_err(|error| AwsError::new("find a product's items", error))?;
        answer.items().iter().map(|item| Attributes { table: TABLE, item }.parsed("item_id")).collect()
    }

    /// Says what items are from now on: the newest word on an item counts, by `at`. Answers for how many items it was a
    /// new one; all of it may be cut off and said again, and then counts as before.
    pub async fn map(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        changes: &[MappingChange],
        (by, at): (&str, Timestamp),
    ) -> Result<u64, StoreError> {
        let (at, mut changed) = (as_kept(at), 0);
        for batch in changes.chunks(BATCH) {
            let ids = batch.iter().map(|change| change.item_id.as_str()).collect::<BTreeSet<_>>();
            let known = self.find_many(scope, configuration, ids.into_iter(), true).await?;
            let (mut news, mut said_before) = (Vec::new(), 0);
            for change in batch {
                let row = known.get(&change.item_id);
                let said_at = row.and_then(|row| row.said_at);
                let product = row.and_then(|row| row.mapped.as_ref()).map(|mapped| &mapped.product_id);
                if product != change.product_id.as_ref() {
                    news.push((change, true));
                } else if said_at.is_some_and(|said_at| said_at < at) {
                    // The same again, so that an older word that comes later does not count.
                    news.push((change, false));
                } else {
                    said_before += usize::from(said_at == Some(at));
                }
            }
            let mut writes = Vec::with_capacity(news.len());
            for (change, is_new) in news {
                let write = self.write_mapping(scope, configuration, change, (by, at));
                writes.push(async move { Ok::<_, StoreError>(write.await? && is_new) });
            }
            let written: Vec<bool> = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await?;
            let count = said_before + written.into_iter().filter(|is_written| *is_written).count();
            changed += u64::try_from(count).unwrap_or(u64::MAX);
        }
        Ok(changed)
    }

    async fn write_mapping(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        change: &MappingChange,
        (by, at): (&str, Timestamp),
    ) -> Result<bool, StoreError> {
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, configuration, &change.item_id)))
            .condition_expression("attribute_not_exists(mapped_at) OR mapped_at <= :at")
            .expression_attribute_names("#format", "format")
            .expression_attribute_values(":format", number(FORMAT))
            .expression_attribute_values(":at", time(at))
            .expression_attribute_values(":by", text(by));
        let said = "SET #format = :format, mapped_at = :at, mapped_by = :by";
        let request = match &change.product_id {
            Some(product) => request
                .update_expression(format!("{said}, product_id = :product, product_key = :key"))
                .expression_attribute_values(":product", text(product))
                .expression_attribute_values(":key", text(product_key(scope, configuration, product))),
            // The time stays: an older word must not come back.
            None => request.update_expression(format!("{said} REMOVE product_id, product_key")),
        };
        is_made(request.send().await, "map an item")
    }

    /// The items of a configuration by their ids, from after `start_after`.
    pub async fn list(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        limit: i32,
        start_after: Option<String>,
    ) -> Result<Page<ProductMapping, String>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("configuration_key = :configuration")
            .expression_attribute_values(":configuration", text(configuration_key(scope, configuration)))
            .set_exclusive_start_key(start_after.map(|id| key(scope, configuration, &id)))
            .limit(limit)
            .send()
            .await
            .map_err(|error| AwsError::new("list product mappings", error))?;
        let next = answer.last_evaluated_key().map(|item| Attributes { table: TABLE, item }.parsed("item_id"));
        let items = answer.items().iter().map(read);
        Ok(Page { items: items.collect::<Result<_, _>>()?, next: next.transpose()? })
    }

    /// Removes everything of a configuration, or as much as there is time for.
    pub async fn purge(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        deadline: Instant,
    ) -> Result<Purged, StoreError> {
        let mut purged = Purged { removed: 0, is_done: true };
        for partition in [configuration_key(scope, configuration), said::partition(scope, configuration)] {
            let partition = ("configuration_key", text(partition));
            let part = purge(&self.client, &self.table, partition, "item_id", deadline).await?;
            purged = Purged { removed: purged.removed + part.removed, is_done: purged.is_done && part.is_done };
        }
        Ok(purged)
    }

    async fn find_many(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        item_ids: impl Iterator<Item = &str>,
        is_consistent: bool,
    ) -> Result<HashMap<String, ProductMapping>, StoreError> {
        let keys = item_ids.map(|id| key(scope, configuration, id)).collect();
        let found = batch_get(&self.client, &self.table, keys, is_consistent, "read product mappings").await?;
        found.iter().map(|item| read(item).map(|row| (row.item_id.clone(), row))).collect()
    }

    async fn write(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        item: &CatalogItem,
        seen_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, configuration, &item.item_id)))
            .condition_expression("attribute_not_exists(catalog_changed_at) OR catalog_changed_at <= :seen_at")
            .expression_attribute_names("#format", "format")
            .expression_attribute_names("#name", "name")
            .expression_attribute_values(":format", number(FORMAT))
            .expression_attribute_values(":name", text(&item.name))
            .expression_attribute_values(":seen_at", time(seen_at));
        let mut set = String::from("SET #format = :format, #name = :name, catalog_changed_at = :seen_at");
        let mut removed = Vec::new();
        for (name, placeholder, value) in [("sku", ":sku", &item.sku), ("category", ":category", &item.category)] {
            match value {
                Some(value) => {
                    set.push_str(&format!(", {name} = {placeholder}"));
                    request = request.expression_attribute_values(placeholder, text(value));
                }
                None => removed.push(name),
            }
        }
        if !removed.is_empty() {
            set.push_str(&format!(" REMOVE {}", removed.join(", ")));
        }
        is_made(request.update_expression(set).send().await, "write an item of a catalogue")
    }
}

fn key(scope: &TenantScope, configuration: ConfigurationId, item_id: &str) -> Item {
    Item::from([
        ("configuration_key".into(), text(configuration_key(scope, configuration))),
        ("item_id".into(), text(item_id)),
    ])
}

fn product_key(scope: &TenantScope, configuration: ConfigurationId, product: &ProductId) -> String {
    format!("{}#{product}", configuration_key(scope, configuration))
}

fn read(item: &Item) -> Result<ProductMapping, StoreError> {
    let attributes = Attributes { table: TABLE, item };
    if attributes.number::<u8>("format")? != FORMAT {
        return Err(attributes.unreadable("format"));
    }
    let optional = |name: &str| attributes.optional_text(name).map(str::to_owned);
    let item_id = attributes.text("item_id")?.to_owned();
    let known = match optional("name") {
        Some(name) => Some(KnownItem {
            item: CatalogItem { item_id: item_id.clone(), name, sku: optional("sku"), category: optional("category") },
            changed_at: attributes.parsed("catalog_changed_at")?,
        }),
        None => None,
    };
    let mapped = match attributes.optional_parsed("product_id")? {
        Some(product_id) => Some(Mapped {
            product_id,
            at: attributes.parsed("mapped_at")?,
            by: attributes.text("mapped_by")?.to_owned(),
        }),
        None => None,
    };
    Ok(ProductMapping { item_id, known, mapped, said_at: attributes.optional_parsed("mapped_at")? })
}
