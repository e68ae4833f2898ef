//! Imports and remappings, cut off anywhere, and what has changed since it was shown.

use aws_lambda_events::sqs::SqsEvent;
use jiff::Timestamp;
use jiff::civil::Date;
use lambda_runtime::LambdaEvent;
use local::{Answers, Fault, Proxy, SalesDomain};
use serde_json::json;
use shared::domain::{DayOutcome, Import, JobId, PastDay, PastJob, PastState, RemappedDay};
use shared::queue::intake::OrdersMessage;
use shared::store::product_mappings::{MappingChange, ProductMappings};
use shared::store::sync_logs::SyncLogs;

use crate::bench::{Bench, PATIENCE, bench, event, record, work};
use crate::crashes::cut_off;
use crate::sync_page::Page;

const NOTHING: [String; 0] = [];
/// Long before anything else that is sold here.
pub const DAY: &str = "2025-03-05";

/// A tenant's desk: what it says of its items, and what it asks for.
pub struct Desk<'b> {
    pub bench: &'b Bench,
    pub owner: OrdersMessage,
    owner_key: String,
    pub logs: SyncLogs,
    mappings: ProductMappings,
}

impl<'b> Desk<'b> {
    pub fn of(bench: &'b Bench) -> Self {
        let page = Page::of(bench, Vec::new());
        let client = aws_sdk_dynamodb::Client::new(&bench.bakery.stack.config());
        let table = |name: &str| bench.bakery.stack.output(name).unwrap().to_owned();
        Self {
            bench,
            owner: page.message(),
            owner_key: page.owner,
            logs: SyncLogs::new(client.clone(), table("SyncLogsTable")),
            mappings: ProductMappings::new(client, table("ProductMappingsTable")),
        }
    }

    /// So many orders of that day, each with this item, read and stored.
    pub async fn sold(&self, test: &str, count: usize, item: &str) -> Page {
        let mut page = Page::of(self.bench, self.bench.orders(test, count));
        for order in &mut page.orders {
            for time in ["created_at", "updated_at", "closed_at"] {
                order[time] = format!("{DAY}T17:00:00Z").into();
            }
            order["line_items"][0]["catalog_object_id"] = item.into();
        }
        let proxy = Proxy::start().unwrap();
        assert_eq!(work(&self.bench.app(&proxy), page.event(1)).await, NOTHING);
        page
    }

    pub async fn map(&self, item: &str, product: Option<&str>) {
        let product_id = product.map(|id| id.parse().unwrap());
        let change = MappingChange { item_id: item.to_owned(), product_id };
        let said = ("somebody", Timestamp::now());
        self.mappings.map(&self.owner.scope, self.owner.configuration_id, &[change], said).await.unwrap();
    }

    pub fn job(&self, job: &str, id: JobId, attempt: u32) -> LambdaEvent<SqsEvent> {
        let mut record = record(0, &json!({ "job": job, "id": id }).to_string(), attempt);
        record["messageAttributes"] = json!({
            "kind": { "stringValue": "mapping-job.v1", "dataType": "String" },
            "configuration": { "stringValue": self.owner_key, "dataType": "String" },
        });
        event(json!({ "Records": [record] }))
    }

    pub async fn done(&self, job: &str, id: JobId, attempt: u32) {
        let proxy = Proxy::start().unwrap();
        assert_eq!(work(&self.bench.app(&proxy), self.job(job, id, attempt)).await, NOTHING);
    }

    pub async fn begin<D: PastDay>(&self) -> JobId {
        let day: Date = DAY.parse().unwrap();
        let range = (day.yesterday().unwrap(), day.tomorrow().unwrap());
        let job = PastJob::new(JobId::generate(), "somebody".into(), range);
        let OrdersMessage { scope, configuration_id, .. } = &self.owner;
        assert!(self.logs.save_past_job::<D>(scope, *configuration_id, &job, None).await.unwrap());
        job.id
    }

    pub async fn agree<D: PastDay>(&self, id: JobId) {
        let OrdersMessage { scope, configuration_id, .. } = &self.owner;
        let seen = self.logs.find_past_job::<D>(scope, *configuration_id, id).await.unwrap().unwrap();
        assert_eq!(seen.job.state, PastState::Previewed);
        let agreed = PastJob { state: PastState::Applying, ..seen.job.clone() };
        assert!(self.logs.save_past_job::<D>(scope, *configuration_id, &agreed, Some(&seen)).await.unwrap());
    }

