//! Attributes in and out of items.

use std::collections::HashMap;
use std::time::Instant;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, KeysAndAttributes, WriteRequest};
use jiff::fmt::temporal::DateTimePrinter;
use jiff::{Timestamp, Unit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Purged, StoreError, jitter};
use crate::aws::AwsError;
use crate::domain::ConfigurationId;

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn bytes(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

/// A time as text that sorts like time: always milliseconds, always UTC.
pub(super) fn time(at: Timestamp) -> AttributeValue {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    AttributeValue::S(PRINTER.timestamp_to_string(&as_kept(at)))
}

/// A time as it comes back.
pub(super) fn as_kept(at: Timestamp) -> Timestamp {
    at.round(Unit::Millisecond).unwrap_or(at)
}

/// Which of `shards` partitions an id belongs to, sixteen at most. The last digits of our ids are random, or those of a hash.
pub(super) fn shard_of(id: impl ToString, shards: u8) -> u8 {
    let digit = id.to_string().chars().last().and_then(|digit| digit.to_digit(16)).unwrap_or_default();
    u8::try_from(digit).unwrap_or_default() % shards
}

/// In which of `shards` partitions an index of what is due has this configuration.
pub(super) fn due_shard(configuration: ConfigurationId, shards: u8) -> AttributeValue {
    text(shard_of(configuration, shards))
}

/// Compressed JSON: line items repeat themselves, and a write is paid by the kilobyte.
pub(super) fn pack(value: &impl Serialize) -> Result<AttributeValue, StoreError> {
    let json = serde_json::to_vec(value).map_err(|error| unreadable("a body", error))?;
    zstd::bulk::compress(&json, 3).map(bytes).map_err(|error| unreadable("a body", error))
}

/// DynamoDB's own limit for one batch of writes.
const DELETES: i32 = 25;

/// The largest body that [`pack`] can have made of a message.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Reads the attributes of one table's item.
pub(super) struct Attributes<'a> {
    pub table: &'static str,
    pub item: &'a Item,
}

impl Attributes<'_> {
    pub fn text(&self, name: &str) -> Result<&str, StoreError> {
        self.optional_text(name).ok_or_else(|| self.unreadable(name))
    }

    pub fn optional_text(&self, name: &str) -> Option<&str> {
        self.item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
    }

    pub fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.text(name)?.parse().map_err(|_| self.unreadable(name))
    }

    pub fn optional_parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let text = self.optional_text(name);
        text.map(|text| text.parse().map_err(|_| self.unreadable(name))).transpose()
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.optional_number(name)?.ok_or_else(|| self.unreadable(name))
    }

    pub fn optional_number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let Some(value) = self.item.get(name) else { return Ok(None) };
        let number = value.as_n().ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| self.unreadable(name))
    }

    pub fn bytes(&self, name: &str) -> Result<&[u8], StoreError> {
        let value = self.item.get(name).and_then(|value| value.as_b().ok());
        value.map(AsRef::as_ref).ok_or_else(|| self.unreadable(name))
    }

    pub fn unpacked<T: DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        let json = zstd::bulk::decompress(self.bytes(name)?, MAX_BODY).map_err(|_| self.unreadable(name))?;
        serde_json::from_slice(&json).map_err(|error| unreadable(self.table, error))
    }

    pub fn unreadable(&self, name: &str) -> StoreError {
        StoreError::Unreadable { table: self.table, why: format!("attribute `{name}`") }
    }
}

pub(super) fn unreadable(table: &'static str, error: impl ToString) -> StoreError {
    StoreError::Unreadable { table, why: error.to_string() }
}

/// Why a write with a condition was not made.
pub(super) trait Conditional: std::error::Error + Send + Sync + 'static {
    /// What stands there, if the condition was refused. Empty: nothing does, or the write has not asked for it.
    fn refusal(&self) -> Option<Item>;
}

impl Conditional for UpdateItemError {
    fn refusal(&self) -> Option<Item> {
        let Self::ConditionalCheckFailedException(refused) = self else { return None };
        Some(refused.item.clone().unwrap_or_default())
    }
}

impl Conditional for PutItemError {
    fn refusal(&self) -> Option<Item> {
        let Self::ConditionalCheckFailedException(refused) = self else { return None };
        Some(refused.item.clone().unwrap_or_default())
    }
}

