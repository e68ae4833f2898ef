//! A shop's day is proven, or it says what is missing; and the sales domain ends with our figures.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan};
use local::SalesDomain;
use reqwest::Method;
use sandbox::{Faults, Location, RefundKind, SaleKind, Vendor};
use serde_json::{Value, json};

use crate::sync_town::{SilentTown, Till, patiently, silent_town};
use crate::town::{Answer, invoke, rough_town};

/// A shop's day of the past, in which nothing has been sold yet.
struct ShopDay<'t> {
    till: &'t Till<'t>,
    shop: Location,
    date: Date,
}

impl<'t> ShopDay<'t> {
    fn new(till: &'t Till<'t>, days_ago: i64) -> Self {
        let shop = till.merchant.locations[0].clone();
        let today = Timestamp::now().in_tz(&shop.time_zone).unwrap().date();
        Self { till, shop, date: today.saturating_sub(days_ago.days()) }
    }

    /// Sells so many things about noon. The simulator tells nobody of what is past.
    fn sell(&self, kind: SaleKind, sales: i8) -> Vec<String> {
        let at = |minute: i8| self.date.at(12, minute, 0, 0).in_tz(&self.shop.time_zone).unwrap().timestamp();
        let sell = |minute| self.till.desk().ring_up_past(kind, &self.shop.id, at(minute)).unwrap().order_id;
        (0..sales).map(sell).collect()
    }

    /// Toast lists an order by its last change: the closing of the tills on the next morning.
    async fn read(&self) {
        let (from, to) = (self.date, self.date.saturating_add(1.day()));
        self.till.sync(json!({ "kind": "backfill", "from": from, "to": to, "locations": [self.shop.id] })).await;
    }

    async fn ask(&self) {
        let path = format!("/days/{}/certificates?location_id={}", self.date, self.shop.id);
        let answer = self.till.post(&path, Value::Null).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.json()["locations"], json!([self.shop.id]));
    }

    async fn get(&self, query: &str) -> Value {
        let path = format!("/configurations/{}/days/{}?location_id={}{query}", self.till.id, self.date, self.shop.id);
        let answer = Answer::to(self.till.api.request(Method::GET, &path)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["shops"][0].clone()
    }

    /// Lets the closer tick until it has said so.
    async fn said(&self, kind: &str) -> Value {
        let look = async || {
            invoke(self.till.bakery, "day-closer", "{}").await;
            Some(self.get("").await).filter(|day| day["state"]["kind"] == kind)
        };
        patiently(&format!("{} to be {kind}", self.date), look).await
    }

    /// Ids of our transactions of these orders.
    async fn ids_of(&self, orders: &[String]) -> BTreeSet<String> {
        let stored: Vec<Value> = self.till.api.transactions(&self.till.id).await.unwrap();
        let is_wanted = |it: &&Value| orders.iter().any(|order| it["external_order_id"] == order.as_str());
        stored.iter().filter(is_wanted).map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The newest that the sales domain has heard of it.
    fn heard(&self, sales: &SalesDomain) -> Option<contract::event::DayData> {
        let is_it = |day: &contract::event::DayData| {
            (&day.configuration_id, &day.location_id, &day.business_date)
                == (&self.till.id, &self.shop.id, &self.date.to_string())
        };
        sales.days().into_iter().find(is_it)
    }

    fn assert_heard(&self, sales: &SalesDomain, day: &Value) {
        let revision = day["revision"].as_u64().unwrap();
        let is_heard = |sales: &SalesDomain| self.heard(sales).is_some_and(|heard| heard.revision == revision);
        assert!(sales.wait_until(crate::sync_town::PATIENCE, is_heard), "{day:#}");
        let heard = self.heard(sales).unwrap();
        assert_eq!(json!(heard.sale_count), day["sale_count"]);
        assert_eq!(json!(heard.sales.total_minor), day["sales"]["total_minor"]);
        assert_eq!(json!(heard.refunds.total_minor), day["refunds"]["total_minor"]);
    }
}

fn method(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Square => "orders_by_closing",
        Vendor::Toast => "orders_of_date",
        Vendor::Lightspeed => "daily_record",
    }
}

