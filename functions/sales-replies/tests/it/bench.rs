//! A bakery with tills of all three vendors, and its staff. The tests hand commands to the function themselves; only what it
//! sends to itself is taken by the deployed one.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use aws_lambda_events::sqs::SqsEvent;
use jiff::Timestamp;
use lambda_runtime::{Context, LambdaEvent};
use local::{Bakery, Proxy, StackOptions, TENANT};
use reqwest::Method;
use sales_replies::{App, Settings, handle_batch};
use sandbox::{Faults, Sandbox, SandboxOptions, Vendor};
use serde_json::{Value, json};
use shared::domain::{Environment, LocationId, ProviderKind, TenantScope};
use shared::providers::{
    Access, AccessToken, Availability, AvailabilityChange, AvailabilityOutcome, PosProvider, ProviderHosts, Providers,
    ShownAvailability,
};
use shared::queue::sales::{Reply, read_reply};
use shared::settings::Reader;
use shared::store::product_mappings::{MappingChange, ProductMappings};
use tokio::sync::{Mutex, MutexGuard};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// The queue on which the function sends to itself.
static ENDINGS: OnceLock<String> = OnceLock::new();

pub struct Bench {
    pub bakery: Bakery,
    pub square: Branch,
    pub toast: Branch,
    pub lightspeed: Branch,
    /// What has come to the sales domain so far.
    events: std::sync::Mutex<Vec<Value>>,
}

/// A connection of the bakery's.
pub struct Branch {
    pub kind: ProviderKind,
    pub configuration_id: String,
    pub shops: Vec<LocationId>,
    providers: Providers,
    staff: AccessToken,
}

/// One bakery for all tests, one test at a time.
pub async fn bench() -> MutexGuard<'static, Bench> {
    static BENCH: OnceLock<Mutex<Bench>> = OnceLock::new();
    let open = || {
        // The bakery's own servers outlive the runtime of the test that happens to come first.
        let opened = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(Bench::open())
        });
        Mutex::new(opened.join().unwrap())
    };
    let bench = BENCH.get_or_init(open).lock().await;
    for vendor in [Vendor::Square, Vendor::Toast] {
        bench.bakery.sandbox.set_faults_of(vendor, Faults { no_rate_limits: true, ..Faults::default() });
    }
    bench
}

impl Bench {
    async fn open() -> Self {
        let sandbox = SandboxOptions { loss_percent: 100, shops: 2, ..SandboxOptions::default() };
        let stack = StackOptions { name: "sales-replies".to_owned(), ..StackOptions::default() };
        let bakery = Bakery::open(Sandbox::start(sandbox).unwrap(), stack).await.unwrap();
        let url = bakery.stack.variable("sales-replies", "SOLD_OUT_ENDINGS_QUEUE_URL").unwrap();
        let name = url.rsplit('/').next().unwrap();
        ENDINGS.set(format!("arn:aws:sqs:us-east-1:{}:{name}", bakery.stack.account())).unwrap();
        let connections = bakery.connect_branches().await.unwrap();
        let branch = |vendor: Vendor, kind| {
            let (_, id) = connections.iter().find(|(known, _)| *known == vendor).unwrap();
            Branch::of(&bakery, vendor, kind, id)
        };
        let square = branch(Vendor::Square, ProviderKind::Square);
        let toast = branch(Vendor::Toast, ProviderKind::Toast);
        let lightspeed = branch(Vendor::Lightspeed, ProviderKind::Lightspeed);
        let bench = Self { bakery, square, toast, lightspeed, events: std::sync::Mutex::default() };
        for branch in [&bench.square, &bench.toast, &bench.lightspeed] {
            bench.switch(branch, true).await;
        }
        bench
    }

