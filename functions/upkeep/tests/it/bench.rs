//! A bakery with connections that the tests may let run out, remove, and move to another key.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use local::{Bakery, Proxy, StackOptions, TENANT, connect_by_oauth};
use reqwest::Method;
use sandbox::{Sandbox, SandboxOptions, Vendor};
use serde_json::{Value, json};
use shared::app::{ConnectionSettings, Connections};
use shared::queue::sales::SalesQueue;
use shared::settings::Reader;
use shared::store::configurations::SealedConfiguration;
use shared::store::days::Days;
use shared::store::product_mappings::ProductMappings;
use shared::store::raw_log::RawLog;
use shared::store::transactions::Transactions;
use shared::store::webhook_logs::WebhookLogs;
use tokio::sync::{Mutex, MutexGuard};
use upkeep::{App, Done, Operation, Request, UpkeepError, handle};

pub type Item = HashMap<String, AttributeValue>;

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
            let sandbox = SandboxOptions { merchants: 3, shops: 1, ..SandboxOptions::default() };
            let stack = StackOptions { name: "upkeep".to_owned(), ..StackOptions::default() };
            runtime.block_on(Bakery::open(Sandbox::start(sandbox).unwrap(), stack)).unwrap()
        });
        Mutex::new(Bench { bakery: opened.join().unwrap() })
    };
    let bench = BENCH.get_or_init(open).lock().await;
    for vendor in Vendor::ALL {
        bench.bakery.sandbox.set_faults_of(vendor, sandbox::Faults::default());
    }
    bench
}

impl Bench {
    /// Another execution environment: its caches are empty. Its AWS calls go through the proxy, if there is one.
    pub fn connections(&self, proxy: Option<&Proxy>) -> Connections {
        self.connections_as(&self.bakery.stack.config_of("upkeep", proxy), |_| None)
    }

    /// As it would be in another deployment, whose roles do not exist here.
    pub fn connections_with(&self, instead: impl Fn(&str) -> Option<String>) -> Connections {
        self.connections_as(&self.bakery.stack.config(), instead)
    }

    fn connections_as(&self, config: &shared::aws::SdkConfig, instead: impl Fn(&str) -> Option<String>) -> Connections {
        let stack = &self.bakery.stack;
        let lookup = |name: &str| instead(name).or_else(|| stack.variable("upkeep", name).map(str::to_owned));
        let settings = Reader::read(lookup, |r| ConnectionSettings::read(r, config)).unwrap();
        Connections::new(config, settings)
    }

    pub fn app(&self, connections: Connections, proxy: Option<&Proxy>) -> App {
        let stack = &self.bakery.stack;
        let config = stack.config_of("upkeep", proxy);
        let client = aws_sdk_dynamodb::Client::new(&config);
        let table = |name: &str| stack.variable("upkeep", name).unwrap().to_owned();
        let transactions = Transactions::new(client.clone(), table("TRANSACTIONS_TABLE"));
        let days = Days::new(client.clone(), table("DAYS_TABLE"));
        let logs = WebhookLogs::new(client.clone(), table("WEBHOOK_LOGS_TABLE"), 30);
        let raw_log = RawLog::new(client.clone(), table("RAW_LOG_TABLE"), 0);
        let product_mappings = ProductMappings::new(client, table("PRODUCT_MAPPINGS_TABLE"));
        let sales = SalesQueue::new(aws_sdk_sqs::Client::new(&config), table("SALES_QUEUE_URL"));
        let kept = (transactions, days, raw_log);
        App::new(connections, kept, (logs, product_mappings), sales, SignedDuration::ZERO)
    }

    /// The event about a subject that waits in the sales queue.
    pub async fn told_sales_domain(&self, subject: &str) -> Value {
        let client = aws_sdk_sqs::Client::new(&self.bakery.stack.config());
        let url = self.bakery.stack.output("SalesQueueUrl").unwrap();
        for _ in 0..20 {
            let received = client.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(1);
            let events = received.send().await.unwrap().messages.unwrap_or_default();
            let events = events.iter().map(|message| serde_json::from_str::<Value>(message.body().unwrap()).unwrap());
            if let Some(event) = events.into_iter().find(|event| event["subject"] == subject) {
                return event;
            }
        }
        panic!("nothing about {subject}");
    }

