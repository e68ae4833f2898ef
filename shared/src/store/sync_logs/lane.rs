//! Lanes: one run at a time for each kind, its fencing lease, and when somebody must look at it.
//!
//! `due_at` means: until then nobody needs to look. An idle lane is due when its next run is; a running one when its
//! worker has been silent for too long. Whoever acts on what is due moves `due_at` in the same write, on the condition
//! that it is what was seen: two ticks of the scheduler, or a tick that comes twice, act once.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValue, TransactWriteItem, Update};
use jiff::{SignedDuration, Timestamp};

use super::{DUE_SHARDS, FORMAT, Item, KEPT_FOR, SyncLogs, TABLE, configuration_key, key, lane_entry, run_entry};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, LocationId, Run, SyncKind, TenantScope};
use crate::store::item::{Attributes, due_shard, is_made, number, pack, refused_with, text, time};
use crate::store::{StoreError, parse_configuration_key};

/// How long a run that was asked for may wait for its worker before another job is sent.
const PATIENCE: SignedDuration = SignedDuration::from_secs(90);
/// How long after its lease's end a worker is given up.
const GRACE: SignedDuration = SignedDuration::from_secs(15);

/// Up to when each shop is complete.
pub type Watermarks = BTreeMap<LocationId, Timestamp>;

/// What is under way for one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Which.
    pub kind: SyncKind,
    /// What is under way, if anything is.
    pub run: Option<Run>,
    /// Counts the takers of the lease.
    pub fence: u64,
    /// Counts them since one of them has kept anything of the run: more than a few, and it is the run that they die of.
    pub turns: u32,
    /// Until when somebody works on it.
    pub lease_until: Option<Timestamp>,
    /// Whether somebody does not want the run any more.
    pub is_cancelled: bool,
    /// Seconds between two runs, as it has adapted; absent: as the tenant has set it.
    pub interval_seconds: Option<i64>,
    /// Up to when each shop is complete. Only the incremental lane has them.
    pub watermarks: Watermarks,
    /// When somebody must look at it.
    pub due_at: Option<Timestamp>,
}

/// The right to go on with a run, until somebody else takes it.
#[derive(Debug, Clone)]
pub struct Held {
    /// Whose.
    pub scope: TenantScope,
    /// Through which connection.
    pub configuration_id: ConfigurationId,
    /// What it is about, as it was when it was taken.
    pub lane: Lane,
}

/// What became of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// Stored.
    Kept,
    /// Stored, and somebody does not want the run any more.
    Cancelled,
    /// Somebody else has taken the lease, or the run is gone: nothing was written, and nothing more must be.
    Lost,
}

