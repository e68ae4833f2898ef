//! Lightspeed's sales against the ledger, read from their JSON alone.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use sandbox::{EntryKind, EntryState, Faults, LedgerEntry, RefundKind, SaleKind, Sandbox, SandboxOptions, Vendor};
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::{PATIENCE, quick, standing};

struct Lightspeed {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Lightspeed {
    fn of(sandbox: &Sandbox, business: &str) -> Self {
        let token = sandbox.grant_of(Vendor::Lightspeed, Some(business), &[]).unwrap().access_token;
        Self { url: sandbox.lightspeed_url(), token, http: reqwest::Client::new() }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Every sale of a location, page by page.
    async fn all(&self, location: &str, size: usize) -> Vec<Value> {
        let path = format!("/f/v2/business-location/{location}/sales?{LATELY}&include=payments,staff&pageSize={size}");
        let (mut sales, mut token) = (Vec::new(), String::new());
        loop {
            let (status, page) = self.get(&format!("{path}{token}")).await;
            assert_eq!(status, 200, "{page}");
            sales.extend(page["sales"].as_array().unwrap().iter().cloned());
            match page["nextPageToken"].as_str() {
                Some(next) => token = format!("&nextPageToken={next}"),
                None => return sales,
            }
        }
    }
}

const LATELY: &str = "from=2026-03-01T00:00:00Z";

/// Decimal text in millionths.
fn exact(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no text: {value}"));
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    sign * (whole.parse::<i64>().unwrap() * 1_000_000 + format!("{rest:0<6}").parse::<i64>().unwrap())
}

fn sum(sale: &Value, list: &str, key: &str) -> i64 {
    sale[list].as_array().unwrap().iter().map(|item| exact(&item[key])).sum()
}

/// What guests pay without tips, by the rule of the business, rounded once half to even.
fn total(sale: &Value) -> i64 {
    let lines = sale["salesLines"].as_array().unwrap();
    let included =
        lines.iter().flat_map(|line| line["taxLines"].as_array().unwrap()).all(|tax| tax["taxIncluded"] == true);
    let exact = match included {
        true => sum(sale, "salesLines", "totalNetAmountWithTax"),
        false => {
            let taxes: i64 = lines.iter().map(|line| sum(line, "taxLines", "taxAmount")).sum();
            sum(sale, "salesLines", "totalNetAmountWithoutTax") + taxes
        }
    };
    let (whole, rest) = (exact.div_euclid(10_000), exact.rem_euclid(10_000));
    whole + i64::from(rest > 5_000 || (rest == 5_000 && whole % 2 != 0))
}

fn is_turnover(sale: &Value) -> bool {
    !["FLOAT", "TRANSITORY", "TRANSFER"].contains(&sale["type"].as_str().unwrap())
}

fn check_against(ledger: &[LedgerEntry], sales: &BTreeMap<String, Value>) {
    let turnover = sales.values().filter(|sale| is_turnover(sale)).count();
    assert_eq!(turnover, ledger.iter().filter(|entry| entry.state != EntryState::Open).count());
    for entry in ledger {
        let sale = &sales[&entry.order_id];
        let sign = if entry.kind == EntryKind::Refund { -1 } else { 1 };
        let tip = sum(sale, "payments", "tip") / 10_000;
        assert_eq!(sign * (total(sale) + tip), entry.total_minor, "{sale}");
        assert_eq!(sum(sale, "payments", "netAmountWithTax") / 10_000, total(sale), "{sale}");
        assert_eq!(sign * tip, entry.tip_minor);
        let gross = sum(sale, "salesLines", "menuListPrice") / 10_000;
        let discount = sum(sale, "salesLines", "totalDiscountAmount") / 10_000;
        assert_eq!((sign * gross, sign * discount), (entry.gross_minor, entry.discount_minor), "{sale}");
        if let Some(source) = &entry.source_order_id {
            assert!(source.ends_with(sale["source"]["initialAccountId"].as_str().unwrap()), "{sale}");
        }
    }
}

async fn everything(sandbox: &Sandbox, size: usize) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for merchant in sandbox.merchants_of(Vendor::Lightspeed) {
        let client = Lightspeed::of(sandbox, &merchant.id);
        for location in &merchant.locations {
            let sales = client.all(&location.id, size).await;
            let times: Vec<&str> = sales.iter().map(|sale| sale["timeClosed"].as_str().unwrap()).collect();
            assert!(times.is_sorted());
            for sale in &sales {
                let place = format!("{}/{}", location.id, sale["accountFiscId"].as_str().unwrap());
                assert!(found.insert(place, sale.clone()).is_none(), "shown twice");
            }
        }
    }
    found
}

#[tokio::test]
async fn the_api_shows_exactly_what_lightspeeds_ledger_says() {
    let options = SandboxOptions { merchants: 3, now: Some("2026-03-12T10:00:00Z".parse().unwrap()), ..standing() };
    let sandbox = Sandbox::start(options).unwrap();
    let lightspeed = sandbox.at(Vendor::Lightspeed);
    lightspeed.stock_history(300, "2026-03-07T06:30:00Z".parse().unwrap());
    let sales = everything(&sandbox, 9).await;
    check_against(&lightspeed.ledger(), &sales);
    for kind in ["SALE", "VOID", "RECALL", "REFUND", "SPLIT", "FLOAT", "TRANSITORY", "TRANSFER"] {
        assert!(sales.values().any(|sale| sale["type"] == kind), "no {kind}");
    }
    for currency in ["EUR", "GBP", "USD"] {
        assert!(lightspeed.ledger().iter().any(|entry| entry.currency == currency), "no {currency}");
    }
    // A business's tax is in its prices, or on top of them.
    let taxes: Vec<&Value> = sales
        .values()
        .flat_map(|sale| sale["salesLines"].as_array().unwrap())
        .flat_map(|line| line["taxLines"].as_array().unwrap())
        .map(|tax| &tax["taxIncluded"])
        .collect();
    assert!(taxes.contains(&&json!(true)) && taxes.contains(&&json!(false)));
    assert!(
        sales
            .values()
            .flat_map(|sale| sale["salesLines"].as_array().unwrap())
            .any(|line| line["parentLineId"].is_string())
    );
}

#[tokio::test]
async fn a_day_in_one_piece_is_complete_when_the_next_has_begun() {
    let sandbox = Sandbox::start(standing()).unwrap();
    let merchant = sandbox.merchants_of(Vendor::Lightspeed).remove(0);
    let lightspeed = sandbox.at(Vendor::Lightspeed);
    lightspeed.stock_history(40, "2026-03-07T06:30:00Z".parse().unwrap());
    let client = Lightspeed::of(&sandbox, &merchant.id);
    let location = &merchant.locations[0].id;
    let mut days: BTreeMap<String, i64> = BTreeMap::new();
    for entry in lightspeed.ledger().iter().filter(|entry| &entry.location_id == location) {
        let sign = if entry.kind == EntryKind::Refund { -1 } else { 1 };
        *days.entry(entry.business_date.clone().unwrap()).or_default() += sign * (entry.total_minor - entry.tip_minor);
    }
    for (day, sold) in &days {
        let (_, daily) =
            client.get(&format!("/f/v2/business-location/{location}/sales-daily?date={day}&include=payments")).await;
        let shown: i64 = daily["sales"].as_array().unwrap().iter().filter(|sale| is_turnover(sale)).map(total).sum();
        assert_eq!(shown, *sold, "{day}");
    }
    let today = sandbox.now().to_string()[..10].to_owned();

    let (_, open) = client.get(&format!("/f/v2/business-location/{location}/sales-daily?date={today}")).await;
    assert_eq!(open["dataComplete"], false);
    sandbox.advance_clock(Duration::from_secs(30 * 3600));
    let grown = Lightspeed::of(&sandbox, &merchant.id);
    let (_, over) = grown.get(&format!("/f/v2/business-location/{location}/sales-daily?date={today}")).await;
    assert_eq!(over["dataComplete"], true);
    assert!(over["sales"].as_array().unwrap().iter().all(|sale| sale.get("payments").is_none()), "nobody asked");
}

#[tokio::test]
async fn questions_of_the_wrong_kind_are_answered_in_a_sentence() {
    let sandbox = Sandbox::start(standing()).unwrap();
    let merchant = sandbox.merchants_of(Vendor::Lightspeed).remove(0);
    let client = Lightspeed::of(&sandbox, &merchant.id);
    let path = format!("/f/v2/business-location/{}/sales", merchant.locations[0].id);
    for (query, said) in [
        ("", "'from' for method parameter type OffsetDateTime is not present"),
        ("?from=12/12/2023", "Invalid date format: 12/12/2023"),
        ("?from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "'from' date cannot be after 'to' date"),
        ("?from=2025-03-02T00:00:00Z", "365 days"),
        ("?from=2020-03-02T00:00:00Z&to=2020-03-03T00:00:00Z", "2024-03-01"),
        ("?from=2026-03-02T00:00:00Z&pageSize=101", "pageSize"),
        ("?from=2026-03-02T00:00:00Z&nextPageToken=x", "nextPageToken"),
    ] {
        let (status, answer) = client.get(&format!("{path}{query}")).await;
        assert_eq!(status, 400, "{query}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(said), "{query}: {answer}");
    }
    assert_eq!(client.get("/f/v2/business-location/1/sales?from=2026-03-02T00:00:00Z").await.0, 404);
}

#[tokio::test]
async fn a_token_for_the_next_page_expires() {
    let sandbox = Sandbox::start(standing()).unwrap();
    let merchant = sandbox.merchants_of(Vendor::Lightspeed).remove(0);
    // Before the grant: a day that passes takes the token's hour with it.
    sandbox.at(Vendor::Lightspeed).stock_history(40, "2026-03-07T06:30:00Z".parse().unwrap());
    let client = Lightspeed::of(&sandbox, &merchant.id);
    let path = format!("/f/v2/business-location/{}/sales?{LATELY}&pageSize=2", merchant.locations[0].id);
    let (_, first) = client.get(&path).await;
    let next = format!("{path}&nextPageToken={}", first["nextPageToken"].as_str().unwrap());
    assert_eq!(client.get(&next).await.0, 200);
    sandbox.set_faults_of(Vendor::Lightspeed, Faults { expire_cursors: 1, ..Faults::default() });
    assert_eq!(client.get(&next).await.0, 400);
    assert_eq!(client.get(&next).await.0, 200);
    sandbox.advance_clock(Duration::from_secs(16 * 60));
    assert_eq!(client.get(&next).await.0, 400);
}

#[tokio::test]
async fn every_turn_of_a_bill_makes_the_sales_it_should() {
    let sandbox = Sandbox::start(SandboxOptions { shops: 1, ..quick() }).unwrap();
    let lightspeed = sandbox.at(Vendor::Lightspeed);
    use SaleKind::*;
    for (kind, expected) in [
        (Simple, &["SALE"][..]),
        (Tip, &["SALE"]),
        (Everything, &["SALE"]),
        (FullRefund, &["REFUND", "SALE"]),
        (PartialRefund, &["REFUND", "SALE"]),
        (AmountRefund, &["REFUND", "SALE"]),
        (Recalled, &["RECALL", "SALE", "SALE"]),
        (Edited, &["RECALL", "SALE", "SALE"]),
        (LateRefund, &["REFUND", "SALE"]),
        (Split, &["SPLIT", "SPLIT"]),
        (Transferred, &["SALE", "TRANSFER", "TRANSFER"]),
        (Overnight, &["SALE", "TRANSITORY", "TRANSITORY"]),
    ] {
        lightspeed.ring_up(kind, None).unwrap();
        lightspeed.wait_until_quiet(PATIENCE).await.unwrap();
        let sales = everything(&sandbox, 50).await;
        check_against(&lightspeed.ledger(), &sales);
        let newest = |sale: &&Value| sale["source"]["initialAccountId"].as_str().unwrap().to_owned();
        let number = |id: &String| id.split_once('.').unwrap().1.parse::<u32>().unwrap();
        let chain = sales.values().map(|sale| newest(&sale)).max_by_key(number).unwrap();
        let mut kinds: Vec<&str> =
            sales.values().filter(|sale| newest(sale) == chain).map(|sale| sale["type"].as_str().unwrap()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, expected, "{kind:?}");
    }
    let mut outcomes = std::collections::BTreeSet::new();
    for _ in 0..12 {
        lightspeed.ring_up(Canceled, None).unwrap();
    }
    lightspeed.wait_until_quiet(PATIENCE).await.unwrap();
    for sale in everything(&sandbox, 50).await.values().filter(|sale| sale["type"] == "VOID") {
        outcomes.insert((sale["cancelled"].as_bool().unwrap(), total(sale) < 0));
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [(false, true), (true, false)], "emptied, or countered");
}

#[tokio::test]
async fn notifications_ring_a_bell_with_user_and_password() {
    let sandbox = Sandbox::start(SandboxOptions { shops: 1, ..quick() }).unwrap();
    let lightspeed = sandbox.at(Vendor::Lightspeed);
    let (receiver, url) = Receiver::answering(&[500]).await;
    let subscription = lightspeed.subscribe(&url);
    sandbox.set_faults_of(Vendor::Lightspeed, Faults { wrong_signatures: 1, ..Faults::default() });
    let sale = lightspeed.ring_up(SaleKind::Tip, None).unwrap();
    lightspeed.wait_until_quiet(PATIENCE).await.unwrap();
    let basic = format!("{}:{}", subscription.id, subscription.signature_key);
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(basic));
    let mut kinds = Vec::new();
    let mut counters = 0;
    let forged = receiver.got().iter().filter(|got| got.header("authorization") != Some(basic.as_str())).count();
    assert_eq!(forged, 1);
    for got in receiver.got() {
        let body: Value = serde_json::from_slice(&got.body).unwrap();
        let account = &body["account"];
        let place = format!("{}/{}", account["businessLocationId"], account["accountNumber"].as_str().unwrap());
        assert_eq!(place, sale.order_id);
        if body["notificationType"] == "CLOSE" {
            assert_eq!((&account["status"], &account["type"]), (&json!("closed"), &json!("SALE")));
            assert!(account["totalAmount"].is_f64() && account["closeDate"].is_i64(), "{account}");
            assert!(account["gratuityAmount"].as_f64().unwrap() > 0.0);
        }
        counters += body["retryCounter"].as_u64().unwrap();
        kinds.push(body["notificationType"].as_str().unwrap().to_owned());
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!((kinds, counters), (vec!["CLOSE".to_owned(), "OPEN".to_owned(), "UPDATE".to_owned()], 1));
}

#[tokio::test]
async fn a_refund_is_told_as_a_closed_account_of_its_own() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let lightspeed = sandbox.at(Vendor::Lightspeed);
    let sale = lightspeed.ring_up(SaleKind::FullRefund, None).unwrap();
    lightspeed.wait_until_quiet(PATIENCE).await.unwrap();
    let refund = sale.refund_order_id.unwrap();
    let told: Vec<Value> = lightspeed.events().iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect();
    let place =
        |told: &Value| format!("{}/{}", told["businessLocationId"], told["account"]["accountNumber"].as_str().unwrap());
    let told: Vec<&Value> = told.iter().filter(|told| place(told) == refund).collect();
    assert_eq!(told.iter().map(|told| &told["notificationType"]).collect::<Vec<_>>(), ["UPDATE", "CLOSE"]);
    for told in told {
        let account = &told["account"];
        assert_eq!((&account["type"], &account["status"]), (&json!("REFUND"), &json!("closed")));
        assert!(
            account["totalAmount"].as_f64().unwrap() < 0.0 && account["paymentLines"].as_array().unwrap().len() == 1
        );
    }
    let entry = lightspeed.ledger().into_iter().find(|entry| entry.order_id == refund).unwrap();
    assert!(entry.reference.unwrap().ends_with("=="));
}

#[tokio::test]
async fn refunds_end_where_the_money_does() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let lightspeed = sandbox.at(Vendor::Lightspeed);
    let sale = lightspeed.ring_up(SaleKind::SplitTender, None).unwrap();
    let back = lightspeed.refund(&sale.order_id, RefundKind::Full).unwrap();
    assert_eq!(back.total_minor, sale.total_minor);
    for kind in [RefundKind::Full, RefundKind::Line, RefundKind::Amount] {
        assert!(lightspeed.refund(&sale.order_id, kind).is_err(), "{kind:?} of nothing");
    }
    assert!(lightspeed.refund("unknown", RefundKind::Full).is_err());
    lightspeed.wait_until_quiet(PATIENCE).await.unwrap();
    check_against(&lightspeed.ledger(), &everything(&sandbox, 50).await);
}

#[tokio::test]
async fn items_and_availability_can_be_read() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let merchant = sandbox.merchants_of(Vendor::Lightspeed).remove(0);
    let client = Lightspeed::of(&sandbox, &merchant.id);
    let location = &merchant.locations[0].id;
    let (_, items) = client.get(&format!("/items/v1/items?businessLocationId={location}&amount=5")).await;
    assert_eq!(items.as_array().unwrap().len(), 5);
    let id = items[0]["id"].to_string();
    let (_, item) = client.get(&format!("/items/v1/items/{id}?businessLocationId={location}")).await;
    assert_eq!(item, items[0]);
    let sku = item["sku"].as_str().unwrap();
    let (_, found) = client.get(&format!("/items/v1/items?businessLocationId={location}&sku={sku}")).await;
    assert_eq!(found[0]["id"], item["id"]);
    let (_, counts) = client.get(&format!("/o/op/1/itemAvailability?businessLocationId={location}&size=2")).await;
    assert_eq!((&counts["data"][0]["sku"], &counts["data"][0]["count"]), (&json!(sku), &json!(0)));
    assert_eq!(counts["metadata"]["totalPages"], 2);
    assert_eq!(client.get("/items/v1/items").await.0, 400);
}
