//! Square's JSON of orders, payments and refunds.
//!
//! Shapes follow the published samples; amounts come from the receipt alone.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock::{later, rfc3339};
use crate::receipt::{Adjustment, Extra, Goods, Line, Means, Receipt, Share, Tender};
use crate::seed::Seed;

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
    fn frame(&self) -> Value {
        let mut order = json!({
            "id": self.id,
            "location_id": self.location_id,
            "source": {"name": if self.api { "Maple Preorder" } else { "Point of Sale" }},
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
            "state": self.state,
        });
        if let Some(closed_at) = self.closed_at {
            order["closed_at"] = json!(rfc3339(closed_at));
        }
        if self.api {
            order["version"] = json!(self.version);
        } else {
            order["ticket_name"] = json!(self.ticket_name);
        }
        order
    }

    pub fn sale(&self, receipt: &Receipt, payments: &[Payment]) -> Value {
        let c = receipt.currency;
        let mut order = self.frame();
        order["line_items"] = receipt
            .lines
            .iter()
            .map(|line| line_item(line, c))
            .collect();
        order["total_money"] = money(receipt.total(), c);
        order["total_tax_money"] = money(receipt.tax(), c);
        order["total_discount_money"] = money(receipt.discount(), c);
        order["total_tip_money"] = money(receipt.tip_minor, c);
        order["total_service_charge_money"] = money(receipt.charge(), c);
        order["net_amounts"] = amounts(receipt, 1);
        if !receipt.discounts.is_empty() {
            order["discounts"] = receipt
                .discounts
                .iter()
                .map(|discount| discount_json(discount, c))
                .collect();
        }
        if !receipt.taxes.is_empty() {
            order["taxes"] = receipt.taxes.iter().map(|tax| tax_json(tax, c)).collect();
        }
        if !receipt.charges.is_empty() {
            order["service_charges"] = receipt
                .charges
                .iter()
                .map(|charge| charge_json(charge, c))
                .collect();
        }
        if self.state == "COMPLETED" {
            order["net_amount_due_money"] = money(0, c);
            order["tenders"] = payments.iter().map(|payment| payment.tender(c)).collect();
        }
        order
    }

    /// A return is an order of its own: its totals are zero, the money is in `return_amounts`.
    pub fn giving_back(
        &self,
        receipt: &Receipt,
        source_order_id: &str,
        refunds: &[Refund],
    ) -> Value {
        let c = receipt.currency;
        let mut order = self.frame();
        let lines: Value = receipt
            .lines
            .iter()
            .map(|line| return_line(line, c))
            .collect();
        let mut back = json!({
            "uid": format!("rt-{}", self.ticket_name),
            "source_order_id": source_order_id,
            "return_line_items": lines,
            "return_amounts": amounts(receipt, 1),
        });
        if !receipt.discounts.is_empty() {
            back["return_discounts"] = receipt
                .discounts
                .iter()
                .map(|discount| {
                    returned(discount_json(discount, c), discount, "source_discount_uid")
                })
                .collect();
        }
        if !receipt.taxes.is_empty() {
            back["return_taxes"] = receipt
                .taxes
                .iter()
                .map(|tax| returned(tax_json(tax, c), tax, "source_tax_uid"))
                .collect();
        }
        if !receipt.charges.is_empty() {
            back["return_service_charges"] = receipt
                .charges
                .iter()
                .map(|charge| returned(charge_json(charge, c), charge, "source_service_charge_uid"))
                .collect();
        }
        if receipt.tip_minor > 0 {
            back["return_tips"] = json!([{
                "uid": format!("rp-{}", self.ticket_name),
                "applied_money": money(receipt.tip_minor, c),
                "source_tender_id": refunds.last().map(|refund| &refund.payment_id),
            }]);
        }
        order["returns"] = json!([back]);
        order["return_amounts"] = amounts(receipt, 1);
        order["net_amounts"] = amounts(receipt, -1);
        order["refunds"] = refunds
            .iter()
            .map(|refund| refund.inside_order(c))
            .collect();
        for total in [
            "total_money",
            "total_tax_money",
            "total_discount_money",
            "total_tip_money",
            "total_service_charge_money",
        ] {
            order[total] = money(0, c);
        }
        order
    }
}

