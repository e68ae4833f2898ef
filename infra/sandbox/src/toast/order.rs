//! Toast's JSON of an order: checks, selections inside, modifiers inside those.
//!
//! Money is a decimal number in major units, taxes have up to eight decimals,
//! and a price already is what is left after every discount.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::json_date;
use super::reads::midnight;
use crate::catalogue::ShopPlan;
use crate::json::Build;
use crate::people::Guest;
use crate::receipt::{Adjustment, Extra, Goods, Line, Means, Receipt, Tender};
use crate::shelf::{By, Draft, Object};

/// An order, as the restaurant knows it.
#[derive(Debug, Clone)]
pub struct Ticket {
    pub guid: String,
    pub merchant_id: String,
    pub restaurant: String,
    pub number: i64,
    pub server: String,
    pub plan: &'static ShopPlan,
    pub opened: Timestamp,
    pub modified: Timestamp,
    pub promised: Option<Timestamp>,
    pub paid: Option<Timestamp>,
    pub closed: Option<Timestamp>,
    pub voided: Option<Timestamp>,
    pub deleted: Option<Timestamp>,
    pub business_date: Date,
    pub approval: &'static str,
    pub source: &'static str,
    pub test_mode: bool,
    pub waste: bool,
    pub checks: Vec<Check>,
    /// Counts the changes; event guids follow from it.
    pub revision: u32,
    pub refunds_made: usize,
}

/// One bill of an order.
#[derive(Debug, Clone)]
pub struct Check {
    pub guid: String,
    pub number: i64,
    pub receipt: Receipt,
    /// Something that was typed in and taken out again.
    pub mistake: Option<Line>,
    pub payments: Vec<Payment>,
    pub returned_lines: usize,
    /// Selections that came back, with what was given back for them.
    pub returned: Vec<(String, i64, i64)>,
}

#[derive(Debug, Clone)]
pub struct Payment {
    pub tender: Tender,
    pub status: &'static str,
    pub paid: Timestamp,
    pub business_date: Date,
    /// Tips are typed in later; until then Toast knows of none.
    pub tip_known: bool,
    pub fee: Option<i64>,
    pub back: Option<Back>,
}

/// What was given back to a payment, all refunds together.
#[derive(Debug, Clone)]
pub struct Back {
    pub guid: String,
    pub minor: i64,
    pub tip_minor: i64,
    pub at: Timestamp,
    pub business_date: Date,
}

/// An exact decimal as a JSON number; its shortest form is what was written.
pub fn decimal(units: i64, decimals: u32) -> Value {
    let scale = 10_i64.pow(decimals);
    let sign = if units < 0 { "-" } else { "" };
    let (whole, rest) = (units.abs() / scale, units.abs() % scale);
    let width = usize::try_from(decimals).unwrap_or(0);
    format!("{sign}{whole}.{rest:0width$}").parse::<f64>().map_or(Value::Null, |number| json!(number))
}

fn money(minor: i64) -> Value {
    decimal(minor, 2)
}

fn day(date: Date) -> i64 {
    (i64::from(date.year()) * 100 + i64::from(date.month())) * 100 + i64::from(date.day())
}

fn reference(kind: &str, guid: &str) -> Value {
    json!({"guid": guid, "entityType": kind, "externalId": null})
}

/// 1970 stands for "not deleted".
fn never() -> String {
    "1970-01-01T00:00:00.000+0000".to_owned()
}

impl Payment {
    pub fn refundable(&self) -> i64 {
        self.tender.minor - self.back.as_ref().map_or(0, |back| back.minor + back.tip_minor)
    }

    fn is_void(&self) -> bool {
        self.status == "VOIDED"
    }

