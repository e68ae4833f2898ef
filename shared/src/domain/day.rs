//! What a shop's business day came to, and how sure we are of it. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Amounts, Currency, DayCount, Minor, MoneyError, ProductId, Quantity, Tender, Transaction, TransactionId,
    TransactionKind, TransactionStatus,
};

/// What completed sales and refunds come to. All amounts are in the smallest unit of `currency`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Figures"))]
pub struct Figures {
    /// Of every amount in here.
    pub currency: Currency,
    /// Completed sales.
    pub sale_count: u64,
    /// What they came to.
    pub sales: Amounts,
    /// Completed refunds, on the day on which the money was given back.
    pub refund_count: u64,
    /// What they gave back, positive.
    pub refunds: Amounts,
    /// Sales less refunds, by means of payment.
    pub by_tender: Vec<DayTender>,
    /// Sales less refunds, by product.
    pub products: Vec<DayProduct>,
}

/// What came in by one means of payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DayTender {
    /// The means.
    pub tender: Tender,
    /// Received less given back.
    #[serde(rename = "amount_minor")]
    pub amount: Minor,
}

/// What was sold of one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DayProduct {
    /// The tenant's own, if the till's item is mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_id: Option<ProductId>,
    /// The till's item, unless it was typed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// As the till prints it.
    pub name: String,
    /// Sold less taken back.
    pub quantity: Quantity,
    /// Sold less taken back, discounts taken off.
    #[serde(rename = "total_minor")]
    pub total: Minor,
    /// In a restatement: by how much `quantity` has changed since the revision before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity_change: Option<Quantity>,
    /// In a restatement: by how much `total_minor` has changed since the revision before.
    #[serde(default, rename = "total_change_minor", skip_serializing_if = "Option::is_none")]
    pub total_change: Option<Minor>,
}

/// A product by whatever names it.
type ProductKey = (Option<ProductId>, Option<String>, String);

impl DayProduct {
    /// An item has one name at a time; what was typed in is told apart by its name alone.
    fn key(product_id: &Option<ProductId>, item_id: &Option<String>, name: &str) -> ProductKey {
        let name = if item_id.is_some() { String::new() } else { name.to_owned() };
        (product_id.clone(), item_id.clone(), name)
    }

    fn own_key(&self) -> ProductKey {
        Self::key(&self.product_id, &self.item_id, &self.name)
    }
}

