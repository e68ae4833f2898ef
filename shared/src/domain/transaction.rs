//! Our canonical record of a sale or a refund.

use std::collections::HashMap;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{
    ConfigurationId, Currency, ExternalOrderId, LocationId, Minor, MoneyError, ProductId, ProviderKind, Quantity,
    TransactionId,
};

/// One sale or one refund, whatever the till.
///
/// All amounts are in the smallest unit of `currency`. Those of a refund are positive too: `kind` says which way the
/// money went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Transaction {
    /// Derived from the order, see [`TransactionId`].
    pub id: TransactionId,
    /// Whose till.
    pub provider: ProviderKind,
    /// Through which connection we know of it.
    pub configuration_id: ConfigurationId,
    /// Which way the money went.
    pub kind: TransactionKind,
    /// How far it has come.
    pub status: TransactionStatus,
    /// The provider's id of the order.
    pub external_order_id: ExternalOrderId,
    /// For a refund: the order that was paid back, if the till says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_order_id: Option<ExternalOrderId>,
    /// Orders two copies of the same order.
    pub source_version: SourceVersion,
    /// The shop.
    pub location_id: LocationId,
    /// What rang it up, in the provider's words ("Point of Sale", the name of a web shop).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// When the order was opened.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub created_at: Timestamp,
    /// When it counts: closed, or opened while it is open.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub occurred_at: Timestamp,
    /// The shop's accounting day.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    pub business_date: Date,
    /// Of every amount in here.
    pub currency: Currency,
    /// The totals, as the provider gave them.
    pub amounts: Amounts,
    /// What was sold or taken back.
    pub line_items: Vec<LineItem>,
    /// Every discount once, with what it took off the whole order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<Discount>,
    /// Every tax once, with what it came to over the whole order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taxes: Vec<Tax>,
    /// What the house added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_charges: Vec<ServiceCharge>,
    /// Money received, or given back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payments: Vec<Payment>,
    /// Sums that do not add up. Kept and shown, never repaired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discrepancies: Vec<Discrepancy>,
}

/// Which way the money went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TransactionKind {
    /// To the shop.
    Sale,
    /// Back to the guest, after it had been received.
    Refund,
}

impl TransactionKind {
    /// The word in ids, logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Refund => "refund",
        }
    }
}

/// How far a transaction has come. Only `completed` counts as turnover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TransactionStatus {
    /// Still being rung up or paid.
    Open,
    /// Paid.
    Completed,
    /// Taken back before money moved.
    Voided,
}

/// Orders two copies of the same order: the larger is the newer. What it counts is the provider's affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct SourceVersion(pub i64);

/// The totals of a transaction.
///
/// `total = gross - discount + (tax - tax_included) + service_charge + tip + rounding`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Amounts {
    /// Lines with their modifiers, before discounts.
    #[serde(rename = "gross_minor")]
    pub gross: Minor,
    /// Taken off, positive.
    #[serde(rename = "discount_minor")]
    pub discount: Minor,
    /// All tax, included in the prices or added to them.
    #[serde(rename = "tax_minor")]
    pub tax: Minor,
    /// The part of `tax` that stands inside `gross` already.
    #[serde(rename = "tax_included_minor")]
    pub tax_included: Minor,
    /// Added by the house.
    #[serde(rename = "service_charge_minor")]
    pub service_charge: Minor,
    /// Given on top.
    #[serde(rename = "tip_minor")]
    pub tip: Minor,
    /// Added (or, negative, taken off) because small coins do not exist.
    #[serde(rename = "rounding_minor")]
    pub rounding: Minor,
    /// What the guest owed.
    #[serde(rename = "total_minor")]
    pub total: Minor,
}

/// One thing sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LineItem {
    /// Unique inside the transaction.
    pub id: String,
    /// What it is worth to a forecast.
    pub kind: LineItemKind,
    /// As the till prints it.
    pub name: String,
    /// The provider's id of the thing; absent for amounts typed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// The tenant's own id of it, if it was mapped when this revision was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_id: Option<ProductId>,
    /// How many, or how much.
    pub quantity: Quantity,
    /// What `quantity` counts, where it does not count pieces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Of one, without modifiers.
    #[serde(rename = "unit_price_minor", default, skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<Minor>,
    /// With modifiers, before discounts.
    #[serde(rename = "gross_minor")]
    pub gross: Minor,
    /// Taken off, positive.
    #[serde(rename = "discount_minor")]
    pub discount: Minor,
    /// Included or added.
    #[serde(rename = "tax_minor")]
    pub tax: Minor,
    /// What it came to.
    #[serde(rename = "total_minor")]
    pub total: Minor,
    /// Changes to it, priced or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<Modifier>,
}

/// What a line is worth to a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LineItemKind {
    /// Something of the catalogue.
    Item,
    /// An amount typed in.
    CustomAmount,
    /// A promise to deliver later: a liability, no turnover.
    GiftCard,
    /// An old debt that is paid off: turnover of an earlier day.
    AccountPayment,
}

/// A change to a line item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Modifier {
    /// As the till prints it.
    pub name: String,
    /// The provider's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// Per piece of the line.
    pub quantity: Quantity,
    /// What it adds to the whole line.
    #[serde(rename = "total_minor")]
    pub total: Minor,
}

/// A reduction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Discount {
    /// As the till prints it.
    pub name: String,
    /// Positive.
    #[serde(rename = "amount_minor")]
    pub amount: Minor,
}

