//! Everything that goes wrong at once, and what comes late.

use std::collections::{BTreeMap, BTreeSet};

use sandbox::{
    DeliveryState, EntryKind, EntryState, Faults, LedgerEntry, RandomFailure, SaleKind, Sandbox, SandboxOptions, Vendor,
};
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::{Client, PATIENCE, quick, standing, updated_since};

#[tokio::test]
async fn one_switch_turns_everything_on_and_what_is_said_besides_counts() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = Client::of(&sandbox);
    let put = |body| client.ask(reqwest::Method::PUT, "/_admin/faults?vendor=toast", Some(body));
    assert_eq!(put(json!({"preset": "disorder"})).await.0, 200);
    assert_eq!(sandbox.faults_of(Vendor::Toast), Faults::disorder());
    assert_eq!(put(json!({"preset": "disorder", "burst": 4, "silent_cap": 9})).await.0, 200);
    let expected = Faults { burst: 4, silent_cap: Some(9), ..Faults::disorder() };
    assert_eq!(sandbox.faults_of(Vendor::Toast), expected);
    assert_eq!(put(json!({"preset": "peace"})).await.0, 422);
    assert_eq!(put(json!({"preset": "disorder", "bursts": 4})).await.0, 422);
}

#[tokio::test]
async fn a_disordered_morning_is_told_badly_and_booked_well() {
    for vendor in Vendor::ALL {
        let sandbox = Sandbox::start(standing()).unwrap();
        let (receiver, url) = Receiver::answering(&[]).await;
        let desk = sandbox.at(vendor);
        sandbox.grant_of(vendor, None, &[]).unwrap();
        desk.subscribe(&url);
        sandbox.set_faults_of(vendor, Faults::disorder());
        desk.play(60);
        desk.wait_until_quiet(PATIENCE).await.unwrap();
        let progress = desk.progress();
        assert_eq!(progress.delivered + progress.lost, progress.deliveries, "{progress:?}");
        let share = 100 * progress.lost / progress.deliveries;
        assert!((4..20).contains(&share), "{vendor:?}: {progress:?}");
        assert!(receiver.got().len() >= progress.delivered);
        assert!(desk.deliveries().iter().any(|delivery| delivery.duplicate));
        assert_eq!(desk.events().len() % 2, 0, "everything comes in pairs");
        assert_eq!(sandbox.faults_of(vendor).wrong_signatures, 0, "{vendor:?}");
        assert!(desk.ledger().iter().all(|entry| entry.state != EntryState::Open), "{vendor:?}");
    }
}

#[tokio::test]
async fn the_seed_decides_which_calls_fail() {
    let mut days = Vec::new();
    for seed in [7, 7, 8] {
        let sandbox = Sandbox::start(SandboxOptions { seed, ..quick() }).unwrap();
        let client = Client::of(&sandbox);
        let random_failures = vec![RandomFailure { percent: 25, statuses: vec![429, 503], path: None }];
        let lost = RandomFailure { percent: 50, statuses: vec![502], path: Some("/v2/merchants".to_owned()) };
        sandbox.set_faults(Faults { random_failures, random_lost_answers: vec![lost], ..Faults::default() });
        let mut statuses = Vec::new();
        for call in 0..80 {
            statuses.push(client.get(if call % 2 == 0 { "/v2/locations" } else { "/v2/merchants" }).await.0);
        }
        for (status, share) in [(200, 30..=60), (429, 3..=20), (503, 3..=20), (502, 8..=30)] {
            assert!(share.contains(&statuses.iter().filter(|given| **given == status).count()), "{statuses:?}");
        }
        days.push(statuses);
    }
    assert_eq!(days[0], days[1]);
    assert_ne!(days[0], days[2]);
}

fn hours_between(early: &str, late: &str) -> i64 {
    let [early, late] = [early, late].map(|text| text.parse::<jiff::Timestamp>().unwrap());
    late.duration_since(early).as_hours()
}

#[test]
fn what_comes_late_comes_at_every_provider() {
    for vendor in Vendor::ALL {
        let sandbox = Sandbox::start(standing()).unwrap();
        let desk = sandbox.at(vendor);
        let sold = |entry: &&LedgerEntry| entry.kind == EntryKind::Sale;
        let late_refunds = |ledger: &[LedgerEntry]| {
            let sales: BTreeMap<&str, &LedgerEntry> =
                ledger.iter().filter(sold).map(|sale| (sale.order_id.as_str(), sale)).collect();
            let back = ledger.iter().filter(|entry| entry.kind == EntryKind::Refund);
            let source = |back: &LedgerEntry| sales.get(back.source_order_id.as_deref()?).copied();
            let later = back.filter(|back| source(back).is_some_and(|sale| sale.business_date < back.business_date));
            later.count()
        };
        let shop = desk.merchants()[0].clone();
        sandbox.set_faults_of(vendor, Faults { late_percent: 100, ..Faults::default() });
        desk.stock_days_of(&shop.id, "2026-03-02".parse().unwrap(), 2, 60).unwrap();
        let ledger = desk.ledger();
        assert!(ledger.len() > 200 && late_refunds(&ledger) > 30, "{vendor:?}: {}", late_refunds(&ledger));
        let offline = |entry: &LedgerEntry| hours_between(&entry.taken_at, entry.closed_at.as_ref().unwrap());
        let longest = ledger.iter().filter(sold).filter(|entry| entry.closed_at.is_some()).map(offline).max().unwrap();
        match vendor {
            Vendor::Square => assert!((60..72).contains(&longest), "{longest} hours"),
            // Closed is an order only when the restaurant's day is over.
            Vendor::Toast => assert!((60..96).contains(&longest), "{longest} hours"),
            Vendor::Lightspeed => {}
        }
    }
}

