//! What the sales domain's commands have come to: one attribute for each shop on the row of an item, as text.
//!
//! Whoever changes it names what it has read, to the letter: of two that decide at once, one finds the other's word there.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;

use super::{BATCH, ProductMappings, TABLE, key};
use crate::domain::{ConfigurationId, ItemPlace, LocationId, Said, TenantScope};
use crate::store::StoreError;
use crate::store::item::{Attributes, batch_get, refused_with, text, unreadable};

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
        let items: Vec<&str> =
            places.iter().map(|place| place.item_id.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
        let mut rows = HashMap::new();
        for batch in items.chunks(BATCH) {
            let keys = batch.iter().map(|id| key(scope, configuration, id)).collect();
            for item in batch_get(&self.client, &self.table, keys, true, "read what was said").await? {
                rows.insert(Attributes { table: TABLE, item: &item }.text("item_id")?.to_owned(), item);
            }
        }
        let mut found = HashMap::new();
        for place in places {
            let Some(item) = rows.get(&place.item_id) else { continue };
            if let Some(text) = (Attributes { table: TABLE, item }).optional_text(&attribute(&place.location_id)) {
                let said = serde_json::from_str(text).map_err(|error| unreadable(TABLE, error))?;
                found.insert(place.clone(), Kept { said, text: text.to_owned() });
            }
        }
        Ok(found)
    }

    /// Remembers `next` in place of what was `seen`. `None`: something else stands there by now.
    pub async fn say(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        place: &ItemPlace,
        (seen, next): (Option<&Kept>, Said),
    ) -> Result<Option<Kept>, StoreError> {
        let name = attribute(&place.location_id);
        let json = serde_json::to_string(&next).map_err(|error| unreadable(TABLE, error))?;
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, configuration, &place.item_id)))
            .update_expression("SET #format = if_not_exists(#format, :format), #said = :next")
            .expression_attribute_names("#format", "format")
            .expression_attribute_names("#said", &name)
            .expression_attribute_values(":format", super::number(super::FORMAT))
            .expression_attribute_values(":next", text(&json))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match seen {
            Some(seen) => {
                request.condition_expression("#said = :seen").expression_attribute_values(":seen", text(&seen.text))
            }
            None => request.condition_expression("attribute_not_exists(#said)"),
        };
        let kept = Kept { said: next, text: json };
        match refused_with(request.send().await, "remember what was said")? {
            Ok(_) => Ok(Some(kept)),
            // The AWS client repeats a write whose answer was lost: it finds itself.
            Err(there) => {
                let there = (Attributes { table: TABLE, item: &there }).optional_text(&name).map(str::to_owned);
                Ok((there.as_ref() == Some(&kept.text)).then_some(kept))
            }
        }
    }
}

fn attribute(location: &LocationId) -> String {
    format!("said#{location}")
}
