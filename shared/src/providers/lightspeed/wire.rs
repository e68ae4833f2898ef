//! Lightspeed's JSON, as far as a transaction needs it (Financial API, version 2).
//!
//! Money is decimal text with up to six places. Version 1 and integrators write the names of the times with other
//! capitals; all are read.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use crate::providers::decimal::Exact;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sale<'a> {
    #[serde(borrow)]
    pub account_reference: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub account_fisc_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub source: Option<Source<'a>>,
    #[serde(rename = "type", borrow)]
    pub sale_type: Option<Cow<'a, str>>,
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
    #[serde(borrow)]
    pub account_profile_code: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub sales_lines: Vec<Line<'a>>,
    #[serde(default, borrow)]
    pub payments: Vec<Payment<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Source<'a> {
    #[serde(borrow)]
    pub initial_account_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub parent_line_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub name_override: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub sku: Option<Cow<'a, str>>,
    pub quantity: Option<Exact>,
    /// Of the whole line, before discount and service charge (unverified).
    pub menu_list_price: Option<Exact>,
    pub total_net_amount_with_tax: Option<Exact>,
    pub total_net_amount_without_tax: Option<Exact>,
    pub total_discount_amount: Option<Exact>,
    pub discount_amount: Option<Exact>,
    pub account_discount_amount: Option<Exact>,
    #[serde(borrow)]
    pub discount_name: Option<Cow<'a, str>>,
    pub service_charge: Option<Exact>,
    pub tax_amount: Option<Exact>,
    #[serde(default, borrow)]
    pub tax_lines: Vec<TaxLine<'a>>,
    #[serde(borrow)]
    pub currency: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaxLine<'a> {
    #[serde(borrow)]
    pub tax_code: Option<Cow<'a, str>>,
    /// A multiplier: `1.2` is twenty percent.
    pub tax_rate: Option<Exact>,
    pub tax_amount: Option<Exact>,
    pub tax_included: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payment<'a> {
    #[serde(borrow)]
    pub uuid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub fisc_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub code: Option<Cow<'a, str>>,
    #[serde(rename = "type", borrow)]
    pub payment_type: Option<Cow<'a, str>>,
    pub net_amount_with_tax: Option<Exact>,
    pub tip: Option<Exact>,
    pub surcharge: Option<Exact>,
    #[serde(borrow)]
    pub currency: Option<Cow<'a, str>>,
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
}

/// What a sale is called.
#[cfg(feature = "client")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SaleIds<'a> {
    #[serde(borrow)]
    pub account_reference: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub account_fisc_id: Option<Cow<'a, str>>,
}
