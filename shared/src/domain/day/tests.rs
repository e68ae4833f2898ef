use serde_json::{Value, json};

use super::*;

/// A completed transaction of the shop that came to so much in cash, of one line.
fn transaction(number: u8, kind: &str, line: &Value, total: i64) -> Transaction {
    let nothing = json!({
        "gross_minor": total, "discount_minor": 0, "tax_minor": 0, "tax_included_minor": 0, "service_charge_minor": 0,
        "tip_minor": 0, "rounding_minor": 0, "total_minor": total,
    });
    serde_json::from_value(json!({
        "id": format!("01938d5e-0000-8000-8000-0000000000{number:02}"), "provider": "square",
        "configuration_id": "01938d5e-0000-7000-8000-000000000001", "kind": kind, "status": "completed",
        "external_order_id": format!("ORDER{number}"), "source_version": 1, "location_id": "L1",
        "created_at": "2026-02-14T08:00:00Z", "occurred_at": "2026-02-14T08:00:00Z", "business_date": "2026-02-14",
        "currency": "USD", "amounts": nothing, "line_items": [line],
        "payments": [{ "id": format!("P{number}"), "tender": "cash", "amount_minor": total, "tip_minor": 0 }],
    }))
    .unwrap()
}

fn line(item: Option<&str>, name: &str, quantity: &str, gross: i64) -> Value {
    let mut line = json!({
        "id": "1", "kind": "item", "name": name, "quantity": quantity, "gross_minor": gross, "discount_minor": 0,
        "tax_minor": 0, "total_minor": gross,
    });
    if let Some(item) = item {
        line["item_id"] = item.into();
    }
    line
}

fn usd() -> Currency {
    "USD".parse().unwrap()
}

fn day() -> Vec<Transaction> {
    vec![
        transaction(1, "sale", &line(Some("ROLL"), "Roll", "3", 150), 150),
        transaction(2, "sale", &line(Some("ROLL"), "Kaiser roll", "2.5", 125), 125),
        transaction(3, "refund", &line(Some("ROLL"), "Kaiser roll", "1", 50), 50),
        transaction(4, "sale", &line(None, "Candle", "1", 300), 300),
        transaction(5, "sale", &line(None, "Ribbon", "1", 100), 100),
    ]
}

type Shown<'a> = (&'a str, String, i64, Option<String>, Option<i64>);

/// Name, quantity and money of each product, with what has changed.
fn shown(products: &[DayProduct]) -> Vec<Shown<'_>> {
    let show = |it: &DayProduct| {
        let change = it.quantity_change.map(|change| change.to_string());
        (it.quantity.to_string(), it.total.0, change, it.total_change.map(|change| change.0))
    };
    products
        .iter()
        .map(|it| {
            let (quantity, total, quantity_change, total_change) = show(it);
            (it.name.as_str(), quantity, total, quantity_change, total_change)
        })
        .collect()
}

#[test]
fn completed_sales_and_refunds_are_added_up_in_whatever_order() {
    let mut all = day();
    all.push(Transaction { status: TransactionStatus::Voided, ..transaction(6, "sale", &line(None, "X", "1", 9), 9) });
    all.push(Transaction { status: TransactionStatus::Open, ..transaction(7, "sale", &line(None, "X", "1", 9), 9) });
    all.push(Transaction { currency: "EUR".parse().unwrap(), ..transaction(8, "sale", &line(None, "X", "1", 9), 9) });
    let figures = Figures::of(usd(), &all).unwrap();
    assert_eq!((figures.sale_count, figures.sales.total, figures.sales.gross), (4, Minor(675), Minor(675)));
    assert_eq!((figures.refund_count, figures.refunds.total, figures.net()), (1, Minor(50), Minor(625)));
    assert_eq!(figures.by_tender, [DayTender { tender: Tender::Cash, amount: Minor(625) }]);
    let expected = [("Candle", "1", 300), ("Ribbon", "1", 100), ("Kaiser roll", "4.5", 225)];
    assert_eq!(
        shown(&figures.products),
        expected.map(|(name, quantity, total)| (name, quantity.into(), total, None, None))
    );
    all.reverse();
    assert_eq!(Figures::of(usd(), &all).unwrap(), figures);
}

#[test]
fn a_restatement_says_what_has_changed_of_each_product_and_names_what_is_gone() {
    let before = Figures::of(usd(), &day()).unwrap();
    let mut later = day();
    later.remove(4);
    later.push(transaction(6, "refund", &line(Some("ROLL"), "Kaiser roll", "2", 100), 100));
    later.push(transaction(7, "sale", &line(Some("BUN"), "Bun", "1", 70), 70));
    let after = Figures::of(usd(), &later).unwrap();
    assert_eq!(
        shown(&after.products_since(&before)),
        [
            ("Candle", "1".into(), 300, Some("0".into()), Some(0)),
            ("Ribbon", "0".into(), 0, Some("-1".into()), Some(-100)),
            ("Bun", "1".into(), 70, Some("1".into()), Some(70)),
            ("Kaiser roll", "2.5".into(), 125, Some("-2".into()), Some(-100)),
        ]
    );
    let unchanged = before.products_since(&before);
    assert!(
        unchanged.iter().all(|it| it.quantity_change == Some(Quantity::ZERO) && it.total_change == Some(Minor::ZERO))
    );
}

#[test]
fn a_sum_that_is_no_money_is_refused() {
    let most = transaction(1, "sale", &line(None, "X", "1", i64::MAX), i64::MAX);
    let one = transaction(2, "sale", &line(None, "X", "1", 1), 1);
    assert_eq!(Figures::of(usd(), [&most, &one]), Err(MoneyError));
}

#[test]
fn when_we_look_again_is_no_part_of_a_verdict() {
    let pending = |at: &str| DayState::Pending { until: at.parse().unwrap() };
    let (one, other) = (pending("2026-02-15T04:00:00Z"), pending("2026-02-15T05:00:00Z"));
    assert!(one.says_same(&other) && !one.says_same(&DayState::Proven));
    let short =
        |number: u8| DayState::Short { missing: vec![transaction(number, "sale", &line(None, "X", "1", 1), 1).id] };
    assert!(short(1).says_same(&short(1)) && !short(1).says_same(&short(2)));
}
