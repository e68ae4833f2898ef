//! Whole days of every simulated provider: described, listed, normalized, and compared with what really was sold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sandbox::{EntryKind, EntryState, Faults, Sandbox, SandboxOptions, Vendor};
use serde_json::json;
use shared::domain::{Configuration, Environment, LocationId, ProviderKind, TransactionKind, TransactionStatus};
use shared::providers::{
    Access, AccessToken, DeliveryHeaders, OrderQuery, OrderRef, PosProvider, RawOrder, Subject, WebhookDelivery,
    WebhookSecret,
};

use crate::accounts::{KINDS, providers_at};
use crate::vendor::{Vendor as Receiver, ok};

pub fn vendor(kind: ProviderKind) -> Vendor {
    match kind {
        ProviderKind::Square => Vendor::Square,
        ProviderKind::Toast => Vendor::Toast,
        ProviderKind::Lightspeed => Vendor::Lightspeed,
    }
}

/// As the control plane would make it of a merchant's description.
pub async fn connect(
    kind: ProviderKind,
    provider: &dyn PosProvider,
    access: &Access<'_>,
    shops: &[LocationId],
) -> Configuration {
    let described = provider.describe_merchant(access, shops).await.unwrap();
    let locations = described.locations.iter().map(|shop| {
        json!({ "id": shop.id, "name": shop.name, "time_zone": shop.time_zone, "currency": shop.currency, "day_start": "04:00" })
    });
    serde_json::from_value(json!({
        "id": "01938d5e-0000-7000-8000-000000000001", "provider": kind, "environment": "production",
        "name": "Bakery", "merchant": described.merchant, "locations": locations.collect::<Vec<_>>(), "status": "active",
        "credentials_expire_at": null, "version": 1,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    }))
    .unwrap()
}

pub async fn all_orders(
    provider: &dyn PosProvider,
    access: &Access<'_>,
    shop: &LocationId,
    from: Timestamp,
    to: Timestamp,
) -> Vec<RawOrder> {
    let mut found = Vec::new();
    let mut query = OrderQuery { location: shop.clone(), from, to, cursor: None };
    loop {
        let page = provider.list_orders(access, &query).await.unwrap();
        found.extend(page.orders);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return found,
        }
    }
}

