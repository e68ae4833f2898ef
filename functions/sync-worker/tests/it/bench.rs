//! A bakery whose webhooks never arrive. The tests begin runs and go on with them in execution environments of their own;
//! no job of theirs is on the queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_lambda_events::sqs::SqsEvent;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use lambda_runtime::{Context, LambdaEvent};
use local::{Bakery, Proxy, StackOptions, TENANT};
use sandbox::{EntryState, Faults, LedgerEntry, SaleKind, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use shared::app::{ConnectionSettings, Connections};
use shared::domain::{Environment, ProviderKind, Run, SyncKind, SyncRange, SyncRequest, Trigger};
use shared::settings::Reader;
use shared::store::configurations::SealedConfiguration;
use shared::store::sync_logs::Lane;
use sync_worker::{App, Settings, handle_batch};
use tokio::sync::{Mutex, MutexGuard, Notify};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Bench {
    pub bakery: Bakery,
}

/// One bakery for all tests, one test at a time.
pub async fn bench() -> MutexGuard<'static, Bench> {
    static BENCH: OnceLock<Mutex<Bench>> = OnceLock::new();
    let open = || {
        // The bakery's own servers outlive the runtime of the test that happens to come first.
        let opened = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let sandbox = SandboxOptions { loss_percent: 100, speed: 6000.0, shops: 2, ..SandboxOptions::default() };
            let stack = StackOptions { name: "sync-worker".to_owned(), ..StackOptions::default() };
            runtime.block_on(async {
                let bakery = Bakery::open(Sandbox::start(sandbox).unwrap(), stack).await.unwrap();

                let bench = Bench { bakery };
                // What a new connection begins by itself is over before anything is measured.
                bench.until_idle(SyncKind::Backfill).await;
                bench.until_idle(SyncKind::Catalog).await;
                bench
            })
        });
        Mutex::new(opened.join().unwrap())
    };
    let bench = BENCH.get_or_init(open).lock().await;
    bench.bakery.sandbox.set_faults(Faults::default());
    bench
}

fn connections(bakery: &Bakery) -> Connections {
    let config = bakery.stack.config();
    let lookup = |name: &str| bakery.stack.variable("sync-worker", name).map(str::to_owned);
    Connections::new(&config, Reader::read(lookup, |r| ConnectionSettings::read(r, &config)).unwrap())
}

impl Bench {
    /// A fresh execution environment, its AWS calls going through `proxy` if there is one.
    pub fn app(&self, proxy: Option<&Proxy>) -> App {
        self.app_with(proxy, |_| None)
    }

    pub fn app_with(&self, proxy: Option<&Proxy>, instead: impl Fn(&str) -> Option<String>) -> App {
        let config = self.bakery.stack.config_of("sync-worker", proxy);
        let lookup =
            |name: &str| instead(name).or_else(|| self.bakery.stack.variable("sync-worker", name).map(str::to_owned));
        App::new(&config, Reader::read(lookup, |r| Settings::read(r, &config)).unwrap()).unwrap()
    }

    /// Tables of this test's own runtime.
    pub fn tables(&self) -> Connections {
        connections(&self.bakery)
    }

    pub async fn found(&self) -> SealedConfiguration {
        // A scope comes only from somewhere that proves it; here from the claim of the merchant.
        let merchant = self.bakery.sandbox.merchants()[0].id.clone();
        let tables = self.tables();
        let found = tables.configurations.find_by_account(ProviderKind::Square, Environment::Sandbox, &merchant).await;
        found.unwrap().unwrap()
    }

