//! The control plane: a connection made, checked, changed, rotated, paused and removed.

use aws_sdk_dynamodb::types::AttributeValue;
use local::{Bakery, StackOptions, api::Api, connect_by_oauth, consent};
use reqwest::{Method, RequestBuilder};
use sandbox::{Failure, Faults, Merchant, Sandbox, SandboxOptions, Vendor};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::town::{Answer, Tables, configuration, eventually, invoke, text};

/// A bakery whose merchants these tests connect and remove, one test at a time.
pub async fn control_town() -> MutexGuard<'static, Bakery> {
    static TOWN: OnceCell<Mutex<Bakery>> = OnceCell::const_new();
    let open = || async {
        let options = SandboxOptions { merchants: 3, shops: 2, speed: 1_200.0, ..SandboxOptions::default() };
        let stack = StackOptions { name: "local-control".into(), ..StackOptions::default() };
        Mutex::new(Bakery::open(Sandbox::start(options).unwrap(), stack).await.unwrap())
    };
    let town = TOWN.get_or_init(open).await.lock().await;
    for vendor in Vendor::ALL {
        town.sandbox.set_faults_of(vendor, Faults::default());
    }
    town
}

/// A tenant's administrator.
fn admin(town: &Bakery, tenant: &str) -> Api {
    town.api_of(tenant, &["pos:admin"]).unwrap()
}

async fn get(api: &Api, path: &str) -> Answer {
    Answer::to(api.request(Method::GET, path)).await
}

async fn post(api: &Api, path: &str) -> Answer {
    Answer::to(api.request(Method::POST, path)).await
}

fn creation(api: &Api, body: &Value) -> RequestBuilder {
    api.request(Method::POST, "/configurations").json(body)
}

fn replacement(api: &Api, path: &str, etag: &str, body: &Value) -> RequestBuilder {
    api.request(Method::PUT, path).header("if-match", etag).json(body)
}

/// Connects the second merchant in its production world, with tokens typed in.
async fn connected(town: &Bakery, api: &Api) -> (Merchant, String) {
    let merchant = town.sandbox.merchants()[1].clone();
    let token = town.sandbox.grant(Some(&merchant.id), &[]).unwrap().access_token;
    let id = api.create_configuration(&configuration("production", &token)).await.unwrap();
    (merchant, format!("/configurations/{id}"))
}

