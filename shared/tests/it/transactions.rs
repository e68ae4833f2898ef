//! The one door into the transactions table.

use aws_sdk_dynamodb::Client;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use shared::domain::{ConfigurationId, EventId, ExternalOrderId, Minor, SourceVersion, TenantScope, Transaction};
use shared::queue::sales::TransactionEvent;
use shared::store::transactions::{
    Answered, Candidate, PutOutcome, Rejected, RejectedBy, Stored, TransactionKey, Transactions, Wanted,
};
use shared::telemetry::TraceParent;

use crate::stack::{scope, stack};

const RESEND: SignedDuration = SignedDuration::from_secs(60);

fn table() -> Transactions {
    Transactions::new(Client::new(&stack().config()), stack().output("TransactionsTable").unwrap().to_owned())
}

fn transaction(configuration: ConfigurationId, order: &str, version: i64, total: i64) -> Transaction {
    let id = shared::domain::TransactionId::derive(
        "2026-02-14T08:00:00Z".parse().unwrap(),
        configuration,
        &ExternalOrderId::new(order).unwrap(),
        shared::domain::TransactionKind::Sale,
    );
    serde_json::from_value(serde_json::json!({
        "id": id, "provider": "square", "configuration_id": configuration, "kind": "sale", "status": "completed",
        "external_order_id": order, "source_version": version, "location_id": "L1",
        "created_at": "2026-02-14T08:00:00Z", "occurred_at": "2026-02-14T08:00:00Z", "business_date": "2026-02-14",
        "currency": "USD", "line_items": [],
        "amounts": {
            "gross_minor": total, "discount_minor": 0, "tax_minor": 0, "tax_included_minor": 0,
            "service_charge_minor": 0, "tip_minor": 0, "rounding_minor": 0, "total_minor": total,
        },
    }))
    .unwrap()
}

/// A copy with a version, read at a second, that came to a total.
#[derive(Debug, Clone, Copy)]
struct Copy {
    version: i64,
    read_at: Option<i64>,
    total: i64,
}

struct Order {
    table: Transactions,
    scope: TenantScope,
    configuration: ConfigurationId,
}

impl Order {
    fn new() -> Self {
        Self { table: table(), scope: scope("t_store"), configuration: ConfigurationId::generate() }
    }

    async fn put(&self, copy: Copy) -> PutOutcome {
        let cause = EventId::new(format!("event-{}-{:?}", copy.version, copy.read_at)).unwrap();
        let candidate = Candidate {
            transaction: transaction(self.configuration, "ORDER", copy.version, copy.total),
            observed_at: copy.read_at.map(|at| Timestamp::from_second(1_770_000_000 + at).unwrap()),
            cause: &cause,
        };
        let known = self.table.find(&self.key()).await.unwrap();
        self.table.put_if_newer(known, &self.scope, candidate, RESEND).await.unwrap()
    }

    fn key(&self) -> TransactionKey {
        TransactionKey {
            scope: self.scope.clone(),
            configuration_id: self.configuration,
            transaction_id: transaction(self.configuration, "ORDER", 0, 0).id,
        }
    }

    async fn stored(&self) -> Stored {
        self.table.find(&self.key()).await.unwrap().unwrap()
    }
}

fn copy(version: i64, read_at: i64, total: i64) -> Copy {
    Copy { version, read_at: Some(read_at), total }
}

/// Sent by the provider, and read by nobody.
fn pushed(version: i64, total: i64) -> Copy {
    Copy { version, read_at: None, total }
}

#[tokio::test]
async fn an_older_copy_never_overwrites_a_newer_transaction() {
    let order = Order::new();
    assert!(matches!(order.put(copy(2, 10, 500)).await, PutOutcome::Recorded(_)));
    assert!(matches!(order.put(copy(1, 20, 400)).await, PutOutcome::Stale(_)));
    assert_eq!(order.stored().await.transaction.amounts.total, Minor(500));
}

#[tokio::test]
async fn of_two_copies_with_one_version_the_one_read_later_counts() {
    let order = Order::new();
    order.put(copy(1, 10, 500)).await;
    assert!(matches!(order.put(copy(1, 5, 400)).await, PutOutcome::Stale(_)));
    assert!(matches!(order.put(copy(1, 11, 600)).await, PutOutcome::Recorded(_)));
    let stored = order.stored().await;
    assert_eq!((stored.revision, stored.transaction.amounts.total), (2, Minor(600)));
}

