use sandbox::{SaleKind, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::{Client, PATIENCE, error_code, locations, quick, standing, updated_since};

async fn stocked(sales: usize) -> (Sandbox, Client) {
    let sandbox = Sandbox::start(standing()).unwrap();
    sandbox.stock_history(sales, "2026-03-07T11:30:00Z".parse().unwrap());
    let client = Client::of(&sandbox);
    (sandbox, client)
}

#[tokio::test]
async fn paging_shows_every_order_once_in_order() {
    let (sandbox, client) = stocked(120).await;
    let orders = client.all_orders(&sandbox, 7).await;
    let mut ids: Vec<&str> = orders.iter().map(|order| order["id"].as_str().unwrap()).collect();
    let times: Vec<&str> = orders.iter().map(|order| order["updated_at"].as_str().unwrap()).collect();
    assert!(times.is_sorted());
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), sandbox.ledger().len());
    assert_eq!(orders.len(), ids.len());
}

#[tokio::test]
async fn both_ends_of_a_time_range_are_inside_and_nothing_found_is_an_empty_object() {
    let (sandbox, client) = stocked(10).await;
    let order = client.all_orders(&sandbox, 500).await.swap_remove(3);
    let mut query = updated_since(&locations(&sandbox), order["updated_at"].as_str().unwrap());
    query["query"]["filter"]["date_time_filter"]["updated_at"]["end_at"] = order["updated_at"].clone();
    query["return_entries"] = json!(true);
    let (_, found) = client.post("/v2/orders/search", query.clone()).await;
    assert_eq!(found["order_entries"][0]["order_id"], order["id"]);
    query["query"]["filter"]["state_filter"] = json!({"states": ["OPEN"]});
    assert_eq!(client.post("/v2/orders/search", query).await, (200, json!({})));
}

#[tokio::test]
async fn what_square_refuses_is_refused() {
    let (sandbox, client) = stocked(3).await;
    let here = locations(&sandbox);
    let good = updated_since(&here, "2026-03-01T00:00:00Z");
    let change = |pointer: &str, value: Value| {
        let mut query = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        query.pointer_mut(parent).unwrap()[key] = value;
        query
    };
    let range = json!({"start_at": "2026-03-01T00:00:00Z"});
    for (case, query, expected) in [
        ("no locations", change("/location_ids", json!([])), (400, "BAD_REQUEST")),
        ("eleven locations", change("/location_ids", json!(vec![&here[0]; 11])), (400, "BAD_REQUEST")),
        ("another's location", change("/location_ids", json!(["L"])), (403, "FORBIDDEN")),
        ("other sort field", change("/query/sort/sort_field", json!("CREATED_AT")), (400, "BAD_REQUEST")),
        ("no sort field", change("/query/sort", json!({})), (400, "BAD_REQUEST")),
        (
            "two times",
            change("/query/filter/date_time_filter", json!({"updated_at": range, "created_at": range})),
            (400, "CONFLICTING_PARAMETERS"),
        ),
        (
            "closed_at without states",
            change(
                "/query",
                json!({"filter": {"date_time_filter": {"closed_at": range}}, "sort": {"sort_field": "CLOSED_AT"}}),
            ),
            (400, "BAD_REQUEST"),
        ),
        (
            "a state there is not",
            change("/query/filter/state_filter", json!({"states": ["PAID"]})),
            (400, "BAD_REQUEST"),
        ),
        ("too many at once", change("/limit", json!(1001)), (400, "BAD_REQUEST")),
        ("a misspelt field", change("/locations", json!([])), (400, "BAD_REQUEST")),
        ("a made-up cursor", change("/cursor", json!("abc")), (400, "INVALID_CURSOR")),
    ] {
        let answer = client.post("/v2/orders/search", query).await;
        assert_eq!(error_code(&answer), expected, "{case}: {}", answer.1);
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_query_and_fixes_the_end_of_an_open_range() {
    let (sandbox, client) = stocked(20).await;
    let mut query = updated_since(&locations(&sandbox), "2026-03-01T00:00:00Z");
    query["limit"] = json!(5);
    let (_, first) = client.post("/v2/orders/search", query.clone()).await;
    sandbox.advance_clock(PATIENCE);
    let later = sandbox.ring_up(SaleKind::Simple).unwrap();
    sandbox.wait_until_quiet(PATIENCE).await.unwrap();

    query["cursor"] = first["cursor"].clone();
    let mut rest = Vec::new();
    while query["cursor"].is_string() {
        let (_, page) = client.post("/v2/orders/search", query.clone()).await;
        rest.extend(page["orders"].as_array().unwrap().clone());
        query["cursor"] = page["cursor"].clone();
    }
    assert!(rest.iter().all(|order| order["id"] != later.order_id.as_str()));

    query["cursor"] = first["cursor"].clone();
    query["limit"] = json!(6);
    let other = client.post("/v2/orders/search", query).await;
    assert_eq!(error_code(&other), (400, "INVALID_CURSOR"));
}

#[tokio::test]
async fn a_merchant_sees_nothing_of_another() {
    let options = SandboxOptions { merchants: 2, ..quick() };
    let sandbox = Sandbox::start(options).unwrap();
    sandbox.stock_history(40, "2026-03-07T11:30:00Z".parse().unwrap());
    let [mine, other] = &sandbox.merchants()[..] else { panic!("two merchants") };
    let client = Client::of(&sandbox);
    let foreign = sandbox.ledger().into_iter().find(|entry| entry.merchant_id == other.id).unwrap();
    let path = format!("/v2/orders/{}", foreign.order_id);
    assert_eq!(error_code(&client.get(&path).await), (404, "NOT_FOUND"));
    let batch = json!({"order_ids": [foreign.order_id, "unknown"]});
    assert_eq!(client.post("/v2/orders/batch-retrieve", batch).await, (200, json!({})));
    let payment = format!("/v2/payments/{}", foreign.payments[0].id);
    assert_eq!(client.get(&payment).await.0, 404);
    let seen = client.all_orders(&sandbox, 100).await.len();
    let sold = sandbox.ledger().iter().filter(|entry| entry.merchant_id == mine.id).count();
    assert_eq!(seen, sold);
}

#[tokio::test]
async fn payments_without_a_location_are_those_of_the_main_one() {
    let (sandbox, client) = stocked(60).await;
    let main = &locations(&sandbox)[0];
    let mut seen = 0;
    let mut path = "/v2/payments?limit=10".to_owned();
    loop {
        let (status, page) = client.get(&path).await;
        assert_eq!(status, 200, "{page}");
        for payment in page["payments"].as_array().unwrap() {
            assert_eq!(payment["location_id"], main.as_str());
            seen += 1;
        }
        let Some(cursor) = page["cursor"].as_str() else {
            break;
        };
        path = format!("/v2/payments?limit=10&cursor={cursor}");
    }
    let ledger = sandbox.ledger();
    let taken = ledger.iter().filter(|entry| entry.location_id == *main && entry.source_order_id.is_none());
    assert_eq!(seen, taken.map(|entry| entry.payments.len()).sum::<usize>());
    let wrong = client.get("/v2/payments?updated_at_begin_time=2026-03-01T00:00:00Z").await;
    assert_eq!(error_code(&wrong), (400, "BAD_REQUEST"));
}
