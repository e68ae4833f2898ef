//! What is sold out until a certain moment is there again by itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sandbox::{Failure, Faults, Vendor};
use serde_json::{Value, json};
use shared::domain::Availability;

use crate::bench::{Bench, Branch, bench, left, take, verdicts};

const OUT: Availability = Availability::SoldOut;
const THERE: Availability = Availability::Available;

/// Long enough for what a test does in between.
fn for_a_moment(branch: &Branch, product: &str, seconds: i64) -> Value {
    let mut command = branch.sold_out(product);
    command["data"]["until"] = json!(Timestamp::now() + SignedDuration::from_secs(seconds));
    command
}

async fn ended(bench: &Bench, command: &Value) -> Vec<String> {
    verdicts(&bench.answered(&format!("{}:2", command["id"].as_str().unwrap())).await)
}

#[tokio::test]
async fn what_was_taken_away_comes_back_when_its_time_has_come() {
    let bench = bench().await;
    let (toast, square) = (&bench.toast, &bench.square);
    for (till, name, before) in [(toast, "Coffee", THERE), (square, "Baguette", left("9"))] {
        let item = till.item(name).await;
        till.say(0, &item, before).await;
        let product = bench.map(till, &[&item]).await;
        let command = for_a_moment(till, &product, 3);
        assert_eq!(bench.verdicts(&command).await, ["applied"]);
        assert_eq!(till.shown(0, &item).await, OUT);
        // The deployed function hears of it.
        assert_eq!(ended(&bench, &command).await, ["applied"], "{name}");
        assert_eq!(till.shown(0, &item).await, before, "{name}");
        // Who says the same command again hears the same.
        assert_eq!(bench.verdicts(&command).await, ["applied"]);
        assert_eq!(till.shown(0, &item).await, before, "{name}");
    }
}

#[tokio::test]
async fn what_was_begun_in_time_is_carried_out_and_ended() {
    let bench = bench().await;
    let till = &bench.toast;
    let item = till.item("Rye").await;
    let product = bench.map(till, &[&item]).await;
    let path = Some("/stock/v1/inventory/update".to_owned());
    let lost = Failure { status: 502, times: 1, path, ..Failure::default() };
    let faults = Faults { lost_answers: vec![lost], no_rate_limits: true, ..Faults::default() };
    bench.bakery.sandbox.set_faults_of(Vendor::Toast, faults);
    let command = for_a_moment(till, &product, 2);
    assert!(!bench.take(&command).await);
    assert_eq!(till.shown(0, &item).await, OUT);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.verdicts(&command).await, ["applied"], "and not that it is too late");
    assert_eq!(ended(&bench, &command).await, ["applied"]);
    assert_eq!(till.shown(0, &item).await, THERE);
}

#[tokio::test]
async fn a_newer_command_or_somebody_at_the_till_comes_before_an_ending() {
    let bench = bench().await;
    let till = &bench.toast;
    let item = till.item("Baguette").await;
    let product = bench.map(till, &[&item]).await;
    let command = for_a_moment(till, &product, 3);
    assert_eq!(bench.verdicts(&command).await, ["applied"]);
    assert_eq!(bench.verdicts(&till.sold_out(&product)).await, ["unchanged"]);
    assert_eq!(ended(&bench, &command).await, ["superseded"]);
    assert_eq!(till.shown(0, &item).await, OUT);

    let command = for_a_moment(till, &product, 3);
    assert_eq!(bench.verdicts(&command).await, ["unchanged"]);
    till.say(0, &item, left("5")).await;
    assert_eq!(ended(&bench, &command).await, ["unchanged"]);
    assert_eq!(till.shown(0, &item).await, left("5"));
}

#[tokio::test]
async fn what_somebody_at_the_till_had_sold_out_before_is_not_ours_to_put_back() {
    let bench = bench().await;
    let till = &bench.toast;
    let item = till.item("Cinnamon").await;
    till.say(0, &item, OUT).await;
    let product = bench.map(till, &[&item]).await;
    let command = for_a_moment(till, &product, 2);
    assert_eq!(bench.verdicts(&command).await, ["unchanged"]);
    assert_eq!(ended(&bench, &command).await, ["overridden"]);
    assert_eq!(till.shown(0, &item).await, OUT);
}

#[tokio::test]
async fn what_ends_while_the_till_is_paused_ends_when_it_is_resumed() {
    let bench = bench().await;
    let till = &bench.toast;
    let item = till.item("Coffee").await;
    till.say(0, &item, THERE).await;
    let product = bench.map(till, &[&item]).await;
    let command = for_a_moment(till, &product, 3600);
    assert_eq!(bench.verdicts(&command).await, ["applied"]);
    let ending = json!({
        "type": "pos.availability.until.v1", "tenantid": command["tenantid"], "id": command["id"], "time": command["time"],
        "data": {
            "configuration_id": till.configuration_id, "product_id": product, "until": Timestamp::now(),
            "places": [{ "location_id": till.shops[0], "item_id": item }],
        },
    });
    bench.post(till, "pause").await;
    let proxy = local::Proxy::start().unwrap();
    assert!(take(&bench.app(Some(&proxy)), &ending, 1).await);
    assert_eq!(proxy.count("sqs:SendMessage"), 1, "held back once more, and not answered: {:?}", proxy.calls());
    assert_eq!(till.shown(0, &item).await, OUT);
    bench.post(till, "resume").await;
    assert!(bench.take(&ending).await);
    assert_eq!(ended(&bench, &command).await, ["applied"]);
    assert_eq!(till.shown(0, &item).await, THERE);
}