impl SyncLogs {
    /// The lanes of a configuration.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::sync_logs::*};
    /// # async fn of(logs: &SyncLogs, id: ConfigurationId) {
    /// let _ = logs.lanes(id).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::sync_logs::*};
    /// # async fn of(logs: &SyncLogs, id: ConfigurationId, scope: TenantScope) {
    /// let _ = logs.lanes(&scope, id).await;
    /// # }
    /// ```
    pub async fn lanes(&self, scope: &TenantScope, configuration: ConfigurationId) -> Result<Vec<Lane>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("configuration_key = :configuration AND begins_with(entry, :lane)")
            .expression_attribute_values(":configuration", text(configuration_key(scope, configuration)))
            .expression_attribute_values(":lane", text("lane#"))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| AwsError::new("list lanes", error))?;
        answer.items().iter().map(read).collect()
    }

    /// One lane, if it was ever used.
    pub async fn find_lane(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        kind: SyncKind,
    ) -> Result<Option<Lane>, StoreError> {
        let item = self.get(key(scope, configuration, &lane_entry(kind))).await?;
        item.as_ref().map(read).transpose()
    }

    /// Begins a run in its lane. `false`: another is under way there, or the lane is not due at `seen_due_at` any more.
    pub async fn begin(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        run: &Run,
        seen_due_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let write = self.write_begin(scope, configuration, run, seen_due_at)?;
        let Err(error) = self.client.transact_write_items().transact_items(write).send().await else { return Ok(true) };
        if let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() {
            // Whoever is in conflict is beginning the same.
            let refusals = ["ConditionalCheckFailed", "TransactionConflict"];
            let mut codes = canceled.cancellation_reasons().iter().filter_map(|reason| reason.code());
            if codes.any(|code| refusals.contains(&code)) {
                return Ok(false);
            }
        }
        Err(AwsError::new("begin a run", error).into())
    }

    /// The write that begins a run, on the condition that its lane is free.
    pub(crate) fn write_begin(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        run: &Run,
        seen_due_at: Option<Timestamp>,
    ) -> Result<TransactWriteItem, StoreError> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(scope, configuration, &lane_entry(run.request.kind()))))
            .update_expression(
                "SET #format = :format, run_id = :run_id, #run = :run, due_shard = :shard, due_at = :due, \
                 fence = if_not_exists(fence, :zero), turns = :zero REMOVE lease_until, is_cancelled",
            )
            .condition_expression(match seen_due_at {
                Some(_) => "attribute_not_exists(run_id) AND due_at = :seen",
                None => "attribute_not_exists(run_id)",
            })
            .expression_attribute_names("#format", "format")
            .expression_attribute_names("#run", "run")
            .expression_attribute_values(":format", number(FORMAT))
            .expression_attribute_values(":run_id", text(run.id))
            .expression_attribute_values(":run", pack(run)?)
            .expression_attribute_values(":shard", due_shard(configuration, DUE_SHARDS))
            .expression_attribute_values(":due", time(Timestamp::now() + PATIENCE))
            .expression_attribute_values(":zero", number(0));
        let update = match seen_due_at {
            Some(seen) => update.expression_attribute_values(":seen", time(seen)),
            None => update,
        };
        let update = update.build().map_err(|error| AwsError::new("begin a run", error))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// The lanes that a new connection begins with: what is begun at once, and what is due later. For the transaction that
    /// stores the connection.
    pub(crate) fn open_lanes(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        begun: &[Run],
        later: &[(SyncKind, Timestamp)],
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let lane = |kind: SyncKind, due_at: Timestamp, run: Option<&Run>| {
            let mut item = key(scope, configuration, &lane_entry(kind));
            item.insert("format".into(), number(FORMAT));
            item.insert("fence".into(), number(0));
            item.insert("due_shard".into(), due_shard(configuration, DUE_SHARDS));
            item.insert("due_at".into(), time(due_at));
            if let Some(run) = run {
                item.insert("run_id".into(), text(run.id));
                item.insert("run".into(), pack(run)?);
            }
            let put = Put::builder().table_name(&self.table).set_item(Some(item)).build();
            let put = put.map_err(|error| AwsError::new("open a lane", error))?;
            Ok(TransactWriteItem::builder().put(put).build())
        };
        let begun = begun.iter().map(|run| lane(run.request.kind(), Timestamp::now() + PATIENCE, Some(run)));
        let later = later.iter().map(|(kind, due_at)| lane(*kind, *due_at, None));
        begun.chain(later).collect()
    }

    /// Takes the lease of a run for so long, with the next fence. `None`: somebody works on it, or it is another run now.
    pub async fn take(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        (kind, run): (SyncKind, crate::domain::RunId),
        length: SignedDuration,
    ) -> Result<Option<Held>, StoreError> {
        let now = Timestamp::now();
        let result = self
            .update(scope, configuration, kind)
            .update_expression("SET lease_until = :until, due_at = :due ADD fence :one, turns :one")
            .condition_expression("run_id = :run_id AND (attribute_not_exists(lease_until) OR lease_until < :now)")
            .expression_attribute_values(":run_id", text(run))
            .expression_attribute_values(":now", time(now))
            .expression_attribute_values(":until", time(now + length))
            .expression_attribute_values(":due", time(now + length + GRACE))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        let Ok(taken) = refused_with(result, "take a run")? else { return Ok(None) };
        let lane = read(&taken.attributes.unwrap_or_default())?;
        Ok(Some(Held { scope: scope.clone(), configuration_id: configuration, lane }))
    }

    /// Stores how far a run is, and holds its lease on for so long from now.
    pub async fn checkpoint(&self, held: &Held, run: &Run, length: SignedDuration) -> Result<Checkpoint, StoreError> {
        let now = Timestamp::now();
        self.keep(held, run, (Some(now + length), now + length + GRACE)).await
    }

    /// Stores how far a run is and gives its lease back, for a worker that a job of `delay` seconds will call.
    pub async fn release(&self, held: &Held, run: &Run, delay: i32) -> Result<Checkpoint, StoreError> {
        let due_at = Timestamp::now() + SignedDuration::from_secs(i64::from(delay)) + PATIENCE;
        self.keep(held, run, (None, due_at)).await
    }

    async fn keep(
        &self,
        held: &Held,
        run: &Run,
        (lease_until, due_at): (Option<Timestamp>, Timestamp),
    ) -> Result<Checkpoint, StoreError> {
        let request = self
            .update(&held.scope, held.configuration_id, held.lane.kind)
            .condition_expression("run_id = :run_id AND fence = :mine")
            .expression_attribute_names("#run", "run")
            .expression_attribute_values(":run_id", text(run.id))
            .expression_attribute_values(":mine", number(held.lane.fence))
            .expression_attribute_values(":run", pack(run)?)
            .expression_attribute_values(":due", time(due_at))
            .expression_attribute_values(":zero", number(0))
            .return_values(ReturnValue::AllNew);
        let request = match lease_until {
            Some(until) => request
                .update_expression("SET #run = :run, due_at = :due, turns = :zero, lease_until = :until")
                .expression_attribute_values(":until", time(until)),
            None => request.update_expression("SET #run = :run, due_at = :due, turns = :zero REMOVE lease_until"),
        };
        Ok(match refused_with(request.send().await, "keep how far a run is")? {
            Ok(kept) if kept.attributes().is_some_and(|item| item.contains_key("is_cancelled")) => {
                Checkpoint::Cancelled
            }
            Ok(_) => Checkpoint::Kept,
            Err(_) => Checkpoint::Lost,
        })
    }

    /// Ends a run: its row first, then the lane is free, with the watermarks moved and the next run due at `next_at`. A
    /// crash between the two lets whoever comes next end it again. `false`: somebody else has taken the lease.
    pub async fn end(
        &self,
        held: &Held,
        run: &Run,
        (next_at, interval_seconds): (Option<Timestamp>, Option<i64>),
        watermarks: &Watermarks,
    ) -> Result<bool, StoreError> {
        let mut row = key(&held.scope, held.configuration_id, &run_entry(run.id));
        row.insert("format".into(), number(FORMAT));
        row.insert("run".into(), pack(run)?);
        row.insert("fence".into(), number(held.lane.fence));
        row.insert("expires_at".into(), number((Timestamp::now() + KEPT_FOR).as_second()));
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(row))
            .condition_expression("attribute_not_exists(fence) OR fence <= :mine")
            .expression_attribute_values(":mine", number(held.lane.fence));
        if !is_made(put.send().await, "write a run's end")? {
            return Ok(false);
        }
        let mut expression = String::from("SET ");
        let mut request = self
            .update(&held.scope, held.configuration_id, held.lane.kind)
            .condition_expression("run_id = :run_id AND fence = :mine")
            .expression_attribute_names("#run", "run")
            .expression_attribute_values(":run_id", text(run.id))
            .expression_attribute_values(":mine", number(held.lane.fence));
        if held.lane.kind == SyncKind::Incremental {
            expression.push_str("watermarks = :watermarks, ");
            let marks = watermarks.iter().map(|(location, at)| (location.to_string(), time(*at))).collect();
            request = request.expression_attribute_values(":watermarks", AttributeValue::M(marks));
        }
        if let Some(seconds) = interval_seconds {
            expression.push_str("interval_seconds = :interval, ");
            request = request.expression_attribute_values(":interval", number(seconds));
        }
        expression.push_str("ended_at = :now REMOVE run_id, #run, lease_until, is_cancelled");
        request = request.expression_attribute_values(":now", time(Timestamp::now()));
        match next_at {
            Some(at) => {
                expression.insert_str(4, "due_at = :due, ");
                request = request.expression_attribute_values(":due", time(at));
            }
            None => expression.push_str(", due_shard, due_at"),
        }
        is_made(request.update_expression(expression).send().await, "end a run")
    }

    /// Moves when somebody must look at a lane, if nobody has done so since it was seen.
    pub async fn move_due(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        seen: &Lane,
        due_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(seen_due_at) = seen.due_at else { return Ok(false) };
        let result = self
            .update(scope, configuration, seen.kind)
            .update_expression("SET due_at = :due")
            .condition_expression("due_at = :seen")
            .expression_attribute_values(":due", time(due_at))
            .expression_attribute_values(":seen", time(seen_due_at))
            .send()
            .await;
        is_made(result, "move when a lane is due")
    }

    /// As [`SyncLogs::move_due`], for a run whose worker is gone: another job is on its way.
    pub async fn revive(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        seen: &Lane,
    ) -> Result<bool, StoreError> {
        self.move_due(scope, configuration, seen, Timestamp::now() + PATIENCE).await
    }

    /// Shards of the index of what is due.
    pub fn due_shards() -> std::ops::Range<u8> {
        0..DUE_SHARDS
    }

    /// When the longest due lane was due, if any is by now.
    pub async fn find_first_due(&self, shard: u8) -> Result<Option<Timestamp>, StoreError> {
        let due = self.query_due(shard, Timestamp::now(), 1).await?;
        due.first().map(|item| Attributes { table: TABLE, item }.parsed("due_at")).transpose()
    }

    /// Lanes that somebody must look at by now, the longest due first.
    pub async fn list_due(
        &self,
        shard: u8,
        now: Timestamp,
        limit: i32,
    ) -> Result<Vec<(TenantScope, ConfigurationId, SyncKind)>, StoreError> {
        let due = self.query_due(shard, now, limit).await?;
        let found = due.iter().map(|item| {
            let item = Attributes { table: TABLE, item };
            let owner = parse_configuration_key(item.text("configuration_key")?);
            let (scope, id) = owner.ok_or_else(|| item.unreadable("configuration_key"))?;
            Ok((scope, id, kind_of(&item)?))
        });
        found.collect()
    }

    async fn query_due(&self, shard: u8, now: Timestamp, limit: i32) -> Result<Vec<Item>, StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-due-time")
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", text(shard))
            .expression_attribute_values(":now", time(now))
            .limit(limit)
            .send()
            .await
            .map_err(|error| AwsError::new("list due lanes", error))?;
        Ok(answer.items.unwrap_or_default())
    }

    fn update(&self, scope: &TenantScope, configuration: ConfigurationId, kind: SyncKind) -> UpdateItemFluentBuilder {
        let key = key(scope, configuration, &lane_entry(kind));
        self.client.update_item().table_name(&self.table).set_key(Some(key))
    }
}

