//! The product-mappings table: tenant#configuration / item of the provider's catalogue.
//!
//! What the catalogue says of an item and what the tenant calls it stand side by side on one row. Each is written without
//! touching the other, so a catalogue that is read every day never undoes a mapping.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use aws_sdk_dynamodb::Client;
use jiff::Timestamp;

use super::item::{Attributes, Item, batch_get, is_made, number, purge, text, time};
use super::{Page, Purged, StoreError, configuration_key};
use crate::aws::AwsError;
use crate::domain::{CatalogItem, ConfigurationId, SyncCounts, TenantScope};

const TABLE: &str = "product-mappings";
const FORMAT: u8 = 1;
/// DynamoDB reads so many items at once.
const BATCH: usize = 100;
/// DynamoDB's limit for such a key.
const MAX_ITEM_ID: usize = 1024;

/// The table.
#[derive(Clone)]
pub struct ProductMappings {
    client: Client,
    table: String,
}

/// An item as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownItem {
    /// What it is.
    pub item: CatalogItem,
    /// Since when we know it like this.
    pub changed_at: Timestamp,
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
            let known = self.find_many(scope, configuration, batch).await?;
            for item in batch {
                let before = known.get(item.item_id.as_str());
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

    /// The items of a configuration's catalogue by their ids, from after `start_after`.
    pub async fn list(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        limit: i32,
        start_after: Option<String>,
    ) -> Result<Page<KnownItem, String>, StoreError> {
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
            .map_err(|error| AwsError::new("list a catalogue", error))?;
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
        let partition = ("configuration_key", text(configuration_key(scope, configuration)));
        purge(&self.client, &self.table, partition, "item_id", deadline).await
    }

    async fn find_many(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        items: &[&CatalogItem],
    ) -> Result<HashMap<String, KnownItem>, StoreError> {
        let keys = items.iter().map(|item| key(scope, configuration, &item.item_id)).collect();
        // Consistent: what was written a moment ago, before a crash, must not count as new once more.
        let found = batch_get(&self.client, &self.table, keys, true, "read a catalogue").await?;
        let known = found.iter().map(|item| read(item).map(|known| (known.item.item_id.clone(), known)));
        known.collect()
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

fn read(item: &Item) -> Result<KnownItem, StoreError> {
    let attributes = Attributes { table: TABLE, item };
    if attributes.number::<u8>("format")? != FORMAT {
        return Err(attributes.unreadable("format"));
    }
    let optional = |name: &str| attributes.optional_text(name).map(str::to_owned);
    Ok(KnownItem {
        item: CatalogItem {
            item_id: attributes.text("item_id")?.to_owned(),
            name: attributes.text("name")?.to_owned(),
            sku: optional("sku"),
            category: optional("category"),
        },
        changed_at: attributes.parsed("catalog_changed_at")?,
    })
}
