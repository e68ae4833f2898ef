//! A day as an item of its table, and back.

use super::{DUE_SHARDS, Day, DayKey, Due, Said, TABLE, clock};
use crate::domain::{ConfigurationId, TenantScope};
use crate::store::item::{Attributes, Item, due_shard, number, pack, text, time};
use crate::store::{StoreError, configuration_key, parse_configuration_key};

const FORMAT: u8 = 1;

pub(super) fn day_entry(day: &DayKey) -> String {
    format!("day#{}#{}", day.date, day.location_id)
}

/// Twenty digits: as many as a revision can have, so that they sort by their numbers.
pub(super) fn revision_entry(day: &DayKey, revision: u64) -> String {
    format!("revision#{}#{}#{revision:020}", day.date, day.location_id)
}

pub(super) fn moved_entry(day: &DayKey, transaction: &str) -> String {
    format!("moved#{}#{}#{transaction}", day.date, day.location_id)
}

pub(super) fn key(day: &DayKey, entry: String) -> Item {
    entry_key(&day.scope, day.configuration_id, entry)
}

pub(super) fn entry_key(scope: &TenantScope, configuration: ConfigurationId, entry: String) -> Item {
    Item::from([
        ("configuration_key".into(), text(configuration_key(scope, configuration))),
        ("entry".into(), text(entry)),
    ])
}

/// The partition of an entry, and the parts of its name.
pub(super) fn parts<'i>(item: &'i Attributes<'i>) -> Result<(TenantScope, ConfigurationId, Vec<&'i str>), StoreError> {
    let owner = parse_configuration_key(item.text("configuration_key")?);
    let (scope, configuration) = owner.ok_or_else(|| item.unreadable("configuration_key"))?;
    Ok((scope, configuration, item.text("entry")?.split('#').collect()))
}

fn day_key(item: &Attributes<'_>) -> Result<DayKey, StoreError> {
    let (scope, configuration_id, parts) = parts(item)?;
    let [_, date, location, ..] = parts.as_slice() else { return Err(item.unreadable("entry")) };
    let named = date.parse().ok().zip(location.parse().ok());
    let (date, location_id) = named.ok_or_else(|| item.unreadable("entry"))?;
    Ok(DayKey { scope, configuration_id, location_id, date })
}

pub(super) fn to_item(day: &Day) -> Result<Item, StoreError> {
    let mut item = key(&day.key, day_entry(&day.key));
    item.insert("format".into(), number(FORMAT));
    item.insert("revision".into(), number(day.revision));
    item.insert("attempts".into(), number(day.attempts));
    if let Some(said) = &day.said {
        item.insert("said".into(), pack(said)?);
    }
    if let Some(at) = day.changed_at {
        item.insert("changed_at".into(), time(at));
    }
    if day.is_unsent {
        item.insert("is_unsent".into(), text("yes"));
    }
    if let Some(at) = day.due_at {
        item.insert("due_shard".into(), due_shard(day.key.configuration_id, DUE_SHARDS));
        item.insert("due_at".into(), time(at));
    }
    Ok(item)
}

pub(super) fn read(item: &Item) -> Result<Day, StoreError> {
    let item = Attributes { table: TABLE, item };
    let key = day_key(&item)?;
    // What was asked for and not looked at yet has none.
    if item.optional_number::<u8>("format")?.is_some_and(|format| format != FORMAT) {
        return Err(item.unreadable("format"));
    }
    Ok(Day {
        key,
        revision: item.number("revision")?,
        said: item.item.contains_key("said").then(|| item.unpacked("said")).transpose()?,
        attempts: item.optional_number("attempts")?.unwrap_or_default(),
        changed_at: item.optional_parsed("changed_at")?,
        is_unsent: item.item.contains_key("is_unsent"),
        due_at: item.optional_parsed("due_at")?,
    })
}

pub(super) fn to_revision(day: &DayKey, revision: u64, said: &Said) -> Result<Item, StoreError> {
    let mut item = key(day, revision_entry(day, revision));
    item.insert("format".into(), number(FORMAT));
    item.insert("revision".into(), number(revision));
    item.insert("said".into(), pack(said)?);
    Ok(item)
}

pub(super) fn read_revision(item: &Item) -> Result<(u64, Said), StoreError> {
    let item = Attributes { table: TABLE, item };
    Ok((item.number("revision")?, item.unpacked("said")?))
}

pub(super) fn read_due(item: &Item) -> Result<Due, StoreError> {
    let attributes = Attributes { table: TABLE, item };
    if attributes.text("entry")?.starts_with("clock#") {
        return clock::read(item).map(Due::Clock);
    }
    Ok(Due::Day(day_key(&attributes)?, attributes.parsed("due_at")?))
}