fn kind_of(item: &Attributes<'_>) -> Result<SyncKind, StoreError> {
    let kind = item.text("entry")?.strip_prefix("lane#").and_then(SyncKind::parse);
    kind.ok_or_else(|| item.unreadable("entry"))
}

pub(super) fn read(item: &Item) -> Result<Lane, StoreError> {
    let attributes = Attributes { table: TABLE, item };
    if attributes.number::<u8>("format")? != FORMAT {
        return Err(attributes.unreadable("format"));
    }
    let when = |name: &str| attributes.optional_text(name).map(|_| attributes.parsed(name)).transpose();
    let mut watermarks = Watermarks::new();
    for (location, at) in item.get("watermarks").and_then(|marks| marks.as_m().ok()).into_iter().flatten() {
        let at = at.as_s().ok().and_then(|at| at.parse().ok());
        let mark = location.parse().ok().zip(at).ok_or_else(|| attributes.unreadable("watermarks"))?;
        watermarks.insert(mark.0, mark.1);
    }
    Ok(Lane {
        kind: kind_of(&attributes)?,
        run: item.contains_key("run_id").then(|| attributes.unpacked("run")).transpose()?,
        fence: attributes.number("fence")?,
        turns: attributes.optional_number("turns")?.unwrap_or_default(),
        lease_until: when("lease_until")?,
        is_cancelled: item.contains_key("is_cancelled"),
        interval_seconds: attributes.optional_number("interval_seconds")?,
        watermarks,
        due_at: when("due_at")?,
    })
}