impl Figures {
    /// What these come to, in whatever order they stand. Those that are open, voided or in another currency do not count.
    pub fn of<'t>(
        currency: Currency,
        transactions: impl IntoIterator<Item = &'t Transaction>,
    ) -> Result<Self, MoneyError> {
        let mut counted: Vec<&Transaction> = transactions
            .into_iter()
            .filter(|it| it.status == TransactionStatus::Completed && it.currency == currency)
            .collect();
        counted.sort_by_key(|transaction| transaction.id);
        let mut figures = Self {
            currency,
            sale_count: 0,
            sales: Amounts::default(),
            refund_count: 0,
            refunds: Amounts::default(),
            by_tender: Vec::new(),
            products: Vec::new(),
        };
        let (mut by_means, mut products) = (BTreeMap::new(), BTreeMap::<ProductKey, DayProduct>::new());
        for transaction in counted {
            let (count, sums) = match transaction.kind {
                TransactionKind::Sale => (&mut figures.sale_count, &mut figures.sales),
                TransactionKind::Refund => (&mut figures.refund_count, &mut figures.refunds),
            };
            *count += 1;
            *sums = sums.checked_add(transaction.amounts)?;
            let signed = |sum: Minor, amount| match transaction.kind {
                TransactionKind::Sale => sum.checked_add(amount),
                TransactionKind::Refund => sum.checked_sub(amount),
            };
            for payment in &transaction.payments {
                let sum = by_means.entry(payment.tender).or_insert(Minor::ZERO);
                *sum = signed(*sum, payment.amount)?;
            }
            for line in &transaction.line_items {
                let product = products.entry(DayProduct::key(&line.product_id, &line.item_id, &line.name));
                let product = product.or_insert_with(|| DayProduct {
                    product_id: line.product_id.clone(),
                    item_id: line.item_id.clone(),
                    name: String::new(),
                    quantity: Quantity::ZERO,
                    total: Minor::ZERO,
                    quantity_change: None,
                    total_change: None,
                });
                // As it was called last.
                product.name.clone_from(&line.name);
                let quantity = if transaction.kind == TransactionKind::Sale { line.quantity } else { -line.quantity };
                product.quantity = product.quantity + quantity;
                product.total = signed(product.total, line.gross.checked_sub(line.discount)?)?;
            }
        }
        figures.by_tender = by_means.into_iter().map(|(tender, amount)| DayTender { tender, amount }).collect();
        figures.products = products.into_values().collect();
        Ok(figures)
    }

    /// Sales less refunds, all included.
    pub fn net(&self) -> Minor {
        self.sales.total.checked_sub(self.refunds.total).unwrap_or_default()
    }

    /// How many, and what they came to.
    pub fn count(&self) -> DayCount {
        let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        DayCount { sales: number(self.sale_count), refunds: number(self.refund_count), turnover: self.net() }
    }

    /// The products of both, with what has changed of each since `before`. What is not sold any more stands there with
    /// nothing.
    pub fn products_since(&self, before: &Self) -> Vec<DayProduct> {
        let mut products: BTreeMap<ProductKey, DayProduct> = BTreeMap::new();
        for old in &before.products {
            let gone = DayProduct {
                quantity: Quantity::ZERO,
                total: Minor::ZERO,
                quantity_change: Some(-old.quantity),
                total_change: Minor::ZERO.checked_sub(old.total).ok(),
                ..old.clone()
            };
            products.insert(old.own_key(), gone);
        }
        for new in &self.products {
            let key = new.own_key();
            let (quantity, total) = match products.get(&key) {
                Some(gone) => (gone.quantity_change, gone.total_change),
                None => (Some(Quantity::ZERO), Some(Minor::ZERO)),
            };
            let changed = DayProduct {
                quantity_change: quantity.map(|less| new.quantity + less),
                total_change: total.and_then(|less| new.total.checked_add(less).ok()),
                ..new.clone()
            };
            products.insert(key, changed);
        }
        products.into_values().collect()
    }
}

/// How sure we are that nothing is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DayState {
    /// Equal to what the provider says.
    Proven,
    /// The provider has these, and we do not.
    Short {
        /// They are being read again.
        missing: Vec<TransactionId>,
    },
    /// We have these, and the provider does not.
    Over {
        /// Somebody should look at them.
        surplus: Vec<TransactionId>,
    },
    /// The provider's own figures are not final.
    Pending {
        /// When we look again.
        #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
        until: Timestamp,
    },
    /// Nothing to compare with.
    NotProvable {
        /// Stable word.
        reason: String,
    },
}

impl DayState {
    /// The word in metrics and in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Short { .. } => "short",
            Self::Over { .. } => "over",
            Self::Pending { .. } => "pending",
            Self::NotProvable { .. } => "not_provable",
        }
    }

    /// Whether it says the same; when we look again is no part of that.
    pub fn says_same(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Pending { .. }, Self::Pending { .. })) || self == other
    }
}

/// The verdict on a shop's day: how it was found out, and what was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Certificate {
    /// The verdict.
    pub state: DayState,
    /// What the provider was asked: a question other than that of the syncs.
    pub method: CertificateMethod,
    /// When that was.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub taken_at: Timestamp,
    /// Transactions that stand in both, or in one of them.
    pub compared: u64,
    /// Of those in `state`, the ones that both have, and the provider in a newer copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated: Vec<TransactionId>,
    /// What we count; the turnover includes tips.
    pub ours: DayCount,
    /// What the provider's list comes to, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theirs: Option<DayCount>,
}

/// What a provider was asked, to be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CertificateMethod {
    /// The orders that were closed in the day, where syncs ask for those that have changed.
    OrdersByClosing,
    /// The orders, payments and refunds of the business date, where syncs ask for orders that have changed.
    OrdersOfDate,
    /// The provider's own record of the day.
    DailyRecord,
    /// Nothing, so far.
    Nothing,
}

#[cfg(test)]
mod tests;
