//! Orders are kept as they came, sealed, small, and once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use sandbox::{Faults, PERSONAL, Sandbox, SandboxOptions};
use shared::archive::{Archive, RawRecord};
use shared::domain::{
    Configuration, ConfigurationId, Environment, EventId, LocationId, ProviderKind, ShopDay, TenantScope,
};
use shared::providers::{Access, AccessToken, DICTIONARY, RawOrder, dictionary};
use shared::store::raw_log::RawLog;
use shared::vault::{Bodies, Vault};

use crate::accounts::{KINDS, providers_at};
use crate::scenarios::configuration;
use crate::stack::{scope, stack};
use crate::town::{all_orders, connect, vendor};

fn log() -> RawLog {
    let client = aws_sdk_dynamodb::Client::new(&stack().config());
    RawLog::new(client, stack().output("RawLogTable").unwrap().to_owned(), 400)
}

fn archive() -> Archive {
    let kms = aws_sdk_kms::Client::new(&stack().config());
    let vault = Vault::new(kms, stack().output("KeyArn").unwrap().to_owned());
    Archive::new(log(), Arc::new(Bodies::new(Arc::new(vault))))
}

fn day() -> ShopDay {
    ShopDay { business_date: "2026-03-06".parse().unwrap(), location_id: LocationId::new("SHOP1").unwrap() }
}

fn shop(kind: ProviderKind) -> Configuration {
    Configuration { id: ConfigurationId::generate(), ..configuration(kind, &[("SHOP1", "Europe/Paris", "EUR")]) }
}

fn record(body: impl Into<Vec<u8>>) -> RawRecord {
    let order = RawOrder {
        body: body.into(),
        location: LocationId::new("SHOP1").ok(),
        paid_offline_at: "2026-03-06T08:00:00Z".parse().ok(),
        observed_at: "2026-03-06T09:00:00.123456789Z".parse().unwrap(),
    };
    RawRecord {
        order,
        is_pushed: false,
        of: vec!["01938d5e-0000-8000-8000-000000000001".parse().unwrap()],
        left: vec![],
    }
}

async fn items(scope: &TenantScope, id: ConfigurationId) -> Vec<HashMap<String, AttributeValue>> {
    let client = aws_sdk_dynamodb::Client::new(&stack().config());
    let request = client.query().table_name(stack().output("RawLogTable").unwrap());
    let request = request.key_condition_expression("configuration_key = :owner");
    let owner = AttributeValue::S(format!("{}#{id}", scope.tenant_id()));
    let pages = request.expression_attribute_values(":owner", owner).into_paginator().items().send();
    pages.collect::<Result<Vec<_>, _>>().await.unwrap()
}

fn bodies(records: &[RawRecord]) -> Vec<&[u8]> {
    let mut bodies: Vec<&[u8]> = records.iter().map(|record| record.order.body.as_slice()).collect();
    bodies.sort_unstable();
    bodies
}

