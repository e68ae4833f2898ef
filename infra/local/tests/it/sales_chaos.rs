//! DESIGN, invariant 4: whatever the sales domain loses, repeats and delays, and whoever dies of what, all books agree
//! in the end.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use local::{Answers, Bakery, Fault, Proxy, SalesDomain, StackOptions, TENANT, Total, TotalKey};
use sandbox::{EntryKind, EntryState, LedgerEntry, Sandbox, SandboxOptions, Vendor};
use serde_json::Value;

use crate::sync_town::word;
use crate::town::{Answer, eventually, invocation, sweep};

const PATIENCE: Duration = Duration::from_secs(150);
/// The kinds of AWS call that the normalizer and the sweeper make for a sale. Both are killed when one is made, before it
/// is executed and after it. Another function may be the one that made it: their own tests see to each call of each.
const STEPS: [&str; 6] =
    ["dynamodb:Query", "dynamodb:GetItem", "dynamodb:PutItem", "sqs:SendMessage", "dynamodb:UpdateItem", "kms:Decrypt"];
/// As template.yaml has it for the local stack.
const FIRST_RESEND_AFTER: Duration = Duration::from_secs(10);
const VICTIMS: [&str; 2] = ["normalizer", "outbox-sweeper"];

type Sums = BTreeMap<TotalKey, Total>;

/// A town whose AWS calls can be cut off, with a till at each vendor.
struct Town {
    bakery: &'static Bakery,
    connections: Vec<(Vendor, String)>,
    sales: SalesDomain,
    proxy: Proxy,
}

async fn open() -> Town {
    let proxy = Proxy::start().unwrap();
    let emulator = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
    // While the bakery opens, functions are called already, so the proxy must know its way before.
    proxy.forward_to(&format!("http://127.0.0.1:{emulator}"));
    let sandbox = Sandbox::start(SandboxOptions { speed: 1_200.0, ..SandboxOptions::default() }).unwrap();
    let options = StackOptions {
        name: "local-chaos".into(),
        port: Some(emulator),
        function_endpoint: Some(proxy.url().to_owned()),
        ..StackOptions::default()
    };
    // Forever, so that a fault may kill its functions.
    let bakery: &Bakery = Box::leak(Box::new(Bakery::open(sandbox, options).await.unwrap()));
    // What each connection reads by itself at first comes on top.
    let connections = bakery.connect_branches().await.unwrap();
    let sales = SalesDomain::start(&bakery.stack, Answers::Unreliable { one_in: 5, seed: 11 });
    Town { bakery, connections, sales, proxy }
}

/// What three parties believe, and what is still to be answered.
#[derive(Debug, PartialEq)]
struct Books {
    sold: Sums,
    stored: Sums,
    received: Sums,
    /// The newest revision of each transaction.
    stored_revisions: BTreeMap<String, u64>,
    received_revisions: BTreeMap<String, u64>,
    marks: i32,
}

impl Books {
    fn agree(&self) -> bool {
        let is_one = self.sold == self.stored && self.stored == self.received;
        is_one && self.stored_revisions == self.received_revisions && self.marks == 0
    }
}

fn add(sums: &mut Sums, [provider, currency, kind, business_date]: [&str; 4], total_minor: i64) {
    let key = TotalKey {
        tenant: TENANT.to_owned(),
        provider: provider.to_owned(),
        currency: currency.to_owned(),
        kind: kind.to_owned(),
        business_date: business_date.to_owned(),
    };
    let total = sums.entry(key).or_default();
    total.count += 1;
    total.total_minor += total_minor;
}

impl Town {
    /// Sells, and meanwhile kills both victims at each of the steps, and once more when the first losses are due, so
    /// that a sweep has something to send again. Returns how many of each have died.
    async fn sell_among_deaths(&self) -> [usize; 2] {
        let began = Instant::now();
        let first = self.walk_of_deaths().await;
        tokio::time::sleep(FIRST_RESEND_AFTER.saturating_sub(began.elapsed())).await;
        let second = self.walk_of_deaths().await;
        [first[0] + second[0], first[1] + second[1]]
    }

    async fn walk_of_deaths(&self) -> [usize; 2] {
        let deaths = Arc::new(VICTIMS.map(|_| AtomicUsize::new(0)));
        for (step, fault) in STEPS.into_iter().flat_map(|step| [(step, Fault::DropBefore), (step, Fault::DropAfter)]) {
            self.proxy.reset();
            let (counted, stack) = (Arc::clone(&deaths), &self.bakery.stack);
            self.proxy.on_drop(move || {
                for (victim, deaths) in VICTIMS.iter().zip(counted.iter()) {
                    deaths.fetch_add(stack.kill_function(victim).unwrap_or_default(), Ordering::Relaxed);
                }
            });
            self.proxy.hit_named(step, 1, fault);
            for vendor in Vendor::ALL {
                self.bakery.sandbox.at(vendor).play(1);
            }
            let is_cut_off = || self.proxy.calls().iter().any(|call| call.fault == Some(fault));
            eventually(&format!("{fault:?} of {step}"), async || {
                // A sweep, so that there is one that can be killed. What it has not done is done by a later one.
                Answer::to(invocation(self.bakery, "outbox-sweeper", "{}")).await;
                is_cut_off().then_some(())
            })
            .await;
        }
        self.proxy.reset();
        [0, 1].map(|victim| deaths[victim].load(Ordering::Relaxed))
    }

