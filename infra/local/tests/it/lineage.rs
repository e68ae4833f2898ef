//! From a line that was sold to the bytes that the vendor has sent, and back; and from a page of a sync to its sales.

use local::api::Api;
use reqwest::Method;
use sandbox::{SaleKind, Vendor};
use serde_json::{Value, json};

use crate::sync_town::silent_town;
use crate::town::{Answer, eventually, quiet_town};

async fn get(api: &Api, path: &str) -> Value {
    let answer = Answer::to(api.request(Method::GET, path)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The value of the first member of this name, wherever it is.
fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Object(members) => members.get(name).or_else(|| members.values().find_map(|it| member(it, name))),
        Value::Array(values) => values.iter().find_map(|it| member(it, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[tokio::test]
async fn a_random_sale_line_leads_to_the_vendors_bytes_and_these_lead_back_to_it() {
    let town = quiet_town().await;
    let _turn = town.sales_turn().await;
    let (api, configuration) = (town.bakery.api().unwrap(), &town.bakery.configuration_id);
    let shop = town.bakery.sandbox.merchants()[0].locations[0].id.clone();
    let mut orders = Vec::new();
    for kind in [SaleKind::Simple, SaleKind::Cash, SaleKind::Everything] {
        orders.push(town.bakery.sandbox.ring_up_at(kind, &shop).unwrap().order_id);
    }
    let mut sold = Vec::new();
    for order in &orders {
        let path = format!("/transactions?order_id={order}");
        let found = eventually("the sale to be accepted", async || {
            let found = get(&api, &path).await["items"][0].clone();
            (found["sales"]["state"] == "accepted" && found["status"] == "completed").then_some(found)
        });
        sold.push(found.await);
    }
    let lines: Vec<(&Value, &Value)> = sold
        .iter()
        .flat_map(|sale| sale["line_items"].as_array().unwrap().iter().map(move |line| (sale, line)))
        .collect();
    let random = usize::try_from(uuid::Uuid::new_v4().as_u64_pair().0).unwrap() % lines.len();
    let (sale, line) = lines[random];
    println!("line {random} of {}: {}", lines.len(), line["name"]);

    // The sale line ... its revision ... the delivery that led to it, proven by our secret ... the order's id in its bytes.
    let id = sale["id"].as_str().unwrap();
    // The delivery's row is written when all else is done.
    let (lineage, revision) = eventually("the lineage", async || {
        let lineage = get(&api, &format!("/transactions/{id}/lineage")).await;
        let is_it = |it: &&Value| it["origin"]["kind"] == "delivery" && it["origin"]["record"] == "kept";
        let revision = lineage["revisions"].as_array().unwrap().iter().rfind(is_it).cloned()?;
        Some((lineage, revision))
    })
    .await;
    let of = &revision["origin"]["delivery"];
    assert!(of["secret_id"].as_str().unwrap().starts_with("wbhk_"), "{lineage:#}");
    let latest = lineage["revisions"].as_array().unwrap().last().unwrap();
    assert_eq!(latest["event"]["id"], format!("{id}:{}", sale["revision"]));
    assert_eq!(
        (&latest["event"]["state"], &latest["event"]["record_id"]),
        (&json!("accepted"), &sale["sales"]["record_id"])
    );
    assert!(latest["event"]["answered_at"].is_string() && latest["normalizer"].is_string(), "{lineage:#}");
    let log = format!("/configurations/{configuration}/webhooks/{}", of["event_id"].as_str().unwrap());
    let body = get(&api, &format!("{log}/body")).await;
    let order = member(&body, "order_id").unwrap().as_str().unwrap();
    assert_eq!(sale["external_order_id"], order);

    // ... and back.
    let found = get(&api, &format!("/transactions?order_id={order}")).await;
    let again = found["items"][0]["line_items"].as_array().unwrap().iter().find(|it| it["id"] == line["id"]).unwrap();
    assert_eq!((again, &found["items"][0]["id"]), (line, &sale["id"]));
    let delivery = get(&api, &log).await;
    let caused = delivery["transactions"].as_array().unwrap().iter().find(|it| it["transaction_id"] == *id).unwrap();
    let revisions: Vec<&Value> = caused["caused"].as_array().unwrap().iter().map(|it| &it["revision"]).collect();
    assert!(revisions.contains(&&revision["revision"]), "{delivery:#}");
    let answered = delivery["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!((&answered["step"], answered["at"].is_string()), (&json!("answered"), true), "{delivery:#}");

    let stranger = town.bakery.api_of("stranger", &["pos:admin"]).unwrap();
    let request = stranger.request(Method::GET, &format!("/transactions/{id}/lineage"));
    Answer::to(request).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_sale_that_a_sync_has_found_leads_to_its_page_and_the_page_to_its_sales() {
    let town = silent_town().await;
    for vendor in Vendor::ALL {
        let till = town.connect("traced", vendor, 9, json!({ "backfill_days": 0 })).await;
        till.idle().await;
        let order = till.desk().ring_up(SaleKind::Simple, Some(&till.merchant.locations[0].id)).unwrap().order_id;
        till.quiet().await;
        let run = till.sync(json!({ "kind": "incremental" })).await;
        let found = get(&till.api, &format!("/transactions?order_id={order}")).await["items"][0].clone();
        let id = found["id"].as_str().unwrap();
        let lineage = get(&till.api, &format!("/transactions/{id}/lineage")).await;
        let origin = &lineage["revisions"][0]["origin"];
        assert_eq!((&origin["kind"], &origin["record"]), (&json!("page"), &json!("kept")), "{lineage:#}");
        assert_eq!((&origin["run_id"], &origin["run"]["state"]), (&run["id"], &json!("completed")), "{lineage:#}");
        let path =
            format!("/configurations/{}/sync/runs/{}/pages/{}", till.id, run["id"].as_str().unwrap(), origin["page"]);
        let page = get(&till.api, &path).await;
        assert_eq!(page["counts"], origin["counts"]);
        let led_to = page["transactions"].as_array().unwrap();
        let changed = page["counts"]["created"].as_u64().unwrap() + page["counts"]["updated"].as_u64().unwrap();
        assert!(u64::try_from(led_to.len()).unwrap() >= changed, "{page:#}");
        let it = led_to.iter().find(|it| it["transaction_id"] == *id).unwrap();
        assert_eq!(it["caused"][0]["cause"], lineage["revisions"][0]["cause"], "{page:#}");
        let stranger = town.bakery.api_of("stranger", &["pos:read"]).unwrap();
        Answer::to(stranger.request(Method::GET, &path)).await.problem(404, "not_found");
    }
}
