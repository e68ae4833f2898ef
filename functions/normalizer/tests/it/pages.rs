//! What the normalizer does with pages of a sync, and what that costs.

use aws_lambda_events::sqs::SqsMessage;
use jiff::{SignedDuration, Timestamp};
use local::{Answers, Fault, Proxy, SalesDomain};
use serde_json::{Value, json};
use shared::domain::{ConfigurationId, SourceVersion};
use shared::queue::intake::{self, IntakeMessage, IntakeQueue};
use shared::store::product_mappings::{MappingChange, ProductMappings};

use crate::bench::{Bench, PATIENCE, bench, work};
use crate::sync_page::Page;

const NOTHING: [String; 0] = [];

/// Reads of configurations, batched reads, writes of raw orders, transactions and rows, touches, sends one by one and ten at once.
fn calls(proxy: &Proxy) -> [usize; 6] {
    let names =
        ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "sqs:SendMessage"];
    let [configuration, batches, puts, updates, sends] = names.map(|name| proxy.count(name));
    let sent = proxy.count("sqs:SendMessageBatch");
    // An environment asks once an hour.
    let keys = proxy.count("kms:GenerateDataKey");
    assert!(keys <= 1, "{keys}");
    assert_eq!(
        proxy.calls().len(),
        configuration + batches + puts + updates + sends + sent + keys,
        "{:?}",
        proxy.calls()
    );
    [configuration, batches, puts, updates, sends, sent]
}

fn changed_at(order: &Value) -> Timestamp {
    order["updated_at"].as_str().unwrap().parse().unwrap()
}

/// A till's orders have no version but the time of their last change.
fn raise(order: &mut Value) {
    order["updated_at"] = (changed_at(order) + SignedDuration::from_secs(7)).to_string().into();
}

#[tokio::test]
async fn a_page_costs_one_read_a_write_for_each_new_order_and_a_send_for_ten_of_them() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let app = bench.app(&proxy);
    let mut page = Page::of(bench, bench.orders("a-page", 25));
    assert_eq!(work(&app, page.event(1)).await, NOTHING);
    // The second batch is what the tenant calls the things: asked once, and then known for a while. Beside the orders, the page's
    // raw orders, their data key and its row are written.
    assert_eq!(calls(&proxy), [1, 2, 28, 0, 0, 3]);
    assert_eq!(page.counts(bench).await, Some([25, 25, 0, 0, 0]));
    let stored = page.stored(bench).await;
    assert_eq!((stored.len(), stored.iter().filter(|stored| stored.revision == 1).count()), (25, 25));
    assert_eq!(stored[0].history[0].cause.as_str(), format!("sync:{}:1", page.run));

    // The same message again: the row stays, whatever it would say now.
    proxy.reset();
    assert_eq!(work(&app, page.event(1)).await, NOTHING);
    assert_eq!(calls(&proxy), [1, 1, 1, 0, 0, 0]);
    assert_eq!(page.counts(bench).await, Some([25, 25, 0, 0, 0]));

    // The same orders on the next page, one of them newer and one of them newer without a change that is any to us.
    page.number = 2;
    raise(&mut page.orders[3]);
    page.orders[3]["line_items"][0]["name"] = "Renamed".into();
    raise(&mut page.orders[4]);
    proxy.reset();
    assert_eq!(work(&app, page.event(1)).await, NOTHING);
    assert_eq!(calls(&proxy), [1, 1, 3, 1, 0, 1]);
    assert_eq!(page.counts(bench).await, Some([25, 0, 1, 24, 0]));
    assert_eq!(page.stored(bench).await.iter().filter(|stored| stored.revision == 2).count(), 1);
}

#[tokio::test]
async fn an_order_that_cannot_be_taken_does_not_hold_back_its_neighbours() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let mut page = Page::of(bench, bench.orders("neighbours", 5));
    page.orders[0]["line_items"] = "none".into();
    page.orders[1]["location_id"] = "ELSEWHERE".into();
    page.orders[2]["state"] = "DRAFT".into();
    assert_eq!(work(&bench.app(&proxy), page.event(1)).await, NOTHING);
    let row = page.row(bench).await.unwrap();
    assert_eq!(page.counts(bench).await, Some([5, 2, 0, 1, 2]));
    let failed: Vec<(&str, &str)> = row
        .failed_orders
        .iter()
        .map(|failed| (failed.order_id.as_ref().unwrap().as_str(), failed.code.as_str()))
        .collect();
    assert_eq!(failed, [("neighbours-0", "unreadable_payload"), ("neighbours-1", "unknown_location")]);
    assert!(row.failed_orders[0].detail.contains("line_items"), "{row:?}");
}

