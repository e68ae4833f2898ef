//! A configuration's own webhook URL: what proves a delivery there, and for whom.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use local::{Bakery, TENANT, api::Api};
use reqwest::Method;
use ring::hmac;
use sandbox::{SaleKind, Vendor};
use serde_json::{Value, json};

use crate::control::control_town;
use crate::town::{Answer, Tables, event, eventually, invoke, text};

/// As it is registered with the provider: what a custom domain leads to, not what the gateway calls itself.
const REGISTERED: &str = "https://tills.example.com/hook";

fn signature(key: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    STANDARD.encode(hmac::sign(&key, format!("{REGISTERED}{body}").as_bytes()))
}

async fn deliver(town: &Bakery, provider: &str, id: &str, key: &str, body: &str) -> Answer {
    let url = format!("{}/api/v1/webhooks/{provider}/{id}", town.stack.api_url());
    let request = local::api::client().unwrap().post(url).body(body.to_owned());
    let request = request.header("content-type", "application/json").header("square-environment", "Sandbox");
    Answer::to(request.header("x-square-hmacsha256-signature", signature(key, body))).await
}

async fn add(api: &Api, id: &str, body: &Value) -> Answer {
    Answer::to(api.request(Method::POST, &format!("/configurations/{id}/webhook-secrets")).json(body)).await
}

#[tokio::test]
async fn one_secret_follows_another_without_a_delivery_being_lost() {
    let town = &*control_town().await;
    let (api, id) = (town.api().unwrap(), town.configuration_id.as_str());
    let tables = Tables::of(town);
    let merchant = town.sandbox.merchants()[0].id.clone();
    let letter = || {
        let (event_id, body) = event(&merchant);
        (event_id, body.to_string())
    };
    let (_, body) = letter();
    let refused = deliver(town, "square", id, "first", &body).await.problem(401, "unauthorized");

    let invalid = json!({ "secret": "two words", "label": "a\nb", "overlap_hours": 999, "notification_url": "http://x", "key": 1 });
    let answer = add(&api, id, &invalid).await;
    answer.problem(422, "invalid_fields");
    assert_eq!(answer.pointers(), ["/key", "/label", "/notification_url", "/overlap_hours", "/secret"]);
    let first = add(&api, id, &json!({ "secret": "first", "label": "Monday", "notification_url": REGISTERED })).await;
    assert_eq!(first.status, 201, "{first:?}");
    let first_id = first.json()["webhook_secrets"][0]["id"].as_str().unwrap().to_owned();
    assert!(!first.text.contains("\"first\""), "a secret is never shown: {first:?}");

    // The door was read a moment ago; it is read again when nothing it has proves a delivery.
    let recorded = async |key: &str| {
        let (event_id, body) = letter();
        eventually("an accepted delivery", async || {
            (deliver(town, "square", id, key, &body).await.status == 200).then_some(())
        })
        .await;
        let row = tables.final_row(&format!("{TENANT}#{id}"), &event_id).await;
        text(&row, "secret_id").to_owned()
    };
    assert_eq!(recorded("first").await, first_id);
    let second =
        add(&api, id, &json!({ "secret": "second", "notification_url": REGISTERED, "overlap_hours": 1 })).await;
    let shown = second.json()["webhook_secrets"].clone();
    assert_eq!(shown.as_array().unwrap().len(), 2);
    assert!(shown[0]["not_after"].is_string() && shown[1]["not_after"].is_null(), "{shown}");
    let second_id = shown[1]["id"].as_str().unwrap();
    assert_eq!(recorded("second").await, second_id);
    assert_eq!(recorded("first").await, first_id, "the older one counts for an hour");
    assert_eq!(add(&api, id, &json!({ "secret": "third" })).await.status, 201);
    add(&api, id, &json!({ "secret": "fourth" })).await.problem(409, "conflict");

    // A wrong key, another provider's URL, a configuration that does not exist, and one that has no door: all alike.
    let (_, body) = letter();
    for (provider, id, key) in [
        ("square", id, "wrong"),
        ("toast", id, "second"),
        ("square", "018f0000-0000-7000-8000-000000000001", "second"),
        ("square", "nonsense", "second"),
    ] {
        assert_eq!(
            deliver(town, provider, id, key, &body).await.problem(401, "unauthorized"),
            refused,
            "{provider} {id}"
        );
    }
    // The secret of one tenant proves nothing about another's tills.
    let (event_id, body) = event(&town.sandbox.merchants()[1].id);
    let mut body = body;
    body["type"] = json!("order.created");
    body["data"] = json!({ "type": "order_created", "id": "O1", "object": { "order_created": { "order_id": "O1" } } });
    assert_eq!(deliver(town, "square", id, "second", &body.to_string()).await.status, 200);
    let row = tables.final_row(&format!("{TENANT}#{id}"), &event_id).await;
    assert_eq!((text(&row, "outcome"), text(&row, "code")), ("ignored", "other_merchant"));

    for known in all_secrets(&api, id).await {
        let path = format!("/configurations/{id}/webhook-secrets/{known}");
        assert_eq!(Answer::to(api.request(Method::DELETE, &path)).await.status, 200);
        Answer::to(api.request(Method::DELETE, &path)).await.problem(404, "not_found");
    }
}

