//! Every revision with what has led to it, in a bounded number of reads, and the way back.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::domain::{
    EventId, JobId, Minor, PastJob, RemappedDay, Run, RunId, SyncCounts, SyncKind, SyncRange, SyncRequest, Transaction,
    Trigger,
};
use shared::store::sync_logs::PageRow;
use shared::store::webhook_logs::{Caused, LogOwner, LogRow, OrderSource, Outcome, Steps};

use crate::books::transaction;
use crate::desk::Desk;

/// The transaction's next revision.
fn raise(it: &mut Transaction) {
    it.source_version.0 += 1;
    it.amounts.tip = Minor(it.amounts.tip.0 + 1);
}

impl Desk {
    /// The row of a delivery that led to this.
    async fn log(&self, event: &EventId, caused: &[Caused], outcome: &Outcome) {
        let owner = LogOwner::Configuration(self.scope.clone(), self.id);
        let now = Some(Timestamp::now());
        let steps = Steps {
            queued_at: now,
            picked_up_at: now,
            source: Some(OrderSource::Read),
            read_at: now,
            normalized_at: now,
            handed_over_at: now,
            ..Steps::default()
        };
        let row = LogRow {
            owner: &owner,
            event_id: event,
            event_type: Some("order.updated"),
            received_at: Timestamp::now(),
            worked_for: Duration::from_millis(7),
            attempt: 1,
            secret_id: "wbhk_1",
            sealed_body: b"sealed",
            body_bytes: 6,
            outcome,
            caused,
            steps: &steps,
        };
        self.logs.record(&row).await.unwrap();
    }

    async fn page(&self, run: RunId, page: u32, caused: &[Caused]) {
        let counts = SyncCounts { seen: 40, updated: 1, unchanged: 39, ..SyncCounts::default() };
        let row = PageRow { counts, caused: caused.to_vec(), ..PageRow::default() };
        assert!(self.sync_logs.record_page(&self.scope, self.id, run, page, &row).await.unwrap());
    }
}

fn caused(it: &Transaction, revision: u64) -> [Caused; 1] {
    [Caused { transaction: it.id, revision }]
}

