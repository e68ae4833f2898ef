//! What a provider is: one list of scenarios, each played by every provider's own orders.
//!
//! `fixtures/<provider>/<scenario>.json` is an order in the provider's documented shape with one peculiarity, the
//! snapshot beside it the whole transactions. A provider that cannot have a scenario says why in `GAPS`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::domain::{Configuration, LocationId, ProviderKind};
use shared::providers::RawOrder;

use crate::accounts::{KINDS, pure};

const SCENARIOS: [&str; 23] = [
    "simple_sale",
    "modifiers",
    "discount_and_service_charge",
    "auto_gratuity",
    "split_payments_with_tip_and_weight",
    "void_before_payment",
    "partial_refund",
    "refund_without_lines",
    "unlinked_refund",
    "exchange",
    "correction_chain",
    "sale_after_midnight_with_included_tax",
    "offline_sale",
    "late_tip",
    "open_order",
    "deleted_order",
    "not_sold",
    "custom_amount",
    "gift_card_sold_and_redeemed",
    "account_payment",
    "cash_rounding",
    "taxes_with_many_decimals",
    "sums_that_do_not_add_up",
];

/// What a provider's orders cannot show, and why.
const GAPS: &[(ProviderKind, &str, &str)] = &[
    (ProviderKind::Square, "correction_chain", "a correction is a return; sales are not negated by other sales"),
    (ProviderKind::Square, "deleted_order", "orders are canceled, never deleted"),
    (ProviderKind::Square, "account_payment", "house accounts are invoices, which are not read as orders"),
    (ProviderKind::Square, "taxes_with_many_decimals", "amounts are whole cents"),
    (ProviderKind::Toast, "unlinked_refund", "a refund stands inside the payment that it gives back"),
    (ProviderKind::Toast, "exchange", "an exchange is a refund and an order of its own"),
    (ProviderKind::Toast, "correction_chain", "an order is edited, never negated by another"),
    (ProviderKind::Toast, "offline_sale", "a till that was offline sends the times of its own clock"),
    (ProviderKind::Lightspeed, "auto_gratuity", "a service charge does not say for whom it is"),
    (ProviderKind::Lightspeed, "refund_without_lines", "a refund is a sale with negative lines"),
    (ProviderKind::Lightspeed, "offline_sale", "an account is closed at the time of the till's own clock"),
    (ProviderKind::Lightspeed, "open_order", "the Financial API knows closed accounts alone"),
    (ProviderKind::Lightspeed, "custom_amount", "a line with a free price looks like any other"),
    (ProviderKind::Lightspeed, "gift_card_sold_and_redeemed", "a card that is sold is a line like any other"),
    (ProviderKind::Lightspeed, "account_payment", "the payment of an invoice is no account of a till"),
    (ProviderKind::Lightspeed, "cash_rounding", "no field of the Financial API carries it"),
];

pub fn fixtures(kind: ProviderKind) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(kind.as_str())
}

pub fn configuration(kind: ProviderKind, locations: &[(&str, &str, &str)]) -> Configuration {
    let locations: Vec<Value> = locations
        .iter()
        .map(|(id, time_zone, currency)| {
            json!({ "id": id, "name": id, "time_zone": time_zone, "currency": currency, "day_start": "04:00" })
        })
        .collect();
    serde_json::from_value(json!({
        "id": "01938d5e-0000-7000-8000-000000000001", "provider": kind, "environment": "production",
        "name": "Bakery", "merchant": { "id": "M1", "name": "Bakery" }, "locations": locations, "status": "active",
        "credentials_expire_at": null, "version": 1,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    }))
    .unwrap()
}

/// Plays every scenario that a provider has, and sees that it is silent about none.
fn play(kind: ProviderKind) {
    let shops = [("SHOP1", "America/New_York", "USD"), ("SHOP2", "America/Sao_Paulo", "EUR")];
    let (providers, configuration) = (pure(), configuration(kind, &shops));
    let mut unplayed = Vec::new();
    for scenario in SCENARIOS {
        let is_gap = GAPS.iter().any(|(gap, name, _)| (*gap, *name) == (kind, scenario));
        let Ok(body) = std::fs::read(fixtures(kind).join(format!("{scenario}.json"))) else {
            if !is_gap {
                unplayed.push(scenario);
            }
            continue;
        };
        assert!(!is_gap, "{kind} has {scenario} and calls it a gap");
        // Those whose orders do not name their shop were read from one.
        let shop = if scenario == "sale_after_midnight_with_included_tax" { "SHOP2" } else { "SHOP1" };
        // The payment says what the order does not.
        let paid_offline_at = (scenario == "offline_sale").then(|| "2026-02-14T13:00:30Z".parse().unwrap());
        let location = LocationId::new(shop).ok();
        let raw = RawOrder { body, location, paid_offline_at, observed_at: Timestamp::UNIX_EPOCH };
        let transactions = providers.get(kind).normalize_order(&raw, &configuration);
        let transactions = transactions.unwrap_or_else(|error| panic!("{kind} {scenario}: {error}"));
        insta::assert_debug_snapshot!(format!("{kind}__{scenario}"), transactions);
    }
    assert_eq!(unplayed, Vec::<&str>::new(), "{kind} neither plays these nor says why not");
}

#[test]
fn square_plays_its_scenarios() {
    play(ProviderKind::Square);
}

#[test]
fn toast_plays_its_scenarios() {
    play(ProviderKind::Toast);
}

#[test]
fn lightspeed_plays_its_scenarios() {
    play(ProviderKind::Lightspeed);
}

/// What a field may hold that it should not.
fn nonsense() -> [Value; 6] {
    [Value::Null, json!("x"), json!(-1), json!(1e300), json!([]), json!({})]
}

/// Every field of every order, one after the other, with every nonsense: it may be refused, and nobody may panic.
#[test]
fn a_field_of_nonsense_is_taken_or_refused_with_its_place() {
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), found));
            }
            Value::Array(elements) => {
                elements.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        found.push(at.to_owned());
    }
    let mut refused = 0;
    for kind in KINDS {
        let (providers, shops) = (pure(), [("SHOP1", "America/New_York", "USD")]);
        let configuration = configuration(kind, &shops);
        for scenario in ["modifiers", "partial_refund", "discount_and_service_charge"] {
            let body = std::fs::read(fixtures(kind).join(format!("{scenario}.json"))).unwrap();
            let order: Value = serde_json::from_slice(&body).unwrap();
            let mut found = Vec::new();
            places(&order, "", &mut found);
            for (place, nonsense) in found.iter().flat_map(|place| nonsense().map(|nonsense| (place, nonsense))) {
                let mut order = order.clone();
                *order.pointer_mut(place).unwrap() = nonsense;
                let raw = RawOrder {
                    body: serde_json::to_vec(&order).unwrap(),
                    location: LocationId::new("SHOP1").ok(),
                    paid_offline_at: None,
                    observed_at: Timestamp::UNIX_EPOCH,
                };
                refused += u32::from(providers.get(kind).normalize_order(&raw, &configuration).is_err());
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn no_fixture_and_no_gap_is_of_an_unknown_scenario() {
    let known: BTreeSet<&str> = SCENARIOS.into_iter().collect();
    for (kind, scenario, reason) in GAPS {
        assert!(known.contains(scenario) && !reason.is_empty(), "{kind} {scenario}");
    }
    for kind in KINDS {
        for entry in std::fs::read_dir(fixtures(kind)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(known.contains(name.as_str()), "{kind} {name}");
        }
    }
}
