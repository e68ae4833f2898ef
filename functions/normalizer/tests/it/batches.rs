//! What the normalizer does with a batch.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use local::Proxy;
use sandbox::{Failure, Faults, SaleKind};
use serde_json::json;

use crate::bench::{Bench, batch, bench, event, record, work};
use crate::crashes::an_hour_older;

const NOTHING: [String; 0] = [];

#[tokio::test]
async fn a_new_sale_costs_its_raw_order_one_write_one_send_and_one_log_row_and_its_repeat_none_of_them() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let sale = bench.sell(SaleKind::Everything);
    let body = bench.paid_event(&sale.order_id);
    let app = bench.app(&proxy);
    assert_eq!(work(&app, batch(std::slice::from_ref(&body), 1)).await, NOTHING);
    // The fourth write is the hour's data key, which the first raw order needs.
    assert_eq!(
        [proxy.count("dynamodb:PutItem"), proxy.count("sqs:SendMessage"), proxy.count("kms:Decrypt")],
        [4, 1, 1]
    );

    proxy.reset();
    assert_eq!(work(&app, batch(std::slice::from_ref(&body), 1)).await, NOTHING);
    let counts =
        ["dynamodb:PutItem", "sqs:SendMessage", "kms:Decrypt", "dynamodb:UpdateItem"].map(|name| proxy.count(name));
    assert_eq!(counts, [0, 0, 0, 1], "a repeat is only counted");
}

#[tokio::test]
async fn an_event_about_an_unchanged_sale_costs_its_log_row_only() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let sale = bench.sell(SaleKind::Simple);
    let body = bench.paid_event(&sale.order_id);
    let app = bench.app(&proxy);
    assert_eq!(work(&app, batch(std::slice::from_ref(&body), 1)).await, NOTHING);
    proxy.reset();
    let other = another_event(&body, "another-event-of-the-same-change");
    assert_eq!(work(&app, batch(std::slice::from_ref(&other), 1)).await, NOTHING);
    let counts = ["dynamodb:PutItem", "sqs:SendMessage", "dynamodb:UpdateItem"].map(|name| proxy.count(name));
    assert_eq!(counts, [1, 0, 1], "the log row, and the turn at the provider");
    assert_eq!(bench.outcome(&other).await, Some(("done".into(), None)));
}

/// Its work may have ended between the two transactions of an exchange, so what the table knows is not enough.
#[tokio::test]
async fn what_was_given_up_and_is_sent_again_is_read_whatever_is_known() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let sale = bench.sell(SaleKind::Simple);
    let body = bench.paid_event(&sale.order_id);
    let app = bench.app(&proxy);
    assert_eq!(work(&app, batch(std::slice::from_ref(&body), 1)).await, NOTHING);
    let url = bench.bakery.stack.variable("normalizer", "INTAKE_BACKFILL_QUEUE_URL").unwrap();
    let past = format!("arn:aws:sqs:us-east-1:000000000000:{}", url.rsplit('/').next().unwrap());
    for (name, source, turns) in [("live", "arn:aws:sqs:us-east-1:000000000000:intake", 0), ("past", past.as_str(), 1)]
    {
        let mut record = record(0, &an_hour_older(&another_event(&body, name)), 1);
        record["eventSourceARN"] = source.into();
        proxy.reset();
        assert_eq!(work(&app, event(json!({ "Records": [record] }))).await, NOTHING);
        assert_eq!(proxy.count("dynamodb:UpdateItem"), turns, "{name}: turns at the provider");
    }
}

#[tokio::test]
async fn a_burst_of_events_in_one_batch_writes_the_sale_once() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let sale = bench.sell(SaleKind::SplitTender);
    let bodies = bench.events(&sale.order_id);
    assert!(bodies.len() >= 4);
    assert_eq!(work(&bench.app(&proxy), batch(&bodies, 1)).await, NOTHING);
    assert_eq!(proxy.count("sqs:SendMessage"), 1);
    // The data key, the raw order, the sale, and a row for each.
    assert_eq!(proxy.count("dynamodb:PutItem"), 3 + bodies.len());
    assert_eq!(bench.stored(&sale.order_id).await.unwrap()["revision"], 1);
}