/// Removes a configuration and waits until nothing is left of it.
pub async fn remove(town: &Bakery, api: &Api, path: &str) {
    let etag = get(api, path).await.header("etag").to_owned();
    let removed = Answer::to(api.request(Method::DELETE, path).header("if-match", &etag)).await;
    assert_eq!(removed.status, 202, "{removed:?}");
    eventually("the removal", async || {
        invoke(town, "upkeep", "{}").await;
        (get(api, path).await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_merchant_of_each_provider_is_connected_tested_and_removed() {
    let town = &*control_town().await;
    let api = admin(town, "three-tills");
    for (vendor, body) in [
        (Vendor::Square, json!({ "provider": "square", "environment": "production", "name": "Corner" })),
        (Vendor::Lightspeed, json!({ "provider": "lightspeed", "environment": "production", "name": "Station" })),
        (Vendor::Toast, json!({ "provider": "toast", "environment": "production", "name": "Harbour" })),
    ] {
        let merchant = &town.sandbox.merchants_of(vendor)[0];
        let id = match vendor {
            Vendor::Toast => {
                let client = town.sandbox.toast_client(None).unwrap();
                let restaurants: Vec<_> = merchant.locations.iter().map(|shop| &shop.id).collect();
                let mut body = body.clone();
                body["credentials"] =
                    json!({ "client_id": client.id, "client_secret": client.secret, "restaurants": restaurants });
                api.create_configuration(&body).await.unwrap()
            }
            Vendor::Square | Vendor::Lightspeed => connect_by_oauth(&api, &body).await.unwrap(),
        };
        let path = format!("/configurations/{id}");
        let shown = get(&api, &path).await.json();
        assert_eq!((&shown["status"], &shown["status_reasons"]), (&json!("active"), &json!([])), "{shown}");
        assert_eq!(shown["merchant"]["id"], merchant.id, "{shown}");
        for (shown, shop) in shown["locations"].as_array().unwrap().iter().zip(&merchant.locations) {
            assert_eq!((&shown["id"], &shown["time_zone"]), (&json!(shop.id), &json!(shop.time_zone)));
            assert_eq!((&shown["currency"], &shown["day_start"]), (&json!(shop.currency), &json!("04:00")));
        }
        let tested = post(&api, &format!("{path}/test")).await;
        assert_eq!(tested.status, 200, "{tested:?}");
        let report = tested.json();
        assert_eq!((&report["ok"], &report["scopes"]["missing"]), (&json!(true), &json!([])), "{report}");
        assert_eq!(report["locations"], shown["locations"]);
        // Nobody else renews what has run out.
        assert_eq!(post(&api, &format!("{path}/pause")).await.status, 200);
        town.sandbox.expire_tokens(vendor);
        assert_eq!(post(&api, &format!("{path}/test")).await.json()["ok"], json!(true));
        // What is refused even so is noted, and taken back when all is well again.
        let refusal = Failure { status: 401, times: 20, ..Failure::default() };
        town.sandbox.set_faults_of(vendor, Faults { failures: vec![refusal], ..Faults::default() });
        post(&api, &format!("{path}/test")).await.problem(409, "credentials_refused");
        assert_ne!(get(&api, &path).await.json()["status_reasons"], json!([]));
        town.sandbox.set_faults_of(vendor, Faults::default());
        assert_eq!(post(&api, &format!("{path}/test")).await.json()["ok"], json!(true));
        assert_eq!(get(&api, &path).await.json()["status_reasons"], json!([]));
        if vendor == Vendor::Toast {
            post(&api, &format!("{path}/authorize")).await.problem(409, "not_supported");
            // A login for fewer shops gives the others free.
            let client = town.sandbox.toast_client(None).unwrap();
            let fewer = json!({ "name": "Harbour", "credentials": {
                "client_id": client.id, "client_secret": client.secret, "restaurants": [merchant.locations[0].id],
            } });
            let etag = get(&api, &path).await.header("etag").to_owned();
            let changed = Answer::to(replacement(&api, &path, &etag, &fewer)).await;
            assert_eq!(changed.json()["locations"].as_array().map(Vec::len), Some(1), "{changed:?}");
        }
        remove(town, &api, &path).await;
    }
}

#[tokio::test]
async fn a_withdrawn_consent_is_noticed_by_a_test_and_by_a_sync() {
    let town = &*control_town().await;
    let api = admin(town, "withdrawn");
    let (merchant, path) = connected(town, &api).await;
    let status = async || get(&api, &path).await.json()["status"].clone();
    town.sandbox.revoke_of(Vendor::Square, &merchant.id).unwrap();
    post(&api, &format!("{path}/test")).await.problem(409, "credentials_refused");
    assert_eq!(status().await, "reauth_required");

    let token = town.sandbox.grant(Some(&merchant.id), &[]).unwrap().access_token;
    let again = json!({ "name": "Corner", "credentials": { "access_token": token } });
    let etag = get(&api, &path).await.header("etag").to_owned();
    assert_eq!(Answer::to(replacement(&api, &path, &etag, &again)).await.json()["status"], "active");
    town.sandbox.revoke_of(Vendor::Square, &merchant.id).unwrap();
    let id = path.rsplit('/').next().unwrap();
    api.begin_sync(id, &json!({ "kind": "incremental" })).await.unwrap();
    eventually("the sync that finds out", async || (status().await == "reauth_required").then_some(())).await;
    remove(town, &api, &path).await;
}

#[tokio::test]
async fn a_consent_is_used_once_by_whom_it_was_made_for() {
    let town = &*control_town().await;
    let api = admin(town, "consenting");
    let body = json!({ "provider": "square", "environment": "production", "name": "Corner" });
    let id = api.create_configuration(&body).await.unwrap();
    let path = format!("/configurations/{id}");
    let waiting = get(&api, &path).await.json();
    assert_eq!((&waiting["status"], &waiting["merchant"]), (&json!("reauth_required"), &json!(null)));
    assert_eq!(waiting["status_reasons"][0]["code"], "not_connected");
    post(&api, &format!("{path}/test")).await.problem(409, "credentials_refused");

    let (code, state) = consent(&api, &id).await.unwrap();
    let back = async |provider: &str, query: &[(&str, &str)]| {
        let response = api.come_back(provider, query).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    };
    let middle = state.len() / 2;
    let swapped = if &state[middle..=middle] == "A" { "B" } else { "A" };
    let forged = format!("{}{swapped}{}", &state[..middle], &state[middle + 1..]);
    back("square", &[("code", &code), ("state", &forged)]).await.problem(400, "invalid_state");
    back("square", &[("code", &code)]).await.problem(400, "invalid_state");
    back("abacus", &[("code", &code), ("state", &state)]).await.problem(404, "not_found");
    back("lightspeed", &[("code", &code), ("state", &state)]).await.problem(404, "not_found");
    back("square", &[("error", "access_denied"), ("state", &state)]).await.problem(409, "credentials_refused");
    back("square", &[("code", "nonsense"), ("state", &state)]).await.problem(409, "credentials_refused");
    assert_eq!(get(&api, &path).await.json(), waiting, "nothing of that has changed anything");

    let connected = back("square", &[("code", &code), ("state", &state)]).await;
    assert_eq!((connected.status, connected.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(get(&api, &path).await.json()["status"], "active");
    back("square", &[("code", &code), ("state", &state)]).await.problem(400, "invalid_state");

    // Another merchant's consent does not turn this configuration into another merchant's.
    let other = &town.sandbox.merchants()[1];
    let token = town.sandbox.grant(Some(&other.id), &[]).unwrap().access_token;
    let replaced = json!({ "name": "Corner", "credentials": { "access_token": token } });
    let etag = get(&api, &path).await.header("etag").to_owned();
    Answer::to(replacement(&api, &path, &etag, &replaced)).await.problem(409, "conflict");
    remove(town, &api, &path).await;
}

#[tokio::test]
async fn a_change_needs_the_version_that_the_caller_has_seen() {
    let town = &*control_town().await;
    let api = admin(town, "careful");
    let (merchant, path) = connected(town, &api).await;
    let shop = &merchant.locations[1].id;
    let wanted = json!({
        "name": "Corner café 🥐", "day_start": "05:00", "locations": [{ "id": shop, "day_start": "06:30" }],
        "sync": { "interval_minutes": 60 },
    });
    Answer::to(api.request(Method::PUT, &path).json(&wanted)).await.problem(428, "precondition_required");
    Answer::to(api.request(Method::DELETE, &path)).await.problem(428, "precondition_required");
    let before = get(&api, &path).await;
    for stale in ["\"v99\"", "W/\"v1\"", "v1", "nonsense"] {
        Answer::to(replacement(&api, &path, stale, &wanted)).await.problem(412, "precondition_failed");
        let deletion = api.request(Method::DELETE, &path).header("if-match", stale);
        Answer::to(deletion).await.problem(412, "precondition_failed");
    }
    let invalid = json!({
        "name": 7, "colour": "blue", "day_start": "noon", "provider": "toast", "locations": {},
        "sync": { "interval_minutes": 0, "backfill_days": 1826, "depth": 1 },
    });
    let refused = Answer::to(replacement(&api, &path, before.header("etag"), &invalid)).await;
    refused.problem(422, "invalid_fields");
    let wrong = ["/colour", "/day_start", "/locations", "/name", "/provider"];
    let of_sync = ["/sync/backfill_days", "/sync/depth", "/sync/interval_minutes"];
    assert_eq!(refused.pointers(), [&wrong[..], &of_sync].concat());
    assert_eq!(get(&api, &path).await.json(), before.json());

    let changed = Answer::to(replacement(&api, &path, before.header("etag"), &wanted)).await;
    assert_eq!((changed.status, changed.header("etag")), (200, "\"v2\""), "{changed:?}");
    let starts = |view: &Value| {
        view["locations"].as_array().unwrap().iter().map(|it| it["day_start"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(starts(&changed.json()), [json!("05:00"), json!("06:30")]);
    assert_eq!(changed.json()["name"], "Corner café 🥐");
    assert_eq!(changed.json()["sync"], json!({ "interval_minutes": 60, "backfill_days": 90 }));
    assert_eq!(get(&api, &path).await.json(), changed.json());
    Answer::to(replacement(&api, &path, before.header("etag"), &wanted)).await.problem(412, "precondition_failed");
    // What changes nothing is no new version.
    assert_eq!(Answer::to(replacement(&api, &path, "\"v2\"", &wanted)).await.header("etag"), "\"v2\"");

    // Of many who have seen the same version, one changes it.
    let (first, second) = (json!({ "name": "First" }), json!({ "name": "Second" }));
    let both = tokio::join!(
        Answer::to(replacement(&api, &path, "\"v2\"", &first)),
        Answer::to(replacement(&api, &path, "\"v2\"", &second))
    );
    let mut statuses = [both.0.status, both.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    // What a replacement leaves out returns to its default.
    assert_eq!(get(&api, &path).await.json()["sync"], json!({ "interval_minutes": 15, "backfill_days": 90 }));
    remove(town, &api, &path).await;
}

#[tokio::test]
async fn a_repeated_request_is_answered_again_and_carried_out_once() {
    let town = &*control_town().await;
    let api = admin(town, "impatient");
    let merchant = &town.sandbox.merchants()[1];
    let token = town.sandbox.grant(Some(&merchant.id), &[]).unwrap().access_token;
    let body = configuration("production", &token);
    let keyed = |key: &str, body: &Value| creation(&api, body).header("idempotency-key", key);
    let together =
        tokio::join!(Answer::to(keyed("a", &body)), Answer::to(keyed("a", &body)), Answer::to(keyed("a", &body)));
    for answer in [&together.0, &together.1, &together.2] {
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.text, together.0.text);
    }
    let again = Answer::to(keyed("a", &body)).await;
    assert_eq!((again.status, &again.text, again.header("idempotent-replayed")), (201, &together.0.text, "true"));
    assert_eq!(again.header("location"), together.0.header("location"));
    assert_eq!(again.header("etag"), "\"v1\"");
    let mut other = body.clone();
    other["name"] = json!("Another name");
    Answer::to(keyed("a", &other)).await.problem(422, "idempotency_key_reused");
    Answer::to(keyed("b", &body)).await.problem(409, "conflict");
    Answer::to(keyed("with space", &body)).await.problem(422, "invalid_fields");
    let listed = get(&api, "/configurations").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);

    let path = format!("/configurations/{}", listed["items"][0]["id"].as_str().unwrap());
    let pause = || api.request(Method::POST, &format!("{path}/pause")).header("idempotency-key", "a");
    let paused = Answer::to(pause()).await;
    assert_eq!((paused.status, &paused.json()["status"]), (200, &json!("paused")));
    assert_eq!(post(&api, &format!("{path}/resume")).await.json()["status"], "active");
    let replayed = Answer::to(pause()).await;
    assert_eq!((&replayed.text, replayed.header("idempotent-replayed")), (&paused.text, "true"));
    assert_eq!(get(&api, &path).await.json()["status"], "active", "a repeat has no effect");
    remove(town, &api, &path).await;
}

#[tokio::test]
async fn listings_are_filtered_by_provider_and_status() {
    let town = &*control_town().await;
    let api = admin(town, "orderly");
    let mut ids = Vec::new();
    for (provider, pause) in [("square", false), ("toast", true), ("lightspeed", false), ("square", true)] {
        let body = json!({ "provider": provider, "environment": "sandbox", "name": provider });
        let id = api.create_configuration(&body).await.unwrap();
        if pause {
            assert_eq!(post(&api, &format!("/configurations/{id}/pause")).await.status, 200);
        }
        ids.push(id);
    }
    for (query, wanted) in [
        ("", vec![0, 1, 2, 3]),
        ("&provider=square", vec![0, 3]),
        ("&provider=toast&status=paused", vec![1]),
        ("&status=paused", vec![1, 3]),
        ("&status=reauth_required", vec![0, 2]),
        ("&status=active", vec![]),
    ] {
        for limit in [1, 3, 100] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = get(&api, &format!("/configurations?limit={limit}{query}{cursor}")).await.json();
                found.extend(page["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()));
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            let wanted: Vec<_> = wanted.iter().map(|index: &usize| ids[*index].clone()).collect();
            assert_eq!(found, wanted, "{query} {limit}");
        }
    }
    let cursor = get(&api, "/configurations?limit=1&status=paused").await.json()["next_cursor"].clone();
    for query in [
        "provider=abacus&status=asleep&limit=0".to_owned(),
        format!("cursor={}", cursor.as_str().unwrap()),
        format!("status=active&cursor={}", cursor.as_str().unwrap()),
    ] {
        get(&api, &format!("/configurations?{query}")).await.problem(422, "invalid_fields");
    }
    for id in ids {
        remove(town, &api, &format!("/configurations/{id}")).await;
    }
}

#[tokio::test]
async fn what_the_provider_or_our_own_keys_refuse_is_answered_and_leaves_no_trace() {
    let town = &*control_town().await;
    let api = admin(town, "unlucky");
    let tables = Tables::of(town);
    let merchant = &town.sandbox.merchants()[2];
    let token = town.sandbox.grant(Some(&merchant.id), &[]).unwrap().access_token;
    let body = configuration("production", &token);
    for (status, answered, code) in [
        (401, 409, "credentials_refused"),
        (403, 409, "permission_missing"),
        (429, 503, "unavailable"),
        (500, 502, "provider_unavailable"),
        (418, 502, "provider_unavailable"),
    ] {
        let failure = Failure { status, times: 5, ..Failure::default() };
        town.sandbox.set_faults(Faults { failures: vec![failure], ..Faults::default() });
        Answer::to(creation(&api, &body)).await.problem(answered, code);
    }
    town.sandbox.set_faults(Faults::default());
    let kms = aws_sdk_kms::Client::new(&town.stack.config());
    let key = town.stack.output("KeyArn").unwrap();
    kms.disable_key().key_id(key).send().await.unwrap();
    let refused = Answer::to(creation(&api, &body)).await;
    kms.enable_key().key_id(key).send().await.unwrap();
    refused.problem(503, "unavailable");
    assert_eq!(tables.configurations("unlucky").await, []);
    assert_eq!(tables.claim("production", &merchant.id).await, None);
    assert_eq!(tables.audit_rows("unlucky").await, []);
}

/// The sales domain was right when it said so.
#[tokio::test]
async fn an_acceptance_that_comes_after_a_removal_alarms_nobody() {
    let town = &*control_town().await;
    let api = admin(town, "leaving");
    let (_, path) = connected(town, &api).await;
    let id = path.rsplit('/').next().unwrap();
    remove(town, &api, &path).await;
    let client = aws_sdk_sqs::Client::new(&town.stack.config());
    let transaction = uuid::Uuid::new_v4().to_string();
    let reply = json!({
        "type": "sales.transaction.accepted.v1", "tenantid": "leaving", "data": {
            "configuration_id": id, "transaction_id": transaction, "revision": 1, "sales_record_id": "S-1",
        },
    });
    let queue = town.stack.output("SalesRepliesQueueUrl").unwrap();
    client.send_message().queue_url(queue).message_body(reply.to_string()).send().await.unwrap();
    let log = eventually("the reply to be taken", async || {
        let log = town.stack.function_log("sales-replies");
        let of_ours: Vec<String> = log.lines().filter(|line| line.contains(&transaction)).map(str::to_owned).collect();
        (!of_ours.is_empty()).then_some(of_ours)
    })
    .await;
    assert!(log.iter().any(|line| line.contains(r#""outcome":"unknown""#)), "{log:?}");
    let queue = town.stack.output("SalesRepliesDeadLetterQueueUrl").unwrap();
    let parked =
        client.receive_message().queue_url(queue).max_number_of_messages(10).wait_time_seconds(2).visibility_timeout(0);
    let parked = parked.send().await.unwrap().messages.unwrap_or_default();
    assert!(!parked.iter().any(|message| message.body().unwrap().contains(&transaction)), "{parked:?}");
}

#[tokio::test]
async fn the_audit_log_tells_every_change_and_notices_every_forgery() {
    let town = &*control_town().await;
    let api = admin(town, "audited");
    let (_, path) = connected(town, &api).await;
    post(&api, &format!("{path}/pause")).await;
    post(&api, &format!("{path}/pause")).await;
    post(&api, &format!("{path}/resume")).await;
    Answer::to(replacement(&api, &path, "\"v3\"", &json!({ "name": "Renamed", "day_start": "03:30" }))).await;
    let reader = town.api_of("audited", &["pos:write"]).unwrap();
    get(&reader, "/audit-log").await.problem(403, "forbidden");
    let log = get(&api, "/audit-log").await.json();
    let rows = log["items"].as_array().unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row["action"].as_str().unwrap(), row["fields"].clone())).collect();
    assert_eq!(told[0], ("configuration.replaced", json!(["name"])));
    assert_eq!(told[1], ("configuration.resumed", json!(["is_paused", "status"])));
    assert_eq!(told[2], ("configuration.paused", json!(["is_paused", "status"])));
    assert_eq!((told[3].0, told.len()), ("configuration.created", 4));
    assert!(told[3].1.as_array().unwrap().contains(&json!("credentials")), "{:?}", told[3]);
    assert!(rows.iter().all(|row| !row["actor"].as_str().unwrap().is_empty()), "{rows:?}");
    let verified = async || get(&api, "/audit-log/verification").await.json();
    assert_eq!(verified().await, json!({ "intact": true, "rows": 4, "first_broken": null }));

    let tables = Tables::of(town);
    let original = tables.audit_rows("audited").await;
    let broken = async |sequence: u64| {
        let found = verified().await;
        assert_eq!(found["intact"], false, "{sequence}");
        assert_eq!(found["first_broken"]["sequence"], sequence, "{found}");
    };
    // Altered, deleted in the middle, cut off at the end, put in another order.
    let mut altered = original[1].clone();
    altered.insert("actor".into(), AttributeValue::S("somebody else".into()));
    tables.put_audit_row(altered).await;
    broken(2).await;
    tables.put_audit_row(original[1].clone()).await;
    tables.delete_audit_row("audited", 2).await;
    broken(2).await;
    tables.put_audit_row(original[1].clone()).await;
    tables.delete_audit_row("audited", 4).await;
    broken(4).await;
    tables.put_audit_row(original[3].clone()).await;
    let mut moved = original[2].clone();
    moved.insert("sequence".into(), AttributeValue::N("2".into()));
    tables.put_audit_row(moved).await;
    broken(2).await;
    tables.put_audit_row(original[1].clone()).await;
    assert_eq!(verified().await["intact"], true);
    remove(town, &api, &path).await;
}

/// Every way to name another tenant's things is answered as if they did not exist.
#[tokio::test]
async fn no_route_reaches_another_tenants_configuration() {
    let town = &*control_town().await;
    let (owner, stranger) = (admin(town, "owner"), admin(town, "stranger"));
    let id = owner
        .create_configuration(&json!({ "provider": "square", "environment": "sandbox", "name": "Mine" }))
        .await
        .unwrap();
    let path = format!("/configurations/{id}");
    let nobodys = format!("/configurations/{}", uuid::Uuid::new_v4());
    let secret = json!({ "secret": "a-webhook-secret" });
    for (method, suffix, body) in [
        (Method::GET, "", None),
        (Method::PUT, "", Some(json!({ "name": "Theirs" }))),
        (Method::DELETE, "", None),
        (Method::POST, "/test", None),
        (Method::POST, "/pause", None),
        (Method::POST, "/resume", None),
        (Method::POST, "/authorize", None),
        (Method::POST, "/sync", Some(json!({ "kind": "incremental" }))),
        (Method::GET, "/sync/status", None),
        (Method::GET, "/sync/status?run_id=018f0000-0000-7000-8000-000000000001", None),
        (Method::POST, "/sync/cancel", None),
        (Method::GET, "/product-mappings", None),
        (Method::POST, "/webhook-secrets", Some(secret)),
        (Method::DELETE, "/webhook-secrets/018f0000-0000-7000-8000-000000000001", None),
    ] {
        let ask = |path: &str| {
            let request = stranger.request(method.clone(), &format!("{path}{suffix}")).header("if-match", "*");
            let request = body.iter().fold(request, |request, body| request.json(body));
            Answer::to(request)
        };
        let missing = ask(&nobodys).await.problem(404, "not_found");
        assert_eq!(ask(&path).await.problem(404, "not_found"), missing, "{method} {suffix}");
    }
    let shown = get(&owner, &path).await.json();
    assert_eq!((&shown["version"], &shown["status"]), (&json!(1), &json!("reauth_required")));
    assert_eq!(text(&Tables::of(town).configuration("owner", &id).await.unwrap(), "name"), "Mine");
    remove(town, &owner, &path).await;
}
