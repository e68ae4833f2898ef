//! A bakery whose webhooks never arrive. The tests tick in execution environments of their own.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use day_closer::{App, Operation, Request, Settings, handle};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use local::{Answers, Bakery, Proxy, SalesDomain, StackOptions, TENANT};
use sandbox::{Location, SaleKind, Sandbox, SandboxOptions};
use serde_json::json;
use shared::app::{ConnectionSettings, Connections};
use shared::domain::{DayState, Environment, ProviderKind, SyncKind};
use shared::settings::Reader;
use shared::store::configurations::SealedConfiguration;
use shared::store::days::{Day, DayKey, Days, Said};
use shared::store::sync_logs::SyncLogs;
use tokio::sync::{Mutex, MutexGuard, Notify};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Bench {
    pub bakery: Bakery,
    pub sales: SalesDomain,
}

/// One bakery for all tests, one test at a time.
pub async fn bench() -> MutexGuard<'static, Bench> {
    static BENCH: OnceLock<Mutex<Bench>> = OnceLock::new();
    let open = || {
        // The bakery's own servers outlive the runtime of the test that happens to come first.
        let opened = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let sandbox = SandboxOptions { loss_percent: 100, speed: 6000.0, shops: 2, ..SandboxOptions::default() };
            let stack = StackOptions { name: "day-closer".to_owned(), ..StackOptions::default() };
            let bakery = runtime.block_on(Bakery::open(Sandbox::start(sandbox).unwrap(), stack)).unwrap();
            let sales = SalesDomain::start(&bakery.stack, Answers::AtOnce);
            Bench { bakery, sales }
        });
        Mutex::new(opened.join().unwrap())
    };
    BENCH.get_or_init(open).lock().await
}

impl Bench {
    /// A fresh execution environment, its AWS calls going through `proxy` if there is one.
    pub fn app(&self, proxy: Option<&Proxy>) -> App {
        let config = self.bakery.stack.config_of("day-closer", proxy);
        let lookup = |name: &str| match name {
            // Tests run at any time of the day, and yesterday is over.
            "DAY_CLOSE_AFTER_MINUTES" => Some("0".to_owned()),
            name => self.bakery.stack.variable("day-closer", name).map(str::to_owned),
        };
        App::new(&config, Reader::read(lookup, |r| Settings::read(r, &config)).unwrap())
    }

    pub async fn invoke(&self, app: &App, operation: Operation) {
        handle(app, Request { operation }, SystemTime::now() + Duration::from_secs(55)).await.unwrap();
    }

    /// The same until the proxy drops a call, if it does. Whether it has.
    pub async fn invoke_until_crash(&self, proxy: &Proxy) -> bool {
        let crash = Arc::new(Notify::new());
        proxy.on_drop({
            let crash = Arc::clone(&crash);
            move || crash.notify_one()
        });
        let app = self.app(Some(proxy));
        tokio::select! {
            biased;
            () = crash.notified() => true,
            () = self.invoke(&app, Operation::Tick) => false,
        }
    }

    /// The table, of this test's own runtime.
    pub fn days(&self) -> Days {
        let client = aws_sdk_dynamodb::Client::new(&self.bakery.stack.config());
        Days::new(client, self.bakery.stack.output("DaysTable").unwrap().to_owned())
    }

    pub async fn found(&self) -> SealedConfiguration {
        // A scope comes only from somewhere that proves it; here from the claim of the merchant.
        let merchant = self.bakery.sandbox.merchants()[0].id.clone();
        let config = self.bakery.stack.config();
        let lookup = |name: &str| self.bakery.stack.variable("day-closer", name).map(str::to_owned);
        let settings = Reader::read(lookup, |r| ConnectionSettings::read(r, &config)).unwrap();
        let tables = Connections::new(&config, settings).configurations;
        let found = tables.find_by_account(ProviderKind::Square, Environment::Sandbox, &merchant).await;
        found.unwrap().unwrap()
    }

    pub fn shop(&self) -> Location {
        self.bakery.sandbox.merchants()[0].locations[0].clone()
    }

    /// A day of the first shop on which no other test has sold anything.
    pub async fn fresh_day(&self) -> DayKey {
        static NEXT: AtomicI64 = AtomicI64::new(120);
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let date = today.saturating_sub(NEXT.fetch_add(2, Ordering::Relaxed).days());
        let found = self.found().await;
        let location_id = self.shop().id.parse().unwrap();
        DayKey { scope: found.scope, configuration_id: found.configuration.id, location_id, date }
    }

