//! The guarantee: what no webhook announced is found, stored and handed on, once, in its own business day.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use local::TENANT;
use reqwest::Method;
use sandbox::{Faults, RefundKind, SaleKind, Vendor};
use serde_json::{Value, json};

use crate::sync_town::{SilentTown, Till, silent_town, slow_lists, word};
use crate::town::Answer;

/// What a day has to have, whatever else chance brings.
const EVERYWHERE: [SaleKind; 13] = [
    SaleKind::Simple,
    SaleKind::Cash,
    SaleKind::SplitTender,
    SaleKind::Api,
    SaleKind::Canceled,
    SaleKind::Offline,
    SaleKind::LateTip,
    SaleKind::Edited,
    SaleKind::FullRefund,
    SaleKind::PartialRefund,
    SaleKind::AmountRefund,
    SaleKind::LateRefund,
    SaleKind::Everything,
];

fn specials(vendor: Vendor) -> &'static [SaleKind] {
    match vendor {
        Vendor::Square => &[SaleKind::GiftCard, SaleKind::ServiceCharge],
        Vendor::Toast => &[SaleKind::TwoBills, SaleKind::Emptied, SaleKind::Waste, SaleKind::TestMode, SaleKind::Tie],
        Vendor::Lightspeed => &[SaleKind::Recalled, SaleKind::Split, SaleKind::Transferred, SaleKind::Overnight],
    }
}

/// Counts and sums of the sales domain itself, of one provider.
fn believed(town: &SilentTown, vendor: Vendor) -> BTreeMap<(String, String), local::Total> {
    let mut sums = BTreeMap::<_, local::Total>::new();
    let totals = town.sales.totals().into_iter();
    for (key, total) in totals.filter(|(key, _)| key.tenant == TENANT && key.provider == word(vendor)) {
        let sum = sums.entry((key.kind, key.currency)).or_default();
        sum.count += total.count;
        sum.total_minor += total.total_minor;
    }
    sums
}

#[tokio::test]
async fn a_day_without_a_single_webhook_is_balanced_by_one_sync() {
    let town = &*silent_town().await;
    let tills = Vendor::ALL.map(|vendor| town.till(vendor));
    for till in &tills {
        // What a connection begins by itself is over before there is anything to sell.
        till.idle().await;
        let faults = Faults { late_percent: 25, ..Faults::default() };
        town.bakery.sandbox.set_faults_of(till.vendor, faults);
        till.desk().play_of(&till.merchant.id, 40).unwrap();
        for (number, kind) in EVERYWHERE.iter().chain(specials(till.vendor)).enumerate() {
            let shop = &till.merchant.locations[number % till.merchant.locations.len()];
            till.desk().ring_up(*kind, Some(&shop.id)).unwrap();
        }
    }
    for till in &tills {
        till.quiet().await;
        assert!(till.stored().await.0.is_empty(), "nobody has told of anything");
    }
    let mut begun = Vec::new();
    for till in &tills {
        begun.push((till, till.begin(json!({ "kind": "incremental" })).await));
    }
    for (till, run) in begun {
        let run = till.ended(&run).await;
        assert_eq!((&run["state"], &run["progress"]["orders"]["failed"]), (&json!("completed"), &json!(0)), "{run:#}");
        let sold = till.assert_balanced(&town.sales).await;
        assert_eq!(believed(town, till.vendor), sold.sums(), "{:?}", till.vendor);
        let (sales, refunds) = (sold.0.keys().filter(|(_, kind)| kind == "sale").count(), sold.0.len());
        assert!(sales >= 45 && refunds - sales >= 4, "{:?}: {:?}", till.vendor, sold.sums());
        println!("{:?} without webhooks, after one sync: {:?}", till.vendor, sold.sums());
    }
    what_is_late_is_found_too(town, &tills).await;
}

