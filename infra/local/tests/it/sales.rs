//! From the till to the sales domain and back.

use aws_sdk_sqs::types::Message;
use local::{Answers, TENANT, api::Api};
use reqwest::Method;
use sandbox::{EntryKind, EntryState, LedgerEntry, RungUp, SaleKind};
use serde_json::{Value, json};

use crate::town::{Answer, Item, QuietTown, Tables, eventually, owner, quiet_town, sweep, text};

const KINDS: [SaleKind; 18] = [
    SaleKind::Simple,
    SaleKind::Cash,
    SaleKind::SplitTender,
    SaleKind::Tip,
    SaleKind::Modifiers,
    SaleKind::Weighted,
    SaleKind::CustomAmount,
    SaleKind::GiftCard,
    SaleKind::LineDiscount,
    SaleKind::OrderDiscount,
    SaleKind::ServiceCharge,
    SaleKind::Api,
    SaleKind::Canceled,
    SaleKind::Offline,
    SaleKind::FullRefund,
    SaleKind::PartialRefund,
    SaleKind::AmountRefund,
    SaleKind::Everything,
];

/// A sale at the bakery itself, the first of the town's merchants.
fn ring_up(town: &QuietTown, kind: SaleKind) -> RungUp {
    let shop = &town.bakery.sandbox.merchants()[0].locations[0].id;
    town.bakery.sandbox.ring_up_at(kind, shop).unwrap()
}

/// The order's transaction as our API shows it, once it is so.
async fn transaction(api: &Api, order_id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{order_id} to be {what}"), async || {
        let page = Answer::to(api.request(Method::GET, &format!("/transactions?order_id={order_id}"))).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 1, "one order, one transaction: {page}");
        items.first().filter(|found| is_so(found)).cloned()
    })
    .await
}

fn is_final(transaction: &Value) -> bool {
    transaction["status"] != "open"
}

fn is_answered(transaction: &Value) -> bool {
    is_final(transaction) && transaction["sales"]["acknowledged"] == true
}

/// What the till's own books say, in the words of our API.
fn expected(entry: &LedgerEntry) -> Value {
    let lines: Vec<_> =
        entry.lines.iter().map(|line| json!([line.uid, plain(&line.quantity), line.total_minor])).collect();
    let mut paid: Vec<_> = entry.payments.iter().map(|it| (&it.id, it.amount_minor, it.tip_minor)).collect();
    paid.sort();
    if entry.state == EntryState::Canceled {
        paid.clear();
    }
    json!({
        "kind": if entry.kind == EntryKind::Refund { "refund" } else { "sale" },
        "status": if entry.state == EntryState::Canceled { "voided" } else { "completed" },
        "of": entry.source_order_id,
        "where": entry.location_id,
        "currency": entry.currency,
        "amounts": [
            entry.gross_minor, entry.discount_minor, entry.tax_minor, entry.service_charge_minor, entry.tip_minor,
            entry.total_minor,
        ],
        "lines": lines,
        "paid": paid,
        "discrepancies": null,
    })
}

/// `3.30` -> `3.3`
fn plain(quantity: &str) -> &str {
    if quantity.contains('.') { quantity.trim_end_matches('0').trim_end_matches('.') } else { quantity }
}

fn stored(transaction: &Value) -> Value {
    let all = |name: &str| transaction[name].as_array().cloned().unwrap_or_default();
    let lines: Vec<_> =
        all("line_items").iter().map(|line| json!([line["id"], line["quantity"], line["total_minor"]])).collect();
    let of_payment =
        |it: &Value| (it["id"].as_str().unwrap().to_owned(), it["amount_minor"].as_i64(), it["tip_minor"].as_i64());
    let mut paid: Vec<_> = all("payments").iter().map(of_payment).collect();
    paid.sort();
    let amounts = ["gross_minor", "discount_minor", "tax_minor", "service_charge_minor", "tip_minor", "total_minor"];
    json!({
        "kind": transaction["kind"],
        "status": transaction["status"],
        "of": transaction["original_order_id"],
        "where": transaction["location_id"],
        "currency": transaction["currency"],
        "amounts": amounts.map(|name| transaction["amounts"][name].clone()),
        "lines": lines,
        "paid": paid,
        "discrepancies": transaction["discrepancies"],
    })
}

