//! What the tests of the sync share: bakeries whose webhooks never arrive, runs, and three sets of books.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use local::{Answers, Bakery, SalesDomain, StackOptions, TENANT, Total, api::Api};
use reqwest::Method;
use sandbox::{Desk, EntryKind, EntryState, Faults, LedgerEntry, Merchant, Sandbox, SandboxOptions, Slowness, Vendor};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::town::Answer;

/// Longer than any run of these tests takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A town in which every notification is lost. One test at a time, because a fault is a whole vendor's; each connects
/// merchants that no other test sells for.
pub struct SilentTown {
    pub bakery: Bakery,
    pub sales: SalesDomain,
    /// The bakery's three connections.
    pub tills: Vec<(Vendor, String)>,
}

pub async fn silent_town() -> MutexGuard<'static, SilentTown> {
    static TOWN: OnceCell<Mutex<SilentTown>> = OnceCell::const_new();
    let open = || async {
        let sandbox = SandboxOptions {
            merchants: 10,
            shops: 2,
            abroad: true,
            loss_percent: 100,
            speed: 6_000.0,
            ..SandboxOptions::default()
        };
        let stack = StackOptions { name: "local-silent".into(), ..StackOptions::default() };
        let bakery = Bakery::open(Sandbox::start(sandbox).unwrap(), stack).await.unwrap();
        let sales = SalesDomain::start(&bakery.stack, Answers::AtOnce);
        let tills = bakery.connect_branches().await.unwrap();
        let api = bakery.api().unwrap();
        // The schedule's own runs stay away, however long the tests take.
        for (_, id) in &tills {
            let path = format!("/configurations/{id}");
            let shown = Answer::to(api.request(Method::GET, &path)).await.json();
            let hours = shown["locations"].as_array().unwrap().iter();
            let hours: Vec<Value> = hours.map(|it| json!({ "id": it["id"], "day_start": it["day_start"] })).collect();
            let wanted = json!({ "name": "Silent", "locations": hours, "sync": { "interval_minutes": 1440 } });
            let changed = Answer::to(api.request(Method::PUT, &path).header("if-match", "*").json(&wanted)).await;
            assert_eq!(changed.status, 200, "{changed:?}");
        }
        Mutex::new(SilentTown { bakery, sales, tills })
    };
    let town = TOWN.get_or_init(open).await.lock().await;
    for vendor in Vendor::ALL {
        town.bakery.sandbox.set_faults_of(vendor, Faults::default());
    }
    town
}

impl SilentTown {
    /// The bakery's own connection at a vendor.
    pub fn till(&self, vendor: Vendor) -> Till<'_> {
        let (_, id) = self.tills.iter().find(|(of, _)| *of == vendor).unwrap();
        let merchant = self.bakery.sandbox.merchants_of(vendor)[0].clone();
        Till {
            bakery: &self.bakery,
            vendor,
            merchant,
            tenant: TENANT.to_owned(),
            api: self.bakery.api().unwrap(),
            id: id.clone(),
        }
    }

    /// Connects a vendor's `nth` merchant for a tenant.
    pub async fn connect(&self, tenant: &str, vendor: Vendor, nth: usize, sync: Value) -> Till<'_> {
        Till::connect(&self.bakery, tenant, vendor, nth, sync).await
    }
}

/// Lets a vendor's lists of orders come late.
pub fn slow_lists(bakery: &Bakery, vendor: Vendor, millis: u64) {
    let path = match vendor {
        Vendor::Square => "/v2/orders/search",
        Vendor::Toast => "/orders/v2/ordersBulk",
        Vendor::Lightspeed => "/f/",
    };
    let slow = vec![Slowness { path: path.to_owned(), millis }];
    bakery.sandbox.set_faults_of(vendor, Faults { slow, ..Faults::default() });
}

/// Looks again and again until there is something to see. Each look is a request to the service, which must not be kept
/// busy with them.
pub async fn patiently<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    panic!("waited {PATIENCE:?} for {what}");
}

/// Waits until what a connection begins by itself is over.
pub async fn idle(api: &Api, id: &str) {
    let path = format!("/configurations/{id}/sync/status?limit=1");
    let look = async || {
        let status = Answer::to(api.request(Method::GET, &path)).await;
        assert_eq!(status.status, 200, "{status:?}");
        status.json()["current"].as_array().unwrap().is_empty().then_some(())
    };
    patiently("the runs of a first connection", look).await;
}

/// A tenant's connection to a merchant.
pub struct Till<'b> {
    pub bakery: &'b Bakery,
    pub vendor: Vendor,
    pub merchant: Merchant,
    pub tenant: String,
    pub api: Api,
    pub id: String,
}