#[tokio::test]
async fn one_bad_record_does_not_hold_back_its_neighbours() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let sale = bench.sell(SaleKind::Simple);
    let body = bench.paid_event(&sale.order_id);
    let mut unknown_kind = record(0, &body, 1);
    unknown_kind["messageAttributes"]["kind"]["stringValue"] = "delivery.v9".into();
    let mut bare = record(1, "not even JSON", 1);
    bare["messageAttributes"] = json!({});
    let records = json!({ "Records": [unknown_kind, bare, record(2, &body, 1)] });
    assert_eq!(work(&bench.app(&proxy), event(records)).await, ["message-0", "message-1"]);
    assert_eq!(bench.stored(&sale.order_id).await.unwrap()["amounts"]["total_minor"], sale.total_minor);
}

#[tokio::test]
async fn a_record_without_an_id_puts_the_whole_batch_back() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let mut nameless = record(0, "{}", 1);
    nameless["messageId"] = "".into();
    let event = event(json!({ "Records": [nameless] }));
    assert!(normalizer::handle_batch(&bench.app(&proxy), event).await.is_err());
}

#[tokio::test]
async fn the_recorded_event_of_an_unknown_merchant_is_ignored() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let records = serde_json::from_str(include_str!("../../../../events/normalizer.json")).unwrap();
    assert_eq!(work(&bench.app(&proxy), event(records)).await, NOTHING);
    assert_eq!([proxy.count("dynamodb:PutItem"), proxy.count("sqs:SendMessage")], [1, 0]);
}

/// Own bakery: the faults would hit the other tests.
#[tokio::test]
async fn what_the_provider_refuses_comes_again_or_is_shown() {
    let (bench, proxy) = (Bench::open("normalizer-refused"), Proxy::start().unwrap());
    let app = bench.app(&proxy);
    let sale = bench.sell(SaleKind::Simple);
    let body = bench.paid_event(&sale.order_id);
    let fail = |status, retry_after| {
        // A refused token is renewed once; the second refusal counts.
        let times = if status == 401 { 2 } else { 1 };
        let failure = Failure { status, times, path: Some("/v2/orders".into()), retry_after, ..Failure::default() };
        bench.bakery.sandbox.set_faults(Faults { failures: vec![failure], ..Faults::default() });
    };
    for status in [500, 503, 404] {
        fail(status, None);
        assert_eq!(work(&app, batch(std::slice::from_ref(&body), 1)).await, ["message-0"], "{status}");
        assert_eq!(bench.outcome(&body).await, None, "{status} is not the end");
    }
    let asked = || bench.bakery.sandbox.calls(sandbox::Vendor::Square).api_calls;

    // A pause that the provider wants is kept, by a message that comes meanwhile too; a short one is waited for here.
    fail(429, Some(3));
    assert_eq!(work(&app, batch(std::slice::from_ref(&body), 1)).await, ["message-0"]);
    let before = asked();
    assert_eq!(work(&app, batch(std::slice::from_ref(&body), 1)).await, ["message-0"]);
    assert_eq!(asked(), before);
    tokio::time::sleep(Duration::from_millis(2500)).await;

    // Whoever waits for a provider that is down does not ask, until it is time for one to try.
    for _ in 0..5 {
        fail(503, None);
        assert_eq!(work(&app, batch(std::slice::from_ref(&body), 1)).await, ["message-0"]);
    }
    assert_eq!(asked(), before + 5);
    assert_eq!(work(&app, batch(std::slice::from_ref(&body), 1)).await, ["message-0"]);
    assert_eq!(asked(), before + 5);
    assert_eq!(bench.outcome(&body).await, None, "nor is this the end");
    assert_eq!(proxy.count("sqs:ChangeMessageVisibility"), 11);
    tokio::time::sleep(Duration::from_secs(5)).await;

    fail(400, None);
    let first = another_event(&body, "first");
    assert_eq!(work(&app, batch(std::slice::from_ref(&first), 1)).await, NOTHING);
    assert_eq!(bench.outcome(&first).await, Some(("failed".into(), Some("request_refused".into()))));

    fail(401, None);
    let second = another_event(&body, "second");
    assert_eq!(work(&app, batch(std::slice::from_ref(&second), 1)).await, NOTHING);
    assert_eq!(bench.outcome(&second).await, Some(("failed".into(), Some("credentials_refused".into()))));
    let path = format!("/configurations/{}", bench.bakery.configuration_id);
    let request = bench.bakery.api().unwrap().request("GET".parse().unwrap(), &path);
    let shown: serde_json::Value = local::api::answer_of(request, "200".parse().unwrap(), "get").await.unwrap();
    assert_eq!((&shown["status"], &shown["version"]), (&json!("reauth_required"), &json!(3)));
    assert_eq!(shown["status_reasons"][0]["code"], "credentials_refused");

    let third = another_event(&body, "third");
    assert_eq!(work(&app, batch(std::slice::from_ref(&third), 1)).await, NOTHING);
    assert_eq!(bench.outcome(&third).await, Some(("failed".into(), Some("reauth_required".into()))));
    assert!(bench.stored(&sale.order_id).await.is_none());
    let queue = bench.bakery.stack.output("SalesQueueUrl").unwrap();
    let sqs = aws_sdk_sqs::Client::new(&bench.bakery.stack.config());
    let attributes = sqs.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::All).send().await;
    let waiting = attributes.unwrap().attributes.unwrap()[&QueueAttributeName::ApproximateNumberOfMessages].clone();
    assert_eq!(waiting, "0", "nothing that is not stored is sent");
}

