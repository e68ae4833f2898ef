//! Rebuilds: cut off anywhere, and what has changed since it was shown.

use jiff::civil::Date;
use local::{Answers, Fault, Proxy, SalesDomain};
use normalizer::rebuild::{Plan, Replayed};
use shared::archive::RawRecord;
use shared::domain::{DayOutcome, EventId, JobId, Minor, PastDay, PastJob, PastState, RebuiltDay, ShopDay};
use shared::providers::RawOrder;
use shared::queue::intake::OrdersMessage;
use shared::store::transactions::{Candidate, PutOutcome, Stored, Transactions};

use crate::bench::{Bench, PATIENCE, work};
use crate::crashes::cut_off;
use crate::jobs::Desk;
use crate::sync_page::Page;

const NOTHING: [String; 0] = [];

impl Desk<'_> {
    fn table(&self) -> Transactions {
        let client = aws_sdk_dynamodb::Client::new(&self.bench.bakery.stack.config());
        Transactions::new(client, self.bench.bakery.stack.output("TransactionsTable").unwrap().to_owned())
    }

    /// So many orders of that day, read and stored.
    async fn sold_on(&self, test: &str, count: usize, day: Date) -> Page {
        let mut page = Page::of(self.bench, self.bench.orders(test, count));
        for order in &mut page.orders {
            for time in ["created_at", "updated_at", "closed_at"] {
                order[time] = format!("{day}T17:00:00Z").into();
            }
        }
        assert_eq!(work(&self.bench.app(&Proxy::start().unwrap()), page.event(1)).await, NOTHING);
        page
    }

    /// A transaction of the table is gone, as after an accident.
    async fn lose(&self, stored: &Stored) {
        let client = aws_sdk_dynamodb::Client::new(&self.bench.bakery.stack.config());
        let OrdersMessage { scope, configuration_id, .. } = &self.owner;
        let owner = format!("{}#{configuration_id}", scope.tenant_id());
        let request = client.delete_item().table_name(self.bench.bakery.stack.output("TransactionsTable").unwrap());
        let text = aws_sdk_dynamodb::types::AttributeValue::S;
        let request = request.key("configuration_key", text(owner));
        request.key("transaction_id", text(stored.transaction.id.to_string())).send().await.unwrap();
    }

    /// A transaction as another release has made it of the same copy.
    async fn misread(&self, stored: &Stored) -> Stored {
        let mut transaction = stored.transaction.clone();
        transaction.amounts.tip = Minor(transaction.amounts.tip.0 + 7);
        let cause = EventId::of_rebuild(JobId::generate());
        let candidate = Candidate { transaction, observed_at: stored.observed_at, cause: &cause };
        let later = jiff::SignedDuration::from_hours(1);
        let put = self.table().rebuild(Some(stored.clone()), &self.owner.scope, candidate, later).await.unwrap();
        let PutOutcome::Recorded(stored) = put else { panic!("{put:?}") };
        *stored
    }

    async fn rebuild_of(&self, day: Date) -> JobId {
        let job = PastJob::new(JobId::generate(), "somebody".into(), (day, day));
        let OrdersMessage { scope, configuration_id, .. } = &self.owner;
        assert!(self.logs.save_past_job::<RebuiltDay>(scope, *configuration_id, &job, None).await.unwrap());
        job.id
    }

    async fn shown(&self, id: JobId) -> Vec<RebuiltDay> {
        let OrdersMessage { scope, configuration_id, .. } = &self.owner;
        self.logs.list_past_days::<RebuiltDay>(scope, *configuration_id, id, 100, None).await.unwrap().items
    }
}

fn contents(stored: &[Stored]) -> Vec<String> {
    let mut contents: Vec<String> =
        stored.iter().map(|it| format!("{} {}", it.transaction.id, it.content_id())).collect();
    contents.sort_unstable();
    contents
}

/// The order of one transaction, to be read once more.
fn only(bench: &Bench, page: &Page, of: &Stored) -> Page {
    let order = page.orders.iter().find(|order| order["id"] == of.transaction.external_order_id.as_str());
    Page::of(bench, vec![order.unwrap().clone()])
}

