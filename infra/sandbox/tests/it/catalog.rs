//! What a merchant sells at Square, and how much of it is left.

use std::collections::{BTreeMap, BTreeSet};

use sandbox::{Faults, Sandbox};
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::{Client, PATIENCE, error_code, locations, standing};

const NOW: &str = "2026-03-08T10:00:00Z";

fn all(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Every item, and what they refer to, page by page.
async fn items(client: &Client, limit: usize) -> (Vec<Value>, BTreeMap<String, Value>) {
    let mut search = json!({"object_types": ["ITEM"], "include_related_objects": true, "limit": limit});
    let (mut found, mut related) = (Vec::new(), BTreeMap::new());
    loop {
        let (status, page) = client.post("/v2/catalog/search", search.clone()).await;
        assert_eq!(status, 200, "{page}");
        let objects = all(&page["objects"]);
        assert!(objects.len() <= limit);
        found.extend(objects);
        let others = all(&page["related_objects"]);
        related.extend(others.into_iter().map(|object| (object["id"].as_str().unwrap().to_owned(), object)));
        match page.get("cursor") {
            Some(cursor) => search["cursor"] = cursor.clone(),
            None => return (found, related),
        }
    }
}

fn variations(items: &[Value]) -> Vec<Value> {
    items.iter().flat_map(|item| all(&item["item_data"]["variations"])).collect()
}

/// The variation of this name, and its id.
fn variation(items: &[Value], name: &str) -> (Value, String) {
    let item = items.iter().find(|item| item["item_data"]["name"] == name).unwrap();
    let variation = item["item_data"]["variations"][0].clone();
    let id = variation["id"].as_str().unwrap().to_owned();
    (variation, id)
}

fn count(key: &str, id: &str, shop: &str, quantity: &str) -> Value {
    json!({
        "idempotency_key": key,
        "changes": [{"type": "PHYSICAL_COUNT", "physical_count": {
            "catalog_object_id": id, "location_id": shop, "state": "IN_STOCK", "quantity": quantity, "occurred_at": NOW,
        }}],
    })
}

fn writer(sandbox: &Sandbox) -> Client {
    let scopes = ["ITEMS_READ", "INVENTORY_READ", "INVENTORY_WRITE", "ORDERS_READ"];
    Client::with_token(sandbox, &sandbox.grant(None, &scopes).unwrap().access_token)
}

#[tokio::test]
async fn what_orders_sell_is_in_the_catalogue() {
    let sandbox = Sandbox::start(standing()).unwrap();
    let client = Client::of(&sandbox);
    sandbox.stock_history(60, "2026-03-07T11:30:00Z".parse().unwrap());
    let (items, related) = items(&client, 3).await;
    let names: BTreeSet<&str> = items.iter().map(|item| item["item_data"]["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), items.len(), "an item has all of its variations");
    for item in &items {
        let category = &related[item["item_data"]["reporting_category"]["id"].as_str().unwrap()];
        assert!(category["category_data"]["name"].is_string());
    }
    let known: BTreeMap<String, Value> =
        variations(&items).into_iter().map(|it| (it["id"].as_str().unwrap().to_owned(), it)).collect();
    let mut checked = 0;
    for order in client.all_orders(&sandbox, 500).await {
        for line in all(&order["line_items"]) {
            let Some(id) = line["catalog_object_id"].as_str() else { continue };
            assert_eq!(known[id]["item_variation_data"]["name"], line["variation_name"], "{line}");
            assert_eq!(known[id]["item_variation_data"]["price_money"], line["base_price_money"], "{line}");
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");

    let some: Vec<&String> = known.keys().take(2).collect();
    let wanted = json!({"object_ids": [some[0], "NONE", some[1]], "include_related_objects": true});
    let (_, found) = client.post("/v2/catalog/batch-retrieve", wanted).await;
    assert_eq!(all(&found["objects"]).len(), 2, "what is not known is left out");
    assert!(all(&found["related_objects"]).iter().all(|object| object["type"] == "ITEM"));
    let (_, one) = client.get(&format!("/v2/catalog/object/{}", some[0])).await;
    assert_eq!(one["object"]["id"], some[0].as_str());
    assert_eq!(error_code(&client.get("/v2/catalog/object/NONE").await), (404, "NOT_FOUND"));
}

#[tokio::test]
async fn a_catalogue_s_cursor_is_bound_and_pages_have_their_manners() {
    let sandbox = Sandbox::start(standing()).unwrap();
    let client = Client::of(&sandbox);
    let search = |changes: Value| {
        let mut search = json!({"object_types": ["ITEM"], "limit": 2});
        search.as_object_mut().unwrap().extend(changes.as_object().cloned().unwrap());
        client.post("/v2/catalog/search", search)
    };
    let cursor = search(json!({})).await.1["cursor"].clone();
    let other = search(json!({"cursor": cursor, "object_types": ["CATEGORY"]})).await;
    assert_eq!(error_code(&other), (400, "INVALID_CURSOR"));
    assert_eq!(search(json!({"begin_time": NOW})).await.1.get("objects"), None, "nothing has changed since");
    assert_eq!(all(&search(json!({"limit": -1})).await.1["objects"]).len(), items(&client, 100).await.0.len());
    assert_eq!(search(json!({"query": {}})).await.0, 400, "what is not simulated is not ignored");
    sandbox.set_faults(Faults { empty_pages: 1, ..Faults::default() });
    let (_, page) = search(json!({})).await;
    assert!(page.get("objects").is_none() && page["cursor"].is_string(), "{page}");
    sandbox.set_faults(Faults { expire_cursors: 1, ..Faults::default() });
    assert_eq!(error_code(&search(json!({"cursor": cursor})).await), (400, "INVALID_CURSOR"));
    sandbox.set_faults(Faults { refuse_scopes: vec!["ITEMS_READ".to_owned()], ..Faults::default() });
    assert_eq!(search(json!({})).await.0, 403);
}

#[tokio::test]
async fn a_count_of_nothing_sells_out_what_is_counted() {
    let sandbox = Sandbox::start(standing()).unwrap();
    let client = writer(&sandbox);
    let owner = Client::with_token(&sandbox, &sandbox.application().access_token);
    let (receiver, url) = Receiver::answering(&[]).await;
    let new =
        json!({"subscription": {"name": "stock", "event_types": ["inventory.count.updated"], "notification_url": url}});
    assert_eq!(owner.post("/v2/webhooks/subscriptions", new).await.0, 200);
    let shop = &locations(&sandbox)[0];
    let (before, id) = variation(&items(&client, 100).await.0, "Baguette");
    assert_eq!(before["item_variation_data"]["track_inventory"], true);
    assert!(before["item_variation_data"].get("location_overrides").is_none());

    let change = count("key", &id, shop, "0");
    let (status, done) = client.post("/v2/inventory/changes/batch-create", change.clone()).await;
    assert_eq!((status, &done["counts"][0]["quantity"]), (200, &json!("0")), "{done}");
    assert_eq!(client.post("/v2/inventory/changes/batch-create", change).await.1, done, "the same request again");
    let other = client.post("/v2/inventory/changes/batch-create", count("key", &id, shop, "7")).await;
    assert_eq!(error_code(&other), (400, "IDEMPOTENCY_KEY_REUSED"));

    let (sold_out, _) = variation(&items(&client, 100).await.0, "Baguette");
    let place = &sold_out["item_variation_data"]["location_overrides"][0];
    assert_eq!((&place["location_id"], &place["sold_out"]), (&json!(shop), &json!(true)));
    let asked = json!({"catalog_object_ids": [id], "location_ids": [shop], "updated_after": "2026-03-01T00:00:00Z"});
    let (_, counts) = client.post("/v2/inventory/counts/batch-retrieve", asked.clone()).await;
    assert_eq!(counts["counts"], done["counts"]);

    client.post("/v2/inventory/changes/batch-create", count("same", &id, shop, "0")).await;
    let (_, undone) = client.post("/v2/inventory/changes/batch-create", count("more", &id, shop, "12.5")).await;
    assert_eq!(undone["counts"][0]["quantity"], "12.5");
    assert_eq!(variation(&items(&client, 100).await.0, "Baguette").0, before, "a count that is something undoes it");
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();
    let mut told: Vec<Value> =
        receiver.got().iter().map(|got| serde_json::from_slice(&got.body).unwrap()).collect::<Vec<Value>>();
    told.sort_by_key(|event| event["created_at"].as_str().unwrap().to_owned());
    let told: Vec<&Value> =
        told.iter().map(|event| &event["data"]["object"]["inventory_counts"][0]["quantity"]).collect();
    assert_eq!(told.len(), 2, "an unchanged count is no news: {told:?}");
}

#[tokio::test]
async fn what_is_not_counted_has_no_count_and_nonsense_is_refused() {
    let sandbox = Sandbox::start(standing()).unwrap();
    let client = writer(&sandbox);
    let shops = locations(&sandbox);
    let all_items = items(&client, 100).await.0;
    let ((croissant, warm), (bagel, ring)) = (variation(&all_items, "Croissant"), variation(&all_items, "Bagel"));
    assert!(croissant["item_variation_data"].get("track_inventory").is_none());
    let own = &bagel["item_variation_data"]["location_overrides"];
    assert_eq!(own, &json!([{"location_id": shops[1], "track_inventory": false}]), "a shop's own setting comes first");
    let asked = json!({"catalog_object_ids": [warm, ring], "limit": 1});
    let (_, page) = client.post("/v2/inventory/counts/batch-retrieve", asked.clone()).await;
    assert_eq!((&page["counts"][0]["location_id"], page["cursor"].is_string()), (&json!(shops[0]), true));
    let mut next = asked;
    next["cursor"] = page["cursor"].clone();
    let (_, page) = client.post("/v2/inventory/counts/batch-retrieve", next).await;
    assert_eq!((&page["counts"][0]["location_id"], page.get("cursor")), (&json!(shops[2]), None));

    let good = count("k", &ring, &shops[0], "3");
    let changed = |pointer: &str, value: Value| {
        let mut change = good.clone();
        *change.pointer_mut(pointer).unwrap() = value;
        change
    };
    let at = |field: &str| format!("/changes/0/physical_count/{field}");
    for (change, expected) in [
        (changed(&at("catalog_object_id"), json!("NONE")), (404, "NOT_FOUND")),
        (changed(&at("location_id"), json!("NONE")), (404, "NOT_FOUND")),
        (changed(&at("quantity"), json!("0.000001")), (400, "INVALID_VALUE")),
        (changed(&at("state"), json!("SOLD")), (400, "INVALID_ENUM_VALUE")),
        (changed(&at("occurred_at"), json!("2026-03-07T09:00:00Z")), (400, "INVALID_TIME")),
        (changed(&at("occurred_at"), json!("2026-03-08T11:00:00Z")), (400, "INVALID_TIME")),
        (changed("/changes/0/type", json!("TRANSFER")), (400, "BAD_REQUEST")),
        (changed("/idempotency_key", json!("")), (400, "BAD_REQUEST")),
        (changed("/changes", json!([])), (400, "BAD_REQUEST")),
    ] {
        let answer = client.post("/v2/inventory/changes/batch-create", change.clone()).await;
        assert_eq!(error_code(&answer), expected, "{change}");
    }
    // Who may read counts may not write them.
    let reader = Client::of(&sandbox);
    assert_eq!(reader.post("/v2/inventory/changes/batch-create", good).await.0, 403);
}
