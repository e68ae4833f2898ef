//! What the system tests share: open bakeries, letters to the doorbell, and a look into tables and queues.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use local::{Answers, Bakery, Proxy, SalesDomain, StackOptions, TENANT, api};
use reqwest::{Client, RequestBuilder, header::HeaderMap};
use ring::{digest, hmac};
use sandbox::{Faults, Merchant, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::sync_town::idle;

/// Longer than anything takes on a busy machine. What is waited for comes, or the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tenant with two connections, to two merchants that nobody else sells for.
pub const CHAIN: &str = "chain";

pub type Item = HashMap<String, AttributeValue>;

/// A bakery and its neighbours, at which nothing goes wrong. Tests use it at the same time, so each has orders, event
/// ids and tenants of its own.
pub struct QuietTown {
    pub bakery: Bakery,
    pub sales: SalesDomain,
    /// Merchants and configurations of [`CHAIN`].
    pub chain: Vec<(Merchant, String)>,
    sales_turn: Mutex<()>,
}

impl QuietTown {
    /// For tests that care how the sales domain answers, one at a time: it begins by answering at once.
    pub async fn sales_turn(&self) -> MutexGuard<'_, ()> {
        let turn = self.sales_turn.lock().await;
        self.sales.answer(Answers::AtOnce);
        turn
    }
}

pub async fn quiet_town() -> &'static QuietTown {
    static TOWN: OnceCell<QuietTown> = OnceCell::const_new();
    TOWN.get_or_init(|| async {
        let sandbox = Sandbox::start(SandboxOptions {
            merchants: 3,
            shops: 2,
            duplicates_percent: 0,
            disorder_percent: 0,
            // Slow enough that a finished sale is read before its fee changes it once more, as in life.
            speed: 60.0,
            ..SandboxOptions::default()
        });
        let options = StackOptions { name: "local-quiet".into(), ..StackOptions::default() };
        let bakery = Bakery::open(sandbox.unwrap(), options).await.unwrap();
        let sales = SalesDomain::start(&bakery.stack, Answers::AtOnce);
        let api = bakery.api_of(CHAIN, &["pos:write"]).unwrap();
        let mut chain = Vec::new();
        for merchant in bakery.sandbox.merchants().into_iter().skip(1) {
            let token = bakery.sandbox.grant(Some(&merchant.id), &[]).unwrap().access_token;
            let id = api.create_configuration(&configuration("sandbox", &token)).await.unwrap();
            chain.push((merchant, id));
        }
        QuietTown { bakery, sales, chain, sales_turn: Mutex::default() }
    })
    .await
}

/// A bakery with bad manners all around it: half of all notifications come twice, half are overtaken, and every AWS
/// call of our functions passes a proxy that can break it. One test at a time.
pub struct RoughTown {
    /// Forever, so that a fault may kill its functions.
    pub bakery: &'static Bakery,
    pub sales: SalesDomain,
    pub proxy: Proxy,
}

pub async fn rough_town() -> MutexGuard<'static, RoughTown> {
    static TOWN: OnceCell<Mutex<RoughTown>> = OnceCell::const_new();
    let open = || async {
        let proxy = Proxy::start().unwrap();
        let sandbox = SandboxOptions {
            duplicates_percent: 50,
            disorder_percent: 50,
            speed: 1_200.0,
            ..SandboxOptions::default()
        };
        let emulator =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
        // While the bakery opens, functions are called already, so the proxy must know its way before.
        proxy.forward_to(&format!("http://127.0.0.1:{emulator}"));
        let options = StackOptions {
            name: "local-rough".into(),
            port: Some(emulator),
            function_endpoint: Some(proxy.url().to_owned()),
            ..StackOptions::default()
        };
        let bakery = Bakery::open(Sandbox::start(sandbox).unwrap(), options).await.unwrap();
        let bakery: &Bakery = Box::leak(Box::new(bakery));
        // Tests count calls, and a first connection makes many.
        idle(&bakery.api().unwrap(), &bakery.configuration_id).await;
        let sales = SalesDomain::start(&bakery.stack, Answers::AtOnce);
        Mutex::new(RoughTown { bakery, sales, proxy })
    };
    let town = TOWN.get_or_init(open).await.lock().await;
    // What a test that failed has left behind.
    town.proxy.reset();
    town.bakery.sandbox.set_faults(Faults::default());
    town
}

/// What our API takes as a new configuration.
pub fn configuration(environment: &str, access_token: &str) -> Value {
    json!({
        "provider": "square", "environment": environment, "name": "Corner shop", "day_start": "03:30",
        "credentials": { "access_token": access_token },
    })
}