#[tokio::test]
async fn a_rebuild_that_is_cut_off_anywhere_does_what_was_shown_once() {
    let bench = Bench::open("normalizer-rebuild");
    let (desk, sales_domain) = (Desk::of(&bench), SalesDomain::start(&bench.bakery.stack, Answers::Never));
    let mut day: Date = "2024-03-01".parse().unwrap();
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let (mut previews, mut applications) = (0, 0);
        for nth in 1..60 {
            day = day.tomorrow().unwrap();
            let page = desk.sold_on(&format!("rebuild-{fault:?}-{nth}"), 3, day).await;
            let before = page.stored(&bench).await;
            desk.lose(&before[0]).await;
            desk.misread(&before[1]).await;
            let id = desk.rebuild_of(day).await;
            let proxy = Proxy::start().unwrap();
            if cut_off(&bench, &proxy, nth, fault, desk.job("preview_rebuild", id, 1)).await {
                previews = nth;
            }
            desk.done("preview_rebuild", id, 2).await;
            let shown = desk.job_of::<RebuiltDay>(id).await;
            assert_eq!((shown.state, shown.days_previewed, shown.transactions), (PastState::Previewed, 1, 2));
            let days = desk.shown(id).await;
            let counts: Vec<_> =
                days.iter().map(|it| (it.created, it.changed, it.same, it.uncovered, it.failed)).collect();
            assert_eq!(counts, [(1, 1, 1, 0, 0)], "call {nth} {fault:?}");
            assert_eq!(page.stored(&bench).await.len(), 2, "nothing has changed yet");

            desk.agree::<RebuiltDay>(id).await;
            let proxy = Proxy::start().unwrap();
            let has_crashed = cut_off(&bench, &proxy, nth, fault, desk.job("apply_rebuild", id, 1)).await;
            if has_crashed {
                applications = nth;
            }
            desk.done("apply_rebuild", id, 2).await;
            let done = desk.job_of::<RebuiltDay>(id).await;
            assert_eq!(
                (done.state, done.days_applied, done.transactions_applied, done.days_skipped),
                (PastState::Applied, 1, 2, 0),
                "call {nth} {fault:?}"
            );
            let after = page.stored(&bench).await;
            assert_eq!(contents(&after), contents(&before), "call {nth} {fault:?}");
            let revision = |of: &Stored| after.iter().find(|it| it.key == of.key).unwrap().revision;
            assert_eq!([revision(&before[0]), revision(&before[1]), revision(&before[2])], [1, 3, 1]);
            let is_received = sales_domain.wait_until(PATIENCE, |domain| {
                let known = domain.transactions();
                let has = |it: &Stored| {
                    known.get(&it.transaction.id.to_string()).is_some_and(|at| at.revision == it.revision)
                };
                after.iter().all(has)
            });
            assert!(is_received, "call {nth} {fault:?}");
            if !has_crashed {
                break;
            }
        }
        println!("calls of a rebuild of one shop's day: {previews} to show it, {applications} to do it, {fault:?}");
        // The configuration; each of its shops: how far it is, what was kept, what is stored; of the one that has sold
        // something, its key, its transactions, its products, its row; and the end.
        assert!(previews >= 12 && applications >= 12, "{previews} {applications} {fault:?}");
    }
}

