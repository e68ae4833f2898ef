//! Square's JSON, as far as a transaction needs it (API version 2025-08-20, `api.json`).
//!
//! Nearly everything is optional there: a missing amount means unknown, not nothing. Unknown words of an enumeration
//! are kept as text and judged where they are used.

use jiff::Timestamp;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Order {
    pub id: String,
    pub location_id: String,
    pub source: Option<Source>,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
    pub closed_at: Option<Timestamp>,
    pub state: Option<String>,
    pub version: Option<i64>,
    #[serde(default)]
    pub line_items: Vec<Line>,
    #[serde(default)]
    pub discounts: Vec<Discount>,
    #[serde(default)]
    pub taxes: Vec<Tax>,
    #[serde(default)]
    pub service_charges: Vec<ServiceCharge>,
    #[serde(default)]
    pub tenders: Vec<Tender>,
    #[serde(default)]
    pub returns: Vec<Return>,
    #[serde(default)]
    pub refunds: Vec<Refund>,
    pub return_amounts: Option<MoneyAmounts>,
    pub rounding_adjustment: Option<RoundingAdjustment>,
    pub total_money: Option<Money>,
    pub total_tax_money: Option<Money>,
    pub total_discount_money: Option<Money>,
    pub total_tip_money: Option<Money>,
    pub total_service_charge_money: Option<Money>,
}

#[derive(Deserialize)]
pub(super) struct Source {
    pub name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Money {
    pub amount: Option<i64>,
    pub currency: Option<String>,
}

/// A line of a sale or, with its own names for two fields, of a return.
#[derive(Deserialize)]
pub(super) struct Line {
    pub uid: Option<String>,
    pub name: Option<String>,
    pub variation_name: Option<String>,
    pub catalog_object_id: Option<String>,
    pub item_type: Option<String>,
    pub quantity: String,
    pub quantity_unit: Option<QuantityUnit>,
    #[serde(default, alias = "return_modifiers")]
    pub modifiers: Vec<Modifier>,
    pub base_price_money: Option<Money>,
    #[serde(alias = "gross_return_money")]
    pub gross_sales_money: Option<Money>,
    pub total_discount_money: Option<Money>,
    pub total_tax_money: Option<Money>,
    pub total_money: Option<Money>,
}

#[derive(Deserialize)]
pub(super) struct QuantityUnit {
    pub measurement_unit: Option<MeasurementUnit>,
}

#[derive(Deserialize)]
pub(super) struct MeasurementUnit {
    pub custom_unit: Option<CustomUnit>,
    pub weight_unit: Option<String>,
    pub volume_unit: Option<String>,
    pub length_unit: Option<String>,
    pub area_unit: Option<String>,
    pub time_unit: Option<String>,
    pub generic_unit: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct CustomUnit {
    pub name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Modifier {
    pub name: Option<String>,
    pub catalog_object_id: Option<String>,
    pub quantity: Option<String>,
    pub total_price_money: Option<Money>,
}

#[derive(Deserialize)]
pub(super) struct Discount {
    pub name: Option<String>,
    pub applied_money: Option<Money>,
}

#[derive(Deserialize)]
pub(super) struct Tax {
    pub name: Option<String>,
    #[serde(rename = "type")]
    pub tax_type: Option<String>,
    pub percentage: Option<String>,
    pub applied_money: Option<Money>,
}

#[derive(Deserialize)]
pub(super) struct ServiceCharge {
    pub name: Option<String>,
    #[serde(rename = "type")]
    pub charge_type: Option<String>,
    pub applied_money: Option<Money>,
}

#[derive(Deserialize)]
pub(super) struct Tender {
    pub id: Option<String>,
    pub payment_id: Option<String>,
    #[serde(rename = "type")]
    pub tender_type: Option<String>,
    pub amount_money: Option<Money>,
    pub tip_money: Option<Money>,
}

#[derive(Deserialize)]
pub(super) struct Return {
    pub source_order_id: Option<String>,
    #[serde(default)]
    pub return_line_items: Vec<Line>,
    #[serde(default)]
    pub return_discounts: Vec<Discount>,
    #[serde(default)]
    pub return_taxes: Vec<Tax>,
    #[serde(default)]
    pub return_service_charges: Vec<ServiceCharge>,
    pub return_amounts: Option<MoneyAmounts>,
    pub rounding_adjustment: Option<RoundingAdjustment>,
}

#[derive(Deserialize)]
pub(super) struct MoneyAmounts {
    pub total_money: Option<Money>,
    pub tax_money: Option<Money>,
    pub discount_money: Option<Money>,
    pub tip_money: Option<Money>,
    pub service_charge_money: Option<Money>,
}

#[derive(Deserialize)]
pub(super) struct RoundingAdjustment {
    pub amount_money: Option<Money>,
}

#[derive(Deserialize)]
pub(super) struct Refund {
    pub id: String,
    pub tender_id: Option<String>,
    pub amount_money: Option<Money>,
    pub status: Option<String>,
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
