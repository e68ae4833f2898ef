//! Attributes in and out of items.

use std::collections::HashMap;
use std::time::Instant;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, WriteRequest};
use jiff::fmt::temporal::DateTimePrinter;
use jiff::{Timestamp, Unit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Purged, StoreError};
use crate::aws::AwsError;

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
    let at = at.round(Unit::Millisecond).unwrap_or(at);
    AttributeValue::S(PRINTER.timestamp_to_string(&at))
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

/// Whether an update was made: `false` if its condition was refused.
pub(super) fn is_made(
    result: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
    operation: &'static str,
) -> Result<bool, StoreError> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(false),
        Err(error) => Err(AwsError::new(operation, error).into()),
    }
}

/// Whether an item was put: `false` if its condition was refused.
pub(super) fn is_put(
    result: Result<PutItemOutput, SdkError<PutItemError>>,
    operation: &'static str,
) -> Result<bool, StoreError> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(false),
        Err(error) => Err(AwsError::new(operation, error).into()),
    }
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