    /// Switches commands on or off, as a user of the API does.
    pub async fn switch(&self, branch: &Branch, is_enabled: bool) {
        let (path, api) = (format!("/configurations/{}", branch.configuration_id), self.bakery.api().unwrap());
        let before = api.request(Method::GET, &path).send().await.unwrap();
        let tag = before.headers()["etag"].clone();
        let name = before.json::<Value>().await.unwrap()["name"].clone();
        let wanted = json!({ "name": name, "day_start": "04:00", "sold_out_enabled": is_enabled });
        let answer = api.request(Method::PUT, &path).header("if-match", tag).json(&wanted).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json::<Value>().await.unwrap()["sold_out_enabled"], is_enabled);
    }

    /// Pauses or resumes, as a user of the API does.
    pub async fn post(&self, branch: &Branch, what: &str) {
        let path = format!("/configurations/{}/{what}", branch.configuration_id);
        let answer = self.bakery.api().unwrap().request(Method::POST, &path).send().await.unwrap();
        assert!(answer.status().is_success(), "{what}: {}", answer.status());
    }

    pub async fn configuration(&self, branch: &Branch) -> Value {
        let path = format!("/configurations/{}", branch.configuration_id);
        let answer = self.bakery.api().unwrap().request(Method::GET, &path).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Calls items of a till by a new name of the tenant's. Returns that.
    pub async fn map(&self, branch: &Branch, items: &[&str]) -> String {
        let product = format!("P-{}", items.join("-")) + &Timestamp::now().as_nanosecond().to_string();
        let product = product.replace(|c: char| !c.is_ascii_alphanumeric(), "");
        let product = product.get(product.len().saturating_sub(100)..).unwrap().to_owned();
        let changes: Vec<MappingChange> = items
            .iter()
            .map(|id| MappingChange { item_id: (*id).to_owned(), product_id: Some(product.parse().unwrap()) })
            .collect();
        let table = self.bakery.stack.output("ProductMappingsTable").unwrap().to_owned();
        let mappings = ProductMappings::new(aws_sdk_dynamodb::Client::new(&self.bakery.stack.config()), table);
        let id = branch.configuration_id.parse().unwrap();
        mappings.map(&scope(), id, &changes, ("u_1", Timestamp::now())).await.unwrap();
        product
    }

    /// A fresh execution environment, its AWS calls going through `proxy` if there is one.
    pub fn app(&self, proxy: Option<&Proxy>) -> App {
        let stack = &self.bakery.stack;
        let config = stack.config_of("sales-replies", proxy);
        let lookup = |name: &str| stack.variable("sales-replies", name).map(str::to_owned);
        App::new(&config, Reader::read(lookup, |r| Settings::read(r, &config)).unwrap())
    }

    /// Lets a fresh execution environment take a command. Whether it is done with it.
    pub async fn take(&self, command: &Value) -> bool {
        take(&self.app(None), command, 1).await
    }

    /// The same, and what was answered: the whole event's data.
    pub async fn answer(&self, command: &Value) -> Value {
        assert!(self.take(command).await, "{command} must come again");
        self.answer_to(command).await
    }

    /// What was answered to a command that has been taken.
    pub async fn answer_to(&self, command: &Value) -> Value {
        self.answered(&format!("{}:1", command["id"].as_str().unwrap())).await
    }

    /// The verdicts, or the reason why there are none.
    pub async fn verdicts(&self, command: &Value) -> Vec<String> {
        verdicts(&self.answer(command).await)
    }

    /// The answer of this id, which is the same however often it was sent.
    pub async fn answered(&self, event_id: &str) -> Value {
        let started = std::time::Instant::now();
        loop {
            let events = self.receive().await;
            let mut found = events.iter().filter(|event| event["id"] == event_id).map(|event| &event["data"]);
            if let Some(first) = found.next() {
                assert!(found.all(|again| again == first), "{event_id} has several answers: {events:?}");
                return first.clone();
            }
            assert!(started.elapsed() < PATIENCE, "no answer {event_id}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many answers to a command have come.
    pub async fn count_answers(&self, command: &Value) -> usize {
        let events = self.receive().await;
        events.iter().filter(|event| event["data"]["command_id"] == command["id"]).count()
    }

    /// All answers that have come so far.
    async fn receive(&self) -> Vec<Value> {
        let client = aws_sdk_sqs::Client::new(&self.bakery.stack.config());
        let queue = self.bakery.stack.output("SalesQueueUrl").unwrap();
        loop {
            let received = client.receive_message().queue_url(queue).max_number_of_messages(10).send().await.unwrap();
            if received.messages().is_empty() {
                return self.events.lock().unwrap().clone();
            }
            for message in received.messages() {
                let event: Value = serde_json::from_str(message.body().unwrap()).unwrap();
                if event["type"] == "pos.availability.answered.v1" {
                    self.events.lock().unwrap().push(event);
                }
                let handle = message.receipt_handle().unwrap();
                client.delete_message().queue_url(queue).receipt_handle(handle).send().await.unwrap();
            }
        }
    }
}

impl Branch {
    fn of(bakery: &Bakery, vendor: Vendor, kind: ProviderKind, configuration_id: &str) -> Self {
        let url = bakery.sandbox.url(vendor);
        let hosts = ProviderHosts { square: Some(url.clone()), toast: Some(url.clone()), lightspeed: Some(url) };
        let merchant = bakery.sandbox.at(vendor).merchants().remove(0);
        // A grant of none is one of all.
        let scopes = if kind == ProviderKind::Square { STAFF } else { &[] };
        Self {
            kind,
            configuration_id: configuration_id.to_owned(),
            shops: merchant.locations.iter().map(|shop| LocationId::new(shop.id.as_str()).unwrap()).collect(),
            providers: Providers::new(hosts),
            staff: AccessToken::new(bakery.sandbox.grant_of(vendor, Some(&merchant.id), scopes).unwrap().access_token),
        }
    }

    fn till(&self) -> (&dyn PosProvider, Access<'_>) {
        (self.providers.get(self.kind), Access { environment: Environment::Sandbox, token: &self.staff })
    }

    /// An item by the beginning of its name.
    pub async fn item(&self, name: &str) -> String {
        let (provider, access) = self.till();
        let items = provider.list_catalog(&access, &self.shops[0], None).await.unwrap().items;
        items.into_iter().find(|item| item.name.starts_with(name)).unwrap().item_id
    }

    /// What a guest sees.
    pub async fn shown(&self, shop: usize, item: &str) -> Availability {
        let (provider, access) = self.till();
        match provider.fetch_availability(&access, &self.shops[shop], item).await.unwrap() {
            ShownAvailability::Known(shown) => shown,
            other @ (ShownAvailability::NotCounted | ShownAvailability::UnknownItem) => panic!("{item}: {other:?}"),
        }
    }

    /// Somebody at the till says what there is.
    pub async fn say(&self, shop: usize, item: &str, availability: Availability) {
        let (provider, access) = self.till();
        let change = AvailabilityChange {
            location: self.shops[shop].clone(),
            item_id: item.to_owned(),
            availability,
            idempotency_key: Timestamp::now().as_nanosecond().to_string(),
            decided_at: Timestamp::now(),
        };
        let said = provider.set_availability(&access, &change).await.unwrap();
        assert_eq!(said, AvailabilityOutcome::Applied);
    }

    /// A command for one shop, given now. Its id is new.
    pub fn command(&self, kind: &str, product: &str, shop: usize) -> Value {
        let now = Timestamp::now();
        json!({
            "id": format!("cmd-{}", now.as_nanosecond()), "time": now, "tenantid": TENANT,
            "type": format!("sales.product.{kind}.v1"),
            "data": {
                "configuration_id": self.configuration_id, "product_id": product, "location_ids": [self.shops[shop]],
            },
        })
    }

    pub fn sold_out(&self, product: &str) -> Value {
        self.command("sold_out", product, 0)
    }

    pub fn available(&self, product: &str) -> Value {
        self.command("available", product, 0)
    }
}

const STAFF: &[&str] = &["ITEMS_READ", "INVENTORY_READ", "INVENTORY_WRITE"];

/// Lets a message be taken. Whether it is done with.
pub async fn take(app: &App, body: &Value, attempt: u32) -> bool {
    // What we send to ourselves comes from a queue of its own.
    let is_ours = body["type"] == "pos.availability.until.v1";
    let queue = if is_ours { ENDINGS.get().unwrap() } else { "arn:aws:sqs:us-east-1:000000000000:replies" };
    let records = json!({ "Records": [{
        "messageId": "1", "eventSourceARN": queue, "body": body.to_string(),
        "attributes": { "ApproximateReceiveCount": attempt.to_string() },
    }] });
    let event: SqsEvent = serde_json::from_value(records).unwrap();
    let deadline = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(30);
    let mut context = Context::default();
    context.deadline = u64::try_from(deadline.as_millis()).unwrap();
    handle_batch(app, LambdaEvent::new(event, context)).await.unwrap().batch_item_failures.is_empty()
}

pub fn verdicts(answer: &Value) -> Vec<String> {
    match answer["reason"].as_str() {
        Some(reason) => vec![reason.to_owned()],
        None => {
            let results = answer["results"].as_array().unwrap().iter();
            results.map(|result| result["verdict"].as_str().unwrap().to_owned()).collect()
        }
    }
}

/// A scope comes only from somewhere that proves it; here from a reply of the sales domain.
fn scope() -> TenantScope {
    let body = include_str!("../../../../schemas/samples/sales.product.availability.v1/sold-out.json");
    let body = body.replace("t_1", TENANT);
    let reply = read_reply(&serde_json::from_value(json!({ "body": body })).unwrap());
    let Ok(Reply::Availability(command)) = reply else { panic!("{reply:?}") };
    command.scope
}

pub fn left(count: &str) -> Availability {
    Availability::Left(count.parse().unwrap())
}
