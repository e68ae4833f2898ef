//! Days that look like a bakery's, at all providers and by one clock.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use sandbox::{EntryKind, EntryState, Faults, LedgerEntry, SaleKind, Sandbox, SandboxOptions, Vendor};
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::{Client, PATIENCE, quick, standing};

/// After a week that began on Monday, 2 March 2026; in it, America's clocks change.
/// One for all tests, because they only look.
fn after_a_week() -> &'static Sandbox {
    static WEEK: OnceLock<Sandbox> = OnceLock::new();
    WEEK.get_or_init(|| {
        let now = Some("2026-03-16T10:00:00Z".parse().unwrap());
        let sandbox = Sandbox::start(SandboxOptions { now, merchants: 2, abroad: true, ..standing() }).unwrap();
        for vendor in Vendor::ALL {
            sandbox.at(vendor).stock_days("2026-03-02".parse().unwrap(), 7, 12);
        }
        sandbox
    })
}

fn local_hour(sandbox: &Sandbox, vendor: Vendor, entry: &LedgerEntry) -> (i8, jiff::civil::Weekday) {
    let merchants = sandbox.merchants_of(vendor);
    let shops = merchants.iter().flat_map(|merchant| &merchant.locations);
    let zone = &shops.into_iter().find(|shop| shop.id == entry.location_id).unwrap().time_zone;
    let at: jiff::Timestamp = entry.created_at.parse().unwrap();
    let local = at.in_tz(zone).unwrap();
    (local.hour(), local.weekday())
}

#[test]
fn a_week_has_its_hours_rushes_and_weekdays() {
    let sandbox = after_a_week();
    for vendor in Vendor::ALL {
        let ledger = sandbox.at(vendor).ledger();
        // An offline sale comes when it comes.
        let sales = ledger.iter().filter(|entry| entry.kind == EntryKind::Sale && entry.source_order_id.is_none());
        let visits: Vec<_> = sales.map(|entry| local_hour(sandbox, vendor, entry)).collect();
        let open = visits.iter().filter(|(hour, _)| (6..18).contains(hour)).count();
        assert!(open * 100 >= visits.len() * 95, "{vendor:?}: {open} of {}", visits.len());
        let on = |weekday| visits.iter().filter(|(_, day)| *day == weekday).count();
        use jiff::civil::Weekday;
        assert!(on(Weekday::Saturday) > on(Weekday::Monday) * 3 / 2, "{vendor:?}");
        let weekdays = visits.iter().filter(|(_, day)| !matches!(day, Weekday::Saturday | Weekday::Sunday));
        let hours: Vec<i8> = weekdays.map(|(hour, _)| *hour).collect();
        let between = |from: i8, to: i8| hours.iter().filter(|hour| (from..to).contains(*hour)).count();
        assert!(between(7, 9) > 2 * between(15, 17), "{vendor:?}: {hours:?}");
    }
}

#[test]
fn four_currencies_are_taken_and_days_add_up() {
    let sandbox = after_a_week();
    let mut currencies = BTreeSet::new();
    for vendor in Vendor::ALL {
        let (ledger, totals) = (sandbox.at(vendor).ledger(), sandbox.at(vendor).totals());
        let sum = |kind: EntryKind, currency: &str| -> i64 {
            let counted = ledger.iter().filter(|entry| entry.state == EntryState::Completed && entry.kind == kind);
            counted.filter(|entry| entry.currency == currency).map(|entry| entry.total_minor).sum()
        };
        for total in &totals {
            currencies.insert(total.currency.clone());
        }
        for currency in totals.iter().map(|total| &total.currency).collect::<BTreeSet<_>>() {
            let days = totals.iter().filter(|total| &total.currency == currency);
            let (sold, back) = days.fold((0, 0), |sum, day| (sum.0 + day.sold_minor, sum.1 + day.refunded_minor));
            assert_eq!((sold, back), (sum(EntryKind::Sale, currency), sum(EntryKind::Refund, currency)));
        }
    }
    assert_eq!(currencies.into_iter().collect::<Vec<_>>(), ["EUR", "GBP", "JPY", "USD"]);
}

#[tokio::test]
async fn squares_shops_abroad_have_tax_in_their_prices() {
    let sandbox = after_a_week();
    let client = Client::of(sandbox);
    let mut checked = 0;
    for order in client.all_orders(sandbox, 100).await {
        let minor = |key: &str| order[key]["amount"].as_i64().unwrap();
        let taxes = order["taxes"].as_array().cloned().unwrap_or_default();
        if !taxes.iter().any(|tax| tax["type"] == "INCLUSIVE") {
            continue;
        }
        let all: i64 = taxes.iter().map(|tax| tax["applied_money"]["amount"].as_i64().unwrap()).sum();
        let lines = order["line_items"].as_array().unwrap();
        let of = |key: &str| -> i64 { lines.iter().map(|line| line[key]["amount"].as_i64().unwrap()).sum() };
        assert_eq!(all, minor("total_tax_money"), "{order}");
        assert_eq!(of("total_tax_money"), all);
        let total = of("gross_sales_money") - minor("total_discount_money")
            + minor("total_service_charge_money")
            + minor("total_tip_money");
        assert_eq!(minor("total_money"), total, "{order}");
        checked += 1;
    }
    assert!(checked > 20);
    let yen = sandbox.ledger().into_iter().find(|entry| entry.currency == "JPY" && entry.included_tax_minor > 0);
    let yen = yen.unwrap();
    assert!(yen.tax_minor == 0 && yen.included_tax_minor < yen.total_minor / 10);
}