    /// The tills' own books, which no parser of ours has touched.
    fn sold(&self) -> Sums {
        let mut sums = Sums::new();
        for vendor in Vendor::ALL {
            for entry in self.bakery.sandbox.at(vendor).ledger() {
                if entry.state != EntryState::Completed || entry.kind == EntryKind::Canceled {
                    continue;
                }
                let kind = if entry.kind == EntryKind::Refund { "refund" } else { "sale" };
                let day = self.business_date(vendor, &entry);
                let key = [word(vendor), &entry.currency, kind, &day];
                // Toast keeps one refund for each payment that it gives back.
                if vendor == Vendor::Toast && entry.kind == EntryKind::Refund {
                    entry.payments.iter().for_each(|payment| add(&mut sums, key, payment.amount_minor));
                } else {
                    add(&mut sums, key, entry.total_minor);
                }
            }
        }
        sums
    }

    /// Square knows no business day, so there it is by our connection, which keeps the shop's hours.
    fn business_date(&self, vendor: Vendor, entry: &LedgerEntry) -> String {
        if vendor != Vendor::Square {
            return entry.business_date.clone().unwrap();
        }
        let merchants = self.bakery.sandbox.merchants();
        let shop =
            merchants.iter().flat_map(|merchant| &merchant.locations).find(|it| it.id == entry.location_id).unwrap();
        let zone = TimeZone::get(&shop.time_zone).unwrap();
        let taken_at: Timestamp = entry.taken_at.parse().unwrap();
        zone.to_datetime(taken_at).saturating_sub(SignedDuration::from_hours(shop.day_starts.into())).date().to_string()
    }

    async fn books(&self) -> Books {
        let (api, mut stored) = (self.bakery.api().unwrap(), Vec::<Value>::new());
        for (_, id) in &self.connections {
            stored.extend(api.transactions::<Value>(id).await.unwrap());
        }
        let (mut sums, mut stored_revisions) = (Sums::new(), BTreeMap::new());
        for transaction in &stored {
            let text = |name: &str| transaction[name].as_str().unwrap();
            stored_revisions.insert(text("id").to_owned(), transaction["revision"].as_u64().unwrap());
            if text("status") == "completed" {
                let key = ["provider", "currency", "kind", "business_date"].map(text);
                add(&mut sums, key, transaction["amounts"]["total_minor"].as_i64().unwrap());
            }
        }
        let known = self.sales.transactions().into_iter();
        Books {
            sold: self.sold(),
            stored: sums,
            received: self.sales.totals(),
            stored_revisions,
            received_revisions: known.map(|(id, known)| (id, known.revision)).collect(),
            marks: self.marks().await,
        }
    }

    /// Transactions that wait for an answer.
    async fn marks(&self) -> i32 {
        let client = aws_sdk_dynamodb::Client::new(&self.bakery.stack.config());
        let table = self.bakery.stack.output("TransactionsTable").unwrap();
        let scan = client.scan().table_name(table).filter_expression("attribute_exists(outbox_shard)");
        let found = scan.consistent_read(true).send().await.unwrap();
        assert_eq!(found.last_evaluated_key, None, "one page shows all");
        found.count
    }

    /// The books when they agree, or when they had their time.
    async fn settled(&self) -> Books {
        for vendor in Vendor::ALL {
            self.bakery.sandbox.at(vendor).wait_until_quiet(PATIENCE).await.unwrap();
        }
        let (started, mut swept) = (Instant::now(), Instant::now());
        loop {
            let books = self.books().await;
            if books.agree() || started.elapsed() > PATIENCE {
                return books;
            }
            // What was not answered is due after ten seconds, and after twenty if that is lost too; the schedule's
            // minute is long for a test.
            if swept.elapsed() > Duration::from_secs(2) {
                sweep(self.bakery).await;
                swept = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test]
async fn books_agree_whatever_the_sales_domain_mistreats_and_whoever_dies() {
    let town = open().await;
    let [normalizers, sweepers] = town.sell_among_deaths().await;
    let books = town.settled().await;
    assert_eq!(books.sold, books.stored, "sold and stored");
    assert_eq!(books.stored, books.received, "stored and received");
    assert_eq!(books.stored_revisions, books.received_revisions, "the highest revision sent is the one stored");
    assert_eq!(books.marks, 0, "nothing waits for an answer");

    let providers: std::collections::BTreeSet<_> = books.sold.keys().map(|key| key.provider.as_str()).collect();
    assert_eq!(providers.len(), Vendor::ALL.len(), "every till has sold: {:?}", books.sold);
    let counts = town.sales.counts();
    assert!(counts.lost > 0 && counts.doubled > 0 && counts.delayed > 0, "{counts:?}");
    assert!(normalizers >= STEPS.len() && sweepers >= STEPS.len(), "{normalizers} and {sweepers} died");
}
