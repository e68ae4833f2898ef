//! The crash between every two steps of a sweep: it is cut off at its n-th AWS call, for every n, before the call is
//! executed and after it (the answer lost); the next sweep must find and send what is due all the same.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::Context;
use local::{Answers, Fault, Proxy, SalesDomain, Stack};
use outbox_sweeper::{App, Ways, sweep};
use serde_json::{Value, json};
use shared::domain::{ConfigurationId, EventId, TenantScope, Transaction, TransactionId, TransactionKind};
use shared::queue::sales::{Reply, SalesQueue, read_reply};
use shared::store::transactions::{Candidate, OutboxMark, TransactionKey, Transactions};
use tokio::sync::{Mutex, MutexGuard};

/// Due at once when it is stored, and not again for longer than the test takes.
const NOW: SignedDuration = SignedDuration::ZERO;
const MUCH_LATER: SignedDuration = SignedDuration::from_hours(1);

fn app(stack: &Stack, proxy: &Proxy) -> App {
    proxy.forward_to(stack.endpoint());
    let (config, output) = (stack.config_at(proxy.url()), |name: &str| stack.output(name).unwrap().to_owned());
    let (sqs, urls) = (aws_sdk_sqs::Client::new(&config), ["SalesQueueUrl", "SalesRepliesQueueUrl"].map(output));
    App {
        transactions: Transactions::new(aws_sdk_dynamodb::Client::new(&config), output("TransactionsTable")),
        sales: SalesQueue::new(sqs.clone(), output("SalesQueueUrl")),
        ways: Ways { client: sqs, urls },
        first_resend_after: MUCH_LATER,
    }
}

/// It hears what all tests send, so they come one by one.
async fn sales_domain() -> MutexGuard<'static, SalesDomain> {
    static DOMAIN: OnceLock<Mutex<SalesDomain>> = OnceLock::new();
    DOMAIN.get_or_init(|| Mutex::new(SalesDomain::start(Stack::shared().unwrap(), Answers::Never))).lock().await
}

fn context() -> Context {
    let deadline = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(50);
    let mut context = Context::default();
    context.deadline = u64::try_from(deadline.as_millis()).unwrap();
    context
}

/// A scope comes only from somewhere that proves it; here from a reply of the sales domain.
fn scope() -> TenantScope {
    let body = include_str!("../../../../schemas/samples/sales.transaction.accepted.v1/full.json");
    let reply = read_reply(&serde_json::from_value(json!({ "body": body })).unwrap());
    let Ok(Reply::Accepted(accepted)) = reply else { panic!("{reply:?}") };
    accepted.key.scope
}

/// A sale that was stored and never sent.
async fn unsent(app: &App) -> TransactionKey {
    let event: Value =
        serde_json::from_str(include_str!("../../../../schemas/samples/pos.transaction.v1/minimal.json")).unwrap();
    let mut transaction: Transaction = serde_json::from_value(event["data"]["transaction"].clone()).unwrap();
    transaction.configuration_id = ConfigurationId::generate();
    let order = &transaction.external_order_id;
    transaction.id =
        TransactionId::derive(transaction.created_at, transaction.configuration_id, order, TransactionKind::Sale);
    let key = TransactionKey {
        scope: scope(),
        configuration_id: transaction.configuration_id,
        transaction_id: transaction.id,
    };
    let cause = EventId::new("event").unwrap();
    let candidate = Candidate { transaction, observed_at: Some(Timestamp::now()), cause: &cause };
    app.transactions.put_if_newer(None, &key.scope, candidate, NOW).await.unwrap();
    key
}

#[tokio::test]
async fn a_sweep_that_is_cut_off_anywhere_is_made_good_by_the_next() {
    let (stack, sales_domain) = (Stack::shared().unwrap(), sales_domain().await);
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let mut calls = 0;
        for nth in 1..40 {
            let proxy = Proxy::start().unwrap();
            let key = unsent(&app(stack, &proxy)).await;
            let crash = Arc::new(tokio::sync::Notify::new());
            proxy.on_drop({
                let crash = Arc::clone(&crash);
                move || crash.notify_one()
            });
            proxy.hit(nth, fault);
            let (cut_off, context) = (app(stack, &proxy), context());
            let has_crashed = tokio::select! {
                biased;
                () = crash.notified() => true,
                swept = sweep(&cut_off, &context) => { swept.unwrap(); false }
            };
            proxy.reset();
            let next = app(stack, &proxy);
            sweep(&next, &context).await.unwrap();

            let id = key.transaction_id.to_string();
            let is_received = |domain: &SalesDomain| domain.transactions().contains_key(&id);
            assert!(sales_domain.wait_until(Duration::from_secs(20), is_received), "call {nth} {fault:?}");
            let mark = next.transactions.find(&key).await.unwrap().unwrap().outbox;
            assert!(
                mark.is_some_and(|mark| mark.attempts > 0),
                "sent, noted and still unanswered: call {nth} {fault:?}"
            );
            if !has_crashed {
                break;
            }
            calls = nth;
        }
        // Both queues, each of the eight shards, then the one transaction: read, send, note.
        assert_eq!(calls, 13, "{fault:?}");
    }
}

