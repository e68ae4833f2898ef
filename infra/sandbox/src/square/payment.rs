//! Square's JSON of payments and refunds.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::order::money;
use crate::clock::{later, rfc3339};
use crate::json::Build;
use crate::people::Guest;
use crate::receipt::{Means, Tender};
use crate::seed::Seed;
use crate::shelf::{By, Draft, Object};

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
        self.tender.minor - self.refunded()
    }

    fn refunded(&self) -> i64 {
        self.refunds.iter().map(|(_, minor)| minor).sum()
    }

    /// This copy of it, for the shelf.
    pub fn object(&self, json: Draft) -> Object {
        let object = Object::new("payments", &self.tender.id, &self.location_id, json);
        Object { state: self.status, ..object.at(By::Created, self.created_at).at(By::Changed, self.updated_at) }
    }

    pub fn json(&self, seed: Seed, c: &str) -> Value {
        let Tender { id, minor, tip_minor, means } = &self.tender;
        let version = seed.draws(&format!("version/{id}/{}", self.revision)).letters(45);
        let product = if self.api { "ECOMMERCE_API" } else { "SQUARE_POS" };
        let fee = self
            .fee
            .map(|(fee, at)| json!([{"effective_at": rfc3339(at), "type": "INITIAL", "amount_money": money(fee, c)}]));
        let offline = self.offline_at.map(|at| json!({"client_created_at": rfc3339(at)}));
        let guest = Guest::of(&self.order_id);
        let refunded = (self.refunded() > 0).then(|| money(self.refunded(), c));
        let payment = json!({
            "id": id,
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
            "amount_money": money(minor - tip_minor, c),
            "total_money": money(*minor, c),
            "approved_money": money(*minor, c),
            "status": self.status,
            "location_id": self.location_id,
            "order_id": self.order_id,
            "team_member_id": self.team_member_id,
            "receipt_number": id.chars().take(4).collect::<String>(),
            "receipt_url": format!("https://squareup.com/receipt/preview/{id}"),
            "application_details": {"square_product": product, "application_id": "sq0ids-SANDBOX"},
            "version_token": version,
            "note": guest.note(),
            "buyer_email_address": guest.mail(),
            "billing_address": guest.address(),
        })
        .with_some("tip_money", (*tip_minor > 0).then(|| money(*tip_minor, c)))
        .with_some("processing_fee", fee)
        .with_some("refunded_money", refunded)
        .with_list("refund_ids", self.refunds.iter().map(|(refund_id, _)| json!(refund_id)))
        .with_some("is_offline_payment", offline.as_ref().map(|_| true))
        .with_some("offline_payment_details", offline);
        match means {
            Means::Cash { given_minor } => payment.with("source_type", "CASH").with(
                "cash_details",
                json!({
                    "buyer_supplied_money": money(*given_minor, c),
                    "change_back_money": money(given_minor - minor, c),
                }),
            ),
            Means::Card => payment
                .with("source_type", "CARD")
                .with("card_details", self.card_details())
                .with("delay_action", "CANCEL")
                .with("delay_duration", "PT168H")
                .with("delayed_until", rfc3339(later(self.created_at, SignedDuration::from_hours(168)))),
        }
    }

    fn card_status(&self) -> &'static str {
        match self.status {
            "COMPLETED" => "CAPTURED",
            "CANCELED" => "VOIDED",
            _ => "AUTHORIZED",
        }
    }

    fn entry_method(&self) -> &'static str {
        if self.api { "KEYED" } else { "EMV" }
    }

    fn card_details(&self) -> Value {
        let voided = (self.status == "CANCELED").then(|| rfc3339(self.updated_at));
        let timeline = json!({"authorized_at": rfc3339(self.created_at)})
            .with_some("captured_at", self.captured_at.map(rfc3339))
            .with_some("voided_at", voided);
        let card = card()
            .with("cardholder_name", Guest::of(&self.order_id).cardholder())
            .with("bin", "411111")
            .with("card_type", "DEBIT")
            .with("prepaid_type", "NOT_PREPAID");
        json!({
            "status": self.card_status(),
            "entry_method": self.entry_method(),
            "card": card,
            "card_payment_timeline": timeline,
            "statement_description": "SQ *MAPLE AND RYE",
        })
    }

    /// The same money as the order sees it.
    pub fn tender_json(&self, c: &str) -> Value {
        let Tender { id, minor, tip_minor, means } = &self.tender;
        let tender = json!({
            "id": id,
            "location_id": self.location_id,
            "transaction_id": self.order_id,
            "created_at": rfc3339(self.created_at),
            "amount_money": money(*minor, c),
            "payment_id": id,
        })
        .with_some("tip_money", (*tip_minor > 0).then(|| money(*tip_minor, c)))
        .with_some("processing_fee_money", self.fee.map(|(fee, _)| money(fee, c)));
        match means {
            Means::Cash { given_minor } => tender.with("type", "CASH").with(
                "cash_details",
                json!({
                    "buyer_tendered_money": money(*given_minor, c),
                    "change_back_money": money(given_minor - minor, c),
                }),
            ),
            Means::Card => tender.with("type", "CARD").with(
                "card_details",
                json!({"status": self.card_status(), "entry_method": self.entry_method(), "card": card()}),
            ),
        }
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
    /// This copy of it, for the shelf.
    pub fn object(&self, json: Draft) -> Object {
        let object = Object::new("refunds", &self.id, &self.location_id, json);
        Object { state: self.status, ..object.at(By::Created, self.created_at).at(By::Changed, self.updated_at) }
    }

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
    pub fn inside_order(&self, c: &str) -> Value {
        let status = if self.status == "COMPLETED" { "APPROVED" } else { self.status };
        json!({
            "id": self.id,
            "location_id": self.location_id,
            "transaction_id": self.order_id,
            "tender_id": self.payment_id,
            "created_at": rfc3339(self.created_at),
            "reason": self.reason,
            "amount_money": money(self.minor, c),
            "status": status,
        })
    }
}
