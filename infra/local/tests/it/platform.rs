//! What the platform's own people and programs may see and do, through the gateway.

use std::time::Duration;

use local::{Bakery, api};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::town::{Answer, eventually, invoke, quiet_town};

/// A token of these roles, for a tenant or for none.
fn token(bakery: &Bakery, tenant: Option<&str>, roles: &[&str]) -> String {
    let mut claims = local::claims(tenant.unwrap_or("-"), roles, Duration::from_secs(600));
    if tenant.is_none() {
        claims.as_object_mut().unwrap().remove("tenant_id");
    }
    bakery.identity.sign(&claims).unwrap()
}

fn request(bakery: &Bakery, method: &str, path: &str, token: &str) -> RequestBuilder {
    let url = format!("{}{path}", bakery.stack.api_url());
    let request = api::client().unwrap().request(Method::from_bytes(method.as_bytes()).unwrap(), url);
    if token.is_empty() { request } else { request.bearer_auth(token) }
}

#[tokio::test]
async fn nobody_reaches_more_than_their_role_is_for() {
    let bakery = &quiet_town().await.bakery;
    let nobody = String::new();
    let tenant = token(bakery, Some("chain"), &["pos:admin"]);
    let ambitious = token(bakery, Some("chain"), &["pos:admin", "platform:metrics", "platform:operate"]);
    let nowhere = token(bakery, None, &["pos:admin"]);
    let scraper = token(bakery, None, &["platform:metrics"]);
    let operator = token(bakery, None, &["platform:operate", "pos:admin"]);
    let callers = [&nobody, &tenant, &ambitious, &nowhere, &scraper, &operator];
    let redrive = "/api/v1/operations/dead-letters/sales/redrives/018f0000-0000-7000-8000-000000000001";
    let id = "018f0000-0000-7000-8000-000000000001";
    // What each is answered. An operator's 404 and 422 come from behind the door.
    for (method, path, expected) in [
        ("GET", "/api/v1/health", [200, 200, 200, 200, 200, 200]),
        ("GET", "/api/v1/webhooks/square/status", [200, 200, 200, 200, 200, 200]),
        ("GET", "/api/v1/webhooks/abacus/status", [404, 404, 404, 404, 404, 404]),
        ("GET", "/api/v1/metrics", [401, 404, 404, 401, 200, 200]),
        ("GET", "/api/v1/health/ready", [401, 404, 404, 401, 404, 200]),
        ("GET", "/api/v1/operations/dead-letters", [401, 404, 404, 401, 404, 200]),
        ("POST", "/api/v1/operations/dead-letters/sales/redrives", [401, 404, 404, 401, 404, 422]),
        ("GET", redrive, [401, 404, 404, 401, 404, 404]),
        ("GET", "/api/v1/tenants/chain/pos/transactions", [401, 200, 200, 401, 404, 404]),
        ("GET", "/api/v1/tenants/chain/pos/configurations", [401, 200, 200, 401, 404, 404]),
        ("GET", &format!("/api/v1/tenants/other/pos/configurations/{id}"), [401, 404, 404, 401, 404, 404]),
    ] {
        let mut answered = Vec::new();
        for token in callers {
            let mut request = request(bakery, method, path, token);
            if method == "POST" {
                request = request.json(&json!({}));
            }
            answered.push(Answer::to(request).await.status);
        }
        println!("{method} {path}: {answered:?}");
        assert_eq!(answered, expected, "{method} {path}");
    }
    // Every route that wants a role of the platform's stands above.
    let wanted = operations::ROUTES.iter().filter(|route| route.role.is_some()).count();
    assert_eq!(wanted, 5);
}

