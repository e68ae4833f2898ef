//! Everything we answer, held against the vendor's own samples.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use sandbox::{SaleKind, Sandbox, SandboxOptions, Vendor};
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::{Client, PATIENCE, quick, standing, updated_since};

/// Documented in Square's model (providers/square.md, section 4) but in no sample.
const DOCUMENTED: [&str; 17] = [
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
    // Of a buyer: Square's schema of a payment.
    ".billing_address",
    ".buyer_email_address",
    ".cardholder_name",
    // A modifier may itself be modified (providers/toast.md, section 4.2).
    ".modifiers[].modifiers[]",
    ".firstBusinessDate",
    ".general.currencyCode",
    ".checks[].appliedDiscounts[].",
];

/// The vendor's samples, if they lie beside the repository.
fn samples(vendor: &str) -> Option<Vec<(String, Value)>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures").join(vendor);
    let Ok(files) = std::fs::read_dir(folder) else {
        // Past the test harness, which would keep it to itself.
        let skipped = format!("SKIPPED: no samples of {vendor} (shared/fixtures) are here; shapes were not checked\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        return None;
    };
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
    let Some(samples) = samples("square") else {
        return;
    };
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = Client::of(&sandbox);
    let owner = Client::with_token(&sandbox, &sandbox.application().access_token);
    use SaleKind::{AmountRefund, Api, Canceled, Edited, Everything, LateTip, Offline};
    for kind in [Everything, Api, Canceled, Offline, AmountRefund, LateTip, Edited] {
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

    check_catalogue(&samples, &sandbox).await;

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

/// The catalogue and its counts; the echo of the write is checked with all other events.
async fn check_catalogue(samples: &[(String, Value)], sandbox: &Sandbox) {
    const OBJECT: [&str; 4] = ["/objects", "/related_objects", "/catalog_object", "/objects/0/item_data/variations"];
    let scopes = ["ITEMS_READ", "INVENTORY_READ", "INVENTORY_WRITE"];
    let client = Client::with_token(sandbox, &sandbox.grant(None, &scopes).unwrap().access_token);
    let search = json!({"include_related_objects": true, "limit": 100});
    let (_, found) = client.post("/v2/catalog/search", search).await;
    for object in found["objects"].as_array().unwrap().iter().chain(found["related_objects"].as_array().unwrap()) {
        check(samples, "catalogue", object, &OBJECT);
    }
    let counted = json!({"limit": 1});
    let (_, counts) = client.post("/v2/inventory/counts/batch-retrieve", counted).await;
    let count = &counts["counts"][0];
    check(samples, "count", count, &["/counts"]);
    let change = json!({"idempotency_key": "k", "changes": [{"type": "PHYSICAL_COUNT", "physical_count": {
        "catalog_object_id": count["catalog_object_id"], "location_id": count["location_id"], "state": "IN_STOCK",
        "quantity": "0", "occurred_at": jiff::Timestamp::now(),
    }}]});
    let (_, changed) = client.post("/v2/inventory/changes/batch-create", change).await;
    check(samples, "changed counts", &changed, &[""]);
}

#[tokio::test]
async fn toasts_answers_and_events_have_the_shapes_of_the_samples() {
    let Some(samples) = samples("toast") else {
        return;
    };
    let sandbox = Sandbox::start(SandboxOptions { shops: 4, ..standing() }).unwrap();
    let toast = sandbox.at(Vendor::Toast);
    toast.stock_history(25, "2026-03-07T11:30:00Z".parse().unwrap());
    toast.ring_up(SaleKind::Everything, None).unwrap();
    toast.wait_until_quiet(PATIENCE).await.unwrap();
    let order = ["", "/details/order"];
    for event in toast.events() {
        let body: Value = serde_json::from_str(&event.body).unwrap();
        check(&samples, "order", &body["details"]["order"], &order);
        let mut envelope = body.clone();
        envelope["details"]["order"] = json!({});
        check(&samples, "event", &envelope, &[""]);
    }
    let token = sandbox.grant_of(Vendor::Toast, None, &[]).unwrap().access_token;
    let restaurant = sandbox.merchants_of(Vendor::Toast)[0].locations[0].id.clone();
    let get = |path: String| {
        let request = reqwest::Client::new().get(format!("{}{path}", sandbox.toast_url())).bearer_auth(&token);
        let request = request.header("Toast-Restaurant-External-ID", &restaurant);
        async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let day = sandbox.at(Vendor::Toast).ledger()[0].business_date.as_ref().unwrap().replace('-', "");
    for order_shown in get(format!("/orders/v2/ordersBulk?businessDate={day}")).await.as_array().unwrap() {
        check(&samples, "order", order_shown, &order);
    }
    let payments = get(format!("/orders/v2/payments?paidBusinessDate={day}")).await;
    let guid = payments[0].as_str().unwrap();
    check(&samples, "payment", &get(format!("/orders/v2/payments/{guid}")).await, &["", "/checks/0/payments"]);
    check(&samples, "restaurant", &get(format!("/restaurants/v1/restaurants/{restaurant}")).await, &[""]);
    check(&samples, "partners", &get("/partners/v1/connectedRestaurants?pageSize=2".to_owned()).await, &[""]);
    check(&samples, "error", &get("/orders/v2/orders/none".to_owned()).await, &[""]);
}

#[tokio::test]
async fn lightspeeds_answers_and_events_have_the_shapes_of_the_samples() {
    let Some(samples) = samples("lightspeed") else {
        return;
    };
    let sandbox = Sandbox::start(SandboxOptions { merchants: 3, ..standing() }).unwrap();
    let lightspeed = sandbox.at(Vendor::Lightspeed);
    lightspeed.stock_history(25, "2026-03-07T06:30:00Z".parse().unwrap());
    let (receiver, url) = Receiver::answering(&[]).await;
    sandbox.subscribe_mirroring(None, url.trim_end_matches("/hook"), "example-api-key").unwrap();
    lightspeed.ring_up(SaleKind::Everything, None).unwrap();
    lightspeed.wait_until_quiet(PATIENCE).await.unwrap();
    check(&samples, "mirror", &serde_json::from_slice(&receiver.got()[0].body).unwrap(), &[""]);
    for event in lightspeed.events() {
        check(&samples, "notification", &serde_json::from_str(&event.body).unwrap(), &[""]);
    }
    for merchant in lightspeed.merchants() {
        let token = sandbox.grant_of(Vendor::Lightspeed, Some(&merchant.id), &[]).unwrap().access_token;
        let get = |path: String| {
            let request = reqwest::Client::new().get(format!("{}{path}", sandbox.lightspeed_url())).bearer_auth(&token);
            async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
        };
        let location = &merchant.locations[0].id;
        let path = format!("/f/v2/business-location/{location}/sales");
        let page = get(format!("{path}?from=2026-03-01T00:00:00Z&include=payments&pageSize=100")).await;
        for sale in page["sales"].as_array().unwrap() {
            check(&samples, "sale", sale, &["", "/sales"]);
        }
        check(&samples, "page", &page, &[""]);
        check(&samples, "day", &get(format!("{path}-daily?date=2026-03-07")).await, &[""]);
        check(&samples, "error", &get(path).await, &[""]);
        check(&samples, "businesses", &get("/f/data/businesses".to_owned()).await, &[""]);
        let counts = format!("/o/op/1/itemAvailability?businessLocationId={location}");
        check(&samples, "availability", &get(counts).await, &[""]);
    }
}