#[tokio::test]
async fn the_same_content_makes_no_revision_but_its_newer_version_is_known() {
    let order = Order::new();
    order.put(copy(1, 10, 500)).await;
    assert!(matches!(order.put(copy(1, 11, 500)).await, PutOutcome::Unanswered(_)));
    assert!(matches!(order.put(copy(3, 12, 500)).await, PutOutcome::Unanswered(_)));
    assert!(matches!(order.put(copy(2, 13, 400)).await, PutOutcome::Stale(_)));
    let stored = order.stored().await;
    assert_eq!((stored.revision, stored.transaction.source_version), (1, SourceVersion(3)));
}

#[tokio::test]
async fn a_pushed_copy_counts_by_its_version_and_gives_way_to_any_that_was_read() {
    let order = Order::new();
    let total = async || order.stored().await.transaction.amounts.total;
    assert!(matches!(order.put(pushed(1, 100)).await, PutOutcome::Recorded(_)));
    assert!(
        matches!(order.put(pushed(1, 150)).await, PutOutcome::Stale(_)),
        "of two pushed ones, neither is the later"
    );
    assert!(matches!(order.put(copy(1, 0, 200)).await, PutOutcome::Recorded(_)));
    assert!(matches!(order.put(pushed(1, 100)).await, PutOutcome::Stale(_)));
    assert_eq!((total().await, order.stored().await.observed_at.is_some()), (Minor(200), true));
    // The same content under a newer version, which nobody has read.
    assert!(matches!(order.put(pushed(2, 200)).await, PutOutcome::Unanswered(_)));
    assert_eq!(order.stored().await.observed_at, None);
    assert!(matches!(order.put(pushed(3, 300)).await, PutOutcome::Recorded(_)));
    assert_eq!((total().await, order.stored().await.observed_at), (Minor(300), None));
}

impl Order {
    async fn accept(&self, revision: u64) -> Answered {
        self.table.accept(&self.key(), revision, &format!("S-{revision}")).await.unwrap().0
    }

    async fn reject(&self, revision: u64) -> Answered {
        self.reject_by(revision, None).await
    }

    async fn reject_by(&self, revision: u64, reply_id: Option<&str>) -> Answered {
        let why = Rejected { code: "no_shop".into(), reason: "unknown shop".into(), at: Timestamp::now() };
        self.table.reject(&self.key(), revision, RejectedBy { why: &why, reply_id }).await.unwrap()
    }

    async fn rejected(&self) -> Vec<TransactionKey> {
        let page = self.table.list_rejected(&self.scope, self.configuration, 10, None).await.unwrap();
        page.items.into_iter().map(|entry| entry.key).collect()
    }
}

#[tokio::test]
async fn an_answer_clears_the_mark_of_its_revision_only() {
    let order = Order::new();
    assert_eq!((order.accept(1).await, order.reject(1).await), (Answered::Unknown, Answered::Unknown));
    order.put(copy(1, 10, 500)).await;
    assert_eq!((order.accept(2).await, order.reject(2).await), (Answered::Unknown, Answered::Unknown));
    assert!(order.stored().await.outbox.is_some());
    assert_eq!(order.accept(1).await, Answered::Current);
    assert_eq!((order.accept(1).await, order.reject(1).await), (Answered::Repeat, Answered::Repeat));
    let stored = order.stored().await;
    assert_eq!((stored.outbox, stored.sales_record_id.as_deref(), stored.rejected), (None, Some("S-1"), None));
    assert!(matches!(order.put(copy(1, 11, 500)).await, PutOutcome::Unchanged(_)));

    order.put(copy(2, 12, 600)).await;
    assert_eq!((order.accept(1).await, order.reject(1).await), (Answered::Superseded, Answered::Superseded));
    let stored = order.stored().await;
    assert!(stored.outbox.is_some() && stored.acknowledged_revision == Some(1) && stored.rejected.is_none());
}

#[tokio::test]
async fn answers_in_any_order_come_to_the_same() {
    const ANSWERS: [(bool, u64); 4] = [(true, 1), (false, 1), (true, 2), (false, 2)];
    for skipped in [None, Some((true, 2)), Some((true, 1))] {
        let mut said: Vec<(bool, u64)> = ANSWERS.into_iter().filter(|answer| Some(*answer) != skipped).collect();
        for turn in 0..said.len() {
            said.rotate_left(1);
            said.swap(0, turn);
            let order = Order::new();
            order.put(copy(1, 10, 500)).await;
            order.put(copy(2, 12, 600)).await;
            for (is_accepted, revision) in said.iter().chain(&said).copied() {
                if is_accepted {
                    order.accept(revision).await
                } else {
                    order.reject(revision).await
                };
            }
            let stored = order.stored().await;
            let (acknowledged, is_rejected) =
                if skipped == Some((true, 2)) { (Some(1), true) } else { (Some(2), false) };
            assert_eq!(
                (stored.outbox, stored.acknowledged_revision, stored.rejected.is_some()),
                (None, acknowledged, is_rejected),
                "{said:?}"
            );
            assert_eq!(order.rejected().await.is_empty(), !is_rejected);
        }
    }
}

