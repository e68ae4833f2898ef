//! The REST API: who may do what, and what is shown.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use local::{Flaw, TENANT, api::Api};
use reqwest::Method;
use sandbox::SaleKind;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::town::{Answer, CHAIN, QuietTown, Tables, configuration, eventually, quiet_town};

async fn get(api: &Api, path: &str) -> Answer {
    Answer::to(api.request(Method::GET, path)).await
}

async fn create(api: &Api, configuration: &Value) -> Answer {
    Answer::to(api.request(Method::POST, "/configurations").json(configuration)).await
}

#[tokio::test]
async fn without_a_good_token_everybody_hears_the_same_401() {
    let town = quiet_town().await;
    let http = local::api::client().unwrap();
    let url = format!("{}/api/v1/tenants/{TENANT}/pos/configurations", town.bakery.stack.api_url());
    let mut problems = vec![Answer::to(http.get(&url)).await.problem(401, "unauthorized")];
    let roles = ["pos:read", "pos:write", "pos:admin"];
    let good = town.bakery.api().unwrap().token().to_owned();
    let flawed =
        Flaw::ALL.map(|flaw| format!("Bearer {}", town.bakery.identity.flawed_token(flaw, TENANT, &roles).unwrap()));
    let others = ["Bearer".to_owned(), "Bearer x.y.z".into(), format!("Basic {good}"), good.clone()];
    for authorization in flawed.into_iter().chain(others) {
        let answer = Answer::to(http.get(&url).header("authorization", &authorization)).await;
        println!("{authorization}: {answer:?}");
        problems.push(answer.problem(401, "unauthorized"));
    }
    assert!(problems.iter().all(|problem| *problem == problems[0]), "{problems:?}");
    assert_eq!(Answer::to(http.get(&url).bearer_auth(good)).await.status, 200);
}

#[tokio::test]
async fn a_token_opens_its_own_tenants_paths_whatever_it_was_shown_before() {
    let town = quiet_town().await;
    // The gateway keeps its verdict on a token: whichever path comes first must not decide about the others.
    for first in [TENANT, "stranger", "bakery-2", "baker"] {
        let token = town.bakery.identity.token(TENANT, &["pos:read"], std::time::Duration::from_secs(600)).unwrap();
        for tenant in [first, TENANT, "stranger", TENANT] {
            let api = Api::new(town.bakery.stack.api_url(), tenant, token.clone()).unwrap();
            for path in ["/configurations".to_owned(), "/transactions".into(), configuration_path(town)] {
                let answer = get(&api, &path).await;
                if tenant == TENANT {
                    assert_eq!(answer.status, 200, "{path}: {answer:?}");
                } else {
                    answer.problem(404, "not_found");
                }
            }
        }
    }
}

fn configuration_path(town: &QuietTown) -> String {
    format!("/configurations/{}", town.bakery.configuration_id)
}

#[tokio::test]
async fn what_belongs_to_another_tenant_does_not_exist() {
    let town = quiet_town().await;
    let sold = &sold_by_the_chain(town).await[0];
    let stranger = town.bakery.api_of("stranger", &["pos:admin"]).unwrap();
    let nobodys = uuid::Uuid::new_v4();
    for (path, of_another, unreadable) in [
        ("/configurations/", town.chain[0].1.as_str(), (404, "not_found")),
        ("/transactions/", sold["id"].as_str().unwrap(), (404, "not_found")),
        ("/transactions?configuration_id=", &town.chain[0].1, (422, "invalid_fields")),
    ] {
        let missing = get(&stranger, &format!("{path}{nobodys}")).await.problem(404, "not_found");
        assert_eq!(get(&stranger, &format!("{path}{of_another}")).await.problem(404, "not_found"), missing);
        get(&stranger, &format!("{path}nonsense")).await.problem(unreadable.0, unreadable.1);
    }
    let nothing = json!({ "items": [], "next_cursor": null });
    let order = sold["external_order_id"].as_str().unwrap();
    for path in ["/configurations", "/transactions", &format!("/transactions?order_id={order}")] {
        assert_eq!(get(&stranger, path).await.json(), nothing, "{path}");
    }
}

