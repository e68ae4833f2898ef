//! The sync-logs table: tenant#configuration / entry.
//!
//! - `lane#{kind}`: what is under way, its fencing lease, and when somebody must look at it. One run in each lane.
//! - `run#{run}`: a run that has ended, and how.
//! - `page#{run}#{number}`: what became of a page's orders. Written once, by whoever has worked on it first.
//! - `import#{job}`, `imported#{job}#{part}`: mappings that were sent together, and the parts of them.
//! - `remapping#{job}`, `remapped#{job}#{date}`: what a mapping changes of the past, and day by day.
//! - `rebuild#{job}`, `rebuilt#{job}#{date}#{location}`: what this release makes of the raw log, by shop and day.
//! - `replay#{replay}`, `replayed#{replay}#{event}`: deliveries that are worked on once more, and what became of each.
//! - `answer#{key}`: where the answer to a repeatable request is kept, as long as it is.
//!
//! The watermarks stand in the incremental lane, so that the fence that guards the run guards them in the same write.

mod asked;
mod jobs;
mod lane;
mod origins;
mod replays;

use std::time::Instant;

use aws_sdk_dynamodb::Client;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::item::{Attributes, Item, is_made, number, pack, purge, text};
use super::webhook_logs::Caused;
use super::{Page, Purged, StoreError, configuration_key};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, FailedOrder, Run, RunId, SyncCounts, SyncKind, TenantScope, Unannounced};

pub use jobs::Seen;
pub use lane::{Checkpoint, Held, Lane, Watermarks};
pub use origins::Origins;

const TABLE: &str = "sync-logs";
const FORMAT: u8 = 1;
/// The index of what is due spreads over so many partitions.
const DUE_SHARDS: u8 = 8;
/// How long runs and their pages can be looked at.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24 * 90);

/// The table.
#[derive(Clone)]
pub struct SyncLogs {
    client: Client,
    table: String,
}

/// What became of a page's orders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRow {
    /// Counts.
    pub counts: SyncCounts,
    /// Some of those that could not be taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_orders: Vec<FailedOrder>,
    /// The revisions that are its work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caused: Vec<Caused>,
    /// Sales that a delivery should have told of.
    #[serde(default)]
    pub unannounced: Unannounced,
}

impl SyncLogs {
    /// `table`: its name.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Writes what became of a page. `false`: somebody has done so before, and that counts.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::sync_logs::*};
    /// # async fn of(logs: &SyncLogs, id: ConfigurationId, run: RunId, row: PageRow) {
    /// let _ = logs.record_page(id, run, 1, &row).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::sync_logs::*};
    /// # async fn of(logs: &SyncLogs, id: ConfigurationId, run: RunId, row: PageRow, scope: TenantScope) {
    /// let _ = logs.record_page(&scope, id, run, 1, &row).await;
    /// # }
    /// ```
    pub async fn record_page(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        run: RunId,
        page: u32,
        row: &PageRow,
    ) -> Result<bool, StoreError> {
        let item = self::row(key(scope, configuration, &page_entry(run, page)), "page", row)?;
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(entry)")
            .send()
            .await;
        is_made(result, "write a page's row")
    }

    /// The rows of a run's pages after the page `after`, in order, as long as none is missing; at most `limit`.
    pub async fn list_pages(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        run: RunId,
        after: u32,
        limit: i32,
    ) -> Result<Vec<PageRow>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("configuration_key = :configuration AND entry BETWEEN :first AND :last")
            .expression_attribute_values(":configuration", text(configuration_key(scope, configuration)))
            .expression_attribute_values(":first", text(page_entry(run, after.saturating_add(1))))
            .expression_attribute_values(":last", text(page_entry(run, u32::MAX)))
            .consistent_read(true)
            .limit(limit)
            .send()
            .await
            .map_err(|error| AwsError::new("list the pages of a run", error))?;
        let mut rows = Vec::new();
        for (item, expected) in answer.items().iter().zip(after.saturating_add(1)..) {
            let item = Attributes { table: TABLE, item };
            if item.text("entry")? != page_entry(run, expected) {
                break;
            }
            rows.push(item.unpacked("page")?);
        }
        Ok(rows)
    }

    /// Runs that have ended, the newest first, from after `start_after`.
    pub async fn list_runs(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        limit: i32,
        start_after: Option<RunId>,
    ) -> Result<Page<Run, RunId>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("configuration_key = :configuration AND begins_with(entry, :run)")
            .expression_attribute_values(":configuration", text(configuration_key(scope, configuration)))
            .expression_attribute_values(":run", text("run#"))
            .set_exclusive_start_key(start_after.map(|run| key(scope, configuration, &run_entry(run))))
            .scan_index_forward(false)
            .limit(limit)
            .send()
            .await
            .map_err(|error| AwsError::new("list runs", error))?;
        let runs = answer.items().iter().map(|item| Attributes { table: TABLE, item }.unpacked("run"));
        let runs: Vec<Run> = runs.collect::<Result<_, _>>()?;
        let next = answer.last_evaluated_key().and_then(|_| runs.last()).map(|run| run.id);
        Ok(Page { items: runs, next })
    }

    /// One run that has ended.
    pub async fn find_run(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        run: RunId,
    ) -> Result<Option<Run>, StoreError> {
        let item = self.get(key(scope, configuration, &run_entry(run))).await?;
        item.as_ref().map(|item| Attributes { table: TABLE, item }.unpacked("run")).transpose()
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

    async fn get(&self, key: Item) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        Ok(request.send().await.map_err(|error| AwsError::new("read a sync log", error))?.item)
    }
}

fn key(scope: &TenantScope, configuration: ConfigurationId, entry: &str) -> Item {
    Item::from([
        ("configuration_key".into(), text(configuration_key(scope, configuration))),
        ("entry".into(), text(entry)),
    ])
}

fn lane_entry(kind: SyncKind) -> String {
    format!("lane#{kind}")
}

impl SyncLogs {
    /// All entries of a configuration whose names begin like this.
    async fn entries(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        prefix: &str,
    ) -> Result<Vec<Item>, StoreError> {
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("configuration_key = :configuration AND begins_with(entry, :prefix)")
                .expression_attribute_values(":configuration", text(configuration_key(scope, configuration)))
                .expression_attribute_values(":prefix", text(prefix))
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| AwsError::new("list entries of the sync logs", error))?;
            found.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(found);
            }
        }
    }
}

fn run_entry(run: RunId) -> String {
    format!("run#{run}")
}

/// Ten digits: the entries of a run's pages sort by their numbers.
fn page_entry(run: RunId, page: u32) -> String {
    format!("page#{run}#{page:010}")
}

/// An entry with one value, that is kept as long as runs are.
fn row(mut item: Item, name: &str, value: &impl Serialize) -> Result<Item, StoreError> {
    item.insert("format".into(), number(FORMAT));
    item.insert(name.to_owned(), pack(value)?);
    item.insert("expires_at".into(), number((Timestamp::now() + KEPT_FOR).as_second()));
    Ok(item)
}
