//! Every sample of the vendors is put through its provider, if the samples lie beside the repository.
//!
//! An order must add up, a notification must be read, and whatever else a file is stands in `OTHER` with the field that
//! gives it away. What does not come out well stands in `REASONS`, file by file; nothing is skipped in silence.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::domain::{Environment, LocationId, ProviderKind};
use shared::providers::{DeliveryHeaders, RawOrder, Subject, WebhookDelivery};

use crate::accounts::{KINDS, pure};
use crate::scenarios::configuration;

/// What is neither an order nor a notification, by a field that only it has, and what reads it instead.
const OTHER: &[(ProviderKind, &str, &str)] = &[
    (ProviderKind::Square, "errors", "refusal: its status decides"),
    (ProviderKind::Square, "objects", "catalogue"),
    (ProviderKind::Square, "object", "catalogue"),
    (ProviderKind::Square, "catalog_object", "catalogue"),
    (ProviderKind::Square, "batches", "catalogue"),
    (ProviderKind::Square, "id_mappings", "catalogue"),
    (ProviderKind::Square, "counts", "stock"),
    (ProviderKind::Square, "changes", "stock"),
    (ProviderKind::Square, "catalog_object_ids", "stock"),
    (ProviderKind::Square, "locations", "account"),
    (ProviderKind::Square, "merchant", "account"),
    (ProviderKind::Square, "access_token", "account"),
    (ProviderKind::Square, "scopes", "account"),
    (ProviderKind::Square, "grant_type", "account"),
    (ProviderKind::Square, "success", "account"),
    (ProviderKind::Square, "payment", "payment: read for the time of an offline sale alone"),
    (ProviderKind::Square, "payments", "payment: read for the time of an offline sale alone"),
    (ProviderKind::Square, "refund", "refund: read as the order that it made"),
    (ProviderKind::Square, "refunds", "refund: read as the order that it made"),
    (ProviderKind::Square, "order_entries", "ids without orders: never asked for"),
    (ProviderKind::Square, "location_ids", "request"),
    (ProviderKind::Square, "event_types", "subscription"),
    (ProviderKind::Square, "subscription", "subscription"),
    (ProviderKind::Square, "subscriptions", "subscription"),
    (ProviderKind::Square, "subscription_test_result", "subscription"),
    (ProviderKind::Square, "signature_key", "subscription"),
    (ProviderKind::Toast, "developerMessage", "refusal: its status decides"),
    (ProviderKind::Toast, "headers", "refusal: its status decides"),
    (ProviderKind::Toast, "page-1", "headers of pages"),
    (ProviderKind::Toast, "token", "account"),
    (ProviderKind::Toast, "clientSecret", "account"),
    (ProviderKind::Toast, "general", "account"),
    (ProviderKind::Toast, "results", "list of a partner's restaurants: never asked for"),
    (ProviderKind::Toast, "restaurantGuid", "list of a partner's restaurants: never asked for"),
    (ProviderKind::Toast, "menus", "catalogue"),
    (ProviderKind::Toast, "amountTendered", "payment: read inside its order"),
    (ProviderKind::Toast, "itemGuidValidity", "stock"),
    (ProviderKind::Toast, "multiLocationId", "stock"),
    (ProviderKind::Toast, "guid", "list of a group's restaurants: never asked for"),
    (ProviderKind::Lightspeed, "error", "refusal: its status decides"),
    (ProviderKind::Lightspeed, "apiSubExceptions", "refusal: its status decides"),
    (ProviderKind::Lightspeed, "_embedded", "account"),
    (ProviderKind::Lightspeed, "access_token", "account"),
    (ProviderKind::Lightspeed, "metadata", "stock"),
    (ProviderKind::Lightspeed, "payments", "card fees: never asked for"),
    (ProviderKind::Lightspeed, "endpointId", "subscription"),
];