impl<'b> Till<'b> {
    /// Connects a vendor's `nth` merchant with credentials that are typed in. `sync`: the settings, null for the usual.
    pub async fn connect(bakery: &'b Bakery, tenant: &str, vendor: Vendor, nth: usize, sync: Value) -> Self {
        let api = bakery.api_of(tenant, &["pos:admin"]).unwrap();
        let merchant = bakery.sandbox.merchants_of(vendor)[nth].clone();
        let grant = || json!({ "access_token": bakery.sandbox.grant_of(vendor, Some(&merchant.id), &[]).unwrap().access_token });
        let (environment, credentials) = match vendor {
            Vendor::Square => ("sandbox", grant()),
            Vendor::Lightspeed => ("production", grant()),
            Vendor::Toast => {
                let client = bakery.sandbox.toast_client(Some(&merchant.id)).unwrap();
                let restaurants: Vec<_> = merchant.locations.iter().map(|restaurant| &restaurant.id).collect();
                (
                    "production",
                    json!({ "client_id": client.id, "client_secret": client.secret, "restaurants": restaurants }),
                )
            }
        };
        let mut body = json!({
            "provider": word(vendor), "environment": environment, "name": merchant.name, "day_start": "04:00",
            "credentials": credentials,
        });
        if !sync.is_null() {
            body["sync"] = sync;
        }
        let id = api.create_configuration(&body).await.unwrap();
        Self { bakery, vendor, merchant, tenant: tenant.to_owned(), api, id }
    }

    pub fn desk(&self) -> &'b Desk {
        self.bakery.sandbox.at(self.vendor)
    }

    /// A request below the configuration.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        let request = self.api.request(Method::POST, &format!("/configurations/{}{path}", self.id));
        Answer::to(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// Begins a run and returns its id.
    pub async fn begin(&self, request: Value) -> String {
        let answer = self.post("/sync", request).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let run = answer.json();
        let id = run["id"].as_str().unwrap().to_owned();
        assert!(answer.header("location").ends_with(&format!("/sync/status?run_id={id}")), "{answer:?}");
        id
    }

    pub async fn status(&self, query: &str) -> Value {
        let path = format!("/configurations/{}/sync/status{query}", self.id);
        let answer = Answer::to(self.api.request(Method::GET, &path)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// A run as it is now.
    pub async fn run(&self, id: &str) -> Value {
        self.status(&format!("?run_id={id}")).await["runs"][0].clone()
    }

    /// A run when it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        self.run_that(id, "to end", |run| !run["ended_at"].is_null()).await
    }

    /// A run when it is so.
    pub async fn run_that(&self, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let look = async || Some(self.run(id).await).filter(|run| is_so(run));
        patiently(&format!("run {id} {what}"), look).await
    }

    /// Begins a run, and returns it when it has ended well.
    pub async fn sync(&self, request: Value) -> Value {
        let run = self.ended(&self.begin(request).await).await;
        assert_eq!(run["state"], "completed", "{run:#}");
        assert_eq!(run["progress"]["orders"]["failed"], 0, "{run:#}");
        assert_eq!(run["progress"]["pages"], run["progress"]["pages_done"], "{run:#}");
        run
    }

    /// Waits until nothing is under way.
    pub async fn idle(&self) {
        idle(&self.api, &self.id).await;
    }

    /// Ended runs of a kind, the newest first.
    pub async fn runs(&self, kind: &str) -> Vec<Value> {
        let status = self.status("?limit=100").await;
        let runs = status["runs"].as_array().unwrap().iter().chain(status["current"].as_array().unwrap());
        runs.filter(|run| run["kind"] == kind).cloned().collect()
    }

    /// Writes into a kind's lane, as only time does.
    pub async fn tamper(&self, kind: &str, attributes: &[&str]) {
        let past = AttributeValue::S("2026-01-01T00:00:00.000Z".into());
        let set: Vec<_> = attributes.iter().map(|name| format!("{name} = :past")).collect();
        let client = aws_sdk_dynamodb::Client::new(&self.bakery.stack.config());
        let update = client
            .update_item()
            .table_name(self.bakery.stack.output("SyncLogsTable").unwrap())
            .key("configuration_key", AttributeValue::S(format!("{}#{}", self.tenant, self.id)))
            .key("entry", AttributeValue::S(format!("lane#{kind}")))
            .update_expression(format!("SET {}", set.join(", ")))
            .condition_expression("attribute_exists(due_at)")
            .expression_attribute_values(":past", past);
        update.send().await.unwrap();
    }

    /// Waits until the tills have done everything and their lists show it: the end of a window settles for a second.
    pub async fn quiet(&self) {
        self.desk().wait_until_quiet(PATIENCE).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }

    /// What the tills of the merchant have sold.
    pub fn sold(&self) -> Books {
        let mut books = Books(BTreeMap::new());
        for entry in self.desk().ledger().iter().filter(|entry| entry.merchant_id == self.merchant.id) {
            books.enter(self.vendor, entry);
        }
        books
    }

    /// What our API says was sold.
    pub async fn stored(&self) -> Books {
        let found: Vec<Value> = self.api.transactions(&self.id).await.unwrap();
        Books(found.iter().filter_map(transaction_of).collect())
    }

    /// What our API exports in this form, part by part, as somebody does who follows its links.
    pub async fn export(&self, accept: &str, limit: usize) -> String {
        let (mut whole, mut next) = (String::new(), format!("?configuration_id={}&limit={limit}", self.id));
        loop {
            let request = self.api.request(Method::GET, &format!("/transactions{next}"));
            let answer = Answer::to(request.header("accept", accept)).await;
            assert_eq!((answer.status, answer.header("content-type").starts_with(accept)), (200, true), "{answer:?}");
            whole.push_str(&answer.text);
            match answer.header("link").strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")) {
                Some(query) => next = query.to_owned(),
                None => return whole,
            }
        }
    }

    /// What the sales domain believes.
    pub fn received(&self, sales: &SalesDomain) -> Books {
        let known = sales.transactions();
        let events = known.values().map(|known| &known.event).filter(|event| event["tenantid"] == self.tenant.as_str());
        let transactions = events.map(|event| &event["data"]["transaction"]);
        Books(transactions.filter(|it| it["configuration_id"] == self.id.as_str()).filter_map(transaction_of).collect())
    }

    /// Sold, stored and received are the same, order by order. What was sent last may still be on its way.
    pub async fn assert_balanced(&self, sales: &SalesDomain) -> Books {
        let (sold, stored) = (self.sold(), self.stored().await);
        sold.assert_same(&stored, &format!("{:?}: sold, stored", self.vendor));
        let _ = sales.wait_until(PATIENCE, |sales| self.received(sales) == sold);
        sold.assert_same(&self.received(sales), &format!("{:?}: sold, received", self.vendor));
        sold
    }
}