    /// Connects a merchant with this provider by OAuth.
    pub async fn connect(&self, provider: &str) -> String {
        let body = json!({
            "provider": provider, "environment": "production", "name": "To be looked after",
            "sync": { "backfill_days": 0, "interval_minutes": 1440 },
        });
        let api = self.bakery.api().unwrap();
        let id = connect_by_oauth(&api, &body).await.unwrap();
        // What a connection begins by itself uses its token, too.
        for _ in 0..200 {
            let request = api.request(Method::GET, &format!("/configurations/{id}/sync/status"));
            let status: Value = local::api::answer_of(request, "200".parse().unwrap(), "see the runs").await.unwrap();
            if status["current"] == json!([]) {
                return id;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the first run of {id} does not end");
    }

    pub async fn load(&self, connections: &Connections, id: &str) -> SealedConfiguration {
        // A scope comes only from somewhere that proves it; here from the claim of the merchant.
        let shown = self.show(id).await;
        let provider = shown["provider"].as_str().unwrap().parse().unwrap();
        let account = match shown["provider"].as_str().unwrap() {
            "square" => shown["merchant"]["id"].clone(),
            _ => shown["locations"][0]["id"].clone(),
        };
        let environment = shared::domain::Environment::Production;
        let found = connections.configurations.find_by_account(provider, environment, account.as_str().unwrap()).await;
        found.unwrap().unwrap()
    }

    /// As the API shows it.
    pub async fn show(&self, id: &str) -> Value {
        let request = self.bakery.api().unwrap().request(Method::GET, &format!("/configurations/{id}"));
        local::api::answer_of(request, "200".parse().unwrap(), "get a configuration").await.unwrap()
    }

    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.bakery.stack.config())
    }

    /// Changes the configuration's item behind everybody's back.
    pub async fn tamper(&self, id: &str, update: &str, values: &[(&str, AttributeValue)]) {
        let mut request = self
            .dynamodb()
            .update_item()
            .table_name(self.bakery.stack.output("ConfigurationsTable").unwrap())
            .key("tenant_id", AttributeValue::S(TENANT.into()))
            .key("configuration_id", AttributeValue::S(id.into()))
            .update_expression(update);
        for (name, value) in values {
            request = request.expression_attribute_values(*name, value.clone());
        }
        request.send().await.unwrap();
    }

    /// Lets it be time to renew; `end` is when the token itself ends.
    pub async fn make_due(&self, id: &str, end: Timestamp) {
        let past = AttributeValue::S("2026-01-01T00:00:00Z".into());
        let end = AttributeValue::S(end.to_string());
        let update = "SET credentials.refresh_due_at = :past, credentials.expires_at = :end, due_at = :past \
                      REMOVE lease_owner, lease_until";
        self.tamper(id, update, &[(":past", past), (":end", end)]).await;
    }

    /// Removes it and sees to the end.
    pub async fn remove(&self, id: &str) {
        self.ask_for_removal(id).await;
        let app = self.app(self.connections(None), None);
        for _ in 0..20 {
            tick(&app).await.unwrap();
            if self.item(id).await.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{id} stays");
    }

    pub async fn ask_for_removal(&self, id: &str) {
        let path = format!("/configurations/{id}");
        let request = self.bakery.api().unwrap().request(Method::DELETE, &path).header("if-match", "*");
        let _: Value = local::api::answer_of(request, "202".parse().unwrap(), "remove").await.unwrap();
    }

    pub async fn item(&self, id: &str) -> Option<Item> {
        let request = self.dynamodb().get_item().table_name(self.bakery.stack.output("ConfigurationsTable").unwrap());
        let request = request.key("tenant_id", AttributeValue::S(TENANT.into()));
        let request = request.key("configuration_id", AttributeValue::S(id.into())).consistent_read(true);
        request.send().await.unwrap().item
    }
}

pub async fn tick(app: &App) -> Result<Done, UpkeepError> {
    ask(app, Operation::Tick).await
}

pub async fn ask(app: &App, operation: Operation) -> Result<Done, UpkeepError> {
    handle(app, Request { operation }, SystemTime::now() + Duration::from_secs(50)).await
}

/// Does the work until the proxy drops a call, if it does. Whether it has.
pub async fn until_crash(proxy: &Proxy, work: impl Future) -> bool {
    let crash = Arc::new(tokio::sync::Notify::new());
    proxy.on_drop({
        let crash = Arc::clone(&crash);
        move || crash.notify_one()
    });
    tokio::select! {
        biased;
        () = crash.notified() => true,
        _ = work => false,
    }
}
