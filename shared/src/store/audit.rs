//! The audit log: tenant / sequence. Who changed what, each row chained to the one before it.
//!
//! A row is written in the same transaction as the change that it tells of, and no role may update or delete one. The
//! *head*, which the next row is chained to, stands in the coordination table: rows cut off at the end are missed too.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::item::{Attributes, Item, number, text, unreadable};
use super::{Page, StoreError, hash_of};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, TenantId, TenantScope};

const TABLE: &str = "audit-log";
/// What the first row of a tenant is chained to.
const GENESIS: &str = "";

/// The table.
#[derive(Clone)]
pub struct AuditLog {
    client: Client,
    table: String,
    coordination: String,
}

/// Who does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The token's subject, or one of our functions.
    pub subject: String,
    /// What it was allowed to do.
    pub roles: String,
    /// The id of the request, or of the invocation.
    pub request_id: String,
}

impl Actor {
    /// One of our functions, without anybody asking.
    pub fn service(function: &str) -> Self {
        Self { subject: format!("service:{function}"), roles: String::new(), request_id: String::new() }
    }
}

/// One change. Names of fields, never values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditRow {
    /// Counts a tenant's changes, from 1, without gaps.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Who: the token's subject, or `service:` and one of our functions.
    pub actor: String,
    /// What that one was allowed to do.
    pub roles: String,
    /// The id of the request.
    pub request_id: String,
    /// What happened, such as `configuration.created`.
    pub action: String,
    /// To which configuration.
    pub configuration_id: ConfigurationId,
    /// Which of its fields changed; of runs, their kinds and ids.
    pub fields: Vec<String>,
    /// Hash of the row before.
    pub previous_hash: String,
    /// SHA-256 of all of the above, each part with its length before it.
    pub hash: String,
}

impl AuditRow {
    fn expected_hash(&self, tenant: &TenantId) -> String {
        let (sequence, at) = (self.sequence.to_string(), self.at.to_string());
        let configuration = self.configuration_id.to_string();
        let parts = [
            tenant.as_str(),
            &sequence,
            &at,
            &self.actor,
            &self.roles,
            &self.request_id,
            &self.action,
            &configuration,
            &self.previous_hash,
        ];
        hash_of(parts.into_iter().chain(self.fields.iter().map(String::as_str)))
    }
}

/// What a tenant's chain ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    sequence: u64,
    hash: String,
}

/// Whether a tenant's chain holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verification {
    /// Whether it does.
    pub intact: bool,
    /// How many rows were read.
    pub rows: u64,
    /// Where it breaks first, and how.
    pub first_broken: Option<BrokenRow>,
}

/// A place where a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BrokenRow {
    /// Which row.
    pub sequence: u64,
    /// How.
    pub why: &'static str,
}

impl AuditLog {
    /// `table` and `coordination`: their names.
    pub fn new(client: Client, table: String, coordination: String) -> Self {
        Self { client, table, coordination }
    }