/// Once the watermark has moved on, a sale comes that was made before it, and an old one is changed.
async fn what_is_late_is_found_too(town: &SilentTown, tills: &[Till<'_>]) {
    for till in tills {
        town.bakery.sandbox.set_faults_of(till.vendor, Faults::default());
        let shop = till.merchant.locations[0].id.as_str();
        let before = watermarks(till).await;
        assert_eq!(before.len(), till.merchant.locations.len());

        let old =
            till.desk().ring_up_past(SaleKind::Simple, shop, Timestamp::now() - SignedDuration::from_hours(24 * 5));
        let old = old.unwrap().order_id;
        // Five days ago is nothing that an incremental run looks at.
        let day = (Timestamp::now() - SignedDuration::from_hours(24 * 6)).to_string();
        till.sync(json!({ "kind": "backfill", "from": day[..10], "to": today() })).await;
        till.assert_balanced(&town.sales).await;

        let late = till.desk().ring_up(SaleKind::Offline, Some(shop)).unwrap();
        let back = till.desk().refund(&old, RefundKind::Amount).unwrap();
        till.quiet().await;
        let made_at = till.desk().ledger().into_iter().find(|entry| entry.order_id == late.order_id).unwrap().taken_at;
        assert!(made_at.parse::<Timestamp>().unwrap() < before[shop], "{made_at} and {}", before[shop]);

        let run = till.sync(json!({ "kind": "incremental" })).await;
        let books = till.assert_balanced(&town.sales).await;
        let back = match till.vendor {
            // Of one payment, all together.
            Vendor::Toast => back.order_id.trim_end_matches("/1").to_owned(),
            Vendor::Square | Vendor::Lightspeed => back.order_id,
        };
        for (order, kind) in [(late.order_id, "sale"), (back, "refund"), (old, "sale")] {
            assert!(books.0.contains_key(&(order.clone(), kind.to_owned())), "{kind} {order}: {run:#}");
        }
        let after = watermarks(till).await;
        assert!(before.iter().all(|(shop, mark)| after[shop] > *mark), "{before:?} {after:?}");
    }
}

fn today() -> String {
    Timestamp::now().to_string()[..10].to_owned()
}

/// Up to when each shop is complete.
async fn watermarks(till: &Till<'_>) -> BTreeMap<String, Timestamp> {
    let status = till.status("?limit=1").await;
    let shops = status["locations"].as_array().unwrap().iter();
    let marks = shops.filter_map(|shop| Some((shop["id"].as_str()?, shop["watermark"].as_str()?)));
    marks.map(|(shop, mark)| (shop.to_owned(), mark.parse().unwrap())).collect()
}

/// Two nights in which the clocks are changed: instants (UTC), and the business date with a day that starts at 04:00.
const NIGHTS: [(&str, &str); 11] = [
    // 01:00 is followed by 02:00: 00:30, 02:30 (01:30 does not exist), 03:30 and 04:30.
    ("2026-03-29T00:30:00Z", "2026-03-28"),
    ("2026-03-29T01:30:00Z", "2026-03-28"),
    ("2026-03-29T02:30:00Z", "2026-03-28"),
    ("2026-03-29T03:30:00Z", "2026-03-29"),
    // 02:00 is followed by 01:00: 00:30, 01:30, 01:30 again, 02:30, 03:30 and 04:30.
    ("2026-10-24T23:30:00Z", "2026-10-24"),
    ("2026-10-25T00:30:00Z", "2026-10-24"),
    ("2026-10-25T01:30:00Z", "2026-10-24"),
    ("2026-10-25T02:30:00Z", "2026-10-24"),
    ("2026-10-25T03:30:00Z", "2026-10-24"),
    ("2026-10-25T04:30:00Z", "2026-10-25"),
    // 03:30 of the night before, which is like any other.
    ("2026-10-24T02:30:00Z", "2026-10-23"),
];

/// The orders of a business day, as our API finds them.
async fn of_day(till: &Till<'_>, day: &str) -> Vec<String> {
    let path = format!("/transactions?configuration_id={}&business_date={day}&limit=100", till.id);
    let page = Answer::to(till.api.request(Method::GET, &path)).await.json();
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}")).iter();
    let mut orders: Vec<_> = items.map(|it| it["external_order_id"].as_str().unwrap().to_owned()).collect();
    orders.sort();
    orders
}