#[tokio::test]
async fn a_shops_day_that_has_changed_since_it_was_shown_is_left_alone() {
    let bench = Bench::open("normalizer-rebuilt-day");
    let desk = Desk::of(&bench);
    let day: Date = "2024-02-01".parse().unwrap();
    let page = desk.sold_on("left-alone", 3, day).await;
    let before = page.stored(&bench).await;
    desk.misread(&before[0]).await;
    let id = desk.rebuild_of(day).await;
    desk.done("preview_rebuild", id, 1).await;
    let shown = desk.shown(id).await.remove(0);
    assert_eq!((shown.changed, shown.transactions.len()), (1, 1));
    assert_eq!(shown.transactions[0].id, before[0].transaction.id);
    assert_eq!(shown.amounts[0].amounts.tip, Minor(-7));
    assert_ne!(shown.hash_now, shown.hash_then);

    // Another is misread before anybody has agreed: more would change than was shown.
    let other = desk.misread(&before[1]).await;
    desk.agree::<RebuiltDay>(id).await;
    desk.done("apply_rebuild", id, 1).await;
    let done = desk.job_of::<RebuiltDay>(id).await;
    assert_eq!((done.state, done.transactions_applied, done.days_skipped), (PastState::Applied, 0, 1));
    assert_eq!(desk.shown(id).await[0].outcome(), Some(DayOutcome::ChangedSincePreview));

    // What the till changes meanwhile is news of its own, and the newer copy counts.
    let id = desk.rebuild_of(day).await;
    desk.done("preview_rebuild", id, 1).await;
    let mut edited = only(&bench, &page, &before[2]);
    edited.orders[0]["updated_at"] = format!("{day}T18:00:00Z").into();
    edited.orders[0]["line_items"][0]["name"] = "Renamed".into();
    assert_eq!(work(&bench.app(&Proxy::start().unwrap()), edited.event(1)).await, NOTHING);
    desk.agree::<RebuiltDay>(id).await;
    desk.done("apply_rebuild", id, 1).await;
    // What was shown is still what would change, so it is done; the edited one is not part of it.
    let done = desk.job_of::<RebuiltDay>(id).await;
    assert_eq!((done.transactions_applied, done.days_skipped), (2, 0));
    let after = page.stored(&bench).await;
    let of = |known: &Stored| after.iter().find(|it| it.key == known.key).unwrap();
    assert_eq!(of(&before[0]).content_id(), before[0].content_id());
    assert_eq!((of(&other).content_id(), of(&other).revision), (before[1].content_id(), 3));
    assert!(of(&before[2]).transaction.line_items[0].name.starts_with("Renamed"));

    // A copy that is read later is judged as if nobody had rebuilt anything.
    let mut again = only(&bench, &page, &before[0]);
    again.orders[0]["updated_at"] = format!("{day}T16:00:00Z").into();
    assert_eq!(work(&bench.app(&Proxy::start().unwrap()), again.event(1)).await, NOTHING);
    assert_eq!(page.stored(&bench).await.iter().find(|it| it.key == before[0].key).unwrap().revision, 3, "older");
}

/// A crash may come between a sale's new revision, which is of another day, and what follows from it on both days.
#[tokio::test]
async fn what_a_rebuild_has_moved_is_done_on_the_day_that_it_was_moved_from_and_on_no_other() {
    let bench = Bench::open("normalizer-moved");
    let desk = Desk::of(&bench);
    let page = desk.sold_on("moved", 1, "2024-02-27".parse().unwrap()).await;
    let before = page.stored(&bench).await.remove(0);
    let (old, mut transaction) = (ShopDay::of(&before.transaction), before.transaction.clone());
    transaction.business_date = transaction.business_date.tomorrow().unwrap();
    let new = ShopDay::of(&transaction);
    let cause = EventId::of_rebuild(JobId::generate());
    let candidate = Candidate { transaction: transaction.clone(), observed_at: before.observed_at, cause: &cause };
    let later = jiff::SignedDuration::from_hours(1);
    let put = desk.table().rebuild(Some(before.clone()), &desk.owner.scope, candidate, later).await.unwrap();
    let PutOutcome::Recorded(moved) = put else { panic!("{put:?}") };

    let body = serde_json::to_vec(&page.orders[0]).unwrap();
    let observed_at = before.observed_at.unwrap();
    let order = RawOrder { body, location: None, paid_offline_at: None, observed_at };
    let record = RawRecord { order, is_pushed: false, of: vec![transaction.id], left: Vec::new() };
    let plan = |day: &ShopDay| {
        let replayed = Replayed::of(std::slice::from_ref(&record), |_| Some(vec![transaction.clone()]));
        Plan::new(day, vec![(*moved).clone()], replayed, &cause)
    };
    assert_eq!((plan(&old).changes.len(), plan(&old).done.len()), (0, 1));
    assert_eq!((plan(&new).changes.len(), plan(&new).done.len()), (0, 0));
}
