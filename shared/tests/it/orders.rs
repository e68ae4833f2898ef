//! What one fixture cannot show: orders that belong together, nights in which the clock jumps, and small changes that
//! must make no difference, or all of it.

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::domain::{
    Configuration, Environment, ExternalOrderId, LocationId, Minor, ProviderKind, Transaction, TransactionKind,
    TransactionStatus,
};
use shared::providers::{Access, AccessToken, OrderRef, RawOrder};

use crate::accounts::{providers_at, pure};
use crate::scenarios::{configuration, fixtures};
use crate::vendor::{Seen, Vendor, ok};

fn fixture(kind: ProviderKind, scenario: &str) -> Value {
    let path = fixtures(kind).join(format!("{scenario}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn changed(kind: ProviderKind, scenario: &str, changes: &[(&str, Value)]) -> Value {
    let mut order = fixture(kind, scenario);
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        order.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    order
}

fn shop_in(kind: ProviderKind, zone: &str) -> Configuration {
    configuration(kind, &[("SHOP1", zone, "USD")])
}

fn read(kind: ProviderKind, order: &Value, configuration: &Configuration) -> Vec<Transaction> {
    let raw = RawOrder {
        body: serde_json::to_vec(order).unwrap(),
        location: LocationId::new("SHOP1").ok(),
        paid_offline_at: None,
        observed_at: Timestamp::UNIX_EPOCH,
    };
    pure().get(kind).normalize_order(&raw, configuration).unwrap()
}

fn read_in_new_york(kind: ProviderKind, order: &Value) -> Vec<Transaction> {
    read(kind, order, &shop_in(kind, "America/New_York"))
}

/// Sales less refunds, of what counts.
fn turnover(transactions: &[Transaction]) -> i64 {
    let completed = transactions.iter().filter(|transaction| transaction.status == TransactionStatus::Completed);
    completed
        .map(|transaction| match transaction.kind {
            TransactionKind::Sale => transaction.amounts.total.0,
            TransactionKind::Refund => -transaction.amounts.total.0,
        })
        .sum()
}

#[test]
fn what_was_not_sold_makes_no_transaction() {
    use ProviderKind::{Lightspeed, Square, Toast};
    for (kind, field, value) in [
        (Square, "/state", json!("DRAFT")),
        (Toast, "/createdInTestMode", json!(true)),
        (Toast, "/excessFood", json!(true)),
        (Lightspeed, "/type", json!("FLOAT")),
        (Lightspeed, "/type", json!("TRANSITORY")),
        (Lightspeed, "/type", json!("TRANSFER")),
    ] {
        let order = changed(kind, "simple_sale", &[(field, value.clone())]);
        assert_eq!(read_in_new_york(kind, &order), Vec::new(), "{kind} {field} {value}");
    }
}

/// Toast keeps in an order what was taken out of it.
#[test]
fn of_a_toast_order_only_what_still_stands_counts() {
    let kind = ProviderKind::Toast;
    let order = fixture(kind, "simple_sale");
    let whole = read_in_new_york(kind, &order);
    let with = |list: &str, mut element: Value, changes: &[(&str, Value)]| {
        for (field, value) in changes {
            element[*field] = value.clone();
        }
        let mut order = order.clone();
        order.pointer_mut(list).unwrap().as_array_mut().unwrap().push(element);
        order
    };
    let check = &order["checks"][0];
    for order in [
        with("/checks/0/selections", check["selections"][0].clone(), &[("guid", json!("s2")), ("voided", json!(true))]),
        with("/checks", check.clone(), &[("guid", json!("c2")), ("voided", json!(true))]),
        with("/checks", check.clone(), &[("guid", json!("c2")), ("deleted", json!(true))]),
        with("/checks/0/payments", check["payments"][0].clone(), &[("paymentStatus", json!("VOIDED"))]),
        with("/checks/0/payments", check["payments"][0].clone(), &[("paymentStatus", json!("DENIED"))]),
    ] {
        assert_eq!(read_in_new_york(kind, &order), whole, "{order}");
    }
}

/// Toast adds to the refund that it has: the same transaction, with more in it.
#[test]
fn a_second_refund_of_a_toast_payment_is_the_first_one_grown() {
    let kind = ProviderKind::Toast;
    let refunded = |amount: f64, guid: &str, day: i64| {
        let refund = "/checks/0/payments/0/refund";
        let order = changed(
            kind,
            "partial_refund",
            &[
                (&format!("{refund}/refundAmount"), json!(amount)),
                (&format!("{refund}/refundTransaction/guid"), json!(guid)),
                (&format!("{refund}/refundBusinessDate"), json!(day)),
            ],
        );
        read_in_new_york(kind, &order)
    };
    let (first, second) = (refunded(4.25, "rt1", 20_260_216), refunded(12.25, "rt2", 20_260_217));
    let [[sale, first], [same_sale, second]] = [&first, &second].map(|both| <&[_; 2]>::try_from(&both[..]).unwrap());
    assert_eq!(sale, same_sale);
    assert_eq!(first.id, second.id);
    assert_eq!([first, second].map(|refund| refund.amounts.total), [Minor(525), Minor(1325)]);
    assert_eq!([first, second].map(|refund| refund.business_date.to_string()), ["2026-02-16", "2026-02-17"]);
    assert_eq!(sale.business_date.to_string(), "2026-02-14");
}

fn account(sale_type: &str, id: &str, initial: &str, lines: &[&str], paid: &[&str]) -> Value {
    let line = |(index, amount): (usize, &&str)| {
        json!({
            "id": format!("S{index}"), "name": "Baguette", "sku": "BAGUETTE", "currency": "USD",
            "quantity": if amount.starts_with('-') { "-1" } else { "1" },
            "menuListPrice": amount, "totalNetAmountWithTax": amount, "totalNetAmountWithoutTax": amount,
        })
    };
    let payment = |amount: &&str| json!({ "uuid": id, "code": "CASH", "netAmountWithTax": amount });
    json!({
        "accountReference": format!("{id}=="), "accountFiscId": id, "source": { "initialAccountId": initial },
        "type": sale_type, "timeOfOpening": "2026-02-14T12:58:10Z", "timeClosed": "2026-02-14T13:01:40Z",
        "salesLines": lines.iter().enumerate().map(line).collect::<Vec<_>>(),
        "payments": paid.iter().map(payment).collect::<Vec<_>>(),
    })
}

/// Whatever a bill goes through, its turnover is what the shop kept.
#[test]
fn a_lightspeed_chain_comes_to_what_was_kept_of_it() {
    use TransactionKind::{Refund, Sale};
    use TransactionStatus::{Completed, Voided};
    type Steps<'a> = &'a [(Value, TransactionKind, TransactionStatus, Option<&'a str>)];
    let sale = || account("SALE", "A1.1", "A1.1", &["7.00", "3.00"], &["10.00"]);
    let paid_back = |kind: &str| account(kind, "A1.2", "A1.1", &["-7.00", "-3.00"], &["-10.00"]);
    let first = Some("SHOP1/A1.1");
    let chains: [(&str, Steps<'_>, i64); 7] = [
        ("void before payment", &[(account("VOID", "A1.1", "A1.1", &["7.00"], &[]), Sale, Voided, None)], 0),
        ("void of nothing", &[(account("VOID", "A1.1", "A1.1", &[], &[]), Sale, Voided, None)], 0),
        ("void", &[(sale(), Sale, Completed, None), (paid_back("VOID"), Refund, Completed, first)], 0),
        (
            "recall, and paid otherwise",
            &[
                (sale(), Sale, Completed, None),
                (paid_back("RECALL"), Refund, Completed, first),
                (account("SALE", "A1.3", "A1.1", &["7.00", "1.50"], &["8.50"]), Sale, Completed, None),
            ],
            850,
        ),
        (
            "refund of a line, and of the rest",
            &[
                (sale(), Sale, Completed, None),
                (account("REFUND", "A1.2", "A1.1", &["-3.00"], &["-3.00"]), Refund, Completed, first),
                // The account before it is the refund; it is about the first.
                (account("REFUND", "A1.3", "A1.1", &["-7.00"], &["-7.00"]), Refund, Completed, first),
            ],
            0,
        ),
        (
            "refund taken back",
            &[
                (sale(), Sale, Completed, None),
                (paid_back("REFUND"), Refund, Completed, first),
                (account("VOID", "A1.3", "A1.1", &["7.00", "3.00"], &["10.00"]), Sale, Completed, None),
            ],
            1000,
        ),
        (
            "split",
            &[
                (account("SPLIT", "A1.1", "A1.1", &["7.00"], &["7.00"]), Sale, Completed, None),
                (account("SPLIT", "A1.2", "A1.1", &["3.00"], &["3.00"]), Sale, Completed, None),
            ],
            1000,
        ),
    ];
    for (name, steps, kept) in chains {
        let mut all: Vec<Transaction> = Vec::new();
        for (account, kind, status, original) in steps {
            let read = read_in_new_york(ProviderKind::Lightspeed, account);
            let [transaction] = &read[..] else { panic!("{name}: {read:?}") };
            let origin = transaction.original_order_id.as_ref().map(ExternalOrderId::as_str);
            assert_eq!(
                (transaction.kind, transaction.status, origin),
                (*kind, *status, *original),
                "{name}: {account}"
            );
            assert!(transaction.discrepancies.is_empty(), "{name}: {transaction:?}");
            assert!(all.iter().all(|other| other.id != transaction.id), "{name}: two of one id");
            all.push(transaction.clone());
        }
        assert_eq!(turnover(&all), kept, "{name}");
    }
}

/// Lines come finer than coins; only the sum is money.
#[test]
fn a_lightspeed_sale_is_rounded_once_and_half_to_even() {
    for (lines, total) in [
        (&["0.005"][..], 0),
        (&["0.015"], 2),
        (&["0.025"], 2),
        (&["0.0250001"], 3),
        // Line by line it would be nothing.
        (&["0.004", "0.004", "0.004"], 1),
        // And here a cent more.
        (&["1.006", "1.006", "1.006"], 302),
        (&["1.005", "1.005"], 201),
    ] {
        for sign in ["", "-"] {
            let lines: Vec<String> = lines.iter().map(|line| format!("{sign}{line}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let read = read_in_new_york(ProviderKind::Lightspeed, &account("SALE", "A1.1", "A1.1", &lines, &[]));
            assert_eq!(read[0].amounts.total, Minor(total), "{lines:?}");
        }
    }
}

/// Clocks jump at night, and a bakery's day ends later: the evening before owns both hours that are called two o'clock,
/// and the one that never is.
#[test]
fn the_business_date_holds_in_nights_with_23_and_25_hours() {
    let nights = [
        ("Europe/Berlin", "2026-03-29T00:59:59Z", "2026-03-28"), // 01:59 in winter, a second before three o'clock
        ("Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-28"), // 03:00 in summer
        ("Europe/Berlin", "2026-03-29T01:59:59Z", "2026-03-28"),
        ("Europe/Berlin", "2026-03-29T02:00:00Z", "2026-03-29"), // 04:00
        ("Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-24"), // 02:30, the first time
        ("Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-24"), // 02:30, the second time
        ("Europe/Berlin", "2026-10-25T02:59:59Z", "2026-10-24"),
        ("Europe/Berlin", "2026-10-25T03:00:00Z", "2026-10-25"), // 04:00
        ("America/New_York", "2026-03-08T07:59:59Z", "2026-03-07"), // 03:59 in summer
        ("America/New_York", "2026-03-08T08:00:00Z", "2026-03-08"),
        ("America/New_York", "2026-11-01T08:59:59Z", "2026-10-31"), // 03:59 in winter
        ("America/New_York", "2026-11-01T09:00:00Z", "2026-11-01"),
    ];
    for (zone, at, date) in nights {
        // Toast sends its own date; where it does not, the clock decides as for the others.
        for (kind, changes) in [
            (ProviderKind::Square, vec![("/closed_at", json!(at))]),
            (ProviderKind::Toast, vec![("/paidDate", json!(at)), ("/businessDate", Value::Null)]),
            (ProviderKind::Lightspeed, vec![("/timeClosed", json!(at))]),
        ] {
            let order = changed(kind, "simple_sale", &changes);
            let read = read(kind, &order, &shop_in(kind, zone));
            assert_eq!(read[0].business_date.to_string(), date, "{kind} {zone} {at}");
        }
        let order = changed(ProviderKind::Toast, "simple_sale", &[("/paidDate", json!(at))]);
        let read = read(ProviderKind::Toast, &order, &shop_in(ProviderKind::Toast, zone));
        assert_eq!(read[0].business_date.to_string(), "2026-02-14", "{at}: the till's own date");
    }
}

/// Square takes offline payments for 72 hours and shows the order as closed when they arrive.
#[tokio::test]
async fn a_sale_that_arrives_72_hours_late_counts_on_the_day_it_was_paid() {
    let kind = ProviderKind::Square;
    let late = changed(
        kind,
        "offline_sale",
        &[
            ("/created_at", json!("2026-02-14T13:00:00Z")),
            ("/closed_at", json!("2026-02-17T13:00:00Z")),
            ("/updated_at", json!("2026-02-17T13:00:01Z")),
        ],
    );
    let order = late.clone();
    let vendor = Vendor::answering(move |seen: &Seen| match seen.path.as_str() {
        "/v2/orders/OFFLINE" => ok(json!({ "order": order })),
        "/v2/payments/P1" => ok(json!({ "payment": {
            "id": "P1", "offline_payment_details": { "client_created_at": "2026-02-14T13:00:30Z" },
        } })),
        other => panic!("{other}"),
    })
    .await;
    let token = AccessToken::new("token".to_owned());
    let access = Access { environment: Environment::Production, token: &token };
    let providers = providers_at(&vendor.url);
    let id = ExternalOrderId::new("OFFLINE").unwrap();
    let raw = providers.get(kind).fetch_order(&access, &OrderRef { id, location: None, changed_at: None }).await;
    let configuration = shop_in(kind, "America/New_York");
    let [sale] = &pure().get(kind).normalize_order(&raw.unwrap(), &configuration).unwrap()[..] else { panic!() };
    assert_eq!(sale.occurred_at.to_string(), "2026-02-14T13:00:30Z");
    assert_eq!(sale.business_date.to_string(), "2026-02-14");
    // Read without its payment it would be of another day, and still the same transaction.
    let [unasked] = &read(kind, &late, &configuration)[..] else { panic!() };
    assert_eq!((unasked.id, unasked.business_date.to_string().as_str()), (sale.id, "2026-02-17"));
}
