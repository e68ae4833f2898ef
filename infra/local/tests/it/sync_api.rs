//! Runs asked for through the gateway, with the roles that the functions really have. What a run does is told elsewhere;
//! here it may be under way or over by the time that somebody looks.

use local::api::Api;
use reqwest::Method;
use serde_json::{Value, json};

use crate::control::{control_town, remove};
use crate::town::{Answer, Tables, configuration};

async fn begin(api: &Api, path: &str, body: &Value, key: Option<&str>) -> Answer {
    let request = api.request(Method::POST, &format!("{path}/sync")).json(body);
    Answer::to(key.into_iter().fold(request, |request, key| request.header("idempotency-key", key))).await
}

#[tokio::test]
async fn a_run_is_asked_for_once_shown_and_cancelled() {
    let town = &*control_town().await;
    let api = town.api_of("eager", &["pos:admin"]).unwrap();
    let merchant = &town.sandbox.merchants()[1];
    let token = town.sandbox.grant(Some(&merchant.id), &[]).unwrap().access_token;
    let mut body = configuration("production", &token);
    body["sync"] = json!({ "backfill_days": 0, "interval_minutes": 1440 });
    let id = api.create_configuration(&body).await.unwrap();
    let path = format!("/configurations/{id}");

    let day = json!({ "kind": "repair", "day": "2026-02-14", "locations": [merchant.locations[1].id] });
    let together = tokio::join!(
        begin(&api, &path, &day, Some("a")),
        begin(&api, &path, &day, Some("a")),
        begin(&api, &path, &day, Some("a"))
    );
    for answer in [&together.0, &together.1, &together.2] {
        assert_eq!((answer.status, &answer.text), (202, &together.0.text), "{answer:?}");
    }
    let run = together.0.json();
    assert_eq!(
        (&run["kind"], &run["day"], &run["trigger"]),
        (&json!("repair"), &json!("2026-02-14"), &json!("request"))
    );
    begin(&api, &path, &json!({ "kind": "catalog" }), Some("a")).await.problem(422, "idempotency_key_reused");
    let wrong = begin(&api, &path, &json!({ "kind": "repair", "day": "1 May", "locations": ["nowhere"] }), None).await;
    wrong.problem(422, "invalid_fields");
    assert_eq!(wrong.pointers(), ["/day", "/locations/0"]);

    // The `Location` leads to it, whatever has become of it.
    let (_, shown_at) = together.0.header("location").split_once("/tenants/eager/pos").unwrap();
    let shown = Answer::to(api.request(Method::GET, shown_at)).await;
    assert_eq!((shown.status, &shown.json()["runs"][0]["id"]), (200, &run["id"]), "{shown:?}");
    let status = Answer::to(api.request(Method::GET, &format!("{path}/sync/status"))).await.json();
    let shops: Vec<_> = status["locations"].as_array().unwrap().iter().map(|shop| shop["id"].clone()).collect();
    assert_eq!(shops, merchant.locations.iter().map(|shop| json!(shop.id)).collect::<Vec<_>>());

    let cancelled = Answer::to(api.request(Method::POST, &format!("{path}/sync/cancel"))).await;
    match cancelled.status {
        202 => assert!(!cancelled.json()["cancelled"].as_array().unwrap().is_empty()),
        _ => drop(cancelled.problem(409, "conflict")),
    }
    let told = Tables::of(town).audit_rows("eager").await;
    let told: Vec<_> = told.iter().map(|row| row["action"].as_s().unwrap().as_str()).collect();
    assert_eq!(&told[..2], ["configuration.created", "sync.requested"]);

    let reader = town.api_of("eager", &["pos:read"]).unwrap();
    begin(&reader, &path, &day, None).await.problem(403, "forbidden");
    Answer::to(reader.request(Method::POST, &format!("{path}/sync/cancel"))).await.problem(403, "forbidden");
    assert_eq!(Answer::to(reader.request(Method::GET, &format!("{path}/sync/status"))).await.status, 200);

    let paused = Answer::to(api.request(Method::POST, &format!("{path}/pause"))).await;
    assert_eq!(paused.status, 200, "{paused:?}");
    begin(&api, &path, &json!({ "kind": "catalog" }), None).await.problem(409, "conflict");
    remove(town, &api, &path).await;
    begin(&api, &path, &day, None).await.problem(404, "not_found");
}

#[tokio::test]
async fn what_a_till_sells_is_listed_page_by_page() {
    let town = &*control_town().await;
    let api = town.api_of("menu", &["pos:admin"]).unwrap();
    let body = json!({ "provider": "square", "environment": "sandbox", "name": "Menu" });
    let id = api.create_configuration(&body).await.unwrap();
    let list = async |query: &str| {
        Answer::to(api.request(Method::GET, &format!("/configurations/{id}/product-mappings{query}"))).await
    };
    assert_eq!(list("").await.json(), json!({ "items": [], "next_cursor": null }));
    let tables = Tables::of(town);
    for number in 0..5 {
        tables.put_product("menu", &id, &format!("ITEM-{number}"), "Bun").await;
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("?limit=2{cursor}")).await.json();
        found.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let ids: Vec<_> = found.iter().map(|item| item["item_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["ITEM-0", "ITEM-1", "ITEM-2", "ITEM-3", "ITEM-4"]);
    let expected = json!({
        "item_id": "ITEM-0", "name": "Bun", "sku": null, "category": null, "changed_at": "2026-02-14T08:00:00Z",
        "product_id": null, "mapped_at": null, "mapped_by": null,
    });
    assert_eq!(found[0], expected);
    for query in ["?limit=0", "?cursor=nonsense", "?name=Bun"] {
        list(query).await.problem(422, "invalid_fields");
    }
    remove(town, &api, &format!("/configurations/{id}")).await;
    list("").await.problem(404, "not_found");
}
