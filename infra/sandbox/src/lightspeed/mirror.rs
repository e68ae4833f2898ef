//! The mirror: every closed receipt, told to whoever poses as a hotel's software.
//!
//! A till asks before it lets the guest go, so there is one call and never a
//! second. The proof of origin is a key inside the body, and the body names no
//! location.

use std::sync::Arc;

use serde_json::{Value, json};

use super::account::{Account, Part};
use super::businesses::number;
use super::items::sku;
use super::{Lightspeed, World};
use crate::Refused;
use crate::clock::rfc3339;
use crate::delivery::{Letter, Parcel, Sending};
use crate::json::Build;
use crate::people::STAFF;
use crate::receipt::{Line, Means};
use crate::square::Subscription;
use crate::stage::EventRecord;
use crate::toast::decimal;

/// Who wants to see the receipts of a business, or of all.
#[derive(Debug)]
pub struct Mirror {
    subscription: Subscription,
    business: Option<String>,
}

impl Lightspeed {
    /// The key stands in every body; `/charge` is added to the endpoint.
    pub fn mirror(&self, business: Option<&str>, endpoint: &str, api_key: &str) -> Result<Subscription, Refused> {
        let business = business.map(|id| self.businesses.merchant(Some(id))).transpose()?;
        let mut world = self.world();
        let mut draws = self.draws(&format!("mirror/{}", world.own.mirrors.len()));
        let subscription = Subscription {
            id: format!("pms-{}", draws.digits(6)),
            notification_url: format!("{endpoint}/charge"),
            signature_key: api_key.to_owned(),
        };
        let business = business.map(|business| business.id.clone());
        world.own.mirrors.push(Mirror { subscription: subscription.clone(), business });
        Ok(subscription)
    }

    pub(super) fn show(&self, world: &World, merchant_id: &str, account: &Account) {
        let place = account.place();
        for mirror in &world.own.mirrors {
            if mirror.business.as_deref().is_some_and(|business| business != merchant_id) {
                continue;
            }
            let key = format!("LS1_{}", self.draws(&format!("mirrored/{}/{place}", mirror.subscription.id)).uuid());
            let body = body(account, merchant_id, &account.reference(self.seed));
            let record = EventRecord {
                event_id: key.clone(),
                event_type: "charge".to_owned(),
                merchant_id: merchant_id.to_owned(),
                object_id: place.clone(),
                order_id: place.clone(),
                body: String::new(),
            };
            let api_key = mirror.subscription.signature_key.clone();
            let letter = move |sending: &Sending| {
                let body = body.clone().with("apiKey", if sending.wrong { "another key" } else { api_key.as_str() });
                let headers = vec![("x-lightspeed-idempotency-key", key.clone())];
                Letter { headers, body: body.to_string() }
            };
            let parcel = Parcel { letter: Arc::new(letter), pause: |_, _| None, window: None };
            self.send(&mirror.subscription, &record, &parcel);
        }
    }
}

/// Amounts are JSON numbers, discounts are negative lines, and what goes back has a negative quantity.
fn body(account: &Account, business: &str, uuid: &str) -> Value {
    let mut lines = Vec::new();
    for line in &account.receipt.lines {
        let part = account.part(line);
        let alone = |minor: i64| Part { plain: minor, own_discount: 0, bill_discount: 0, ..part };
        let quantity = line.quantity.hundredths;
        lines.push(entry(account, line, line.name, (line.unit_minor, quantity), alone(part.plain), "Sale"));
        for extra in &line.extras {
            let each = (extra.unit_minor, quantity);
            lines.push(entry(account, line, extra.name, each, alone(extra.total_minor), "Sale"));
        }
        for (kind, minor) in [("LineDiscount", part.own_discount), ("AccountDiscount", part.bill_discount)] {
            if minor > 0 {
                lines.push(entry(account, line, "Discount", (-minor, 100), alone(-minor), kind));
            }
        }
    }
    let payments = account.receipt.tenders.iter().map(|tender| {
        let is_card = tender.means == Means::Card;
        json!({
            "paymentDate": rfc3339(account.closed),
            "staffId": 14_670,
            "staffName": STAFF,
            "gratuity": decimal(account.sign * tender.tip_minor, 2),
            "amount": decimal(account.sign * (tender.minor - tender.tip_minor), 2),
            "methodName": if is_card { "Card" } else { "Cash" },
            "methodCode": if is_card { "CARD" } else { "CASH" },
            "reservationId": null,
        })
    });
    json!({
        "name": "Counter, Table 1",
        "openDate": rfc3339(account.opened),
        "closeDate": rfc3339(account.closed),
        "covers": 0,
        "ownerId": 14_670,
        "ownerName": STAFF,
        "deviceId": number(&account.device),
        "businessExternalReference": format!("bakery-{business}"),
        "receiptId": format!("R{}.{}", account.device, account.number),
        "fiscId": account.fiscal_id(),
        "uuid": uuid,
        "initialAccountId": account.initial,
        "revenueCenterId": 141_948_669_132_822_i64,
        "revenueCenterName": "Fixed POS",
        "transactions": lines,
        "payments": payments.collect::<Value>(),
        "serviceCharge": {"amount": decimal(0, 2), "type": "UNTAXED"},
    })
}

fn entry(account: &Account, line: &Line, name: &str, each: (i64, i64), part: Part, kind: &str) -> Value {
    let (unit, hundredths) = each;
    let rate = account.plan.rate(line.taxed);
    let tax = json!({
        "taxId": format!("4191029{rate:06}"),
        "taxName": format!("VAT {}%", rate / 100),
        "taxAmount": decimal(account.sign * part.tax(), 6),
        "taxRate": decimal(10_000 + rate, 4),
        "taxIncluded": part.included,
    });
    json!({
        "unitAmount": decimal(unit, 2),
        "quantity": decimal(account.sign * hundredths, 2),
        "amount": decimal(account.sign * part.plain, 2),
        "description": name,
        "staffId": 14_670,
        "staffName": STAFF,
        "groupId": 141_948_669_132_845_i64 + i64::from(line.taxed),
        "groupName": if line.taxed { "Pastry" } else { "Bread" },
        "sku": sku(line.item_id.as_deref()),
        "type": kind,
        "taxLines": if rate > 0 { vec![tax] } else { vec![] },
    })
}