/// A tax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tax {
    /// As the till prints it.
    pub name: String,
    /// Percent, exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_percent: Option<Quantity>,
    /// Whether the prices contain it.
    pub included: bool,
    /// What it came to.
    #[serde(rename = "amount_minor")]
    pub amount: Minor,
}

/// An amount that the house adds and that is no tip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServiceCharge {
    /// As the till prints it.
    pub name: String,
    /// Whether the staff gets it: a gratuity that the till adds by itself.
    pub gratuity: bool,
    /// Without its tax.
    #[serde(rename = "amount_minor")]
    pub amount: Minor,
}

/// Money received for a sale, or given back by a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Payment {
    /// The provider's id of the payment or refund.
    pub id: String,
    /// Its means.
    pub tender: Tender,
    /// Tip included.
    #[serde(rename = "amount_minor")]
    pub amount: Minor,
    /// The tip inside `amount`.
    #[serde(rename = "tip_minor")]
    pub tip: Minor,
}

/// The means of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Tender {
    /// A card, in the hand or on file.
    Card,
    /// Coins and notes.
    Cash,
    /// Redeemed, so no new turnover.
    GiftCard,
    /// A telephone's purse.
    Wallet,
    /// From account to account.
    BankTransfer,
    /// Somebody else pays first.
    BuyNowPayLater,
    /// What was brought back in the same order: no money moved for it.
    Exchange,
    /// Not money yet: the guest pays later, with a bill or the room.
    Invoice,
    /// Anything else, or not said.
    Other,
}

/// A sum that does not add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Discrepancy {
    /// Which identity.
    pub kind: DiscrepancyKind,
    /// What the provider says minus what its parts come to.
    #[serde(rename = "missing_minor")]
    pub missing: Minor,
}

/// The identities that a transaction should satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DiscrepancyKind {
    /// gross - discount + added tax + service charges + tip + rounding = total
    PartsAndTotal,
    /// The payments of a completed transaction = total
    PaymentsAndTotal,
    /// The lines' discounts = the total's
    LinesAndTotals,
}

impl Amounts {
    /// Both together, or both less one another's, field by field.
    fn with(self, other: Self, each: impl Fn(Minor, Minor) -> Result<Minor, MoneyError>) -> Result<Self, MoneyError> {
        Ok(Self {
            gross: each(self.gross, other.gross)?,
            discount: each(self.discount, other.discount)?,
            tax: each(self.tax, other.tax)?,
            tax_included: each(self.tax_included, other.tax_included)?,
            service_charge: each(self.service_charge, other.service_charge)?,
            tip: each(self.tip, other.tip)?,
            rounding: each(self.rounding, other.rounding)?,
            total: each(self.total, other.total)?,
        })
    }

    /// Adds field by field.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.with(other, Minor::checked_add)
    }

    /// Subtracts field by field.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.with(other, Minor::checked_sub)
    }
}

impl Transaction {
    /// The provider's ids of what was sold, those of modifiers left out: some may stand here twice.
    pub fn item_ids(&self) -> impl Iterator<Item = &str> {
        self.line_items.iter().filter_map(|line| line.item_id.as_deref())
    }

    /// Says of every line that names an item which product that is.
    pub fn assign_products(&mut self, product_of: impl Fn(&str) -> Option<ProductId>) {
        for line in &mut self.line_items {
            line.product_id = line.item_id.as_deref().and_then(&product_of);
        }
    }

    /// Says anew what some items are, and leaves the others as they are.
    pub fn remap_products(&mut self, products: &HashMap<String, Option<ProductId>>) {
        for line in &mut self.line_items {
            if let Some(product) = line.item_id.as_ref().and_then(|id| products.get(id)) {
                line.product_id.clone_from(product);
            }
        }
    }

    /// Takes over what an earlier revision said of the items that it has, too: what was counted as one product is not
    /// counted as another because a tip was added.
    pub fn keep_products(&mut self, earlier: &Self) {
        for line in self.line_items.iter_mut().filter(|line| line.item_id.is_some()) {
            let same = earlier.line_items.iter().find(|known| known.item_id == line.item_id);
            if let Some(product) = same.and_then(|known| known.product_id.clone()) {
                line.product_id = Some(product);
            }
        }
    }

    /// Whether the payments come to the total or more.
    pub fn is_paid(&self) -> bool {
        let paid = Minor::sum(self.payments.iter().map(|payment| payment.amount));
        paid.is_ok_and(|paid| paid >= self.amounts.total)
    }

    /// Checks the identities and notes every breach, with what is missing.
    pub fn check_amounts(&mut self) -> Result<(), MoneyError> {
        let a = &self.amounts;
        let parts = Minor::sum([a.gross, a.tax, a.service_charge, a.tip, a.rounding])?
            .checked_sub(a.discount)?
            .checked_sub(a.tax_included)?;
        let mut checks = vec![(DiscrepancyKind::PartsAndTotal, a.total.checked_sub(parts)?)];
        if self.status == TransactionStatus::Completed {
            let paid = Minor::sum(self.payments.iter().map(|payment| payment.amount))?;
            checks.push((DiscrepancyKind::PaymentsAndTotal, a.total.checked_sub(paid)?));
        }
        let discounts = Minor::sum(self.line_items.iter().map(|line| line.discount))?;
        checks.push((DiscrepancyKind::LinesAndTotals, a.discount.checked_sub(discounts)?));
        self.discrepancies = checks
            .into_iter()
            .filter(|(_, missing)| *missing != Minor::ZERO)
            .map(|(kind, missing)| Discrepancy { kind, missing })
            .collect();
        Ok(())
    }
}