#[tokio::test]
async fn the_deployed_service_is_ready_and_measured() {
    let bakery = &quiet_town().await.bakery;
    let operator = token(bakery, None, &["platform:operate"]);
    let ready = Answer::to(request(bakery, "GET", "/api/v1/health/ready", &operator)).await.json();
    let wrong: Vec<&Value> =
        ready["dependencies"].as_array().unwrap().iter().filter(|it| it["status"] != "up").collect();
    assert_eq!((&ready["status"], wrong), (&json!("up"), Vec::new()));
    let scraped = request(bakery, "GET", "/api/v1/metrics", &operator).header("accept", "application/openmetrics-text");
    let scraped = Answer::to(scraped).await;
    assert_eq!(scraped.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    // The bakery and the chain's two merchants are connected.
    let line = "pos_configurations{provider=\"square\",status=\"active\"} ";
    let active = scraped.text.lines().find_map(|it| it.strip_prefix(line)).unwrap();
    assert!(active.parse::<u32>().unwrap() >= 3, "{}", scraped.text);
    let sources: Vec<&str> = scraped.text.lines().filter(|it| it.starts_with("pos_scrape_source_up")).collect();
    assert!(sources.len() == 6 && sources.iter().all(|it| it.ends_with(" 1")), "{sources:?}");
    assert!(!scraped.text.contains("chain") && !scraped.text.contains(local::TENANT), "{}", scraped.text);
}

#[tokio::test]
async fn what_was_given_up_is_seen_by_reason_and_goes_back_when_somebody_asks() {
    let bakery = &quiet_town().await.bakery;
    let operator = token(bakery, None, &["platform:operate"]);
    let sqs = aws_sdk_sqs::Client::new(&bakery.stack.config());
    let dead = bakery.stack.output("SyncJobsDeadLetterQueueUrl").unwrap();
    // Jobs for a configuration that is gone: whoever takes them has nothing to do.
    let job = include_str!("../../../../events/messages/sync-job.json");
    let mut ids = Vec::new();
    for _ in 0..12 {
        let sent = sqs.send_message().queue_url(dead).message_body(job).send().await.unwrap();
        ids.push(sent.message_id.unwrap());
    }
    let list = async || {
        let listed = Answer::to(request(bakery, "GET", "/api/v1/operations/dead-letters", &operator)).await;
        assert_eq!(listed.status, 200, "{listed:?}");
        assert!(!listed.text.contains("version") && !listed.text.contains("run_id"), "never a body: {listed:?}");
        let queues = listed.json()["queues"].as_array().unwrap().clone();
        assert_eq!(queues.len(), 4);
        queues.into_iter().find(|queue| queue["queue"] == "sync-jobs").unwrap()
    };
    let seen = list().await;
    assert_eq!((&seen["messages"], &seen["is_complete"]), (&json!(12), &json!(true)), "{seen}");
    let group = &seen["groups"][0];
    assert_eq!((&group["reason"], &group["messages"]), (&json!("receive_limit_reached"), &json!(12)), "{seen}");
    assert!(group["age_seconds"].as_u64().unwrap() < 60, "{seen}");
    assert_eq!(group["sample"].as_array().unwrap().len(), 3);
    assert!(ids.contains(&group["sample"][0]["message_id"].as_str().unwrap().to_owned()));
    assert_eq!(list().await["groups"][0]["messages"], 12, "looking has hidden nothing");

    let path = "/api/v1/operations/dead-letters/sync-jobs/redrives";
    let post = |body: Value, key: &str| {
        request(bakery, "POST", path, &operator).header("idempotency-key", key.to_owned()).json(&body)
    };
    let both = json!({ "reason": "x", "message_id": "y" });
    assert_eq!(Answer::to(post(both, "k0")).await.pointers(), ["/reason"]);
    let all = json!({ "reason": "receive_limit_reached" });
    let asked = Answer::to(post(all.clone(), "k1")).await;
    assert_eq!((asked.status, &asked.json()["state"]), (202, &json!("running")), "{asked:?}");
    let repeated = Answer::to(post(all, "k1")).await;
    assert_eq!((repeated.status, &repeated.json()["id"]), (202, &asked.json()["id"]), "{repeated:?}");
    Answer::to(post(json!({ "message_id": ids[0] }), "k1")).await.problem(422, "idempotency_key_reused");
    let another = Answer::to(post(json!({ "message_id": ids[0] }), "k2")).await;
    // The schedule may have been faster.
    assert!([202, 409].contains(&another.status), "{another:?}");

    let location = asked.header("location");
    let at = location.find("/api/v1").map(|start| &location[start..]).unwrap().to_owned();
    let done = eventually("the redrive", async || {
        invoke(bakery, "dead-letters", "{}").await;
        let shown = Answer::to(request(bakery, "GET", &at, &operator)).await.json();
        (shown["state"] == "done").then_some(shown)
    })
    .await;
    assert_eq!((&done["moved"], &done["failed"], &done["by"]), (&json!(12), &json!(0), &json!("local-user")), "{done}");
    let seen = list().await;
    assert_eq!((&seen["messages"], &seen["groups"]), (&json!(0), &json!([])), "{seen}");
    assert!(seen["redrives"].as_array().unwrap().iter().any(|redrive| redrive["id"] == done["id"]), "{seen}");
}