    /// Sells something about noon, which nobody is told of. The orders' ids.
    pub fn sell(&self, date: Date, sales: u32) -> Vec<String> {
        let shop = self.shop();
        let noon = date.at(12, 0, 0, 0).in_tz(&shop.time_zone).unwrap().timestamp();
        let sell = |number: u32| {
            let at = noon + SignedDuration::from_secs(number.into());
            self.bakery.sandbox.ring_up_past(SaleKind::Simple, &shop.id, at).unwrap().order_id
        };
        (0..sales).map(sell).collect()
    }

    /// Has a day read.
    pub async fn read(&self, date: Date) {
        let (api, id) = (self.bakery.api().unwrap(), &self.bakery.configuration_id);
        for _ in 0..300 {
            let request = json!({ "kind": "backfill", "from": date, "to": date });
            let Ok(run) = api.begin_sync(id, &request).await else {
                // The first backfill of the connection is still under way.
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            while !api.run(id, &run.id).await.unwrap().has_ended() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            return;
        }
        panic!("the lane stays busy");
    }

    /// The merchant agrees once more.
    pub async fn connect_again(&self) {
        let (api, id) = (self.bakery.api().unwrap(), &self.bakery.configuration_id);
        let (code, state) = local::consent(&api, id).await.unwrap();
        let answer = api.come_back("square", &[("code", &code), ("state", &state)]).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    }

    pub async fn day(&self, day: &DayKey) -> Option<Day> {
        self.days().find(day).await.unwrap()
    }

    /// Lets a day be due, as if the time had come.
    pub async fn let_be_due(&self, day: &DayKey) {
        let past = AttributeValue::S("2026-01-01T00:00:00.000Z".into());
        aws_sdk_dynamodb::Client::new(&self.bakery.stack.config())
            .update_item()
            .table_name(self.bakery.stack.output("DaysTable").unwrap())
            .key("configuration_key", AttributeValue::S(format!("{TENANT}#{}", day.configuration_id)))
            .key("entry", AttributeValue::S(format!("day#{}#{}", day.date, day.location_id)))
            .update_expression("SET due_at = :past")
            .condition_expression("attribute_exists(due_at)")
            .expression_attribute_values(":past", past)
            .send()
            .await
            .ok();
    }

    /// Waits until nobody repairs anything.
    pub async fn until_nothing_is_repaired(&self) {
        let (found, client) = (self.found().await, aws_sdk_dynamodb::Client::new(&self.bakery.stack.config()));
        let logs = SyncLogs::new(client, self.bakery.stack.output("SyncLogsTable").unwrap().to_owned());
        for _ in 0..600 {
            let lane = logs.find_lane(&found.scope, found.configuration.id, SyncKind::Repair).await.unwrap();
            if lane.is_none_or(|lane| lane.run.is_none()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("a repair does not end");
    }

    /// Lets a repair that was begun and has no worker be found, as if its minute and a half had passed.
    pub async fn let_repair_be_due(&self) {
        let past = AttributeValue::S("2026-01-01T00:00:00.000Z".into());
        aws_sdk_dynamodb::Client::new(&self.bakery.stack.config())
            .update_item()
            .table_name(self.bakery.stack.output("SyncLogsTable").unwrap())
            .key("configuration_key", AttributeValue::S(format!("{TENANT}#{}", self.bakery.configuration_id)))
            .key("entry", AttributeValue::S("lane#repair".into()))
            .update_expression("SET due_at = :past")
            .condition_expression("attribute_exists(run_id) AND attribute_not_exists(lease_until)")
            .expression_attribute_values(":past", past)
            .send()
            .await
            .ok();
    }

    /// Ticks until nothing at all is due.
    pub async fn until_nothing_is_due(&self) {
        let is_due = async || {
            for shard in Days::due_shards() {
                if !self.days().list_due(shard, Timestamp::now(), 10).await.unwrap().is_empty() {
                    return true;
                }
            }
            false
        };
        while is_due().await {
            self.invoke(&self.app(None), Operation::Tick).await;
        }
    }

    /// Ticks in fresh execution environments until the day is proven and nothing of it is to be done any more. After a week
    /// of looks, which pass quickly here, only what is changed of it makes it due.
    pub async fn finish(&self, day: &DayKey) -> Day {
        for _ in 0..1000 {
            self.let_be_due(day).await;
            self.invoke(&self.app(None), Operation::Tick).await;
            let is_proven = |said: &Said| said.certificate.state == DayState::Proven;
            let is_done = |day: &Day| day.due_at.is_none() && day.said.as_ref().is_some_and(is_proven);
            if let Some(day) = self.day(day).await.filter(is_done) {
                return day;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{:?}", self.day(day).await);
    }
}