    pub async fn job_of<D: PastDay>(&self, id: JobId) -> PastJob {
        let OrdersMessage { scope, configuration_id, .. } = &self.owner;
        self.logs.find_past_job::<D>(scope, *configuration_id, id).await.unwrap().unwrap().job
    }

    /// Revisions and products of what was sold.
    pub async fn counted_as(&self, page: &Page) -> Vec<(u64, Option<String>)> {
        let stored = page.stored(self.bench).await;
        let product = |line: &shared::domain::LineItem| line.product_id.clone().map(String::from);
        stored.iter().map(|it| (it.revision, product(&it.transaction.line_items[0]))).collect()
    }
}

#[tokio::test]
async fn a_remapping_that_is_cut_off_anywhere_does_what_was_shown_once() {
    let bench = Bench::open("normalizer-remapping");
    let (desk, sales_domain) = (Desk::of(&bench), SalesDomain::start(&bench.bakery.stack, Answers::Never));
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        let (mut previews, mut applications) = (0, 0);
        for nth in 1..40 {
            let item = format!("ITEM-{fault:?}-{nth}");
            let page = desk.sold(&format!("remap-{fault:?}-{nth}"), 3, &item).await;
            desk.map(&item, Some("bun")).await;
            let id = desk.begin::<RemappedDay>().await;
            let proxy = Proxy::start().unwrap();
            if cut_off(&bench, &proxy, nth, fault, desk.job("preview", id, 1)).await {
                previews = nth;
            }
            desk.done("preview", id, 2).await;
            let shown = desk.job_of::<RemappedDay>(id).await;
            assert_eq!((shown.state, shown.days_previewed, shown.transactions), (PastState::Previewed, 3, 3));
            assert_eq!(desk.counted_as(&page).await, vec![(1, None); 3], "nothing has changed yet");

            desk.agree::<RemappedDay>(id).await;
            let proxy = Proxy::start().unwrap();
            let has_crashed = cut_off(&bench, &proxy, nth, fault, desk.job("apply", id, 1)).await;
            if has_crashed {
                applications = nth;
            }
            desk.done("apply", id, 2).await;
            let done = desk.job_of::<RemappedDay>(id).await;
            assert_eq!(
                (done.state, done.days_applied, done.transactions_applied, done.days_skipped),
                (PastState::Applied, 3, 3, 0),
                "call {nth} {fault:?}"
            );
            assert_eq!(desk.counted_as(&page).await, vec![(2, Some("bun".to_owned())); 3], "call {nth} {fault:?}");
            let stored = page.stored(&bench).await;
            let is_received = sales_domain.wait_until(PATIENCE, |domain| {
                let known = domain.transactions();
                stored.iter().all(|it| known.get(&it.transaction.id.to_string()).is_some_and(|it| it.revision == 2))
            });
            assert!(is_received, "call {nth} {fault:?}");
            if !has_crashed {
                break;
            }
        }
        // The configuration; each of three days: how far it is, the day, its transactions, what the items are, the day's
        // row, how far it is now; and its end.
        assert!(previews >= 12 && applications >= 15, "{previews} {applications} {fault:?}");
    }
}