/// Own bakery: its connection is paused, refused and withdrawn.
#[tokio::test]
async fn the_state_of_a_connection_decides_what_becomes_of_its_deliveries() {
    let (bench, proxy) = (Bench::open("normalizer-states"), Proxy::start().unwrap());
    let app = bench.app(&proxy);
    let (api, sandbox) = (bench.bakery.api().unwrap(), &bench.bakery.sandbox);
    let path = format!("/configurations/{}", bench.bakery.configuration_id);
    let ask = async |method: &str, path: String| -> serde_json::Value {
        let request = api.request(method.parse().unwrap(), &path);
        local::api::answer_of(request, "200".parse().unwrap(), "ask").await.unwrap()
    };
    let sale = bench.sell(SaleKind::Simple);
    let body = bench.paid_event(&sale.order_id);

    ask("POST", format!("{path}/pause")).await;
    assert_eq!(work(&app, batch(std::slice::from_ref(&body), 1)).await, NOTHING);
    assert_eq!(bench.outcome(&body).await, Some(("ignored".into(), Some("paused".into()))));
    assert!(bench.stored(&sale.order_id).await.is_none());
    ask("POST", format!("{path}/resume")).await;

    // One refusal costs a renewal and no sale.
    let failure = Failure { status: 401, times: 1, path: Some("/v2/orders".into()), ..Failure::default() };
    sandbox.set_faults(Faults { failures: vec![failure], ..Faults::default() });
    let renewals = sandbox.calls(sandbox::Vendor::Square).tokens_given;
    let second = another_event(&body, "second");
    assert_eq!(work(&app, batch(std::slice::from_ref(&second), 1)).await, NOTHING);
    assert_eq!(bench.outcome(&second).await, Some(("done".into(), None)));
    assert_eq!(bench.stored(&sale.order_id).await.unwrap()["amounts"]["total_minor"], sale.total_minor);
    assert_eq!(sandbox.calls(sandbox::Vendor::Square).tokens_given - renewals, 1);
    let shown = ask("GET", path.clone()).await;
    assert_eq!(shown["status"], "active");
    assert!(shown["health"]["last_webhook_at"].is_string(), "{shown}");

    // That consent was withdrawn is believed when the provider says so, too.
    let merchant = shown["merchant"]["id"].as_str().unwrap();
    let withdrawn = json!({
        "merchant_id": merchant, "type": "oauth.authorization.revoked", "event_id": "withdrawn",
        "data": { "type": "revocation", "id": "1", "object": { "revocation": { "revoker_type": "MERCHANT" } } },
    });
    assert_eq!(work(&app, batch(&[withdrawn.to_string()], 1)).await, NOTHING);
    assert_eq!(ask("GET", path.clone()).await["status"], "active");
    sandbox.revoke(merchant).unwrap();
    let withdrawn = another_event(&withdrawn.to_string(), "withdrawn-again");
    assert_eq!(work(&app, batch(std::slice::from_ref(&withdrawn), 1)).await, NOTHING);
    let shown = ask("GET", path.clone()).await;
    assert_eq!(
        (&shown["status"], &shown["status_reasons"][0]["code"]),
        (&json!("reauth_required"), &json!("credentials_refused"))
    );

    let request = api.request("DELETE".parse().unwrap(), &path).header("if-match", "*");
    let _: serde_json::Value = local::api::answer_of(request, "202".parse().unwrap(), "remove").await.unwrap();
    let late = another_event(&body, "late");
    assert_eq!(work(&app, batch(std::slice::from_ref(&late), 1)).await, NOTHING);
    let row = bench.outcome(&late).await;
    // The schedule may have removed it, and its log, by now.
    assert!(row.is_none() || row == Some(("ignored".into(), Some("deleting".into()))), "{row:?}");
}

