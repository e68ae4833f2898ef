//! Real-time notifications: unsigned, and only good to ring a bell.
//!
//! A person sets them up in the back office: one URL, a user and a password
//! for Basic authentication. How often Lightspeed tries is not documented.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::account::{Account, Part};
use super::businesses::number;
use super::items::sku;
use super::{Lightspeed, World};
use crate::delivery::{Letter, Parcel, Sending};
use crate::json::Build;
use crate::money::part_of;
use crate::people::STAFF;
use crate::receipt::{Line, Means};
use crate::square::Subscription;
use crate::stage::{EventRecord, Tells};
use crate::toast::decimal;

/// Three more attempts, a minute apart (unverified).
const RETRIES: u32 = 3;

/// Something that happened to an account.
#[derive(Debug)]
pub struct Event {
    kind: &'static str,
    account: Account,
    at: Timestamp,
    closed: bool,
}

impl Event {
    /// Of an account that is still open.
    pub fn open(kind: &'static str, account: &Account, at: Timestamp) -> Self {
        Self { kind, account: account.clone(), at, closed: false }
    }

    pub fn closed(kind: &'static str, account: &Account) -> Self {
        Self { kind, account: account.clone(), at: account.closed, closed: true }
    }

    /// JSON numbers here, and milliseconds since 1970.
    fn body(&self, id: &str, retry: u32) -> Value {
        let account = &self.account;
        let minor = |minor: i64| decimal(account.sign * minor, 2);
        let closed = self.closed;
        let (tip, total) = (account.receipt.tip_minor, account.receipt.total() - account.receipt.tip_minor);
        // An extra is part of its line here, and no line of its own.
        let whole = |line: &Line| Part { plain: line.gross(), ..account.part(line) };
        let parts: Vec<(&Line, i64)> = account.receipt.lines.iter().map(|line| (line, whole(line).tax())).collect();
        let tax = parts.iter().map(|(_, tax)| tax).sum::<i64>();
        let before_tax = total * 10_000 - tax;
        let lines = parts.iter().enumerate().map(|(place, (line, _))| {
            let rate = account.plan.rate(line.taxed);
            json!({
                "id": number(&format!("{id}{place}")),
                "parentLineId": null,
                "accountId": number(id),
                "amount": minor(line.net()),
                "unitAmount": decimal(line.unit_minor, 2),
                "quantity": decimal(account.sign * line.quantity.hundredths, 2),
                "nameOverride": "",
                "itemDescription": line.name,
                "accountingGroupId": "141948669132845",
                "accountingGroupName": if line.taxed { "Pastry" } else { "Bread" },
                "itemId": number(line.item_id.as_deref().unwrap_or("40570261078207")),
                "itemSku": sku(line.item_id.as_deref()),
                "date": account.opened.as_millisecond(),
                "active": true,
                "activeTax": {
                    "code": format!("VAT{}", rate / 100),
                    "rate": decimal(10_000 + rate, 4),
                    "taxIncluded": account.plan.tax_included(),
                },
                "subLines": [],
                "discounts": [],
            })
        });
        let payments = account.receipt.tenders.iter().filter(|_| closed).map(|tender| {
            json!({
                "accountId": number(id),
                "currencyCode": account.receipt.currency,
                "gratuityAmount": minor(tender.tip_minor),
                "amount": minor(tender.minor - tender.tip_minor),
                "date": account.closed.as_millisecond(),
                "active": true,
                "paymentMethod": if tender.means == Means::Card { "CARD" } else { "CASH" },
                "paymentMethodDescription": if tender.means == Means::Card { "Card" } else { "Cash" },
            })
        });
        json!({
            "notificationType": self.kind,
            "account": {
                "id": number(id),
                "uuid": null,
                "businessLocationId": number(&account.location),
                "name": "Counter, Table 1",
                "accountNumber": account.fiscal_id(),
                "receiptNumber": closed.then(|| format!("R{}.{}", account.device, account.number)),
                "currencyCode": account.receipt.currency,
                "openDate": account.opened.as_millisecond(),
                "closeDate": closed.then(|| account.closed.as_millisecond()),
                "updateDate": self.at.as_millisecond(),
                "totalAmount": minor(total),
                "paidAmount": minor(if closed { total } else { 0 }),
                "gratuityAmount": minor(if closed { tip } else { 0 }),
                "taxAmount": decimal(account.sign * part_of(tax, 1, 100), 4),
                "preTaxAmount": decimal(account.sign * part_of(before_tax, 1, 100), 4),
                "serviceCharge": 0,
                "totalDiscount": minor(account.receipt.discount()),
                "cancelled": account.cancelled,
                "status": if closed { "closed" } else { "open" },
                "type": account.kind,
                "originAccountNumber": account.previous.as_ref().unwrap_or(&account.initial),
                "coverCount": 0,
                "deviceId": number(&account.device),
                "deviceName": "iPad1",
                "staffId": 14_670,
                "staffName": STAFF,
                "accountProfileCode": "AAP",
                "transactionLines": lines.collect::<Value>(),
                "paymentLines": payments.collect::<Value>(),
                "discounts": [],
                "externalReferences": [],
            },
            "event": null,
            "retryCounter": retry,
            "businessLocationId": number(&account.location),
        })
    }
}

impl Lightspeed {
    /// The subscription's id is the user, its key the password.
    pub(super) fn register(&self, notification_url: &str) -> Subscription {
        let mut world = self.world();
        let mut draws = self.draws(&format!("subscription/{}", world.own.subscriptions.len()));
        let subscription = Subscription {
            id: format!("bakery-{}", draws.digits(4)),
            notification_url: notification_url.to_owned(),
            // Only the first colon separates user and password.
            signature_key: format!("{}:{}", draws.letters(12), draws.secret(21)),
        };
        world.own.subscriptions.push(subscription.clone());
        subscription
    }
}

impl Tells for Lightspeed {
    fn tell(&self, world: &mut World, merchant_id: &str, event: &Event, _: Timestamp, _: u32) {
        let place = event.account.place();
        let id = self.draws(&format!("notified/{place}")).digits(15);
        let body = event.body(&id, 0);
        let record = EventRecord {
            // There is no such id on the wire; this one is for the log.
            event_id: format!("{place}/{}/{}", event.kind, world.events.len()),
            event_type: event.kind.to_owned(),
            merchant_id: merchant_id.to_owned(),
            object_id: place.clone(),
            order_id: place,
            body: body.to_string(),
        };
        world.events.push(record.clone());
        for subscription in &world.own.subscriptions {
            self.send(subscription, &record, &parcel(subscription, body.clone()));
        }
        // Nobody pays what was taken back before paying, so there is no receipt.
        if event.kind == "CLOSE" && !event.account.cancelled {
            self.show(world, merchant_id, &event.account);
        }
    }
}

fn parcel(subscription: &Subscription, body: Value) -> Parcel {
    let (user, password) = (subscription.id.clone(), subscription.signature_key.clone());
    let letter = move |sending: &Sending| {
        let password = if sending.wrong { "another password" } else { &password };
        let basic = STANDARD.encode(format!("{user}:{password}"));
        let body = body.clone().with("retryCounter", sending.retry);
        Letter { headers: vec![("authorization", format!("Basic {basic}"))], body: body.to_string() }
    };
    let pause = |retry, _| (retry <= RETRIES).then_some(Duration::from_secs(60));
    Parcel { letter: Arc::new(letter), pause, window: None }
}
