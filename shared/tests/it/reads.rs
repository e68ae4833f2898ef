//! Orders page by page, one by one, the catalogue, and what is written back.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use sandbox::SaleKind;
use sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};
use shared::domain::{Environment, ExternalOrderId, LocationId, Minor, ProviderKind};
use shared::providers::{
    Access, AccessToken, Availability, AvailabilityChange, AvailabilityOutcome, AvailabilitySupport, OrderPage,
    OrderQuery, OrderRef, ProviderErrorKind, RawOrder,
};

use crate::accounts::{KINDS, providers_at, pure};
use crate::scenarios::configuration;
use crate::vendor::{Reply, Seen, Vendor, ok, refused};

fn access(token: &AccessToken) -> Access<'_> {
    Access { environment: Environment::Production, token }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn query(location: &str, cursor: Option<&str>) -> OrderQuery {
    OrderQuery {
        location: LocationId::new(location).unwrap(),
        from: at("2026-02-14T08:00:00Z"),
        to: at("2026-02-14T09:00:00.5Z"),
        cursor: cursor.map(str::to_owned),
    }
}

async fn list(url: &str, kind: ProviderKind, query: &OrderQuery) -> Result<OrderPage, ProviderErrorKind> {
    let token = AccessToken::new("t");
    providers_at(url).get(kind).list_orders(&access(&token), query).await.map_err(|error| error.kind)
}

async fn fetch(url: &str, kind: ProviderKind, order: &OrderRef) -> Result<RawOrder, ProviderErrorKind> {
    let token = AccessToken::new("t");
    providers_at(url).get(kind).fetch_order(&access(&token), order).await.map_err(|error| error.kind)
}

/// What the orders of a page are called, in whatever word their provider has for it.
fn ids(page: &OrderPage) -> Vec<String> {
    let id = |order: &RawOrder| {
        let order: Value = serde_json::from_slice(&order.body).unwrap();
        let names = ["id", "guid", "accountFiscId", "accountReference"];
        names.iter().find_map(|name| order[name].as_str()).unwrap().to_owned()
    };
    page.orders.iter().map(id).collect()
}

