//! Every delivery that was answered 2xx ends in a log, though it was given up.

use shared::domain::{DeadLetterQueue, RedriveScope, RedriveState};

use crate::bench::{Bench, Item, bench};

const DEAD: &str = "IntakeDeadLetterQueueUrl";
/// It was removed: its log is purged, and stays so.
const GONE: &str = "t_1#018f0000-0000-7000-8000-000000000001";

fn text<'i>(item: &'i Item, name: &str) -> &'i str {
    item[name].as_s().unwrap()
}

/// A delivery to a configuration's own URL, as the receiver has put it on the intake queue.
async fn give_up(bench: &Bench, event_id: &str, owner: &str, reason: &str) {
    let body = format!(
        r#"{{"merchant_id":"M1","type":"inventory.count.updated","event_id":"{event_id}","data":{{"object":{{}}}}}}"#
    );
    let attributes = [
        ("kind", "delivery.v1"),
        ("encoding", "plain"),
        ("provider", "square"),
        ("environment", "production"),
        ("received_at", "2026-02-14T08:00:00Z"),
        ("signature", "s"),
        ("secret_id", "wbhk_1"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("configuration", owner),
        ("reason", reason),
    ];
    let given = if owner.is_empty() { [&attributes[..8], &attributes[9..]].concat() } else { attributes.to_vec() };
    bench.send(DEAD, &body, &given).await;
}

#[tokio::test]
async fn a_delivery_that_was_given_up_has_a_row_and_its_neighbours_too() {
    let bench = bench().await;
    let (app, owner) = (bench.app(None), format!("t_1#{}", bench.configuration("t_1").await));
    for number in 0..23 {
        give_up(&bench, &format!("e{number}"), &owner, "provider_unavailable").await;
    }
    give_up(&bench, "late", GONE, "provider_unavailable").await;
    // Of no merchant that we know.
    give_up(&bench, "stranger", "", "store_unavailable").await;
    bench.send(DEAD, "nonsense", &[]).await;
    bench.tick(&app).await.unwrap();
    assert_eq!(bench.depth(DEAD).await, (26, 0), "looked at, and not hidden");
    for number in 0..23 {
        let row = bench.row(&owner, &format!("e{number}")).await.unwrap();
        assert_eq!(text(&row, "outcome"), "dead");
        assert_eq!(text(&row, "code"), "given_up");
        assert_eq!(text(&row, "detail"), "provider_unavailable");
        assert_eq!(row["received_at"].as_s().unwrap(), "2026-02-14T08:00:00.000Z");
    }
    let row = bench.row("unmatched#square", "stranger").await.unwrap();
    assert_eq!(text(&row, "detail"), "store_unavailable");
    assert_eq!(bench.row(GONE, "late").await, None);
    // A second look writes nothing, whoever looks.
    let before = bench.row(&owner, "e0").await;
    bench.tick(&app).await.unwrap();
    bench.tick(&bench.app(None)).await.unwrap();
    assert_eq!(bench.row(&owner, "e0").await, before);
}

#[tokio::test]
async fn a_delivery_that_is_sent_again_ends_otherwise() {
    let bench = bench().await;
    give_up(&bench, "again", "", "store_unavailable").await;
    let app = bench.app(None);
    bench.tick(&app).await.unwrap();
    assert_eq!(bench.row("unmatched#square", "again").await.unwrap()["outcome"].as_s().unwrap(), "dead");
    let id = bench.ask(DeadLetterQueue::Intake, RedriveScope::Reason("store_unavailable".into())).await;
    bench.tick(&app).await.unwrap();
    assert_eq!(bench.redrive(DeadLetterQueue::Intake, id).await.state, RedriveState::Done);
    // The deployed normalizer takes it: nobody is connected to that merchant.
    for _ in 0..200 {
        let row = bench.row("unmatched#square", "again").await.unwrap();
        if row["outcome"].as_s().unwrap() == "ignored" {
            assert_eq!(row["code"].as_s().unwrap(), "unknown_merchant");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("it stays dead");
}
