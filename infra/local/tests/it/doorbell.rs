//! The webhooks' door, which anybody may knock at.

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use sandbox::SaleKind;
use serde_json::json;

use crate::town::{Answer, Doorbell, Item, Tables, event, eventually, owner, quiet_town, rough_town, sha256_hex, text};

const UNMATCHED: &str = "unmatched#square";
const COUNTED: &str = "dynamodb:AddToCounters";
const MAX_BODY: usize = 5 * 1024 * 1024;
const SIGNATURE: &str = "x-square-hmacsha256-signature";

#[tokio::test]
async fn a_delivery_that_is_not_signed_as_it_should_be_is_refused_and_leaves_no_trace() {
    let town = rough_town().await;
    let bell = Doorbell::of(town.bakery).await;
    // What came before is done when this row is there, so all later calls are ours.
    let tables = Tables::of(town.bakery);
    let (before, body) = event("NOBODY");
    bell.deliver(body.to_string()).await;
    tables.final_row(UNMATCHED, &before).await;
    town.proxy.reset();

    let (id, body) = event("NOBODY");
    let (body, bell) = (body.to_string(), &bell);
    let stranger = Doorbell { signature_key: "another key".into(), ..Doorbell::of(town.bakery).await };
    let elsewhere = Doorbell { api_url: "https://elsewhere.example".into(), ..Doorbell::of(town.bakery).await };
    let signature = bell.signature(body.as_bytes());
    let wrong = [
        ("missing", None),
        ("empty", Some(String::new())),
        ("no base64", Some("?".into())),
        ("of another key", Some(stranger.signature(body.as_bytes()))),
        ("for another URL", Some(elsewhere.signature(body.as_bytes()))),
        ("of another body", Some(bell.signature(body.replace("NOBODY", "SOMEBODY").as_bytes()))),
        ("cut short", Some(signature[..20].to_owned())),
        ("of nothing", Some(bell.signature(b""))),
    ];
    let refused = async || {
        let mut problems = Vec::new();
        for (case, signature) in &wrong {
            let mut letter = bell.letter("square", body.clone()).header("content-type", "application/json");
            if let Some(signature) = signature {
                letter = letter.header(SIGNATURE, signature);
            }
            let answer = Answer::to(letter).await;
            println!("{case}: {answer:?}");
            problems.push(answer.problem(401, "unauthorized"));
        }
        let altered = body.replace("NOBODY", "SOMEBODY");
        let letter = bell.letter("square", altered).header("content-type", "application/json");
        problems.push(Answer::to(letter.header(SIGNATURE, &signature)).await.problem(401, "unauthorized"));
        let nothing = bell.letter("square", "").header("content-type", "application/json");
        problems.push(Answer::to(nothing.header(SIGNATURE, bell.signature(b""))).await.problem(401, "unauthorized"));
        // A stranger learns nothing from how he is refused.
        assert!(problems.iter().all(|problem| *problem == problems[0]), "{problems:?}");
    };
    // A schedule may come in between: then the next strangers count.
    eventually("strangers who buy no call but for the keys", async || {
        town.proxy.reset();
        refused().await;
        let mut calls = town.proxy.calls();
        // After the answer, and at most once in ten seconds, whoever knocks.
        calls.retain(|call| call.name() != COUNTED);
        let secrets = calls.iter().filter(|call| call.service == "secretsmanager").count();
        assert!(secrets <= 1, "ten strangers bought {secrets} calls");
        (calls.len() == secrets).then_some(())
    })
    .await;
    // At Toast and Lightspeed no subscription is shared, so nothing proves a delivery to the URL that is.
    for provider in ["toast", "lightspeed"] {
        let letter = bell.letter(provider, body.clone()).header("content-type", "application/json");
        Answer::to(letter).await.problem(401, "unauthorized");
    }
    // The refusals were for the signatures: the same body with the right one is taken.
    bell.deliver(body).await;
    tables.final_row(UNMATCHED, &id).await;
}

