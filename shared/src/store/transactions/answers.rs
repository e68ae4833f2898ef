//! What the sales domain has answered, and what is still waited for.
//!
//! Answers come late, twice and in any order. Each is one conditional write, and the newest revision's counts: an answer
//! to an older one is noted if nothing newer has been answered, and an acceptance is never taken back.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_dynamo::to_attribute_value;

use super::row::{key, read, read_day, read_key, read_refusal};
use super::{Item, OutboxMark, StoreError, Stored, TABLE, TransactionKey, Transactions};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, TenantScope};
use crate::store::item::{Attributes, as_kept, is_made, number, refused_with, text, time, unreadable};
use crate::store::{Page, configuration_key};
use crate::telemetry::TraceParent;

/// What an answer clears: nothing is waited for any more.
const CLEAR: &str = "outbox_shard, outbox_due_at, outbox_attempts, outbox_trace, overdue_key";
/// What an acceptance or a new attempt clears. `rejection_id` stays: a late repeat of the reply that had rejected it must
/// not end the new attempt.
const CLEAR_REJECTION: &str = "rejected_key, rejected_at, rejected_code, rejected_reason";

/// Instead of the id of a reply that has none.
const NAMELESS: &str = "-";

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It was for the current revision, and is noted.
    Current,
    /// It was noted before, or an acceptance had come before it.
    Repeat,
    /// A newer revision is waiting for its own.
    Superseded,
    /// We never sent such a revision.
    Unknown,
}

/// How far the sales domain and we have agreed about the latest revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SalesState {
    /// It has not answered yet.
    Waiting,
    /// It has not answered for so long that a person should look at it. It is still being sent.
    Overdue,
    /// It has it.
    Accepted,
    /// It cannot take it: see `rejection`.
    Rejected,
    /// It was sent, and nobody answers here.
    Sent,
}

/// That the sales domain has taken a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Which.
    pub revision: u64,
    /// When we heard it.
    pub at: Timestamp,
}

/// Why the sales domain has not taken a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Stable word, for programs.
    pub code: String,
    /// For people.
    pub reason: String,
    /// When we heard it.
    pub at: Timestamp,
}

/// The reply that rejects a revision.
#[derive(Debug, Clone, Copy)]
pub struct RejectedBy<'r> {
    /// Why.
    pub why: &'r Rejected,
    /// The reply's own id, if it has one: its repeats have the same.
    pub reply_id: Option<&'r str>,
}

/// A rejected transaction, as the index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedEntry {
    /// Which one.
    pub key: TransactionKey,
    /// The sales domain's word.
    pub code: String,
    /// Of which business day.
    pub business_date: jiff::civil::Date,
}

/// Where a listing of what was rejected goes on: after whom, and when that was rejected.
pub type RejectedPosition = (crate::domain::TransactionId, Timestamp);

impl OutboxMark {
    /// After so many attempts a person should look at the sales domain.
    pub const OVERDUE_AFTER: u32 = 5;

    /// Whether it was sent again so often that it is no longer only late.
    pub fn is_overdue(&self) -> bool {
        self.attempts >= Self::OVERDUE_AFTER
    }
}

impl Stored {
    /// How far the sales domain and we have agreed about it.
    pub fn sales_state(&self) -> SalesState {
        match (&self.outbox, &self.rejected) {
            (Some(mark), _) if mark.is_overdue() => SalesState::Overdue,
            (Some(_), _) => SalesState::Waiting,
            (None, Some(_)) => SalesState::Rejected,
            (None, None) if self.acknowledged_revision == Some(self.revision) => SalesState::Accepted,
            (None, None) => SalesState::Sent,
        }
    }
}

