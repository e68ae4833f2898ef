//! A bakery whose webhooks never arrive: the tests hand its events to the normalizer themselves.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_runtime::{Context, LambdaEvent};
use local::{Bakery, Proxy, StackOptions, TENANT, wait_for};
use normalizer::{App, Settings, handle_batch};
use sandbox::{EntryState, LedgerEntry, SaleKind, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use shared::settings::Reader;

pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Bench {
    pub bakery: Bakery,
}

/// One for all tests: they differ in their orders.
pub fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| Bench::open("normalizer-it"))
}

impl Bench {
    /// On a runtime of its own, because a test's ends with the test.
    pub fn open(name: &str) -> Self {
        let options = StackOptions { name: name.to_owned(), ..StackOptions::default() };
        let opened = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let sandbox = SandboxOptions { loss_percent: 100, speed: 6000.0, ..SandboxOptions::default() };
            runtime.block_on(async {
                let bakery = Bakery::open(Sandbox::start(sandbox).unwrap(), options).await.unwrap();
                let bench = Self { bakery };
                bench.forget_runs().await;
                bench
            })
        });
        opened.join().unwrap()
    }

    /// The deployed sync would use up what a test has prepared at the simulator, so it is left without a lane.
    pub async fn forget_runs(&self) {
        let stack = &self.bakery.stack;
        let client = aws_sdk_dynamodb::Client::new(&stack.config());
        let table = stack.output("SyncLogsTable").unwrap();
        for item in client.scan().table_name(table).send().await.unwrap().items() {
            let mut request = client.delete_item().table_name(table);
            for part in ["configuration_key", "entry"] {
                request = request.key(part, item[part].clone());
            }
            request.send().await.unwrap();
        }
    }

    /// A fresh execution environment whose AWS calls go through `proxy`.
    pub fn app(&self, proxy: &Proxy) -> App {
        self.app_of(self.bakery.stack.config_of("normalizer", Some(proxy)), &[])
    }

    /// As root of another deployment, which has some other words. A proxy may change its batches: root signs nothing.
    pub fn app_with(&self, proxy: &Proxy, variables: &[(&str, &str)]) -> App {
        proxy.forward_to(self.bakery.stack.endpoint());
        self.app_of(self.bakery.stack.config_at(proxy.url()), variables)
    }

    /// Where the deployment has some other words.
    pub fn app_of(&self, config: shared::aws::SdkConfig, variables: &[(&str, &str)]) -> App {
        let stack = &self.bakery.stack;
        let replaced = |name: &str| variables.iter().find(|(known, _)| *known == name);
        let lookup = |name: &str| match name {
            name if replaced(name).is_some() => replaced(name).map(|(_, value)| (*value).to_owned()),
            // Nothing is sent again behind a test's back.
            "OUTBOX_FIRST_RESEND_SECONDS" => Some("600".into()),
            name => stack.variable("normalizer", name).map(str::to_owned),
        };
        App::new(&config, Reader::read(lookup, |r| Settings::read(r, &config)).unwrap()).unwrap()
    }

    /// Sells something and waits until the till has closed the order.
    pub fn sell(&self, kind: SaleKind) -> LedgerEntry {
        let order = self.bakery.sandbox.ring_up(kind).unwrap().order_id;
        let entry = || {
            let ledger = self.bakery.sandbox.ledger();
            ledger.into_iter().find(|entry| entry.order_id == order && entry.state != EntryState::Open)
        };
        let is_closed = || entry().is_some() && !self.events(&order).is_empty();
        assert!(wait_for(PATIENCE, is_closed).is_some(), "{order} stays open");
        entry().unwrap()
    }

    /// The bodies of an order's events, oldest first.
    pub fn events(&self, order: &str) -> Vec<String> {
        let events = self.bakery.sandbox.events();
        events.into_iter().filter(|event| event.order_id == order).map(|event| event.body).collect()
    }

    /// The event after which the order was paid.
    pub fn paid_event(&self, order: &str) -> String {
        let is_paid = |body: &String| body.contains(r#""payment.updated""#) && body.contains(r#""COMPLETED""#);
        let find = || self.events(order).into_iter().find(is_paid);
        assert!(wait_for(PATIENCE, || find().is_some()).is_some());
        find().unwrap()
    }

    /// What the table has of an order, as the API's table item.
    pub async fn stored(&self, order: &str) -> Option<Value> {
        let api = self.bakery.api().unwrap();
        let found: Vec<Value> = api.transactions(&self.bakery.configuration_id).await.unwrap();
        found.into_iter().find(|transaction| transaction["external_order_id"] == order)
    }

    /// The outcome of an event in the webhook log, and its code.
    pub async fn outcome(&self, body: &str) -> Option<(String, Option<String>)> {
        let event: Value = serde_json::from_str(body).unwrap();
        let owner = format!("{TENANT}#{}", self.bakery.configuration_id);
        let stack = &self.bakery.stack;
        let answer = aws_sdk_dynamodb::Client::new(&stack.config())
            .get_item()
            .table_name(stack.output("WebhookLogsTable").unwrap())
            .key("log_key", AttributeValue::S(owner))
            .key("event_id", AttributeValue::S(event["event_id"].as_str().unwrap().into()))
            .consistent_read(true)
            .send()
            .await
            .unwrap();
        let item = answer.item?;
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        Some((text("outcome").unwrap(), text("code")))
    }
}

/// A batch of deliveries as SQS hands them over.
pub fn batch(bodies: &[String], attempt: u32) -> LambdaEvent<SqsEvent> {
    let records: Vec<Value> = bodies.iter().enumerate().map(|(index, body)| record(index, body, attempt)).collect();
    event(json!({ "Records": records }))
}

pub fn record(index: usize, body: &str, attempt: u32) -> Value {
    let text = |value: &str| json!({ "stringValue": value, "dataType": "String" });
    json!({
        "messageId": format!("message-{index}"),
        "receiptHandle": format!("receipt-{index}"),
        "body": body,
        "attributes": { "ApproximateReceiveCount": attempt.to_string() },
        "messageAttributes": {
            "kind": text("delivery.v1"), "encoding": text("plain"), "provider": text("square"),
            "environment": text("sandbox"), "received_at": text("2026-02-14T12:00:33Z"), "signature": text("s"),
            "secret_id": text("wbhk_1"), "traceparent": text("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        },
    })
}

pub fn event(records: Value) -> LambdaEvent<SqsEvent> {
    let deadline = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(30);
    let mut context = Context::default();
    context.deadline = u64::try_from(deadline.as_millis()).unwrap();
    LambdaEvent::new(serde_json::from_value(records).unwrap(), context)
}

pub async fn work(app: &App, event: LambdaEvent<SqsEvent>) -> Vec<String> {
    let response: SqsBatchResponse = handle_batch(app, event).await.unwrap();
    response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
}