#[tokio::test]
async fn an_order_that_stands_on_a_page_twice_is_stored_once_in_its_newer_version() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let mut page = Page::of(bench, bench.orders("twice", 2));
    page.orders[0]["id"] = page.orders[1]["id"].clone();
    raise(&mut page.orders[0]);
    let version = changed_at(&page.orders[0]).as_microsecond();
    assert_eq!(work(&bench.app(&proxy), page.event(1)).await, NOTHING);
    assert_eq!(page.counts(bench).await, Some([2, 1, 0, 1, 0]));
    let stored = page.stored(bench).await;
    assert_eq!((stored.len(), stored[0].revision), (1, 1));
    assert_eq!(stored[0].transaction.source_version, SourceVersion(version));
}

#[tokio::test]
async fn a_page_of_a_configuration_that_is_gone_leaves_nothing_behind() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let app = bench.app(&proxy);
    let mut page = Page::of(bench, bench.orders("gone", 2));
    page.epoch = 7;
    let stranger = Page {
        owner: format!("{}#{}", local::TENANT, ConfigurationId::generate()),
        ..Page::of(bench, bench.orders("gone", 2))
    };
    for page in [page, stranger] {
        proxy.reset();
        assert_eq!(work(&app, page.event(1)).await, NOTHING);
        assert_eq!(calls(&proxy), [1, 0, 0, 0, 0, 0]);
        assert_eq!(page.row(bench).await, None);
    }
}

#[tokio::test]
async fn while_the_sales_queue_is_away_a_page_comes_again_and_counts_what_it_had_written() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let app = bench.app(&proxy);
    let page = Page::of(bench, bench.orders("queue-away", 12));
    // As often as the client tries.
    (1..=3).for_each(|nth| proxy.hit_named("sqs:SendMessageBatch", nth, Fault::Status500));
    assert_eq!(work(&app, page.event(1)).await, ["message-0"]);
    assert_eq!(proxy.count("sqs:ChangeMessageVisibility"), 1);
    assert_eq!(page.row(bench).await, None);
    proxy.reset();
    assert_eq!(work(&app, page.event(2)).await, NOTHING);
    assert_eq!(calls(&proxy), [1, 1, 1, 0, 0, 2], "what was stored is sent, and not stored again");
    assert_eq!(page.counts(bench).await, Some([12, 12, 0, 0, 0]));
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_sent_all_the_same() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let page = Page::of(bench, bench.orders("lost-answer", 1));
    // The first two keep the raw order and its data key.
    proxy.hit_named("dynamodb:PutItem", 3, Fault::DropAfter);
    assert_eq!(work(&bench.app(&proxy), page.event(1)).await, NOTHING);
    assert_eq!((proxy.count("dynamodb:PutItem"), proxy.count("sqs:SendMessageBatch")), (5, 1));
    assert_eq!(page.counts(bench).await, Some([1, 1, 0, 0, 0]));
}

/// From the worker's side of the queue to the row, through the deployed function.
#[tokio::test]
async fn a_page_that_is_sent_to_either_queue_is_taken() {
    let bench = bench();
    let sqs = aws_sdk_sqs::Client::new(&bench.bakery.stack.config());
    for (queue, kind) in [("INTAKE_QUEUE_URL", "incremental"), ("INTAKE_BACKFILL_QUEUE_URL", "backfill")] {
        let page = Page { kind, ..Page::of(bench, bench.orders(kind, 3)) };
        let message = page.message();
        let url = bench.bakery.stack.variable("normalizer", queue).unwrap().to_owned();
        let intake = IntakeQueue::new(sqs.clone(), url);
        intake
            .send_orders(&message.scope, message.configuration_id, &message.page, &message.orders, &message.trace)
            .await
            .unwrap();
        let until = std::time::Instant::now() + PATIENCE;
        while page.row(bench).await.is_none() && std::time::Instant::now() < until {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(
            page.counts(bench).await,
            Some([3, 3, 0, 0, 0]),
            "{kind} {}",
            bench.bakery.stack.function_log("normalizer")
        );
    }
}

/// Cut off at each AWS call, before it is executed and after it. Own bakery: its sales domain takes every message.
#[tokio::test]
async fn a_page_that_is_cut_off_anywhere_is_stored_sent_and_counted_once() {
    let bench = Bench::open("normalizer-pages");
    let sales_domain = SalesDomain::start(&bench.bakery.stack, Answers::Never);
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..40 {
            let page = Page::of(&bench, bench.orders(&format!("cut-{fault:?}-{nth}"), 12));
            let proxy = Proxy::start().unwrap();
            let has_crashed = crate::crashes::cut_off(&bench, &proxy, nth, fault, page.event(1)).await;
            crate::raw::assert_is_covered(&bench, &page).await;
            proxy.reset();
            assert_eq!(work(&bench.app(&proxy), page.event(2)).await, NOTHING, "call {nth} {fault:?}");

            assert_eq!(page.counts(&bench).await, Some([12, 12, 0, 0, 0]), "call {nth} {fault:?}");
            let stored = page.stored(&bench).await;
            assert_eq!(stored.len(), 12, "call {nth} {fault:?}");
            assert!(stored.iter().all(|stored| stored.revision == 1), "call {nth} {fault:?}");
            crate::raw::assert_is_covered(&bench, &page).await;
            let is_received = sales_domain.wait_until(PATIENCE, |domain| {
                let known = domain.transactions();
                stored.iter().all(|stored| known.contains_key(&stored.transaction.id.to_string()))
            });
            assert!(is_received, "call {nth} {fault:?}");
            if !has_crashed {
                break;
            }
            calls = nth;
        }
        // The configuration, what is known, the products, the key of bodies, where that is kept, the raw log, twelve
        // transactions, the queue twice, the row.
        assert_eq!(calls, 21, "{fault:?}");
    }
}