impl Transactions {
    /// The sales domain has this revision. If that is news, says since when it was waited for: when it was written.
    pub async fn accept(
        &self,
        at: &TransactionKey,
        revision: u64,
        record_id: &str,
    ) -> Result<(Answered, Option<Timestamp>), StoreError> {
        // When each revision was taken is kept: the record's id is one for all of them.
        let set = "SET acknowledged_revision = :revision, sales_record_id = :record, \
                   accepted = list_append(if_not_exists(accepted, :none), :accepted)";
        let accepted = Accepted { revision, at: as_kept(Timestamp::now()) };
        let accepted = to_attribute_value(accepted).map_err(|error| unreadable(TABLE, error))?;
        let accepted = AttributeValue::L(vec![accepted]);
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(at)))
            .update_expression(format!("{set} REMOVE {CLEAR}, {CLEAR_REJECTION}"))
            .condition_expression(format!("revision = :revision AND {NOT_ACCEPTED}"))
            .expression_attribute_values(":revision", number(revision))
            .expression_attribute_values(":record", text(record_id))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":accepted", accepted.clone())
            // Not paid for, and the only place where the time stands.
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let there = match refused_with(request.send().await, "accept a transaction")? {
            Ok(accepted) => {
                let before = accepted.attributes.as_ref().and_then(|item| read(item).ok());
                let written_at = before.and_then(|stored| stored.history.last().map(|written| written.at));
                return Ok((Answered::Current, written_at));
            }
            Err(there) => there,
        };
        let answered = judge(&there, revision)?;
        if answered == Answered::Superseded {
            // It shows how far the two have agreed, though the newer one is still waited for.
            let request = self
                .client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(key(at)))
                .update_expression(set)
                .condition_expression(format!("revision > :revision AND {NOT_ACCEPTED}"))
                .expression_attribute_values(":revision", number(revision))
                .expression_attribute_values(":record", text(record_id))
                .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
                .expression_attribute_values(":accepted", accepted);
            is_made(request.send().await, "accept an older revision")?;
        }
        Ok((answered, None))
    }

    /// The sales domain cannot take this revision: it is sent again when somebody asks for it, or when it changes.
    pub async fn reject(&self, at: &TransactionKey, revision: u64, by: RejectedBy<'_>) -> Result<Answered, StoreError> {
        let RejectedBy { why, reply_id } = by;
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(at)))
            .update_expression(format!(
                "SET rejected_key = :key, rejected_at = :at, rejected_code = :code, rejected_reason = :reason, \
                 rejection_id = :reply_id REMOVE {CLEAR}"
            ))
            .condition_expression(format!(
                "revision = :revision AND attribute_not_exists(rejected_key) AND {NOT_ACCEPTED} AND \
                 (attribute_not_exists(rejection_id) OR rejection_id = :nameless OR rejection_id <> :reply_id)"
            ))
            .expression_attribute_values(":revision", number(revision))
            .expression_attribute_values(":key", text(at.owner()))
            .expression_attribute_values(":at", time(why.at))
            .expression_attribute_values(":code", text(&why.code))
            .expression_attribute_values(":reason", text(&why.reason))
            .expression_attribute_values(":reply_id", text(reply_id.unwrap_or(NAMELESS)))
            .expression_attribute_values(":nameless", text(NAMELESS))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match refused_with(request.send().await, "reject a transaction")? {
            Ok(_) => Ok(Answered::Current),
            Err(there) => judge(&there, revision),
        }
    }

    /// Nobody will answer: what was sent is done.
    pub async fn settle_sent(&self, sent: &Stored) -> Result<(), StoreError> {
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(&sent.key)))
            .update_expression(format!("REMOVE {CLEAR}"))
            .condition_expression("revision = :revision AND attribute_exists(outbox_shard)")
            .expression_attribute_values(":revision", number(sent.revision));
        is_made(request.send().await, "settle a transaction").map(drop)
    }

    /// Lets a rejected transaction be sent again: the sweeper finds it due, and goes on with the trace. `false`: it is not
    /// rejected any more.
    pub async fn send_again(&self, at: &TransactionKey, trace: &TraceParent) -> Result<bool, StoreError> {
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(at)))
            .update_expression(format!(
                "SET outbox_shard = :shard, outbox_due_at = :now, outbox_trace = :trace REMOVE {CLEAR_REJECTION}"
            ))
            .condition_expression("attribute_exists(rejected_key)")
            .expression_attribute_values(":shard", text(at.shard()))
            .expression_attribute_values(":now", time(Timestamp::now()))
            .expression_attribute_values(":trace", text(trace));
        is_made(request.send().await, "send a transaction again")
    }

    /// What the sales domain has rejected of a configuration, the longest ago first, from after `start_after`.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::transactions::*};
    /// # async fn of(all: &Transactions, id: ConfigurationId) {
    /// let _ = all.list_rejected(id, 10, None).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::transactions::*};
    /// # async fn of(all: &Transactions, id: ConfigurationId, scope: TenantScope) {
    /// let _ = all.list_rejected(&scope, id, 10, None).await;
    /// # }
    /// ```
    pub async fn list_rejected(
        &self,
        scope: &TenantScope,
        configuration_id: ConfigurationId,
        limit: i32,
        start_after: Option<RejectedPosition>,
    ) -> Result<Page<RejectedEntry, RejectedPosition>, StoreError> {
        let configuration = configuration_key(scope, configuration_id);
        let start = start_after.map(|(transaction_id, at)| {
            let mut start = key(&TransactionKey { scope: scope.clone(), configuration_id, transaction_id });
            start.insert("rejected_key".into(), text(&configuration));
            start.insert("rejected_at".into(), time(at));
            start
        });
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("rejected")
            .key_condition_expression("rejected_key = :configuration")
            .expression_attribute_values(":configuration", text(&configuration))
            .set_exclusive_start_key(start)
            .limit(limit)
            .send()
            .await
            .map_err(|error| AwsError::new("list rejected transactions", error))?;
        let next = answer.last_evaluated_key().map(|item| {
            let item = Attributes { table: TABLE, item };
            Ok::<_, StoreError>((item.parsed("transaction_id")?, item.parsed("rejected_at")?))
        });
        Ok(Page { items: answer.items().iter().map(entry).collect::<Result<_, _>>()?, next: next.transpose()? })
    }
}

/// Nothing that is as new has been accepted.
const NOT_ACCEPTED: &str = "(attribute_not_exists(acknowledged_revision) OR acknowledged_revision < :revision)";

/// What a refused answer was.
fn judge(there: &Item, revision: u64) -> Result<Answered, StoreError> {
    Ok(match read_refusal(there)? {
        Some(stored) if stored.revision > revision => Answered::Superseded,
        Some(stored) if stored.revision == revision => Answered::Repeat,
        _ => Answered::Unknown,
    })
}

fn entry(item: &Item) -> Result<RejectedEntry, StoreError> {
    let (key, (business_date, _)) = (read_key(item)?, read_day(item)?);
    let code = Attributes { table: TABLE, item }.text("rejected_code")?.to_owned();
    Ok(RejectedEntry { key, code, business_date })
}