#[tokio::test]
async fn orders_of_one_shop_change_in_the_same_instant_at_square() {
    let sandbox = Sandbox::start(SandboxOptions { shops: 1, ..standing() }).unwrap();
    sandbox.set_faults(Faults { late_percent: 100, ..Faults::default() });
    sandbox.at(Vendor::Square).stock_days("2026-03-02".parse().unwrap(), 1, 300);
    let orders = Client::of(&sandbox).all_orders(&sandbox, 100).await;
    let times: BTreeSet<&str> = orders.iter().map(|order| order["updated_at"].as_str().unwrap()).collect();
    assert!(times.len() + 5 < orders.len(), "{} times of {} orders", times.len(), orders.len());
}

#[tokio::test]
async fn a_late_tip_is_told_when_the_order_was_known_without_it() {
    let sandbox = Sandbox::start(quick()).unwrap();
    sandbox.grant(None, &[]).unwrap();
    let sale = sandbox.ring_up(SaleKind::LateTip).unwrap();
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();
    let bodies = sandbox.events().into_iter().map(|event| serde_json::from_str::<Value>(&event.body).unwrap());
    let paid: Vec<(String, i64)> = bodies
        .map(|body| body["data"]["object"]["payment"].clone())
        .map(|paid| (paid["status"].as_str().unwrap().to_owned(), paid["total_money"]["amount"].as_i64().unwrap()))
        .collect();
    let (total, statuses) = (sale.total_minor, paid.iter().map(|(status, _)| status.as_str()).collect::<Vec<_>>());
    assert_eq!(statuses, ["APPROVED", "APPROVED", "COMPLETED", "COMPLETED"]);
    assert!(paid[0].1 < total && paid[1..].iter().all(|(_, paid)| *paid == total), "{paid:?}");
}

