//! When a shop's day is over.

use jiff::Timestamp;
use jiff::civil::Date;

use super::row::{entry_key, parts};
use super::{Attributes, DUE_SHARDS, Days, Item, TABLE};
use crate::domain::{ConfigurationId, LocationId, TenantScope};
use crate::store::StoreError;
use crate::store::item::{due_shard, is_made, text, time};

/// Which day of a shop is closed next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// Whose.
    pub scope: TenantScope,
    /// Through which connection.
    pub configuration_id: ConfigurationId,
    /// Which shop.
    pub location_id: LocationId,
    /// The day that is closed next.
    pub date: Date,
    /// When that is.
    pub due_at: Timestamp,
}

impl Days {
    /// The clocks of a configuration.
    pub async fn list_clocks(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
    ) -> Result<Vec<Clock>, StoreError> {
        let range = ("clock#".to_owned(), "clock#~".to_owned());
        self.entries(scope, configuration, range).await?.iter().map(read).collect()
    }

    /// Winds up a clock, if the shop has none.
    pub async fn wind_up(&self, clock: &Clock) -> Result<bool, StoreError> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(to_item(clock)));
        let put = put.condition_expression("attribute_not_exists(entry)");
        is_made(put.send().await, "wind up a shop's clock")
    }

    /// Moves a clock on to another day, if it stands where it was seen.
    pub async fn move_on(&self, seen: &Clock, next: &Clock) -> Result<bool, StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(next)))
            .condition_expression("due_at = :seen")
            .expression_attribute_values(":seen", time(seen.due_at));
        is_made(put.send().await, "move a shop's clock on")
    }

    /// Takes a clock away, if it stands where it was seen.
    pub async fn take_away(&self, seen: &Clock) -> Result<(), StoreError> {
        let request = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(seen)))
            .condition_expression("due_at = :seen")
            .expression_attribute_values(":seen", time(seen.due_at));
        is_made(request.send().await, "take a shop's clock away").map(drop)
    }
}

fn key(clock: &Clock) -> Item {
    entry_key(&clock.scope, clock.configuration_id, format!("clock#{}", clock.location_id))
}

fn to_item(clock: &Clock) -> Item {
    let mut item = key(clock);
    item.insert("date".into(), text(clock.date));
    item.insert("due_shard".into(), due_shard(clock.configuration_id, DUE_SHARDS));
    item.insert("due_at".into(), time(clock.due_at));
    item
}

pub(super) fn read(item: &Item) -> Result<Clock, StoreError> {
    let item = Attributes { table: TABLE, item };
    let (scope, configuration_id, parts) = parts(&item)?;
    let location = parts.get(1).and_then(|location| location.parse().ok());
    Ok(Clock {
        scope,
        configuration_id,
        location_id: location.ok_or_else(|| item.unreadable("entry"))?,
        date: item.parsed("date")?,
        due_at: item.parsed("due_at")?,
    })
}