#[tokio::test]
async fn an_authentic_delivery_costs_the_webhooks_function_exactly_one_aws_call() {
    let town = rough_town().await;
    let (bell, tables) = (Doorbell::of(town.bakery).await, Tables::of(town.bakery));
    let (warming, body) = event("NOBODY");
    bell.deliver(body.to_string()).await;
    tables.final_row(UNMATCHED, &warming).await;

    // A schedule may come in between: then the next delivery counts.
    eventually("a delivery of three calls", async || {
        town.proxy.reset();
        let (id, body) = event("NOBODY");
        bell.deliver(body.to_string()).await;
        tables.final_row(UNMATCHED, &id).await;
        let mut calls: Vec<_> = town.proxy.calls().iter().map(local::Call::name).collect();
        // After the answer or the batch, and at most once in ten seconds.
        calls.retain(|name| name != COUNTED);
        calls.sort_unstable();
        // The first two are the normalizer's: whose merchant is it, and the row.
        (calls == ["dynamodb:GetItem", "dynamodb:PutItem", "sqs:SendMessage"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_a_delivery_is_refused_with_a_problem() {
    let town = quiet_town().await;
    let bell = Doorbell::of(&town.bakery).await;
    let (_, body) = event("NOBODY");
    let signature = bell.signature(body.to_string().as_bytes());
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/problem+json", "application/jsonx"]
    {
        let letter = bell.letter("square", body.to_string()).header("content-type", content_type);
        Answer::to(letter.header(SIGNATURE, &signature)).await.problem(415, "unsupported_media_type");
    }
    Answer::to(bell.letter("square", body.to_string()).header(SIGNATURE, &signature))
        .await
        .problem(415, "unsupported_media_type");
    let parameters = bell.letter("square", body.to_string()).header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(Answer::to(parameters.header(SIGNATURE, &signature)).await.status, 200);

    for provider in ["abacus", "Square", "unmatched"] {
        let letter = bell.letter(provider, body.to_string()).header("content-type", "application/json");
        Answer::to(letter.header(SIGNATURE, &signature)).await.problem(404, "not_found");
    }
    let mut padded = body.to_string().into_bytes();
    padded.resize(MAX_BODY, b' ');
    bell.deliver(padded.clone()).await;
    padded.push(b' ');
    Answer::to(bell.signed(padded)).await.problem(413, "body_too_large");
    for (method, path) in [(Method::GET, "webhooks/square"), (Method::POST, "webhooks")] {
        let url = format!("{}/api/v1/{path}", bell.api_url);
        Answer::to(local::api::client().unwrap().request(method, url)).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_delivery_that_leads_nowhere_is_taken_and_its_row_says_why() {
    let town = quiet_town().await;
    let (bell, tables) = (Doorbell::of(&town.bakery).await, Tables::of(&town.bakery));
    let connected = owner(&town.bakery);
    let ours = &town.bakery.sandbox.merchants()[0].id;
    let outcome = |row: &Item| (text(row, "outcome").to_owned(), text(row, "code").to_owned());

    let broken = format!("{{\"merchant_id\": {}", uuid::Uuid::new_v4());
    bell.deliver(broken.clone()).await;
    let row = tables.final_row(UNMATCHED, &format!("sha256:{}", sha256_hex(broken.as_bytes()))).await;
    assert_eq!(outcome(&row), ("failed".into(), "unreadable_payload".into()));
    assert!(matches!(row.get("body"), Some(AttributeValue::B(_))), "kept, so that it can be explained");

    let (id, stranger) = event("NOBODY");
    bell.deliver(stranger.to_string()).await;
    let row = tables.final_row(UNMATCHED, &id).await;
    assert_eq!(outcome(&row), ("ignored".into(), "unknown_merchant".into()));
    assert_eq!(text(&row, "event_type"), "inventory.count.updated");
    assert!(text(&row, "secret_id").starts_with("wbhk_"));

    let (id, unsold) = event(ours);
    bell.deliver(unsold.to_string()).await;
    assert_eq!(outcome(&tables.final_row(&connected, &id).await), ("ignored".into(), "no_order".into()));

    let (id, mut headless) = event(ours);
    headless["type"] = json!("payment.updated");
    headless["data"] = json!({ "object": { "payment": { "id": 7 } } });
    bell.deliver(headless.to_string()).await;
    let row = tables.final_row(UNMATCHED, &format!("sha256:{}", sha256_hex(headless.to_string().as_bytes()))).await;
    assert_eq!(outcome(&row), ("failed".into(), "unreadable_payload".into()));
    assert_eq!(text(&row, "detail"), "unreadable at `data.object.payment.id`");
    assert_eq!(tables.log_row(&connected, &id).await, None);
}

#[tokio::test]
async fn a_merchant_of_the_sandbox_is_unknown_to_production() {
    let town = quiet_town().await;
    let (bell, tables) = (Doorbell::of(&town.bakery).await, Tables::of(&town.bakery));
    let (merchant, configuration_id) = &town.chain[0];
    for (environment, log, code) in [
        ("Sandbox", format!("{}#{configuration_id}", crate::town::CHAIN), "no_order"),
        ("Production", UNMATCHED.to_owned(), "unknown_merchant"),
        ("", UNMATCHED.to_owned(), "unknown_merchant"),
    ] {
        let (id, body) = event(&merchant.id);
        let answer = Answer::to(bell.signed_from(environment, body.to_string())).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let row = tables.final_row(&log, &id).await;
        assert_eq!((text(&row, "outcome"), text(&row, "code")), ("ignored", code), "{environment}");
    }
}

/// As large as a provider's largest orders, and no more repetitive than they are.
pub fn large_event(body: &str, id: &str, bytes: usize) -> Vec<u8> {
    let mut event: serde_json::Value = serde_json::from_str(body).unwrap();
    event["event_id"] = json!(id);
    let line = || {
        json!({
            "uid": uuid::Uuid::new_v4(), "catalog_object_id": uuid::Uuid::new_v4(), "quantity": "1",
            "name": "Sourdough loaf", "variation_name": "Regular", "item_type": "ITEM",
            "base_price_money": { "amount": 725, "currency": "USD" },
            "total_money": { "amount": 725, "currency": "USD" },
        })
    };
    let size = line().to_string().len() + 1;
    event["data"]["line_items"] = std::iter::repeat_with(line).take((bytes - 2 * body.len()) / size).collect();
    let mut bytes_of_event = event.to_string().into_bytes();
    assert!(bytes_of_event.len() <= bytes);
    // Insignificant to JSON; the signature covers it.
    bytes_of_event.resize(bytes, b' ');
    bytes_of_event
}

#[tokio::test]
async fn a_large_order_is_taken_and_worked_on() {
    let town = quiet_town().await;
    let (bell, tables) = (Doorbell::of(&town.bakery).await, Tables::of(&town.bakery));
    let shop = &town.bakery.sandbox.merchants()[0].locations[0].id;
    let sale = town.bakery.sandbox.ring_up_at(SaleKind::Simple, shop).unwrap();
    let paid = eventually("the sale's event", async || {
        let events = town.bakery.sandbox.events();
        events.into_iter().find(|event| event.order_id == sale.order_id && event.event_type == "payment.updated")
    });
    let paid = paid.await;
    // The larger one is more than an item of the log holds, even compressed; it is worked on all the same.
    for (bytes, is_kept) in [(600 * 1024, true), (3 * 1024 * 1024, false)] {
        let id = uuid::Uuid::new_v4().to_string();
        bell.deliver(large_event(&paid.body, &id, bytes)).await;
        let row = tables.final_row(&owner(&town.bakery), &id).await;
        assert_eq!(text(&row, "outcome"), "done", "{bytes} bytes: {}", text(&row, "detail"));
        let Some(AttributeValue::L(transactions)) = row.get("transactions") else { panic!("{row:?}") };
        assert_eq!((transactions.len(), row.contains_key("body")), (1, is_kept));
    }
}

#[tokio::test]
async fn a_delivery_that_comes_again_is_counted_and_changes_nothing() {
    let town = quiet_town().await;
    let (bell, tables) = (Doorbell::of(&town.bakery).await, Tables::of(&town.bakery));
    let connected = owner(&town.bakery);
    let sandbox = &town.bakery.sandbox;
    let sale = sandbox.ring_up_at(SaleKind::Tip, &sandbox.merchants()[0].locations[0].id).unwrap();
    // The last of a card sale's events is about the fee.
    let events = eventually("the sale's events", async || {
        let mut events = sandbox.events();
        events.retain(|event| event.order_id == sale.order_id);
        (events.len() == 3).then_some(events)
    });
    let events = events.await;
    for event in &events {
        tables.final_row(&connected, &event.event_id).await;
    }
    let row = tables.final_row(&connected, &events[0].event_id).await;
    let Some(AttributeValue::L(transactions)) = row.get("transactions") else { panic!("{row:?}") };
    let transaction_id = transactions[0].as_s().unwrap().clone();
    // The sales domain's answer may come in between; everything else must stay.
    let content = async || {
        let mut item = tables.transaction(&transaction_id).await.unwrap();
        item.retain(|name, _| {
            !name.starts_with("outbox")
                && !["accepted", "acknowledged_revision", "sales_record_id"].contains(&name.as_str())
        });
        item
    };
    let before = content().await;

    let (stranger_id, stranger) = event("NOBODY");
    bell.deliver(stranger.to_string()).await;
    let stranger_row = tables.final_row(UNMATCHED, &stranger_id).await;
    let cases = [
        (
            connected.as_str(),
            &events[1].event_id,
            events[1].body.clone(),
            tables.final_row(&connected, &events[1].event_id).await,
        ),
        (UNMATCHED, &stranger_id, stranger.to_string(), stranger_row),
    ];
    for (log, id, body, row) in cases {
        assert_eq!(text(&row, "repeats"), "", "nothing was repeated yet");
        for repeats in ["1", "2"] {
            bell.deliver(body.clone()).await;
            let counted = eventually("the repeat to be counted", async || {
                tables.log_row(log, id).await.filter(|row| text(row, "repeats") == repeats)
            });
            let mut counted = counted.await;
            counted.remove("repeats");
            assert_eq!(counted, row);
        }
    }
    assert_eq!(content().await, before);
}
