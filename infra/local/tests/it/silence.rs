//! A subscription that has stopped is noticed with the next sync, nothing is lost meanwhile, and a delivery ends it.

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use sandbox::{Faults, SaleKind, Vendor};
use serde_json::{Value, json};

use crate::sync_town::{Till, patiently, silent_town};
use crate::town::{Answer, invoke};

async fn configuration(till: &Till<'_>) -> Value {
    Answer::to(till.api.request(Method::GET, &format!("/configurations/{}", till.id))).await.json()
}

async fn scoreboard(till: &Till<'_>) -> Value {
    let path = format!("/configurations/{}/webhooks/scoreboard?days=2", till.id);
    let answer = Answer::to(till.api.request(Method::GET, &path)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn notifications_lost(till: &Till<'_>, percent: u8) {
    till.bakery.sandbox.set_faults_of(till.vendor, Faults { loss_percent: Some(percent), ..Faults::default() });
}

/// Sells until a delivery of it was worked on.
async fn ring(till: &Till<'_>, since: &Value) {
    till.desk().ring_up(SaleKind::Simple, Some(&till.merchant.locations[0].id)).unwrap();
    let is_heard = async || Some(configuration(till).await).filter(|it| it["health"]["last_webhook_at"] != *since);
    patiently("a delivery to be noted", is_heard).await;
    till.quiet().await;
}

/// Puts the last delivery ten minutes back, as only time does.
async fn let_time_pass(till: &Till<'_>) -> Value {
    let then = (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(10)).to_string();
    let update = aws_sdk_dynamodb::Client::new(&till.bakery.stack.config())
        .update_item()
        .table_name(till.bakery.stack.output("ConfigurationsTable").unwrap())
        .key("tenant_id", AttributeValue::S(till.tenant.clone()))
        .key("configuration_id", AttributeValue::S(till.id.clone()))
        .update_expression("SET health.last_webhook_at = :then")
        .expression_attribute_values(":then", AttributeValue::S(then.clone()));
    update.send().await.unwrap();
    json!(then)
}

#[tokio::test]
async fn a_subscription_that_has_stopped_is_noticed_by_the_next_sync_and_healed_by_a_delivery() {
    let town = &*silent_town().await;
    let sync = json!({ "backfill_days": 0, "interval_minutes": 60 });
    let till = town.connect("quiet-bell", Vendor::Square, 2, sync).await;
    till.idle().await;
    notifications_lost(&till, 0);
    ring(&till, &Value::Null).await;
    // The first run of a connection has found what there was; it says nothing of the doorbell.
    till.sync(json!({ "kind": "incremental" })).await;
    assert_eq!(configuration(&till).await["status"], "active");

    // Square stops to push. Two sales are no silence: a notification may be lost.
    notifications_lost(&till, 100);
    let last = let_time_pass(&till).await;
    let sell = |sales: usize| {
        for number in 0..sales {
            let shop = &till.merchant.locations[number % till.merchant.locations.len()];
            till.desk().ring_up(SaleKind::Simple, Some(&shop.id)).unwrap();
        }
    };
    sell(2);
    till.quiet().await;
    till.sync(json!({ "kind": "incremental" })).await;
    invoke(till.bakery, "upkeep", "{}").await;
    let shown = configuration(&till).await;
    assert_eq!((&shown["status"], &shown["health"]["unannounced_sales"]), (&json!("active"), &json!(2)), "{shown:#}");

    // The schedule's own run finds the third.
    sell(1);
    till.quiet().await;
    till.tamper("incremental", &["due_at"]).await;
    let is_degraded = async || {
        invoke(till.bakery, "sync-scheduler", "{}").await;
        invoke(till.bakery, "upkeep", "{}").await;
        Some(configuration(&till).await).filter(|it| it["status"] == "degraded")
    };
    let shown = patiently("the silence to be noticed", is_degraded).await;
    let reason = &shown["status_reasons"][0];
    assert_eq!((&reason["code"], &shown["health"]["unannounced_sales"]), (&json!("webhooks_silent"), &json!(3)));
    let detail = reason["detail"].as_str().unwrap();
    assert!(detail.contains("3 sales") && detail.contains(&last.as_str().unwrap()[..16]), "{detail}");
    assert!(detail.contains("developer console"), "the vendor's way to fix it: {detail}");
    println!("{detail}");
    // The sales are there.
    till.assert_balanced(&town.sales).await;

    // It is read as often as may be, though the runs find nothing now.
    for _ in 0..2 {
        till.sync(json!({ "kind": "incremental" })).await;
    }
    let lane = till.status("?limit=1").await;
    assert_eq!(lane["interval_seconds"], 900, "a quarter of the hour that the tenant has set: {lane:#}");

    let board = scoreboard(&till).await;
    let total = &board["total"];
    assert_eq!(
        (&total["announced"], &total["found"], &total["announced_permille"]),
        (&json!(1), &json!(3), &json!(250))
    );
    assert_eq!((&board["complete"], &board["last_delivery_at"]), (&json!(true), &last));
    let shops = board["shops"].as_array().unwrap();
    assert_eq!(shops.len(), till.merchant.locations.len());
    for shop in shops {
        assert!(shop["proven_until"].as_str().is_some(), "{shop:#}");
        let days = shop["days"].as_array().unwrap();
        let sales = |of: &str| days.iter().map(|day| day[of]["sales"].as_u64().unwrap()).sum::<u64>();
        assert_eq!(
            (json!(sales("announced")), json!(sales("found"))),
            (shop["announced"].clone(), shop["found"].clone())
        );
        for day in days {
            for way in ["announced", "found"] {
                let delays = &day[way];
                assert_eq!(delays["p50_seconds"].is_null(), delays["sales"] == 0, "{delays:#}");
                assert!(delays["p50_seconds"].as_u64() <= delays["p99_seconds"].as_u64(), "{delays:#}");
            }
        }
    }

    // Somebody has enabled it again.
    notifications_lost(&till, 0);
    ring(&till, &last).await;
    invoke(till.bakery, "upkeep", "{}").await;
    let shown = configuration(&till).await;
    assert_eq!((&shown["status"], &shown["health"]["unannounced_sales"]), (&json!("active"), &json!(0)), "{shown:#}");
    notifications_lost(&till, 100);
}
