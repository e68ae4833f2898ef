//! A transaction as an item of its table, and back.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use serde_dynamo::{from_attribute_value, to_attribute_value};

use super::{OUTBOX_SHARDS, OutboxMark, Rejected, Revision, Stored, TABLE, TransactionKey};
use crate::domain::{ConfigurationId, ExternalOrderId, LocationId, SourceVersion, TenantScope, Transaction};
use crate::store::item::{Attributes, Item, bytes, number, pack, shard_of, text, time, unreadable};
use crate::store::{StoreError, configuration_key, parse_configuration_key};

const FORMAT: u8 = 1;
/// Of so many revisions it is kept when the sales domain has taken them.
const MOST_ACCEPTED: usize = 50;

#[derive(Serialize, Deserialize)]
struct Body {
    transaction: Transaction,
    history: Vec<Revision>,
    /// What earlier revisions said, by their numbers. They repeat each other, so packed they are small.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    contents: BTreeMap<u64, Box<Transaction>>,
}

impl TransactionKey {
    /// The partition of its configuration.
    pub(super) fn owner(&self) -> String {
        configuration_key(&self.scope, self.configuration_id)
    }

    /// Its partition of the index of what is not acknowledged.
    pub(super) fn shard(&self) -> u8 {
        shard_of(self.transaction_id, OUTBOX_SHARDS)
    }
}

pub(super) fn order_key(scope: &TenantScope, configuration_id: ConfigurationId, order: &ExternalOrderId) -> String {
    format!("{}#{order}", configuration_key(scope, configuration_id))
}

/// Sorts by day, shop and time, since a transaction's id begins with its time. So a day and a shop's day are key ranges.
fn day_key(transaction: &Transaction) -> String {
    let Transaction { business_date, location_id, id, .. } = transaction;
    format!("{}{id}", day_prefix(*business_date, Some(location_id)))
}

/// What the keys of a day, or of a shop's, begin with.
pub(super) fn day_prefix(date: Date, shop: Option<&LocationId>) -> String {
    match shop {
        Some(shop) => format!("{date}#{shop}#"),
        None => format!("{date}#"),
    }
}

/// The day and the shop of an item, as every index has them. No shop's id holds a `#`.
pub(super) fn read_day(item: &Item) -> Result<(Date, LocationId), StoreError> {
    let item = Attributes { table: TABLE, item };
    let mut parts = item.text("day_key")?.split('#');
    let date = parts.next().and_then(|date| date.parse().ok());
    let location = parts.next().and_then(|id| id.parse().ok());
    date.zip(location).ok_or_else(|| item.unreadable("day_key"))
}

pub(super) fn key(at: &TransactionKey) -> Item {
    Item::from([("configuration_key".into(), text(at.owner())), ("transaction_id".into(), text(at.transaction_id))])
}

pub(super) fn to_item(stored: &Stored, due_at: Timestamp) -> Result<Item, StoreError> {
    let Stored { key: at, transaction, .. } = stored;
    let mut item = key(at);
    let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
    set("format", number(FORMAT));
    set("day_key", text(day_key(transaction)));
    set("order_key", text(order_key(&at.scope, at.configuration_id, &transaction.external_order_id)));
    set("source_version", number(stored.source_version.0));
    if let Some(at) = stored.observed_at {
        set("observed_at", time(at));
    }
    set("revision", number(stored.revision));
    set("content_hash", bytes(stored.content_hash.clone()));
    set("outbox_shard", text(at.shard()));
    set("outbox_due_at", time(due_at));
    let history = stored.history.clone();
    let contents = history.iter().filter_map(|it| Some((it.revision, it.content.clone()?))).collect();
    let transaction = Transaction { source_version: stored.copy_version, ..transaction.clone() };
    set("body", pack(&Body { transaction, history, contents })?);
    if let Some(revision) = stored.acknowledged_revision {
        set("acknowledged_revision", number(revision));
    }
    if let Some(id) = &stored.sales_record_id {
        set("sales_record_id", text(id));
    }
    if !stored.accepted.is_empty() {
        let oldest = stored.accepted.len().saturating_sub(MOST_ACCEPTED);
        let kept = stored.accepted.iter().skip(oldest).map(to_attribute_value);
        let kept = kept.collect::<Result<_, _>>().map_err(|error| unreadable(TABLE, error))?;
        set("accepted", AttributeValue::L(kept));
    }
    if !stored.transaction.discrepancies.is_empty() {
        set("flagged_key", text(at.owner()));
    }
    Ok(item)
}

pub(super) fn read_key(item: &Item) -> Result<TransactionKey, StoreError> {
    let item = Attributes { table: TABLE, item };
    let owner = parse_configuration_key(item.text("configuration_key")?);
    let (scope, configuration_id) = owner.ok_or_else(|| item.unreadable("configuration_key"))?;
    Ok(TransactionKey { scope, configuration_id, transaction_id: item.parsed("transaction_id")? })
}

/// What stands where a write was refused, if anything does.
pub(super) fn read_refusal(there: &Item) -> Result<Option<Stored>, StoreError> {
    if there.is_empty() { Ok(None) } else { read(there).map(Some) }
}

pub(super) fn read(item: &Item) -> Result<Stored, StoreError> {
    let key = read_key(item)?;
    let item = Attributes { table: TABLE, item };
    if item.number::<u8>("format")? != FORMAT {
        return Err(item.unreadable("format"));
    }
    let Body { mut transaction, mut history, mut contents } = item.unpacked("body")?;
    for revision in &mut history {
        revision.content = contents.remove(&revision.revision);
    }
    let copy_version = transaction.source_version;
    // A touched item is newer than the copy it was written from.
    transaction.source_version = SourceVersion(item.number("source_version")?);
    Ok(Stored {
        key,
        revision: item.number("revision")?,
        observed_at: item.optional_parsed("observed_at")?,
        history,
        outbox: match item.optional_text("outbox_shard") {
            Some(_) => Some(OutboxMark { attempts: item.optional_number("outbox_attempts")?.unwrap_or(0) }),
            None => None,
        },
        resend_trace: item.optional_parsed("outbox_trace")?,
        acknowledged_revision: item.optional_number("acknowledged_revision")?,
        sales_record_id: item.optional_text("sales_record_id").map(str::to_owned),
        accepted: match item.item.get("accepted").cloned() {
            Some(accepted) => from_attribute_value(accepted).map_err(|error| unreadable(TABLE, error))?,
            None => Vec::new(),
        },
        rejected: match item.optional_parsed("rejected_at")? {
            Some(at) => {
                let word = |name| item.text(name).map(str::to_owned);
                Some(Rejected { code: word("rejected_code")?, reason: word("rejected_reason")?, at })
            }
            None => None,
        },
        source_version: transaction.source_version,
        copy_version,
        content_hash: item.bytes("content_hash")?.to_vec(),
        transaction,
    })
}