/// Five of eight sales have reached us.
async fn is_short_and_repaired(town: &SilentTown, till: &Till<'_>) {
    let day = ShopDay::new(till, 5);
    day.sell(SaleKind::Simple, 5);
    let before = day.get("").await;
    assert_eq!((&before["revision"], &before["state"]["kind"]), (&json!(0), &json!("pending")), "{before:#}");
    day.read().await;
    day.ask().await;
    let proven = day.said("proven").await;
    let expected = (json!(1), json!(5), json!(5), json!(method(till.vendor)));
    let shown = |day: &Value| {
        let certificate = &day["certificate"];
        (
            day["revision"].clone(),
            day["sale_count"].clone(),
            certificate["compared"].clone(),
            certificate["method"].clone(),
        )
    };
    assert_eq!(shown(&proven), expected, "{proven:#}");
    assert_eq!(proven["certificate"]["ours"], proven["certificate"]["theirs"]);
    day.assert_heard(&town.sales, &proven);
    let then = Timestamp::now();

    let unheard = day.sell(SaleKind::Simple, 3);
    day.ask().await;
    let short = day.said("short").await;
    assert_eq!((&short["revision"], &short["sale_count"]), (&json!(2), &json!(5)), "{short:#}");
    let missing: BTreeSet<String> = serde_json::from_value(short["state"]["missing"].clone()).unwrap();
    assert_eq!(missing.len(), 3, "{short:#}");

    let repaired = day.said("proven").await;
    assert_eq!(repaired["sale_count"], 8, "{repaired:#}");
    assert_eq!(day.ids_of(&unheard).await, missing, "exactly those that had not reached us");
    let runs = till.runs("repair").await;
    assert!(runs.iter().any(|run| run["trigger"] == "certificate"), "{runs:#?}");
    day.assert_heard(&town.sales, &repaired);

    let believed = day.get(&format!("&as_of={then}")).await;
    for field in ["sale_count", "net_minor", "products", "by_tender", "revision"] {
        assert_eq!(believed[field], proven[field], "{field}: {believed:#}");
    }
    assert_eq!(believed["state"]["kind"], "proven");
    // What the repair had brought was believed at once, and nobody had said yet that it is all.
    let said_at: Timestamp = repaired["said_at"].as_str().unwrap().parse().unwrap();
    let between = day.get(&format!("&as_of={}", said_at - SignedDuration::from_millis(1))).await;
    assert_eq!((&between["sale_count"], &between["revision"]), (&json!(8), &json!(2)), "{between:#}");
    assert!(between["changed_at"].is_string(), "{between:#}");
    let long_ago = day.get("&as_of=2026-01-01T00:00:00Z").await;
    assert_eq!((&long_ago["revision"], &long_ago["sale_count"]), (&json!(0), &json!(0)), "{long_ago:#}");
}

#[tokio::test]
async fn a_day_that_is_short_names_what_is_missing_is_repaired_and_then_proven() {
    let town = &*silent_town().await;
    for vendor in Vendor::ALL {
        let till = town.connect("certified", vendor, 6, json!({ "backfill_days": 0 })).await;
        till.idle().await;
        is_short_and_repaired(town, &till).await;
    }
}

/// The list that syncs read is cut, and so is the one that days are compared with.
#[tokio::test]
async fn what_lists_that_are_cut_in_silence_hide_is_named_and_not_called_proven() {
    let town = &*silent_town().await;
    for vendor in [Vendor::Square, Vendor::Toast] {
        let till = town.connect("capped", vendor, 7, json!({ "backfill_days": 0 })).await;
        till.idle().await;
        let day = ShopDay::new(&till, 6);
        let orders = day.sell(SaleKind::Simple, 9);
        town.bakery.sandbox.set_faults_of(vendor, Faults { silent_cap: Some(4), ..Faults::default() });
        day.read().await;
        let known = day.ids_of(&orders).await;
        assert_eq!(known.len(), 4, "the sync has not noticed");
        day.ask().await;
        let short = day.said("short").await;
        let missing: BTreeSet<String> = serde_json::from_value(short["state"]["missing"].clone()).unwrap();
        assert!(missing.len() == 5 && missing.is_disjoint(&known), "{short:#}");

        town.bakery.sandbox.set_faults_of(vendor, Faults::default());
        day.ask().await;
        let proven = day.said("proven").await;
        assert_eq!((&proven["sale_count"], &proven["certificate"]["compared"]), (&json!(9), &json!(9)), "{proven:#}");
        assert_eq!(day.ids_of(&orders).await, &known | &missing);
        day.assert_heard(&town.sales, &proven);
    }
}