#[tokio::test]
async fn every_kind_of_sale_is_stored_to_the_cent() {
    let town = quiet_town().await;
    let sandbox = &town.bakery.sandbox;
    let api = town.bakery.api().unwrap();
    let sales = KINDS.map(|kind| (kind, ring_up(town, kind)));
    for (kind, sale) in &sales {
        for order_id in [Some(&sale.order_id), sale.refund_order_id.as_ref()].into_iter().flatten() {
            let found = transaction(&api, order_id, "final", is_final).await;
            let entry = sandbox.ledger().into_iter().find(|entry| entry.order_id == *order_id).unwrap();
            assert_ne!(entry.total_minor, 0, "{kind:?}");
            assert_eq!(stored(&found), expected(&entry), "{kind:?}");
        }
    }
    let refunds = sales.iter().filter(|(_, sale)| sale.refund_order_id.is_some()).count();
    assert_eq!(refunds, 3);
}

#[tokio::test]
async fn a_fee_that_is_charged_later_is_noted_and_is_no_revision() {
    let town = quiet_town().await;
    let (api, tables) = (town.bakery.api().unwrap(), Tables::of(&town.bakery));
    let sale = ring_up(town, SaleKind::Simple);
    let of_sale = async || {
        let mut events = town.bakery.sandbox.events();
        events.retain(|event| event.order_id == sale.order_id);
        (events.len() == 3).then_some(events)
    };
    for event in eventually("the events of authorization, payment and fee", of_sale).await {
        let row = tables.final_row(&owner(&town.bakery), &event.event_id).await;
        assert_eq!(text(&row, "outcome"), "done", "{row:?}");
    }
    let token = town.bakery.sandbox.grant(None, &[]).unwrap().access_token;
    let url = format!("{}/v2/orders/{}", town.bakery.sandbox.square_url(), sale.order_id);
    let order = Answer::to(local::api::client().unwrap().get(url).bearer_auth(token)).await.json();
    let changed_at: jiff::Timestamp = order["order"]["updated_at"].as_str().unwrap().parse().unwrap();
    let found = transaction(&api, &sale.order_id, "final", is_final).await;
    assert_eq!(found["source_version"], changed_at.as_microsecond());
    let finals = found["history"].as_array().unwrap().iter().filter(|it| it["total_minor"] == sale.total_minor).count();
    assert!(finals <= 2, "at most once open and once completed: {found}");
}

#[tokio::test]
async fn what_is_stored_reaches_the_sales_domain_and_its_answer_clears_the_mark() {
    let town = quiet_town().await;
    let _turn = town.sales_turn().await;
    let (api, tables) = (town.bakery.api().unwrap(), Tables::of(&town.bakery));
    let kinds = [SaleKind::Simple, SaleKind::Everything, SaleKind::Api, SaleKind::Canceled, SaleKind::FullRefund];
    let sales = kinds.map(|kind| ring_up(town, kind));
    let orders = sales.iter().flat_map(|sale| [Some(&sale.order_id), sale.refund_order_id.as_ref()]).flatten();
    for order_id in orders {
        let mut found = transaction(&api, order_id, "answered", is_answered).await;
        let id = found["id"].as_str().unwrap().to_owned();
        let known = town.sales.transactions().remove(&id).unwrap();
        let (event, revision) = (&known.event, found["revision"].as_u64().unwrap());
        assert_eq!(event["id"], format!("{id}:{revision}"));
        assert_eq!(event["sequence"], format!("{revision:010}"));
        assert_eq!(event["tenantid"], TENANT);
        assert_eq!(event["source"], format!("/pos/square/{}", town.bakery.configuration_id));
        let voided = found["status"] == "voided";
        assert_eq!(event["type"], if voided { "pos.transaction.voided.v1" } else { "pos.transaction.recorded.v1" });
        assert_eq!(found["sales"]["acknowledged_revision"], revision);
        assert_eq!(found["sales"]["record_id"], format!("sales-{id}"));
        assert_eq!(u64::try_from(found["history"].as_array().unwrap().len()), Ok(revision));

        let mut sent = event["data"]["transaction"].clone();
        // Square counts on for a fee, which is no revision of ours.
        for transaction in [&mut sent, &mut found] {
            let only_ours = ["source_version", "revision", "observed_at", "history", "sales"];
            transaction.as_object_mut().unwrap().retain(|name, _| !only_ours.contains(&name.as_str()));
        }
        assert_eq!(sent, found, "the two interfaces show the same");
        assert!(!is_marked(&tables.transaction(&id).await.unwrap()));
    }
}

fn is_marked(item: &Item) -> bool {
    item.contains_key("outbox_shard") || item.contains_key("outbox_due_at") || item.contains_key("outbox_attempts")
}

