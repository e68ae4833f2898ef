//! What really was sold.
//!
//! Written from the receipts, not from any provider's JSON, so that a client's
//! books can be compared with something it has never read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::receipt::{Line, Receipt};

/// Which way the money went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Goods against money.
    #[default]
    Sale,
    /// Money given back; amounts are positive.
    Refund,
    /// Taken back before money moved; keeps its amounts, is no sale.
    Canceled,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// Rung up, not paid.
    #[default]
    Open,
    /// Counts.
    Completed,
    /// Will never count.
    Canceled,
}

/// One line of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryLine {
    /// The provider's id of the line inside its order.
    pub uid: String,
    /// Product name.
    pub name: String,
    /// Product variation, when it is a product.
    pub variation: Option<String>,
    /// Decimal text: `"2"` pieces or `"1.25"` pounds.
    pub quantity: String,
    /// With discounts, taxes and charges.
    pub total_minor: i64,
}

/// One payment of a sale, or one refund to a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPayment {
    /// The provider's id of the payment or refund.
    pub id: String,
    /// With the tip.
    pub amount_minor: i64,
    /// The tip in it.
    pub tip_minor: i64,
}

/// One sale, refund or canceled sale; by default an open sale of nothing by nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The provider's id of the order.
    pub order_id: String,
    /// Another id of the same, where the provider has one: Lightspeed's account reference.
    #[serde(default)]
    pub reference: Option<String>,
    /// Sale, refund or canceled.
    pub kind: EntryKind,
    /// Only completed entries count.
    pub state: EntryState,
    /// Whose sale it is.
    pub merchant_id: String,
    /// The shop.
    pub location_id: String,
    /// ISO 4217.
    pub currency: String,
    /// Before discounts, without taxes.
    pub gross_minor: i64,
    /// Positive.
    pub discount_minor: i64,
    /// Additive taxes.
    pub tax_minor: i64,
    /// Taxes inside the prices; part of `gross_minor`, not added to it.
    #[serde(default)]
    pub included_tax_minor: i64,
    /// Charges of the house, not tips.
    pub service_charge_minor: i64,
    /// Tips of all payments.
    pub tip_minor: i64,
    /// gross − discount + tax + service charge + tip.
    pub total_minor: i64,
    /// What was sold or brought back.
    pub lines: Vec<EntryLine>,
    /// How it was paid or given back.
    pub payments: Vec<EntryPayment>,
    /// The sale a refund belongs to.
    pub source_order_id: Option<String>,
    /// The shop's accounting day, `2026-02-14`; its calendar day where the provider has none.
    #[serde(default)]
    pub business_date: Option<String>,
    /// When the order came into being.
    pub created_at: String,
    /// When the money was taken; for an offline sale long before the upload.
    pub taken_at: String,
    /// When the order reached its final state.
    pub closed_at: Option<String>,
}

impl LedgerEntry {
    /// Adds the amounts of a receipt; the caller says what and whose it is.
    pub(crate) fn amounts(&mut self, receipt: &Receipt) {
        self.gross_minor += receipt.gross();
        self.discount_minor += receipt.discount();
        self.tax_minor += receipt.tax();
        self.included_tax_minor += receipt.included_tax_minor;
        self.service_charge_minor += receipt.charge();
        self.tip_minor += receipt.tip_minor;
        self.total_minor += receipt.total();
        self.lines.extend(receipt.lines.iter().map(entry_line));
        self.payments.extend(receipt.tenders.iter().map(|tender| EntryPayment {
            id: tender.id.clone(),
            amount_minor: tender.minor,
            tip_minor: tender.tip_minor,
        }));
    }
}

fn entry_line(line: &Line) -> EntryLine {
    EntryLine {
        uid: line.uid.clone(),
        name: line.name.to_owned(),
        variation: line.variation.map(str::to_owned),
        quantity: line.quantity.to_string(),
        total_minor: line.total(),
    }
}

/// What a shop has sold on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayTotal {
    /// The shop.
    pub location_id: String,
    /// Its accounting day.
    pub business_date: String,
    /// ISO 4217.
    pub currency: String,
    /// Completed sales.
    pub sales: usize,
    /// Their totals, tips included.
    pub sold_minor: i64,
    /// Completed refunds.
    pub refunds: usize,
    /// Their totals, positive.
    pub refunded_minor: i64,
}

/// Sums of what counts, by shop and day.
pub fn totals(entries: &[LedgerEntry]) -> Vec<DayTotal> {
    let mut days: BTreeMap<(String, String), DayTotal> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.state == EntryState::Completed) {
        let business_date = entry.business_date.clone().unwrap_or_default();
        let key = (entry.location_id.clone(), business_date.clone());
        let day = days.entry(key).or_insert_with(|| DayTotal {
            location_id: entry.location_id.clone(),
            business_date,
            currency: entry.currency.clone(),
            sales: 0,
            sold_minor: 0,
            refunds: 0,
            refunded_minor: 0,
        });
        match entry.kind {
            EntryKind::Sale => {
                day.sales += 1;
                day.sold_minor += entry.total_minor;
            }
            EntryKind::Refund => {
                day.refunds += 1;
                day.refunded_minor += entry.total_minor;
            }
            EntryKind::Canceled => {}
        }
    }
    days.into_values().collect()
}

/// All entries, in the order in which they were first written.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<LedgerEntry>,
    places: BTreeMap<String, usize>,
}

impl Ledger {
    pub fn write(&mut self, entry: LedgerEntry) {
        let place = *self.places.entry(entry.order_id.clone()).or_insert(self.entries.len());
        match self.entries.get_mut(place) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
    }

    pub fn entries(&self) -> Vec<LedgerEntry> {
        self.entries.clone()
    }
}