/// The word of a provider in our API and events.
pub fn word(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Square => "square",
        Vendor::Toast => "toast",
        Vendor::Lightspeed => "lightspeed",
    }
}

/// Completed sales and refunds: currency and total of each, by order and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books(pub BTreeMap<(String, String), (String, i64)>);

type Row = ((String, String), (String, i64));

fn transaction_of(transaction: &Value) -> Option<Row> {
    let text = |name: &str| transaction[name].as_str().unwrap().to_owned();
    let total = transaction["amounts"]["total_minor"].as_i64().unwrap();
    let row = || ((text("external_order_id"), text("kind")), (text("currency"), total));
    (transaction["status"] == "completed").then(row)
}

impl Books {
    /// Of transactions, one in each line.
    pub fn of_lines(lines: &str) -> Self {
        Self(lines.lines().filter_map(|line| transaction_of(&serde_json::from_str(line).unwrap())).collect())
    }

    /// Of a table. Only in the middle of a line there are cells that strangers have filled.
    pub fn of_table(table: &str) -> Self {
        let (names, rows) = table.split_once('\n').unwrap();
        let (first, last) = (
            |name: &str| names.split(',').position(|it| it == name).unwrap(),
            |name: &str| names.rsplit(',').position(|it| it == name).unwrap(),
        );
        let row = |line: &str| {
            let before = |name: &str| line.split(',').nth(first(name)).unwrap().to_owned();
            let behind = |name: &str| line.rsplit(',').nth(last(name)).unwrap().to_owned();
            let value = (behind("currency"), behind("total_minor").parse().unwrap());
            (before("status") == "completed").then(|| ((before("external_order_id"), before("kind")), value))
        };
        Self(rows.lines().filter_map(row).collect())
    }

    fn enter(&mut self, vendor: Vendor, entry: &LedgerEntry) {
        let kind = match entry.kind {
            EntryKind::Sale => "sale",
            EntryKind::Refund => "refund",
            EntryKind::Canceled => return,
        };
        if entry.state != EntryState::Completed {
            return;
        }
        let mut add = |id: &str, minor: i64| {
            let row = self.0.entry((id.to_owned(), kind.to_owned())).or_insert((entry.currency.clone(), 0));
            row.1 += minor;
        };
        // Toast keeps one refund for each payment that it gives back, all of it together.
        if vendor == Vendor::Toast && kind == "refund" {
            entry.payments.iter().for_each(|payment| add(&payment.id, payment.amount_minor));
        } else {
            add(&entry.order_id, entry.total_minor);
        }
    }

    /// Fails with the few rows that differ: a whole day says nothing.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, what: &str) {
        let only = |one: &Self, two: &Self| -> Vec<Row> {
            let rows = one.0.iter().filter(|(key, value)| two.0.get(*key) != Some(value));
            rows.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let (left, right) = (only(self, other), only(other, self));
        assert!(
            left.is_empty() && right.is_empty(),
            "{what}: {} and {} rows; {} only left: {:?}; {} only right: {:?}",
            self.0.len(),
            other.0.len(),
            left.len(),
            left.iter().take(5).collect::<Vec<_>>(),
            right.len(),
            right.iter().take(5).collect::<Vec<_>>(),
        );
    }

    /// Count and sum by kind and currency.
    pub fn sums(&self) -> BTreeMap<(String, String), Total> {
        let mut sums = BTreeMap::<_, Total>::new();
        for ((_, kind), (currency, total)) in &self.0 {
            let sum = sums.entry((kind.clone(), currency.clone())).or_default();
            sum.count += 1;
            sum.total_minor += total;
        }
        sums
    }

    /// Orders, however many transactions each has become.
    pub fn orders(&self) -> usize {
        self.0.keys().map(|(order, _)| order).collect::<std::collections::BTreeSet<_>>().len()
    }
}