    pub fn json(&self, ticket: &Ticket) -> Value {
        let amount = self.tender.minor - self.tender.tip_minor;
        let tip = if self.tip_known { self.tender.tip_minor } else { 0 };
        let refund_status = match &self.back {
            None => "NONE",
            Some(_) if self.refundable() == 0 => "FULL",
            Some(_) => "PARTIAL",
        };
        let refund = self.back.as_ref().map(|back| {
            json!({
                "refundAmount": money(back.minor),
                "tipRefundAmount": money(back.tip_minor),
                "refundDate": json_date(back.at),
                "refundBusinessDate": day(back.business_date),
                "refundTransaction": {"guid": back.guid, "entityType": "RefundTransaction"},
            })
        });
        let void = ticket.voided.filter(|_| self.is_void()).map(|at| {
            json!({
                "voidUser": reference("RestaurantUser", &ticket.server),
                "voidApprover": reference("RestaurantUser", &ticket.server),
                "voidDate": json_date(at),
                "voidBusinessDate": day(ticket.business_date),
                "voidReason": null,
            })
        });
        let (kind, tendered, card) = match self.tender.means {
            Means::Card => ("CREDIT", amount, Some("VISA")),
            Means::Cash { given_minor } => ("CASH", given_minor, None),
        };
        json!({
            "guid": self.tender.id,
            "entityType": "OrderPayment",
            "externalId": null,
            "originalProcessingFee": self.fee.map(money),
            "amount": money(amount),
            "tipAmount": money(tip),
            "amountTendered": money(tendered),
            "cashDrawer": null,
            "cardType": card,
            "last4Digits": card.map(|_| "1111"),
            "cardEntryMode": card.map(|_| "EMV_CHIP_SIGN"),
            "lastModifiedDevice": {"id": "175785aa78a7c4dc"},
            "createdDevice": {"id": "175785aa78a7c4dc"},
            "refundStatus": refund_status,
            "houseAccount": null,
            "type": kind,
            "voidInfo": void,
            "otherPayment": null,
            "mcaRepaymentAmount": null,
            "paidDate": json_date(self.paid),
            "paidBusinessDate": day(self.business_date),
            "paymentStatus": self.status,
            "refund": refund,
        })
    }
}