#[tokio::test]
async fn roles_decide_who_may_look_and_who_may_create() {
    let town = quiet_town().await;
    let valid = configuration("sandbox", "whatever");
    for (tenant, roles, may_look) in
        [("role-none", &[][..], false), ("role-odd", &["pos", "admin"], false), ("role-read", &["pos:read"], true)]
    {
        let api = town.bakery.api_of(tenant, roles).unwrap();
        create(&api, &valid).await.problem(403, "forbidden");
        for path in ["/configurations", "/transactions"] {
            let answer = get(&api, path).await;
            if may_look {
                assert_eq!(answer.status, 200);
            } else {
                answer.problem(403, "forbidden");
            }
        }
    }
    // With the role, the same body comes as far as the provider.
    let writer = town.bakery.api_of("role-write", &["pos:write"]).unwrap();
    create(&writer, &valid).await.problem(409, "credentials_refused");
    assert_eq!(get(&writer, "/configurations").await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_connected_is_refused_with_the_reason_and_leaves_no_trace() {
    let town = quiet_town().await;
    let tables = Tables::of(&town.bakery);
    let api = town.bakery.api_of("refused", &["pos:write"]).unwrap();
    let merchant = &town.chain[1].0;
    let token = town.bakery.sandbox.grant(Some(&merchant.id), &[]).unwrap().access_token;
    let valid = configuration("production", &token);
    let with = |pointer: &str, value: Value| {
        let mut changed = valid.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[name] = value;
        changed
    };
    let post = || api.request(Method::POST, "/configurations");

    for text in ["", "{", "nonsense", &valid.to_string().replace(':', " ")] {
        let request = post().header("content-type", "application/json").body(text.to_owned());
        Answer::to(request).await.problem(400, "malformed_json");
    }
    let plain = post().header("content-type", "text/plain").body(valid.to_string());
    Answer::to(plain).await.problem(415, "unsupported_media_type");
    let large = with("/name", "x".repeat(64 * 1024).into());
    create(&api, &large).await.problem(413, "body_too_large");
    create(&api, &with("/name", "x".repeat(1024 * 1024).into())).await.problem(413, "body_too_large");
    let mut crowded = valid.clone();
    for number in 0..300 {
        crowded[format!("field{number}")] = json!(number);
    }
    let crowded = create(&api, &crowded).await;
    crowded.problem(422, "invalid_fields");
    assert_eq!(crowded.pointers().len(), 51, "fifty of them, and how many more there are");

    let mut all_wrong = with("/provider", "abacus".into());
    for (pointer, value) in [("/name", " "), ("/day_start", "12:01"), ("/credentials/access_token", "with space")] {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        all_wrong.pointer_mut(parent).unwrap()[name] = value.into();
    }
    let (long_name, long_token) = ("x".repeat(101), "x".repeat(4097));
    for (wrong, pointers) in [
        (all_wrong, &["/credentials/access_token", "/day_start", "/name", "/provider"][..]),
        (with("/colour", "blue".into()), &["/colour"]),
        (with("/credentials/secret", "s".into()), &["/credentials/secret"]),
        (with("/environment", "moon".into()), &["/environment"]),
        (with("/name", 7.into()), &["/name"]),
        (with("/name", "a\nb".into()), &["/name"]),
        (with("/name", "caf\u{e9} \u{202e}\u{7}".into()), &["/name"]),
        (
            with("/locations", json!([{ "id": "L1", "day_start": "03:00", "time_zone": "Mars/Base" }])),
            &["/locations/0/time_zone"],
        ),
        (with("/name", long_name.into()), &["/name"]),
        (with("/day_start", "4:00".into()), &["/day_start"]),
        (with("/credentials/access_token", "".into()), &["/credentials/access_token"]),
        (with("/credentials/refresh_token", long_token.into()), &["/credentials/refresh_token"]),
        (with("/credentials/expires_at", "soon".into()), &["/credentials/expires_at"]),
        (with("/sync", json!({ "interval_minutes": 1441 })), &["/sync/interval_minutes"]),
        (with("/sold_out_enabled", json!("yes")), &["/sold_out_enabled"]),
        (
            with("/sync", json!({ "backfill_days": -1, "interval_minutes": 1.5 })),
            &["/sync/backfill_days", "/sync/interval_minutes"],
        ),
        (with("/sync", 15.into()), &["/sync"]),
    ] {
        let answer = create(&api, &wrong).await;
        answer.problem(422, "invalid_fields");
        assert_eq!(answer.pointers(), pointers, "{answer:?}");
    }
    create(&api, &with("/credentials/access_token", "nonsense".into())).await.problem(409, "credentials_refused");
    let narrow = town.bakery.sandbox.grant(Some(&merchant.id), &["ORDERS_READ"]).unwrap().access_token;
    create(&api, &with("/credentials/access_token", narrow.into())).await.problem(409, "permission_missing");
    // Connected already, by somebody else.
    create(&api, &with("/environment", "sandbox".into())).await.problem(409, "conflict");

    assert_eq!(tables.configurations("refused").await, []);
    assert_eq!(tables.claim("production", &merchant.id).await, None);
    let claim = tables.claim("sandbox", &merchant.id).await.unwrap();
    assert_eq!(claim["claimed_by_tenant"], AttributeValue::S(CHAIN.into()));
    // Nothing but the wrong field stood in the way.
    assert_eq!(create(&api, &valid).await.status, 201);
}

#[tokio::test]
async fn a_new_configuration_is_shown_in_full_and_its_tokens_never() {
    let town = quiet_town().await;
    let api = town.bakery.api_of("creator", &["pos:write"]).unwrap();
    let merchant = &town.bakery.sandbox.merchants()[0];
    let grant = town.bakery.sandbox.grant(Some(&merchant.id), &[]).unwrap();
    let mut wanted = configuration("production", &grant.access_token);
    wanted["credentials"]["refresh_token"] = json!(grant.refresh_token);
    wanted["credentials"]["expires_at"] = json!("2026-12-24T18:00:00Z");
    let created = create(&api, &wanted).await;
    assert_eq!(created.status, 201, "{created:?}");
    let view = created.json();
    let id = view["id"].as_str().unwrap();
    let locations: Vec<_> = merchant.locations.iter().map(|shop| {
        json!({ "id": shop.id, "name": shop.name, "time_zone": shop.time_zone, "currency": "USD", "day_start": "03:30" })
    }).collect();
    assert_eq!(
        view,
        json!({
            "id": id, "provider": "square", "environment": "production", "name": "Corner shop", "status": "active",
            "status_reasons": [], "day_start": "03:30",
            "merchant": { "id": merchant.id, "name": merchant.name }, "locations": locations,
            "credentials": {
                "set": true, "expires_at": "2026-12-24T18:00:00Z", "updated_at": view["credentials"]["updated_at"],
                "refresh_due_at": view["credentials"]["refresh_due_at"],
            },
            "sync": { "interval_minutes": 15, "backfill_days": 90 },
            "sold_out_enabled": false,
            "webhook_secrets": [],
            "health": {
                "last_webhook_at": null, "last_sync_at": null, "signature_failures": 0, "last_signature_failure_at": null,
                "unannounced_sales": 0,
            },
            "version": 1, "created_at": view["created_at"], "updated_at": view["created_at"],
        })
    );
    assert!(created.header("location").ends_with(&format!("/api/v1/tenants/creator/pos/configurations/{id}")));

    let found = get(&api, &format!("/configurations/{id}")).await;
    let listed = get(&api, "/configurations").await;
    assert_eq!(found.json(), view);
    assert_eq!(listed.json(), json!({ "items": [view], "next_cursor": null }));
    for answer in [&created, &found] {
        assert_eq!(answer.header("etag"), "\"v1\"");
    }
    for answer in [created, found, listed] {
        assert_eq!(answer.header("cache-control"), "no-store");
        for token in [&grant.access_token, &grant.refresh_token] {
            assert!(!answer.text.contains(token) && !format!("{:?}", answer.headers).contains(token), "{answer:?}");
        }
    }
    let item = Tables::of(&town.bakery).configuration("creator", id).await.unwrap();
    for token in [&grant.access_token, &grant.refresh_token] {
        let leaks: Vec<_> = item.iter().filter(|(_, value)| holds(value, token)).collect();
        assert!(leaks.is_empty(), "{leaks:?}");
    }
    // The search would have found it.
    assert!(item.values().any(|value| holds(value, &merchant.locations[1].id)));
}

/// Whether a text stands anywhere in an attribute, in bytes too.
fn holds(value: &AttributeValue, text: &str) -> bool {
    let in_bytes = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let in_list = |items: &Vec<AttributeValue>| items.iter().any(|item| holds(item, text));
    value.as_s().or(value.as_n()).is_ok_and(|it| it.contains(text))
        || value.as_b().is_ok_and(|blob| in_bytes(blob.as_ref()))
        || value.as_l().is_ok_and(in_list)
        || value.as_m().is_ok_and(|members| members.values().any(|item| holds(item, text)))
}

/// What the chain's two merchants have sold, as listed on one page: four and three sales.
async fn sold_by_the_chain(town: &QuietTown) -> &'static [Value] {
    static SOLD: OnceCell<Vec<Value>> = OnceCell::const_new();
    SOLD.get_or_init(|| async {
        let _turn = town.sales_turn().await;
        for (merchant, sales) in town.chain.iter().zip([4, 3]) {
            for shop in merchant.0.locations.iter().cycle().take(sales) {
                town.bakery.sandbox.ring_up_at(SaleKind::Cash, &shop.id).unwrap();
            }
        }
        let api = town.bakery.api_of(CHAIN, &["pos:read"]).unwrap();
        eventually("the chain's seven sales", async || {
            let page = get(&api, "/transactions").await.json();
            let items = page["items"].as_array()?.clone();
            let is_done = |sale: &Value| sale["status"] == "completed" && sale["sales"]["acknowledged"] == true;
            (items.len() == 7 && items.iter().all(is_done)).then_some(items)
        })
        .await
    })
    .await
}

#[tokio::test]
async fn pages_of_any_size_show_every_transaction_once_and_in_order() {
    let town = quiet_town().await;
    let all = sold_by_the_chain(town).await;
    let api = town.bakery.api_of(CHAIN, &["pos:read"]).unwrap();
    let configurations: Vec<_> = town.chain.iter().map(|(_, id)| id.as_str()).collect();
    let dates: BTreeSet<_> = all.iter().map(|sale| sale["business_date"].as_str().unwrap()).collect();
    let mut filters = vec![(String::new(), all.to_vec()), ("&business_date=2020-02-29".into(), vec![])];
    for (name, values) in [("configuration_id", configurations.clone()), ("business_date", dates.into_iter().collect())]
    {
        for value in values {
            let mut wanted: Vec<Value> = all.iter().filter(|sale| sale[name] == value).cloned().collect();
            if name == "business_date" {
                // A day is listed shop by shop.
                let place = |sale: &Value| configurations.iter().position(|id| sale["configuration_id"] == *id);
                let shop = |sale: &Value| sale["location_id"].as_str().unwrap().to_owned();
                wanted.sort_by_key(|sale| (place(sale), std::cmp::Reverse(shop(sale))));
            }
            filters.push((format!("&{name}={value}"), wanted));
        }
    }
    for (filter, wanted) in &filters {
        for limit in [1, 2, 3, 4, 6, 7, 100] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = get(&api, &format!("/transactions?limit={limit}{filter}{cursor}")).await.json();
                let items = page["items"].as_array().unwrap();
                assert!(items.len() <= limit, "{filter} {limit}");
                found.extend(items.iter().cloned());
                assert!(found.len() <= wanted.len(), "{filter} {limit}: more than there is");
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(&found, wanted, "{filter} {limit}");
        }
    }
    for sale in all {
        let (id, order) = (sale["id"].as_str().unwrap(), sale["external_order_id"].as_str().unwrap());
        assert_eq!(get(&api, &format!("/transactions/{id}")).await.json(), *sale);
        let of_order = get(&api, &format!("/transactions?order_id={order}")).await.json();
        assert_eq!(of_order, json!({ "items": [sale], "next_cursor": null }));
    }
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_with_all_that_is_wrong() {
    let town = quiet_town().await;
    let date = sold_by_the_chain(town).await[0]["business_date"].as_str().unwrap();
    let api = town.bakery.api_of(CHAIN, &["pos:read"]).unwrap();
    let stranger = town.bakery.api_of("stranger", &["pos:read"]).unwrap();
    let first = get(&api, "/transactions?limit=1").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let middle = cursor.len() / 2;
    let forged = format!(
        "{}{}{}",
        &cursor[..middle],
        if &cursor[middle..=middle] == "A" { "B" } else { "A" },
        &cursor[middle + 1..]
    );
    let configurations = get(&api, "/configurations?limit=1").await.json()["next_cursor"].as_str().unwrap().to_owned();
    for (api, query, pointers) in [
        (&api, "limit=0".to_owned(), &["limit"][..]),
        (&api, "limit=1001".into(), &["limit"]),
        (&api, "limit=abc".into(), &["limit"]),
        (
            &api,
            "limit=-1&business_date=yesterday&configuration_id=7".into(),
            &["business_date", "configuration_id", "limit"],
        ),
        (&api, "business_date=2026-02-30".into(), &["business_date"]),
        (&api, "cursor=nonsense".into(), &["cursor"]),
        (&api, format!("cursor={forged}"), &["cursor"]),
        (&api, format!("cursor={configurations}"), &["cursor"]),
        (&api, format!("cursor={cursor}&business_date={date}"), &["cursor"]),
        (&api, format!("cursor={cursor}&configuration_id={}", town.chain[0].1), &["cursor"]),
        (&stranger, format!("cursor={cursor}"), &["cursor"]),
    ] {
        let answer = get(api, &format!("/transactions?{query}")).await;
        println!("{query}");
        answer.problem(422, "invalid_fields");
        assert_eq!(answer.pointers(), pointers, "{query}");
    }
}