#[tokio::test]
async fn every_square_order_is_found_by_its_change() {
    let quiet = SandboxOptions { now: Some(at("2026-03-08T10:00:00Z")), speed: 50_000.0, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(quiet).unwrap();
    sandbox.stock_history(450, at("2026-03-02T06:00:00Z"));
    let providers = providers_at(&sandbox.square_url());
    let square = providers.get(ProviderKind::Square);
    let token = AccessToken::new(sandbox.grant(None, &[]).unwrap().access_token);
    let mut found = BTreeSet::new();
    let mut pages = 0;
    for location in &sandbox.merchants()[0].locations {
        let location = LocationId::new(location.id.as_str()).unwrap();
        let (from, to) = (at("2026-03-01T00:00:00Z"), at("2026-04-01T00:00:00Z"));
        let mut query = OrderQuery { location, from, to, cursor: None };
        loop {
            let page = square.list_orders(&access(&token), &query).await.unwrap();
            pages += 1;
            assert!(page.orders.iter().all(|order| order.location.as_ref() == Some(&query.location)));
            found.extend(ids(&page));
            let Some(next) = page.next else { break };
            query.cursor = Some(next);
        }
    }
    let sold: BTreeSet<String> = sandbox.ledger().into_iter().map(|entry| entry.order_id).collect();
    assert!(found.is_superset(&sold), "{:?}", sold.difference(&found).collect::<Vec<_>>());
    assert!(pages > sandbox.merchants()[0].locations.len(), "{pages} pages");

    let mut query = query(&sandbox.merchants()[0].locations[0].id, Some("of-another-query"));
    query.to = at("2026-04-01T00:00:00Z");
    let refused = square.list_orders(&access(&token), &query).await.unwrap_err();
    assert_eq!(refused.kind, ProviderErrorKind::CursorExpired);
}

#[tokio::test]
async fn an_offline_sale_counts_when_the_guest_paid() {
    let quiet = SandboxOptions { now: Some(at("2026-03-08T10:00:00Z")), ..SandboxOptions::default() };
    let sandbox = Sandbox::start(quiet).unwrap();
    let rung_up = sandbox.ring_up(SaleKind::Offline).unwrap();
    sandbox.advance_clock(std::time::Duration::from_secs(4 * 24 * 3600));
    let token = AccessToken::new(sandbox.grant(None, &[]).unwrap().access_token);
    let providers = providers_at(&sandbox.square_url());
    let id = ExternalOrderId::new(rung_up.order_id.as_str()).unwrap();
    let order = OrderRef { id, location: None, changed_at: None };
    let raw = providers.get(ProviderKind::Square).fetch_order(&access(&token), &order).await.unwrap();
    let sold = sandbox.ledger().into_iter().find(|entry| entry.order_id == rung_up.order_id).unwrap();
    let taken_at: Timestamp = sold.taken_at.parse().unwrap();
    let paid_at = raw.paid_offline_at.unwrap();
    assert!(paid_at.duration_since(taken_at).abs() < SignedDuration::from_secs(1), "{paid_at} {taken_at}");
}

fn toast(seen: &Seen) -> Reply {
    let orders = |from: usize, count: usize| -> Value {
        let order =
            |n| json!({ "guid": format!("o{n}"), "modifiedDate": "2026-02-14T08:30:00.000+0000", "checks": [] });
        (from..from + count).map(order).collect()
    };
    let window = "startDate=2026-02-14T08%3A00%3A00.000%2B0000&endDate=2026-02-14T09%3A00%3A00.500%2B0000&pageSize=50";
    assert_eq!(seen.header("toast-restaurant-external-id"), "r1");
    let link = |rel: &str| ("link", format!("<https://toast.example/orders/v2/ordersBulk?page=9>; rel=\"{rel}\""));
    match seen.path.strip_prefix(&format!("/orders/v2/ordersBulk?{window}&page=")) {
        Some("1") => (200, vec![link("first"), link("next")], orders(0, 50).to_string()),
        Some("2") => (200, vec![link("prev")], orders(50, 50).to_string()),
        Some("3") => (200, vec![link("next")], orders(100, 7).to_string()),
        _ => refused(400, "{}"),
    }
}

#[tokio::test]
async fn toasts_pages_end_without_a_next_one_or_when_one_is_not_full() {
    let vendor = Vendor::answering(toast).await;
    let first = list(&vendor.url, ProviderKind::Toast, &query("r1", None)).await.unwrap();
    assert_eq!((first.orders.len(), first.next.as_deref()), (50, Some("2:o49")));
    assert_eq!(ids(&first)[49], "o49");
    let found = &first.orders[0];
    assert_eq!(found.location.as_ref().unwrap().as_str(), "r1");
    for (page, count) in [("2:o49", 50), ("3:o99", 7), ("3", 7)] {
        let page = list(&vendor.url, ProviderKind::Toast, &query("r1", Some(page))).await.unwrap();
        assert_eq!((page.orders.len(), page.next), (count, None));
    }
    let refused = list(&vendor.url, ProviderKind::Toast, &query("r1", Some("4"))).await.unwrap_err();
    assert_eq!(refused, ProviderErrorKind::Rejected { status: 400 });
}

#[tokio::test]
async fn what_moves_up_to_a_page_of_toasts_that_was_read_is_not_lost() {
    let vendor = Vendor::answering(toast).await;
    // Three of the first page are gone since it was read.
    let second = list(&vendor.url, ProviderKind::Toast, &query("r1", Some("2:o46"))).await.unwrap();
    assert_eq!((second.orders.len(), second.requests), (53, 2));
    assert_eq!(ids(&second)[50..], ["o47", "o48", "o49"]);
    let lost = list(&vendor.url, ProviderKind::Toast, &query("r1", Some("2:gone"))).await.unwrap_err();
    assert_eq!(lost, ProviderErrorKind::CursorExpired);
}

fn sale(id: &str, closed_at: &str) -> Value {
    json!({
        "accountReference": format!("{id}=="), "accountFiscId": id, "type": "SALE", "cancelled": false,
        "timeOfOpening": closed_at, "timeClosed": closed_at, "source": { "initialAccountId": id },
        "salesLines": [{ "id": "S1", "name": "Baguette", "sku": "BAG", "quantity": "1", "menuListPrice": "3.50", "totalNetAmountWithTax": "3.50", "totalNetAmountWithoutTax": "3.50", "taxLines": [] }],
        "payments": [{ "uuid": "p", "code": "CASH", "netAmountWithTax": "3.50", "tip": "1.00" }],
    })
}

fn lightspeed(seen: &Seen) -> Reply {
    let (path, query) = seen.path.split_once('?').unwrap();
    match (path, query.split_once("&include=payments&pageSize=100")) {
        ("/f/v2/business-location/7/sales", Some((window, rest))) => {
            let is_listing = window == "from=2026-02-14T08%3A00%3A00Z&to=2026-02-14T09%3A00%3A00.5Z";
            let is_search = window == "from=2026-02-14T08%3A15%3A00Z&to=2026-02-14T08%3A45%3A00Z";
            assert!(is_listing || is_search, "{window}");
            match rest {
                "" => ok(json!({ "sales": [sale("A1.1", "2026-02-14T08:20:00Z")], "nextPageToken": "n/1" })),
                "&nextPageToken=n%2F1" => {
                    ok(json!({ "sales": [sale("A1.2", "2026-02-14T08:30:00Z")], "nextPageToken": "" }))
                }
                _ => refused(400, json!({ "error": "bad token" })),
            }
        }
        ("/f/v2/business-location/7/sales-daily", None) => {
            assert_eq!(query, "date=2026-02-14");
            let mut refund = sale("A1.3", "2026-02-14T08:30:00Z");
            refund["type"] = "REFUND".into();
            for field in ["menuListPrice", "totalNetAmountWithTax", "totalNetAmountWithoutTax"] {
                refund["salesLines"][0][field] = "-1.25".into();
            }
            let mut float = sale("A1.4", "2026-02-14T08:30:00Z");
            float["type"] = "FLOAT".into();
            let sales = [sale("A1.1", "2026-02-14T08:20:00Z"), refund, float, sale("A1.5", "2026-02-14T08:40:00Z")];
            ok(json!({ "sales": sales, "nextStartOfDayAsIso8601": "2026-02-15T04:00:00+00:00", "dataComplete": true }))
        }
        _ => refused(404, "{}"),
    }
}

#[tokio::test]
async fn lightspeeds_pages_are_read_to_their_end_and_a_stale_token_is_known() {
    let vendor = Vendor::answering(lightspeed).await;
    let first = list(&vendor.url, ProviderKind::Lightspeed, &query("7", None)).await.unwrap();
    assert_eq!((ids(&first), first.next.as_deref()), (vec!["A1.1".to_owned()], Some("n/1")));
    let second = list(&vendor.url, ProviderKind::Lightspeed, &query("7", Some("n/1"))).await.unwrap();
    assert_eq!((ids(&second), second.next.as_deref()), (vec!["A1.2".to_owned()], None));
    let stale = list(&vendor.url, ProviderKind::Lightspeed, &query("7", Some("old"))).await.unwrap_err();
    assert_eq!(stale, ProviderErrorKind::CursorExpired);
}

#[tokio::test]
async fn a_tip_is_put_on_top_of_a_lightspeed_bill_that_was_rounded() {
    let mut body = sale("A1.1", "2026-02-14T08:20:00Z");
    body["salesLines"][0]["totalNetAmountWithTax"] = "3.505".into();
    body["payments"][0]["tip"] = "1.01".into();
    let (location, observed_at) = (LocationId::new("7").ok(), at("2026-02-14T09:00:00Z"));
    let raw = RawOrder { body: body.to_string().into_bytes(), location, paid_offline_at: None, observed_at };
    let configuration = configuration(ProviderKind::Lightspeed, &[("7", "Europe/London", "GBP")]);
    let providers = providers_at("http://127.0.0.1:9");
    let sold = providers.get(ProviderKind::Lightspeed).normalize_order(&raw, &configuration).unwrap();
    assert_eq!(sold[0].amounts.total, Minor(451));
}

#[tokio::test]
async fn a_lightspeed_sale_is_found_by_the_time_of_its_closing() {
    let vendor = Vendor::answering(lightspeed).await;
    let order = |id: &str| OrderRef {
        id: ExternalOrderId::new(id).unwrap(),
        location: LocationId::new("7").ok(),
        changed_at: Some(at("2026-02-14T08:30:00Z")),
    };
    // On the second page, by each of its names.
    for id in ["7/A1.2", "A1.2", "A1.2=="] {
        let raw = fetch(&vendor.url, ProviderKind::Lightspeed, &order(id)).await.unwrap();
        let shops = [("7", "Europe/London", "GBP")];
        let configuration = configuration(ProviderKind::Lightspeed, &shops);
        let providers = providers_at(&vendor.url);
        let sold = providers.get(ProviderKind::Lightspeed).normalize_order(&raw, &configuration).unwrap();
        assert_eq!((sold[0].external_order_id.as_str(), sold[0].amounts.total), ("7/A1.2", Minor(450)));
    }
    let missing = fetch(&vendor.url, ProviderKind::Lightspeed, &order("A1.9")).await.unwrap_err();
    assert_eq!(missing, ProviderErrorKind::NotFound);
    for order in [OrderRef { changed_at: None, ..order("A1.2") }, OrderRef { location: None, ..order("A1.2") }] {
        let unsupported = fetch(&vendor.url, ProviderKind::Lightspeed, &order).await.unwrap_err();
        assert_eq!(unsupported, ProviderErrorKind::Unsupported);
    }
}

#[tokio::test]
async fn only_lightspeed_tells_what_a_day_came_to() {
    let vendor = Vendor::answering(lightspeed).await;
    let providers = providers_at(&vendor.url);
    let token = AccessToken::new("t");
    let date = "2026-02-14".parse().unwrap();
    for kind in KINDS {
        let configuration = configuration(kind, &[("7", "Europe/London", "GBP")]);
        let shop = &configuration.locations[0];
        let totals = providers.get(kind).fetch_daily_totals(&access(&token), &configuration, shop, date).await;
        match kind {
            ProviderKind::Lightspeed => {
                let totals = totals.unwrap();
                assert_eq!((totals.sales, totals.refunds, totals.turnover), (2, 1, Minor(575)));
                assert!(totals.is_final && totals.date == date && totals.currency.code() == "GBP");
            }
            ProviderKind::Square | ProviderKind::Toast => {
                assert_eq!(totals.unwrap_err().kind, ProviderErrorKind::Unsupported);
            }
        }
    }
}

fn catalogue(seen: &Seen) -> Reply {
    match seen.path.as_str() {
        "/v2/catalog/search" if seen.body.contains(r#""cursor":"c1""#) => ok("{}"),
        "/v2/catalog/search" => ok(json!({
            "objects": [{
                "type": "ITEM", "id": "I1",
                "item_data": {
                    "name": "Croissant", "categories": [{ "id": "C9" }], "reporting_category": { "id": "C1" },
                    "variations": [
                        { "type": "ITEM_VARIATION", "id": "V1", "item_variation_data": { "name": "Large", "sku": "CRO-L" } },
                        { "type": "ITEM_VARIATION", "id": "V2", "item_variation_data": { "name": "Small", "sku": "" } },
                    ],
                },
            }],
            "related_objects": [{ "type": "CATEGORY", "id": "C1", "category_data": { "name": "Pastry" } }],
            "cursor": "c1",
        })),
        "/menus/v2/menus" => {
            let item = |guid: &str, plu: &str, category: Option<&str>| json!({ "guid": guid, "name": "Croissant", "sku": null, "plu": plu, "salesCategory": category.map(|name| json!({ "name": name })) });
            let inner = json!({ "name": "Sweet", "menuItems": [item("V2", "", None), item("V1", "CRO-L", None)], "menuGroups": [] });
            let group =
                json!({ "name": "Bakery", "menuItems": [item("V1", "CRO-L", Some("Pastry"))], "menuGroups": [inner] });
            ok(json!({ "menus": [{ "name": "Counter", "menuGroups": [group] }] }))
        }
        "/items/v1/items?businessLocationId=7&offset=0&amount=1000" => ok(json!([
            { "id": 1, "name": "Croissant", "sku": "CRO-L", "accountingGroup": { "id": 1, "name": "Pastry" } },
            { "id": 2, "name": "Nameless", "sku": null },
        ])),
        _ => refused(404, "{}"),
    }
}

#[tokio::test]
async fn the_catalogue_names_what_lines_name() {
    let vendor = Vendor::answering(catalogue).await;
    let providers = providers_at(&vendor.url);
    let (token, shop) = (AccessToken::new("t"), LocationId::new("7").unwrap());
    for (kind, expected) in [
        (
            ProviderKind::Square,
            vec![
                ("V1", "Croissant (Large)", Some("CRO-L"), Some("Pastry")),
                ("V2", "Croissant (Small)", None, Some("Pastry")),
            ],
        ),
        (
            ProviderKind::Toast,
            vec![("V1", "Croissant", Some("CRO-L"), Some("Pastry")), ("V2", "Croissant", None, Some("Sweet"))],
        ),
        (ProviderKind::Lightspeed, vec![("CRO-L", "Croissant", Some("CRO-L"), Some("Pastry"))]),
    ] {
        let page = providers.get(kind).list_catalog(&access(&token), &shop, None).await.unwrap();
        let items: Vec<_> = page
            .items
            .iter()
            .map(|i| (i.item_id.as_str(), i.name.as_str(), i.sku.as_deref(), i.category.as_deref()))
            .collect();
        assert_eq!(items, expected, "{kind}");
        if let Some(cursor) = page.next {
            let page = providers.get(kind).list_catalog(&access(&token), &shop, Some(&cursor)).await.unwrap();
            assert!(page.items.is_empty() && page.next.is_none(), "{kind}");
        }
    }
}

fn stock(seen: &Seen) -> Reply {
    let variation = |own: Option<bool>, of_shop: Option<bool>| {
        let shop =
            of_shop.map(|tracks| json!([{ "location_id": "7", "track_inventory": tracks }])).unwrap_or(json!([]));
        ok(
            json!({ "object": { "type": "ITEM_VARIATION", "id": "V", "item_variation_data": { "track_inventory": own, "location_overrides": shop } } }),
        )
    };
    match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/v2/catalog/object/COUNTED") => variation(None, Some(true)),
        ("GET", "/v2/catalog/object/UNCOUNTED") => variation(Some(true), Some(false)),
        ("POST", "/v2/inventory/changes/batch-create") => {
            let body: Value = serde_json::from_str(&seen.body).unwrap();
            let count = &body["changes"][0]["physical_count"];
            assert_eq!((body["idempotency_key"].as_str(), count["location_id"].as_str()), (Some("k1"), Some("7")));
            assert_eq!(count["state"], "IN_STOCK");
            assert_eq!(count["occurred_at"], "2026-03-12T12:00:00Z", "a repeat is the same to the letter");
            match count["catalog_object_id"].as_str() {
                Some("UNKNOWN") => return refused(404, "{}"),
                id => assert_eq!(id, Some("COUNTED")),
            }
            assert!(["0", "2.5"].contains(&count["quantity"].as_str().unwrap()), "{count}");
            ok("{}")
        }
        ("PUT", "/stock/v1/inventory/update") => {
            assert_eq!(seen.header("toast-restaurant-external-id"), "7");
            let is_known = !seen.body.contains("UNKNOWN");
            let bodies = [
                r#"[{"guid":"COUNTED","status":"OUT_OF_STOCK"}]"#,
                r#"[{"guid":"COUNTED","status":"IN_STOCK"}]"#,
                r#"[{"guid":"COUNTED","status":"QUANTITY","quantity":2.5}]"#,
            ];
            assert!(!is_known || bodies.contains(&seen.body.as_str()), "{}", seen.body);
            ok(json!([{ "guid": "x", "itemGuidValidity": if is_known { "VALID" } else { "INVALID" } }]))
        }
        _ => refused(404, "{}"),
    }
}

#[tokio::test]
async fn what_can_be_written_back_is_and_what_cannot_is_said() {
    let vendor = Vendor::answering(stock).await;
    let providers = providers_at(&vendor.url);
    let token = AccessToken::new("t");
    let left = Availability::Left("2.5".parse().unwrap());
    for (kind, support) in [
        (ProviderKind::Square, AvailabilitySupport::CountedItems),
        (ProviderKind::Toast, AvailabilitySupport::AllItems),
        (ProviderKind::Lightspeed, AvailabilitySupport::Nothing),
    ] {
        assert_eq!(providers.get(kind).availability_support(), support);
    }
    for (kind, item, availability, outcome) in [
        (ProviderKind::Square, "COUNTED", Availability::SoldOut, Ok(AvailabilityOutcome::Applied)),
        (ProviderKind::Square, "COUNTED", left, Ok(AvailabilityOutcome::Applied)),
        (ProviderKind::Square, "COUNTED", Availability::Available, Err(ProviderErrorKind::Unsupported)),
        (ProviderKind::Square, "UNKNOWN", Availability::SoldOut, Ok(AvailabilityOutcome::UnknownItem)),
        (ProviderKind::Toast, "COUNTED", Availability::SoldOut, Ok(AvailabilityOutcome::Applied)),
        (ProviderKind::Toast, "COUNTED", Availability::Available, Ok(AvailabilityOutcome::Applied)),
        (ProviderKind::Toast, "COUNTED", left, Ok(AvailabilityOutcome::Applied)),
        (ProviderKind::Toast, "UNKNOWN", Availability::SoldOut, Ok(AvailabilityOutcome::UnknownItem)),
        (ProviderKind::Lightspeed, "COUNTED", Availability::SoldOut, Err(ProviderErrorKind::Unsupported)),
    ] {
        let change = AvailabilityChange {
            location: LocationId::new("7").unwrap(),
            item_id: item.into(),
            availability,
            idempotency_key: "k1".into(),
            decided_at: "2026-03-12T12:00:00Z".parse().unwrap(),
        };
        let changed = providers.get(kind).set_availability(&access(&token), &change).await.map_err(|error| error.kind);
        assert_eq!(changed, outcome, "{kind} {item} {availability:?}");
    }
}

#[test]
fn no_window_is_longer_than_the_provider_takes() {
    let providers = pure();
    let days = |kind| providers.get(kind).listing().longest_window.as_hours() / 24;
    assert!(days(ProviderKind::Toast) <= 28 && days(ProviderKind::Lightspeed) <= 365);
    assert!(providers.get(ProviderKind::Square).listing().longest_window > SignedDuration::from_hours(90 * 24));
}
