//! Toast's JSON, as far as a transaction needs it (orders API 2.9).
//!
//! Nulls stand everywhere, and the documentation's own samples leave required fields out. Unknown words of an
//! enumeration are kept as text and judged where they are used. GUIDs are text: not all are UUIDs.

use serde::Deserialize;

use crate::providers::decimal::Exact;
use crate::providers::text::Str;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Order<'a> {
    #[serde(borrow)]
    pub guid: Option<Str<'a>>,
    pub source: Option<Str<'a>>,
    pub business_date: Option<i64>,
    pub created_date: Option<Time>,
    pub opened_date: Option<Time>,
    pub modified_date: Option<Time>,
    pub paid_date: Option<Time>,
    pub closed_date: Option<Time>,
    pub approval_status: Option<Str<'a>>,
    pub voided: Option<bool>,
    pub deleted: Option<bool>,
    pub created_in_test_mode: Option<bool>,
    pub excess_food: Option<bool>,
    #[serde(default, deserialize_with = "list")]
    pub checks: Vec<Check<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check<'a> {
    #[serde(borrow)]
    pub payment_status: Option<Str<'a>>,
    pub paid_date: Option<Time>,
    pub voided: Option<bool>,
    pub deleted: Option<bool>,
    pub tax_amount: Option<Exact>,
    pub total_amount: Option<Exact>,
    #[serde(default, deserialize_with = "list")]
    pub selections: Vec<Selection<'a>>,
    #[serde(default, deserialize_with = "list")]
    pub applied_discounts: Vec<Discount<'a>>,
    #[serde(default, deserialize_with = "list")]
    pub applied_service_charges: Vec<ServiceCharge<'a>>,
    #[serde(default, deserialize_with = "list")]
    pub payments: Vec<Payment<'a>>,
}

/// A line; and a modifier, which is a selection inside another.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Selection<'a> {
    #[serde(borrow)]
    pub guid: Option<Str<'a>>,
    pub item: Option<Reference<'a>>,
    pub display_name: Option<Str<'a>>,
    pub quantity: Option<Exact>,
    pub unit_of_measure: Option<Str<'a>>,
    pub selection_type: Option<Str<'a>>,
    pub deferred: Option<bool>,
    pub voided: Option<bool>,
    pub receipt_line_price: Option<Exact>,
    pub pre_discount_price: Option<Exact>,
    pub price: Option<Exact>,
    pub tax: Option<Exact>,
    pub tax_inclusion: Option<Str<'a>>,
    #[serde(default, deserialize_with = "list")]
    pub applied_taxes: Vec<Tax<'a>>,
    #[serde(default, deserialize_with = "list")]
    pub applied_discounts: Vec<Discount<'a>>,
    pub refund_details: Option<RefundDetails<'a>>,
    #[serde(default, deserialize_with = "list")]
    pub modifiers: Vec<Selection<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Reference<'a> {
    #[serde(borrow)]
    pub guid: Option<Str<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Discount<'a> {
    #[serde(borrow)]
    pub name: Option<Str<'a>>,
    pub discount_amount: Option<Exact>,
    pub processing_state: Option<Str<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tax<'a> {
    #[serde(borrow)]
    pub name: Option<Str<'a>>,
    /// Of one: `0.0625` is 6.25 percent.
    pub rate: Option<Exact>,
    pub tax_amount: Option<Exact>,
    #[serde(rename = "type")]
    pub tax_type: Option<Str<'a>>,
    pub facilitator_collect_and_remit_tax: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceCharge<'a> {
    #[serde(borrow)]
    pub name: Option<Str<'a>>,
    pub charge_amount: Option<Exact>,
    pub gratuity: Option<bool>,
    pub service_charge_category: Option<Str<'a>>,
    #[serde(default, deserialize_with = "list")]
    pub applied_taxes: Vec<Tax<'a>>,
    pub refund_details: Option<RefundDetails<'a>>,
}

/// What one refund gave back of a line or charge.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefundDetails<'a> {
    /// Without tax.
    pub refund_amount: Option<Exact>,
    pub tax_refund_amount: Option<Exact>,
    #[serde(borrow)]
    pub refund_transaction: Option<Reference<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payment<'a> {
    #[serde(borrow)]
    pub guid: Option<Str<'a>>,
    #[serde(rename = "type")]
    pub payment_type: Option<Str<'a>>,
    /// Without the tip.
    pub amount: Option<Exact>,
    pub tip_amount: Option<Exact>,
    pub paid_date: Option<Time>,
    pub payment_status: Option<Str<'a>>,
    pub refund: Option<Refund<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refund<'a> {
    /// Without the tip.
    pub refund_amount: Option<Exact>,
    pub tip_refund_amount: Option<Exact>,
    pub refund_date: Option<Time>,
    pub refund_business_date: Option<i64>,
    #[serde(borrow)]
    pub refund_transaction: Option<Reference<'a>>,
}

/// An instant as Toast writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub jiff::Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Str::deserialize(deserializer)?;
        super::instant(&text).map(Self).ok_or_else(|| serde::de::Error::custom("no instant"))
    }
}

/// A list, or null where there is none.
fn list<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
