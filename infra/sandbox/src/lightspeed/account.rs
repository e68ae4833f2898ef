//! A closed account, as the Financial API shows it.
//!
//! Money is decimal text: two decimals where guests pay it, four or six where
//! tax is concerned.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::businesses::number;
use super::items::sku;
use crate::catalogue::ShopPlan;
use crate::clock::rfc3339;
use crate::json::Build;
use crate::people::STAFF;
use crate::receipt::{Line, Means, Receipt};
use crate::seed::Seed;
use crate::till::inner_tax;

/// One account: a bill, or what became of one.
#[derive(Debug, Clone)]
pub struct Account {
    pub location: String,
    pub plan: &'static ShopPlan,
    /// The till, as it stands in every fiscal id.
    pub device: String,
    pub number: u32,
    pub kind: &'static str,
    /// Fiscal id of the first account of a chain; its own if there is none.
    pub initial: String,
    pub previous: Option<String>,
    pub opened: Timestamp,
    pub closed: Timestamp,
    pub cancelled: bool,
    /// −1 where money or goods go back.
    pub sign: i64,
    pub receipt: Receipt,
}

/// Decimal text of an amount in a unit of this many decimals.
pub fn text(units: i64, decimals: u32) -> String {
    let scale = 10_i64.pow(decimals);
    let sign = if units < 0 { "-" } else { "" };
    let width = usize::try_from(decimals).unwrap_or(0);
    format!("{sign}{}.{:0width$}", units.abs() / scale, units.abs() % scale)
}

/// An amount of a part of a line: `plain` before discounts.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub plain: i64,
    pub own_discount: i64,
    pub bill_discount: i64,
    pub rate: i64,
    pub included: bool,
}

impl Part {
    pub fn net(&self) -> i64 {
        self.plain - self.own_discount - self.bill_discount
    }

    /// In ten-thousandths of the minor unit.
    pub fn tax(&self) -> i64 {
        if self.included { inner_tax(self.net(), self.rate) } else { self.net() * self.rate }
    }
}

impl Account {
    pub fn fiscal_id(&self) -> String {
        format!("A{}.{}", self.device, self.number)
    }

    /// Where it stands on the shelf.
    pub fn place(&self) -> String {
        format!("{}/{}", self.location, self.fiscal_id())
    }

    /// Unique everywhere, and not fit for a URL as it is.
    pub fn reference(&self, seed: Seed) -> String {
        let digest = seed.draws(&format!("lightspeed/account/{}", self.place())).uuid();
        STANDARD.encode(uuid::Uuid::parse_str(&digest).unwrap_or_default().as_bytes())
    }

    /// A line without its extras; those are lines of their own.
    pub fn part(&self, line: &Line) -> Part {
        let bill: Vec<&str> =
            self.receipt.discounts.iter().filter(|rule| rule.whole_order).map(|rule| rule.uid.as_str()).collect();
        let share = |wanted: bool| {
            let shares = line.discounts.iter().filter(|share| bill.contains(&share.of.as_str()) == wanted);
            shares.map(|share| share.minor).sum()
        };
        let (rate, included) = (self.plan.rate(line.taxed), self.plan.tax_included());
        Part { plain: line.plain_minor, own_discount: share(false), bill_discount: share(true), rate, included }
    }

    pub fn json(&self, seed: Seed) -> Value {
        let mut lines = Vec::new();
        for line in &self.receipt.lines {
            let id = format!("S{}.{}", self.device, u64::from(self.number) * 100 + count(&lines));
            let part = self.part(line);
            lines.push(self.line(&id, None, line.name, line.item_id.as_deref(), line, part));
            for extra in &line.extras {
                let child = format!("S{}.{}", self.device, u64::from(self.number) * 100 + count(&lines));
                let part = Part { plain: extra.total_minor, own_discount: 0, bill_discount: 0, ..part };
                lines.push(self.line(&child, Some(&id), extra.name, Some(&extra.item_id), line, part));
            }
        }
        let json = json!({
            "accountReference": self.reference(seed),
            "accountFiscId": self.fiscal_id(),
            "receiptId": format!("R{}.{}", self.device, self.number),
            "source": match &self.previous {
                Some(previous) => json!({"initialAccountId": self.initial, "previousAccountId": previous}),
                None => json!({"initialAccountId": self.initial}),
            },
            "salesLines": lines,
            "payments": self.payments(),
            "timeOfOpening": rfc3339(self.opened),
            "timeClosed": rfc3339(self.closed),
            "cancelled": self.cancelled,
            "type": self.kind,
            "externalReferences": [],
            "tableNumber": "1",
            "tableName": "Counter, Table 1",
            "accountProfileCode": "AAP",
            "ownerName": STAFF,
            "ownerId": 14_670,
            "nbCovers": 0.0,
            "dineIn": false,
            "deviceId": number(&self.device),
            "deviceName": "iPad1",
        });
        json.with_some("voidReason", self.cancelled.then_some("Unhappy client"))
    }