/// By shop and kind: how many, and how much. Refunds are not counted: Toast keeps one for each payment that it gives back.
type Books = BTreeMap<(String, &'static str), (u32, i64)>;

#[tokio::test]
async fn what_is_read_is_what_was_sold_to_the_cent() {
    let now: Timestamp = "2026-03-12T12:00:00Z".parse().unwrap();
    for kind in KINDS {
        let options = SandboxOptions { now: Some(now), ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options).unwrap();
        let desk = sandbox.at(vendor(kind));
        sandbox.set_faults_of(vendor(kind), Faults { no_rate_limits: true, ..Faults::default() });
        desk.stock_days("2026-03-06".parse().unwrap(), 3, 60);

        let token = AccessToken::new(sandbox.grant_of(vendor(kind), None, &[]).unwrap().access_token);
        let access = Access { environment: Environment::Production, token: &token };
        let shops = &desk.merchants()[0].locations;
        let shops: Vec<LocationId> = shops.iter().map(|shop| LocationId::new(shop.id.as_str()).unwrap()).collect();
        let providers = providers_at(&sandbox.url(vendor(kind)));
        let provider = providers.get(kind);
        let configuration = connect(kind, provider, &access, &shops).await;

        let mut read = Books::new();
        let mut breaches = Vec::new();
        for shop in &shops {
            let (from, to) = ("2026-03-01T00:00:00Z".parse().unwrap(), now + SignedDuration::from_hours(240));
            for found in all_orders(provider, &access, shop, from, to).await {
                for transaction in provider.normalize_order(&found, &configuration).unwrap() {
                    if transaction.status != TransactionStatus::Completed {
                        continue;
                    }
                    for breach in &transaction.discrepancies {
                        breaches.push(format!("{kind} {} {breach:?}", transaction.external_order_id));
                    }
                    let way = match transaction.kind {
                        TransactionKind::Sale => "sale",
                        TransactionKind::Refund => "refund",
                    };
                    let sums = read.entry((shop.to_string(), way)).or_default();
                    sums.0 += u32::from(way == "sale");
                    sums.1 += transaction.amounts.total.0;
                }
            }
        }
        let mut sold = Books::new();
        for entry in desk.ledger().into_iter().filter(|entry| entry.state == EntryState::Completed) {
            let way = match entry.kind {
                EntryKind::Sale => "sale",
                EntryKind::Refund => "refund",
                EntryKind::Canceled => continue,
            };
            let sums = sold.entry((entry.location_id, way)).or_default();
            sums.0 += u32::from(way == "sale");
            sums.1 += entry.total_minor;
        }
        assert!(sold.values().map(|(count, _)| count).sum::<u32>() > 300, "{kind}: {sold:?}");
        assert_eq!(breaches.len(), 0, "{kind}: {} {:?}", breaches.len(), &breaches[..breaches.len().min(5)]);
        assert_eq!(read, sold, "{kind}");
    }
}

/// The doorbell: what the vendors send is proven, names an order, and the order can be read.
#[tokio::test]
async fn every_sale_rings_and_can_be_read() {
    for kind in KINDS {
        let sandbox = Sandbox::start(SandboxOptions { speed: 20_000.0, ..SandboxOptions::default() }).unwrap();
        let receiver = Receiver::answering(|_| ok("")).await;
        let desk = sandbox.at(vendor(kind));
        sandbox.set_faults_of(vendor(kind), Faults { no_rate_limits: true, ..Faults::default() });
        // A seller's events are sent only while it has agreed.
        let token = AccessToken::new(sandbox.grant_of(vendor(kind), None, &[]).unwrap().access_token);
        let subscription = desk.subscribe(&format!("{}/hook", receiver.url));
        desk.play(40);
        desk.wait_until_quiet(Duration::from_secs(60)).await.unwrap();

        let access = Access { environment: Environment::Production, token: &token };
        let shops: Vec<LocationId> =
            desk.merchants()[0].locations.iter().map(|shop| LocationId::new(shop.id.as_str()).unwrap()).collect();
        let providers = providers_at(&sandbox.url(vendor(kind)));
        let provider = providers.get(kind);
        let configuration = connect(kind, provider, &access, &shops).await;
        // Basic authentication is user and password together.
        let key = match kind {
            ProviderKind::Lightspeed => format!("{}:{}", subscription.id, subscription.signature_key),
            ProviderKind::Square | ProviderKind::Toast => subscription.signature_key.clone(),
        };
        let secret = json!({ "id": "s1", "notification_url": subscription.notification_url, "signature_key": key });
        let secrets: [WebhookSecret; 1] = [serde_json::from_value(secret).unwrap()];

        let mut orders = BTreeMap::new();
        for seen in receiver.seen() {
            let headers: DeliveryHeaders =
                seen.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
            // The simulator's clock is not ours.
            let received_at = body["timestamp"].as_str().and_then(|text| text.parse().ok()).unwrap_or(sandbox.now());
            let environment = Environment::Production;
            let delivery = WebhookDelivery { headers: &headers, body: seen.body.as_bytes(), received_at, environment };
            let verified = provider.verify_webhook(delivery, &secrets).unwrap();
            let notification = provider.parse_notification(&verified).unwrap();
            if let Subject::Order { id, location, changed_at, .. } = notification.subject {
                orders.insert(id.clone(), OrderRef { id, location, changed_at });
            }
        }
        let mut read = BTreeSet::new();
        for order in orders.values() {
            let raw = provider.fetch_order(&access, order).await;
            let raw = raw.unwrap_or_else(|error| panic!("{kind} {order:?}: {error}"));
            for transaction in provider.normalize_order(&raw, &configuration).unwrap() {
                if transaction.status == TransactionStatus::Completed && transaction.kind == TransactionKind::Sale {
                    read.insert(transaction.external_order_id.to_string());
                }
            }
        }
        let is_sold =
            |entry: &sandbox::LedgerEntry| entry.state == EntryState::Completed && entry.kind == EntryKind::Sale;
        let sold: BTreeSet<String> = desk.ledger().into_iter().filter(is_sold).map(|entry| entry.order_id).collect();
        assert!(sold.len() > 25, "{kind}: {sold:?}");
        assert_eq!(read, sold, "{kind}");
    }
}
