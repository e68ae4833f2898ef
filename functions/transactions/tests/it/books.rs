//! Transactions to look for.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use shared::domain::{ConfigurationId, EventId, ExternalOrderId, Transaction, TransactionId, TransactionKind};

use crate::desk::Desk;

/// What every first revision here was caused by.
pub fn cause() -> EventId {
    EventId::new("event-1").unwrap()
}

/// When the `number`th order was opened: one an hour.
pub fn opened(number: i64) -> Timestamp {
    "2026-02-01T08:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(number)
}

/// The `number`th transaction of a connection: in two shops in turn, every tenth a refund, some that were voided and some
/// that do not add up.
pub fn transaction(configuration: ConfigurationId, number: i64) -> Transaction {
    let order = ExternalOrderId::new(format!("=ORDER-{number}")).unwrap();
    let (kind, word) = match number % 10 {
        9 => (TransactionKind::Refund, "refund"),
        _ => (TransactionKind::Sale, "sale"),
    };
    let (at, total) = (opened(number), 1_000 + number);
    let flaws =
        if number % 12 == 5 { json!([{ "kind": "payments_and_total", "missing_minor": 5 }]) } else { json!([]) };
    serde_json::from_value(json!({
        "id": TransactionId::derive(at, configuration, &order, kind), "provider": "square",
        "configuration_id": configuration, "kind": word, "status": if number % 25 == 24 { "voided" } else { "completed" },
        "external_order_id": order, "source_version": 1, "location_id": if number % 2 == 0 { "L1" } else { "L2" },
        "channel": "=HYPERLINK(\"https://example.com\", \"a, b\")",
        "created_at": at, "occurred_at": at, "business_date": at.to_string()[..10], "currency": "EUR",
        "line_items": [{
            "id": "1", "kind": "item", "name": "Roll", "item_id": "roll", "quantity": "1", "unit_price_minor": total,
            "gross_minor": total, "discount_minor": 0, "tax_minor": 0, "total_minor": total,
        }],
        "amounts": {
            "gross_minor": total, "discount_minor": 0, "tax_minor": 7, "tax_included_minor": 7, "service_charge_minor": 0,
            "tip_minor": 0, "rounding_minor": -2, "total_minor": total - 2,
        },
        "payments": [{ "id": "P", "tender": "cash", "amount_minor": total - 2, "tip_minor": 0 }],
        "discrepancies": flaws,
    }))
    .unwrap()
}

/// Stores so many, some side by side.
pub async fn fill(desk: &Desk, count: i64) -> Vec<Transaction> {
    let all: Vec<Transaction> = (0..count).map(|number| transaction(desk.id, number)).collect();
    let cause = cause();
    for some in all.chunks(16) {
        futures_util::future::join_all(some.iter().map(|it| desk.put(it, &cause))).await;
    }
    all
}