#[tokio::test]
async fn what_was_rejected_is_listed_until_it_is_sent_again_or_changes() {
    let order = Order::new();
    order.put(copy(1, 10, 500)).await;
    assert!(!order.table.send_again(&order.key(), &TraceParent::generate()).await.unwrap(), "it was not rejected");
    order.reject(1).await;
    assert_eq!(order.rejected().await, [order.key()]);
    let asked = TraceParent::generate();
    assert!(order.table.send_again(&order.key(), &asked).await.unwrap());
    let due = order.table.find(&order.key()).await.unwrap().unwrap();
    let event = serde_json::to_value(TransactionEvent::of(&due, &TraceParent::generate())).unwrap();
    assert_eq!(event["traceparent"].as_str().unwrap()[3..35], *asked.trace_id(), "it is sent in the asker's trace");
    let stored = order.stored().await;
    assert_eq!((stored.rejected, stored.outbox.map(|mark| mark.attempts)), (None, Some(0)));
    // It is due at once, and may be rejected again.
    let mut is_due = false;
    for shard in Transactions::outbox_shards() {
        is_due |= order.table.list_due(shard, Timestamp::now(), 1000, None).await.unwrap().items.contains(&order.key());
    }
    assert!(is_due);
    assert_eq!(order.reject(1).await, Answered::Current);
    order.put(copy(2, 12, 600)).await;
    let stored = order.stored().await;
    assert!(stored.rejected.is_none() && stored.outbox.is_some() && order.rejected().await.is_empty());
}

#[tokio::test]
async fn a_late_repeat_of_a_rejection_does_not_end_the_next_attempt_and_a_new_one_does() {
    let order = Order::new();
    order.put(copy(1, 10, 500)).await;
    assert_eq!(order.reject_by(1, Some("reply-1")).await, Answered::Current);
    assert!(order.table.send_again(&order.key(), &TraceParent::generate()).await.unwrap());
    assert_eq!(order.reject_by(1, Some("reply-1")).await, Answered::Repeat);
    assert!(order.stored().await.outbox.is_some(), "it is still to be sent");
    assert_eq!(order.reject_by(1, Some("reply-2")).await, Answered::Current);
    assert_eq!(order.rejected().await, [order.key()]);
}

#[tokio::test]
async fn an_answer_between_reading_and_writing_is_not_lost() {
    let order = Order::new();
    order.put(copy(1, 10, 500)).await;
    let seen = order.stored().await;
    order.accept(1).await;
    let cause = EventId::new("event").unwrap();
    let transaction = transaction(order.configuration, "ORDER", 2, 600);
    let candidate = Candidate { transaction, observed_at: Some(Timestamp::now()), cause: &cause };
    order.table.put_if_newer(Some(seen), &order.scope, candidate, RESEND).await.unwrap();
    let stored = order.stored().await;
    assert_eq!(
        (stored.revision, stored.acknowledged_revision, stored.sales_record_id.as_deref()),
        (2, Some(1), Some("S-1"))
    );
}

#[tokio::test]
async fn where_nobody_answers_what_was_sent_is_done() {
    let order = Order::new();
    order.put(copy(1, 10, 500)).await;
    let sent = order.stored().await;
    order.table.settle_sent(&sent).await.unwrap();
    assert_eq!(order.stored().await.outbox, None);
    order.put(copy(2, 12, 600)).await;
    order.table.settle_sent(&sent).await.unwrap();
    assert!(order.stored().await.outbox.is_some(), "that was an older one");
}

#[tokio::test]
async fn what_is_not_acknowledged_becomes_due_and_can_be_postponed() {
    let order = Order::new();
    order.put(copy(1, 10, 500)).await;
    let is_due = async |at: Timestamp| {
        let mut due = false;
        for shard in Transactions::outbox_shards() {
            due |= order.table.list_due(shard, at, 1000, None).await.unwrap().items.contains(&order.key());
        }
        due
    };
    let later = Timestamp::now() + RESEND + SignedDuration::from_secs(1);
    assert!(!is_due(Timestamp::now()).await);
    assert!(is_due(later).await);
    order.table.postpone(&order.stored().await, 1, later + RESEND).await.unwrap();
    assert!(!is_due(later).await);
    assert_eq!(order.stored().await.outbox.unwrap().attempts, 1);
    order.accept(1).await;
    order.table.postpone(&order.stored().await, 2, later).await.unwrap();
    assert!(!is_due(later + RESEND + RESEND).await);
}

