//! Twenty tenants, one of which reads its past: nobody waits for it, and nobody sees what is another's.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use local::{Answers, Bakery, KnownTransaction, SalesDomain, StackOptions, TENANT};
use reqwest::Method;
use sandbox::{SaleKind, Sandbox, SandboxOptions, Vendor};
use serde_json::{Value, json};

use crate::sync_town::{Books, PATIENCE, Till, patiently};
use crate::town::Answer;

/// Beyond that a sale is late, on the busiest of machines.
const SLOW: SignedDuration = SignedDuration::from_secs(30);

/// How long sales take from the till, the shortest first. The simulator's own pauses are in it: some hundredths of a
/// second.
#[derive(Default)]
struct Taken {
    /// Until they are sent to the sales domain.
    sent: Vec<SignedDuration>,
    /// Until it has them. Here they queue up behind all others; a fair queue would let them pass.
    received: Vec<SignedDuration>,
}

impl Taken {
    fn show(&self) -> String {
        let of = |taken: &[SignedDuration]| {
            let [p50, p99] = [50, 99].map(|percent| taken[(taken.len() - 1) * percent / 100].as_millis());
            format!("p50 {p50} ms, p99 {p99} ms")
        };
        format!("sent {}; received {} ({} sales)", of(&self.sent), of(&self.received), self.sent.len())
    }

    fn longest(&self) -> SignedDuration {
        self.sent.last().copied().unwrap_or_default()
    }
}

/// Sells at each of these, and waits until the sales domain has all of it.
fn sell(tills: &[Till<'_>], rounds: usize, sales: &SalesDomain) -> Taken {
    let mut rung_up = Vec::new();
    for _ in 0..rounds {
        for till in tills {
            let shop = &till.merchant.locations[0].id;
            rung_up.push((till.desk().ring_up(SaleKind::Simple, Some(shop)).unwrap().order_id, Timestamp::now()));
        }
    }
    let completed = |known: &BTreeMap<String, KnownTransaction>, order: &str| {
        let is_it = |it: &Value| it["external_order_id"] == order && it["status"] == "completed";
        known.values().find(|known| is_it(&known.event["data"]["transaction"])).cloned()
    };
    let look = |sales: &SalesDomain| {
        let known = sales.transactions();
        rung_up.iter().map(|(order, at)| Some((*at, completed(&known, order)?))).collect::<Option<Vec<_>>>()
    };
    let began = Instant::now();
    let found = loop {
        if let Some(found) = look(sales) {
            break found;
        }
        assert!(began.elapsed() < PATIENCE, "some sales never come");
        std::thread::sleep(Duration::from_millis(250));
    };
    let mut taken = Taken::default();
    for (at, known) in found {
        let sent_at: Timestamp = known.event["time"].as_str().unwrap().parse().unwrap();
        taken.sent.push(sent_at.duration_since(at));
        taken.received.push(known.received_at.duration_since(at));
    }
    taken.sent.sort();
    taken.received.sort();
    taken
}

fn days_ago(days: i64) -> String {
    let at = Timestamp::now() - SignedDuration::from_hours(24 * days);
    at.to_string()[..10].to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nineteen_tenants_sell_on_while_the_twentieth_reads_its_past() {
    let sandbox = SandboxOptions {
        merchants: 20,
        shops: 1,
        duplicates_percent: 0,
        disorder_percent: 0,
        speed: 6_000.0,
        ..SandboxOptions::default()
    };
    let stack = StackOptions { name: "local-twenty".into(), ..StackOptions::default() };
    let bakery = Bakery::open(Sandbox::start(sandbox).unwrap(), stack).await.unwrap();
    let sales = SalesDomain::start(&bakery.stack, Answers::AtOnce);
    let own = Till {
        bakery: &bakery,
        vendor: Vendor::Square,
        merchant: bakery.sandbox.merchants()[0].clone(),
        tenant: TENANT.to_owned(),
        api: bakery.api().unwrap(),
        id: bakery.configuration_id.clone(),
    };
    let mut tills = vec![own];
    for nth in 1..20 {
        let tenant = format!("shop-{nth}");
        tills.push(Till::connect(&bakery, &tenant, Vendor::Square, nth, json!({ "backfill_days": 0 })).await);
    }
    let reader = tills.pop().unwrap();
    let first: jiff::civil::Date = days_ago(24).parse().unwrap();
    reader.desk().stock_days_of(&reader.merchant.id, first, 20, 75).unwrap();
    for till in tills.iter().chain([&reader]) {
        till.idle().await;
    }
    // The first call of an environment is slower than all others.
    sell(&tills[..4], 1, &sales);
    let before = sell(&tills, 3, &sales);

    let backfill = json!({ "kind": "backfill", "from": days_ago(24), "to": days_ago(0) });
    let began = Instant::now();
    let run = reader.begin(backfill).await;
    reader.run_that(&run, "to read", |run| run["progress"]["pages"].as_u64() >= Some(1)).await;
    let mut syncs = Vec::new();
    for till in &tills {
        syncs.push(till.begin(json!({ "kind": "incremental" })).await);
    }
    let is_reading = reader.run(&run).await["ended_at"].is_null();
    let during = sell(&tills, 3, &sales);
    println!("from the till to the sales domain, nobody reading: {}", before.show());
    println!("and while one reads its past ({is_reading}): {}", during.show());
    assert!(before.longest().max(during.longest()) < SLOW);
    for (till, sync) in tills.iter().zip(&syncs) {
        let run = till.ended(sync).await;
        assert_eq!(run["state"], "completed", "{run:#}");
    }
    let run = reader.ended(&run).await;
    assert_eq!((&run["state"], &run["progress"]["percent"]), (&json!("completed"), &json!(100)), "{run:#}");
    let counts = &run["progress"]["orders"];
    println!("{} orders of the past are stored {:.1?} after the request", counts["created"], began.elapsed());
    assert!(counts["created"].as_u64() >= Some(1_200), "{run:#}");
    assert_eq!((&counts["updated"], &counts["failed"]), (&json!(0), &json!(0)), "{run:#}");

    for till in tills.iter().chain([&reader]) {
        till.assert_balanced(&sales).await;
    }
    // And so is what a program exports, to the cent.
    let sold = reader.sold();
    sold.assert_same(&Books::of_table(&reader.export("text/csv", 400).await), "sold, exported as a table");
    sold.assert_same(&Books::of_lines(&reader.export("application/x-ndjson", 1_000).await), "sold, exported as lines");
    let tenants = sales.totals().into_keys().map(|key| key.tenant).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(tenants.len(), 20);
    nobody_sees_what_is_anothers(&tills[1], &reader).await;
}

async fn nobody_sees_what_is_anothers(curious: &Till<'_>, other: &Till<'_>) {
    let path = format!("/configurations/{}/sync", other.id);
    let tries = [
        curious.api.request(Method::GET, &format!("{path}/status")),
        curious.api.request(Method::POST, &path).json(&json!({ "kind": "incremental" })),
        curious.api.request(Method::POST, &format!("{path}/cancel")),
    ];
    for request in tries {
        Answer::to(request).await.problem(404, "not_found");
    }
    assert_eq!(other.runs("incremental").await.len(), 0);
    patiently("a look at what is one's own", async || {
        Some(curious.runs("incremental").await).filter(|it| it.len() == 1)
    })
    .await;
}