    pub(super) async fn head(&self, scope: &TenantScope) -> Result<Head, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.coordination)
            .set_key(Some(head_key(scope)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| AwsError::new("read the audit log's head", error))?;
        let Some(item) = answer.item else { return Ok(Head { sequence: 0, hash: GENESIS.into() }) };
        let item = Attributes { table: "coordination", item: &item };
        Ok(Head { sequence: item.number("sequence")?, hash: item.text("hash")?.to_owned() })
    }

    /// The two writes that put one more row: the row, and the head, which must not have moved.
    pub(super) fn append(
        &self,
        scope: &TenantScope,
        head: &Head,
        actor: &Actor,
        (action, configuration_id, fields): (&str, ConfigurationId, Vec<String>),
    ) -> Result<[TransactWriteItem; 2], StoreError> {
        let mut row = AuditRow {
            sequence: head.sequence + 1,
            at: Timestamp::now(),
            actor: actor.subject.clone(),
            roles: actor.roles.clone(),
            request_id: actor.request_id.clone(),
            action: action.to_owned(),
            configuration_id,
            fields,
            previous_hash: head.hash.clone(),
            hash: String::new(),
        };
        row.hash = row.expected_hash(scope.tenant_id());
        let mut item: Item = serde_dynamo::to_item(&row).map_err(|error| unreadable(TABLE, error))?;
        item.insert("tenant_id".into(), text(scope.tenant_id()));
        let failed = |error| StoreError::from(AwsError::new("write the audit log", error));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(tenant_id)")
            .build()
            .map_err(failed)?;
        let update = Update::builder()
            .table_name(&self.coordination)
            .set_key(Some(head_key(scope)))
            .update_expression("SET #sequence = :next, #hash = :hash")
            .condition_expression("attribute_not_exists(#hash) OR #hash = :previous")
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_names("#hash", "hash")
            .expression_attribute_values(":next", number(row.sequence))
            .expression_attribute_values(":hash", text(&row.hash))
            .expression_attribute_values(":previous", text(&head.hash))
            .build()
            .map_err(failed)?;
        Ok([TransactWriteItem::builder().update(update).build(), TransactWriteItem::builder().put(put).build()])
    }

    /// A tenant's rows, newest first, from before `start_before`.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::audit::*};
    /// # async fn of(log: &AuditLog) {
    /// let _ = log.list(10, None).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::audit::*};
    /// # async fn of(log: &AuditLog, scope: TenantScope) {
    /// let _ = log.list(&scope, 10, None).await;
    /// # }
    /// ```
    pub async fn list(
        &self,
        scope: &TenantScope,
        limit: i32,
        start_before: Option<u64>,
    ) -> Result<Page<AuditRow, u64>, StoreError> {
        self.page(scope, Some(limit), start_before, false).await
    }

    /// Walks a tenant's chain from its first row to its head.
    pub async fn verify(&self, scope: &TenantScope) -> Result<Verification, StoreError> {
        let head = self.head(scope).await?;
        let (mut last, mut start_after) = (Head { sequence: 0, hash: GENESIS.into() }, None);
        let broken =
            |rows, sequence, why| Verification { intact: false, rows, first_broken: Some(BrokenRow { sequence, why }) };
        loop {
            let page = match self.page(scope, None, start_after, true).await {
                Err(StoreError::Unreadable { .. }) => {
                    return Ok(broken(last.sequence, last.sequence + 1, "or one soon after it cannot be read"));
                }
                page => page?,
            };
            for row in page.items {
                if row.sequence != last.sequence + 1 {
                    return Ok(broken(last.sequence, last.sequence + 1, "is missing"));
                }
                if row.hash != row.expected_hash(scope.tenant_id()) {
                    return Ok(broken(last.sequence, row.sequence, "was altered"));
                }
                if row.previous_hash != last.hash {
                    return Ok(broken(last.sequence, row.sequence, "is not chained to the row before it"));
                }
                last = Head { sequence: row.sequence, hash: row.hash };
            }
            start_after = page.next;
            if start_after.is_none() {
                break;
            }
        }
        // A change may have come while we walked; rows may not have gone, and neither may the head.
        if last.sequence < head.sequence {
            return Ok(broken(last.sequence, last.sequence + 1, "is missing"));
        }
        if last.sequence == head.sequence && last.hash != head.hash {
            return Ok(broken(last.sequence, last.sequence, "is not the row that was written last"));
        }
        if self.head(scope).await?.sequence < last.sequence {
            return Ok(broken(last.sequence, last.sequence, "is newer than the head of the chain"));
        }
        Ok(Verification { intact: true, rows: last.sequence, first_broken: None })
    }

    async fn page(
        &self,
        scope: &TenantScope,
        limit: Option<i32>,
        start: Option<u64>,
        is_forward: bool,
    ) -> Result<Page<AuditRow, u64>, StoreError> {
        let start = start.map(|sequence| {
            Item::from([("tenant_id".into(), text(scope.tenant_id())), ("sequence".into(), number(sequence))])
        });
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("tenant_id = :tenant")
            .expression_attribute_values(":tenant", text(scope.tenant_id()))
            .scan_index_forward(is_forward)
            .consistent_read(true)
            .set_exclusive_start_key(start)
            .set_limit(limit)
            .send()
            .await
            .map_err(|error| AwsError::new("read the audit log", error))?;
        let next = answer.last_evaluated_key().map(|item| Attributes { table: TABLE, item }.number("sequence"));
        let items = answer.items().iter().map(|item| {
            serde_dynamo::from_item::<Item, AuditRow>(item.clone()).map_err(|error| unreadable(TABLE, error))
        });
        Ok(Page { items: items.collect::<Result<_, _>>()?, next: next.transpose()? })
    }
}

fn head_key(scope: &TenantScope) -> Item {
    Item::from([("key".to_owned(), AttributeValue::S(format!("audit-head#{}", scope.tenant_id())))])
}
