//! A removal leaves a tombstone and the audit rows, wherever it is cut off.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use local::{Fault, Proxy, TENANT};
use sandbox::{Failure, Faults, Vendor};
use serde_json::json;
use shared::domain::ProviderKind;
use shared::pace::{BudgetKey, Priority};

use crate::bench::{Bench, Item, bench, tick, until_crash};

const TABLES: [&str; 9] = [
    "ConfigurationsTable",
    "TransactionsTable",
    "DaysTable",
    "WebhookLogsTable",
    "RawLogTable",
    "SyncLogsTable",
    "ProductMappingsTable",
    "CoordinationTable",
    "AuditLogTable",
];

/// What a configuration leaves in other tables: rows of its partition, as the normalizer and the sync write them, and its
/// budget.
async fn fill(bench: &Bench, id: &str, items: usize) {
    let owner = AttributeValue::S(format!("{TENANT}#{id}"));
    for (table, partition, sort) in [
        ("TransactionsTable", "configuration_key", "transaction_id"),
        ("DaysTable", "configuration_key", "entry"),
        ("WebhookLogsTable", "log_key", "event_id"),
        ("RawLogTable", "configuration_key", "entry"),
        ("SyncLogsTable", "configuration_key", "entry"),
        ("ProductMappingsTable", "configuration_key", "item_id"),
    ] {
        let table = bench.bakery.stack.output(table).unwrap();
        for number in 0..items {
            let put = bench.dynamodb().put_item().table_name(table).item(partition, owner.clone());
            put.item(sort, AttributeValue::S(format!("row-{number}"))).send().await.unwrap();
        }
    }
    let environment = serde_json::from_value(bench.show(id).await["environment"].clone()).unwrap();
    let budget = BudgetKey { provider: ProviderKind::Square, environment, configuration: id.parse().unwrap() };
    bench.connections(None).pace.acquire(&budget, Priority::Live).await.unwrap();
}

/// Every item of every table that says one of these texts.
async fn traces(bench: &Bench, texts: &[&str]) -> Vec<(&'static str, Item)> {
    let mut found = Vec::new();
    for table in TABLES {
        let scan = bench.dynamodb().scan().table_name(bench.bakery.stack.output(table).unwrap());
        for item in scan.send().await.unwrap().items.unwrap() {
            let shown = format!("{item:?}");
            if texts.iter().any(|text| shown.contains(text)) {
                found.push((table, item));
            }
        }
    }
    found
}

