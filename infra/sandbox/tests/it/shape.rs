//! Everything we answer, held against the vendor's own samples.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use sandbox::{SaleKind, Sandbox};
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::{Client, PATIENCE, quick, updated_since};

/// Documented in Square's model (providers/square.md, section 4) but in no sample.
const DOCUMENTED: [&str; 10] = [
    ".tip_money",
    ".processing_fee_money",
    ".amount_money",
    ".voided_at",
    ".return_line_items[].catalog_version",
    ".return_line_items[].quantity_unit",
    ".applied_service_charges",
    ".return_service_charges",
    ".return_tips",
    ".total_service_charge_money",
];

fn samples() -> Option<Vec<(String, Value)>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/square");
    let files = std::fs::read_dir(folder).ok()?;
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        Some((name, serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?))
    };
    Some(files.filter_map(|file| read(file.ok()?.path())).collect())
}

/// Every key path with its JSON type: `.orders[].total_money.amount number`.
fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(items) => {
            items.iter().for_each(|item| paths(item, &format!("{at}[]"), found));
            "array"
        }
        Value::Object(keys) => {
            keys.iter().for_each(|(key, item)| paths(item, &format!("{at}.{key}"), found));
            "object"
        }
    };
    found.insert(format!("{at} {kind}"));
}

/// Checks one answer against all samples that hold such an object at the pointer.
fn check(samples: &[(String, Value)], what: &str, answer: &Value, pointers: &[&str]) {
    let mut known = BTreeSet::new();
    let mut used = 0;
    for (_, sample) in samples {
        for object in pointers.iter().filter_map(|pointer| sample.pointer(pointer)) {
            for object in object.as_array().map_or(vec![object], |items| items.iter().collect()) {
                paths(object, "", &mut known);
                used += 1;
            }
        }
    }
    assert!(used > 0, "no sample of {what}");
    assert!(answer.is_object(), "{what}: {answer}");
    let mut ours = BTreeSet::new();
    paths(answer, "", &mut ours);
    let strange: Vec<&String> =
        ours.difference(&known).filter(|path| !DOCUMENTED.iter().any(|key| path.contains(key))).collect();
    assert!(strange.is_empty(), "{what}: not in any sample: {strange:#?}");
}

const ORDER: [&str; 2] = ["/order", "/orders"];
const PAYMENT: [&str; 2] = ["/payment", "/data/object/payment"];
const REFUND: [&str; 3] = ["/refund", "/refunds", "/data/object/refund"];

#[tokio::test]
async fn answers_and_events_have_the_shapes_of_the_samples() {
    let Some(samples) = samples() else {
        // Past the test harness, which would keep it to itself.
        writeln!(
            std::io::stderr(),
            "SKIPPED: the vendor's samples (shared/fixtures/square) are not here; shapes were not checked"
        )
        .unwrap();
        return;
    };
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = Client::of(&sandbox);
    let owner = Client::with_token(&sandbox, &sandbox.application().access_token);
    for kind in [SaleKind::Everything, SaleKind::Api, SaleKind::Canceled, SaleKind::Offline, SaleKind::AmountRefund] {
        sandbox.ring_up(kind).unwrap();
    }
    let full = sandbox.ring_up(SaleKind::Everything).unwrap();
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();
    sandbox.refund(&full.order_id, sandbox::RefundKind::Full).unwrap();
    sandbox.play(100);
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();

    for order in client.all_orders(&sandbox, 500).await {
        check(&samples, "order", &order, &ORDER);
    }
    let (_, page) = client.get("/v2/payments").await;
    for payment in page["payments"].as_array().unwrap() {
        check(&samples, "payment", payment, &PAYMENT);
    }
    let (_, page) = client.get("/v2/refunds?limit=1").await;
    check(&samples, "refund", &page["refunds"][0], &REFUND);
    check(&samples, "merchant", &client.get("/v2/merchants/me").await.1, &[""]);
    check(&samples, "location", &client.get("/v2/locations/main").await.1["location"], &["/locations"]);
    let mut query = updated_since(&crate::locations(&sandbox), "2026-01-01T00:00:00Z");
    query["limit"] = json!(3);
    query["return_entries"] = json!(true);
    check(&samples, "entries", &client.post("/v2/orders/search", query).await.1, &[""]);
    check(&samples, "error", &client.get("/v2/orders/none").await.1, &[""]);
    check(&samples, "status", &client.post("/oauth2/token/status", json!({})).await.1, &[""]);

    let (_receiver, url) = Receiver::answering(&[]).await;
    let new = json!({"subscription": {"name": "x", "event_types": ["payment.created"], "notification_url": url}});
    let (_, made) = owner.post("/v2/webhooks/subscriptions", new).await;
    check(&samples, "subscription", &made, &[""]);
    check(&samples, "subscriptions", &owner.get("/v2/webhooks/subscriptions").await.1, &[""]);

    for event in sandbox.events() {
        let of_type: Vec<(String, Value)> = samples
            .iter()
            .filter(|(_, sample)| sample["type"] == event.event_type || sample["type"] == "refund.created")
            .cloned()
            .collect();
        let body: Value = serde_json::from_str(&event.body).unwrap();
        let object = &body["data"]["object"];
        let name = event.event_type.as_str();
        match name.split('.').next() {
            Some("payment") => check(&samples, name, &object["payment"], &PAYMENT),
            Some("refund") => check(&samples, name, &object["refund"], &REFUND),
            _ => check(&of_type, name, object, &["/data/object"]),
        }
        let mut envelope = body.clone();
        envelope["data"]["object"] = json!({});
        check(&of_type, &event.event_type, &envelope, &[""]);
    }
}
