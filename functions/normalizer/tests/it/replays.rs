//! Deliveries of the log, worked on once more.

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::SqsEvent;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use lambda_runtime::LambdaEvent;
use local::{Answers, Fault, Proxy, SalesDomain, TENANT};
use sandbox::{Failure, Faults, LedgerEntry, SaleKind};
use serde_json::{Value, json};
use shared::domain::{Code, ConfigurationId, DeliveryOutcome, EventId, ReplayId, Replayed, TenantScope};
use shared::store::sync_logs::SyncLogs;
use shared::store::webhook_logs::{LogOwner, LogRow, LoggedDelivery, OrderSource, Outcome, Steps, WebhookLogs};
use shared::vault::{Bodies, Vault};

use crate::bench::{Bench, PATIENCE, batch, bench, event, record, work};
use crate::crashes::cut_off;
use crate::sync_page::Page;

const NOTHING: [String; 0] = [];

/// Whoever looks into the log, and asks for more.
struct Reader<'b> {
    bench: &'b Bench,
    logs: WebhookLogs,
    sync_logs: SyncLogs,
    scope: TenantScope,
    configuration: ConfigurationId,
}

impl<'b> Reader<'b> {
    fn of(bench: &'b Bench) -> Self {
        let owner = Page::of(bench, Vec::new()).message();
        let client = aws_sdk_dynamodb::Client::new(&bench.bakery.stack.config());
        let table = |name: &str| bench.bakery.stack.output(name).unwrap().to_owned();
        Self {
            bench,
            logs: WebhookLogs::new(client.clone(), table("WebhookLogsTable"), 30),
            sync_logs: SyncLogs::new(client, table("SyncLogsTable")),
            scope: owner.scope,
            configuration: owner.configuration_id,
        }
    }

    async fn delivery(&self, body: &str) -> LoggedDelivery {
        let owner = LogOwner::Configuration(self.scope.clone(), self.configuration);
        self.logs.find(&owner, &id_of(body)).await.unwrap().unwrap()
    }

    fn message(&self, body: &str, replay: ReplayId, attempt: u32) -> LambdaEvent<SqsEvent> {
        let order = json!({ "replay_id": replay, "event_id": id_of(body), "by": "somebody", "at": Timestamp::now() });
        let mut record = record(0, &order.to_string(), attempt);
        let owner = format!("{TENANT}#{}", self.configuration);
        record["messageAttributes"] = json!({
            "kind": { "stringValue": "replay.v1", "dataType": "String" },
            "configuration": { "stringValue": owner, "dataType": "String" },
        });
        event(json!({ "Records": [record] }))
    }

    async fn replay(&self, body: &str, replay: ReplayId) {
        let proxy = Proxy::start().unwrap();
        assert_eq!(work(&self.bench.app(&proxy), self.message(body, replay, 1)).await, NOTHING);
    }

    async fn replayed(&self, replay: ReplayId) -> Vec<Replayed> {
        self.sync_logs.list_replayed(&self.scope, self.configuration, replay).await.unwrap()
    }

    /// A delivery whose order the provider did not want to show.
    async fn failed(&self) -> (LedgerEntry, String) {
        let sale = self.bench.sell(SaleKind::Simple);
        let body = self.bench.paid_event(&sale.order_id);
        let failure = Failure { status: 400, times: 1, path: Some("/v2/orders".into()), ..Failure::default() };
        self.bench.bakery.sandbox.set_faults(Faults { failures: vec![failure], ..Faults::default() });
        let proxy = Proxy::start().unwrap();
        assert_eq!(work(&self.bench.app(&proxy), batch(std::slice::from_ref(&body), 1)).await, NOTHING);
        self.bench.bakery.sandbox.set_faults(Faults::default());
        assert_eq!(self.bench.outcome(&body).await, Some(("failed".into(), Some("request_refused".into()))));
        (sale, body)
    }
}

