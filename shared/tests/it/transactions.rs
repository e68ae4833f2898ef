//! The one door into the transactions table.

use aws_sdk_dynamodb::Client;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use shared::domain::{ConfigurationId, EventId, ExternalOrderId, Minor, SourceVersion, TenantScope, Transaction};
use shared::store::transactions::{Acknowledged, Candidate, PutOutcome, Stored, TransactionKey, Transactions};

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
        self.table.put_if_newer(&self.scope, candidate, RESEND).await.unwrap()
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

#[tokio::test]
async fn an_acknowledgement_clears_the_mark_of_its_revision_only() {
    let order = Order::new();
    let acknowledge = async |revision| order.table.acknowledge(&order.key(), revision, "S-1").await.unwrap();
    assert_eq!(acknowledge(1).await, Acknowledged::Unknown);
    order.put(copy(1, 10, 500)).await;
    assert_eq!(acknowledge(2).await, Acknowledged::Unknown);
    assert!(order.stored().await.outbox.is_some());
    assert_eq!(acknowledge(1).await, Acknowledged::Current);
    assert_eq!(acknowledge(1).await, Acknowledged::Current);
    let stored = order.stored().await;
    assert_eq!((stored.outbox, stored.sales_record_id.as_deref()), (None, Some("S-1")));
    assert!(matches!(order.put(copy(1, 11, 500)).await, PutOutcome::Unchanged(_)));

    order.put(copy(2, 12, 600)).await;
    assert_eq!(acknowledge(1).await, Acknowledged::Superseded);
    let stored = order.stored().await;
    assert!(stored.outbox.is_some() && stored.acknowledged_revision == Some(1));
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
    order.table.acknowledge(&order.key(), 1, "S-1").await.unwrap();
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
        table.put_if_newer(&scope, candidate, RESEND).await.unwrap();
    }
    for date in [None, Some("2026-02-14".parse().unwrap())] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = table.list(&scope, configuration, date, 3, after).await.unwrap();
            found.extend(page.items.into_iter().map(|stored| stored.transaction.amounts.total.0));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3, 4, 5, 6], "{date:?}");
    }
    let other_day = Some("2026-02-15".parse().unwrap());
    assert!(table.list(&scope, configuration, other_day, 3, None).await.unwrap().items.is_empty());
    let order = ExternalOrderId::new("ORDER3").unwrap();
    assert_eq!(table.find_by_order(&scope, configuration, &order).await.unwrap().len(), 1);
    let stranger = crate::stack::scope("t_stranger");
    assert!(table.find_by_order(&stranger, configuration, &order).await.unwrap().is_empty());
    assert!(table.list(&stranger, configuration, None, 3, None).await.unwrap().items.is_empty());
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
