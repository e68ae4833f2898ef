//! The crash between every two steps of a tick: it is cut off at its n-th AWS call, for every n, before the call is
//! executed and after it (the answer lost); the next tick must see to it that what is due is run all the same, and once.
//!
//! The deployed worker takes the jobs. The deployed schedule ticks, too: whoever comes second changes nothing.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use local::{Bakery, Fault, Proxy, StackOptions, TENANT, connect_by_oauth};
use sandbox::{Sandbox, SandboxOptions};
use serde_json::json;
use shared::domain::{ConfigurationId, Environment, ProviderKind, Run, RunState, SyncKind, TenantScope, Trigger};
use shared::queue::sync_jobs::SyncJobs;
use shared::store::configurations::Configurations;
use shared::store::sync_logs::SyncLogs;
use sync_scheduler::{App, TickError, tick};

/// A merchant whose next run is a day away.
struct Bench {
    bakery: Bakery,
    app: App,
    scope: TenantScope,
    id: ConfigurationId,
}

fn app(bakery: &Bakery, endpoint: &str) -> App {
    let config = bakery.stack.config_at(endpoint);
    let variable = |name: &str| bakery.stack.variable("sync-scheduler", name).unwrap().to_owned();
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    App {
        configurations: Configurations::new(dynamodb.clone(), variable("CONFIGURATIONS_TABLE")),
        sync_logs: SyncLogs::new(dynamodb, variable("SYNC_LOGS_TABLE")),
        jobs: SyncJobs::new(aws_sdk_sqs::Client::new(&config), variable("SYNC_JOBS_QUEUE_URL")),
    }
}

async fn tick_of(app: &App) -> Result<(), TickError> {
    tick(app, SystemTime::now() + Duration::from_secs(50)).await
}

impl Bench {
    async fn open() -> Self {
        let stack = StackOptions { name: "sync-scheduler".to_owned(), ..StackOptions::default() };
        let bakery = Bakery::open(Sandbox::start(SandboxOptions::default()).unwrap(), stack).await.unwrap();
        let body = json!({
            "provider": "square", "environment": "production", "name": "To be read when it is due",
            "sync": { "backfill_days": 0, "interval_minutes": 1440 },
        });
        connect_by_oauth(&bakery.api().unwrap(), &body).await.unwrap();
        let app = app(&bakery, bakery.stack.endpoint());
        // A scope comes only from somewhere that proves it; here from the claims of the merchant.
        let merchant = bakery.sandbox.merchants().into_iter().next().unwrap().id;
        let mut found = Vec::new();
        for environment in [Environment::Sandbox, Environment::Production] {
            let of = app.configurations.find_by_account(ProviderKind::Square, environment, &merchant).await;
            let of = of.unwrap().unwrap();
            found.push((of.scope, of.configuration.id));
        }
        // What the two connections begin by themselves is over before anything is counted.
        for (scope, id) in &found {
            until("the first runs have ended", async || {
                let lanes = app.sync_logs.lanes(scope, *id).await.unwrap();
                lanes.iter().all(|lane| lane.run.is_none())
            })
            .await;
        }
        let (scope, id) = found.pop().unwrap();
        Self { bakery, app, scope, id }
    }

    /// Lets the incremental lane be due; on a condition, if there is one.
    async fn make_due(&self, condition: Option<&str>) {
        let request = aws_sdk_dynamodb::Client::new(&self.bakery.stack.config())
            .update_item()
            .table_name(self.bakery.stack.output("SyncLogsTable").unwrap())
            .key("configuration_key", AttributeValue::S(format!("{TENANT}#{}", self.id)))
            .key("entry", AttributeValue::S(format!("lane#{}", SyncKind::Incremental)))
            .update_expression("SET due_at = :past")
            .set_condition_expression(condition.map(str::to_owned))
            .expression_attribute_values(":past", AttributeValue::S("2026-01-01T00:00:00.000Z".into()));
        match request.send().await {
            Ok(_) => {}
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Ticks until the proxy drops a call, if it does. Whether it has.
    async fn tick_until_crash(&self, proxy: &Proxy) -> bool {
        proxy.forward_to(self.bakery.stack.endpoint());
        let crash = Arc::new(tokio::sync::Notify::new());
        proxy.on_drop({
            let crash = Arc::clone(&crash);
            move || crash.notify_one()
        });
        let app = app(&self.bakery, proxy.url());
        tokio::select! {
            biased;
            () = crash.notified() => true,
            ticked = tick_of(&app) => { ticked.unwrap(); false }
        }
    }

    /// Incremental runs that have ended, the newest first.
    async fn runs(&self) -> Vec<Run> {
        let mut runs = self.app.sync_logs.list_runs(&self.scope, self.id, 1000, None).await.unwrap().items;
        runs.retain(|run| run.request.kind() == SyncKind::Incremental);
        runs
    }

    /// Whether the next run is far away.
    async fn is_idle(&self) -> bool {
        let lane = self.app.sync_logs.find_lane(&self.scope, self.id, SyncKind::Incremental).await.unwrap().unwrap();
        lane.run.is_none() && lane.due_at.unwrap() > Timestamp::now() + SignedDuration::from_hours(1)
    }
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..1200 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not in time: {what}");
}

#[tokio::test]
async fn a_tick_that_is_cut_off_anywhere_is_made_good_by_the_next() {
    let bench = Bench::open().await;
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut nth = 1;
        loop {
            let (before, proxy) = (bench.runs().await, Proxy::start().unwrap());
            proxy.hit(nth, fault);
            bench.make_due(None).await;
            let has_crashed = bench.tick_until_crash(&proxy).await;
            let has_begun = proxy.count("dynamodb:TransactWriteItems") > 0;
            // A run that was begun and that nobody works on: its minute and a half have passed.
            bench.make_due(Some("attribute_exists(run_id)")).await;
            tick_of(&bench.app).await.unwrap();

            until(&format!("call {nth} {fault:?}: the run ends"), async || bench.is_idle().await).await;
            let after = bench.runs().await;
            assert_eq!(after.len(), before.len() + 1, "call {nth} {fault:?}: {after:?}");
            let run = after.first().unwrap();
            assert_eq!((run.state, &run.trigger), (RunState::Completed, &Trigger::Schedule), "call {nth} {fault:?}");
            match (has_crashed, has_begun) {
                (true, _) => nth += 1,
                (false, true) => break,
                // The deployed schedule has come first: once more.
                (false, false) => {}
            }
        }
        // Each of the eight shards, then the one lane: the lane, its configuration, the run, the job.
        assert_eq!(nth - 1, 12, "{fault:?}");
    }
}