fn amounts(receipt: &Receipt, sign: i64) -> Value {
    let c = receipt.currency;
    json!({
        "total_money": money(sign * receipt.total(), c),
        "tax_money": money(sign * receipt.tax(), c),
        "discount_money": money(sign * receipt.discount(), c),
        "tip_money": money(sign * receipt.tip_minor, c),
        "service_charge_money": money(sign * receipt.charge(), c),
    })
}

fn line_item(line: &Line, c: &str) -> Value {
    let mut item = common_line(line, c);
    item["gross_sales_money"] = money(line.gross(), c);
    item["total_service_charge_money"] = money(line.charge(), c);
    if !line.extras.is_empty() {
        item["modifiers"] = line
            .extras
            .iter()
            .map(|extra| modifier(extra, line, c))
            .collect();
    }
    item
}

fn return_line(line: &Line, c: &str) -> Value {
    let mut item = common_line(line, c);
    item["gross_return_money"] = money(line.gross(), c);
    if line.charge() > 0 {
        item["total_service_charge_money"] = money(line.charge(), c);
    }
    if let Some(source) = &line.source_uid {
        item["source_line_item_uid"] = json!(source);
    }
    if !line.extras.is_empty() {
        item["return_modifiers"] = line
            .extras
            .iter()
            .map(|extra| {
                json!({
                    "uid": extra.uid,
                    "source_modifier_uid": extra.source_uid,
                    "name": extra.name,
                    "base_price_money": money(extra.unit_minor, c),
                    "total_price_money": money(extra.total_minor, c),
                })
            })
            .collect();
    }
    item
}

fn common_line(line: &Line, c: &str) -> Value {
    let item_type = match line.goods {
        Goods::Product => "ITEM",
        Goods::CustomAmount => "CUSTOM_AMOUNT",
        Goods::GiftCard => "GIFT_CARD",
    };
    let mut item = json!({
        "uid": line.uid,
        "name": line.name,
        "quantity": line.quantity.to_string(),
        "item_type": item_type,
        "base_price_money": money(line.unit_minor, c),
        "variation_total_price_money": money(line.plain_minor, c),
        "total_discount_money": money(line.discount(), c),
        "total_tax_money": money(line.tax(), c),
        "total_money": money(line.total(), c),
    });
    if let Some(item_id) = &line.item_id {
        item["catalog_object_id"] = json!(item_id);
        item["catalog_version"] = json!(1_736_942_400_000_i64);
    }
    if let Some(variation) = line.variation {
        item["variation_name"] = json!(variation);
    }
    if line.quantity.by_weight {
        item["quantity_unit"] = json!({
            "measurement_unit": {"weight_unit": "IMPERIAL_POUND", "type": "TYPE_WEIGHT"},
            "precision": 2,
        });
    }
    for (key, of, shares) in [
        ("applied_discounts", "discount_uid", &line.discounts),
        ("applied_taxes", "tax_uid", &line.taxes),
        (
            "applied_service_charges",
            "service_charge_uid",
            &line.charges,
        ),
    ] {
        if !shares.is_empty() {
            item[key] = shares.iter().map(|share| applied(share, of, c)).collect();
        }
    }
    item
}

fn applied(share: &Share, of: &str, c: &str) -> Value {
    json!({"uid": share.uid, of: share.of, "applied_money": money(share.minor, c)})
}

fn modifier(extra: &Extra, line: &Line, c: &str) -> Value {
    json!({
        "uid": extra.uid,
        "catalog_object_id": extra.item_id,
        "name": extra.name,
        "quantity": line.quantity.to_string(),
        "base_price_money": money(extra.unit_minor, c),
        "total_price_money": money(extra.total_minor, c),
    })
}

fn adjustment(rule: &Adjustment, c: &str) -> Value {
    let mut json =
        json!({"uid": rule.uid, "name": rule.name, "applied_money": money(rule.minor, c)});
    match rule.basis_points {
        Some(basis_points) => json["percentage"] = json!(percentage(basis_points)),
        None => json["amount_money"] = money(rule.minor, c),
    }
    json
}

