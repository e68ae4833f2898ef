//! What operators see of the deployed service: one trace from the caller to the sale, canonical lines, metrics as lines and
//! as sums of all execution environments.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use local::{Bakery, TENANT};
use reqwest::Method;
use sandbox::{SaleKind, Vendor};
use serde_json::{Value, json};
use shared::store::counters::Counters;
use shared::telemetry::TraceParent;
use shared::telemetry::metrics::{CATALOGUE, Kind, Value as Counted};

use crate::sync_town::{SilentTown, patiently, silent_town};
use crate::town::{Answer, Doorbell, eventually, quiet_town};

/// All lines that a function has written, each of them JSON.
fn lines(bakery: &Bakery, function: &str) -> Vec<Value> {
    let log = bakery.stack.function_log(function);
    // The last line may be half written.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The canonical lines of one trace, of these functions.
fn lines_of_trace(bakery: &Bakery, functions: &[&str], trace: &TraceParent) -> Vec<Value> {
    let all = functions.iter().flat_map(|function| lines(bakery, function));
    all.filter(|line| line["trace.id"] == trace.trace_id()).collect()
}

/// The trace of the newest event that the sales domain has of an order.
async fn sale_trace(town: &SilentTown, order_id: &str) -> TraceParent {
    let event = patiently("the sale to arrive", async || {
        let known = town.sales.transactions();
        let of_order = |event: &Value| event["data"]["transaction"]["external_order_id"] == order_id;
        known.into_values().map(|known| known.event).find(of_order)
    });
    event.await["traceparent"].as_str().unwrap().parse().unwrap()
}

/// Asserts that this is another span of the caller's trace.
fn assert_hop(caller: &TraceParent, hop: &TraceParent) {
    assert_eq!(hop.trace_id(), caller.trace_id());
    assert_ne!(hop, caller);
}

#[tokio::test]
async fn one_trace_goes_from_the_caller_to_the_sale_with_a_span_for_each_hop() {
    let town = &*silent_town().await;
    let till = town.till(Vendor::Square);
    till.idle().await;
    let shop = till.merchant.locations[0].id.as_str();

    // Of two sales nobody hears, until somebody brings the doorbell's ring of the first by hand.
    let [rung, found] = [SaleKind::Cash; 2].map(|kind| till.desk().ring_up(kind, Some(shop)).unwrap().order_id);
    let ring = patiently("the sale's last event", async || {
        let mut events = town.bakery.sandbox.events().into_iter();
        events.find(|event| event.order_id == rung && event.event_type == "payment.updated")
    });
    let ring = ring.await;
    let bell = Doorbell::of(&town.bakery).await;
    let caller = TraceParent::generate();
    let letter = bell.signed(ring.body.clone()).header("traceparent", caller.as_str());
    assert_eq!(Answer::to(letter).await.status, 200);
    assert_hop(&caller, &sale_trace(town, &rung).await);
    let told = lines_of_trace(&town.bakery, &["webhooks", "normalizer"], &caller);
    let units: Vec<_> = told.iter().map(|line| (line["unit"].as_str(), line["event.id"].as_str())).collect();
    let id = Some(ring.event_id.as_str());
    assert_eq!(units[0], (Some("webhook"), id), "{told:?}");
    assert_eq!((&told[0]["aws_calls"], &told[0]["outcome"]), (&json!(1), &json!("accepted")), "one durable write");
    for name in ["function", "version", "cold_start", "invocation.id", "duration_ms", "provider_calls"] {
        assert!(!told[0][name].is_null(), "no {name}: {}", told[0]);
    }
    assert_eq!(told[0]["env"], "local");

    // The other is found by the run that somebody asks for.
    till.quiet().await;
    let caller = TraceParent::generate();
    let body = json!({ "kind": "incremental" });
    let begun = till.api.request(Method::POST, &format!("/configurations/{}/sync", till.id)).json(&body);
    let begun = Answer::to(begun.header("traceparent", caller.as_str())).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    assert_hop(&caller, &sale_trace(town, &found).await);
    let told = patiently("request, run and page to be told of", async || {
        let told = lines_of_trace(&town.bakery, &["configurations", "sync-worker", "normalizer"], &caller);
        let has = |unit: &&str| told.iter().any(|line| line["unit"] == **unit && line["configuration.id"] == till.id);
        ["request", "run", "page"].iter().all(has).then_some(told)
    });
    let told = told.await;
    assert!(told.iter().all(|line| line["tenant.id"] == TENANT), "{told:?}");
}

#[tokio::test]
async fn what_functions_count_is_written_as_lines_and_added_up_in_the_table() {
    let town = quiet_town().await;
    let sandbox = &town.bakery.sandbox;
    sandbox.ring_up_at(SaleKind::Tip, &sandbox.merchants()[0].locations[0].id).unwrap();
    let dynamodb = aws_sdk_dynamodb::Client::new(&town.bakery.stack.config());
    let table = town.bakery.stack.output("CoordinationTable").unwrap().to_owned();
    let counters = Counters::new(dynamodb.clone(), table.clone(), "operations");
    // Whatever other tests do meanwhile, these must come.
    let wanted = [
        "pos_webhooks_received_total",
        "pos_webhook_verify_seconds",
        "pos_deliveries_total",
        "pos_transactions_total",
        "pos_sales_sent_total",
        "pos_webhook_to_sales_seconds",
        "pos_till_to_sales_seconds",
        "pos_sales_to_accepted_seconds",
        "pos_sales_answers_total",
        "pos_provider_requests_total",
        "pos_requests_total",
        "pos_cold_starts_total",
    ];
    let total = eventually("all of it to be in the table", async || {
        let total = counters.read().await.unwrap();
        let has = |name: &&str| total.iter().any(|(series, _)| series.metric.name == *name);
        wanted.iter().all(has).then_some(total)
    });
    let total = total.await;
    let dated = total.iter().find(|(series, _)| series.code() == "wr:square:accepted").unwrap();
    assert!(matches!(dated.1, Counted::Count { last: Some(_), .. }), "{dated:?}");
    println!("{} series in the table after some sales", total.series_count());
    let items = dynamodb.scan().table_name(table).filter_expression("begins_with(#key, :metrics)");
    let items = items.expression_attribute_names("#key", "key");
    let items =
        items.expression_attribute_values(":metrics", AttributeValue::S("metrics#".into())).send().await.unwrap();
    for item in items.items() {
        // As DynamoDB counts: names, and numbers of a few digits in as many half bytes.
        let bytes: usize =
            item.iter().map(|(name, value)| name.len() + value.as_n().map_or(20, |n| n.len() / 2 + 2)).sum();
        println!("{}: {} attributes, {bytes} bytes", item["key"].as_s().unwrap(), item.len());
    }

    let mut in_lines = BTreeMap::<String, usize>::new();
    for function in ["webhooks", "normalizer", "sales-replies", "configurations", "authorizer"] {
        for line in lines(&town.bakery, function).iter().filter(|line| !line["_aws"].is_null()) {
            let [directive] = line["_aws"]["CloudWatchMetrics"].as_array().unwrap().as_slice() else {
                panic!("{line}")
            };
            assert_eq!((&directive["Namespace"], &line["emitted_by"]), (&json!("PosIntegration"), &json!(function)));
            for metric in directive["Metrics"].as_array().unwrap() {
                let name = metric["Name"].as_str().unwrap();
                let known = CATALOGUE.iter().find(|known| known.name == name).unwrap();
                let dimensions: Vec<_> = known.labels.iter().map(|label| json!(label.name)).collect();
                assert_eq!(directive["Dimensions"], json!([dimensions]), "{name}");
                let unit = if known.kind == Kind::Counter { "Count" } else { "Seconds" };
                assert_eq!(metric["Unit"], unit);
                let count = line[name].as_u64().map_or_else(|| line[name].as_array().unwrap().len(), |_| 1);
                *in_lines.entry(name.to_owned()).or_default() += count;
            }
        }
    }
    for name in wanted {
        assert!(in_lines.get(name).is_some_and(|count| *count >= 1), "{name}: {in_lines:?}");
    }
}