/// What does not come out well, how that shows, and why it is right. `*`: whatever the file.
const REASONS: &[(ProviderKind, &str, &str, &str)] = &[
    (
        ProviderKind::Square,
        "assembled-orders-search-page-1",
        "does not add up: PaymentsAndTotal 100",
        "shows paging, and leaves the money out",
    ),
    (
        ProviderKind::Square,
        "assembled-orders-search-page-1",
        "does not add up: PaymentsAndTotal 200",
        "shows paging, and leaves the money out",
    ),
    (
        ProviderKind::Square,
        "assembled-orders-search-page-2",
        "does not add up: PaymentsAndTotal 300",
        "shows paging, and leaves the money out",
    ),
    (
        ProviderKind::Toast,
        "order-create-response-sparse",
        "does not add up: PartsAndTotal 1300",
        "abbreviated by the documentation: one line of 12.00 under a check of 25.00",
    ),
    (
        ProviderKind::Toast,
        "*",
        "refused: missing at `guid`",
        "what a price would be, or a sample that its own page has shortened",
    ),
    (ProviderKind::Toast, "*", "refused: missing at `createdDate`", "a sample that its own page has shortened"),
];

/// How one payload came out.
fn outcome(kind: ProviderKind, payload: &Payload) -> String {
    match payload {
        Payload::Order(order) => of_order(kind, order),
        Payload::Notification(notification) => of_notification(kind, notification),
        Payload::Other(what) => format!("other: {what}"),
    }
}

enum Payload {
    Order(Value),
    Notification(Value),
    Other(&'static str),
}

/// What a file holds; nothing if nobody knows.
fn payloads(kind: ProviderKind, file: &str, value: Value) -> Vec<Payload> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let orders = |orders: Vec<Value>| orders.into_iter().map(Payload::Order).collect::<Vec<_>>();
    let has = |field: &str| value.get(field).is_some();
    // Of another product, which no provider here speaks with.
    if file.starts_with("l-series-") {
        return vec![Payload::Other("L-Series: another product")];
    }
    if has("vectors") {
        return vec![Payload::Other("signature vectors: proofs.rs and square.rs")];
    }
    match kind {
        ProviderKind::Square => {
            if has("event_id") {
                return vec![Payload::Notification(value)];
            }
            if has("events") {
                return list(&value["events"]).into_iter().map(Payload::Notification).collect();
            }
            if value["order"].get("location_id").is_some() {
                return orders(vec![value["order"].clone()]);
            }
            if has("orders") {
                return orders(list(&value["orders"]));
            }
            if value.as_object().is_some_and(serde_json::Map::is_empty) {
                return vec![Payload::Other("empty page")];
            }
        }
        ProviderKind::Toast => {
            if has("eventCategory") {
                return vec![Payload::Notification(value)];
            }
            if has("checks") {
                return orders(vec![value]);
            }
            if has("selections") {
                // A check alone, put where checks are.
                let opened = value["openedDate"].clone();
                return orders(vec![json!({ "guid": "ORDER", "createdDate": opened, "checks": [value] })]);
            }
            if let Some(elements) = value.as_array() {
                match elements.first() {
                    None => return vec![Payload::Other("empty page")],
                    Some(Value::String(_)) => return vec![Payload::Other("list of payments: never asked for")],
                    Some(first) if first.get("checks").is_some() => return orders(elements.clone()),
                    Some(_) => {}
                }
            }
        }
        ProviderKind::Lightspeed => {
            if has("salesLines") {
                return orders(vec![value]);
            }
            if has("sales") {
                return orders(list(&value["sales"]));
            }
            if ["notificationType", "thirdPartyReference", "apiKey", "posStatus", "countUpdatedAt"]
                .iter()
                .any(|f| has(f))
            {
                return vec![Payload::Notification(value)];
            }
        }
    }
    let element = value.as_array().and_then(|elements| elements.first()).unwrap_or(&value);
    let known = OTHER.iter().find(|(of, field, _)| *of == kind && element.get(field).is_some());
    known.map(|(_, _, what)| Payload::Other(what)).into_iter().collect()
}