#[tokio::test]
async fn what_is_kept_comes_back_byte_for_byte_and_twice_the_same_is_kept_once() {
    let (archive, owner, shop) = (archive(), scope("t_1"), shop(ProviderKind::Square));
    let (at, cause) = ((&owner, &shop), EventId::hash_of(b"a page"));
    // Blanks, the order of fields and digits are the provider's.
    let first = record(r#"{"id": "A", "amount": 1.50, "note" : "ä"}"#);
    let pushed = RawRecord { is_pushed: true, ..record(r#"{"b":1,"a":1e2}"#) };
    let page = [first.clone(), pushed];
    archive.keep(at, &day(), &cause, &page).await.unwrap();
    archive.keep(at, &day(), &cause, &page).await.unwrap();
    assert_eq!(items(&owner, shop.id).await.len(), 1);
    let found = archive.find(at, &day()).await.unwrap();
    assert_eq!(bodies(&found.records), bodies(&page));
    let read = found.records.iter().find(|record| !record.is_pushed).unwrap();
    assert_eq!(
        (read.order.location.clone(), read.order.paid_offline_at),
        (first.order.location.clone(), first.order.paid_offline_at)
    );
    assert_eq!((read.observed_at(), &read.of), (Some(first.order.observed_at), &first.of));
    let pushed = found.records.iter().find(|record| record.is_pushed).unwrap();
    assert_eq!(pushed.observed_at(), None);

    // The second attempt of a message has less to tell, and takes nothing away.
    archive.keep(at, &day(), &cause, &page[..1]).await.unwrap();
    let found = archive.find(at, &day()).await.unwrap();
    assert_eq!((found.records.len(), found.unreadable), (3, 0));
    // Neither another day's nor another tenant's.
    let tomorrow = ShopDay { business_date: day().business_date.tomorrow().unwrap(), ..day() };
    assert!(archive.find(at, &tomorrow).await.unwrap().records.is_empty());
    assert!(archive.find((&scope("t_2"), &shop), &day()).await.unwrap().records.is_empty());
}

#[tokio::test]
async fn what_was_moved_or_altered_is_counted_as_unreadable_and_holds_nothing_up() {
    let (archive, owner, shop) = (archive(), scope("t_1"), shop(ProviderKind::Toast));
    let at = (&owner, &shop);
    for (cause, body) in [("one", r#"{"a":1}"#), ("two", r#"{"a":2}"#)] {
        archive.keep(at, &day(), &EventId::hash_of(cause.as_bytes()), &[record(body)]).await.unwrap();
    }
    let mut item = items(&owner, shop.id).await.remove(0);
    let entry = item["entry"].as_s().unwrap().replace("sha256:", "moved:");
    item.insert("entry".into(), AttributeValue::S(entry));
    let client = aws_sdk_dynamodb::Client::new(&stack().config());
    let table = stack().output("RawLogTable").unwrap();
    client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    // Another execution environment, which must ask for the key.
    let found = self::archive().find(at, &day()).await.unwrap();
    assert_eq!((found.records.len(), found.unreadable), (2, 1));
    // Without its data key nothing opens, except for whoever knows it.
    let body = items(&owner, shop.id).await[0]["body"].as_b().unwrap().clone().into_inner();
    let name: String = body[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let request = client.delete_item().table_name(stack().output("RawLogTable").unwrap());
    let request = request.key("configuration_key", AttributeValue::S("keys".into()));
    request.key("entry", AttributeValue::S(name)).send().await.unwrap();
    assert_eq!(archive.find(at, &day()).await.unwrap().unreadable, 1);
    let found = self::archive().find(at, &day()).await.unwrap();
    assert_eq!((found.records.len(), found.unreadable), (0, 3));
    let purged = log().purge(&owner, shop.id, Instant::now() + std::time::Duration::from_secs(10)).await.unwrap();
    assert_eq!((purged.removed, purged.is_done), (3, true));
}

#[tokio::test]
async fn what_no_item_holds_is_divided() {
    let (archive, owner, shop) = (archive(), scope("t_1"), shop(ProviderKind::Lightspeed));
    // Digests repeat nothing, so packing saves only the half that hexadecimal digits waste.
    let noise = |seed: usize| -> String {
        (0..2_000).map(|n| EventId::hash_of(format!("{seed}-{n}").as_bytes()).to_string()).collect()
    };
    let page: Vec<RawRecord> = (0..12).map(|seed| record(format!(r#"{{"noise":"{}"}}"#, noise(seed)))).collect();
    archive.keep((&owner, &shop), &day(), &EventId::hash_of(b"large"), &page).await.unwrap();
    assert!(items(&owner, shop.id).await.len() > 1);
    let found = archive.find((&owner, &shop), &day()).await.unwrap();
    assert_eq!(bodies(&found.records), bodies(&page));
}

#[test]
fn a_dictionary_of_each_version_stays() {
    for kind in KINDS {
        for version in 1..=DICTIONARY {
            let bytes = dictionary(kind, version).unwrap();
            let text = std::str::from_utf8(bytes).unwrap();
            assert!(text.len() > 10_000 && !text.contains(PERSONAL), "{kind} {version}");
        }
        assert_eq!(dictionary(kind, DICTIONARY + 1), None);
    }
    // What was packed with a version is read with the very same bytes.
    let hashes = KINDS.map(|kind| EventId::hash_of(dictionary(kind, 1).unwrap()).to_string());
    insta::assert_debug_snapshot!(hashes);
}

/// As large as DynamoDB counts it: names and values.
fn size(item: &HashMap<String, AttributeValue>) -> usize {
    let value = |value: &AttributeValue| {
        let text = value.as_s().map(String::len).ok();
        let digits = || value.as_n().map(|digits| digits.len().div_ceil(2) + 1).ok();
        text.or_else(digits).unwrap_or_else(|| value.as_b().unwrap().as_ref().len())
    };
    item.iter().map(|(name, of)| name.len() + value(of)).sum()
}

/// What a raw order costs: the bytes of whole items, keys and seals included, against the JSON of the orders inside.
#[tokio::test]
async fn a_raw_log_has_a_quarter_of_the_bytes_of_its_orders_at_most() {
    println!("provider    orders  JSON each   alone: bytes  of JSON  units   hundreds: of JSON   keeping one, us");
    for kind in KINDS {
        let now: Timestamp = "2026-03-12T12:00:00Z".parse().unwrap();
        let sandbox = Sandbox::start(SandboxOptions { now: Some(now), seed: 29, ..SandboxOptions::default() }).unwrap();
        let desk = sandbox.at(vendor(kind));
        sandbox.set_faults_of(vendor(kind), Faults { no_rate_limits: true, ..Faults::default() });
        desk.stock_days("2026-03-06".parse().unwrap(), 2, 60);
        let token = AccessToken::new(sandbox.grant_of(vendor(kind), None, &[]).unwrap().access_token);
        let access = Access { environment: Environment::Production, token: &token };
        let shops = &desk.merchants()[0].locations;
        let shops: Vec<LocationId> = shops.iter().map(|shop| LocationId::new(shop.id.as_str()).unwrap()).collect();
        let providers = providers_at(&sandbox.url(vendor(kind)));
        let provider = providers.get(kind);
        let configuration = connect(kind, provider, &access, &shops).await;
        let (from, to) = ("2026-03-01T00:00:00Z".parse().unwrap(), "2026-03-20T00:00:00Z".parse().unwrap());
        let orders = all_orders(provider, &access, &shops[0], from, to).await;
        let record = |order: &RawOrder| {
            let transactions = provider.normalize_order(order, &configuration).unwrap();
            RawRecord {
                order: order.clone(),
                is_pushed: false,
                of: transactions.iter().map(|it| it.id).collect(),
                left: vec![],
            }
        };
        let records: Vec<RawRecord> = orders.iter().take(100).map(record).collect();
        let json: usize = records.iter().map(|record| record.order.body.len()).sum();
        let (archive, owner) = (archive(), scope("t_1"));
        let alone = Configuration { id: ConfigurationId::generate(), ..configuration.clone() };
        let started = Instant::now();
        // Events are called by a UUID.
        for record in &records {
            let cause = ConfigurationId::generate().to_string().parse().unwrap();
            archive.keep((&owner, &alone), &day(), &cause, std::slice::from_ref(record)).await.unwrap();
        }
        let each = started.elapsed().as_micros() / 100;
        let together = Configuration { id: ConfigurationId::generate(), ..configuration.clone() };
        archive.keep((&owner, &together), &day(), &EventId::hash_of(b"page"), &records).await.unwrap();
        let sizes: Vec<usize> = items(&owner, alone.id).await.iter().map(size).collect();
        let bytes: usize = sizes.iter().sum();
        let units: usize = sizes.iter().map(|size| size.div_ceil(1024)).sum();
        let page: usize = items(&owner, together.id).await.iter().map(size).sum();
        let percent = |bytes: usize| 100 * bytes / json;
        println!(
            "{:<11} {:>6} {:>10} {:>14} {:>7}% {:>6} {:>18}% {each:>17}",
            kind.as_str(),
            records.len(),
            json / records.len(),
            bytes / records.len(),
            percent(bytes),
            units,
            percent(page)
        );
        assert_eq!(records.len(), 100);
        assert!(
            bytes * 4 <= json && page * 4 <= json,
            "{kind}: {}% alone, {}% in pages",
            percent(bytes),
            percent(page)
        );
    }
}