fn scoped(mut json: Value, rule: &Adjustment, kind: &str) -> Value {
    json["type"] = json!(kind);
    json["scope"] = json!(if rule.whole_order {
        "ORDER"
    } else {
        "LINE_ITEM"
    });
    json
}

fn discount_json(rule: &Adjustment, c: &str) -> Value {
    let kind = if rule.basis_points.is_some() {
        "FIXED_PERCENTAGE"
    } else {
        "FIXED_AMOUNT"
    };
    scoped(adjustment(rule, c), rule, kind)
}

fn tax_json(rule: &Adjustment, c: &str) -> Value {
    scoped(adjustment(rule, c), rule, "ADDITIVE")
}

fn charge_json(rule: &Adjustment, c: &str) -> Value {
    let mut json = adjustment(rule, c);
    json["type"] = json!(if rule.shared_out {
        "CUSTOM"
    } else {
        "AUTO_GRATUITY"
    });
    json["calculation_phase"] = json!(if rule.shared_out {
        "APPORTIONED_AMOUNT_PHASE"
    } else {
        "SUBTOTAL_PHASE"
    });
    json["taxable"] = json!(false);
    json["total_money"] = money(rule.minor, c);
    json["total_tax_money"] = money(0, c);
    json
}

fn returned(mut json: Value, rule: &Adjustment, source_key: &str) -> Value {
    json[source_key] = json!(rule.source_uid);
    json
}

/// Money received for an order.
#[derive(Debug, Clone)]
pub struct Payment {
    pub tender: Tender,
    pub order_id: String,
    pub location_id: String,
    pub team_member_id: String,
    pub api: bool,
    pub status: &'static str,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub captured_at: Option<Timestamp>,
    /// When it was taken, if the till was offline then.
    pub offline_at: Option<Timestamp>,
    pub fee: Option<(i64, Timestamp)>,
    /// Refund ids and what has come back with them.
    pub refunds: Vec<(String, i64)>,
    /// Counts the changes; event ids and version tokens follow from it.
    pub revision: u32,
}

impl Payment {
    pub fn refundable(&self) -> i64 {
        self.tender.minor - self.refunds.iter().map(|(_, minor)| minor).sum::<i64>()
    }

    pub fn json(&self, seed: Seed, c: &str) -> Value {
        let id = &self.tender.id;
        let receipt_number: String = id.chars().take(4).collect();
        let product = if self.api {
            "ECOMMERCE_API"
        } else {
            "SQUARE_POS"
        };
        let version = format!("version/{id}/{}", self.revision);
        let mut payment = json!({
            "id": id,
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
            "amount_money": money(self.tender.minor - self.tender.tip_minor, c),
            "total_money": money(self.tender.minor, c),
            "approved_money": money(self.tender.minor, c),
            "status": self.status,
            "location_id": self.location_id,
            "order_id": self.order_id,
            "team_member_id": self.team_member_id,
            "receipt_number": receipt_number,
            "receipt_url": format!("https://squareup.com/receipt/preview/{id}"),
            "application_details": {"square_product": product, "application_id": "sq0ids-SANDBOX"},
            "version_token": seed.draws(&version).letters(45),
        });
        if self.tender.tip_minor > 0 {
            payment["tip_money"] = money(self.tender.tip_minor, c);
        }
        match self.tender.means {
            Means::Cash { given_minor } => {
                payment["source_type"] = json!("CASH");
                payment["cash_details"] = json!({
                    "buyer_supplied_money": money(given_minor, c),
                    "change_back_money": money(given_minor - self.tender.minor, c),
                });
            }
            Means::Card => {
                payment["source_type"] = json!("CARD");
                payment["card_details"] = self.card_details();
                payment["delay_action"] = json!("CANCEL");
                payment["delay_duration"] = json!("PT168H");
                payment["delayed_until"] = json!(rfc3339(later(
                    self.created_at,
                    jiff::SignedDuration::from_hours(168)
                )));
            }
        }
        if let Some((fee, effective_at)) = self.fee {
            payment["processing_fee"] = json!([{"effective_at": rfc3339(effective_at), "type": "INITIAL", "amount_money": money(fee, c)}]);
        }
        if !self.refunds.is_empty() {
            payment["refunded_money"] = money(self.tender.minor - self.refundable(), c);
            payment["refund_ids"] = self
                .refunds
                .iter()
                .map(|(refund_id, _)| json!(refund_id))
                .collect();
        }
        if let Some(taken_at) = self.offline_at {
            payment["is_offline_payment"] = json!(true);
            payment["offline_payment_details"] = json!({"client_created_at": rfc3339(taken_at)});
        }
        payment
    }

