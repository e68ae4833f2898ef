//! Providers that are away, refuse, or lose their answers.

use sandbox::{Failure, Faults, Vendor};
use shared::domain::Availability;

use crate::bench::{Bench, bench, left, take, verdicts};

fn fails(status: u16, path: &str) -> Faults {
    let failure = Failure { status, times: 100, path: Some(path.to_owned()), ..Failure::default() };
    Faults { failures: vec![failure], no_rate_limits: true, ..Faults::default() }
}

fn attempts(bench: &Bench) -> u32 {
    bench.bakery.stack.variable("sales-replies", "SALES_REPLIES_ATTEMPTS").unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_is_away_is_told_later_and_at_last_it_is_said_that_it_failed() {
    let bench = bench().await;
    let till = &bench.toast;
    let item = till.item("Cookie").await;
    let product = bench.map(till, &[&item]).await;
    bench.bakery.sandbox.set_faults_of(Vendor::Toast, fails(503, "/stock/v1/inventory/update"));
    let command = till.sold_out(&product);
    for attempt in [1, attempts(&bench) - 1] {
        assert!(!take(&bench.app(None), &command, attempt).await);
    }
    assert_eq!(bench.count_answers(&command).await, 0);
    assert!(take(&bench.app(None), &command, attempts(&bench)).await);
    assert_eq!(verdicts(&bench.answer_to(&command).await), ["failed"]);

    bench.bakery.sandbox.set_faults_of(Vendor::Toast, Faults { no_rate_limits: true, ..Faults::default() });
    let recovered = till.sold_out(&product);
    // The one before may still be at it, for all that the next one knows.
    assert!(!bench.take(&recovered).await);
}

#[tokio::test]
async fn a_shop_that_does_not_answer_holds_up_no_other() {
    let bench = bench().await;
    let till = &bench.square;
    let item = till.item("Sourdough").await;
    let product = bench.map(till, &[&item]).await;
    for shop in [0, 1] {
        till.say(shop, &item, left("6")).await;
        assert_eq!(bench.verdicts(&till.command("available", &product, shop)).await, ["unchanged"]);
    }
    let mut command = till.sold_out(&product);
    command["data"].as_object_mut().unwrap().remove("location_ids");
    // Whichever comes first.
    for (down, up) in [(0, 1), (1, 0)] {
        let shop = Some(till.shops[down].to_string());
        let path = Some("/v2/inventory".to_owned());
        let failure = Failure { status: 500, times: 100, path, location_id: shop, ..Failure::default() };
        bench.bakery.sandbox.set_faults_of(Vendor::Square, Faults { failures: vec![failure], ..Faults::default() });
        let mut command = command.clone();
        command["id"] = format!("{}-{down}", command["id"].as_str().unwrap()).into();
        command["time"] = jiff::Timestamp::now().to_string().into();
        assert!(!bench.take(&command).await);
        bench.bakery.sandbox.set_faults_of(Vendor::Square, Faults::default());
        assert_eq!([till.shown(up, &item).await, till.shown(down, &item).await], [Availability::SoldOut, left("6")]);
        assert_eq!(bench.verdicts(&command).await, ["applied", "applied"]);
        let mut available = till.available(&product);
        available["data"].as_object_mut().unwrap().remove("location_ids");
        assert_eq!(bench.verdicts(&available).await, ["applied", "applied"]);
    }
}

#[tokio::test]
async fn what_the_merchant_has_not_permitted_stops_no_sales() {
    let bench = bench().await;
    let till = &bench.toast;
    let item = till.item("Blueberry").await;
    let product = bench.map(till, &[&item]).await;
    bench.bakery.sandbox.set_faults_of(Vendor::Toast, fails(403, "/stock/v1/inventory/update"));
    assert_eq!(bench.verdicts(&till.sold_out(&product)).await, ["not_permitted"]);
    bench.bakery.sandbox.set_faults_of(Vendor::Toast, fails(400, "/stock/v1/inventory/search"));
    let item = till.item("Bagel").await;
    let product = bench.map(till, &[&item]).await;
    assert_eq!(bench.verdicts(&till.sold_out(&product)).await, ["failed"]);
    assert_eq!(bench.configuration(till).await["status"], "active");
}

#[tokio::test]
async fn refused_credentials_are_renewed_once_and_then_a_person_must_connect() {
    let bench = bench().await;
    let till = &bench.square;
    let item = till.item("Brioche").await;
    let product = bench.map(till, &[&item]).await;
    let once = Failure { status: 401, times: 1, path: Some("/v2/inventory".to_owned()), ..Failure::default() };
    bench.bakery.sandbox.set_faults_of(Vendor::Square, Faults { failures: vec![once], ..Faults::default() });
    assert_eq!(bench.verdicts(&till.command("sold_out", &product, 1)).await, ["applied"]);

    let available = || till.command("available", &product, 1);
    bench.bakery.sandbox.set_faults_of(Vendor::Square, fails(401, "/v2/inventory"));
    assert_eq!(bench.verdicts(&available()).await, ["not_connected"]);
    let seen = bench.configuration(till).await;
    assert_eq!(
        (&seen["status"], &seen["status_reasons"][0]["code"]),
        (&"reauth_required".into(), &"credentials_refused".into())
    );
    assert_eq!(bench.verdicts(&available()).await, ["not_connected"], "and nobody is asked");

    // The merchant agrees once more.
    bench.bakery.sandbox.set_faults_of(Vendor::Square, Faults::default());
    let api = bench.bakery.api().unwrap();
    let (code, state) = local::consent(&api, &till.configuration_id).await.unwrap();
    assert_eq!(api.come_back("square", &[("code", &code), ("state", &state)]).await.unwrap().status(), 200);
    assert_eq!(bench.verdicts(&available()).await, ["applied"]);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_made_once_and_stays_ours() {
    let bench = bench().await;
    for (till, vendor, path, name, shop) in [
        (&bench.toast, Vendor::Toast, "/stock/v1/inventory/update", "Brioche", 0),
        (&bench.square, Vendor::Square, "/v2/inventory/changes", "Baguette", 1),
    ] {
        let item = till.item(name).await;
        let before = till.shown(shop, &item).await;
        let product = bench.map(till, &[&item]).await;
        let lost = Failure { status: 502, times: 1, path: Some(path.to_owned()), ..Failure::default() };
        bench
            .bakery
            .sandbox
            .set_faults_of(vendor, Faults { lost_answers: vec![lost], no_rate_limits: true, ..Faults::default() });
        let command = till.command("sold_out", &product, shop);
        assert!(!bench.take(&command).await);
        assert_eq!(till.shown(shop, &item).await, Availability::SoldOut);
        assert_eq!(bench.verdicts(&command).await, ["applied"]);
        let available = till.command("available", &product, shop);
        assert_eq!(bench.verdicts(&available).await, ["applied"], "what we took away is known");
        assert_eq!(till.shown(shop, &item).await, before);
    }
    // The same, and meanwhile somebody has counted: the repeat has the first one's name, and is none.
    let till = &bench.square;
    let item = till.item("Baguette").await;
    let product = bench.map(till, &[&item]).await;
    let lost = Failure { status: 502, times: 1, path: Some("/v2/inventory/changes".to_owned()), ..Failure::default() };
    bench.bakery.sandbox.set_faults_of(Vendor::Square, Faults { lost_answers: vec![lost], ..Faults::default() });
    let command = till.command("sold_out", &product, 1);
    assert!(!bench.take(&command).await);
    till.say(1, &item, left("5")).await;
    assert_eq!(bench.verdicts(&command).await, ["applied"]);
    assert_eq!(till.shown(1, &item).await, left("5"));
    assert_eq!(bench.verdicts(&till.command("sold_out", &product, 1)).await, ["overridden"]);
}
