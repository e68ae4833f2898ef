//! Runs, their leases and what is due: whoever comes second, or late, changes nothing.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use shared::domain::{
    ConfigurationId, FailedOrder, Run, RunId, RunState, SyncCounts, SyncKind, SyncRange, SyncRequest, TenantScope,
    Trigger,
};
use shared::store::sync_logs::{Checkpoint, Held, Lane, PageRow, SyncLogs, Watermarks};

use crate::stack::{scope, stack};

const LEASE: SignedDuration = SignedDuration::from_secs(60);

fn client() -> Client {
    Client::new(&stack().config())
}

/// One configuration's logs.
struct Logs {
    logs: SyncLogs,
    scope: TenantScope,
    id: ConfigurationId,
}

impl Logs {
    fn new() -> Self {
        let logs = SyncLogs::new(client(), stack().output("SyncLogsTable").unwrap().to_owned());
        Self { logs, scope: scope("t_runs"), id: ConfigurationId::generate() }
    }

    async fn begin(&self, run: &Run) -> bool {
        self.logs.begin(&self.scope, self.id, run, None).await.unwrap()
    }

    /// As a caller of the API does, beside an audit row that is none of these tests' business.
    async fn cancel(&self, run: &Run) {
        let request = client().update_item().table_name(stack().output("SyncLogsTable").unwrap());
        let owner = format!("{}#{}", self.scope.tenant_id(), self.id);
        let request = request.key("configuration_key", AttributeValue::S(owner));
        let request = request.key("entry", AttributeValue::S(format!("lane#{}", run.request.kind())));
        let request = request.update_expression("SET is_cancelled = :yes");
        request.expression_attribute_values(":yes", AttributeValue::Bool(true)).send().await.unwrap();
    }

    async fn begun(&self, range: SyncRange) -> Run {
        let run = run(range);
        assert!(self.begin(&run).await);
        run
    }

    async fn take(&self, run: &Run, length: SignedDuration) -> Option<Held> {
        self.logs.take(&self.scope, self.id, (run.request.kind(), run.id), length).await.unwrap()
    }

    async fn lane(&self, kind: SyncKind) -> Lane {
        self.logs.find_lane(&self.scope, self.id, kind).await.unwrap().unwrap()
    }

    async fn end(&self, held: &Held, run: &Run) -> bool {
        self.logs.end(held, run, (None, None), &Watermarks::new()).await.unwrap()
    }

    async fn is_due(&self, at: Timestamp, kind: SyncKind) -> bool {
        let mut found = 0;
        for shard in SyncLogs::due_shards() {
            let due = self.logs.list_due(shard, at, 1000).await.unwrap();
            found += due.iter().filter(|(scope, id, due)| (scope, *id, *due) == (&self.scope, self.id, kind)).count();
        }
        assert!(found <= 1);
        found == 1
    }
}

fn run(range: SyncRange) -> Run {
    Run::new(SyncRequest::of(range), Trigger::Schedule, 0, Timestamp::now())
}

fn backfill() -> SyncRange {
    SyncRange::Backfill { from: "2026-02-01".parse().unwrap(), to: "2026-02-14".parse().unwrap() }
}

/// A lease that has ended: its holder went quiet.
const ENDED: SignedDuration = SignedDuration::from_secs(-1);

#[tokio::test]
async fn of_two_who_begin_a_run_at_once_one_does() {
    let logs = Logs::new();
    let (one, other) = (run(backfill()), run(backfill()));
    let both = tokio::join!(logs.begin(&one), logs.begin(&other));
    assert!(both.0 ^ both.1, "{both:?}");
    let winner = if both.0 { one } else { other };
    let lane = logs.lane(SyncKind::Backfill).await;
    assert_eq!((lane.run, lane.fence, lane.is_cancelled), (Some(winner), 0, false));
    // Another kind has a lane of its own.
    logs.begun(SyncRange::Catalog).await;
    let kinds: Vec<_> = logs.logs.lanes(&logs.scope, logs.id).await.unwrap().iter().map(|lane| lane.kind).collect();
    assert_eq!(kinds, [SyncKind::Backfill, SyncKind::Catalog]);
    let stranger = scope("t_stranger");
    assert_eq!(logs.logs.lanes(&stranger, logs.id).await.unwrap(), []);
}