fn kinds(traces: &[(&'static str, Item)]) -> BTreeSet<String> {
    let kind = |(table, item): &(&str, Item)| {
        let key = item.get("tenant_id").and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
        format!("{table} {}", key.split('#').next().unwrap_or_default())
    };
    traces.iter().map(kind).collect()
}

#[tokio::test]
async fn nothing_is_left_but_the_tombstone_and_the_audit_rows() {
    let bench = bench().await;
    let api = bench.bakery.api().unwrap();
    let body = json!({ "provider": "square", "environment": "production", "name": "A very secret bakery" });
    let id = local::connect_by_oauth(&api, &body).await.unwrap();
    let secret = json!({ "secret": "a-webhook-secret" });
    let request = api.request("POST".parse().unwrap(), &format!("/configurations/{id}/webhook-secrets")).json(&secret);
    let _: serde_json::Value = local::api::answer_of(request, "201".parse().unwrap(), "add a secret").await.unwrap();
    // A run whose answer is kept for whoever asks again.
    let path = format!("/configurations/{id}/sync");
    let request = api.request("POST".parse().unwrap(), &path).header("idempotency-key", "once");
    let request = request.json(&json!({ "kind": "repair", "day": "2026-02-14" }));
    let _: serde_json::Value = local::api::answer_of(request, "202".parse().unwrap(), "begin a run").await.unwrap();
    // More than one batch of deletions.
    fill(&bench, &id, 60).await;
    let merchant = bench.show(&id).await["merchant"]["id"].as_str().unwrap().to_owned();
    // The bakery's own connection is to the same merchant, in another environment.
    let texts = [id.as_str(), "A very secret bakery"];
    let before = kinds(&traces(&bench, &texts).await);
    for kind in [
        "ConfigurationsTable bakery",
        "ConfigurationsTable merchant",
        "ConfigurationsTable webhook",
        "TransactionsTable ",
        "DaysTable ",
        "WebhookLogsTable ",
        "RawLogTable ",
        "SyncLogsTable ",
        "ProductMappingsTable ",
        "CoordinationTable ",
        "AuditLogTable bakery",
    ] {
        assert!(before.contains(kind), "{kind} is not in {before:?}");
    }

    bench.ask_for_removal(&id).await;
    let shown = bench.show(&id).await;
    assert_eq!((&shown["status"], &shown["deletion"]["step"]), (&json!("deleting"), &json!("revoke")));
    bench.remove(&id).await;
    let after = traces(&bench, &texts).await;
    let expected = BTreeSet::from(["AuditLogTable bakery".to_owned(), "ConfigurationsTable tombstone".to_owned()]);
    assert_eq!(kinds(&after), expected, "{after:?}");
    let (_, tombstone) = after.iter().find(|(table, _)| *table == "ConfigurationsTable").unwrap();
    let names: BTreeSet<_> = tombstone.keys().map(String::as_str).collect();
    let ids = BTreeSet::from(["tenant_id", "configuration_id", "deleted_at", "transactions", "deliveries"]);
    assert_eq!(names, ids);
    assert_eq!(tombstone["transactions"], AttributeValue::N("60".into()));
    // The sales domain knows what it may forget, too.
    let told = bench.told_sales_domain(&id).await;
    assert_eq!((&told["type"], &told["data"]["transactions"]), (&json!("pos.configuration.erased.v1"), &json!(60)));
    for (_, row) in after.iter().filter(|(table, _)| *table == "AuditLogTable") {
        assert!(!format!("{row:?}").contains("secret bakery"), "{row:?}");
    }
    // Withdrawn at the provider: the merchant's other grants are gone too, as Square does it.
    assert!(bench.bakery.sandbox.grant(Some(&merchant), &[]).is_ok());
}

#[tokio::test]
async fn a_removal_that_is_cut_off_anywhere_is_completed_by_the_next() {
    let bench = bench().await;
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..80 {
            let id = bench.connect("square").await;
            fill(&bench, &id, 2).await;
            bench.ask_for_removal(&id).await;
            let proxy = Proxy::start().unwrap();
            let app = bench.app(bench.connections(Some(&proxy)), Some(&proxy));
            proxy.reset();
            proxy.hit(nth, fault);
            let has_crashed = until_crash(&proxy, tick(&app)).await;
            drop(app);
            // The turn of the one that died ends.
            if bench.item(&id).await.is_some() {
                let past = AttributeValue::S("2026-01-01T00:00:00Z".into());
                bench.tamper(&id, "SET deletion.due_at = :past, due_at = :past", &[(":past", past)]).await;
            }
            let app = bench.app(bench.connections(None), None);
            for _ in 0..20 {
                if bench.item(&id).await.is_none() {
                    break;
                }
                tick(&app).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let left = traces(&bench, &[&id]).await;
            let expected =
                BTreeSet::from(["AuditLogTable bakery".to_owned(), "ConfigurationsTable tombstone".to_owned()]);
            assert_eq!(kinds(&left), expected, "call {nth} {fault:?}: {left:?}");
            if !has_crashed {
                break;
            }
            calls = nth;
        }
        assert!(calls > 20, "{fault:?}: only {calls} calls were cut off");
    }
}

#[tokio::test]
async fn a_provider_that_is_away_delays_a_removal_and_does_not_prevent_it() {
    let bench = bench().await;
    let id = bench.connect("square").await;
    let failure = Failure { status: 503, times: 1, path: Some("/oauth2/revoke".into()), ..Failure::default() };
    bench.bakery.sandbox.set_faults_of(Vendor::Square, Faults { failures: vec![failure], ..Faults::default() });
    bench.ask_for_removal(&id).await;
    let app = bench.app(bench.connections(None), None);
    tick(&app).await.unwrap();
    let shown = bench.show(&id).await;
    assert_eq!((&shown["deletion"]["step"], &shown["deletion"]["attempts"]), (&json!("revoke"), &json!(1)), "{shown}");
    let past = AttributeValue::S("2026-01-01T00:00:00Z".into());
    bench.tamper(&id, "SET deletion.due_at = :past, due_at = :past", &[(":past", past)]).await;
    for _ in 0..10 {
        tick(&app).await.unwrap();
        if bench.item(&id).await.is_none() {
            return;
        }
    }
    panic!("{id} stays");
}
