//! Every sealed secret of the table, for who wraps them with another key. The one place that walks the whole table:
//! an operator asks for it, no request does.

use std::collections::HashMap;

use super::{Configurations, Item, Row, SEALED, StoreError, TABLE};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, ProviderKind, TenantScope};
use crate::store::Page;
use crate::store::item::{Attributes, bytes, is_made, text, unreadable};

/// Where a walk goes on: the table's own key.
pub type SealedPosition = (String, String);

/// A sealed secret and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Whose.
    pub scope: TenantScope,
    /// Of which configuration.
    pub configuration_id: ConfigurationId,
    /// For which provider.
    pub provider: ProviderKind,
    /// Whether it proves deliveries; otherwise it is what the provider gave us.
    pub is_webhook_secret: bool,
    /// What the vault can open.
    pub sealed: Vec<u8>,
    item: SealedPosition,
    path: String,
}

impl Configurations {
    /// The secrets of a page of items, from after `start_after`.
    pub async fn list_sealed(
        &self,
        limit: i32,
        start_after: Option<SealedPosition>,
    ) -> Result<Page<SealedSecret, SealedPosition>, StoreError> {
        let answer = self
            .client
            .scan()
            .table_name(&self.table)
            .limit(limit)
            .set_exclusive_start_key(start_after.as_ref().map(key_at))
            .send()
            .await
            .map_err(|error| AwsError::new("list sealed secrets", error))?;
        let next = answer.last_evaluated_key().map(position_of).transpose()?;
        let mut items = Vec::new();
        for item in answer.items() {
            items.extend(secrets_of(item)?);
        }
        Ok(Page { items, next })
    }

    /// Puts another seal in the place of one that was read. `false`: somebody has put a new secret there meanwhile.
    pub async fn replace_seal(&self, read: &SealedSecret, sealed: Vec<u8>) -> Result<bool, StoreError> {
        let path = &read.path;
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key_at(&read.item)))
            .update_expression(format!("SET {path} = :new"))
            .condition_expression(format!("{path} = :old"))
            .expression_attribute_values(":new", bytes(sealed))
            .expression_attribute_values(":old", bytes(read.sealed.clone()))
            .send()
            .await;
        is_made(result, "replace a seal")
    }
}

fn secrets_of(item: &Item) -> Result<Vec<SealedSecret>, StoreError> {
    let at = position_of(item)?;
    if item.contains_key(SEALED) {
        let sealed = Attributes { table: TABLE, item }.bytes(SEALED)?.to_vec();
        let row: Row = serde_dynamo::from_item(item.clone()).map_err(|error| unreadable(TABLE, error))?;
        return Ok(vec![SealedSecret {
            scope: TenantScope::new(row.tenant_id),
            configuration_id: row.configuration_id,
            provider: row.configuration.provider,
            is_webhook_secret: false,
            sealed,
            item: at,
            path: SEALED.to_owned(),
        }]);
    }
    let Some(id) = at.0.strip_prefix("webhook#") else { return Ok(Vec::new()) };
    let attributes = Attributes { table: TABLE, item };
    let configuration_id = id.parse().map_err(|_| attributes.unreadable("tenant_id"))?;
    let door = super::door::read(item.clone())?;
    let secrets = door.secrets.into_iter().enumerate().map(|(index, secret)| SealedSecret {
        scope: door.scope.clone(),
        configuration_id,
        provider: door.provider,
        is_webhook_secret: true,
        sealed: secret.sealed,
        item: at.clone(),
        path: format!("secrets[{index}].sealed"),
    });
    Ok(secrets.collect())
}

fn position_of(item: &HashMap<String, aws_sdk_dynamodb::types::AttributeValue>) -> Result<SealedPosition, StoreError> {
    let item = Attributes { table: TABLE, item };
    Ok((item.text("tenant_id")?.to_owned(), item.text("configuration_id")?.to_owned()))
}

fn key_at((tenant, configuration): &SealedPosition) -> Item {
    Item::from([("tenant_id".into(), text(tenant)), ("configuration_id".into(), text(configuration))])
}