#[tokio::test]
async fn what_was_sold_since_is_left_alone_and_a_day_whose_sales_have_changed_is_too() {
    let bench = Bench::open("normalizer-remapped-day");
    let desk = Desk::of(&bench);
    let OrdersMessage { scope, configuration_id, .. } = &desk.owner;
    let outcome = async |id| {
        let days = desk.logs.list_past_days::<RemappedDay>(scope, *configuration_id, id, 10, None).await.unwrap().items;
        days[0].outcome
    };
    let page = desk.sold("shown", 2, "ITEM").await;
    desk.map("ITEM", Some("bun")).await;
    let id = desk.begin::<RemappedDay>().await;
    desk.done("preview", id, 1).await;
    // One more of the same, that counts as nothing yet.
    desk.map("ITEM", None).await;
    let later = desk.sold("later", 1, "ITEM").await;
    desk.agree::<RemappedDay>(id).await;
    desk.done("apply", id, 1).await;
    let done = desk.job_of::<RemappedDay>(id).await;
    assert_eq!((done.state, done.transactions_applied, done.days_skipped), (PastState::Applied, 2, 0));
    assert_eq!(desk.counted_as(&page).await, vec![(2, Some("bun".to_owned())); 2]);
    assert_eq!(desk.counted_as(&later).await, [(1, None)]);
    assert_eq!(outcome(id).await, Some(DayOutcome::Applied));

    // The next brings them back to nothing. One of them is changed at the till before anybody has agreed.
    let id = desk.begin::<RemappedDay>().await;
    desk.done("preview", id, 1).await;
    let mut edited = Page { orders: vec![page.orders[0].clone()], ..Page::of(&bench, Vec::new()) };
    edited.orders[0]["updated_at"] = format!("{DAY}T18:00:00Z").into();
    edited.orders[0]["line_items"][0]["catalog_object_id"] = "ANOTHER".into();
    let proxy = Proxy::start().unwrap();
    assert_eq!(work(&bench.app(&proxy), edited.event(1)).await, NOTHING);
    desk.agree::<RemappedDay>(id).await;
    desk.done("apply", id, 1).await;
    let done = desk.job_of::<RemappedDay>(id).await;
    assert_eq!((done.state, done.transactions_applied, done.days_skipped), (PastState::Applied, 0, 1));
    assert_eq!(outcome(id).await, Some(DayOutcome::ChangedSincePreview));
    let others = Page { orders: vec![page.orders[1].clone()], ..Page::of(&bench, Vec::new()) };
    assert_eq!(desk.counted_as(&others).await, [(2, Some("bun".to_owned()))]);
}

#[tokio::test]
async fn an_import_that_is_cut_off_anywhere_is_taken_once_and_counted() {
    let bench = crate::bench::bench();
    let desk = Desk::of(bench);
    let OrdersMessage { scope, configuration_id, .. } = &desk.owner;
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        for nth in 1..40 {
            let id = JobId::generate();
            let change = |part: usize, row: usize| MappingChange {
                item_id: format!("{fault:?}-{nth}-{part}-{row}"),
                product_id: "bun".parse().ok(),
            };
            for part in 0..2 {
                let rows = [change(part, 0), change(part, 1)];
                let number = u32::try_from(part).unwrap();
                desk.logs.put_import_part(scope, *configuration_id, (id, number), &rows).await.unwrap();
            }
            let (by, at) = ("somebody".to_owned(), Timestamp::now());
            let import = Import { id, by, at, rows: 4, rows_done: 0, changed: 0, parts: 2, parts_done: 0 };
            assert!(desk.logs.save_import(scope, *configuration_id, &import, None).await.unwrap());
            let proxy = Proxy::start().unwrap();
            let has_crashed = cut_off(bench, &proxy, nth, fault, desk.job("import", id, 1)).await;
            desk.done("import", id, 2).await;
            let import = desk.logs.find_import(scope, *configuration_id, id).await.unwrap().unwrap().job;
            assert_eq!((import.rows_done, import.changed, import.is_done()), (4, 4, true), "call {nth} {fault:?}");
            let ids: Vec<String> = (0..4).map(|n| change(n / 2, n % 2).item_id).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let found = desk.mappings.find(scope, *configuration_id, &ids).await.unwrap();
            assert!(found.len() == 4 && found.values().all(|row| row.mapped.is_some()), "call {nth} {fault:?}");
            if !has_crashed {
                break;
            }
            assert!(nth < 39, "it never ends");
        }
    }
}

#[tokio::test]
async fn a_job_that_has_come_fifty_times_goes_on_in_a_new_message() {
    let desk = Desk::of(bench());
    let id = desk.begin::<RemappedDay>().await;
    let mut last = desk.job("preview", id, 50);
    // Less than what one look at a day may take.
    last.context.deadline -= 26_000;
    assert_eq!(work(&desk.bench.app(&Proxy::start().unwrap()), last).await, NOTHING);
    assert_eq!(desk.job_of::<RemappedDay>(id).await.state, PastState::Previewing);
    // The deployed function takes the new one.
    let mut looks = 0;
    while desk.job_of::<RemappedDay>(id).await.state != PastState::Previewed {
        looks += 1;
        assert!(looks < 300, "nobody has gone on with it");
        tokio::time::sleep(PATIENCE / 100).await;
    }
}