#[tokio::test]
async fn a_lease_has_one_holder_and_each_taker_a_higher_fence() {
    let logs = Logs::new();
    let run = logs.begun(backfill()).await;
    let first = logs.take(&run, LEASE).await.unwrap();
    assert_eq!((first.lane.fence, first.lane.run.as_ref()), (1, Some(&run)));
    assert!(logs.take(&run, LEASE).await.is_none(), "somebody works on it");
    let other = RunId::generate();
    let taken = logs.logs.take(&logs.scope, logs.id, (SyncKind::Backfill, other), LEASE).await.unwrap();
    assert!(taken.is_none(), "a job of a run that is gone");
    assert_eq!(logs.logs.checkpoint(&first, &run, ENDED).await.unwrap(), Checkpoint::Kept);
    let both = tokio::join!(logs.take(&run, LEASE), logs.take(&run, LEASE));
    let second = match both {
        (Some(held), None) | (None, Some(held)) => held,
        both => panic!("{both:?}"),
    };
    assert_eq!(second.lane.fence, 2);
    // Given back, it can be taken at once.
    assert_eq!(logs.logs.release(&second, &run, 0).await.unwrap(), Checkpoint::Kept);
    assert_eq!(logs.take(&run, LEASE).await.unwrap().lane.fence, 3);
}

#[tokio::test]
async fn turns_in_which_nothing_is_kept_are_counted_until_one_keeps_something() {
    let logs = Logs::new();
    let run = logs.begun(backfill()).await;
    let mut held = Vec::new();
    for turns in 1..4 {
        let taken = logs.take(&run, ENDED).await.unwrap();
        assert_eq!(taken.lane.turns, turns);
        held.push(taken);
    }
    // Whoever was given up keeps nothing, and changes no count.
    assert_eq!(logs.logs.checkpoint(&held[0], &run, ENDED).await.unwrap(), Checkpoint::Lost);
    assert_eq!(logs.lane(SyncKind::Backfill).await.turns, 3);
    assert_eq!(logs.logs.checkpoint(&held[2], &run, ENDED).await.unwrap(), Checkpoint::Kept);
    let taken = logs.take(&run, LEASE).await.unwrap();
    assert_eq!(taken.lane.turns, 1);
    assert_eq!(logs.logs.release(&taken, &run, 0).await.unwrap(), Checkpoint::Kept);
    assert_eq!(logs.lane(SyncKind::Backfill).await.turns, 0);
    let taken = logs.take(&run, LEASE).await.unwrap();
    assert!(logs.end(&taken, &run).await);
    let next = logs.begun(backfill()).await;
    assert_eq!(logs.take(&next, LEASE).await.unwrap().lane.turns, 1, "another run is not to blame");
}

#[tokio::test]
async fn a_holder_whose_lease_was_taken_writes_nothing() {
    let logs = Logs::new();
    let run = logs.begun(SyncRange::Incremental).await;
    let stale = logs.take(&run, ENDED).await.unwrap();
    let current = logs.take(&run, LEASE).await.unwrap();
    let before = logs.lane(SyncKind::Incremental).await;
    let late = Run { state: RunState::Failed, pages: 99, ..run.clone() };
    assert_eq!(logs.logs.checkpoint(&stale, &late, LEASE).await.unwrap(), Checkpoint::Lost);
    assert_eq!(logs.logs.release(&stale, &late, 0).await.unwrap(), Checkpoint::Lost);
    let marks = Watermarks::from([("L1".parse().unwrap(), Timestamp::now())]);
    assert_eq!(logs.lane(SyncKind::Incremental).await, before);

    // It may have written the end's row before the other took the lease: the other's row counts.
    assert!(!logs.logs.end(&stale, &late, (None, None), &marks).await.unwrap());
    assert_eq!(logs.lane(SyncKind::Incremental).await, before);
    let done = Run { state: RunState::Completed, ..run.clone() };
    assert!(logs.end(&current, &done).await);
    assert!(!logs.logs.end(&stale, &late, (None, None), &marks).await.unwrap());
    assert_eq!(logs.logs.find_run(&logs.scope, logs.id, run.id).await.unwrap(), Some(done));
    assert_eq!(logs.logs.checkpoint(&current, &late, LEASE).await.unwrap(), Checkpoint::Lost, "it has ended");
}

