//! Square's JSON, as far as a transaction needs it (API version 2025-08-20, `api.json`).
//!
//! Nearly everything is optional there: a missing amount means unknown, not nothing. Unknown words of an enumeration
//! are kept as text and judged where they are used.

use jiff::Timestamp;
use serde::Deserialize;

use crate::providers::text::Str;

#[derive(Deserialize)]
pub(super) struct Order<'a> {
    #[serde(borrow)]
    pub id: Str<'a>,
    pub location_id: Str<'a>,
    pub source: Option<Source<'a>>,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
    pub closed_at: Option<Timestamp>,
    pub state: Option<Str<'a>>,
    pub version: Option<i64>,
    #[serde(default)]
    pub line_items: Vec<Line<'a>>,
    #[serde(default)]
    pub discounts: Vec<Discount<'a>>,
    #[serde(default)]
    pub taxes: Vec<Tax<'a>>,
    #[serde(default)]
    pub service_charges: Vec<ServiceCharge<'a>>,
    #[serde(default)]
    pub tenders: Vec<Tender<'a>>,
    #[serde(default)]
    pub returns: Vec<Return<'a>>,
    #[serde(default)]
    pub refunds: Vec<Refund<'a>>,
    pub return_amounts: Option<MoneyAmounts<'a>>,
    pub rounding_adjustment: Option<RoundingAdjustment<'a>>,
    pub total_money: Option<Money<'a>>,
    pub total_tax_money: Option<Money<'a>>,
    pub total_discount_money: Option<Money<'a>>,
    pub total_tip_money: Option<Money<'a>>,
    pub total_service_charge_money: Option<Money<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Source<'a> {
    #[serde(borrow)]
    pub name: Option<Str<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Money<'a> {
    pub amount: Option<i64>,
    #[serde(borrow)]
    pub currency: Option<Str<'a>>,
}

/// A line of a sale or, with its own names for two fields, of a return.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub uid: Option<Str<'a>>,
    pub name: Option<Str<'a>>,
    pub variation_name: Option<Str<'a>>,
    pub catalog_object_id: Option<Str<'a>>,
    pub item_type: Option<Str<'a>>,
    pub quantity: Str<'a>,
    pub quantity_unit: Option<QuantityUnit<'a>>,
    #[serde(default, alias = "return_modifiers")]
    pub modifiers: Vec<Modifier<'a>>,
    pub base_price_money: Option<Money<'a>>,
    #[serde(alias = "gross_return_money")]
    pub gross_sales_money: Option<Money<'a>>,
    pub total_discount_money: Option<Money<'a>>,
    pub total_tax_money: Option<Money<'a>>,
    pub total_money: Option<Money<'a>>,
}

#[derive(Deserialize)]
pub(super) struct QuantityUnit<'a> {
    #[serde(borrow)]
    pub measurement_unit: Option<MeasurementUnit<'a>>,
}

#[derive(Deserialize)]
pub(super) struct MeasurementUnit<'a> {
    #[serde(borrow)]
    pub custom_unit: Option<CustomUnit<'a>>,
    pub weight_unit: Option<Str<'a>>,
    pub volume_unit: Option<Str<'a>>,
    pub length_unit: Option<Str<'a>>,
    pub area_unit: Option<Str<'a>>,
    pub time_unit: Option<Str<'a>>,
    pub generic_unit: Option<Str<'a>>,
}

#[derive(Deserialize)]
pub(super) struct CustomUnit<'a> {
    #[serde(borrow)]
    pub name: Option<Str<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Modifier<'a> {
    #[serde(borrow)]
    pub name: Option<Str<'a>>,
    pub catalog_object_id: Option<Str<'a>>,
    pub quantity: Option<Str<'a>>,
    pub total_price_money: Option<Money<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Discount<'a> {
    #[serde(borrow)]
    pub name: Option<Str<'a>>,
    pub applied_money: Option<Money<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Tax<'a> {
    #[serde(borrow)]
    pub name: Option<Str<'a>>,
    #[serde(rename = "type")]
    pub tax_type: Option<Str<'a>>,
    pub percentage: Option<Str<'a>>,
    pub applied_money: Option<Money<'a>>,
}