    fn money(&self, minor: i64) -> String {
        text(self.sign * minor, 2)
    }

    fn line(&self, id: &str, parent: Option<&str>, name: &str, item: Option<&str>, line: &Line, part: Part) -> Value {
        let without = if part.included { part.net() * 10_000 - part.tax() } else { part.net() * 10_000 };
        let tax = self.sign * part.tax();
        let discount = part.own_discount + part.bill_discount;
        let taxes: Vec<Value> = (part.rate > 0)
            .then(|| {
                json!({
                    "taxId": format!("4191029{:06}", part.rate),
                    "taxCode": tax_code(part.rate),
                    "taxRate": multiplier(part.rate),
                    "taxAmount": text(tax, 6),
                    "taxIncluded": part.included,
                })
            })
            .into_iter()
            .collect();
        let group = json!({
            "accountingGroupId": 141_948_669_132_845_i64 + i64::from(line.taxed),
            "name": if line.taxed { "Pastry" } else { "Bread" },
            "statisticGroup": "Food",
            "code": if line.taxed { "124" } else { "123" },
        });
        let json = json!({
            "id": id,
            "totalNetAmountWithTax": self.money(part.net()),
            "totalNetAmountWithoutTax": if part.included { text(self.sign * without, 6) } else { self.money(part.net()) },
            "menuListPrice": self.money(part.plain),
            "unitCostPrice": "0.10",
            "serviceCharge": "0.00",
            "serviceChargeType": "NO_SERVICE_CHARGE",
            "serviceChargeRate": "0.00",
            "discountAmount": self.money(part.own_discount),
            "accountDiscountAmount": self.money(part.bill_discount),
            "totalDiscountAmount": self.money(discount),
            "taxCode": tax_code(part.rate),
            "taxAmount": text(crate::money::part_of(tax, 1, 100), 4),
            "taxRatePercentage": text(part.rate, 2),
            "taxLines": taxes,
            "sku": sku(item),
            "name": name,
            "nameOverride": "",
            "statisticGroup": "Food",
            "quantity": text(self.sign * line.quantity.hundredths * 10, 3),
            "accountingGroup": group,
            "currency": self.receipt.currency,
            "tags": [],
            "revenueCenter": "Fixed POS",
            "revenueCenterId": 141_948_669_132_822_i64,
            "categories": [{"category": "default", "value": "Food"}],
            "timeOfSale": rfc3339(self.opened),
            "staffId": 14_670,
            "staffName": STAFF,
            "deviceId": number(&self.device),
            "deviceName": "iPad1",
            "accountProfileCode": "AAP",
        });
        json.with_some("parentLineId", parent)
    }

    fn payments(&self) -> Value {
        let payments = self.receipt.tenders.iter().enumerate().map(|(place, tender)| {
            let (code, description) = match tender.means {
                Means::Card => ("CARD", "Card"),
                Means::Cash { .. } => ("CASH", "Cash"),
            };
            json!({
                "code": code,
                "description": description,
                "paymentMethodId": 141_948_669_132_824_i64,
                "netAmountWithTax": self.money(tender.minor - tender.tip_minor),
                "currency": self.receipt.currency,
                "tip": self.money(tender.tip_minor),
                "surcharge": "0.00",
                "type": "NORMAL",
                "deviceId": self.device,
                "deviceName": "iPad1",
                "staffId": 14_670,
                "staffName": STAFF,
                "fiscId": format!("T{}.{}{place}", self.device, self.number),
                "uuid": STANDARD.encode(tender.id.as_bytes().first_chunk::<16>().copied().unwrap_or_default()),
                "fiscDate": rfc3339(self.closed),
            })
        });
        payments.collect()
    }
}

fn count(lines: &[Value]) -> u64 {
    u64::try_from(lines.len()).unwrap_or(0)
}

fn tax_code(rate: i64) -> String {
    format!("VAT{}", rate / 100)
}

/// A rate is a factor here: "1.2" is 20 %.
fn multiplier(rate: i64) -> String {
    text(10_000 + rate, 4).trim_end_matches('0').trim_end_matches('.').to_owned()
}