#[tokio::test]
async fn a_late_refund_counts_on_its_own_day_and_a_late_sale_restates_the_day_that_it_belongs_to() {
    let town = &*silent_town().await;
    let till = town.connect("restated", Vendor::Square, 8, json!({ "backfill_days": 0 })).await;
    till.idle().await;
    let day = ShopDay::new(&till, 9);
    let orders = day.sell(SaleKind::Simple, 2);
    day.read().await;
    day.ask().await;
    let closed = day.said("proven").await;
    assert_eq!(closed["revision"], 1);

    till.desk().refund(&orders[0], RefundKind::Full).unwrap();
    till.quiet().await;
    till.sync(json!({ "kind": "incremental" })).await;
    let today = ShopDay { date: Timestamp::now().in_tz(&day.shop.time_zone).unwrap().date(), ..ShopDay::new(&till, 0) };
    let mut refunds = 0;
    for date in [today.date, today.date.yesterday().unwrap()] {
        refunds += ShopDay { date, ..ShopDay::new(&till, 0) }.get("").await["refund_count"].as_u64().unwrap();
    }
    assert_eq!(refunds, 1, "the money was given back today");
    let after = day.said("proven").await;
    assert_eq!((&after["revision"], &after["net_minor"]), (&json!(1), &closed["net_minor"]), "{after:#}");

    day.sell(SaleKind::Simple, 1);
    // The normalizer itself says that the day has changed: nobody asks for a look.
    day.read().await;
    let look = async || {
        invoke(&town.bakery, "day-closer", "{}").await;
        Some(day.get("").await).filter(|day| day["revision"] == 2)
    };
    let restated = patiently("the day to be restated", look).await;
    assert_eq!((&restated["state"]["kind"], &restated["sale_count"]), (&json!("proven"), &json!(3)), "{restated:#}");
    day.assert_heard(&town.sales, &restated);
    let path = format!("/configurations/{}/days?from={}&to={}", till.id, day.date, day.date);
    let calendar = Answer::to(till.api.request(Method::GET, &path)).await.json();
    assert_eq!(calendar["items"].as_array().unwrap().len(), 1, "{calendar:#}");
    assert_eq!(calendar["items"][0]["net_minor"], restated["net_minor"]);
}

#[tokio::test]
async fn a_day_that_is_closed_costs_two_reads() {
    let town = &*rough_town().await;
    let (bakery, api) = (town.bakery, town.bakery.api().unwrap());
    let shop = bakery.sandbox.merchants()[0].locations[0].clone();
    let date = Timestamp::now().in_tz(&shop.time_zone).unwrap().date().saturating_sub(40.days());
    let path = format!("/configurations/{}/days/{date}", bakery.configuration_id);
    let asked = Answer::to(api.request(Method::POST, &format!("{path}/certificates"))).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let look = async || {
        invoke(bakery, "day-closer", "{}").await;
        let day = Answer::to(api.request(Method::GET, &path)).await.json();
        let mut shops = day["shops"].as_array().unwrap().iter();
        shops.all(|shop| shop["state"]["kind"] == "proven").then_some(())
    };
    patiently("an empty day to be proven", look).await;
    for query in [String::new(), format!("?location_id={}", shop.id)] {
        town.proxy.reset();
        let answer = Answer::to(api.request(Method::GET, &format!("{path}{query}"))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let calls = town.proxy.calls();
        // Nobody else reads days, or lists them; configurations are read by whoever works.
        let of_day = calls.iter().filter(|call| call.resource.contains("Days")).count();
        let of_transactions = calls.iter().filter(|call| call.resource.contains("Transactions")).count();
        assert_eq!((of_day, of_transactions), (1, 0), "{calls:?}");
        println!("{:?}", calls.iter().map(local::Call::name).collect::<Vec<_>>());
    }
}