#[derive(Deserialize)]
pub(super) struct ServiceCharge<'a> {
    #[serde(borrow)]
    pub name: Option<Str<'a>>,
    #[serde(rename = "type")]
    pub charge_type: Option<Str<'a>>,
    pub applied_money: Option<Money<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Tender<'a> {
    #[serde(borrow)]
    pub id: Option<Str<'a>>,
    pub payment_id: Option<Str<'a>>,
    #[serde(rename = "type")]
    pub tender_type: Option<Str<'a>>,
    pub amount_money: Option<Money<'a>>,
    pub tip_money: Option<Money<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Return<'a> {
    #[serde(borrow)]
    pub source_order_id: Option<Str<'a>>,
    #[serde(default)]
    pub return_line_items: Vec<Line<'a>>,
    #[serde(default)]
    pub return_discounts: Vec<Discount<'a>>,
    #[serde(default)]
    pub return_taxes: Vec<Tax<'a>>,
    #[serde(default)]
    pub return_service_charges: Vec<ServiceCharge<'a>>,
    pub return_amounts: Option<MoneyAmounts<'a>>,
    pub rounding_adjustment: Option<RoundingAdjustment<'a>>,
}

#[derive(Deserialize)]
pub(super) struct MoneyAmounts<'a> {
    #[serde(borrow)]
    pub total_money: Option<Money<'a>>,
    pub tax_money: Option<Money<'a>>,
    pub discount_money: Option<Money<'a>>,
    pub tip_money: Option<Money<'a>>,
    pub service_charge_money: Option<Money<'a>>,
}

#[derive(Deserialize)]
pub(super) struct RoundingAdjustment<'a> {
    #[serde(borrow)]
    pub amount_money: Option<Money<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Refund<'a> {
    #[serde(borrow)]
    pub id: Str<'a>,
    pub tender_id: Option<Str<'a>>,
    pub amount_money: Option<Money<'a>>,
    pub status: Option<Str<'a>>,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct OrderAnswer<'a> {
    #[serde(borrow)]
    pub order: &'a serde_json::value::RawValue,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct MerchantsAnswer {
    #[serde(default, alias = "merchants")]
    pub merchant: Vec<Merchant>,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct Merchant {
    pub id: String,
    pub business_name: Option<String>,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct LocationsAnswer {
    #[serde(default)]
    pub locations: Vec<Location>,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct Location {
    pub id: String,
    pub name: Option<String>,
    pub timezone: Option<String>,
    pub currency: Option<String>,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    pub access_token: zeroize::Zeroizing<String>,
    pub expires_at: Option<Timestamp>,
    pub refresh_token: Option<zeroize::Zeroizing<String>>,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct TokenStatusAnswer {
    #[serde(default)]
    pub scopes: std::collections::BTreeSet<String>,
}

/// As much of an order as tells whether its payments must be read.
#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct OrderTimes {
    pub created_at: Timestamp,
    pub closed_at: Option<Timestamp>,
    #[serde(default)]
    pub tenders: Vec<TenderId>,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct TenderId {
    pub id: Option<String>,
    pub payment_id: Option<String>,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct PaymentAnswer {
    pub payment: Payment,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct Payment {
    pub offline_payment_details: Option<OfflinePaymentDetails>,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct OfflinePaymentDetails {
    pub client_created_at: Option<Timestamp>,
}

/// An empty page may be an empty object.
#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct SearchAnswer<'a> {
    #[serde(default, borrow)]
    pub orders: Vec<&'a serde_json::value::RawValue>,
    pub cursor: Option<String>,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct Errors {
    pub errors: Vec<ErrorCode>,
}

#[cfg(feature = "client")]
#[derive(Deserialize)]
pub(super) struct ErrorCode {
    pub code: Option<String>,
}
