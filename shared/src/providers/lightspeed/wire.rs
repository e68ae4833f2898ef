//! Lightspeed's JSON, as far as a transaction needs it (Financial API, version 2).
//!
//! Money is decimal text with up to six places. Version 1 and integrators write the names of the times with other
//! capitals; all are read.

use jiff::Timestamp;
use serde::Deserialize;

use crate::providers::decimal::Exact;
use crate::providers::text::Str;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sale<'a> {
    #[serde(borrow)]
    pub account_reference: Option<Str<'a>>,
    pub account_fisc_id: Option<Str<'a>>,
    pub source: Option<Source<'a>>,
    #[serde(rename = "type")]
    pub sale_type: Option<Str<'a>>,
    pub cancelled: Option<bool>,
    #[serde(alias = "timeofOpening")]
    pub time_of_opening: Option<Timestamp>,
    #[serde(
        alias = "timeofCloseAndPaid",
        alias = "timeOfCloseAndPaid",
        alias = "timeofClosed",
        alias = "timeOfClosed"
    )]
    pub time_closed: Option<Timestamp>,
    pub account_profile_code: Option<Str<'a>>,
    #[serde(default)]
    pub sales_lines: Vec<Line<'a>>,
    #[serde(default)]
    pub payments: Vec<Payment<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Source<'a> {
    #[serde(borrow)]
    pub initial_account_id: Option<Str<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub id: Option<Str<'a>>,
    pub parent_line_id: Option<Str<'a>>,
    pub name: Option<Str<'a>>,
    pub name_override: Option<Str<'a>>,
    pub sku: Option<Str<'a>>,
    pub quantity: Option<Exact>,
    /// Of the whole line, before discount and service charge (unverified).
    pub menu_list_price: Option<Exact>,
    pub total_net_amount_with_tax: Option<Exact>,
    pub total_net_amount_without_tax: Option<Exact>,
    pub total_discount_amount: Option<Exact>,
    pub discount_amount: Option<Exact>,
    pub account_discount_amount: Option<Exact>,
    pub discount_name: Option<Str<'a>>,
    pub service_charge: Option<Exact>,
    pub tax_amount: Option<Exact>,
    #[serde(default)]
    pub tax_lines: Vec<TaxLine<'a>>,
    pub currency: Option<Str<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaxLine<'a> {
    #[serde(borrow)]
    pub tax_code: Option<Str<'a>>,
    /// A multiplier: `1.2` is twenty percent.
    pub tax_rate: Option<Exact>,
    pub tax_amount: Option<Exact>,
    pub tax_included: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payment<'a> {
    #[serde(borrow)]
    pub uuid: Option<Str<'a>>,
    pub fisc_id: Option<Str<'a>>,
    pub code: Option<Str<'a>>,
    #[serde(rename = "type")]
    pub payment_type: Option<Str<'a>>,
    pub net_amount_with_tax: Option<Exact>,
    pub tip: Option<Exact>,
    pub surcharge: Option<Exact>,
    pub currency: Option<Str<'a>>,
}

/// A page of sales, each as it came.
#[cfg(feature = "client")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SalesPage<'a> {
    #[serde(default, borrow)]
    pub sales: Vec<&'a serde_json::value::RawValue>,
    pub next_page_token: Option<String>,
    /// Of a day.
    pub data_complete: Option<bool>,
    /// When that day ends.
    #[serde(rename = "nextStartOfDayAsIso8601")]
    pub next_start_of_day: Option<String>,
}

/// What a sale is called.
#[cfg(feature = "client")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SaleIds<'a> {
    #[serde(borrow)]
    pub account_reference: Option<Str<'a>>,
    pub account_fisc_id: Option<Str<'a>>,
}
