//! What proves deliveries to a configuration's own webhook URL.

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Configurations, Item, StoreError, TABLE};
use crate::aws::AwsError;
use crate::domain::{Configuration, ConfigurationId, Environment, ProviderKind, TenantId, TenantScope};
use crate::store::item::{text, unreadable};

/// A webhook URL of a configuration's own.
#[derive(Debug, Clone)]
pub struct Door {
    /// Whose it is.
    pub scope: TenantScope,
    /// Who may call it.
    pub provider: ProviderKind,
    /// From which of its worlds.
    pub environment: Environment,
    /// What proves a call.
    pub secrets: Vec<SealedWebhookSecret>,
}

/// A webhook secret that only the vault can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedWebhookSecret {
    /// Names it.
    pub id: Uuid,
    /// What the vault can open.
    #[serde(with = "serde_bytes")]
    pub sealed: Vec<u8>,
    /// From when it counts.
    pub not_before: Timestamp,
    /// Until when it counts.
    pub not_after: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    claimed_by_tenant: TenantId,
    provider: ProviderKind,
    environment: Environment,
    secrets: Vec<SealedWebhookSecret>,
}

impl Configurations {
    /// The door of a configuration, known by its id alone: the tenant comes from the item, never from the request.
    pub async fn find_door(&self, id: ConfigurationId) -> Result<Option<Door>, StoreError> {
        self.get(door_key(id)).await?.map(read).transpose()
    }

    pub(super) fn write_door(
        &self,
        scope: &TenantScope,
        configuration: &Configuration,
        [read, secrets]: &[Vec<SealedWebhookSecret>; 2],
    ) -> Result<TransactWriteItem, StoreError> {
        let read: AttributeValue = serde_dynamo::to_attribute_value(read).map_err(|error| unreadable(TABLE, error))?;
        let row = Row {
            claimed_by_tenant: scope.tenant_id().clone(),
            provider: configuration.provider,
            environment: configuration.environment,
            secrets: secrets.to_vec(),
        };
        let mut item: Item = serde_dynamo::to_item(row).map_err(|error| unreadable(TABLE, error))?;
        item.extend(door_key(configuration.id));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            // Somebody may be wrapping them with another key.
            .condition_expression("attribute_not_exists(secrets) OR secrets = :read")
            .expression_attribute_values(":read", read)
            .build()
            .map_err(|error| AwsError::new("write a configuration's webhook secrets", error))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

pub(super) fn read(item: Item) -> Result<Door, StoreError> {
    let row: Row = serde_dynamo::from_item(item).map_err(|error| unreadable(TABLE, error))?;
    let Row { claimed_by_tenant, provider, environment, secrets } = row;
    Ok(Door { scope: TenantScope::new(claimed_by_tenant), provider, environment, secrets })
}

/// No tenant has this key: a tenant's id holds no `#`. The template lets the ingress read keys that begin like it.
pub(super) fn door_key(id: ConfigurationId) -> Item {
    Item::from([("tenant_id".into(), text(format!("webhook#{id}"))), ("configuration_id".into(), text("secrets"))])
}