/// The same change, announced by another event.
fn another_event(body: &str, id: &str) -> String {
    let mut event: serde_json::Value = serde_json::from_str(body).unwrap();
    event["event_id"] = id.into();
    event.to_string()
}

#[tokio::test]
async fn the_last_attempt_says_why_a_message_is_given_up() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let app = bench.app_of(bench.bakery.stack.config_of("normalizer", Some(&proxy)), &[("INTAKE_ATTEMPTS", "7")]);
    let unreadable = |attempt: u32| {
        let mut record = record(0, &format!("given up at {attempt}"), attempt);
        record["messageAttributes"]["kind"]["stringValue"] = "nobody knows".into();
        record["eventSourceARN"] = "arn:aws:sqs:us-east-1:000000000000:intake".into();
        event(json!({ "Records": [record] }))
    };
    assert_eq!(work(&app, unreadable(6)).await, ["message-0"], "it comes again");
    assert_eq!(proxy.count("sqs:SendMessage"), 0);
    assert_eq!(work(&app, unreadable(7)).await, NOTHING);
    let stack = &bench.bakery.stack;
    let sqs = aws_sdk_sqs::Client::new(&stack.config());
    let received = sqs.receive_message().queue_url(stack.output("IntakeDeadLetterQueueUrl").unwrap());
    let received = received.message_attribute_names("All").send().await.unwrap();
    let [message] = received.messages() else { panic!("{received:?}") };
    assert_eq!(message.body(), Some("given up at 7"));
    let attribute = |name: &str| message.message_attributes().unwrap()[name].string_value().unwrap();
    assert_eq!((attribute("reason"), attribute("kind")), ("unreadable_message", "nobody knows"));
    // The queue away: it comes again, and the queue's own limit gives it up.
    proxy.hit_named("sqs:SendMessage", 1, local::Fault::Status500);
    proxy.hit_named("sqs:SendMessage", 2, local::Fault::Status500);
    proxy.hit_named("sqs:SendMessage", 3, local::Fault::Status500);
    assert_eq!(work(&app, unreadable(8)).await, ["message-0"]);
}