    fn card_status(&self) -> &'static str {
        match self.status {
            "COMPLETED" => "CAPTURED",
            "CANCELED" => "VOIDED",
            _ => "AUTHORIZED",
        }
    }

    fn card_details(&self) -> Value {
        let mut timeline = json!({"authorized_at": rfc3339(self.created_at)});
        if let Some(captured_at) = self.captured_at {
            timeline["captured_at"] = json!(rfc3339(captured_at));
        }
        if self.status == "CANCELED" {
            timeline["voided_at"] = json!(rfc3339(self.updated_at));
        }
        let mut card = card();
        card["bin"] = json!("411111");
        card["card_type"] = json!("DEBIT");
        card["prepaid_type"] = json!("NOT_PREPAID");
        json!({
            "status": self.card_status(),
            "entry_method": if self.api { "KEYED" } else { "EMV" },
            "card": card,
            "card_payment_timeline": timeline,
            "statement_description": "SQ *MAPLE AND RYE",
        })
    }

    /// The same money as the order sees it.
    fn tender(&self, c: &str) -> Value {
        let mut tender = json!({
            "id": self.tender.id,
            "location_id": self.location_id,
            "transaction_id": self.order_id,
            "created_at": rfc3339(self.created_at),
            "amount_money": money(self.tender.minor, c),
            "payment_id": self.tender.id,
        });
        if self.tender.tip_minor > 0 {
            tender["tip_money"] = money(self.tender.tip_minor, c);
        }
        if let Some((fee, _)) = self.fee {
            tender["processing_fee_money"] = money(fee, c);
        }
        match self.tender.means {
            Means::Cash { given_minor } => {
                tender["type"] = json!("CASH");
                tender["cash_details"] = json!({
                    "buyer_tendered_money": money(given_minor, c),
                    "change_back_money": money(given_minor - self.tender.minor, c),
                });
            }
            Means::Card => {
                tender["type"] = json!("CARD");
                tender["card_details"] = json!({
                    "status": self.card_status(),
                    "entry_method": if self.api { "KEYED" } else { "EMV" },
                    "card": card(),
                });
            }
        }
        tender
    }
}

fn card() -> Value {
    json!({"card_brand": "VISA", "last_4": "1111", "exp_month": 11, "exp_year": 2029, "fingerprint": "sq-1-SANDBOX"})
}

/// Money given back to one payment.
#[derive(Debug, Clone)]
pub struct Refund {
    pub id: String,
    pub payment_id: String,
    pub order_id: String,
    pub location_id: String,
    pub minor: i64,
    pub status: &'static str,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub reason: &'static str,
}

impl Refund {
    pub fn json(&self, c: &str) -> Value {
        json!({
            "id": self.id,
            "payment_id": self.payment_id,
            "order_id": self.order_id,
            "location_id": self.location_id,
            "amount_money": money(self.minor, c),
            "status": self.status,
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
            "reason": self.reason,
        })
    }

    /// The older form inside the return's order, with other words for the states.
    fn inside_order(&self, c: &str) -> Value {
        json!({
            "id": self.id,
            "location_id": self.location_id,
            "transaction_id": self.order_id,
            "tender_id": self.payment_id,
            "created_at": rfc3339(self.created_at),
            "reason": self.reason,
            "amount_money": money(self.minor, c),
            "status": if self.status == "COMPLETED" { "APPROVED" } else { self.status },
        })
    }
}
