//! Imports of mappings and work on the past: how far each is, and its parts.
//!
//! A job's row counts its writes, and each write is conditional on the count that was read: two workers that do the same
//! part advance the job once.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Attributes, Item, SyncLogs, TABLE, key, row};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, Import, JobId, PastDay, PastJob, TenantScope};
use crate::store::item::{is_made, number, text};
use crate::store::product_mappings::MappingChange;
use crate::store::{Page, StoreError, configuration_key};

/// A job as it was read: what is written instead of it must have seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<T> {
    /// How far it is.
    pub job: T,
    writes: u64,
}

impl SyncLogs {
    /// Keeps a part of an import. Parts come before the import itself.
    pub async fn put_import_part(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        (import, part): (JobId, u32),
        changes: &[MappingChange],
    ) -> Result<(), StoreError> {
        let item = row(key(scope, configuration, &part_entry(import, part)), "part", &changes)?;
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        request.send().await.map(drop).map_err(|error| AwsError::new("keep a part of an import", error).into())
    }

    /// A part of an import; empty if it is gone.
    pub async fn load_import_part(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        (import, part): (JobId, u32),
    ) -> Result<Vec<MappingChange>, StoreError> {
        let item = self.get(key(scope, configuration, &part_entry(import, part))).await?;
        Ok(item.map(|item| Attributes { table: TABLE, item: &item }.unpacked("part")).transpose()?.unwrap_or_default())
    }

    /// An import.
    pub async fn find_import(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        id: JobId,
    ) -> Result<Option<Seen<Import>>, StoreError> {
        self.find_job(key(scope, configuration, &import_entry(id))).await
    }

    /// Writes how far an import is. `false`: somebody has written it since `seen` was read, or before a new one.
    pub async fn save_import(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        import: &Import,
        seen: Option<&Seen<Import>>,
    ) -> Result<bool, StoreError> {
        let writes = seen.map(|seen| seen.writes);
        self.save_job(key(scope, configuration, &import_entry(import.id)), import, writes).await
    }

    /// Work on the past of one kind.
    pub async fn find_past_job<D: PastDay>(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        id: JobId,
    ) -> Result<Option<Seen<PastJob>>, StoreError> {
        self.find_job(key(scope, configuration, &past_entry::<D>(id))).await
    }

    /// Writes how far it is. `false`: somebody has written it since `seen` was read, or before a new one.
    pub async fn save_past_job<D: PastDay>(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        job: &PastJob,
        seen: Option<&Seen<PastJob>>,
    ) -> Result<bool, StoreError> {
        let writes = seen.map(|seen| seen.writes);
        self.save_job(key(scope, configuration, &past_entry::<D>(job.id)), job, writes).await
    }

    /// Writes what would change on a day. What was shown once stays until it is done: only the outcome is added.
    pub async fn put_past_day<D: PastDay>(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        job: JobId,
        day: &D,
    ) -> Result<(), StoreError> {
        let item = row(key(scope, configuration, &day_entry::<D>(job, &day.place())), "day", day)?;
        let mut request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        if day.outcome().is_none() {
            request = request.condition_expression("attribute_not_exists(entry)");
        }
        is_made(request.send().await, "write a past day").map(drop)
    }

    /// What would change on a day, if it was written. `place`: as [`PastDay::place`] says.
    pub async fn find_past_day<D: PastDay>(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        job: JobId,
        place: &str,
    ) -> Result<Option<D>, StoreError> {
        let item = self.get(key(scope, configuration, &day_entry::<D>(job, place))).await?;
        item.map(|item| Attributes { table: TABLE, item: &item }.unpacked("day")).transpose()
    }

    /// The days of a job, the first day first, from after the place `start_after`.
    pub async fn list_past_days<D: PastDay>(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        job: JobId,
        limit: i32,
        start_after: Option<String>,
    ) -> Result<Page<D, String>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("configuration_key = :configuration AND begins_with(entry, :days)")
            .expression_attribute_values(":configuration", text(configuration_key(scope, configuration)))
            .expression_attribute_values(":days", text(day_entry::<D>(job, "")))
            .set_exclusive_start_key(start_after.map(|place| key(scope, configuration, &day_entry::<D>(job, &place))))
            .limit(limit)
            .send()
            .await
            .map_err(|error| AwsError::new("list past days", error))?;
        let days = answer.items().iter().map(|item| Attributes { table: TABLE, item }.unpacked("day"));
        let days: Vec<D> = days.collect::<Result<_, _>>()?;
        let next = answer.last_evaluated_key().and_then(|_| days.last()).map(PastDay::place);
        Ok(Page { items: days, next })
    }

    async fn find_job<T: DeserializeOwned>(&self, key: Item) -> Result<Option<Seen<T>>, StoreError> {
        let Some(item) = self.get(key).await? else { return Ok(None) };
        let item = Attributes { table: TABLE, item: &item };
        Ok(Some(Seen { job: item.unpacked("job")?, writes: item.number("writes")? }))
    }

    async fn save_job(&self, key: Item, job: &impl Serialize, seen: Option<u64>) -> Result<bool, StoreError> {
        let mut item = row(key, "job", job)?;
        item.insert("writes".into(), number(seen.unwrap_or(0) + 1));
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let request = match seen {
            Some(writes) => request
                .condition_expression("writes = :seen")
                .expression_attribute_values(":seen", AttributeValue::N(writes.to_string())),
            None => request.condition_expression("attribute_not_exists(entry)"),
        };
        is_made(request.send().await, "write a job")
    }
}

fn import_entry(import: JobId) -> String {
    format!("import#{import}")
}

fn part_entry(import: JobId, part: u32) -> String {
    format!("imported#{import}#{part:06}")
}

pub(super) fn past_entry<D: PastDay>(job: JobId) -> String {
    let [word, _] = D::WORDS;
    format!("{word}#{job}")
}

fn day_entry<D: PastDay>(job: JobId, place: &str) -> String {
    let [_, word] = D::WORDS;
    format!("{word}#{job}#{place}")
}