impl Check {
    fn status(&self) -> &'static str {
        match self.payments.iter().any(|payment| !payment.tip_known) {
            _ if self.payments.is_empty() => "OPEN",
            true => "PAID",
            false => "CLOSED",
        }
    }

    /// What the check comes to, by Toast's formula: without tips, and without what the house adds as one.
    fn due(&self) -> (i64, i64) {
        let Receipt { ref lines, ref charges, .. } = self.receipt;
        let charges: i64 = charges.iter().filter(|rule| !is_gratuity(rule)).map(|charge| charge.minor).sum();
        (lines.iter().map(Line::net).sum::<i64>() + charges, self.receipt.tax())
    }

    fn json(&self, ticket: &Ticket) -> Value {
        let gone = ticket.voided.is_some() || ticket.deleted.is_some() || ticket.waste;
        let (amount, tax) = if gone { (0, 0) } else { self.due() };
        let mistake = self.mistake.iter().map(|line| self.selection(ticket, line, true));
        let selections = self.receipt.lines.iter().map(|line| self.selection(ticket, line, false)).chain(mistake);
        // What concerns the whole bill stands here, and is nevertheless in every price.
        let whole = self.receipt.discounts.iter().filter(|discount| discount.whole_order);
        let emptied = ticket.deleted.is_some();
        let status = if ticket.waste { "CLOSED" } else { self.status() };
        json!({
            "guid": self.guid,
            "entityType": "Check",
            "externalId": null,
            "displayNumber": self.number.to_string(),
            "openedDate": json_date(ticket.opened),
            "createdDate": json_date(ticket.opened),
            "closedDate": ticket.closed.map(json_date),
            "modifiedDate": json_date(ticket.modified),
            "paidDate": ticket.paid.map(json_date),
            "deletedDate": ticket.deleted.map_or_else(never, json_date),
            "deleted": emptied,
            "voided": ticket.voided.is_some(),
            "voidDate": ticket.voided.map(json_date),
            "voidBusinessDate": ticket.voided.map(|_| day(ticket.business_date)),
            "selections": if emptied { Value::Array(vec![]) } else { selections.collect() },
            "payments": self.payments.iter().map(|payment| payment.json(ticket)).collect::<Value>(),
            "appliedDiscounts": whole.map(|rule| discount(rule, rule.minor)).collect::<Value>(),
            "appliedServiceCharges": self.receipt.charges.iter().map(charge).collect::<Value>(),
            "appliedLoyaltyInfo": null,
            "taxExempt": false,
            "amount": money(amount),
            "taxAmount": money(tax),
            "totalAmount": money(amount + tax),
            "tabName": null,
            "paymentStatus": status,
            "customer": Guest::of(&self.guid).customer(),
            "createdDevice": {"id": "175785aa78a7c4dc"},
            "lastModifiedDevice": {"id": "175785aa78a7c4dc"},
        })
    }

    fn selection(&self, ticket: &Ticket, line: &Line, mistake: bool) -> Value {
        let plan = ticket.plan;
        let voided = mistake || ticket.voided.is_some();
        let taken_back = ticket.voided.unwrap_or(ticket.modified);
        let own = self.receipt.discounts.iter().filter(|rule| !rule.whole_order);
        let own = own.filter_map(|rule| {
            let share: i64 = line.discounts.iter().filter(|share| share.of == rule.uid).map(|share| share.minor).sum();
            (share > 0).then(|| discount(rule, share))
        });
        let rates = [("State Tax", plan.state_tax), ("City Tax", plan.city_tax)];
        // Prices with tax have whole cents of it, taxes on top keep every decimal.
        let (taxes, tax): (Vec<Value>, Value) = match (plan.tax_included(), plan.rate(line.taxed)) {
            (_, 0) => (vec![], money(0)),
            (true, rate) => (vec![tax_json("VAT", rate, money(line.tax()))], money(line.tax())),
            (false, rate) => {
                let levied = rates.iter().filter(|(_, rate)| *rate > 0);
                let each = levied.map(|(name, rate)| tax_json(name, *rate, decimal(line.net() * rate * 100, 8)));
                (each.collect(), decimal(line.net() * rate * 100, 8))
            }
        };
        let back = self.returned.iter().find(|(uid, _, _)| *uid == line.uid).map(|(uid, minor, tax)| {
            json!({
                "refundAmount": money(*minor),
                "taxRefundAmount": money(*tax),
                "refundTransaction": {"guid": uid, "entityType": "RefundTransaction"},
            })
        });
        let (kind, deferred) = match line.goods {
            Goods::Product => ("NONE", false),
            Goods::CustomAmount => ("OPEN_ITEM", false),
            Goods::GiftCard => ("TOAST_CARD_SELL", true),
        };
        let price = if ticket.waste { 0 } else { line.net() };
        let waste = ticket.waste.then(|| {
            json!({
                "guid": format!("{}-waste", line.uid),
                "entityType": "AppliedCustomDiscount",
                "name": "Waste",
                "discountAmount": money(line.gross()),
                "nonTaxDiscountAmount": money(line.gross()),
                "processingState": null,
            })
        });
        json!({
            "guid": line.uid,
            "entityType": "MenuItemSelection",
            "externalId": null,
            "item": line.item_id.as_ref().map(|guid| reference("MenuItem", guid)),
            "itemGroup": reference("MenuGroup", &format!("{}-breads", ticket.restaurant)),
            "optionGroup": null,
            "preModifier": null,
            "quantity": decimal(line.quantity.hundredths, 2),
            "seatNumber": -1,
            "unitOfMeasure": if line.quantity.by_weight { "LB" } else { "NONE" },
            "selectionType": kind,
            "salesCategory": line.item_id.as_ref().map(|_| reference("SalesCategory", &format!("{}-bakery", ticket.restaurant))),
            "appliedDiscounts": own.chain(waste).collect::<Value>(),
            "deferred": deferred,
            "receiptLinePrice": money(line.unit_minor),
            "preDiscountPrice": money(line.gross()),
            "price": money(price),
            "tax": if ticket.waste { money(0) } else { tax },
            "voided": voided,
            "voidDate": voided.then(|| json_date(taken_back)),
            "voidBusinessDate": voided.then(|| day(ticket.business_date)),
            "voidReason": null,
            "refundDetails": back,
            "displayName": line.name,
            "plu": line.item_id.as_ref().map(|guid| guid.chars().filter(char::is_ascii_digit).take(5).collect::<String>()),
            "createdDate": json_date(ticket.opened),
            "modifiedDate": json_date(ticket.modified),
            "modifiers": line.extras.iter().map(|extra| modifier(ticket, line, extra)).collect::<Value>(),
            "fulfillmentStatus": "SENT",
            "taxInclusion": if plan.tax_included() { "INCLUDED" } else { "NOT_INCLUDED" },
            "appliedTaxes": taxes,
            "diningOption": reference("DiningOption", &format!("{}-takeout", ticket.restaurant)),
            "optionGroupPricingMode": null,
        })
    }
}