#[tokio::test]
async fn what_is_ordered_for_later_is_paid_before_it_is_fetched() {
    let sandbox = after_a_week();
    let days = |from: &str, to: &str| {
        let [from, to] = [from, to].map(|text| text.parse::<jiff::Timestamp>().unwrap());
        to.duration_since(from).as_hours()
    };
    let square = sandbox.ledger();
    let waits =
        |entry: &&LedgerEntry| entry.closed_at.as_ref().is_some_and(|closed| days(&entry.taken_at, closed) > 40);
    let paid = square.iter().filter(|entry| entry.kind == EntryKind::Sale).filter(waits).count();
    assert!(paid > 3, "{paid} pre-orders at Square");
    let toast = sandbox.at(Vendor::Toast).ledger();
    let promised = toast.iter().filter(|entry| {
        let paid: jiff::Timestamp = entry.taken_at.parse().unwrap();
        let day: jiff::civil::Date = entry.business_date.as_ref().unwrap().parse().unwrap();
        entry.kind == EntryKind::Sale && day.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp() > paid
    });
    assert!(promised.count() > 3, "pre-orders at Toast belong to the day of the promise");
}

#[tokio::test]
async fn days_pass_where_the_clock_runs() {
    let sandbox = Sandbox::start(SandboxOptions {
        speed: 30_000.0,
        now: Some("2026-03-06T06:00:00Z".parse().unwrap()),
        clock_runs: true,
        ..quick()
    })
    .unwrap();
    for vendor in Vendor::ALL {
        sandbox.at(vendor).play_days(1, 4).unwrap();
    }
    sandbox.wait_until_all_quiet(PATIENCE).await.unwrap();
    assert!(sandbox.now().to_string().as_str() > "2026-03-07", "{}", sandbox.now());
    for vendor in Vendor::ALL {
        let ledger = sandbox.at(vendor).ledger();
        assert!(ledger.iter().any(|entry| entry.state == EntryState::Completed), "{vendor:?}");
        assert!(ledger.iter().all(|entry| entry.created_at < sandbox.now().to_string()), "nothing is of the future");
    }
    let squeezed = Sandbox::start(quick()).unwrap();
    assert!(squeezed.at(Vendor::Toast).play_days(1, 6).is_err(), "days do not pass by the machine's clock");
}

#[tokio::test]
async fn the_same_seed_is_the_same_day_at_every_provider() {
    for vendor in Vendor::ALL {
        let days = [7, 7, 8].map(|seed| {
            let sandbox = Sandbox::start(SandboxOptions { seed, ..standing() }).unwrap();
            sandbox.at(vendor).stock_history(40, "2026-03-07T11:30:00Z".parse().unwrap());
            sandbox.at(vendor).ledger()
        });
        assert_eq!(days[0], days[1], "{vendor:?}");
        assert_ne!(days[0], days[2], "{vendor:?}");
    }
}

#[tokio::test]
async fn manners_can_be_changed_while_it_runs() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let http = reqwest::Client::new();
    for (vendor, name) in Vendor::ALL.into_iter().zip(["square", "toast", "lightspeed"]) {
        let (receiver, url) = Receiver::answering(&[]).await;
        sandbox.grant_of(vendor, None, &[]).unwrap();
        sandbox.at(vendor).subscribe(&url);
        let faults = json!({"duplicates_percent": 100, "burst": 2, "no_rate_limits": true});
        let put = http.put(format!("{}/_admin/faults?vendor={name}", sandbox.square_url())).json(&faults);
        assert_eq!(put.send().await.unwrap().status().as_u16(), 200);
        sandbox.at(vendor).ring_up(SaleKind::Cash, None).unwrap();
        sandbox.at(vendor).wait_until_quiet(PATIENCE).await.unwrap();
        let events = sandbox.at(vendor).events();
        assert_eq!(receiver.got().len(), 2 * events.len(), "{vendor:?}");
        let ids: BTreeSet<&str> = events.iter().map(|event| event.event_id.as_str()).collect();
        assert_eq!(ids.len(), events.len(), "an echo has an id of its own");
        assert_eq!(events.len() % 3, 0, "{vendor:?}");
        sandbox.set_faults_of(vendor, Faults { loss_percent: Some(100), ..Faults::default() });
        sandbox.at(vendor).ring_up(SaleKind::Cash, None).unwrap();
        sandbox.at(vendor).wait_until_quiet(PATIENCE).await.unwrap();
        assert_eq!(receiver.got().len(), 2 * events.len(), "{vendor:?}: all lost");
    }
}

#[tokio::test]
async fn the_control_desk_does_at_every_provider_what_code_can_do() {
    let sandbox = Sandbox::start(standing()).unwrap();
    let http = reqwest::Client::new();
    let desk = |path: &str| format!("{}/_admin/{path}", sandbox.lightspeed_url());
    for vendor in ["square", "toast", "lightspeed"] {
        let post = |path: &str, body: Value| {
            let url = desk(&format!("{path}?vendor={vendor}"));
            let request = http.post(url).json(&body);
            async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
        };
        post("days", json!({"days": 2, "customers": 5, "first": "2026-03-02"})).await;
        let sale = post("sales", json!({"kind": "tip"})).await;
        let waited = post("wait", json!({})).await;
        assert_eq!(waited["idle"], true, "{vendor}");
        let totals: Value =
            http.get(desk(&format!("totals?vendor={vendor}"))).send().await.unwrap().json().await.unwrap();
        assert!(totals.as_array().unwrap().len() >= 6, "{totals}");
        let order = sale["order_id"].as_str().unwrap().replace('/', "%2F");
        let back = post(&format!("sales/{order}/refund"), json!({"kind": "full"})).await;
        assert_eq!(back["total_minor"], sale["total_minor"], "{vendor}: {back}");
        let granted = post("grants", json!({})).await;
        assert!(granted["access_token"].is_string());
    }
}