/// Looks again and again until there is something to see.
pub async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("waited {PATIENCE:?} for {what}");
}

/// An HTTP answer that has arrived in full.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Checks every member that RFC 9457 and our API promise; returns the problem without its `instance`, the only
    /// member that differs between two callers with the same problem.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let mut problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        let uri = format!("https://pos-integration.dev/problems/{}", code.replace('_', "-"));
        assert_eq!(problem["type"], uri, "{problem}");
        for member in ["title", "detail", "instance"] {
            let text = problem[member].as_str().unwrap_or_default();
            assert!(!text.is_empty() && !text.contains('$'), "{member}: {problem}");
        }
        problem.as_object_mut().unwrap().remove("instance");
        problem
    }

    /// The problem's places, sorted.
    pub fn pointers(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        let mut pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect();
        pointers.sort_unstable();
        pointers
    }
}

/// The webhook URL and the key that the provider signs with.
pub struct Doorbell {
    pub http: Client,
    pub api_url: String,
    pub signature_key: String,
}

impl Doorbell {
    /// Reads the key where the operator has put it.
    pub async fn of(bakery: &Bakery) -> Self {
        let secrets = aws_sdk_secretsmanager::Client::new(&bakery.stack.config());
        let secret = secrets.get_secret_value().secret_id(bakery.stack.output("SquareSecretId").unwrap());
        let secret: Value = serde_json::from_str(secret.send().await.unwrap().secret_string().unwrap()).unwrap();
        let signature_key = secret["webhook_subscriptions"][0]["signature_key"].as_str().unwrap().to_owned();
        Self { http: api::client().unwrap(), api_url: bakery.stack.api_url().to_owned(), signature_key }
    }

    /// Square's rule, from its documentation: base64(HMAC-SHA256(key, URL + body)).
    pub fn signature(&self, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.signature_key.as_bytes());
        let url = format!("{}/api/v1/webhooks/square", self.api_url);
        STANDARD.encode(hmac::sign(&key, &[url.as_bytes(), body].concat()))
    }

    pub fn letter(&self, provider: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        self.http.post(format!("{}/api/v1/webhooks/{provider}", self.api_url)).body(body.into())
    }

    /// As Square's sandbox sends it.
    pub fn signed(&self, body: impl Into<Vec<u8>>) -> RequestBuilder {
        self.signed_from("Sandbox", body)
    }

    pub fn signed_from(&self, environment: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        let body = body.into();
        let signature = self.signature(&body);
        self.letter("square", body)
            .header("content-type", "application/json")
            .header("square-environment", environment)
            .header("x-square-hmacsha256-signature", signature)
    }

    #[track_caller]
    pub fn deliver(&self, body: impl Into<Vec<u8>>) -> impl Future<Output = ()> {
        let request = self.signed(body);
        async move {
            let answer = Answer::to(request).await;
            assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"status":"accepted"}"#));
        }
    }
}

/// An event that names no order, with an id that no other test has.
pub fn event(merchant_id: &str) -> (String, Value) {
    let id = uuid::Uuid::new_v4().to_string();
    let event = json!({ "merchant_id": merchant_id, "type": "inventory.count.updated", "event_id": id, "data": {} });
    (id, event)
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The tables, as their owner sees them.
pub struct Tables<'a> {
    bakery: &'a Bakery,
    client: aws_sdk_dynamodb::Client,
}

impl<'a> Tables<'a> {
    pub fn of(bakery: &'a Bakery) -> Self {
        Self { bakery, client: aws_sdk_dynamodb::Client::new(&bakery.stack.config()) }
    }

    async fn item(&self, output: &str, key: [(&str, &str); 2]) -> Option<Item> {
        let mut request = self.client.get_item().table_name(self.bakery.stack.output(output).unwrap());
        for (name, value) in key {
            request = request.key(name, AttributeValue::S(value.to_owned()));
        }
        request.consistent_read(true).send().await.unwrap().item
    }

    /// A delivery's row. `owner` is `tenant#configuration` or `unmatched#provider`.
    pub async fn log_row(&self, owner: &str, event_id: &str) -> Option<Item> {
        self.item("WebhookLogsTable", [("log_key", owner), ("event_id", event_id)]).await
    }

    /// A delivery's row, when it has been worked on.
    pub async fn final_row(&self, owner: &str, event_id: &str) -> Item {
        eventually(&format!("the row of {event_id}"), async || self.log_row(owner, event_id).await).await
    }