/// A selection inside a selection; its price is part of its parent's.
fn modifier(ticket: &Ticket, line: &Line, extra: &Extra) -> Value {
    let nested = |guid: String, name: &str, kind: &str, price: i64, inner: Vec<Value>| {
        json!({
            "guid": guid,
            "entityType": "MenuItemSelection",
            "externalId": null,
            "item": (kind == "NONE").then(|| reference("MenuItem", &extra.item_id)),
            "itemGroup": reference("MenuGroup", &format!("{}-breads", ticket.restaurant)),
            "optionGroup": reference("MenuOptionGroup", &format!("{}-extras", ticket.restaurant)),
            "preModifier": null,
            "quantity": decimal(line.quantity.hundredths, 2),
            "seatNumber": -1,
            "unitOfMeasure": "NONE",
            "selectionType": kind,
            "salesCategory": reference("SalesCategory", &format!("{}-bakery", ticket.restaurant)),
            "appliedDiscounts": [],
            "deferred": false,
            "receiptLinePrice": money(if price == 0 { 0 } else { extra.unit_minor }),
            "preDiscountPrice": money(price),
            "price": money(price),
            "tax": money(0),
            "voided": false,
            "displayName": name,
            "modifiers": inner,
            "fulfillmentStatus": "SENT",
            "taxInclusion": "INHERITED",
            "appliedTaxes": [],
            "optionGroupPricingMode": "ADJUSTS_PRICE",
        })
    };
    let wish = nested(format!("{}-1", extra.uid), "on the side", "SPECIAL_REQUEST", 0, vec![]);
    nested(
        extra.uid.clone(),
        extra.name,
        "NONE",
        extra.total_minor,
        if extra.unit_minor > 0 { vec![wish] } else { vec![] },
    )
}

fn tax_json(name: &str, rate: i64, amount: Value) -> Value {
    json!({
        "guid": format!("applied-rate-{rate}"),
        "entityType": "AppliedTaxRate",
        "taxRate": {"guid": format!("rate-{rate}"), "entityType": "TaxRate"},
        "rate": decimal(rate, 4),
        "name": name,
        "taxAmount": amount,
        "type": "PERCENT",
        "facilitatorCollectAndRemitTax": null,
    })
}

fn discount(rule: &Adjustment, minor: i64) -> Value {
    json!({
        "guid": rule.uid,
        "entityType": "AppliedCustomDiscount",
        "name": rule.name,
        "discountAmount": money(minor),
        "nonTaxDiscountAmount": money(minor),
        "discount": {"guid": format!("{}-rule", rule.uid), "entityType": "Discount"},
        "triggers": [],
        "approver": null,
        "processingState": null,
        "loyaltyDetails": null,
        "comboItems": [],
        "appliedPromoCode": null,
        "discountType": if rule.basis_points.is_some() { "PERCENT" } else { "FIXED" },
        "discountPercent": rule.basis_points.map(|points| decimal(points, 2)),
    })
}

/// A share of the bill is for the staff, a fixed fee for the house.
fn is_gratuity(rule: &Adjustment) -> bool {
    rule.basis_points.is_some()
}

