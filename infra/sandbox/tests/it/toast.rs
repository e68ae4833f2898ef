//! Toast's orders against the ledger, read from their JSON alone.

use std::collections::BTreeMap;

use base64::Engine;
use hmac::{Hmac, Mac};
use reqwest::Method;
use sandbox::{
    DeliveryState, EntryKind, EntryState, Faults, LedgerEntry, RefundKind, SaleKind, Sandbox, SandboxOptions, Vendor,
};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::receiver::Receiver;
use crate::{PATIENCE, quick, standing};

/// A client of one group that asks about one restaurant.
struct Toast {
    url: String,
    token: String,
    restaurant: String,
    http: reqwest::Client,
}

impl Toast {
    fn of(sandbox: &Sandbox, place: usize) -> Self {
        let token = sandbox.grant_of(Vendor::Toast, None, &[]).unwrap().access_token;
        let restaurant = sandbox.merchants_of(Vendor::Toast)[0].locations[place].id.clone();
        Self { url: sandbox.toast_url(), token, restaurant, http: reqwest::Client::new() }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::Response {
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        let request = request.header("Toast-Restaurant-External-ID", &self.restaurant);
        match body {
            Some(body) => request.json(body).send().await.unwrap(),
            None => request.send().await.unwrap(),
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.send(Method::GET, path, None).await;
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn order(&self, guid: &str) -> Value {
        self.get(&format!("/orders/v2/orders/{guid}")).await.1
    }

    /// Every order of the restaurant, following the links.
    async fn all(&self, size: usize, range: &str) -> Vec<Value> {
        let mut path = format!("/orders/v2/ordersBulk?{range}&pageSize={size}");
        let mut orders = Vec::new();
        loop {
            let answer = self.send(Method::GET, &path, None).await;
            assert_eq!(answer.status().as_u16(), 200);
            let links = answer.headers().get_all("link").iter().map(|link| link.to_str().unwrap().to_owned());
            let links: Vec<String> = links.collect();
            assert!(links[0].contains("rel=\"first\"") && links[1].contains("rel=\"self\""), "{links:?}");
            let next = links.iter().find(|link| link.contains("rel=\"next\""));
            let next = next.map(|link| link[self.url.len() + 1..link.find('>').unwrap()].to_owned());
            let page: Vec<Value> = answer.json().await.unwrap();
            assert!(page.len() == size || next.is_none());
            orders.extend(page);
            match next {
                Some(next) => path = next,
                None => return orders,
            }
        }
    }
}

const LATELY: &str = "startDate=2026-03-07T00%3A00%3A00.000%2B0000&endDate=2026-03-30T00%3A00%3A00.000Z";

fn unlimited(options: SandboxOptions) -> Sandbox {
    let sandbox = Sandbox::start(options).unwrap();
    sandbox.set_faults_of(Vendor::Toast, Faults { no_rate_limits: true, ..Faults::default() });
    sandbox
}

/// A JSON number in hundred-millionths, digit by digit.
fn exact(value: &Value) -> i64 {
    let text = value.to_string();
    let (sign, text) = text.strip_prefix('-').map_or((1, text.as_str()), |rest| (-1, rest));
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    assert!(rest.len() <= 8, "{value}");
    sign * (whole.parse::<i64>().unwrap() * 100_000_000 + format!("{rest:0<8}").parse::<i64>().unwrap())
}

fn minor(value: &Value) -> i64 {
    let exact = exact(value);
    assert_eq!(exact % 1_000_000, 0, "{value} is finer than a cent");
    exact / 1_000_000
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn sum(value: &Value, key: &str, amount: &str) -> i64 {
    list(value, key).iter().map(|item| minor(&item[amount])).sum()
}

/// The documented formulas of one check; answers with its total and tips.
fn check_adds_up(check: &Value) -> (i64, i64) {
    let sold: Vec<&Value> = list(check, "selections").iter().filter(|selection| selection["voided"] == false).collect();
    let price: i64 = sold.iter().map(|selection| minor(&selection["price"])).sum();
    let before: i64 = sold.iter().map(|selection| minor(&selection["preDiscountPrice"])).sum();
    let own: i64 = sold.iter().map(|selection| sum(selection, "appliedDiscounts", "nonTaxDiscountAmount")).sum();
    assert_eq!(before - price, own + sum(check, "appliedDiscounts", "nonTaxDiscountAmount"), "{check}");
    let charges = |gratuity: bool| -> i64 {
        let charges = list(check, "appliedServiceCharges").iter().filter(|charge| charge["gratuity"] == gratuity);
        charges.map(|charge| minor(&charge["chargeAmount"])).sum()
    };
    assert_eq!(minor(&check["amount"]), price + charges(false), "{check}");
    let tax: i64 = sold
        .iter()
        .map(|selection| {
            let each: i64 = list(selection, "appliedTaxes").iter().map(|tax| exact(&tax["taxAmount"])).sum();
            assert_eq!(each, exact(&selection["tax"]), "{selection}");
            each
        })
        .sum();
    let off = (tax - exact(&check["taxAmount"])).abs();
    assert!(off <= 500_000, "{off} hundred-millionths are more than a rounding: {check}");
    assert_eq!(minor(&check["totalAmount"]), minor(&check["amount"]) + minor(&check["taxAmount"]));
    // A gratuity is paid, and no part of `amount`.
    let total = minor(&check["totalAmount"]) + charges(true);
    assert_eq!(sum(check, "payments", "amount"), total, "{check}");
    (total, sum(check, "payments", "tipAmount"))
}

fn is_sale(order: &Value) -> bool {
    ["deleted", "voided", "createdInTestMode", "excessFood"].iter().all(|flag| order[flag] == false)
}

fn given_back(order: &Value) -> i64 {
    let payments = list(order, "checks").iter().flat_map(|check| list(check, "payments"));
    let refunds = payments.map(|payment| &payment["refund"]).filter(|refund| !refund.is_null());
    refunds.map(|refund| minor(&refund["refundAmount"]) + minor(&refund["tipRefundAmount"])).sum()
}

fn check_against(ledger: &[LedgerEntry], orders: &BTreeMap<String, Value>) {
    let mut sales = 0;
    for entry in ledger.iter().filter(|entry| entry.kind != EntryKind::Refund) {
        let order = &orders[&entry.order_id];
        let day = order["businessDate"].to_string();
        assert_eq!(entry.business_date.as_ref().unwrap().replace('-', ""), day);
        assert_eq!(is_sale(order), entry.state != EntryState::Canceled, "{order}");
        if entry.state == EntryState::Completed {
            let parts = list(order, "checks").iter().map(check_adds_up);
            let (total, tip) = parts.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
            assert_eq!((total + tip, tip), (entry.total_minor, entry.tip_minor), "{order}");
            let paid = entry.gross_minor - entry.discount_minor + entry.tax_minor + entry.service_charge_minor;
            assert_eq!(paid + entry.tip_minor, entry.total_minor);
            sales += 1;
        }
        let refunds = ledger.iter().filter(|refund| refund.source_order_id.as_ref() == Some(&entry.order_id));
        assert_eq!(refunds.map(|refund| refund.total_minor).sum::<i64>(), given_back(order), "{order}");
    }
    assert!(sales > 0);
}

async fn everything(sandbox: &Sandbox, range: &str, places: usize) -> BTreeMap<String, Value> {
    let mut orders = BTreeMap::new();
    for place in 0..places {
        for order in Toast::of(sandbox, place).all(7, range).await {
            assert!(orders.insert(order["guid"].as_str().unwrap().to_owned(), order).is_none(), "shown twice");
        }
    }
    orders
}

#[tokio::test]
async fn the_api_shows_exactly_what_toasts_ledger_says() {
    let sandbox = unlimited(SandboxOptions { shops: 4, ..standing() });
    let toast = sandbox.at(Vendor::Toast);
    toast.stock_history(250, "2026-03-07T11:30:00Z".parse().unwrap());
    let ledger = toast.ledger();
    let orders = everything(&sandbox, LATELY, 4).await;
    assert_eq!(orders.len(), ledger.iter().filter(|entry| entry.kind != EntryKind::Refund).count());
    check_against(&ledger, &orders);
    for kind in [EntryKind::Sale, EntryKind::Refund, EntryKind::Canceled] {
        assert!(ledger.iter().any(|entry| entry.kind == kind), "no {kind:?}");
    }
    let currencies: Vec<&str> = ["USD", "EUR", "GBP"].into_iter().collect();
    assert!(currencies.iter().all(|currency| ledger.iter().any(|entry| entry.currency == *currency)));
    let later = |entry: &&LedgerEntry| {
        let source = ledger.iter().find(|sale| Some(&sale.order_id) == entry.source_order_id.as_ref());
        source.is_some_and(|sale| sale.business_date < entry.business_date)
    };
    assert!(ledger.iter().any(|entry| later(&entry)), "a refund on a later day");
    let times: Vec<&Value> = orders.values().map(|order| &order["modifiedDate"]).collect();
    assert!(times.iter().any(|time| times.iter().filter(|other| other == &time).count() > 5), "closeouts tie");
    assert!(orders.values().any(|order| list(order, "checks").len() == 2));
    assert!(orders.keys().any(|guid| guid.len() != 36));
}

#[tokio::test]
async fn a_played_day_is_told_as_it_is() {
    let sandbox = unlimited(SandboxOptions { duplicates_percent: 10, disorder_percent: 10, ..quick() });
    let toast = sandbox.at(Vendor::Toast);
    let (receiver, url) = Receiver::answering(&[503]).await;
    let subscription = toast.subscribe(&url);
    toast.play(40);
    toast.wait_until_quiet(PATIENCE).await.unwrap();
    let mut newest: BTreeMap<String, Value> = BTreeMap::new();
    for got in receiver.got() {
        let body: Value = serde_json::from_slice(&got.body).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(subscription.signature_key.as_bytes()).unwrap();
        mac.update(&got.body);
        mac.update(body["timestamp"].as_str().unwrap().as_bytes());
        let expected = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(got.header("toast-signature"), Some(expected.as_str()));
        assert_eq!(got.header("toast-event-category"), Some("order_updated"));
        assert_eq!(got.header("toast-restaurant-external-id"), body["details"]["restaurantGuid"].as_str());
        let order = body["details"]["order"].clone();
        let known = newest.entry(order["guid"].as_str().unwrap().to_owned()).or_insert_with(|| order.clone());
        if known["modifiedDate"].as_str() <= order["modifiedDate"].as_str() {
            *known = order;
        }
    }
    let retried = receiver.got().iter().filter(|got| got.header("toast-attempt-number") == Some("2")).count();
    assert_eq!(retried, 1);
    let ledger = toast.ledger();
    check_against(&ledger, &newest);
    assert!(ledger.iter().all(|entry| entry.state != EntryState::Open));
    assert_eq!(toast.progress().delivered, toast.progress().deliveries);
}

#[tokio::test]
async fn what_is_not_accepted_twice_is_dropped_and_refusals_are_not_repeated() {
    for (answer, attempts) in [(503, 3), (404, 3), (401, 1), (302, 1)] {
        let sandbox = unlimited(quick());
        let (_receiver, url) = Receiver::answering(&[answer; 90]).await;
        let toast = sandbox.at(Vendor::Toast);
        toast.subscribe(&url);
        toast.ring_up(SaleKind::Cash, None).unwrap();
        toast.wait_until_quiet(PATIENCE).await.unwrap();
        for delivery in toast.deliveries() {
            assert_eq!((delivery.state, delivery.attempts.len()), (DeliveryState::GivenUp, attempts), "{answer}");
        }
    }
}

#[tokio::test]
async fn fifty_errors_pause_a_subscription_and_what_comes_meanwhile_is_lost() {
    let sandbox = unlimited(SandboxOptions { speed: 600.0, concurrent_deliveries: 60, ..quick() });
    let (_receiver, url) = Receiver::answering(&[401; 5_000]).await;
    let toast = sandbox.at(Vendor::Toast);
    toast.subscribe(&url);
    for _ in 0..300 {
        toast.ring_up(SaleKind::Cash, None).unwrap();
    }
    toast.wait_until_quiet(PATIENCE).await.unwrap();
    assert!(toast.progress().lost > 0, "{:?}", toast.progress());
    sandbox.restart_subscriptions();
}

#[tokio::test]
async fn every_kind_of_order_is_what_it_says() {
    let sandbox = unlimited(SandboxOptions { shops: 1, ..quick() });
    let client = Toast::of(&sandbox, 0);
    let toast = sandbox.at(Vendor::Toast);
    use SaleKind::*;
    for kind in [
        Simple,
        Cash,
        SplitTender,
        Tip,
        Modifiers,
        Weighted,
        CustomAmount,
        GiftCard,
        LineDiscount,
        OrderDiscount,
        ServiceCharge,
        Api,
        Canceled,
        Offline,
        FullRefund,
        PartialRefund,
        AmountRefund,
        Everything,
        TwoBills,
        Emptied,
        Waste,
        TestMode,
        Tie,
        LateTip,
        Edited,
        LateRefund,
    ] {
        let sale = toast.ring_up(kind, None).unwrap();
        toast.wait_until_quiet(PATIENCE).await.unwrap();
        let order = client.order(&sale.order_id).await;
        let check = &order["checks"][0];
        let line = &check["selections"][0];
        if is_sale(&order) {
            let ledger = toast.ledger();
            let mine = |entry: &&LedgerEntry| {
                entry.order_id == sale.order_id || entry.source_order_id.as_ref() == Some(&sale.order_id)
            };
            let mine: Vec<LedgerEntry> = ledger.iter().filter(mine).cloned().collect();
            check_against(&mine, &BTreeMap::from([(sale.order_id.clone(), order.clone())]));
        }
        let shows = match kind {
            Simple | Tie => check["paymentStatus"] == "CLOSED" && order["closedDate"].is_string(),
            Cash => minor(&check["payments"][0]["amountTendered"]) >= minor(&check["totalAmount"]),
            SplitTender => list(check, "payments").len() == 2,
            Tip | LateTip => minor(&check["payments"][0]["tipAmount"]) > 0,
            Modifiers => line["modifiers"][0]["displayName"].is_string(),
            Weighted => line["unitOfMeasure"] == "LB",
            CustomAmount => check["selections"][1]["selectionType"] == "OPEN_ITEM",
            GiftCard => {
                check["selections"][1]["selectionType"] == "TOAST_CARD_SELL"
                    && check["selections"][1]["deferred"] == true
            }
            LineDiscount => line["appliedDiscounts"][0]["name"].is_string(),
            OrderDiscount => check["appliedDiscounts"][0]["name"].is_string(),
            ServiceCharge => {
                let charges = &check["appliedServiceCharges"];
                charges[0]["gratuity"] == false
                    && charges[1]["gratuity"] == true
                    && minor(&charges[1]["chargeAmount"]) > 0
            }
            Api => order["approvalStatus"] == "APPROVED" && order["promisedDate"].is_string(),
            Canceled => order["voided"] == true && minor(&check["totalAmount"]) == 0,
            Offline => order["openedDate"].as_str() < order["modifiedDate"].as_str(),
            FullRefund | LateRefund => check["payments"][0]["refundStatus"] == "FULL",
            // One of the tips there are, and half a dollar more.
            Edited => {
                minor(&check["payments"][0]["tipAmount"]) % 100 == 50 || check["payments"][0]["tipAmount"] == 5.07
            }
            PartialRefund => !line["refundDetails"].is_null(),
            AmountRefund => check["payments"][0]["refund"]["refundBusinessDate"].is_i64(),
            Everything => list(check, "selections").len() >= 6,
            TwoBills => list(&order, "checks").len() == 2,
            Emptied => order["deleted"] == true && list(check, "selections").is_empty(),
            Waste => order["excessFood"] == true && minor(&line["price"]) == 0 && minor(&line["preDiscountPrice"]) > 0,
            TestMode => order["createdInTestMode"] == true,
            Recalled | Split | Transferred | Overnight => panic!("{kind:?} is nothing of Toast's"),
        };
        assert!(shows, "{kind:?}: {order}");
    }
}

#[tokio::test]
async fn an_order_is_voided_before_or_after_it_is_paid() {
    let sandbox = unlimited(SandboxOptions { shops: 1, ..quick() });
    let (client, toast) = (Toast::of(&sandbox, 0), sandbox.at(Vendor::Toast));
    let sales: Vec<_> = (0..12).map(|_| toast.ring_up(SaleKind::Canceled, None).unwrap()).collect();
    toast.wait_until_quiet(PATIENCE).await.unwrap();
    let mut paid = std::collections::BTreeSet::new();
    for sale in sales {
        let order = client.order(&sale.order_id).await;
        let payments = list(&order["checks"][0], "payments");
        assert!(payments.iter().all(|payment| payment["paymentStatus"] == "VOIDED" && payment["voidInfo"].is_object()));
        assert_eq!((order["voided"] == true, minor(&order["checks"][0]["totalAmount"])), (true, 0));
        paid.insert(!payments.is_empty());
    }
    assert_eq!(paid.len(), 2);
    assert!(toast.ledger().iter().all(|entry| entry.state == EntryState::Canceled));
}

#[tokio::test]
async fn payments_lead_to_refunds_of_a_later_day() {
    let sandbox = unlimited(SandboxOptions { shops: 1, ..quick() });
    let (client, toast) = (Toast::of(&sandbox, 0), sandbox.at(Vendor::Toast));
    let sale = toast.ring_up(SaleKind::Tip, None).unwrap();
    let back = toast.refund(&sale.order_id, RefundKind::Full).unwrap();
    assert_eq!(back.total_minor, sale.total_minor);
    toast.wait_until_quiet(PATIENCE).await.unwrap();
    assert!(toast.refund(&sale.order_id, RefundKind::Line).is_err(), "nothing is left");
    let order = client.order(&sale.order_id).await;
    let day = &order["checks"][0]["payments"][0]["refund"]["refundBusinessDate"];
    let (_, guids) = client.get(&format!("/orders/v2/payments?refundBusinessDate={day}")).await;
    let (_, payment) = client.get(&format!("/orders/v2/payments/{}", guids[0].as_str().unwrap())).await;
    assert_eq!(payment["orderGuid"], sale.order_id.as_str());
    assert!(payment.get("restaurant").is_none());
}

#[tokio::test]
async fn pages_are_limited_ranges_half_open_and_nonsense_refused() {
    let sandbox = unlimited(SandboxOptions { shops: 2, ..standing() });
    sandbox.at(Vendor::Toast).stock_history(30, "2026-03-07T11:30:00Z".parse().unwrap());
    let client = Toast::of(&sandbox, 0);
    let orders = client.all(100, LATELY).await;
    let time = orders[0]["modifiedDate"].as_str().unwrap().replace('+', "%2B");
    let alike = orders.iter().filter(|order| order["modifiedDate"] == orders[0]["modifiedDate"]).count();
    let from = format!("startDate={time}&endDate=2026-03-30T00:00:00Z");
    assert_eq!(client.all(100, &from).await.len(), orders.len(), "the start is inside");
    let until = format!("startDate=2026-03-07T00:00:00Z&endDate={time}");
    assert_eq!(client.all(100, &until).await.len(), 0, "the end is not; {alike} have that time");
    let day = &orders[0]["businessDate"];
    assert!(client.all(100, &format!("businessDate={day}")).await.len() > 1);
    for query in [
        "startDate=2026-03-07T00:00:00Z",
        "startDate=2026-03-07&endDate=yesterday",
        "startDate=2026-01-07T00:00:00Z&endDate=2026-03-07T00:00:00Z",
        &format!("{LATELY}&pageSize=101"),
        &format!("{LATELY}&page=0"),
        &format!("{LATELY}&sort=asc"),
    ] {
        assert_eq!(client.get(&format!("/orders/v2/ordersBulk?{query}")).await.0, 400, "{query}");
    }
    let theirs = Toast::of(&sandbox, 1).all(1, LATELY).await.remove(0);
    assert_eq!(client.order(theirs["guid"].as_str().unwrap()).await["status"], 404, "another restaurant's order");
}

#[tokio::test]
async fn five_bulk_reads_fit_into_a_second() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = std::sync::Arc::new(Toast::of(&sandbox, 0));
    let calls = (0..30).map(|_| {
        let client = std::sync::Arc::clone(&client);
        tokio::spawn(async move { client.send(Method::GET, "/orders/v2/ordersBulk?businessDate=20260307", None).await })
    });
    let calls: Vec<_> = calls.collect();
    let mut refused = 0;
    for call in calls {
        let answer = call.await.unwrap();
        assert!(answer.headers()["x-toast-ratelimit-remaining"].to_str().unwrap().parse::<u32>().is_ok());
        if answer.status().as_u16() == 429 {
            assert_eq!(answer.headers()["retry-after"].to_str().unwrap(), "1");
            refused += 1;
        }
    }
    // The window may turn over while they come in.
    assert!((10..=25).contains(&refused), "{refused} of 30");
    assert_eq!(sandbox.calls(Vendor::Toast).rate_limited, refused);
}

#[tokio::test]
async fn stock_is_written_read_and_echoed() {
    let sandbox = unlimited(quick());
    let client = Toast::of(&sandbox, 0);
    let (receiver, url) = Receiver::answering(&[]).await;
    sandbox.subscribe_to_stock(&url);
    let (_, menus) = client.get("/menus/v2/menus").await;
    let items = &menus["menus"][0]["menuGroups"][0]["menuItems"];
    let (first, second) = (&items[0], &items[1]);
    let change = json!([
        {"guid": first["guid"], "status": "OUT_OF_STOCK"},
        {"multiLocationId": second["multiLocationId"], "status": "QUANTITY", "quantity": 4.5},
        {"guid": "none", "status": "IN_STOCK"},
    ]);
    let answer = client.send(Method::PUT, "/stock/v1/inventory/update", Some(&change)).await;
    assert_eq!(answer.status().as_u16(), 200);
    let answer: Value = answer.json().await.unwrap();
    let validity: Vec<&Value> = answer.as_array().unwrap().iter().map(|item| &item["itemGuidValidity"]).collect();
    assert_eq!(validity, ["VALID", "VALID", "INVALID"]);
    let (_, out) = client.get("/stock/v1/inventory?status=OUT_OF_STOCK").await;
    assert_eq!((out.as_array().unwrap().len(), &out[0]["guid"]), (1, &first["guid"]));
    let search = json!({"guids": [], "multiLocationIds": [second["multiLocationId"]]});
    let found: Value =
        client.send(Method::POST, "/stock/v1/inventory/search", Some(&search)).await.json().await.unwrap();
    assert_eq!((&found[0]["status"], &found[0]["quantity"]), (&json!("QUANTITY"), &json!(4.5)));
    sandbox.at(Vendor::Toast).wait_until_quiet(PATIENCE).await.unwrap();
    let mut told: Vec<String> = receiver
        .got()
        .iter()
        .map(|got| serde_json::from_slice::<Value>(&got.body).unwrap()["eventType"].as_str().unwrap().to_owned())
        .collect();
    told.sort();
    assert_eq!(told, ["low_quantity", "out_of_stock"]);
    sandbox.set_faults_of(Vendor::Toast, Faults { refuse_scopes: vec!["stock:write".to_owned()], ..Faults::default() });
    assert_eq!(client.send(Method::PUT, "/stock/v1/inventory/update", Some(&change)).await.status().as_u16(), 403);
}