#[tokio::test]
async fn an_event_that_the_sales_domain_loses_comes_again_when_it_is_due_and_not_before() {
    let town = quiet_town().await;
    let _turn = town.sales_turn().await;
    let tables = Tables::of(&town.bakery);
    // It takes the event off the queue and forgets it.
    town.sales.answer(Answers::Never);
    let sale = ring_up(town, SaleKind::Cash);
    let received = || {
        let of_sale = |event: &Value| event["data"]["transaction"]["external_order_id"] == sale.order_id;
        town.sales
            .transactions()
            .into_iter()
            .find(|(_, known)| of_sale(&known.event) && known.event["data"]["transaction"]["status"] == "completed")
    };
    let (id, known) = eventually("the event to be lost", async || received()).await;
    let item = async || tables.transaction(&id).await.unwrap();
    let lost = item().await;
    assert!(is_marked(&lost));
    sweep(&town.bakery).await;
    let unswept = item().await;
    assert_eq!(text(&unswept, "outbox_due_at"), text(&lost, "outbox_due_at"), "the answer is not overdue yet");
    assert!(!unswept.contains_key("outbox_attempts"));

    let due_at: jiff::Timestamp = text(&lost, "outbox_due_at").parse().unwrap();
    let seen = town.sales.counts();
    town.sales.answer(Answers::AtOnce);
    eventually("the answer to be overdue", async || (jiff::Timestamp::now() > due_at).then_some(())).await;
    sweep(&town.bakery).await;
    eventually("the mark to be cleared", async || (!is_marked(&item().await)).then_some(())).await;
    assert!(town.sales.counts().duplicates > seen.duplicates, "the same event, under the same id");
    let item = item().await;
    assert_eq!(text(&item, "acknowledged_revision"), known.revision.to_string());
    assert_eq!(text(&item, "sales_record_id"), format!("sales-{id}"));
}

/// The queues of the replies.
struct Replies<'a> {
    town: &'a QuietTown,
    client: aws_sdk_sqs::Client,
}

impl Replies<'_> {
    async fn send(&self, body: &str) {
        let queue = self.town.bakery.stack.output("SalesRepliesQueueUrl").unwrap();
        self.client.send_message().queue_url(queue).message_body(body).send().await.unwrap();
    }

    fn accepted(&self, tenant: &str, transaction_id: &Value, revision: u64, record_id: &str) -> Value {
        json!({
            "specversion": "1.0", "id": uuid::Uuid::new_v4(), "type": "sales.transaction.accepted.v1",
            "source": "/sales", "tenantid": tenant, "data": {
                "configuration_id": self.town.bakery.configuration_id, "transaction_id": transaction_id,
                "revision": revision, "sales_record_id": record_id,
            },
        })
    }

    /// The parked reply with this text in it, taken off the queue.
    async fn parked(&self, text: &str) -> Message {
        let queue = self.town.bakery.stack.output("SalesRepliesDeadLetterQueueUrl").unwrap();
        eventually(&format!("{text} to be parked"), async || {
            let receive = self.client.receive_message().queue_url(queue).max_number_of_messages(10);
            // Others' stay for them.
            let receive = receive.visibility_timeout(0).message_attribute_names("All");
            let received = receive.send().await.unwrap().messages.unwrap_or_default();
            received.into_iter().find(|message| message.body().unwrap().contains(text))
        })
        .await
    }
}

#[tokio::test]
async fn a_reply_that_cannot_be_taken_is_parked_with_its_reason() {
    let town = quiet_town().await;
    let _turn = town.sales_turn().await;
    let api = town.bakery.api().unwrap();
    let replies = Replies { town, client: aws_sdk_sqs::Client::new(&town.bakery.stack.config()) };
    let sale = ring_up(town, SaleKind::Cash);
    let before = transaction(&api, &sale.order_id, "answered", is_answered).await;
    let reply = |tenant: &str, id: &Value, revision: u64| replies.accepted(tenant, id, revision, "another record");
    let (revision, id) = (before["revision"].as_u64().unwrap(), &before["id"]);
    let mut eaten = reply(TENANT, id, revision);
    eaten["type"] = json!("sales.transaction.eaten.v1");
    let mut nameless = reply(TENANT, id, revision);
    nameless["data"].as_object_mut().unwrap().remove("sales_record_id");
    let unsent = "no such revision was ever sent";
    for (body, reason) in [
        (format!("not JSON {}", uuid::Uuid::new_v4()), "unreadable message"),
        (eaten.to_string(), "unknown type `sales.transaction.eaten.v1`"),
        (nameless.to_string(), "unreadable message"),
        (reply(TENANT, id, revision + 1).to_string(), unsent),
        (reply(TENANT, &json!(uuid::Uuid::new_v4()), 1).to_string(), unsent),
        // The right transaction in the name of somebody whose it is not.
        (reply("stranger", id, revision).to_string(), unsent),
    ] {
        replies.send(&body).await;
        let parked = replies.parked(&body).await;
        assert_eq!(parked.body(), Some(body.as_str()));
        let attributes = parked.message_attributes().unwrap();
        let given = attributes["reason"].string_value().unwrap();
        assert!(given.contains(reason), "{given}: {body}");
    }
    assert_eq!(transaction(&api, &sale.order_id, "there", |_| true).await, before);
}