#[tokio::test]
async fn half_a_batch_that_sqs_refuses_is_sent_by_the_next_sweep() {
    let (stack, sales_domain, proxy) = (Stack::shared().unwrap(), sales_domain().await, Proxy::start().unwrap());
    let app = app(stack, &proxy);
    let mut keys = Vec::new();
    for _ in 0..40 {
        keys.push(unsent(&app).await);
    }
    // A shard may have but one of them.
    for nth in 1..=4 {
        proxy.hit_named("sqs:SendMessageBatch", nth, Fault::HalfBatch);
    }
    let first = sweep(&app, &context()).await.unwrap();
    assert!(first.refused > 0 && first.resent > first.refused, "{first:?}");
    let second = sweep(&app, &context()).await.unwrap();
    assert!(second.resent >= first.refused && second.refused == 0, "{second:?}");
    let is_received = |domain: &SalesDomain| {
        let known = domain.transactions();
        keys.iter().all(|key| known.contains_key(&key.transaction_id.to_string()))
    };
    assert!(sales_domain.wait_until(Duration::from_secs(20), is_received));
}

#[tokio::test]
async fn where_nobody_answers_what_was_sent_is_done_and_where_somebody_should_it_is_overdue_at_last() {
    let (stack, _sales_domain, proxy) = (Stack::shared().unwrap(), sales_domain().await, Proxy::start().unwrap());
    let mut app = App { first_resend_after: NOW, ..app(stack, &proxy) };
    let key = unsent(&app).await;
    let mark = async |app: &App| app.transactions.find(&key).await.unwrap().unwrap().outbox;
    for attempts in 1..=OutboxMark::OVERDUE_AFTER {
        assert!(!mark(&app).await.unwrap().is_overdue());
        let swept = sweep(&app, &context()).await.unwrap();
        assert_eq!(mark(&app).await, Some(OutboxMark { attempts }), "{swept:?}");
        assert_eq!(swept.overdue > 0, attempts == OutboxMark::OVERDUE_AFTER, "{swept:?}");
    }
    app.sales = app.sales.answered(false);
    sweep(&app, &context()).await.unwrap();
    assert_eq!(mark(&app).await, None);
}

#[tokio::test]
async fn while_the_sales_queue_is_missing_all_stays_due_and_a_sweep_says_so() {
    let (stack, sales_domain, proxy) = (Stack::shared().unwrap(), sales_domain().await, Proxy::start().unwrap());
    let mut app = app(stack, &proxy);
    let key = unsent(&app).await;
    let nowhere = format!("{}-gone", stack.output("SalesQueueUrl").unwrap());
    let there = std::mem::replace(&mut app.sales, SalesQueue::new(aws_sdk_sqs::Client::new(&stack.config()), nowhere));
    for _ in 0..3 {
        sweep(&app, &context()).await.unwrap_err();
        let mark = app.transactions.find(&key).await.unwrap().unwrap().outbox;
        assert_eq!(mark, Some(OutboxMark { attempts: 0 }));
    }
    app.sales = there;
    sweep(&app, &context()).await.unwrap();
    let id = key.transaction_id.to_string();
    assert!(sales_domain.wait_until(Duration::from_secs(20), |domain| domain.transactions().contains_key(&id)));
}

#[tokio::test]
async fn while_answers_pile_up_a_few_are_sent_again_and_afterwards_all() {
    let (stack, sales_domain, proxy) = (Stack::shared().unwrap(), sales_domain().await, Proxy::start().unwrap());
    let mut app = app(stack, &proxy);
    // Nobody takes anything from it.
    let sqs = app.ways.client.clone();
    let queue = sqs.create_queue().queue_name(format!("jam-{}", ConfigurationId::generate())).send().await.unwrap();
    let [there, _] = app.ways.urls.clone();
    let jammed = queue.queue_url.unwrap();
    app.ways.urls = [there, jammed.clone()];
    let mut keys = Vec::new();
    for _ in 0..160 {
        keys.push(unsent(&app).await);
    }
    for _ in 0..101 {
        let entry = |id: usize| {
            let entry = SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body("an answer");
            entry.build().unwrap()
        };
        let batch = sqs.send_message_batch().queue_url(&jammed).set_entries(Some((0..10).map(entry).collect()));
        batch.send().await.unwrap();
    }
    let swept = sweep(&app, &context()).await.unwrap();
    // Ten of each of the eight shards at most.
    assert!(swept.is_held_back && (40..=80).contains(&swept.resent), "{swept:?}");
    sqs.purge_queue().queue_url(&jammed).send().await.unwrap();
    let swept = sweep(&app, &context()).await.unwrap();
    assert!(!swept.is_held_back && swept.resent >= 80, "{swept:?}");
    // Where nobody answers, nothing is due that was sent before, and nobody asks the queues.
    app.sales = app.sales.answered(false);
    app.ways.urls = [(); 2].map(|()| format!("{jammed}-gone"));
    assert!(!sweep(&app, &context()).await.unwrap().is_held_back);
    let is_received = |domain: &SalesDomain| {
        let known = domain.transactions();
        keys.iter().all(|key| known.contains_key(&key.transaction_id.to_string()))
    };
    assert!(sales_domain.wait_until(Duration::from_secs(20), is_received));
    sqs.delete_queue().queue_url(&jammed).send().await.unwrap();
}
