//! What commands come to at each provider's till, and when somebody there has said otherwise.

use serde_json::json;
use shared::domain::Availability;

use crate::bench::{bench, left};

const OUT: Availability = Availability::SoldOut;
const THERE: Availability = Availability::Available;

#[tokio::test]
async fn toast_shows_what_was_said_and_a_repeat_asks_nobody() {
    let bench = bench().await;
    let till = &bench.toast;
    let item = till.item("Croissant").await;
    let product = bench.map(till, &[&item]).await;
    let sold_out = till.sold_out(&product);
    let answer = bench.answer(&sold_out).await;
    assert_eq!(
        answer,
        json!({
            "command_id": sold_out["id"], "configuration_id": till.configuration_id, "product_id": product,
            "results": [{ "location_id": till.shops[0], "item_id": item, "verdict": "applied" }],
        })
    );
    assert_eq!(till.shown(0, &item).await, OUT);

    let asked = bench.bakery.sandbox.calls(sandbox::Vendor::Toast).api_calls;
    assert_eq!(bench.answer(&sold_out).await, answer);
    assert_eq!(bench.bakery.sandbox.calls(sandbox::Vendor::Toast).api_calls, asked);
    assert_eq!(bench.count_answers(&sold_out).await, 2, "the same answer twice");

    assert_eq!(bench.verdicts(&till.sold_out(&product)).await, ["unchanged"]);
    assert_eq!(bench.verdicts(&till.available(&product)).await, ["applied"]);
    assert_eq!(till.shown(0, &item).await, THERE);
    assert_eq!(bench.verdicts(&till.available(&product)).await, ["unchanged"]);
    // The first one, once more: it has had its answer, and has been overtaken.
    let mut late = till.sold_out(&product);
    late["time"] = sold_out["time"].clone();
    assert_eq!(bench.verdicts(&late).await, ["superseded"]);
    assert_eq!(till.shown(0, &item).await, THERE);

    let mut some = till.available(&product);
    some["data"]["quantity"] = json!("12");
    assert_eq!(bench.verdicts(&some).await, ["applied"]);
    assert_eq!(till.shown(0, &item).await, left("12"));
    // What it took away comes back.
    assert_eq!(bench.verdicts(&till.sold_out(&product)).await, ["applied"]);
    assert_eq!(bench.verdicts(&till.available(&product)).await, ["applied"]);
    assert_eq!(till.shown(0, &item).await, left("12"));
}

#[tokio::test]
async fn square_shows_it_by_the_count_of_what_is_counted() {
    let bench = bench().await;
    let till = &bench.square;
    let (baguette, croissant) = (till.item("Baguette").await, till.item("Croissant").await);
    let product = bench.map(till, &[&baguette, &croissant, "NONE"]).await;
    till.say(0, &baguette, left("24")).await;
    let answer = bench.answer(&till.sold_out(&product)).await;
    let verdict = |item: &str| {
        let results = answer["results"].as_array().unwrap();
        results.iter().find(|result| result["item_id"] == item).unwrap()["verdict"].clone()
    };
    assert_eq!([verdict(&baguette), verdict(&croissant), verdict("NONE")], ["applied", "unsupported", "unknown_item"]);
    assert_eq!(till.shown(0, &baguette).await, OUT);

    // Without a count, the one that was taken away.
    let product = bench.map(till, &[&baguette]).await;
    assert_eq!(bench.verdicts(&till.available(&product)).await, ["applied"]);
    assert_eq!(till.shown(0, &baguette).await, left("24"));
    // One that ran out by itself, nobody knows.
    till.say(0, &baguette, OUT).await;
    assert_eq!(bench.verdicts(&till.available(&product)).await, ["unsupported"]);
    let mut some = till.available(&product);
    some["data"]["quantity"] = json!("7.5");
    assert_eq!(bench.verdicts(&some).await, ["applied"]);
    assert_eq!(till.shown(0, &baguette).await, left("7.5"));
    // It runs out once more, and more is baked: nobody at the till has said anything.
    till.say(0, &baguette, OUT).await;
    let mut some = till.available(&product);
    some["data"]["quantity"] = json!("7.5");
    assert_eq!(bench.verdicts(&some).await, ["applied"]);
}

#[tokio::test]
async fn all_shops_are_told_unless_some_are_named_and_one_that_is_not_there_is_said() {
    let bench = bench().await;
    let till = &bench.square;
    let item = till.item("Sourdough").await;
    let product = bench.map(till, &[&item]).await;
    for shop in [0, 1] {
        till.say(shop, &item, left("24")).await;
    }
    let mut everywhere = till.sold_out(&product);
    everywhere["data"].as_object_mut().unwrap().remove("location_ids");
    assert_eq!(bench.verdicts(&everywhere).await, ["applied", "applied"]);
    assert_eq!([till.shown(0, &item).await, till.shown(1, &item).await], [OUT, OUT]);
    let mut elsewhere = till.available(&product);
    elsewhere["data"]["location_ids"] = json!(["NOWHERE", till.shops[1]]);
    let mut verdicts = bench.verdicts(&elsewhere).await;
    verdicts.sort();
    assert_eq!(verdicts, ["applied", "unknown_location"]);
    assert_eq!([till.shown(0, &item).await, till.shown(1, &item).await], [OUT, left("24")]);
}