/// The ids of all secrets.
async fn all_secrets(api: &Api, id: &str) -> Vec<String> {
    let shown = Answer::to(api.request(Method::GET, &format!("/configurations/{id}"))).await.json();
    let secrets = shown["webhook_secrets"].as_array().unwrap().clone();
    secrets.iter().map(|secret| secret["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn deliveries_that_nothing_proves_are_counted_and_said() {
    let town = &*control_town().await;
    let api = town.api_of("misconfigured", &["pos:admin"]).unwrap();
    let body = json!({ "provider": "square", "environment": "sandbox", "name": "Corner" });
    let id = api.create_configuration(&body).await.unwrap();
    let path = format!("/configurations/{id}");
    assert_eq!(add(&api, &id, &json!({ "secret": "right", "notification_url": REGISTERED })).await.status, 201);
    let (_, letter) = event("M");
    for _ in 0..3 {
        deliver(town, "square", &id, "wrong", &letter.to_string()).await.problem(401, "unauthorized");
    }
    let shown = eventually("the reason", async || {
        invoke(town, "upkeep", "{}").await;
        let shown = Answer::to(api.request(Method::GET, &path)).await.json();
        shown["status_reasons"].as_array().unwrap().iter().any(|it| it["code"] == "signatures_failing").then_some(shown)
    })
    .await;
    assert!(shown["health"]["signature_failures"].as_u64().unwrap() >= 1, "{shown}");
    // A new secret is the answer to it.
    assert_eq!(add(&api, &id, &json!({ "secret": "wrong", "notification_url": REGISTERED })).await.status, 201);
    let answered = Answer::to(api.request(Method::GET, &path)).await.json();
    assert!(!answered["status_reasons"].to_string().contains("signatures_failing"), "{answered}");
    crate::control::remove(town, &api, &path).await;
}

/// Lightspeed's hotel interface: it calls `/charge` below the URL, once, with a key in the body and no signature.
#[tokio::test]
async fn a_receipt_that_lightspeed_mirrors_rings_for_its_sale() {
    let town = &*control_town().await;
    let api = town.api_of("hotel", &["pos:admin"]).unwrap();
    let body = json!({
        "provider": "lightspeed", "environment": "production", "name": "Hotel bakery",
        "sync": { "backfill_days": 0, "interval_minutes": 1440 },
    });
    let id = local::connect_by_oauth(&api, &body).await.unwrap();
    assert_eq!(add(&api, &id, &json!({ "secret": "mirror-key" })).await.status, 201);
    let shown = Answer::to(api.request(Method::GET, &format!("/configurations/{id}"))).await.json();
    let merchant = shown["merchant"]["id"].as_str().unwrap();
    let endpoint = format!("{}/api/v1/webhooks/lightspeed/{id}", town.stack.api_url());
    town.sandbox.subscribe_mirroring(Some(merchant), &endpoint, "mirror-key").unwrap();
    let shop = shown["locations"][0]["id"].as_str().unwrap();
    let sale = town.sandbox.at(Vendor::Lightspeed).ring_up(SaleKind::Simple, Some(shop)).unwrap();
    let found = eventually("the sale", async || {
        let found: Vec<Value> = api.transactions(&id).await.unwrap();
        found.into_iter().find(|it| it["amounts"]["total_minor"] == sale.total_minor)
    })
    .await;
    assert_eq!(found["status"], "completed");
    crate::control::remove(town, &api, &format!("/configurations/{id}")).await;
}
