//! The configurations table: tenant / configuration.
//!
//! Beside its configuration every connected merchant has a *claim*, an item under the merchant's own key that names who
//! is connected to it. It is written in the same transaction, so one merchant's sales can never arrive through two
//! configurations and count twice; and it is the webhooks' way from a merchant to a configuration, one consistent read.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::item::{Attributes, Item, bytes, text, unreadable};
use super::{Page, StoreError};
use crate::aws::AwsError;
use crate::domain::{
    Configuration, ConfigurationId, ConfigurationStatus, Environment, MerchantId, ProviderKind, TenantId, TenantScope,
};

const TABLE: &str = "configurations";
const FORMAT: u8 = 1;
const SEALED: &str = "sealed_credentials";

/// The table.
pub struct Configurations {
    client: Client,
    table: String,
}

/// A configuration together with what only the vault can read.
#[derive(Debug, Clone)]
pub struct SealedConfiguration {
    /// Whose it is.
    pub scope: TenantScope,
    /// What everybody may see.
    pub configuration: Configuration,
    /// What the vault can open.
    pub sealed_credentials: Vec<u8>,
}

/// Why a configuration was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Somebody is connected to this merchant already.
    #[error("the merchant is connected already")]
    MerchantTaken,
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
struct Row {
    tenant_id: TenantId,
    configuration_id: ConfigurationId,
    format: u8,
    #[serde(flatten)]
    configuration: Configuration,
}

impl Configurations {
    /// `table`: its name.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Stores a new configuration and claims its merchant, both or neither.
    pub async fn create(
        &self,
        scope: &TenantScope,
        configuration: &Configuration,
        sealed_credentials: Vec<u8>,
    ) -> Result<(), CreateError> {
        let row = Row {
            tenant_id: scope.tenant_id().clone(),
            configuration_id: configuration.id,
            format: FORMAT,
            configuration: configuration.clone(),
        };
        let mut item: Item = serde_dynamo::to_item(row).map_err(|error| unreadable(TABLE, error))?;
        item.insert(SEALED.into(), bytes(sealed_credentials));
        let mut claim = claim_key(configuration.provider, configuration.environment, &configuration.merchant.id);
        claim.insert("claimed_by_tenant".into(), text(scope.tenant_id()));
        claim.insert("claimed_by_configuration".into(), text(configuration.id));

        let mut request = self.client.transact_write_items();
        for item in [item, claim] {
            let put = Put::builder()
                .table_name(&self.table)
                .set_item(Some(item))
                .condition_expression("attribute_not_exists(tenant_id)")
                .build()
                .map_err(|error| AwsError::new("create a configuration", error))
                .map_err(StoreError::from)?;
            request = request.transact_items(TransactWriteItem::builder().put(put).build());
        }
        request.send().await.map(drop).map_err(|error| {
            // The configuration's own key is new, so only the claim's condition can have failed.
            if error.as_service_error().is_some_and(is_refused) {
                CreateError::MerchantTaken
            } else {
                StoreError::from(AwsError::new("create a configuration", error)).into()
            }
        })
    }

    /// One configuration of a tenant.
    pub async fn find(&self, scope: &TenantScope, id: ConfigurationId) -> Result<Option<Configuration>, StoreError> {
        Ok(self.load(scope, id).await?.map(|found| found.configuration))
    }

    /// A tenant's configurations, oldest first, from after `start_after`.
    pub async fn list(
        &self,
        scope: &TenantScope,
        limit: i32,
        start_after: Option<ConfigurationId>,
    ) -> Result<Page<Configuration, ConfigurationId>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("tenant_id = :tenant")
            .expression_attribute_values(":tenant", text(scope.tenant_id()))
            .set_exclusive_start_key(start_after.map(|id| key(scope, id)))
            .limit(limit)
            .send()
            .await
            .map_err(|error| AwsError::new("list configurations", error))?;
        let next = answer.last_evaluated_key().map(|item| Attributes { table: TABLE, item }.parsed("configuration_id"));
        let items = answer.items().iter().map(|item| read(item).map(|row| row.configuration));
        Ok(Page { items: items.collect::<Result<_, _>>()?, next: next.transpose()? })
    }

    /// The configuration that is connected to a merchant.
    pub async fn find_by_merchant(
        &self,
        provider: ProviderKind,
        environment: Environment,
        merchant: &MerchantId,
    ) -> Result<Option<SealedConfiguration>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(claim_key(provider, environment, merchant)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| AwsError::new("find a merchant's configuration", error))?;
        let Some(claim) = answer.item else { return Ok(None) };
        let claim = Attributes { table: TABLE, item: &claim };
        let scope = TenantScope::new(claim.parsed("claimed_by_tenant")?);
        self.load(&scope, claim.parsed("claimed_by_configuration")?).await
    }

    /// Notes that the provider refuses the credentials of this version; a newer version is left alone.
    pub async fn require_reauth(&self, scope: &TenantScope, refused: &Configuration) -> Result<(), StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, refused.id)))
            .update_expression("SET #status = :status, updated_at = :now, version = version + :one")
            .condition_expression("version = :seen")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", text(ConfigurationStatus::ReauthRequired.as_str()))
            .expression_attribute_values(":now", text(Timestamp::now()))
            .expression_attribute_values(":one", AttributeValue::N("1".into()))
            .expression_attribute_values(":seen", AttributeValue::N(refused.version.to_string()))
            .send()
            .await;
        match result {
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(()),
            Err(error) => Err(AwsError::new("mark a configuration", error).into()),
            Ok(_) => Ok(()),
        }
    }

    async fn load(&self, scope: &TenantScope, id: ConfigurationId) -> Result<Option<SealedConfiguration>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(scope, id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| AwsError::new("read a configuration", error))?;
        let Some(item) = answer.item else { return Ok(None) };
        let sealed_credentials = Attributes { table: TABLE, item: &item }.bytes(SEALED)?.to_vec();
        let row = read(&item)?;
        Ok(Some(SealedConfiguration {
            scope: TenantScope::new(row.tenant_id),
            configuration: row.configuration,
            sealed_credentials,
        }))
    }
}

/// A transaction is also canceled by throttling and by conflicts, which pass.
fn is_refused(error: &TransactWriteItemsError) -> bool {
    if let TransactWriteItemsError::TransactionCanceledException(canceled) = error {
        canceled.cancellation_reasons().iter().any(|reason| reason.code() == Some("ConditionalCheckFailed"))
    } else {
        false
    }
}

fn key(scope: &TenantScope, id: ConfigurationId) -> Item {
    Item::from([("tenant_id".into(), text(scope.tenant_id())), ("configuration_id".into(), text(id))])
}

/// No tenant has this key: a tenant's id holds no `#`.
fn claim_key(provider: ProviderKind, environment: Environment, merchant: &MerchantId) -> Item {
    let merchant = format!("merchant#{provider}#{}#{merchant}", environment.as_str());
    Item::from([("tenant_id".into(), text(merchant)), ("configuration_id".into(), text("claim"))])
}

fn read(item: &Item) -> Result<Row, StoreError> {
    serde_dynamo::from_item(item.clone()).map_err(|error| unreadable(TABLE, error))
}