#[tokio::test]
async fn somebody_at_the_till_knows_better_than_a_command_that_says_it_again() {
    let bench = bench().await;
    let (toast, square) = (&bench.toast, &bench.square);
    let item = toast.item("Cinnamon").await;
    let product = bench.map(toast, &[&item]).await;
    assert_eq!(bench.verdicts(&toast.sold_out(&product)).await, ["applied"]);
    toast.say(0, &item, THERE).await;
    for _ in 0..2 {
        assert_eq!(bench.verdicts(&toast.sold_out(&product)).await, ["overridden"]);
        assert_eq!(toast.shown(0, &item).await, THERE);
    }
    // Once the sales domain has come to know, its next word is news.
    assert_eq!(bench.verdicts(&toast.available(&product)).await, ["unchanged"]);
    assert_eq!(bench.verdicts(&toast.sold_out(&product)).await, ["applied"]);
    assert_eq!(bench.verdicts(&toast.available(&product)).await, ["applied"]);
    toast.say(0, &item, OUT).await;
    assert_eq!(bench.verdicts(&toast.available(&product)).await, ["overridden"]);
    assert_eq!(toast.shown(0, &item).await, OUT);

    let item = square.item("Bagel").await;
    let product = bench.map(square, &[&item]).await;
    assert_eq!(bench.verdicts(&square.sold_out(&product)).await, ["applied"]);
    square.say(0, &item, left("5")).await;
    assert_eq!(bench.verdicts(&square.sold_out(&product)).await, ["overridden"]);
    assert_eq!(square.shown(0, &item).await, left("5"));
}

#[tokio::test]
async fn nothing_is_tried_without_a_reason_why() {
    let bench = bench().await;
    let (toast, lightspeed) = (&bench.toast, &bench.lightspeed);
    let item = toast.item("Sourdough").await;
    let product = bench.map(toast, &[&item]).await;

    bench.switch(toast, false).await;
    let asked = bench.bakery.sandbox.calls(sandbox::Vendor::Toast).api_calls;
    assert_eq!(bench.verdicts(&toast.sold_out(&product)).await, ["not_enabled"]);
    assert_eq!(bench.bakery.sandbox.calls(sandbox::Vendor::Toast).api_calls, asked);
    bench.switch(toast, true).await;

    assert_eq!(bench.verdicts(&lightspeed.sold_out("croissant")).await, ["unsupported"]);
    assert_eq!(bench.verdicts(&toast.sold_out("never-heard-of")).await, ["not_mapped"]);
    let mut late = toast.sold_out(&product);
    late["data"]["until"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(bench.verdicts(&late).await, ["too_late"]);

    let path = |word: &str| format!("/configurations/{}/{word}", toast.configuration_id);
    let api = bench.bakery.api().unwrap();
    assert_eq!(api.request(reqwest::Method::POST, &path("pause")).send().await.unwrap().status(), 200);
    assert_eq!(bench.verdicts(&toast.sold_out(&product)).await, ["paused"]);
    assert_eq!(api.request(reqwest::Method::POST, &path("resume")).send().await.unwrap().status(), 200);
    assert_eq!(toast.shown(0, &item).await, THERE);
}

#[tokio::test]
async fn a_command_for_somebody_elses_till_or_of_the_future_is_parked() {
    let bench = bench().await;
    let client = aws_sdk_sqs::Client::new(&bench.bakery.stack.config());
    let queue = bench.bakery.stack.output("SalesRepliesDeadLetterQueueUrl").unwrap();
    let (mut stranger, mut unknown) = (bench.toast.sold_out("croissant"), bench.toast.sold_out("croissant"));
    stranger["tenantid"] = json!("stranger");
    unknown["data"]["configuration_id"] = json!("01938d5e-0000-7000-8000-000000000001");
    let mut early = bench.toast.sold_out("croissant");
    early["time"] = json!(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1));
    for (command, why) in
        [(stranger, "no such configuration"), (unknown, "no such configuration"), (early, "given in the future")]
    {
        assert!(bench.take(&command).await);
        assert_eq!(bench.count_answers(&command).await, 0);
        let received = client.receive_message().queue_url(queue).message_attribute_names("All");
        let received = received.send().await.unwrap();
        let parked = &received.messages()[0];
        assert_eq!(parked.body(), Some(command.to_string().as_str()));
        let reason = &parked.message_attributes().unwrap()["reason"];
        assert_eq!(reason.string_value(), Some(why));
        client.delete_message().queue_url(queue).receipt_handle(parked.receipt_handle().unwrap()).send().await.unwrap();
    }
}
