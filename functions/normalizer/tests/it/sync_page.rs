//! A page as a sync worker sends it: orders that the real provider client has listed, under ids of the test's own.

use std::sync::OnceLock;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::LambdaEvent;
use local::TENANT;
use sandbox::SaleKind;
use serde_json::{Value, json};
use shared::domain::{Environment, LocationId, ProviderKind, RunId};
use shared::providers::{Access, AccessToken, OrderQuery, ProviderHosts, Providers};
use shared::queue::intake::{self, IntakeMessage, OrdersMessage};
use shared::store::sync_logs::{PageRow, SyncLogs};
use shared::store::transactions::{Stored, Transactions, Wanted};

use crate::bench::{Bench, event, record};

pub struct Page {
    pub run: RunId,
    pub number: u32,
    pub kind: &'static str,
    pub epoch: u64,
    pub owner: String,
    pub orders: Vec<Value>,
}

impl Page {
    pub fn of(bench: &Bench, orders: Vec<Value>) -> Self {
        let owner = format!("{TENANT}#{}", bench.bakery.configuration_id);
        Self { run: RunId::generate(), number: 1, kind: "incremental", epoch: 0, owner, orders }
    }

    pub fn event(&self, attempt: u32) -> LambdaEvent<SqsEvent> {
        event(json!({ "Records": [self.record(attempt)] }))
    }

    /// As SQS hands it over.
    pub fn record(&self, attempt: u32) -> Value {
        let Self { run, kind, number, epoch, .. } = self;
        let orders: Vec<Value> = self.orders.iter().map(|order| json!({ "order": order })).collect();
        let body = json!({
            "page": { "run_id": run, "kind": kind, "number": number, "epoch": epoch },
            "location": null, "observed_at": Timestamp::now(), "orders": orders,
        });
        let mut record = record(0, &body.to_string(), attempt);
        let attributes = record["messageAttributes"].as_object_mut().unwrap();
        attributes.retain(|name, _| ["encoding", "traceparent"].contains(&name.as_str()));
        for (name, value) in [("kind", "orders.v1"), ("configuration", &self.owner)] {
            attributes.insert(name.to_owned(), json!({ "stringValue": value, "dataType": "String" }));
        }
        record
    }

    pub fn message(&self) -> OrdersMessage {
        let message: SqsMessage = serde_json::from_value(self.record(1)).unwrap();
        let IntakeMessage::Orders(orders) = intake::decode(&message).unwrap() else {
            unreachable!("a page is no delivery");
        };
        orders
    }

    /// What became of it, once it has been worked on.
    pub async fn row(&self, bench: &Bench) -> Option<PageRow> {
        let OrdersMessage { scope, configuration_id, page, .. } = self.message();
        let client = aws_sdk_dynamodb::Client::new(&bench.bakery.stack.config());
        let logs = SyncLogs::new(client, bench.bakery.stack.output("SyncLogsTable").unwrap().to_owned());
        let rows = logs.list_pages(&scope, configuration_id, page.run_id, page.number - 1, 1).await.unwrap();
        rows.into_iter().next()
    }

    /// Seen, created, updated, unchanged, failed.
    pub async fn counts(&self, bench: &Bench) -> Option<[u64; 5]> {
        let counts = self.row(bench).await?.counts;
        Some([counts.seen, counts.created, counts.updated, counts.unchanged, counts.failed])
    }

    /// What the table has of its orders.
    pub async fn stored(&self, bench: &Bench) -> Vec<Stored> {
        let OrdersMessage { scope, configuration_id, .. } = self.message();
        let client = aws_sdk_dynamodb::Client::new(&bench.bakery.stack.config());
        let table = Transactions::new(client, bench.bakery.stack.output("TransactionsTable").unwrap().to_owned());
        let all = table.list(&scope, configuration_id, Wanted::All, 1000, None).await.unwrap().items;
        let is_ours = |stored: &Stored| {
            self.orders.iter().any(|order| order["id"] == stored.transaction.external_order_id.as_str())
        };
        all.into_iter().filter(is_ours).collect()
    }
}

impl Bench {
    /// So many orders that nobody else has, named after the test.
    pub fn orders(&self, test: &str, count: usize) -> Vec<Value> {
        let rename = |number: usize| {
            let mut order = self.listed_order().clone();
            order["id"] = format!("{test}-{number}").into();
            order
        };
        (0..count).map(rename).collect()
    }

    /// A completed sale, as Square lists it.
    fn listed_order(&self) -> &'static Value {
        static ORDER: OnceLock<Value> = OnceLock::new();
        ORDER.get_or_init(|| {
            let sale = self.sell(SaleKind::Everything);
            let sandbox = &self.bakery.sandbox;
            let hosts = ProviderHosts { square: Some(sandbox.square_url()), ..ProviderHosts::default() };
            let token = AccessToken::new(sandbox.grant(None, &[]).unwrap().access_token);
            let now = Timestamp::now();
            let query = OrderQuery {
                location: LocationId::new(sale.location_id.as_str()).unwrap(),
                from: now - SignedDuration::from_hours(48),
                to: now + SignedDuration::from_hours(48),
                cursor: None,
            };
            // On a runtime of its own: a test's is busy with the test.
            let listed = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let providers = Providers::new(hosts);
                    let access = Access { environment: Environment::Sandbox, token: &token };
                    providers.get(ProviderKind::Square).list_orders(&access, &query).await.unwrap()
                })
            });
            let listed = listed.join().unwrap();
            let orders = listed.orders.iter().map(|order| serde_json::from_slice::<Value>(&order.body).unwrap());
            orders.into_iter().find(|order| order["id"] == sale.order_id.as_str()).unwrap()
        })
    }
}