impl Conditional for DeleteItemError {
    fn refusal(&self) -> Option<Item> {
        let Self::ConditionalCheckFailedException(refused) = self else { return None };
        Some(refused.item.clone().unwrap_or_default())
    }
}

/// Tells a refused condition, and what stands there instead, from a failure.
pub(super) fn refused_with<T, E: Conditional>(
    result: Result<T, SdkError<E>>,
    operation: &'static str,
) -> Result<Result<T, Item>, StoreError> {
    let error = match result {
        Ok(answer) => return Ok(Ok(answer)),
        Err(error) => error,
    };
    match error.as_service_error().and_then(Conditional::refusal) {
        Some(there) => Ok(Err(there)),
        None => Err(AwsError::new(operation, error).into()),
    }
}

/// Whether a write was made: `false` if its condition was refused.
pub(super) fn is_made<T, E: Conditional>(
    result: Result<T, SdkError<E>>,
    operation: &'static str,
) -> Result<bool, StoreError> {
    Ok(refused_with(result, operation)?.is_ok())
}

/// DynamoDB's own limit for one read of many items.
const READS: usize = 100;

/// The items of these keys, none of them twice, in any order; those that are gone are left out. A read for each hundred.
pub(super) async fn batch_get(
    client: &Client,
    table: &str,
    mut left: Vec<Item>,
    is_consistent: bool,
    operation: &'static str,
) -> Result<Vec<Item>, StoreError> {
    let (mut found, mut attempt) = (Vec::with_capacity(left.len()), 0);
    while !left.is_empty() {
        let keys: Vec<Item> = left.drain(..left.len().min(READS)).collect();
        if attempt > 0 {
            tokio::time::sleep(jitter(attempt)).await;
        }
        let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(is_consistent).build();
        let wanted = wanted.map_err(|error| AwsError::new(operation, error))?;
        let answer = client.batch_get_item().request_items(table, wanted).send().await;
        let answer = answer.map_err(|error| AwsError::new(operation, error))?;
        found.extend(answer.responses.and_then(|mut tables| tables.remove(table)).unwrap_or_default());
        // DynamoDB hands back what it had no time for.
        let rest = answer.unprocessed_keys.and_then(|mut tables| tables.remove(table));
        let rest = rest.map(|rest| rest.keys).unwrap_or_default();
        attempt = if rest.is_empty() { 0 } else { attempt + 1 };
        left.extend(rest);
    }
    Ok(found)
}

/// Removes every item of a partition, or as many as there is time for.
pub(super) async fn purge(
    client: &Client,
    table: &str,
    (partition, value): (&str, AttributeValue),
    sort: &str,
    deadline: Instant,
) -> Result<Purged, StoreError> {
    const OPERATION: &str = "purge a table";
    let mut removed = 0;
    let failed = |error| StoreError::from(AwsError::new(OPERATION, error));
    while Instant::now() < deadline {
        let answer = client
            .query()
            .table_name(table)
            .key_condition_expression("#partition = :partition")
            .projection_expression("#partition, #sort")
            .expression_attribute_names("#partition", partition)
            .expression_attribute_names("#sort", sort)
            .expression_attribute_values(":partition", value.clone())
            .consistent_read(true)
            .limit(DELETES)
            .send()
            .await
            .map_err(|error| AwsError::new(OPERATION, error))?;
        let mut requests = Vec::new();
        for item in answer.items() {
            let delete = DeleteRequest::builder().set_key(Some(item.clone())).build().map_err(failed)?;
            requests.push(WriteRequest::builder().delete_request(delete).build());
        }
        if requests.is_empty() {
            return Ok(Purged { removed, is_done: true });
        }
        let wanted = requests.len();
        let answer = client.batch_write_item().request_items(table, requests).send().await;
        let answer = answer.map_err(|error| AwsError::new(OPERATION, error))?;
        // What was throttled is found again by the next query.
        let left = answer.unprocessed_items.unwrap_or_default().values().map(Vec::len).sum();
        removed += u64::try_from(wanted.saturating_sub(left)).unwrap_or(u64::MAX);
    }
    Ok(Purged { removed, is_done: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sort_as_text() {
        for (at, shown) in [
            ("2026-02-14T08:00:00Z", "2026-02-14T08:00:00.000Z"),
            ("2026-02-14T08:00:00.1204Z", "2026-02-14T08:00:00.120Z"),
        ] {
            assert_eq!(time(at.parse().unwrap()), AttributeValue::S(shown.into()));
        }
    }
}