#[tokio::test]
async fn what_was_rejected_is_listed_counted_and_sent_again() {
    let town = quiet_town().await;
    let _turn = town.sales_turn().await;
    let api = town.bakery.api().unwrap();
    let replies = Replies { town, client: aws_sdk_sqs::Client::new(&town.bakery.stack.config()) };
    town.sales.answer(Answers::Never);
    let code = format!("no_such_shop_{}", uuid::Uuid::new_v4().simple());
    let mut sales = Vec::new();
    for _ in 0..2 {
        let sale = ring_up(town, SaleKind::Cash);
        let known = transaction(&api, &sale.order_id, "final", is_final).await;
        let mut reply = replies.accepted(TENANT, &known["id"], known["revision"].as_u64().unwrap(), "");
        reply["type"] = "sales.transaction.rejected.v1".into();
        reply["data"]["code"] = code.as_str().into();
        reply["data"]["reason"] = "a shop\nthat nobody knows".into();
        replies.send(&reply.to_string()).await;
        let is_rejected = |it: &Value| it["sales"]["state"] == "rejected";
        let known = transaction(&api, &sale.order_id, "rejected", is_rejected).await;
        let why = &known["sales"]["rejection"];
        assert_eq!((&why["code"], &why["reason"]), (&json!(code), &json!("a shop that nobody knows")), "{known}");
        assert_eq!(known["sales"]["acknowledged"], false);
        sales.push(sale);
    }
    let listed = Answer::to(api.request(Method::GET, "/transactions?sales=rejected")).await.json();
    for sale in &sales {
        assert!(
            listed["items"].as_array().unwrap().iter().any(|it| it["external_order_id"] == sale.order_id),
            "{listed}"
        );
    }
    Answer::to(api.request(Method::GET, "/transactions?sales=rejected&order_id=x"))
        .await
        .problem(422, "invalid_fields");

    // First how many, then those and no others.
    let resend = async |body: Value| Answer::to(api.request(Method::POST, "/transactions/resend").json(&body)).await;
    let counted = resend(json!({ "code": code })).await;
    assert_eq!(
        (counted.status, counted.json()),
        (200, json!({ "matching": 2, "codes": { &code: 2 }, "sent_again": 0 }))
    );
    resend(json!({ "code": code, "expected": 3 })).await.problem(409, "conflict");
    town.sales.answer(Answers::AtOnce);
    let one = &listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["external_order_id"] == sales[0].order_id)
        .unwrap()["id"];
    let path = format!("/transactions/{}/resend", one.as_str().unwrap());
    assert_eq!(Answer::to(api.request(Method::POST, &path)).await.status, 202);
    Answer::to(api.request(Method::POST, &path)).await.problem(409, "conflict");
    let sent = resend(json!({ "code": code, "expected": 1, "configuration_id": town.bakery.configuration_id })).await;
    assert_eq!((sent.status, &sent.json()["sent_again"]), (202, &json!(1)), "{sent:?}");
    sweep(&town.bakery).await;
    for sale in &sales {
        let known = transaction(&api, &sale.order_id, "accepted", |it| it["sales"]["state"] == "accepted").await;
        assert_eq!(known["sales"]["rejection"], Value::Null);
    }
    let reader = town.bakery.api_of(TENANT, &["pos:read"]).unwrap();
    Answer::to(reader.request(Method::POST, "/transactions/resend").json(&json!({}))).await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_reply_that_comes_twice_is_harmless() {
    let town = quiet_town().await;
    let _turn = town.sales_turn().await;
    let (api, tables) = (town.bakery.api().unwrap(), Tables::of(&town.bakery));
    let replies = Replies { town, client: aws_sdk_sqs::Client::new(&town.bakery.stack.config()) };
    let sale = ring_up(town, SaleKind::Cash);
    let before = transaction(&api, &sale.order_id, "answered", is_answered).await;
    let id = before["id"].as_str().unwrap();
    let taken = || {
        let log = town.bakery.stack.function_log("sales-replies");
        log.lines().filter(|line| line.contains("\"took a reply\"") && line.contains(id)).count()
    };
    for times in 2..4 {
        let reply =
            replies.accepted(TENANT, &before["id"], before["revision"].as_u64().unwrap(), &format!("sales-{id}"));
        let known = taken();
        replies.send(&reply.to_string()).await;
        eventually("the reply to be taken", async || (taken() > known).then_some(())).await;
        assert_eq!(transaction(&api, &sale.order_id, "there", |_| true).await, before, "{times} times");
    }
    assert!(!is_marked(&tables.transaction(id).await.unwrap()));
}