    /// Begins a run without calling a worker for it.
    pub async fn begin(&self, range: SyncRange) -> Run {
        let found = self.found().await;
        let trigger = Trigger::Request { subject: "test".into() };
        let run = Run::new(SyncRequest::of(range), trigger, found.configuration.epoch, Timestamp::now());
        let tables = self.tables();
        for _ in 0..100 {
            if tables.sync_logs.begin(&found.scope, found.configuration.id, &run, None).await.unwrap() {
                return run;
            }
            // The schedule may have come first.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("the lane stays busy");
    }

    pub async fn lane(&self, kind: SyncKind) -> Lane {
        let found = self.found().await;
        let lane = self.tables().sync_logs.find_lane(&found.scope, found.configuration.id, kind).await;
        lane.unwrap().unwrap()
    }

    pub async fn until_idle(&self, kind: SyncKind) {
        for _ in 0..600 {
            if self.lane(kind).await.run.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("a {kind} run does not end: {:?}", self.lane(kind).await);
    }

    /// A run that has ended.
    pub async fn ended(&self, run: &Run) -> Option<Run> {
        let found = self.found().await;
        self.tables().sync_logs.find_run(&found.scope, found.configuration.id, run.id).await.unwrap()
    }

    /// Lets a worker go on with a run until it hands it on or ends it.
    pub async fn work(&self, app: &App, run: &Run) {
        self.work_for(app, run, Duration::from_secs(75)).await;
    }

    /// The same in an invocation that may take so long.
    pub async fn work_for(&self, app: &App, run: &Run, time: Duration) {
        let found = self.found().await;
        let job = json!({
            "version": 1, "tenant_id": TENANT, "configuration_id": found.configuration.id,
            "kind": run.request.kind(), "run_id": run.id,
        });
        let records = json!({ "Records": [{ "messageId": "1", "body": job.to_string() }] });
        self.invoke(app, serde_json::from_value(records).unwrap(), time).await;
    }

    pub async fn invoke(&self, app: &App, event: SqsEvent, time: Duration) {
        let deadline = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + time;
        let mut context = Context::default();
        context.deadline = u64::try_from(deadline.as_millis()).unwrap();
        let answer = handle_batch(app, LambdaEvent::new(event, context)).await.unwrap();
        assert!(answer.batch_item_failures.is_empty());
    }

    /// The same until the proxy drops a call, if it does. Whether it has.
    pub async fn work_until_crash(&self, app: &App, run: &Run, time: Duration, proxy: &Proxy) -> bool {
        let crash = Arc::new(Notify::new());
        proxy.on_drop({
            let crash = Arc::clone(&crash);
            move || crash.notify_one()
        });
        tokio::select! {
            biased;
            () = crash.notified() => true,
            () = self.work_for(app, run, time) => false,
        }
    }

    /// Lets the lease of a run be over, as if its minute had passed.
    pub async fn let_lease_end(&self, kind: SyncKind) {
        let found = self.found().await;
        let past = AttributeValue::S("2026-01-01T00:00:00.000Z".into());
        aws_sdk_dynamodb::Client::new(&self.bakery.stack.config())
            .update_item()
            .table_name(self.bakery.stack.output("SyncLogsTable").unwrap())
            .key("configuration_key", AttributeValue::S(format!("{TENANT}#{}", found.configuration.id)))
            .key("entry", AttributeValue::S(format!("lane#{kind}")))
            .update_expression("SET lease_until = :past")
            .condition_expression("attribute_exists(lease_until)")
            .expression_attribute_values(":past", past)
            .send()
            .await
            .ok();
    }

    /// Goes on with a run in fresh execution environments until it has ended.
    pub async fn finish(&self, run: &Run) -> Run {
        for _ in 0..20 {
            // Its row is written before its lane is free.
            let is_free = self.lane(run.request.kind()).await.run.is_none_or(|there| there.id != run.id);
            if is_free && let Some(ended) = self.ended(run).await {
                return ended;
            }
            self.let_lease_end(run.request.kind()).await;
            self.work(&self.app(None), run).await;
        }
        panic!("the run does not end: {:?}", self.lane(run.request.kind()).await);
    }

    /// A day that no other test has sold on, with a few sales, some of which are changed days later.
    pub fn stock_a_day(&self, customers: usize) -> Date {
        let day = unsold_day();
        self.bakery.sandbox.stock_days(day, 1, customers);
        day
    }

    /// Such a day with one sale in each shop, which nothing has become of since.
    pub fn stock_a_quiet_day(&self) -> Date {
        let day = unsold_day();
        let noon = day.at(18, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
        for shop in &self.bakery.sandbox.merchants()[0].locations {
            self.bakery.sandbox.ring_up_past(SaleKind::Simple, &shop.id, noon).unwrap();
        }
        day
    }

    /// Sells, and waits until the tills have closed all orders.
    pub async fn sell(&self, sales: usize) {
        self.bakery.sandbox.play(sales);
        self.bakery.sandbox.wait_until_quiet(PATIENCE).await.unwrap();
        // The end of a window settles for a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }

    pub async fn stored(&self) -> Books {
        let found: Vec<Value> = self.bakery.api().unwrap().transactions(&self.bakery.configuration_id).await.unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let entry = |it: &Value| {
            let key = (text(&it["external_order_id"]), text(&it["kind"]));
            (key, (text(&it["status"]), it["amounts"]["total_minor"].as_i64().unwrap()))
        };
        found.iter().map(entry).collect()
    }

    pub fn sold(&self) -> Books {
        self.bakery.sandbox.ledger().iter().map(entry_of).collect()
    }
}

fn unsold_day() -> Date {
    static NEXT: AtomicI64 = AtomicI64::new(20);
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    today.saturating_sub(NEXT.fetch_add(7, Ordering::Relaxed).days())
}

/// Status and total of each transaction, by its order's id and kind.
pub type Books = BTreeMap<(String, String), (String, i64)>;

fn entry_of(entry: &LedgerEntry) -> ((String, String), (String, i64)) {
    let kind = if entry.kind == sandbox::EntryKind::Refund { "refund" } else { "sale" };
    let status = match entry.state {
        EntryState::Open => "open",
        EntryState::Completed => "completed",
        EntryState::Canceled => "voided",
    };
    ((entry.order_id.clone(), kind.to_owned()), (status.to_owned(), entry.total_minor))
}