#[tokio::test]
async fn each_revision_names_what_led_to_it_and_what_the_sales_domain_said() {
    let desk = Desk::open().await;
    let mut it = transaction(desk.id, 1);
    // A delivery, then a page of a run that is under way, then a remapping, then what nobody has written down yet.
    let event = EventId::new("event-7").unwrap();
    desk.put(&it, &event).await;
    desk.log(&event, &caused(&it, 1), &Outcome::Done).await;
    desk.table.accept(&desk.key(&it), 1, "S-1").await.unwrap();
    let run = Run::new(SyncRequest::of(SyncRange::Incremental), Trigger::Schedule, 0, Timestamp::now());
    let due = desk.sync_logs.find_lane(&desk.scope, desk.id, SyncKind::Incremental).await.unwrap().unwrap().due_at;
    assert!(desk.sync_logs.begin(&desk.scope, desk.id, &run, due).await.unwrap());
    raise(&mut it);
    desk.put(&it, &EventId::of_page(run.id, 3)).await;
    desk.page(run.id, 3, &caused(&it, 2)).await;
    let job = JobId::generate();
    let remapping = PastJob::new(job, "ann".into(), (it.business_date, it.business_date));
    assert!(desk.sync_logs.save_past_job::<RemappedDay>(&desk.scope, desk.id, &remapping, None).await.unwrap());
    raise(&mut it);
    desk.put(&it, &EventId::of_remapping(job)).await;
    desk.table.accept(&desk.key(&it), 3, "S-1").await.unwrap();
    raise(&mut it);
    desk.put(&it, &EventId::new("event-8").unwrap()).await;

    desk.proxy.reset();
    let shown = desk.get(&format!("/transactions/{}/lineage", it.id)).await.json();
    assert_eq!(desk.reads("TRANSACTIONS_TABLE"), [0, 1, 0]);
    assert_eq!((desk.reads("WEBHOOK_LOGS_TABLE"), desk.reads("SYNC_LOGS_TABLE")), ([0, 1, 0], [0, 1, 0]));
    let revisions = shown["revisions"].as_array().unwrap();
    assert_eq!((revisions.len(), &shown["earlier_revisions"]), (4, &json!(0)), "{shown:#}");
    assert!(revisions.iter().all(|it| it["normalizer"].is_string()), "{shown:#}");
    let origin = |nth: usize| &revisions[nth]["origin"];
    let [delivery, page, mapping, unknown] = [0, 1, 2, 3].map(origin);
    assert_eq!((&delivery["kind"], &delivery["record"]), (&json!("delivery"), &json!("kept")));
    let of = &delivery["delivery"];
    assert_eq!(
        (&of["event_id"], &of["secret_id"], &of["source"]),
        (&json!("event-7"), &json!("wbhk_1"), &json!("read"))
    );
    let steps = of["timeline"].as_array().unwrap();
    assert!(steps.len() == 9 && steps.iter().all(|step| step["is_taken"] == true && step["at"].is_string()), "{of:#}");
    assert_eq!(
        (&page["kind"], &page["record"], &page["page"], &page["counts"]["updated"], &page["run"]["state"]),
        (&json!("page"), &json!("kept"), &json!(3), &json!(1), &json!("queued")),
        "{page:#}"
    );
    assert_eq!(
        (&mapping["kind"], &mapping["remapping"]["by"], &mapping["record"]),
        (&json!("remapping"), &json!("ann"), &json!("kept"))
    );
    assert_eq!((&unknown["record"], &unknown["delivery"]), (&json!("under_way"), &Value::Null));
    let events: Vec<_> = revisions.iter().map(|it| &it["event"]).collect();
    let ids: Vec<_> = (1..=4).map(|revision| json!(format!("{}:{revision}", it.id))).collect();
    assert_eq!(events.iter().map(|event| event["id"].clone()).collect::<Vec<_>>(), ids);
    let states: Vec<_> = events.iter().map(|event| event["state"].clone()).collect();
    assert_eq!(states, [json!("accepted"), Value::Null, json!("accepted"), json!("waiting")]);
    assert!(events[0]["answered_at"].is_string() && events[2]["answered_at"].is_string(), "{shown:#}");
    assert_eq!((&events[2]["record_id"], &events[3]["attempts"]), (&json!("S-1"), &json!(0)));
    assert_eq!(shown["sales"]["acknowledged_at"], events[2]["answered_at"]);
    assert!(!shown.to_string().contains("line_items"), "what it said then is not part of it: {shown}");

    // And back: from the page, and from the delivery, to what they led to.
    let path = format!("/configurations/{}/sync/runs/{}/pages", desk.id, run.id);
    let back = desk.get(&format!("{path}/3")).await.json();
    assert_eq!((&back["counts"]["seen"], &back["run"]["kind"]), (&json!(40), &json!("incremental")), "{back:#}");
    let led_to = &back["transactions"][0];
    assert_eq!((&led_to["transaction_id"], &led_to["caused"][0]["revision"]), (&json!(it.id), &json!(2)), "{back:#}");
    assert_eq!((&led_to["current_revision"], &led_to["sales"]["acknowledged_revision"]), (&json!(4), &json!(3)));
    let back = desk.get(&format!("/configurations/{}/webhooks/event-7", desk.id)).await.json();
    assert_eq!(back["transactions"][0]["caused"][0]["revision"], 1, "{back:#}");

    // Whoever came after it and told nothing new is shown who had told it before.
    let late = EventId::new("event-9").unwrap();
    desk.log(&late, &caused(&it, 2), &Outcome::Done).await;
    let back = desk.get(&format!("/configurations/{}/webhooks/event-9", desk.id)).await.json();
    let told = &back["transactions"][0];
    assert_eq!((&told["caused"], &told["recorded"]["cause"]), (&json!([]), &json!(format!("sync:{}:3", run.id))));

    // Nothing of it is another tenant's, and what is not there is not.
    let stranger = Desk::open().await;
    for path in [format!("/transactions/{}/lineage", it.id), format!("{path}/3")] {
        assert_eq!(stranger.get(&path).await.status, 404, "{path}");
    }
    for path in [format!("{path}/4"), format!("{path}/x"), "/transactions/x/lineage".to_owned()] {
        assert_eq!(desk.get(&path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_long_history_is_shown_in_a_bounded_number_of_reads() {
    let desk = Desk::open().await;
    let mut it = transaction(desk.id, 2);
    for number in 0..130 {
        let run = RunId::generate();
        let event =
            if number % 2 == 0 { EventId::of_page(run, 1) } else { EventId::new(format!("event-{number}")).unwrap() };
        desk.put(&it, &event).await;
        raise(&mut it);
    }
    desk.proxy.reset();
    let shown = desk.get(&format!("/transactions/{}/lineage", it.id)).await.json();
    let revisions = shown["revisions"].as_array().unwrap();
    assert_eq!((revisions.len(), &shown["earlier_revisions"]), (100, &json!(30)));
    assert_eq!((&revisions[0]["revision"], &revisions[99]["revision"]), (&json!(31), &json!(130)));
    let reads = ["TRANSACTIONS_TABLE", "WEBHOOK_LOGS_TABLE", "SYNC_LOGS_TABLE"].map(|table| desk.reads(table));
    assert_eq!(reads, [[0, 1, 0], [0, 1, 0], [0, 2, 0]]);
}