#[tokio::test]
async fn a_day_and_an_order_are_found_and_listed_by_page() {
    let (table, scope, configuration) = (table(), scope("t_list"), ConfigurationId::generate());
    let cause = EventId::new("event").unwrap();
    for number in 0..7 {
        let transaction = transaction(configuration, &format!("ORDER{number}"), 1, number);
        let candidate = Candidate { transaction, observed_at: Some(Timestamp::UNIX_EPOCH), cause: &cause };
        table.put_if_newer(None, &scope, candidate, RESEND).await.unwrap();
    }
    let (date, shop, other) = ("2026-02-14".parse().unwrap(), "L1".parse().unwrap(), "L".parse().unwrap());
    for wanted in [Wanted::All, Wanted::Day(date), Wanted::ShopDay(date, &shop)] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = table.list(&scope, configuration, wanted, 3, after).await.unwrap();
            found.extend(page.items.into_iter().map(|stored| stored.transaction.amounts.total.0));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3, 4, 5, 6], "{wanted:?}");
    }
    for wanted in [Wanted::Day("2026-02-15".parse().unwrap()), Wanted::ShopDay(date, &other)] {
        assert!(table.list(&scope, configuration, wanted, 3, None).await.unwrap().items.is_empty(), "{wanted:?}");
    }
    let order = ExternalOrderId::new("ORDER3").unwrap();
    assert_eq!(table.find_by_order(&scope, configuration, &order).await.unwrap().len(), 1);
    let stranger = crate::stack::scope("t_stranger");
    assert!(table.find_by_order(&stranger, configuration, &order).await.unwrap().is_empty());
    assert!(table.list(&stranger, configuration, Wanted::All, 3, None).await.unwrap().items.is_empty());
}

/// Whatever the order of arrival, whatever the repeats, two writers at a time: the newest copy is what stays, and the
/// revisions have no gaps.
#[test]
fn the_newest_copy_stays_whatever_the_order_of_arrival() {
    // Two contents under one version, one content under two versions (of which one was pushed), and a content that comes back.
    let copies = [copy(1, 1, 100), copy(2, 2, 200), copy(2, 4, 250), pushed(3, 250), copy(4, 6, 100), copy(5, 7, 200)];
    let arrivals = proptest::collection::vec(0..copies.len(), 1..12)
        .prop_map(move |picks| picks.into_iter().map(|pick| copies[pick]).collect::<Vec<_>>());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(arrivals in arrivals)| {
        runtime.block_on(async {
            let order = Order::new();
            for pair in arrivals.chunks(2) {
                match pair {
                    [one, two] => { tokio::join!(order.put(*one), order.put(*two)); }
                    _ => { order.put(pair[0]).await; }
                }
            }
            let newest = arrivals.iter().max_by_key(|copy| (copy.version, copy.read_at)).unwrap();
            let stored = order.stored().await;
            prop_assert_eq!(stored.transaction.amounts.total, Minor(newest.total));
            prop_assert_eq!(stored.transaction.source_version, SourceVersion(newest.version));
            let revisions: Vec<u64> = stored.history.iter().map(|revision| revision.revision).collect();
            prop_assert_eq!(&revisions, &(1..=stored.revision).collect::<Vec<_>>());
            Ok(())
        })?;
    });
}

#[tokio::test]
async fn what_earlier_revisions_said_is_kept_for_fifty_of_them() {
    let order = Order::new();
    for version in 1..=53 {
        order.put(copy(version, version, 100 + version)).await;
    }
    let history = order.stored().await.history;
    let totals: Vec<_> = history.iter().map(|it| it.content.as_ref().map(|content| content.amounts.total.0)).collect();
    let expected: Vec<_> = (1..=53).map(|version| (3..53).contains(&version).then_some(100 + version)).collect();
    assert_eq!(totals, expected, "not of the first two, and not of the latest, which is the transaction itself");
    assert!(history.is_sorted_by_key(|revision| (revision.at, revision.revision)));
    assert!(
        history.iter().all(|it| it.normalizer.is_some() && it.total.0 == 100 + i64::try_from(it.revision).unwrap())
    );
    // Whoever shows a history shows no content with it.
    assert!(!serde_json::to_string(&history).unwrap().contains("line_items"));
}