/// Messages of yesterday are read by tomorrow's code.
#[test]
fn the_recorded_page_is_read() {
    let message: SqsMessage =
        serde_json::from_str(include_str!("../../../../events/messages/orders-page.json")).unwrap();
    let IntakeMessage::Orders(page) = intake::decode(&message).unwrap() else { panic!("a page") };
    assert_eq!((page.scope.tenant_id().as_str(), page.page.number, page.page.epoch), ("t_1", 3, 0));
    assert_eq!(page.page.kind.as_str(), "backfill");
    assert_eq!(page.orders.len(), 2);
    assert_eq!(page.orders[0].location.as_ref().unwrap().as_str(), "SHOP1");
    assert_eq!(page.orders[0].observed_at, "2026-02-14T12:05:00Z".parse().unwrap());
    assert_eq!(page.orders[1].paid_offline_at, Some("2026-02-13T17:40:00Z".parse().unwrap()));
    let order: Value = serde_json::from_slice(&page.orders[1].body).unwrap();
    assert_eq!(order["id"], json!("OFFLINE"));
}

#[tokio::test]
async fn a_sale_is_of_the_product_that_its_item_was_mapped_to_when_it_was_first_read() {
    let bench = bench();
    let mut page = Page::of(bench, bench.orders("mapped", 1));
    let message = page.message();
    let client = aws_sdk_dynamodb::Client::new(&bench.bakery.stack.config());
    let table = bench.bakery.stack.output("ProductMappingsTable").unwrap().to_owned();
    let mappings = ProductMappings::new(client, table);
    page.orders[0]["line_items"][0]["catalog_object_id"] = "MAPPED-ITEM".into();
    let map = async |product: &str| {
        let change = MappingChange { item_id: "MAPPED-ITEM".into(), product_id: product.parse().ok() };
        let said = ("somebody", Timestamp::now());
        mappings.map(&message.scope, message.configuration_id, &[change], said).await.unwrap();
    };
    let product = async |page: &Page| {
        let stored = page.stored(bench).await.remove(0);
        (stored.revision, stored.transaction.line_items[0].product_id.clone().map(String::from))
    };
    map("croissant").await;
    // A fresh environment each time: nothing is remembered.
    let read = async |page: &Page| assert_eq!(work(&bench.app(&Proxy::start().unwrap()), page.event(1)).await, NOTHING);
    read(&page).await;
    assert_eq!(product(&page).await, (1, Some("croissant".into())));

    map("brioche").await;
    page.number = 2;
    read(&page).await;
    assert_eq!(product(&page).await, (1, Some("croissant".into())), "the same sale, read again");

    raise(&mut page.orders[0]);
    page.orders[0]["line_items"][0]["name"] = "Renamed".into();
    page.number = 3;
    read(&page).await;
    assert_eq!(product(&page).await, (2, Some("croissant".into())), "changed, but still the same thing");
}

#[tokio::test]
async fn where_the_sales_domain_does_not_answer_nothing_is_waited_for() {
    let (bench, proxy) = (bench(), Proxy::start().unwrap());
    let page = Page::of(bench, bench.orders("unanswered", 12));
    let app = bench.app_with(&proxy, &[("SALES_DOMAIN_ANSWERS", "false")]);
    // Of the second call of ten and two, one message is refused: that one is still to be sent.
    proxy.hit_named("sqs:SendMessageBatch", 2, Fault::HalfBatch);
    assert_eq!(work(&app, page.event(1)).await, NOTHING);
    let stored = page.stored(bench).await;
    assert_eq!((stored.len(), stored.iter().filter(|stored| stored.outbox.is_some()).count()), (12, 1));
}
