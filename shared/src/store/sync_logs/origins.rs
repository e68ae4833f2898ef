//! What has led to revisions of transactions, and was no delivery: pages with their runs, and work on the past.

use std::collections::{BTreeMap, HashMap};

use super::jobs::past_entry;
use super::{Attributes, PageRow, SyncLogs, TABLE, key, lane, lane_entry, page_entry, run_entry};
use crate::domain::{
    Cause, ConfigurationId, JobId, PastJob, RebuiltDay, RemappedDay, Run, RunId, SyncKind, TenantScope,
};
use crate::store::StoreError;
use crate::store::item::batch_get;

/// What the log has of some causes. What is not there is over, or has not been written yet.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// What became of pages' orders.
    pub pages: HashMap<(RunId, u32), PageRow>,
    /// The runs that have read those, under way or ended.
    pub runs: HashMap<RunId, Run>,
    /// Remappings and rebuilds, however far they are.
    pub jobs: HashMap<JobId, PastJob>,
}

impl SyncLogs {
    /// What led to revisions: one read for each hundred entries, and none for deliveries.
    pub async fn find_origins<'c>(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        causes: impl IntoIterator<Item = &'c Cause>,
    ) -> Result<Origins, StoreError> {
        let mut entries = BTreeMap::new();
        for cause in causes {
            match *cause {
                Cause::Delivery(_) => {}
                Cause::Page { run, page } => {
                    entries.insert(page_entry(run, page), Entry::Page(run, page));
                    entries.insert(run_entry(run), Entry::Run);
                    // It may be under way.
                    entries.extend(SyncKind::ALL.map(|kind| (lane_entry(kind), Entry::Lane)));
                }
                Cause::Remapping(id) => drop(entries.insert(past_entry::<RemappedDay>(id), Entry::Job(id))),
                Cause::Rebuild(id) => drop(entries.insert(past_entry::<RebuiltDay>(id), Entry::Job(id))),
            }
        }
        let mut found = Origins::default();
        let keys = entries.keys().map(|entry| key(scope, configuration, entry)).collect();
        for item in &batch_get(&self.client, &self.table, keys, true, "read what led to revisions").await? {
            let attributes = Attributes { table: TABLE, item };
            let run = match entries.get(attributes.text("entry")?) {
                Some(Entry::Page(run, page)) => {
                    found.pages.insert((*run, *page), attributes.unpacked("page")?);
                    None
                }
                Some(Entry::Job(id)) => {
                    found.jobs.insert(*id, attributes.unpacked("job")?);
                    None
                }
                Some(Entry::Run) => Some(attributes.unpacked::<Run>("run")?),
                Some(Entry::Lane) => lane::read(item)?.run,
                None => None,
            };
            found.runs.extend(run.map(|run| (run.id, run)));
        }
        Ok(found)
    }
}

/// What stands in an entry.
enum Entry {
    Page(RunId, u32),
    Run,
    Lane,
    Job(JobId),
}
