//! Begins the runs that are due, and calls a worker for those that nobody works on any more.
//!
//! What is due stands in an index, spread over shards: no scan, and a lane that is not due costs nothing. Beginning a run
//! moves the lane's due time in the same write, so two ticks, or a tick that comes twice, begin it once. A crash between
//! that write and the job leaves a run that is due again in a minute and a half.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use shared::aws::AwsError;
use shared::domain::{
    Configuration, ConfigurationId, ConfigurationStatus, Run, SyncKind, SyncRange, SyncRequest, TenantScope, Trigger,
};
use shared::queue::sync_jobs::{SyncJob, SyncJobs};
use shared::store::StoreError;
use shared::store::configurations::Configurations;
use shared::store::sync_logs::SyncLogs;
use shared::telemetry::{Line, TraceParent};

/// Lanes of one shard in one tick. What is left over is due in the next, and first then.
const PAGE: i32 = 200;
/// What is left of the time when no further lane is looked at.
const RESERVE: Duration = Duration::from_secs(5);
/// Jobs are sent together, so many at once.
const BATCH: usize = 10;
/// A configuration that cannot be read now is looked at again after this: soon after it can be.
const LATER: SignedDuration = SignedDuration::from_mins(5);

/// What a tick needs, made once per execution environment.
pub struct App {
    /// Whether a connection works.
    pub configurations: Configurations,
    /// What is due.
    pub sync_logs: SyncLogs,
    /// Where the work is asked for.
    pub jobs: SyncJobs,
}

/// Why a tick stopped. What it had not reached is still due at the next.
#[derive(Debug, thiserror::Error)]
pub enum TickError {
    /// A table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
}

type Due = (TenantScope, ConfigurationId, SyncKind);

/// Looks at everything that is due, or as much as there is time for.
pub async fn tick(app: &App, deadline: SystemTime) -> Result<(), TickError> {
    let time_left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let deadline = Instant::now() + time_left.saturating_sub(RESERVE);
    let (mut line, now) = (Line::begin("tick"), Timestamp::now());
    let mut due = Vec::new();
    for shard in SyncLogs::due_shards() {
        due.extend(app.sync_logs.list_due(shard, now, PAGE).await?);
    }
    let (found, mut called, mut failed) = (due.len(), 0, 0_u32);
    let mut jobs = Vec::new();
    for (scope, id, kind) in take_turns(due) {
        if Instant::now() >= deadline {
            break;
        }
        match look(app, (&scope, id, kind), now).await {
            Ok(job) => jobs.extend(job),
            // One that fails must not hold up the others.
            Err(error) => {
                failed += 1;
                tracing::error!(tenant.id = %scope.tenant_id(), configuration.id = %id, kind = %kind, error = ?error, "a lane could not be looked at");
            }
        }
        if jobs.len() == BATCH {
            app.jobs.send_many(&jobs).await?;
            called += jobs.len();
            jobs.clear();
        }
    }
    app.jobs.send_many(&jobs).await?;
    called += jobs.len();
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    line.counts = vec![("due", number(found)), ("called", number(called)), ("failed", failed.into())];
    line.end("looked at what is due");
    Ok(())
}

/// One of each tenant, then a second of each, and so on: a tenant with a thousand shops delays nobody by a thousand.
fn take_turns(due: Vec<Due>) -> Vec<Due> {
    let mut by_tenant: BTreeMap<String, Vec<Due>> = BTreeMap::new();
    for lane in due {
        by_tenant.entry(lane.0.tenant_id().to_string()).or_default().push(lane);
    }
    let mut turns: Vec<(usize, Due)> =
        by_tenant.into_values().flat_map(|lanes| lanes.into_iter().enumerate()).collect();
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, lane)| lane).collect()
}

/// Does what one lane needs. The job that must be sent for it, if one must.
async fn look(
    app: &App,
    (scope, id, kind): (&TenantScope, ConfigurationId, SyncKind),
    now: Timestamp,
) -> Result<Option<SyncJob>, TickError> {
    // The index may lag: somebody may have looked at it a moment ago.
    let Some(lane) = app.sync_logs.find_lane(scope, id, kind).await? else { return Ok(None) };
    let Some(due_at) = lane.due_at.filter(|due_at| *due_at <= now) else { return Ok(None) };
    if let Some(run) = &lane.run {
        let is_mine = app.sync_logs.revive(scope, id, &lane).await?;
        tracing::warn!(tenant.id = %scope.tenant_id(), configuration.id = %id, run.id = %run.id, is_mine, "nobody works on a run: calling another worker");
        return Ok(is_mine.then(|| SyncJob::of(scope, id, run, &TraceParent::generate())));
    }
    let found = app.configurations.find(scope, id).await?;
    let wanted = found.and_then(|configuration| Some((range_of(&configuration, kind)?, configuration.epoch)));
    let Some((range, epoch)) = wanted else {
        app.sync_logs.move_due(scope, id, &lane, now + LATER).await?;
        return Ok(None);
    };
    let run = Run::new(SyncRequest::of(range), Trigger::Schedule, epoch, now);
    let is_begun = app.sync_logs.begin(scope, id, &run, Some(due_at)).await?;
    Ok(is_begun.then(|| SyncJob::of(scope, id, &run, &TraceParent::generate())))
}

/// What the schedule wants read of a configuration, if anything can be.
fn range_of(configuration: &Configuration, kind: SyncKind) -> Option<SyncRange> {
    match configuration.status {
        ConfigurationStatus::Active | ConfigurationStatus::Degraded => {}
        ConfigurationStatus::Paused | ConfigurationStatus::ReauthRequired | ConfigurationStatus::Deleting => {
            return None;
        }
    }
    match kind {
        SyncKind::Incremental => Some(SyncRange::Incremental),
        SyncKind::Catalog => Some(SyncRange::Catalog),
        // Only somebody who says which days begins these.
        SyncKind::Backfill | SyncKind::Repair => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_take_turns() {
        let lane = |tenant: &str, n: u32| -> Due {
            let job = format!(
                r#"{{"version":1,"tenant_id":"{tenant}","configuration_id":"01938d5e-0000-7000-8000-00000000000{n}","kind":"incremental","run_id":"01938d5e-0000-7000-8000-000000000001"}}"#
            );
            let mut message = shared::queue::SqsMessage::default();
            message.body = Some(job);
            let job = shared::queue::sync_jobs::decode(&message).unwrap();
            (job.scope, job.configuration_id, job.kind)
        };
        let due = vec![lane("big", 1), lane("big", 2), lane("big", 3), lane("small", 4), lane("tiny", 5)];
        let order: Vec<String> = take_turns(due).iter().map(|(scope, ..)| scope.tenant_id().to_string()).collect();
        assert_eq!(order, ["big", "small", "tiny", "big", "big"]);
    }
}
