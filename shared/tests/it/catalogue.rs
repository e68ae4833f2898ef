//! The catalogues of the simulated providers, read and written by our own code.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sandbox::{Faults, Sandbox, SandboxOptions, Vendor};
use shared::domain::{Environment, LineItem, LineItemKind, LocationId, ProviderKind};
use shared::providers::{
    Access, AccessToken, Availability, AvailabilityChange, AvailabilityOutcome, CatalogItem, PosProvider,
    ProviderErrorKind,
    ShownAvailability::{Known, NotCounted, UnknownItem},
};

use crate::accounts::{KINDS, providers_at};
use crate::town::{all_orders, connect, vendor};

async fn catalogue(provider: &dyn PosProvider, access: &Access<'_>, shop: &LocationId) -> Vec<CatalogItem> {
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let page = provider.list_catalog(access, shop, cursor.as_deref()).await.unwrap();
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return items;
        }
    }
}

#[tokio::test]
async fn what_lines_name_is_in_the_catalogue_under_the_same_name() {
    let now = "2026-03-12T12:00:00Z".parse().unwrap();
    for kind in KINDS {
        let sandbox = Sandbox::start(SandboxOptions { now: Some(now), ..SandboxOptions::default() }).unwrap();
        let desk = sandbox.at(vendor(kind));
        sandbox.set_faults_of(vendor(kind), Faults { no_rate_limits: true, ..Faults::default() });
        desk.stock_days("2026-03-09".parse().unwrap(), 1, 40);
        let token = AccessToken::new(sandbox.grant_of(vendor(kind), None, &[]).unwrap().access_token);
        let access = Access { environment: Environment::Production, token: &token };
        let providers = providers_at(&sandbox.url(vendor(kind)));
        let provider = providers.get(kind);
        let shops: Vec<LocationId> =
            desk.merchants()[0].locations.iter().map(|shop| LocationId::new(shop.id.as_str()).unwrap()).collect();
        let configuration = connect(kind, provider, &access, &shops).await;
        let items = catalogue(provider, &access, &shops[0]).await;
        let known: BTreeMap<&str, &CatalogItem> = items.iter().map(|item| (item.item_id.as_str(), item)).collect();
        assert_eq!(known.len(), items.len(), "{kind}: an item stands there twice");
        assert!(items.iter().all(|item| item.category.is_some()), "{kind}");

        let mut sold = BTreeSet::new();
        for order in all_orders(provider, &access, &shops[0], "2026-03-01T00:00:00Z".parse().unwrap(), now).await {
            for transaction in provider.normalize_order(&order, &configuration).unwrap() {
                // An open price is a button of the till and no item; Lightspeed gives it a number all the same.
                let is_item =
                    |line: &LineItem| line.kind == LineItemKind::Item && line.item_id.as_deref() != Some("OPEN");
                let lines = transaction.line_items.into_iter().filter(is_item);
                sold.extend(lines.filter_map(|line| Some((line.item_id?, line.name))));
            }
        }
        assert!(sold.len() > 5, "{kind}: {sold:?}");
        for (id, name) in &sold {
            let item =
                known.get(id.as_str()).unwrap_or_else(|| panic!("{kind}: {name} ({id}) is not in the catalogue"));
            // The simulated receipts of Lightspeed name the item without its variation.
            let is_same =
                if kind == ProviderKind::Lightspeed { item.name.starts_with(name) } else { item.name == *name };
            assert!(is_same, "{kind}: {item:?} is called {name}");
        }
    }
}