#[tokio::test]
async fn the_mirror_shows_every_receipt_once_with_its_key_inside() {
    let sandbox = Sandbox::start(SandboxOptions { merchants: 2, duplicates_percent: 100, ..quick() }).unwrap();
    let lightspeed = sandbox.at(Vendor::Lightspeed);
    let (receiver, url) = Receiver::answering(&[500]).await;
    let http = reqwest::Client::new();
    let mirrored = lightspeed.merchants().remove(1);
    let wanted = json!({
        "notification_url": url.trim_end_matches("/hook"), "api_key": "k\"ey", "merchant_id": mirrored.id,
    });
    let made = http.post(format!("{}/_admin/subscriptions?vendor=lightspeed", sandbox.square_url())).json(&wanted);
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    assert_eq!(made["notification_url"], url.replace("/hook", "/charge"));
    assert!(sandbox.subscribe_mirroring(Some("nobody"), "http://127.0.0.1:9", "k").is_err());
    sandbox.set_faults_of(Vendor::Lightspeed, Faults { wrong_signatures: 1, ..Faults::default() });
    for (merchant, kind) in lightspeed.merchants().iter().flat_map(|merchant| {
        [SaleKind::Everything, SaleKind::FullRefund, SaleKind::Canceled].map(|kind| (merchant.clone(), kind))
    }) {
        lightspeed.ring_up(kind, Some(&merchant.locations[0].id)).unwrap();
    }
    lightspeed.wait_until_quiet(PATIENCE).await.unwrap();
    let ledger = lightspeed.ledger();
    let mine: Vec<&LedgerEntry> = ledger.iter().filter(|entry| entry.merchant_id == mirrored.id).collect();
    let receipts = mine.iter().filter(|entry| entry.state == EntryState::Completed).count();
    let got = receiver.got();
    assert_eq!(got.len(), 2 * receipts, "each came twice, none was repeated");
    let attempts = lightspeed.deliveries().into_iter().map(|delivery| (delivery.attempts.len(), delivery.state));
    let given_up = attempts.clone().filter(|(_, state)| *state == DeliveryState::GivenUp).count();
    assert!(attempts.clone().all(|(tries, _)| tries == 1) && given_up == 1);
    let mut keys: BTreeMap<String, usize> = BTreeMap::new();
    let mut forged = 0;
    for one in &got {
        let body: Value = serde_json::from_slice(&one.body).unwrap();
        forged += usize::from(body["apiKey"] != "k\"ey");
        let entry = mine.iter().find(|entry| entry.order_id.ends_with(body["fiscId"].as_str().unwrap())).unwrap();
        let paid = |key: &str| {
            let payments = body["payments"].as_array().unwrap().iter();
            payments.map(|payment| (payment[key].as_f64().unwrap() * 100.0).round()).sum::<f64>()
        };
        let sign = if entry.kind == EntryKind::Refund { -1.0 } else { 1.0 };
        let total: i64 = format!("{}", sign * (paid("amount") + paid("gratuity"))).parse().unwrap();
        assert_eq!(total, entry.total_minor, "{body}");
        let quantities = body["transactions"].as_array().unwrap().iter().map(|line| line["quantity"].as_f64().unwrap());
        assert!(quantities.into_iter().all(|quantity| quantity * sign > 0.0), "{body}");
        *keys.entry(one.header("x-lightspeed-idempotency-key").unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(forged, 1);
    assert!(keys.len() == receipts && keys.iter().all(|(key, copies)| key.starts_with("LS1_") && *copies == 2));
}

#[tokio::test]
async fn a_sale_in_the_night_of_the_clock_change_is_on_its_accounting_day() {
    let options = SandboxOptions { abroad: true, now: Some("2026-11-03T12:00:00Z".parse().unwrap()), ..quick() };
    let sandbox = Sandbox::start(options).unwrap();
    let shop = |vendor: Vendor, zone: &str| {
        let shops = sandbox.merchants_of(vendor).remove(0).locations;
        shops.into_iter().find(|shop| shop.time_zone == zone).unwrap().id
    };
    let http = reqwest::Client::new();
    // Square has no accounting days; a day begins at 5 in Toast's Dublin, and at 3 in Lightspeed's Paris.
    for (vendor, name, zone, at, day) in [
        (Vendor::Square, "square", "Europe/London", "2026-03-29T00:30:00Z", "2026-03-29"),
        (Vendor::Square, "square", "Europe/London", "2026-03-28T23:30:00Z", "2026-03-28"),
        (Vendor::Square, "square", "Europe/London", "2026-10-24T23:30:00Z", "2026-10-25"),
        (Vendor::Toast, "toast", "Europe/Dublin", "2026-03-29T03:30:00Z", "2026-03-28"),
        (Vendor::Toast, "toast", "Europe/Dublin", "2026-03-29T04:01:00Z", "2026-03-29"),
        (Vendor::Toast, "toast", "Europe/Dublin", "2026-10-25T00:30:00Z", "2026-10-24"),
        (Vendor::Toast, "toast", "Europe/Dublin", "2026-10-25T01:30:00Z", "2026-10-24"),
        (Vendor::Toast, "toast", "Europe/Dublin", "2026-10-25T05:01:00Z", "2026-10-25"),
        (Vendor::Lightspeed, "lightspeed", "Europe/Paris", "2026-03-29T00:30:00Z", "2026-03-28"),
        (Vendor::Lightspeed, "lightspeed", "Europe/Paris", "2026-03-29T01:01:00Z", "2026-03-29"),
        (Vendor::Lightspeed, "lightspeed", "Europe/Paris", "2026-10-25T01:30:00Z", "2026-10-24"),
        (Vendor::Lightspeed, "lightspeed", "Europe/Paris", "2026-10-25T02:01:00Z", "2026-10-25"),
    ] {
        let wanted = json!({"kind": "cash", "location_id": shop(vendor, zone), "at": at});
        let sale = http.post(format!("{}/_admin/sales?vendor={name}", sandbox.square_url())).json(&wanted);
        let sale: Value = sale.send().await.unwrap().json().await.unwrap();
        let ledger = sandbox.at(vendor).ledger();
        let entry = ledger.iter().find(|entry| entry.order_id == sale["order_id"].as_str().unwrap()).unwrap();
        assert_eq!(entry.business_date.as_deref(), Some(day), "{name}, {at}");
        assert_eq!(entry.state, EntryState::Completed);
    }
    let london = shop(Vendor::Square, "Europe/London");
    let (at, later) = ("2026-03-29T00:30:00Z".parse().unwrap(), "2026-12-01T00:00:00Z".parse().unwrap());
    let square = sandbox.at(Vendor::Square);
    assert!(square.ring_up_past(SaleKind::Simple, &london, later).is_err(), "that is no past");
    assert!(square.ring_up_past(SaleKind::Simple, "nowhere", at).is_err());
    let sale = square.ring_up_past(SaleKind::Simple, &london, at).unwrap();
    let mut query = updated_since(&[london], "2026-03-29T00:30:00Z");
    query["query"]["filter"]["date_time_filter"]["updated_at"]["end_at"] = json!("2026-03-29T00:40:00Z");
    let (_, found) = Client::of(&sandbox).post("/v2/orders/search", query).await;
    let found: Vec<&Value> = found["orders"].as_array().unwrap().iter().map(|order| &order["id"]).collect();
    assert!(found.contains(&&json!(sale.order_id)), "it is listed where it belongs");
    assert!(square.events().is_empty(), "nobody is told of what is past");
}
