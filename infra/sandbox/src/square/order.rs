//! Square's JSON of an order: a sale, or a return.
//!
//! Shapes follow the published samples; amounts come from the receipt alone.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::payment::{Payment, Refund};
use crate::clock::rfc3339;
use crate::json::Build;
use crate::people::Guest;
use crate::receipt::{Adjustment, Extra, Goods, Line, Receipt, Share};
use crate::shelf::{By, Draft, Object};

pub fn money(minor: i64, currency: &str) -> Value {
    json!({"amount": minor, "currency": currency})
}

/// `6.25` for 625 hundredths of a percent, `10` for 1000.
fn percentage(basis_points: i64) -> String {
    let text = format!("{}.{:02}", basis_points / 100, basis_points % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The facts of an order that are not on the receipt.
#[derive(Debug, Clone)]
pub struct Order {
    pub id: String,
    pub location_id: String,
    pub ticket_name: String,
    /// Orders made through the API have a version; what a till rings up has none.
    pub api: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub closed_at: Option<Timestamp>,
    pub state: &'static str,
    pub version: u64,
}

impl Order {
    /// This copy of it, for the shelf.
    pub fn object(&self, json: Draft) -> Object {
        let object = Object::new("orders", &self.id, &self.location_id, json).at(By::Created, self.created_at);
        Object { state: self.state, ..object.at(By::Changed, self.updated_at).at(By::Closed, self.closed_at) }
    }

    fn frame(&self) -> Value {
        let source = if self.api { "Maple Preorder" } else { "Point of Sale" };
        json!({
            "id": self.id,
            "location_id": self.location_id,
            "source": {"name": source},
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
            "state": self.state,
        })
        .with_some("closed_at", self.closed_at.map(rfc3339))
        .with_some("version", self.api.then_some(self.version))
        .with_some("ticket_name", (!self.api).then(|| Guest::of(&self.id).ticket(&self.ticket_name)))
    }

    pub fn sale(&self, receipt: &Receipt, payments: &[Payment]) -> Value {
        let c = receipt.currency;
        let paid = self.state == "COMPLETED";
        let tenders = payments.iter().filter(|_| paid);
        self.frame()
            .with_list("line_items", receipt.lines.iter().map(|line| sold(line, c)))
            .with_list("discounts", receipt.discounts.iter().map(|rule| discount(rule, c)))
            .with_list("taxes", taxes(receipt).map(|(rule, kind)| tax(rule, kind, c)))
            .with_list("service_charges", receipt.charges.iter().map(|rule| charge(rule, c)))
            .with_list("tenders", tenders.map(|payment| payment.tender_json(c)))
            .with("total_money", money(receipt.total(), c))
            .with("total_tax_money", money(receipt.tax() + receipt.included_tax_minor, c))
            .with("total_discount_money", money(receipt.discount(), c))
            .with("total_tip_money", money(receipt.tip_minor, c))
            .with("total_service_charge_money", money(receipt.charge(), c))
            .with("net_amounts", amounts(receipt, 1))
            .with_some("net_amount_due_money", paid.then(|| money(0, c)))
    }

    /// A return is an order of its own: its totals are zero, the money is in `return_amounts`.
    pub fn giving_back(&self, receipt: &Receipt, sale_id: &str, refunds: &[Refund]) -> Value {
        let c = receipt.currency;
        let tip = (receipt.tip_minor > 0).then(|| {
            json!({
                "uid": format!("rp-{}", self.ticket_name),
                "applied_money": money(receipt.tip_minor, c),
                "source_tender_id": refunds.last().map(|refund| &refund.payment_id),
            })
        });
        let discounts = receipt.discounts.iter();
        let discounts =
            discounts.map(|rule| discount(rule, c).with_some("source_discount_uid", rule.source_uid.clone()));
        let taxes = taxes(receipt);
        let taxes = taxes.map(|(rule, kind)| tax(rule, kind, c).with_some("source_tax_uid", rule.source_uid.clone()));
        let charges = receipt.charges.iter();
        let charges =
            charges.map(|rule| charge(rule, c).with_some("source_service_charge_uid", rule.source_uid.clone()));
        let back = json!({"uid": format!("rt-{}", self.ticket_name), "source_order_id": sale_id})
            .with_list("return_line_items", receipt.lines.iter().map(|line| brought_back(line, c)))
            .with_list("return_discounts", discounts)
            .with_list("return_taxes", taxes)
            .with_list("return_service_charges", charges)
            .with_list("return_tips", tip.into_iter())
            .with("return_amounts", amounts(receipt, 1));
        self.frame()
            .with("returns", vec![back])
            .with("return_amounts", amounts(receipt, 1))
            .with("net_amounts", amounts(receipt, -1))
            .with_list("refunds", refunds.iter().map(|refund| refund.inside_order(c)))
            .with("total_money", money(0, c))
            .with("total_tax_money", money(0, c))
            .with("total_discount_money", money(0, c))
            .with("total_tip_money", money(0, c))
            .with("total_service_charge_money", money(0, c))
    }
}

fn amounts(receipt: &Receipt, sign: i64) -> Value {
    let c = receipt.currency;
    json!({
        "total_money": money(sign * receipt.total(), c),
        "tax_money": money(sign * (receipt.tax() + receipt.included_tax_minor), c),
        "discount_money": money(sign * receipt.discount(), c),
        "tip_money": money(sign * receipt.tip_minor, c),
        "service_charge_money": money(sign * receipt.charge(), c),
    })
}

fn sold(line: &Line, c: &str) -> Value {
    let modifier = |extra: &Extra| {
        json!({
            "uid": extra.uid,
            "catalog_object_id": extra.item_id,
            "name": extra.name,
            "quantity": "1",
            "base_price_money": money(extra.unit_minor, c),
            "total_price_money": money(extra.total_minor, c),
        })
    };
    common(line, c)
        .with("gross_sales_money", money(line.gross(), c))
        .with("total_service_charge_money", money(line.charge(), c))
        .with_list("modifiers", line.extras.iter().map(modifier))
}

fn brought_back(line: &Line, c: &str) -> Value {
    let modifier = |extra: &Extra| {
        json!({
            "uid": extra.uid,
            "source_modifier_uid": extra.source_uid,
            "name": extra.name,
            "base_price_money": money(extra.unit_minor, c),
            "total_price_money": money(extra.total_minor, c),
        })
    };
    let charge = line.charge();
    common(line, c)
        .with("gross_return_money", money(line.gross(), c))
        .with_some("total_service_charge_money", (charge > 0).then(|| money(charge, c)))
        .with_some("source_line_item_uid", line.source_uid.clone())
        .with_list("return_modifiers", line.extras.iter().map(modifier))
}

fn common(line: &Line, c: &str) -> Value {
    let item_type = match line.goods {
        Goods::Product => "ITEM",
        Goods::CustomAmount => "CUSTOM_AMOUNT",
        Goods::GiftCard => "GIFT_CARD",
    };
    let pounds = line.quantity.by_weight.then(|| {
        json!({
            "measurement_unit": {"weight_unit": "IMPERIAL_POUND", "type": "TYPE_WEIGHT"},
            "precision": 2,
        })
    });
    let applied = |of: &'static str, shares: &[Share]| {
        let share = |share: &Share| json!({"uid": share.uid, of: share.of, "applied_money": money(share.minor, c)});
        shares.iter().map(share).collect::<Vec<_>>().into_iter()
    };
    json!({
        "uid": line.uid,
        "name": line.name,
        "quantity": line.quantity.to_string(),
        "item_type": item_type,
        "base_price_money": money(line.unit_minor, c),
        "variation_total_price_money": money(line.plain_minor, c),
        "total_discount_money": money(line.discount(), c),
        "total_tax_money": money(line.tax() + line.inner_tax(), c),
        "total_money": money(line.total(), c),
    })
    .with_some("catalog_object_id", line.item_id.clone())
    .with_some("catalog_version", line.item_id.as_ref().map(|_| 1_736_942_400_000_i64))
    .with_some("variation_name", line.variation)
    .with_some("quantity_unit", pounds)
    .with_list("applied_discounts", applied("discount_uid", &line.discounts))
    .with_list("applied_taxes", applied("tax_uid", &line.taxes).chain(applied("tax_uid", &line.inner_taxes)))
    .with_list("applied_service_charges", applied("service_charge_uid", &line.charges))
}

fn adjustment(rule: &Adjustment, kind: &str, c: &str) -> Value {
    let fixed = rule.basis_points.is_none().then(|| money(rule.minor, c));
    json!({"uid": rule.uid, "name": rule.name, "type": kind, "applied_money": money(rule.minor, c)})
        .with_some("percentage", rule.basis_points.map(percentage))
        .with_some("amount_money", fixed)
}

fn scope(rule: &Adjustment) -> &'static str {
    if rule.whole_order { "ORDER" } else { "LINE_ITEM" }
}

fn discount(rule: &Adjustment, c: &str) -> Value {
    let kind = if rule.basis_points.is_some() { "FIXED_PERCENTAGE" } else { "FIXED_AMOUNT" };
    adjustment(rule, kind, c).with("scope", scope(rule))
}

fn taxes(receipt: &Receipt) -> impl Iterator<Item = (&Adjustment, &'static str)> {
    let added = receipt.taxes.iter().map(|rule| (rule, "ADDITIVE"));
    added.chain(receipt.inner_taxes.iter().map(|rule| (rule, "INCLUSIVE")))
}

fn tax(rule: &Adjustment, kind: &str, c: &str) -> Value {
    adjustment(rule, kind, c).with("scope", scope(rule))
}

fn charge(rule: &Adjustment, c: &str) -> Value {
    let (kind, phase) = match rule.shared_out {
        true => ("CUSTOM", "APPORTIONED_AMOUNT_PHASE"),
        false => ("AUTO_GRATUITY", "SUBTOTAL_PHASE"),
    };
    adjustment(rule, kind, c)
        .with("calculation_phase", phase)
        .with("taxable", false)
        .with("total_money", money(rule.minor, c))
        .with("total_tax_money", money(0, c))
}