#[tokio::test]
async fn the_end_of_a_run_moves_watermarks_and_the_next_due_time() {
    let logs = Logs::new();
    let run = logs.begun(SyncRange::Incremental).await;
    let held = logs.take(&run, LEASE).await.unwrap();
    let at = |second: i64| Timestamp::from_second(1_770_000_000 + second).unwrap();
    let marks = Watermarks::from([("L1".parse().unwrap(), at(1)), ("L2".parse().unwrap(), at(2))]);
    let done = Run { state: RunState::Completed, ended_at: Some(at(9)), ..run.clone() };
    assert!(logs.logs.end(&held, &done, (Some(at(100)), Some(300)), &marks).await.unwrap());
    let lane = logs.lane(SyncKind::Incremental).await;
    let expected = Lane {
        kind: SyncKind::Incremental,
        run: None,
        fence: 1,
        turns: 1,
        lease_until: None,
        is_cancelled: false,
        interval_seconds: Some(300),
        watermarks: marks.clone(),
        due_at: Some(at(100)),
    };
    assert_eq!(lane, expected);
    // They outlive the next run's beginning, and whatever ends without moving them.
    let next = logs.begun(SyncRange::Incremental).await;
    let held = logs.take(&next, LEASE).await.unwrap();
    assert_eq!((&held.lane.watermarks, held.lane.interval_seconds, held.lane.fence), (&marks, Some(300), 2));
    assert!(logs.logs.end(&held, &next, (Some(at(200)), None), &held.lane.watermarks).await.unwrap());
    assert_eq!(logs.lane(SyncKind::Incremental).await, Lane { fence: 2, due_at: Some(at(200)), ..expected });

    // A lane without a next run is due never again.
    let once = logs.begun(backfill()).await;
    let held = logs.take(&once, LEASE).await.unwrap();
    assert!(logs.end(&held, &once).await);
    assert_eq!(logs.lane(SyncKind::Backfill).await.due_at, None);
    assert!(!logs.is_due(Timestamp::now() + SignedDuration::from_hours(1), SyncKind::Backfill).await);
}

#[tokio::test]
async fn a_run_that_is_not_wanted_any_more_tells_its_holder() {
    let logs = Logs::new();
    let run = logs.begun(backfill()).await;
    let held = logs.take(&run, LEASE).await.unwrap();
    assert_eq!(logs.logs.checkpoint(&held, &run, LEASE).await.unwrap(), Checkpoint::Kept);
    logs.cancel(&run).await;
    assert_eq!(logs.logs.checkpoint(&held, &run, LEASE).await.unwrap(), Checkpoint::Cancelled);
    assert!(logs.end(&held, &Run { state: RunState::Cancelled, ..run.clone() }).await);
    let next = logs.begun(backfill()).await;
    assert!(!logs.take(&next, LEASE).await.unwrap().lane.is_cancelled, "the next one is wanted");
}

#[tokio::test]
async fn what_is_due_is_found_and_acted_on_once() {
    let logs = Logs::new();
    let run = logs.begun(SyncRange::Incremental).await;
    let later = Timestamp::now() + SignedDuration::from_mins(10);
    assert!(!logs.is_due(Timestamp::now(), SyncKind::Incremental).await, "its worker was called a moment ago");
    assert!(logs.is_due(later, SyncKind::Incremental).await, "nobody works on it");

    // Two ticks at once call one worker.
    let seen = logs.lane(SyncKind::Incremental).await;
    let revive = async || logs.logs.revive(&logs.scope, logs.id, &seen).await.unwrap();
    let both = tokio::join!(revive(), revive());
    assert!(both.0 ^ both.1, "{both:?}");
    assert!(!revive().await);

    // Two ticks at once begin one run.
    let held = logs.take(&run, LEASE).await.unwrap();
    let due = Timestamp::from_second(1_770_000_000).unwrap();
    assert!(logs.logs.end(&held, &run, (Some(due), None), &Watermarks::new()).await.unwrap());
    assert!(logs.is_due(Timestamp::now(), SyncKind::Incremental).await);
    let seen = logs.lane(SyncKind::Incremental).await;
    let runs = [self::run(SyncRange::Incremental), self::run(SyncRange::Incremental)];
    let begin = |run| logs.logs.begin(&logs.scope, logs.id, run, Some(due));
    let (one, other) = tokio::join!(begin(&runs[0]), begin(&runs[1]));
    assert!(one.unwrap() ^ other.unwrap());
    assert!(!logs.is_due(Timestamp::now(), SyncKind::Incremental).await);
    assert!(!logs.logs.move_due(&logs.scope, logs.id, &seen, later).await.unwrap(), "it has moved since");
}

