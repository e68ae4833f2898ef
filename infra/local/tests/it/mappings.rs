//! What the tenant calls what its tills sell: said, used, and brought to what was sold before.

use std::collections::BTreeMap;

use local::api::Api;
use reqwest::Method;
use sandbox::SaleKind;
use serde_json::{Value, json};

use crate::town::{Answer, CHAIN, QuietTown, eventually, quiet_town};

/// Sells something at one of the chain's merchants, and waits until it is stored as it stays.
async fn sold(town: &QuietTown, api: &Api, merchant: usize, kind: SaleKind) -> Value {
    let order = town.bakery.sandbox.ring_up_at(kind, &town.chain[merchant].0.locations[0].id).unwrap().order_id;
    transaction(api, &order, |it| it["status"] == "completed" && it["sales"]["acknowledged"] == true).await
}

async fn transaction(api: &Api, order: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{order} to be as it should"), async || {
        let page = Answer::to(api.request(Method::GET, &format!("/transactions?order_id={order}"))).await.json();
        page["items"].as_array().unwrap().first().filter(|found| is_so(found)).cloned()
    })
    .await
}

async fn get(api: &Api, path: &str) -> Value {
    let answer = Answer::to(api.request(Method::GET, path)).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// Follows the `Location` of an accepted job until it is done.
async fn followed(api: &Api, accepted: &Answer, is_done: impl Fn(&Value) -> bool) -> Value {
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let (_, path) = accepted.header("location").split_once(&format!("/tenants/{CHAIN}/pos")).unwrap();
    eventually("a job to be done", async || Some(get(api, path).await).filter(&is_done)).await
}

fn items(transaction: &Value) -> BTreeMap<String, (i64, Value)> {
    let lines = transaction["line_items"].as_array().unwrap().iter();
    let lines = lines.filter_map(|line| Some((line["item_id"].as_str()?.to_owned(), line)));
    let mut items = BTreeMap::<String, (i64, Value)>::new();
    for (id, line) in lines {
        let item = items.entry(id).or_insert((0, line["product_id"].clone()));
        item.0 += line["total_minor"].as_i64().unwrap();
    }
    items
}

#[tokio::test]
async fn what_is_sold_is_mapped_and_then_what_was_sold_before() {
    let town = quiet_town().await;
    let _turn = town.sales_turn().await;
    let api = &town.bakery.api_of(CHAIN, &["pos:write"]).unwrap();
    let products = format!("/configurations/{}/product-mappings", town.chain[1].1);
    let before = [sold(town, api, 1, SaleKind::Simple).await, sold(town, api, 1, SaleKind::Modifiers).await];
    let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
    for (id, (total, product)) in before.iter().flat_map(items) {
        assert_eq!(product, Value::Null, "{id} is mapped already");
        *wanted.entry(id).or_default() += total;
    }
    assert!(!wanted.is_empty());

    // What is at stake: the dearest first.
    let unmapped = get(api, &format!("{products}/unmapped?days=31")).await;
    let stakes: Vec<i64> =
        unmapped["items"].as_array().unwrap().iter().map(|item| item["total_minor"].as_i64().unwrap()).collect();
    assert!(stakes.is_sorted_by(|one, other| one >= other), "{unmapped}");
    let of_ours = |id: &str| {
        let found = unmapped["items"].as_array().unwrap().iter().find(|item| item["item_id"] == id);
        found.unwrap_or_else(|| panic!("{id} is not in {unmapped}"))["total_minor"].as_i64().unwrap()
    };
    assert!(wanted.iter().all(|(id, total)| of_ours(id) >= *total), "{wanted:?} {unmapped}");

    // A table with three mistakes changes nothing and names them.
    let first = wanted.keys().next().unwrap();
    let table =
        format!("\u{FEFF}item_id,product_id\r\n{first},croissant\r\n,x\r\n{first},roll\r\n\"y\",\"two words\"\r\n");
    let csv = |method: Method, path: &str| api.request(method, path).header("content-type", "text/csv");
    let refused = Answer::to(csv(Method::PUT, &products).body(table)).await;
    refused.problem(422, "invalid_fields");
    assert_eq!(refused.pointers(), ["/lines/3/item_id", "/lines/4/item_id", "/lines/5/product_id"]);
    let shown = Answer::to(api.request(Method::GET, &format!("{products}/items/{first}"))).await;
    assert!(shown.status == 404 || shown.json()["product_id"] == Value::Null, "{shown:?}");

    // One that is good is taken.
    let rows = wanted.keys().map(|id| format!("{id};p-{id};for people\n")).collect::<String>();
    let accepted = Answer::to(csv(Method::PUT, &products).body(format!("item_id;product_id;remark\n{rows}"))).await;
    let import = followed(api, &accepted, |import| import["parts_done"] == import["parts"]).await;
    let count = json!(wanted.len());
    assert_eq!((&import["rows"], &import["rows_done"], &import["changed"]), (&count, &count, &count), "{import}");
    let exported = Answer::to(api.request(Method::GET, &products).header("accept", "text/csv")).await;
    assert_eq!((exported.status, exported.header("content-type")), (200, "text/csv; charset=utf-8"));
    for id in wanted.keys() {
        assert!(exported.text.lines().any(|line| line.contains(id) && line.ends_with(&format!(",p-{id}"))), "{id}");
    }
    let again = Answer::to(csv(Method::PUT, &products).body(exported.text.clone())).await;
    let import = followed(api, &again, |import| import["parts_done"] == import["parts"]).await;
    assert_eq!(import["changed"], 0, "what was exported says nothing new: {import}");

    // The items that stay unmapped may be something that the tenant knows.
    let catalogue = get(api, &products).await;
    if let Some(open) =
        catalogue["items"].as_array().unwrap().iter().find(|it| it["product_id"].is_null() && !it["sku"].is_null())
    {
        let given = json!({ "products": [{ "product_id": "known", "sku": open["sku"] }] });
        let suggested = Answer::to(api.request(Method::POST, &format!("{products}/suggestions")).json(&given)).await;
        let found = suggested.json()["items"].as_array().unwrap().iter().any(|it| {
            it["item_id"] == open["item_id"] && it["reason"] == "same_sku" && it["product_ids"] == json!(["known"])
        });
        assert!(found, "{suggested:?}");
    }

    // The past: nothing changes before somebody has agreed to what was shown.
    let dates: Vec<&str> = before.iter().map(|it| it["business_date"].as_str().unwrap()).collect();
    let range = json!({ "from": dates.iter().min(), "to": dates.iter().max() });
    let begin = |range: Value| {
        api.request(Method::POST, &format!("{products}/remappings")).header("idempotency-key", "past").json(&range)
    };
    let accepted = Answer::to(begin(range.clone())).await;
    let shown = followed(api, &accepted, |it| it["state"] == "previewed").await;
    assert_eq!(Answer::to(begin(range)).await.json()["id"], shown["id"], "the same key, the same remapping");
    Answer::to(begin(json!({ "from": "2020-01-01", "to": "2020-01-02" }))).await.problem(422, "idempotency_key_reused");
    let path = format!("{products}/remappings/{}", shown["id"].as_str().unwrap());
    let days = get(api, &format!("{path}/days")).await;
    let mut changes: BTreeMap<String, i64> = BTreeMap::new();
    for change in days["items"].as_array().unwrap().iter().flat_map(|day| day["changes"].as_array().unwrap()) {
        let id = change["item_id"].as_str().unwrap();
        assert_eq!((&change["from"], &change["to"]), (&Value::Null, &json!(format!("p-{id}"))), "{change}");
        *changes.entry(id.to_owned()).or_default() += change["total_minor"].as_i64().unwrap();
    }
    assert!(wanted.iter().all(|(id, total)| changes[id] >= *total), "{wanted:?} {changes:?}");
    for sale in &before {
        let order = sale["external_order_id"].as_str().unwrap();
        assert_eq!(transaction(api, order, |_| true).await["revision"], sale["revision"]);
    }

    let applied = Answer::to(api.request(Method::POST, &format!("{path}/apply"))).await;
    let done = followed(api, &applied, |it| it["state"] == "applied").await;
    assert_eq!((&done["transactions_applied"], &done["days_skipped"]), (&shown["transactions"], &json!(0)), "{done}");
    assert_eq!(Answer::to(api.request(Method::POST, &format!("{path}/apply"))).await.json()["state"], "applied");
    for sale in &before {
        let order = sale["external_order_id"].as_str().unwrap();
        let now = transaction(api, order, |it| it["sales"]["acknowledged"] == true).await;
        assert_eq!(now["revision"].as_u64().unwrap(), sale["revision"].as_u64().unwrap() + 1, "{now}");
        assert!(items(&now).iter().all(|(id, (_, product))| *product == json!(format!("p-{id}"))), "{now}");
        assert_eq!(now["amounts"], sale["amounts"]);
        let known = &town.sales.transactions()[sale["id"].as_str().unwrap()].event["data"];
        assert_eq!((&known["revision"], &known["transaction"]["line_items"]), (&now["revision"], &now["line_items"]));
    }
    let after = get(api, &format!("{products}/unmapped?days=31")).await;
    let is_ours = |item: &Value| wanted.contains_key(item["item_id"].as_str().unwrap());
    assert!(!after["items"].as_array().unwrap().iter().any(is_ours), "{after}");
}

#[tokio::test]
async fn one_item_is_said_shown_and_unsaid() {
    let town = quiet_town().await;
    let api = &town.bakery.api_of(CHAIN, &["pos:write"]).unwrap();
    let item = format!("/configurations/{}/product-mappings/items/SOMETHING", town.chain[0].1);
    Answer::to(api.request(Method::GET, &item)).await.problem(404, "not_found");
    let say = |product: Value| api.request(Method::PUT, &item).json(&json!({ "product_id": product }));
    let said = Answer::to(say(json!("bun"))).await;
    assert_eq!((said.status, &said.json()["product_id"]), (200, &json!("bun")), "{said:?}");
    assert_eq!(get(api, &item).await["product_id"], "bun");
    assert_eq!(Answer::to(say(Value::Null)).await.json()["product_id"], Value::Null);
    Answer::to(say(json!("two words"))).await.problem(422, "invalid_fields");
    let reader = town.bakery.api_of(CHAIN, &["pos:read"]).unwrap();
    Answer::to(reader.request(Method::PUT, &item).json(&json!({ "product_id": "x" }))).await.problem(403, "forbidden");
    // A job of another configuration is none.
    let other = format!("/configurations/{}/product-mappings", town.chain[1].1);
    let accepted = Answer::to(api.request(Method::PUT, &other).json(&json!({ "mappings": [] }))).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let id = accepted.json()["id"].as_str().unwrap().to_owned();
    let strange = format!("/configurations/{}/product-mappings/imports/{id}", town.chain[0].1);
    Answer::to(api.request(Method::GET, &strange)).await.problem(404, "not_found");
}
