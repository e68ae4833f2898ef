//! The raw log: tenant#configuration / date#location#cause#hash; keys / name.
//!
//! What a provider had of the orders that made news, a shop's day and a message in each item, written before the
//! transactions that come of it. The hash of what is inside ends the key: a repeat writes the same item, and a message
//! that comes again with less to tell writes another one beside the first. What is inside is sealed; here it is bytes. Many
//! items are sealed under one data key, which lies wrapped in an item of its own: in each of them it would be a tenth of it.

use std::time::Instant;

use aws_sdk_dynamodb::Client;
use jiff::{SignedDuration, Timestamp};

use super::item::{Attributes, Item, bytes, number, purge, text};
use super::{Page, Purged, StoreError, configuration_key};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, EventId, ShopDay, TenantScope};

const TABLE: &str = "raw-log";
/// Where data keys lie: a configuration's partition has a `#` in its name.
const KEYS: &str = "keys";
/// A data key is used for an hour, or for as long as KMS is away, and DynamoDB removes what has expired within days: it is kept
/// longer than what is sealed under it.
const LONGEST_USE: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The largest body that fits: an item has at most 400 KB, names, keys and all.
pub const MAX_SEALED: usize = 380 * 1000;

/// The table.
#[derive(Clone)]
pub struct RawLog {
    client: Client,
    table: String,
    retention: SignedDuration,
}

/// Where an item lies, as its seal names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPlace {
    partition: String,
    entry: String,
}

impl RawPlace {
    /// Of what a message has brought to a shop's day. `hash`: of what is inside.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::raw_log::*};
    /// # fn of(id: ConfigurationId, day: &ShopDay, cause: &EventId) {
    /// let _ = RawPlace::new(id, day, cause, "hash"); // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::raw_log::*};
    /// # fn of(id: ConfigurationId, day: &ShopDay, cause: &EventId, scope: &TenantScope) {
    /// let _ = RawPlace::new(scope, id, day, cause, "hash");
    /// # }
    /// ```
    pub fn new(
        scope: &TenantScope,
        configuration: ConfigurationId,
        day: &ShopDay,
        cause: &EventId,
        hash: &str,
    ) -> Self {
        Self { partition: configuration_key(scope, configuration), entry: format!("{}{cause}#{hash}", prefix(day)) }
    }

    /// What the seal is tied to.
    pub fn parts(&self) -> [&str; 2] {
        [&self.partition, &self.entry]
    }
}

/// Orders under seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedOrders {
    /// How they are packed: the version of their provider's dictionary.
    pub format: u8,
    /// Packed and sealed.
    pub sealed: Vec<u8>,
}

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct RawPosition(Item);

impl RawLog {
    /// `table`: its name. `retention_days`: how long an item is kept.
    pub fn new(client: Client, table: String, retention_days: u32) -> Self {
        Self { client, table, retention: SignedDuration::from_hours(24 * i64::from(retention_days)) }
    }

    /// Keeps orders. What lies there already is the same.
    pub async fn put(&self, place: &RawPlace, orders: &SealedOrders) -> Result<(), StoreError> {
        let item = Item::from([
            ("configuration_key".into(), text(&place.partition)),
            ("entry".into(), text(&place.entry)),
            ("format".into(), number(orders.format)),
            ("body".into(), bytes(orders.sealed.clone())),
            ("expires_at".into(), number((Timestamp::now() + self.retention).as_second())),
        ]);
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        request.send().await.map(drop).map_err(|error| AwsError::new("keep raw orders", error).into())
    }

    /// Keeps a wrapped data key, before the first orders that are sealed under it.
    pub async fn put_key(&self, name: &str, wrapped: &[u8]) -> Result<(), StoreError> {
        let item = Item::from([
            ("configuration_key".into(), text(KEYS)),
            ("entry".into(), text(name)),
            ("body".into(), bytes(wrapped)),
            ("expires_at".into(), number((Timestamp::now() + self.retention + LONGEST_USE).as_second())),
        ]);
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        request.send().await.map(drop).map_err(|error| AwsError::new("keep a data key", error).into())
    }

    /// A wrapped data key; `None`: there is none of this name.
    pub async fn find_key(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).consistent_read(true);
        let request = request.key("configuration_key", text(KEYS)).key("entry", text(name));
        let answer = request.send().await.map_err(|error| AwsError::new("find a data key", error))?;
        let wrapped = |item: Item| Ok(Attributes { table: TABLE, item: &item }.bytes("body")?.to_vec());
        answer.item.map(wrapped).transpose()
    }

    /// What is kept of a shop's day, as much as DynamoDB reads at once, from after `start_after`.
    pub async fn list(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        day: &ShopDay,
        start_after: Option<RawPosition>,
    ) -> Result<Page<(RawPlace, SealedOrders), RawPosition>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("configuration_key = :configuration AND begins_with(entry, :day)")
            .expression_attribute_values(":configuration", text(configuration_key(scope, configuration)))
            .expression_attribute_values(":day", text(prefix(day)))
            .set_exclusive_start_key(start_after.map(|RawPosition(key)| key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| AwsError::new("list raw orders", error))?;
        let items = answer.items().iter().map(read).collect::<Result<_, _>>()?;
        Ok(Page { items, next: answer.last_evaluated_key.map(RawPosition) })
    }

    /// Removes everything of a configuration, or as much as there is time for.
    pub async fn purge(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        deadline: Instant,
    ) -> Result<Purged, StoreError> {
        let partition = ("configuration_key", text(configuration_key(scope, configuration)));
        purge(&self.client, &self.table, partition, "entry", deadline).await
    }
}

fn prefix(day: &ShopDay) -> String {
    format!("{}#{}#", day.business_date, day.location_id)
}

fn read(item: &Item) -> Result<(RawPlace, SealedOrders), StoreError> {
    let item = Attributes { table: TABLE, item };
    let place =
        RawPlace { partition: item.text("configuration_key")?.to_owned(), entry: item.text("entry")?.to_owned() };
    Ok((place, SealedOrders { format: item.number("format")?, sealed: item.bytes("body")?.to_vec() }))
}