#[tokio::test]
async fn a_pages_row_is_written_once_and_rows_are_counted_without_gaps() {
    let logs = Logs::new();
    let run = RunId::generate();
    let failed = FailedOrder { order_id: None, code: "unreadable".into(), detail: "/total".into() };
    let row = |seen| PageRow {
        counts: SyncCounts { seen, ..SyncCounts::default() },
        failed_orders: vec![failed.clone()],
        ..PageRow::default()
    };
    let record = async |page, seen| logs.logs.record_page(&logs.scope, logs.id, run, page, &row(seen)).await.unwrap();
    let list = async |after, limit| {
        let rows = logs.logs.list_pages(&logs.scope, logs.id, run, after, limit).await.unwrap();
        assert!(rows.iter().all(|row| row.failed_orders.len() == 1));
        rows.iter().map(|row| row.counts.seen).collect::<Vec<_>>()
    };
    // Out of order, as a queue delivers them, and one of them twice.
    for page in [2, 1, 9, 10, 4] {
        assert!(record(page, u64::from(page)).await);
    }
    assert!(!record(2, 99).await);
    assert_eq!(list(0, 100).await, [1, 2], "the third is missing");
    assert_eq!(list(2, 100).await, [0_u64; 0]);
    assert!(record(3, 3).await);
    assert_eq!(list(0, 100).await, [1, 2, 3, 4]);
    for page in 5..9 {
        assert!(record(page, u64::from(page)).await);
    }
    assert_eq!(list(3, 100).await, [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(list(3, 2).await, [4, 5]);
    // Another run's rows are its own.
    logs.logs.record_page(&logs.scope, logs.id, RunId::generate(), 11, &row(11)).await.unwrap();
    assert_eq!(list(9, 100).await, [10]);
}

#[tokio::test]
async fn runs_that_have_ended_are_listed_newest_first_and_purged_with_all_else() {
    let logs = Logs::new();
    let mut ended = Vec::new();
    for _ in 0..5 {
        let run = logs.begun(backfill()).await;
        let held = logs.take(&run, LEASE).await.unwrap();
        logs.logs.record_page(&logs.scope, logs.id, run.id, 1, &PageRow::default()).await.unwrap();
        assert!(logs.end(&held, &run).await);
        ended.insert(0, run);
    }
    let running = logs.begun(SyncRange::Catalog).await;
    for limit in [1, 2, 5, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = logs.logs.list_runs(&logs.scope, logs.id, limit, after).await.unwrap();
            found.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, ended, "{limit}");
    }
    let find = async |run: &Run| logs.logs.find_run(&logs.scope, logs.id, run.id).await.unwrap();
    assert_eq!((find(&ended[2]).await.as_ref(), find(&running).await), (Some(&ended[2]), None));
    assert_eq!(logs.logs.find_run(&scope("t_stranger"), logs.id, ended[2].id).await.unwrap(), None);

    // A worker that comes late writes no lane again.
    let held = logs.take(&running, LEASE).await.unwrap();
    let purged = logs.logs.purge(&logs.scope, logs.id, Instant::now() + Duration::from_secs(30)).await.unwrap();
    // Two lanes, five runs, five pages.
    assert_eq!((purged.removed, purged.is_done), (12, true));
    assert_eq!(logs.logs.checkpoint(&held, &running, LEASE).await.unwrap(), Checkpoint::Lost);
    assert_eq!(logs.logs.lanes(&logs.scope, logs.id).await.unwrap(), []);
    assert!(!logs.is_due(Timestamp::now() + SignedDuration::from_hours(1), SyncKind::Catalog).await);
}
