//! What callers of the API ask for: runs that are not wanted any more, and answers that are kept for their repeats.
//!
//! An answer is kept in the coordination table under a key that nobody can find again. Beside the runs that it tells of
//! stands which key that is, so that a removed configuration leaves none behind.

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};

use super::{Attributes, FORMAT, SyncLogs, TABLE, key, lane_entry};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, Run, TenantScope};
use crate::store::StoreError;
use crate::store::coordination::Remembered;
use crate::store::item::{number, text};

impl SyncLogs {
    /// The write that asks for a run to be ended, on the condition that it is under way.
    pub(crate) fn write_cancel(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        run: &Run,
    ) -> Result<TransactWriteItem, StoreError> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(scope, configuration, &lane_entry(run.request.kind()))))
            .update_expression("SET is_cancelled = :yes")
            .condition_expression("run_id = :run_id")
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .expression_attribute_values(":run_id", text(run.id))
            .build()
            .map_err(|error| AwsError::new("cancel a run", error))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// The write that says where an answer is kept.
    pub(crate) fn write_answer(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        remembered: &Remembered,
    ) -> Result<TransactWriteItem, StoreError> {
        let mut item = key(scope, configuration, &format!("answer#{}", remembered.key));
        item.insert("format".into(), number(FORMAT));
        item.insert("answer".into(), text(&remembered.key));
        item.insert("expires_at".into(), number(remembered.expires_at));
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).build();
        let put = put.map_err(|error| AwsError::new("remember an answer", error))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Where the answers of a configuration are kept.
    pub async fn list_answers(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
    ) -> Result<Vec<String>, StoreError> {
        let items = self.entries(scope, configuration, "answer#").await?;
        items.iter().map(|item| Ok(Attributes { table: TABLE, item }.text("answer")?.to_owned())).collect()
    }
}
