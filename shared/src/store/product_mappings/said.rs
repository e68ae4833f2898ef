//! What the sales domain's commands have come to: tenant#configuration#said / shop#item, as text.
//!
//! Rows of their own, and not on those of the items: a sale reads an item's row, and one of them for each shop would make
//! that as large as the chain. Whoever changes a row names what it has read, to the letter: of two that decide at once, one
//! finds the other's word there.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;

use super::{BATCH, FORMAT, ProductMappings, TABLE};
use crate::domain::{ConfigurationId, ItemPlace, Said, TenantScope};
use crate::store::item::{Attributes, Item, batch_get, number, refused_with, text, unreadable};
use crate::store::{StoreError, configuration_key};

/// What is remembered of an item in a shop, as it was read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it says.
    pub said: Said,
    text: String,
}

impl ProductMappings {
    /// What was said last of items in shops; those of which nothing was ever said are left out.
    pub async fn find_said(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        places: &[ItemPlace],
    ) -> Result<HashMap<ItemPlace, Kept>, StoreError> {
        let mut rows = HashMap::new();
        for batch in places.chunks(BATCH) {
            let keys = batch.iter().map(|place| key(scope, configuration, place)).collect();
            for item in batch_get(&self.client, &self.table, keys, true, "read what was said").await? {
                let row = Attributes { table: TABLE, item: &item };
                let text = row.text("said")?.to_owned();
                let said = serde_json::from_str(&text).map_err(|error| unreadable(TABLE, error))?;
                rows.insert(row.text("item_id")?.to_owned(), Kept { said, text });
            }
        }
        Ok(places.iter().filter_map(|place| Some((place.clone(), rows.remove(&sort_key(place))?))).collect())
    }

    /// Remembers `next` in place of what was `seen`. `None`: something else stands there by now.
    pub async fn say(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        place: &ItemPlace,
        (seen, next): (Option<&Kept>, Said),
    ) -> Result<Option<Kept>, StoreError> {
        let json = serde_json::to_string(&next).map_err(|error| unreadable(TABLE, error))?;
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, configuration, place)))
            .update_expression("SET #format = :format, said = :next")
            .expression_attribute_names("#format", "format")
            .expression_attribute_values(":format", number(FORMAT))
            .expression_attribute_values(":next", text(&json))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match seen {
            Some(seen) => {
                request.condition_expression("said = :seen").expression_attribute_values(":seen", text(&seen.text))
            }
            None => request.condition_expression("attribute_not_exists(said)"),
        };
        let kept = Kept { said: next, text: json };
        match refused_with(request.send().await, "remember what was said")? {
            Ok(_) => Ok(Some(kept)),
            // The AWS client repeats a write whose answer was lost: it finds itself.
            Err(there) => {
                let there = Attributes { table: TABLE, item: &there };
                Ok((there.optional_text("said") == Some(&kept.text)).then_some(kept))
            }
        }
    }
}

/// The partition of a configuration. The other one ends with the configuration's id, so none is mistaken for another.
pub(super) fn partition(scope: &TenantScope, configuration: ConfigurationId) -> String {
    format!("{}#said", configuration_key(scope, configuration))
}

/// The id of a shop has no `#` in it.
fn sort_key(place: &ItemPlace) -> String {
    format!("{}#{}", place.location_id, place.item_id)
}

fn key(scope: &TenantScope, configuration: ConfigurationId, place: &ItemPlace) -> Item {
    Item::from([
        ("configuration_key".into(), text(partition(scope, configuration))),
        ("item_id".into(), text(sort_key(place))),
    ])
}