fn charge(rule: &Adjustment) -> Value {
    json!({
        "guid": rule.uid,
        "entityType": "AppliedServiceCharge",
        "externalId": null,
        "chargeAmount": money(rule.minor),
        "serviceCharge": reference("ServiceCharge", &format!("{}-rule", rule.uid)),
        "chargeType": "FIXED",
        "name": rule.name,
        "delivery": false,
        "takeout": true,
        "dineIn": false,
        "gratuity": is_gratuity(rule),
        "taxable": false,
        "appliedTaxes": [],
        "serviceChargeCalculation": null,
        "refundDetails": null,
        "serviceChargeCategory": "SERVICE_CHARGE",
        "paymentGuid": null,
    })
}

impl Ticket {
    /// This copy of the order and of its payments, for the shelf.
    pub fn objects(self: &Arc<Self>) -> Vec<Object> {
        let copy = Arc::clone(self);
        let order = Object::new("orders", &self.guid, &self.restaurant, Draft::of(move || copy.json()));
        let order = order.at(By::Changed, self.modified).at(By::Day, midnight(self.business_date));
        let mut objects = vec![order];
        for (check, Check { payments, .. }) in self.checks.iter().enumerate() {
            for (place, payment) in payments.iter().enumerate() {
                let copy = Arc::clone(self);
                let json = move || copy.payment(check, place).unwrap_or_default();
                let back = payment.back.as_ref().map(|back| back.business_date);
                let void = payment.is_void().then_some(self.business_date);
                let object = Object::new("payments", &payment.tender.id, &self.restaurant, Draft::of(json));
                let object = object.at(By::PaidOn, midnight(payment.business_date));
                let object = object.at(By::RefundedOn, back.and_then(midnight));
                objects.push(object.at(By::VoidedOn, void.and_then(midnight)));
            }
        }
        objects
    }

    /// A payment by itself also says what it is for.
    fn payment(&self, check: usize, place: usize) -> Option<Value> {
        let check = self.checks.get(check)?;
        let payment = check.payments.get(place)?.json(self);
        Some(payment.with("orderGuid", self.guid.as_str()).with("checkGuid", check.guid.as_str()))
    }

    /// As a webhook brings it: without personal data.
    pub fn pushed(&self) -> Value {
        let mut json = self.json();
        for check in json.get_mut("checks").and_then(Value::as_array_mut).into_iter().flatten() {
            *check = check.take().with("customer", Value::Null);
        }
        json
    }

    pub fn json(&self) -> Value {
        json!({
            "guid": self.guid,
            "entityType": "Order",
            "externalId": null,
            "openedDate": json_date(self.opened),
            "createdDate": json_date(self.opened),
            "modifiedDate": json_date(self.modified),
            "promisedDate": self.promised.map(json_date),
            "paidDate": self.paid.map(json_date),
            "closedDate": self.closed.map(json_date),
            "deletedDate": self.deleted.map_or_else(never, json_date),
            "deleted": self.deleted.is_some(),
            "voided": self.voided.is_some(),
            "voidDate": self.voided.map(json_date),
            "voidBusinessDate": self.voided.map(|_| day(self.business_date)),
            "estimatedFulfillmentDate": json_date(self.promised.unwrap_or(self.opened)),
            "businessDate": day(self.business_date),
            "server": reference("RestaurantUser", &self.server),
            "revenueCenter": null,
            "restaurantService": null,
            "serviceArea": null,
            "table": null,
            "diningOption": reference("DiningOption", &format!("{}-takeout", self.restaurant)),
            "source": self.source,
            "duration": self.paid.map(|paid| paid.duration_since(self.opened).as_secs()),
            "requiredPrepTime": "PT0S",
            "approvalStatus": self.approval,
            "numberOfGuests": 1,
            "deliveryInfo": null,
            "curbsidePickupInfo": null,
            "createdInTestMode": self.test_mode,
            "excessFood": self.waste,
            "createdDevice": {"id": "175785aa78a7c4dc"},
            "lastModifiedDevice": {"id": "175785aa78a7c4dc"},
            "displayNumber": self.number.to_string(),
            "checks": self.checks.iter().map(|check| check.json(self)).collect::<Value>(),
            "pricingFeatures": ["TAXESV2"],
        })
    }
}