fn of_order(kind: ProviderKind, order: &Value) -> String {
    // In a shop of the order's own currency.
    let (shop, currency) = match kind {
        ProviderKind::Square => (
            order["location_id"].as_str().unwrap_or("SHOP"),
            order["total_money"]["currency"].as_str().unwrap_or("USD"),
        ),
        ProviderKind::Toast | ProviderKind::Lightspeed => ("SHOP", "USD"),
    };
    let configuration = configuration(kind, &[(shop, "America/New_York", currency)]);
    let raw = RawOrder {
        body: serde_json::to_vec(order).unwrap(),
        location: LocationId::new(shop).ok(),
        paid_offline_at: None,
        observed_at: Timestamp::UNIX_EPOCH,
    };
    let transactions = pure().get(kind).normalize_order(&raw, &configuration);
    match transactions {
        Err(error) => format!("refused: {error}"),
        Ok(transactions) if transactions.is_empty() => "not sold".to_owned(),
        Ok(transactions) => {
            let breaches: Vec<String> = transactions
                .iter()
                .flat_map(|transaction| &transaction.discrepancies)
                .map(|breach| format!("{:?} {}", breach.kind, breach.missing))
                .collect();
            if breaches.is_empty() { "adds up".to_owned() } else { format!("does not add up: {}", breaches.join(", ")) }
        }
    }
}

/// Signed as its vendor would, and read.
fn of_notification(kind: ProviderKind, notification: &Value) -> String {
    let body = serde_json::to_vec(notification).unwrap();
    let received_at: Timestamp = notification["timestamp"].as_str().unwrap_or("2026-02-14T08:00:00Z").parse().unwrap();
    let (key, headers): (&str, DeliveryHeaders) = crate::proofs::sign(kind, "key", &body, received_at);
    let secret = json!({ "id": "s1", "notification_url": "https://pos.example.com", "signature_key": key });
    let delivery =
        WebhookDelivery { headers: &headers, body: &body, received_at, environment: Environment::Production };
    let providers = pure();
    let verified = providers.get(kind).verify_webhook(delivery, &[serde_json::from_value(secret).unwrap()]).unwrap();
    match providers.get(kind).parse_notification(&verified) {
        Ok(notification) => match notification.subject {
            Subject::Order { .. } => "rings".to_owned(),
            Subject::Revoked => "says nothing of a sale: the consent is gone".to_owned(),
            Subject::Nothing => "says nothing of a sale".to_owned(),
        },
        Err(error) => format!("unreadable: {error}"),
    }
}

/// The vendors' samples, or some of them: no part of this repository, but they may lie beside it.
pub fn samples(path: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures").join(path);
    if folder.exists() {
        return Some(folder);
    }
    // Past the test harness, which would keep it to itself.
    let said = format!("SKIPPED: the vendors' samples ({path}) are not beside the repository\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    None
}

#[test]
fn every_sample_comes_out_as_it_should() {
    let Some(folder) = samples("") else { return };
    let mut counts: BTreeMap<(&str, String), u32> = BTreeMap::new();
    let mut surprises = Vec::new();
    for kind in KINDS {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder.join(kind.as_str())).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            let value: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let payloads = payloads(kind, &name, value);
            if payloads.is_empty() {
                surprises.push(format!("{kind}/{name}: nobody knows what it is"));
            }
            for payload in payloads {
                let outcome = outcome(kind, &payload);
                let known = REASONS
                    .iter()
                    .find(|(of, file, shown, _)| *of == kind && (*file == "*" || *file == name) && *shown == outcome);
                let is_well =
                    ["adds up", "rings", "says nothing", "not sold", "other"].iter().any(|w| outcome.starts_with(w));
                if !is_well && known.is_none() {
                    surprises.push(format!("{kind}/{name}: {outcome}"));
                }
                let group = outcome.split(':').next().unwrap().to_owned();
                *counts.entry((kind.as_str(), group)).or_default() += 1;
            }
        }
    }
    for ((kind, outcome), count) in &counts {
        println!("{kind}: {count} {outcome}");
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}
