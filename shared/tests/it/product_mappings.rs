//! What the catalogue says, and what stands beside it.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use shared::domain::{Availability, CatalogItem, ConfigurationId, ItemPlace, Said, Standing, SyncCounts};
use shared::store::product_mappings::{MappingChange, ProductMappings};

use crate::stack::{scope, stack};

fn table_name() -> &'static str {
    stack().output("ProductMappingsTable").unwrap()
}

fn client() -> Client {
    Client::new(&stack().config())
}

fn item(id: &str, name: &str, category: Option<&str>) -> CatalogItem {
    let (sku, category) = (Some(format!("sku-{id}")), category.map(str::to_owned));
    CatalogItem { item_id: id.into(), name: name.into(), sku, category }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_770_000_000 + second).unwrap()
}

#[tokio::test]
async fn only_what_is_new_or_has_changed_is_written_and_a_mapping_stays() {
    let (all, scope, id) =
        (ProductMappings::new(client(), table_name().into()), scope("t_menu"), ConfigurationId::generate());
    // More than are read at once.
    let mut menu: Vec<CatalogItem> =
        (0..230).map(|number| item(&format!("ITEM-{number:03}"), "Bun", Some("Bread"))).collect();
    let record = async |menu: &[CatalogItem], second| all.record_catalog(&scope, id, menu, at(second)).await.unwrap();
    assert_eq!(record(&menu, 1).await, SyncCounts { seen: 230, created: 230, ..SyncCounts::default() });
    assert_eq!(record(&menu, 2).await, SyncCounts { seen: 230, unchanged: 230, ..SyncCounts::default() });

    let key = AttributeValue::S(format!("t_menu#{id}"));
    let is = |product: Option<&str>| {
        vec![MappingChange { item_id: "ITEM-007".into(), product_id: product.map(|id| id.parse().unwrap()) }]
    };
    let map = async |product, second| all.map(&scope, id, &is(product), ("u_1", at(second))).await.unwrap();
    assert_eq!([map(Some("P-1"), 10).await, map(Some("P-1"), 11).await], [1, 0], "the same word twice");
    assert_eq!([map(Some("P-0"), 9).await, map(None, 9).await], [0, 0], "an older word");
    let product = "P-1".parse().unwrap();
    assert_eq!(all.items_of(&scope, id, &product).await.unwrap(), ["ITEM-007"]);
    assert_eq!(
        [map(Some("P-1"), 20).await, map(Some("P-0"), 19).await],
        [0, 0],
        "said again, so that an older word is late"
    );
    assert_eq!([map(None, 21).await, map(Some("P-1"), 22).await], [1, 1], "none, and back again");

    menu[7] = item("ITEM-007", "Roll", None);
    menu.extend([
        item("ITEM-new", "", None),
        item("ITEM-new", "", None),
        item("", "Nameless", None),
        item(&"x".repeat(1025), "x", None),
    ]);
    let expected = SyncCounts { seen: 234, created: 1, updated: 1, unchanged: 230, failed: 2 };
    assert_eq!(record(&menu, 3).await, expected);
    // A worker that comes late with what it had read before.
    let late = [item("ITEM-007", "Bun", Some("Bread"))];
    assert_eq!(record(&late, 2).await, SyncCounts { seen: 1, unchanged: 1, ..SyncCounts::default() });

    let stored = client().get_item().table_name(table_name()).key("configuration_key", key);
    let stored = stored.key("item_id", AttributeValue::S("ITEM-007".into())).send().await.unwrap().item.unwrap();
    assert_eq!(
        (&stored["product_id"], &stored["name"]),
        (&AttributeValue::S("P-1".into()), &AttributeValue::S("Roll".into()))
    );
    assert!(!stored.contains_key("category"));

    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = all.list(&scope, id, 50, after).await.unwrap();
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 231);
    assert!(found.is_sorted_by(|one, other| one.item_id < other.item_id));
    for (place, since) in [(7, 3), (8, 1)] {
        let known = found[place].known.as_ref().unwrap();
        assert_eq!((&known.item, known.changed_at), (&menu[place], at(since)));
    }
    let mapped = found[7].mapped.as_ref().unwrap();
    assert_eq!((&mapped.product_id, mapped.at, mapped.by.as_str()), (&product, at(22), "u_1"));
    assert_eq!(found[8].mapped, None);
    let stranger = crate::stack::scope("t_stranger");
    assert!(all.list(&stranger, id, 50, None).await.unwrap().items.is_empty());

    let deadline = Instant::now() + Duration::from_secs(30);
    let purged = all.purge(&scope, id, deadline).await.unwrap();
    assert_eq!((purged.removed, purged.is_done), (231, true));
    assert!(all.list(&scope, id, 50, None).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn what_was_said_is_no_item_and_of_two_that_say_something_one_is_told() {
    let (all, scope, id) =
        (ProductMappings::new(client(), table_name().into()), scope("t_said"), ConfigurationId::generate());
    all.record_catalog(&scope, id, &[item("BUN", "Bun", None)], at(1)).await.unwrap();
    let change = MappingChange { item_id: "BUN".into(), product_id: Some("P-1".parse().unwrap()) };
    all.map(&scope, id, &[change], ("u_1", at(1))).await.unwrap();
    let before = all.find(&scope, id, &["BUN"]).await.unwrap();

    let place = |shop: &str| ItemPlace { location_id: shop.parse().unwrap(), item_id: "BUN".into() };
    // More than DynamoDB reads at once, most of them nowhere.
    let mut places = vec![place("SHOP.1-a"), place("SHOP2")];
    places.extend((0..150).map(|number| ItemPlace { item_id: format!("NONE-{number}"), ..place("SHOP2") }));
    assert!(all.find_said(&scope, id, &places).await.unwrap().is_empty());
    let said = |command: &str| Said {
        command_id: command.into(),
        given_at: "2026-02-14T12:00:34.123456789Z".parse().unwrap(),
        stands: Some(Standing {
            left: Availability::SoldOut,
            before: Some(Availability::Left("2.5".parse().unwrap())),
        }),
        intent: None,
        verdict: None,
        ended: None,
    };
    let say = async |seen, next: &str| all.say(&scope, id, &places[0], (seen, said(next))).await.unwrap();
    let first = say(None, "a").await.unwrap();
    assert!(say(None, "b").await.is_none(), "somebody has said something");
    assert_eq!(say(None, "a").await, Some(first.clone()), "a write that finds itself was made");
    let second = say(Some(&first), "b").await.unwrap();
    assert!(say(Some(&first), "c").await.is_none(), "somebody was faster");

    let found = all.find_said(&scope, id, &places).await.unwrap();
    assert_eq!(found.len(), 1, "each shop has its own");
    assert_eq!((&found[&places[0]], &found[&places[0]].said), (&second, &said("b")));
    assert_eq!(all.find(&scope, id, &["BUN"]).await.unwrap(), before);
    assert_eq!(all.list(&scope, id, 10, None).await.unwrap().items.len(), 1);
    assert!(all.find_said(&crate::stack::scope("t_other"), id, &places).await.unwrap().is_empty());
    assert!(all.purge(&scope, id, Instant::now() + Duration::from_secs(10)).await.unwrap().is_done);
    assert!(all.find_said(&scope, id, &places).await.unwrap().is_empty());
}