#[tokio::test]
async fn square_sells_out_what_it_counts() {
    let sandbox = Sandbox::start(SandboxOptions::default()).unwrap();
    let scopes = ["ITEMS_READ", "INVENTORY_READ", "INVENTORY_WRITE"];
    let token = AccessToken::new(sandbox.grant_of(Vendor::Square, None, &scopes).unwrap().access_token);
    let access = Access { environment: Environment::Production, token: &token };
    let providers = providers_at(&sandbox.square_url());
    let provider = providers.get(ProviderKind::Square);
    let shops: Vec<LocationId> =
        sandbox.merchants()[0].locations.iter().map(|shop| LocationId::new(shop.id.as_str()).unwrap()).collect();
    let items = catalogue(provider, &access, &shops[0]).await;
    let id = |name: &str| items.iter().find(|item| item.name.starts_with(name)).unwrap().item_id.clone();
    let left = Availability::Left("2.5".parse().unwrap());
    let shown = async |item: &str, shop: usize| provider.fetch_availability(&access, &shops[shop], item).await.unwrap();
    for (item, shop, availability, outcome, now_shown) in [
        (id("Baguette"), 0, Availability::SoldOut, Ok(AvailabilityOutcome::Applied), Known(Availability::SoldOut)),
        // A repeat has its key; it is a second change only for us.
        (id("Baguette"), 0, Availability::SoldOut, Ok(AvailabilityOutcome::Applied), Known(Availability::SoldOut)),
        (id("Baguette"), 0, left, Ok(AvailabilityOutcome::Applied), Known(left)),
        (id("Baguette"), 0, Availability::Available, Err(ProviderErrorKind::Unsupported), Known(left)),
        (id("Bagel"), 0, Availability::SoldOut, Ok(AvailabilityOutcome::Applied), Known(Availability::SoldOut)),
        ("NONE".to_owned(), 0, Availability::SoldOut, Ok(AvailabilityOutcome::UnknownItem), UnknownItem),
    ] {
        let changed = provider.set_availability(&access, &change(&shops[shop], &item, availability)).await;
        assert_eq!(changed.map_err(|error| error.kind), outcome, "{item} in shop {shop}: {availability:?}");
        assert_eq!(shown(&item, shop).await, now_shown, "{item} in shop {shop}: {availability:?}");
    }
    assert_eq!(shown(&id("Baguette"), 1).await, Known(Availability::Left("24".parse().unwrap())));
    assert_eq!([shown(&id("Croissant"), 0).await, shown(&id("Bagel"), 1).await], [NotCounted, NotCounted]);

    // Sent twice, it is made once: what somebody at the till has counted in between stays.
    let again = change(&shops[1], &id("Baguette"), Availability::SoldOut);
    let by_hand = change(&shops[1], &id("Baguette"), left);
    for change in [&again, &by_hand, &again] {
        assert_eq!(provider.set_availability(&access, change).await.unwrap(), AvailabilityOutcome::Applied);
    }
    assert_eq!(shown(&id("Baguette"), 1).await, Known(left));
}

fn change(shop: &LocationId, item: &str, availability: Availability) -> AvailabilityChange {
    AvailabilityChange {
        location: shop.clone(),
        item_id: item.to_owned(),
        availability,
        idempotency_key: uuid::Uuid::new_v4().to_string(),
        decided_at: Timestamp::now(),
    }
}

#[tokio::test]
async fn toast_sells_out_whatever_it_knows() {
    let sandbox = Sandbox::start(SandboxOptions::default()).unwrap();
    let token = AccessToken::new(sandbox.grant_of(Vendor::Toast, None, &[]).unwrap().access_token);
    let access = Access { environment: Environment::Production, token: &token };
    let providers = providers_at(&sandbox.url(Vendor::Toast));
    let provider = providers.get(ProviderKind::Toast);
    let shop = LocationId::new(sandbox.at(Vendor::Toast).merchants()[0].locations[0].id.as_str()).unwrap();
    let item = catalogue(provider, &access, &shop).await.remove(0).item_id;
    let shown = async |item: &str| provider.fetch_availability(&access, &shop, item).await.unwrap();
    assert_eq!(shown(&item).await, Known(Availability::Available));
    let left = Availability::Left("2.5".parse().unwrap());
    for availability in [Availability::SoldOut, left, Availability::Available] {
        let changed = provider.set_availability(&access, &change(&shop, &item, availability)).await.unwrap();
        assert_eq!((changed, shown(&item).await), (AvailabilityOutcome::Applied, Known(availability)));
    }
    let unknown = provider.set_availability(&access, &change(&shop, "NONE", Availability::SoldOut)).await.unwrap();
    assert_eq!((unknown, shown("NONE").await), (AvailabilityOutcome::UnknownItem, UnknownItem));
}