    /// A transaction of the bakery itself.
    pub async fn transaction(&self, transaction_id: &str) -> Option<Item> {
        let owner = owner(self.bakery);
        self.item("TransactionsTable", [("configuration_key", &owner), ("transaction_id", transaction_id)]).await
    }

    pub async fn configuration(&self, tenant: &str, id: &str) -> Option<Item> {
        self.item("ConfigurationsTable", [("tenant_id", tenant), ("configuration_id", id)]).await
    }

    /// Who is connected to a merchant.
    pub async fn claim(&self, environment: &str, merchant_id: &str) -> Option<Item> {
        self.configuration(&format!("merchant#square#{environment}#{merchant_id}"), "claim").await
    }

    /// A tenant's audit log, oldest row first.
    pub async fn audit_rows(&self, tenant: &str) -> Vec<Item> {
        let table = self.bakery.stack.output("AuditLogTable").unwrap();
        let query = self.client.query().table_name(table).key_condition_expression("tenant_id = :tenant");
        let query = query.expression_attribute_values(":tenant", AttributeValue::S(tenant.to_owned()));
        query.consistent_read(true).send().await.unwrap().items.unwrap_or_default()
    }

    /// What no function may do.
    pub async fn put_audit_row(&self, row: Item) {
        let table = self.bakery.stack.output("AuditLogTable").unwrap();
        self.client.put_item().table_name(table).set_item(Some(row)).send().await.unwrap();
    }

    /// What no function may do.
    pub async fn delete_audit_row(&self, tenant: &str, sequence: u64) {
        let table = self.bakery.stack.output("AuditLogTable").unwrap();
        let delete = self.client.delete_item().table_name(table).key("tenant_id", AttributeValue::S(tenant.into()));
        delete.key("sequence", AttributeValue::N(sequence.to_string())).send().await.unwrap();
    }

    /// An item of a catalogue, as the sync worker writes it.
    pub async fn put_product(&self, tenant: &str, configuration: &str, item: &str, name: &str) {
        let table = self.bakery.stack.output("ProductMappingsTable").unwrap();
        let mut put = self.client.put_item().table_name(table).item("format", AttributeValue::N("1".into()));
        let key = format!("{tenant}#{configuration}");
        let changed_at = "2026-02-14T08:00:00.000Z";
        for (attribute, value) in
            [("configuration_key", key.as_str()), ("item_id", item), ("name", name), ("catalog_changed_at", changed_at)]
        {
            put = put.item(attribute, AttributeValue::S(value.to_owned()));
        }
        put.send().await.unwrap();
    }

    pub async fn configurations(&self, tenant: &str) -> Vec<Item> {
        let table = self.bakery.stack.output("ConfigurationsTable").unwrap();
        let query = self.client.query().table_name(table).key_condition_expression("tenant_id = :tenant");
        let query = query.expression_attribute_values(":tenant", AttributeValue::S(tenant.to_owned()));
        query.consistent_read(true).send().await.unwrap().items.unwrap_or_default()
    }
}

/// Runs the sweeper to its end, as the schedule does every minute.
pub async fn sweep(bakery: &Bakery) {
    invoke(bakery, "outbox-sweeper", "{}").await;
}

/// Runs a function to its end with this event, and returns what it answers.
pub async fn invoke(bakery: &Bakery, function: &str, event: &str) -> Value {
    let answer = Answer::to(invocation(bakery, function, event)).await;
    assert_eq!((answer.status, answer.header("x-amz-function-error")), (200, ""), "{answer:?}");
    answer.json()
}

/// A call of a function with this event, which may fail.
pub fn invocation(bakery: &Bakery, function: &str, event: &str) -> RequestBuilder {
    let stack = &bakery.stack;
    let name = stack.function_name(function).unwrap();
    let url = format!("{}/2015-03-31/functions/{name}/invocations", stack.endpoint());
    // The emulator wants to know who calls, and takes the account's root at its word.
    let root =
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0";
    api::client().unwrap().post(url).header("authorization", root).body(event.to_owned())
}

/// Key of the bakery's own connection in tables.
pub fn owner(bakery: &Bakery) -> String {
    format!("{TENANT}#{}", bakery.configuration_id)
}

/// An attribute as text, empty if there is none.
pub fn text<'i>(item: &'i Item, name: &str) -> &'i str {
    match item.get(name) {
        Some(AttributeValue::S(text) | AttributeValue::N(text)) => text,
        _ => "",
    }
}