fn id_of(body: &str) -> EventId {
    let event: Value = serde_json::from_str(body).unwrap();
    EventId::new(event["event_id"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_replay_that_is_cut_off_anywhere_is_done_and_counted_once() {
    let bench = Bench::open("normalizer-replays");
    let (reader, sales_domain) = (Reader::of(&bench), SalesDomain::start(&bench.bakery.stack, Answers::Never));
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..40 {
            let (sale, body) = reader.failed().await;
            let (replay, proxy) = (ReplayId::generate(), Proxy::start().unwrap());
            let has_crashed = cut_off(&bench, &proxy, nth, fault, reader.message(&body, replay, 1)).await;
            proxy.reset();
            let again = reader.message(&body, replay, 2);
            assert_eq!(work(&bench.app(&proxy), again).await, NOTHING, "call {nth} {fault:?}");

            let found = reader.delivery(&body).await;
            assert_eq!(
                (found.entry.outcome, &found.entry.code),
                (DeliveryOutcome::Done, &None),
                "call {nth} {fault:?}"
            );
            assert_eq!(found.replays.len(), 1, "call {nth} {fault:?}");
            assert_eq!(reader.replayed(replay).await, found.replays, "call {nth} {fault:?}");
            let stored = bench.stored(&sale.order_id).await.unwrap();
            assert_eq!((&stored["revision"], &stored["amounts"]["total_minor"]), (&json!(1), &json!(sale.total_minor)));
            let caused: Vec<_> = found.caused.iter().map(|it| (it.transaction.to_string(), it.revision)).collect();
            assert_eq!(caused, [(stored["id"].as_str().unwrap().to_owned(), 1)], "call {nth} {fault:?}");
            let id = stored["id"].as_str().unwrap();
            let is_received = sales_domain.wait_until(PATIENCE, |domain| domain.transactions().contains_key(id));
            assert!(is_received, "call {nth} {fault:?}");
            if !has_crashed {
                break;
            }
            calls = nth;
        }
        // The configuration, the delivery, its body's key, the known copies, the key, the budget, the transaction, its products, the
        // key that bodies are sealed with, where that is kept, the raw log, the transaction, the queue, the delivery's row, the replay's.
        assert_eq!(calls, 15, "{fault:?}");
    }
}

#[tokio::test]
async fn a_delivery_of_a_shop_that_was_unknown_is_done_once_the_shop_is_known() {
    let bench = Bench::open("normalizer-new-shop");
    let reader = Reader::of(&bench);
    let client = aws_sdk_dynamodb::Client::new(&bench.bakery.stack.config());
    let table = bench.bakery.stack.output("ConfigurationsTable").unwrap();
    let key = [("tenant_id", TENANT.to_owned()), ("configuration_id", reader.configuration.to_string())];
    let key = key.map(|(name, value)| (name.to_owned(), AttributeValue::S(value)));
    let read = client.get_item().table_name(table).set_key(Some(key.into_iter().collect())).send().await;
    let known = read.unwrap().item.unwrap();
    let mut unknown = known.clone();
    unknown.insert("locations".into(), AttributeValue::L(Vec::new()));
    let put = async |item| client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();

    let sale = bench.sell(SaleKind::Simple);
    let body = bench.paid_event(&sale.order_id);
    put(unknown).await;
    let proxy = Proxy::start().unwrap();
    assert_eq!(work(&bench.app(&proxy), batch(std::slice::from_ref(&body), 1)).await, NOTHING);
    assert_eq!(bench.outcome(&body).await, Some(("failed".into(), Some("unknown_location".into()))));
    // Too early changes nothing but the history.
    reader.replay(&body, ReplayId::generate()).await;
    assert_eq!(reader.delivery(&body).await.entry.code.as_deref(), Some("unknown_location"));
    put(known).await;
    reader.replay(&body, ReplayId::generate()).await;
    let found = reader.delivery(&body).await;
    assert_eq!((found.entry.outcome, found.replays.len()), (DeliveryOutcome::Done, 2));
    let ends: Vec<_> = found.replays.iter().map(|it| (it.by.as_str(), it.outcome, it.code.as_deref())).collect();
    let failed = ("somebody", DeliveryOutcome::Failed, Some("unknown_location"));
    assert_eq!(ends, [failed, ("somebody", DeliveryOutcome::Done, None)]);
    assert_eq!(bench.stored(&sale.order_id).await.unwrap()["amounts"]["total_minor"], sale.total_minor);
}

#[tokio::test]
async fn what_the_queue_gave_up_is_done_by_a_replay() {
    let bench = bench();
    let reader = Reader::of(bench);
    let sale = bench.sell(SaleKind::Simple);
    let body = bench.paid_event(&sale.order_id);
    let owner = LogOwner::Configuration(reader.scope.clone(), reader.configuration);
    let vault = Vault::new(
        aws_sdk_kms::Client::new(&bench.bakery.stack.config()),
        bench.bakery.stack.variable("normalizer", "KMS_KEY_ID").unwrap().to_owned(),
    );
    let (log, event) = (owner.key(), id_of(&body));
    let sealed = Bodies::new(Arc::new(vault)).seal([&log, event.as_str()], body.as_bytes()).await.unwrap();
    let row = LogRow {
        owner: &owner,
        event_id: &event,
        event_type: None,
        received_at: Timestamp::now(),
        worked_for: Duration::ZERO,
        attempt: 100,
        secret_id: "wbhk_1",
        sealed_body: &sealed,
        body_bytes: body.len(),
        outcome: &Outcome::Dead { code: Code::GivenUp, detail: String::new() },
        caused: &[],
        steps: &Steps::default(),
    };
    reader.logs.record(&row).await.unwrap();
    reader.replay(&body, ReplayId::generate()).await;
    assert_eq!(bench.outcome(&body).await, Some(("done".into(), None)));
    assert_eq!(bench.stored(&sale.order_id).await.unwrap()["amounts"]["total_minor"], sale.total_minor);
}

#[tokio::test]
async fn a_replay_reads_the_order_and_writes_nothing_older_over_it() {
    let bench = bench();
    let reader = Reader::of(bench);
    let sale = bench.sell(SaleKind::Simple);
    let body = bench.paid_event(&sale.order_id);
    let proxy = Proxy::start().unwrap();
    assert_eq!(work(&bench.app(&proxy), batch(std::slice::from_ref(&body), 1)).await, NOTHING);
    let before = bench.stored(&sale.order_id).await.unwrap();
    // The table knows a newer copy, as a sync may have read it.
    let mut newer = Page::of(bench, bench.orders("replay", 1));
    newer.orders[0]["id"] = sale.order_id.as_str().into();
    for time in ["created_at", "updated_at", "closed_at"] {
        newer.orders[0][time] = before["created_at"].clone();
    }
    newer.orders[0]["updated_at"] = "2099-01-01T00:00:00Z".into();
    assert_eq!(work(&bench.app(&proxy), newer.event(1)).await, NOTHING);
    let stored = bench.stored(&sale.order_id).await.unwrap();
    assert_eq!((&stored["id"], &stored["revision"]), (&before["id"], &json!(2)), "{stored}");

    proxy.reset();
    let asked = || bench.bakery.sandbox.calls(sandbox::Vendor::Square).api_calls;
    let (reads, replay) = (asked(), ReplayId::generate());
    assert_eq!(work(&bench.app(&proxy), reader.message(&body, replay, 1)).await, NOTHING);
    assert!(asked() > reads, "the provider is asked, though the table has a copy");
    assert_eq!(bench.stored(&sale.order_id).await.unwrap(), stored);
    let found = reader.delivery(&body).await;
    assert_eq!((found.entry.outcome, found.steps.source), (DeliveryOutcome::Done, Some(OrderSource::Read)));
    assert_eq!(found.caused[0].revision, 2);
    assert_eq!(proxy.count("sqs:SendMessage") + proxy.count("sqs:SendMessageBatch"), 0);

    // The message that comes again does nothing more than say so.
    proxy.reset();
    let reads = asked();
    assert_eq!(work(&bench.app(&proxy), reader.message(&body, replay, 2)).await, NOTHING);
    assert_eq!((asked(), proxy.count("dynamodb:UpdateItem")), (reads, 0));
    assert_eq!(reader.delivery(&body).await, found);
}
