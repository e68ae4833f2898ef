use std::time::{Duration, Instant};

use sandbox::{Failure, Faults, SaleKind, Sandbox};
use serde_json::json;

use crate::{Client, PATIENCE, error_code, locations, quick, standing, updated_since};

fn failing(status: u16, path: Option<&str>) -> Faults {
    let failure =
        Failure { status, times: 1, path: path.map(str::to_owned), retry_after: Some(2), ..Failure::default() };
    Faults { failures: vec![failure], ..Faults::default() }
}

#[tokio::test]
async fn staged_failures_happen_as_often_as_asked_and_only_there() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = Client::of(&sandbox);
    for (status, code) in [
        (401, "ACCESS_TOKEN_EXPIRED"),
        (429, "RATE_LIMITED"),
        (500, "INTERNAL_SERVER_ERROR"),
        (503, "SERVICE_UNAVAILABLE"),
    ] {
        sandbox.set_faults(failing(status, Some("/v2/locations")));
        assert_eq!(client.get("/v2/merchants").await.0, 200);
        assert_eq!(error_code(&client.get("/v2/locations").await), (status, code));
        assert_eq!(client.get("/v2/locations").await.0, 200);
    }
}

#[tokio::test]
async fn faults_can_be_set_over_http_and_a_misspelt_one_is_refused() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = Client::of(&sandbox);
    let put = |body| client.ask(reqwest::Method::PUT, "/_admin/faults", Some(body));
    assert_eq!(put(json!({"failures": [{"status": 429, "times": 1}]})).await.0, 200);
    assert_eq!(client.get("/v2/locations").await.0, 429);
    let (status, answer) = put(json!({"hold_orders": 5})).await;
    assert_eq!(status, 422);
    assert!(answer["error"].as_str().unwrap().contains("hold_orders"), "{answer}");
}

#[tokio::test]
async fn a_lagging_replica_does_not_know_the_newest_order() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = Client::of(&sandbox);
    sandbox.set_faults(Faults { replica_lag_ms: 400, ..Faults::default() });
    let sale = sandbox.ring_up(SaleKind::Simple).unwrap();
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();
    let path = format!("/v2/orders/{}", sale.order_id);
    assert_eq!(error_code(&client.get(&path).await), (404, "NOT_FOUND"));
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert_eq!(client.get(&path).await.1["order"]["state"], "COMPLETED");
}

#[tokio::test]
async fn a_held_answer_is_as_old_as_its_question() {
    // Slow enough that the sale is still open when it is asked for.
    let sandbox = Sandbox::start(sandbox::SandboxOptions { speed: 200.0, ..quick() }).unwrap();
    let client = Client::of(&sandbox);
    sandbox.set_faults(Faults { hold_order_ms: 900, ..Faults::default() });
    let sale = sandbox.ring_up(SaleKind::Simple).unwrap();
    let path = format!("/v2/orders/{}", sale.order_id);
    while sandbox.ledger().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let asked = Instant::now();
    let (_, answer) = client.get(&path).await;
    assert!(asked.elapsed() >= Duration::from_millis(900));
    assert_eq!(answer["order"]["state"], "OPEN");
    assert_eq!(client.get(&path).await.1["order"]["state"], "COMPLETED");
}

#[tokio::test]
async fn cursors_expire_and_pages_can_be_empty() {
    let sandbox = Sandbox::start(standing()).unwrap();
    sandbox.stock_history(10, "2026-03-07T11:30:00Z".parse().unwrap());
    let client = Client::of(&sandbox);
    sandbox.set_faults(Faults { empty_pages: 2, expire_cursors: 0, ..Faults::default() });
    assert_eq!(client.all_orders(&sandbox, 4).await.len(), sandbox.ledger().len());
    let mut query = updated_since(&locations(&sandbox), "2026-03-01T00:00:00Z");
    query["limit"] = json!(2);
    query["cursor"] = client.post("/v2/orders/search", query.clone()).await.1["cursor"].clone();
    sandbox.set_faults(Faults { expire_cursors: 1, ..Faults::default() });
    let expired = client.post("/v2/orders/search", query.clone()).await;
    assert_eq!(error_code(&expired), (400, "INVALID_CURSOR"));
    assert_eq!(client.post("/v2/orders/search", query).await.0, 200);
}