#[tokio::test]
async fn sales_of_a_night_in_which_the_clocks_change_are_in_the_right_business_day() {
    let town = &*silent_town().await;
    for vendor in [Vendor::Square, Vendor::Lightspeed] {
        let till = town.connect("night-shift", vendor, 1, json!({ "backfill_days": 0 })).await;
        let zones = ["Europe/London", "Europe/Dublin"];
        let mut shops = till.merchant.locations.iter().filter(|shop| zones.contains(&shop.time_zone.as_str()));
        let shops = [shops.next().unwrap(), shops.next().unwrap()].map(|shop| shop.id.as_str());
        let mut days = BTreeMap::<&str, Vec<String>>::new();
        for (number, (at, day)) in NIGHTS.iter().enumerate() {
            let sale = till.desk().ring_up_past(SaleKind::Simple, shops[number % 2], at.parse().unwrap()).unwrap();
            days.entry(day).or_default().push(sale.order_id);
        }
        days.values_mut().for_each(|orders| orders.sort());
        for (from, to) in [("2026-03-27", "2026-03-30"), ("2026-10-23", "2026-10-26")] {
            till.sync(json!({ "kind": "backfill", "from": from, "to": to, "locations": shops })).await;
        }
        for (day, orders) in &days {
            assert_eq!(&of_day(&till, day).await, orders, "{vendor:?} {day}");
        }
        let sold = till.assert_balanced(&town.sales).await;
        assert_eq!(sold.orders(), NIGHTS.len());
        for day in days.keys() {
            let again = till.sync(json!({ "kind": "repair", "day": day })).await;
            let counts = &again["progress"]["orders"];
            assert_eq!((&counts["created"], &counts["updated"]), (&json!(0), &json!(0)), "{again:#}");
            assert!(counts["seen"].as_u64() >= u64::try_from(days[day].len()).ok(), "{again:#}");
        }
        let stored: Vec<Value> = till.api.transactions(&till.id).await.unwrap();
        assert!(stored.iter().all(|it| it["revision"] == 1), "nothing was written twice");
        till.assert_balanced(&town.sales).await;
    }
}

#[tokio::test]
async fn a_list_that_toast_shifts_while_it_is_read_loses_nothing() {
    let town = &*silent_town().await;
    let till = town.connect("shifting", Vendor::Toast, 2, json!({ "backfill_days": 0 })).await;
    let shop = till.merchant.locations[0].id.as_str();
    // Closed at the end of the day, all at once: one window, several pages.
    let noon = Timestamp::now() - SignedDuration::from_hours(24 * 4);
    let orders: Vec<_> =
        (0..220).map(|_| till.desk().ring_up_past(SaleKind::Simple, shop, noon).unwrap().order_id).collect();
    slow_lists(&town.bakery, Vendor::Toast, 700);
    let day = (noon - SignedDuration::from_hours(24)).to_string()[..10].to_owned();
    let run = till.begin(json!({ "kind": "backfill", "from": day, "to": today(), "locations": [shop] })).await;
    till.run_that(&run, "to read", |run| run["progress"]["pages"].as_u64() >= Some(1)).await;
    // What changes now moves out of the window, and all that is behind it moves up.
    for order in orders.iter().step_by(10) {
        till.desk().refund(order, RefundKind::Amount).unwrap();
    }
    let run = till.ended(&run).await;
    town.bakery.sandbox.set_faults_of(Vendor::Toast, Faults::default());
    assert_eq!(run["state"], "completed", "{run:#}");
    till.quiet().await;
    till.sync(json!({ "kind": "incremental" })).await;
    till.assert_balanced(&town.sales).await;
}

#[tokio::test]
async fn a_list_that_lightspeed_cuts_in_silence_is_read_in_halves_until_its_totals_agree() {
    let town = &*silent_town().await;
    let till = town.connect("cut-short", Vendor::Lightspeed, 2, json!({ "backfill_days": 0 })).await;
    let shop = &till.merchant.locations[0];
    let day = (Timestamp::now() - SignedDuration::from_hours(24 * 6)).to_string()[..10].to_owned();
    let opens = day.parse::<jiff::civil::Date>().unwrap().at(6, 0, 0, 0).in_tz(&shop.time_zone).unwrap().timestamp();
    // From 06:00 on, every twenty minutes: no half of the day has more than the list shows.
    for number in 0..60 {
        let at = opens + SignedDuration::from_mins(20 * number);
        till.desk().ring_up_past(SaleKind::Simple, &shop.id, at).unwrap();
    }
    let faults = Faults { silent_cap: Some(45), ..Faults::default() };
    town.bakery.sandbox.set_faults_of(Vendor::Lightspeed, faults);
    let run = till.sync(json!({ "kind": "backfill", "from": day, "to": day, "locations": [shop.id] })).await;
    town.bakery.sandbox.set_faults_of(Vendor::Lightspeed, Faults::default());
    let codes: Vec<_> = run["notes"].as_array().unwrap().iter().map(|note| note["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["totals_disagree", "silent_cap"], "{run:#}");
    let books = till.assert_balanced(&town.sales).await;
    assert_eq!(books.orders(), 60);
}
