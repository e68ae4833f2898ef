//! From a Toast order to transactions.
//!
//! An order holds checks, a check holds selections, and a modifier is itself a selection inside another. The checks
//! become one sale: kitchen, server and business date belong to the order, and the split matters only to whoever paid,
//! so it survives as separate payments. Every payment that was given back becomes a refund with a day of its own.

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::refund;
use super::wire::{self, Check, Order, Selection};
use crate::domain::{
    Amounts, Configuration, Currency, Discount, Discrepancy, DiscrepancyKind, ExternalOrderId, LineItem, LineItemKind,
    Location, LocationId, Minor, Modifier, Payment, ProviderKind, Quantity, ServiceCharge, SourceVersion, Tax, Tender,
    Transaction, TransactionId, TransactionKind, TransactionStatus,
};
use crate::providers::decimal::{Exact, exact_minor, rounded_minor, sum_exact, sum_minor};
use crate::providers::error::read_json;
use crate::providers::{PayloadError, PayloadProblem};

/// Whether a gratuity that the till adds by itself stands in a check's `totalAmount` already. Unverified: `amount`
/// leaves it out, and the documented sum is `amount + taxAmount`.
const GRATUITY_IN_TOTAL: bool = false;

pub(super) fn transactions(
    body: &[u8],
    location: Option<&LocationId>,
    configuration: &Configuration,
) -> Result<Vec<Transaction>, PayloadError> {
    let order: Order = read_json(body)?;
    // Practice of the staff, and what was thrown away: neither was sold.
    if order.created_in_test_mode == Some(true) || order.excess_food == Some(true) {
        return Ok(Vec::new());
    }
    let context = Context::new(&order, location, configuration)?;
    let mut transactions = vec![context.sale()?];
    for (check_index, check) in order.checks.iter().enumerate() {
        for (index, payment) in check.payments.iter().enumerate() {
            let path = format!("checks[{check_index}].payments[{index}]");
            transactions.extend(refund::of_payment(&context, payment, &path)?);
        }
    }
    Ok(transactions)
}

/// Whatever else is wrong with it.
pub(super) fn order_id(body: &[u8]) -> Option<ExternalOrderId> {
    #[derive(Deserialize)]
    struct Named {
        guid: String,
    }
    ExternalOrderId::new(read_json::<Named>(body).ok()?.guid).ok()
}

pub(super) struct Context<'a> {
    pub(super) order: &'a Order<'a>,
    pub(super) currency: Currency,
    pub(super) id: ExternalOrderId,
    configuration: &'a Configuration,
    location: &'a Location,
    /// Part of every id, so of the times the one that nobody changes.
    created_at: Timestamp,
}

impl<'a> Context<'a> {
    fn new(
        order: &'a Order<'a>,
        location: Option<&LocationId>,
        configuration: &'a Configuration,
    ) -> Result<Self, PayloadError> {
        // What a price would be is asked for with an order that has none.
        let id = order.guid.as_deref().ok_or_else(|| PayloadError::missing("guid"))?;
        let location = location
            .and_then(|id| configuration.location(id))
            .ok_or_else(|| PayloadError::new("restaurantGuid", PayloadProblem::UnknownLocation))?;
        let created = order.created_date.or(order.opened_date);
        Ok(Self {
            order,
            currency: location.currency,
            id: ExternalOrderId::new(id).map_err(|_| PayloadError::invalid("guid"))?,
            configuration,
            location,
            created_at: created.ok_or_else(|| PayloadError::missing("createdDate"))?.0,
        })
    }

    /// The checks that still count, each with its place.
    fn checks(&self) -> impl Iterator<Item = (String, &'a Check<'a>)> {
        let is_order_live = self.order.voided != Some(true) && self.order.deleted != Some(true);
        let checks = self.order.checks.iter().enumerate().filter(move |_| is_order_live);
        checks
            .filter(|(_, check)| check.voided != Some(true) && check.deleted != Some(true))
            .map(|(index, check)| (format!("checks[{index}]"), check))
    }

    /// The lines that still count.
    pub(super) fn selections(&self) -> impl Iterator<Item = (String, &'a Selection<'a>)> {
        self.checks().flat_map(|(path, check)| {
            let selections = check.selections.iter().enumerate();
            selections
                .filter(|(_, selection)| selection.voided != Some(true))
                .map(move |(index, selection)| (format!("{path}.selections[{index}]"), selection))
        })
    }

    pub(super) fn charges(&self) -> impl Iterator<Item = (String, &'a wire::ServiceCharge<'a>)> {
        self.checks().flat_map(|(path, check)| {
            let charges = check.applied_service_charges.iter().enumerate();
            charges.map(move |(index, charge)| (format!("{path}.appliedServiceCharges[{index}]"), charge))
        })
    }

    fn status(&self) -> Result<TransactionStatus, PayloadError> {
        match self.order.approval_status.as_deref() {
            Some("NOT_APPROVED") => return Ok(TransactionStatus::Voided),
            Some("FUTURE" | "NEEDS_APPROVAL") if self.checks().next().is_some() => return Ok(TransactionStatus::Open),
            _ => {}
        }
        let mut status = TransactionStatus::Voided;
        for (path, check) in self.checks() {
            match check.payment_status.as_deref() {
                // Of a card payment the tip may still change; it is paid all the same.
                Some("PAID" | "CLOSED") => {
                    if status == TransactionStatus::Voided {
                        status = TransactionStatus::Completed;
                    }
                }
                Some("OPEN") => status = TransactionStatus::Open,
                Some(_) => return Err(PayloadError::invalid(format!("{path}.paymentStatus"))),
                None => return Err(PayloadError::missing(format!("{path}.paymentStatus"))),
            }
        }
        Ok(status)
    }

    fn sale(&self) -> Result<Transaction, PayloadError> {
        let status = self.status()?;
        let line_items = self.selections().map(|(path, s)| self.line(s, &path)).collect::<Result<Vec<_>, _>>()?;
        let payments = self.payments()?;
        let rounding = self.charges_of(is_rounding)?;
        let service_charge = self.charges_of(|charge| !is_rounding(charge))?;
        let gratuity = self.charges_of(|charge| charge.gratuity == Some(true) && !is_rounding(charge))?;
        let tip = sum_minor(payments.iter().map(|payment| payment.tip), "payments")?;
        let on_top = if GRATUITY_IN_TOTAL { Minor::ZERO } else { gratuity };
        let totals = self.total_of("totalAmount", |check| check.total_amount)?;
        let amounts = Amounts {
            gross: sum_minor(line_items.iter().map(|line| line.gross), "selections")?,
            discount: sum_minor(line_items.iter().map(|line| line.discount), "selections")?,
            tax: self.total_of("taxAmount", |check| check.tax_amount)?,
            tax_included: self.included_tax()?,
            service_charge,
            tip,
            rounding,
            total: sum_minor([totals, tip, on_top], "totalAmount")?,
        };
        let occurred_at = match status {
            TransactionStatus::Completed => self.paid_at(),
            TransactionStatus::Open | TransactionStatus::Voided => self.created_at,
        };
        let discounts = self.discounts()?;
        let listed = sum_minor(discounts.iter().map(|discount| discount.amount), "appliedDiscounts")?;
        let unaccounted = listed.checked_sub(amounts.discount).map_err(|_| PayloadError::out_of_range("price"))?;
        let mut sale = self.transaction(Parts {
            kind: TransactionKind::Sale,
            id: self.id.clone(),
            original_order_id: None,
            status,
            occurred_at,
            business_date: self.order.business_date,
            amounts,
            line_items,
            discounts,
            taxes: self.taxes()?,
            service_charges: self.service_charges()?,
            payments,
        })?;
        if unaccounted != Minor::ZERO {
            sale.discrepancies.push(Discrepancy { kind: DiscrepancyKind::LinesAndTotals, missing: unaccounted });
        }
        Ok(sale)
    }

    /// The closing is often that of the night, so it is the last resort.
    fn paid_at(&self) -> Timestamp {
        let of_checks = || self.checks().filter_map(|(_, check)| check.paid_date).max();
        let paid = self.order.paid_date.or_else(of_checks).or(self.order.closed_date);
        paid.map_or(self.created_at, |time| time.0)
    }

    fn total_of(&self, field: &str, amount: fn(&Check<'_>) -> Option<Exact>) -> Result<Minor, PayloadError> {
        let amounts = self.checks().map(|(path, check)| {
            let path = format!("{path}.{field}");
            exact_minor(amount(check).ok_or_else(|| PayloadError::missing(&path))?, self.currency, &path)
        });
        sum_minor(amounts.collect::<Result<Vec<_>, _>>()?, field)
    }

    fn charges_of(&self, counts: impl Fn(&wire::ServiceCharge<'_>) -> bool) -> Result<Minor, PayloadError> {
        let charges = self.charges().filter(|(_, charge)| counts(charge));
        let amounts = charges.map(|(path, charge)| self.rounded(charge.charge_amount, &path));
        sum_minor(amounts.collect::<Result<Vec<_>, _>>()?, "appliedServiceCharges")
    }

    /// Line by line, as it stands in the lines' gross amounts.
    fn included_tax(&self) -> Result<Minor, PayloadError> {
        let taxes = self.selections().map(|(path, selection)| self.rounded(included_tax(selection), &path));
        sum_minor(taxes.collect::<Result<Vec<_>, _>>()?, "selections")
    }

    fn line(&self, selection: &Selection<'_>, path: &str) -> Result<LineItem, PayloadError> {
        let at = |field: &str| format!("{path}.{field}");
        let price = selection.price.ok_or_else(|| PayloadError::missing(at("price")))?;
        let price = self.rounded(Some(price), &at("price"))?;
        let included = self.rounded(included_tax(selection), &at("tax"))?;
        let net = sum_minor([price, included], path)?;
        // A gross below the net would mean that it leaves something out, modifiers for one (unverified).
        let stated = self.rounded(selection.pre_discount_price, &at("preDiscountPrice"))?;
        let gross = if selection.pre_discount_price.is_some() && stated >= net {
            stated
        } else {
            let taken_off = self.discounts_of(&selection.applied_discounts, path)?;
            sum_minor(taken_off.iter().map(|discount| discount.amount).chain([net]), path)?
        };
        let quantity = quantity(selection);
        let tax = self.rounded(selection.tax, &at("tax"))?;
        Ok(LineItem {
            id: selection.guid.as_deref().unwrap_or(path).to_owned(),
            kind: kind(selection),
            name: name(selection),
            item_id: item_id(selection),
            quantity,
            unit: unit(selection),
            unit_price: self.unit_price(selection, quantity, &at("receiptLinePrice"))?,
            gross,
            discount: gross.checked_sub(net).map_err(|_| PayloadError::out_of_range(path))?,
            tax,
            total: sum_minor([price, tax], path)?,
            modifiers: self.modifiers(selection, path)?,
        })
    }

    /// `receiptLinePrice`; older orders do not have it.
    fn unit_price(
        &self,
        selection: &Selection<'_>,
        quantity: Quantity,
        path: &str,
    ) -> Result<Option<Minor>, PayloadError> {
        let calculated = || selection.pre_discount_price?.0.checked_div(quantity.value());
        let price = selection.receipt_line_price.map(|price| price.0).or_else(calculated);
        price.map(|price| rounded_minor(price, self.currency, path)).transpose()
    }

    /// Flat, whatever the depth: the line's price contains them all.
    fn modifiers(&self, selection: &Selection<'_>, path: &str) -> Result<Vec<Modifier>, PayloadError> {
        let mut modifiers = Vec::new();
        for (index, modifier) in selection.modifiers.iter().enumerate() {
            if modifier.voided == Some(true) {
                continue;
            }
            let path = format!("{path}.modifiers[{index}]");
            modifiers.push(Modifier {
                name: name(modifier),
                item_id: item_id(modifier),
                quantity: quantity(modifier),
                total: self.rounded(modifier.pre_discount_price.or(modifier.price), &path)?,
            });
            modifiers.extend(self.modifiers(modifier, &path)?);
        }
        Ok(modifiers)
    }

    /// Those of the checks stand in the lines' prices already, those of modifiers in their parents'.
    fn discounts(&self) -> Result<Vec<Discount>, PayloadError> {
        let mut discounts = Vec::new();
        for (path, check) in self.checks() {
            discounts.extend(self.discounts_of(&check.applied_discounts, &path)?);
        }
        for (path, selection) in self.selections() {
            discounts.extend(self.discounts_of(&selection.applied_discounts, &path)?);
        }
        Ok(discounts)
    }

    fn discounts_of(&self, discounts: &[wire::Discount<'_>], path: &str) -> Result<Vec<Discount>, PayloadError> {
        let discounts = discounts.iter().enumerate();
        discounts
            .filter(|(_, discount)| discount.processing_state.as_deref() != Some("VOID"))
            .map(|(index, discount)| {
                let path = format!("{path}.appliedDiscounts[{index}].discountAmount");
                let name = discount.name.as_deref().unwrap_or_default().to_owned();
                Ok(Discount { name, amount: self.rounded(discount.discount_amount, &path)? })
            })
            .collect()
    }

    /// Every tax once: the lines carry up to eight decimals, and only their sum is money. What a marketplace pays itself
    /// stays apart.
    fn taxes(&self) -> Result<Vec<Tax>, PayloadError> {
        struct Sum<'a> {
            tax: &'a wire::Tax<'a>,
            included: bool,
            amounts: Vec<Decimal>,
        }
        let of_lines = self.selections().flat_map(|(_, selection)| {
            let included = is_included(selection);
            selection.applied_taxes.iter().map(move |tax| (tax, included))
        });
        let of_charges = self.charges().flat_map(|(_, charge)| charge.applied_taxes.iter().map(|tax| (tax, false)));
        let key = |tax: &'a wire::Tax<'a>, included: bool| {
            let rate = tax.rate.map(|rate| rate.0);
            (tax.name.as_deref(), rate, included, tax.facilitator_collect_and_remit_tax == Some(true))
        };
        let mut sums: Vec<Sum<'_>> = Vec::new();
        for (tax, included) in of_lines.chain(of_charges) {
            let amount = tax.tax_amount.unwrap_or_default().0;
            match sums.iter_mut().find(|sum| key(sum.tax, sum.included) == key(tax, included)) {
                Some(sum) => sum.amounts.push(amount),
                None => sums.push(Sum { tax, included, amounts: vec![amount] }),
            }
        }
        let sums = sums.into_iter();
        sums.map(|sum| {
            Ok(Tax {
                name: sum.tax.name.as_deref().unwrap_or_default().to_owned(),
                rate_percent: rate_percent(sum.tax),
                included: sum.included,
                amount: rounded_minor(sum_exact(sum.amounts, "appliedTaxes")?, self.currency, "appliedTaxes")?,
            })
        })
        .collect()
    }

    fn service_charges(&self) -> Result<Vec<ServiceCharge>, PayloadError> {
        let charges = self.charges().filter(|(_, charge)| !is_rounding(charge));
        charges
            .map(|(path, charge)| {
                Ok(ServiceCharge {
                    name: charge.name.as_deref().unwrap_or_default().to_owned(),
                    gratuity: charge.gratuity == Some(true),
                    amount: self.rounded(charge.charge_amount, &path)?,
                })
            })
            .collect()
    }

    fn payments(&self) -> Result<Vec<Payment>, PayloadError> {
        let mut payments = Vec::new();
        for (path, check) in self.checks() {
            for (index, payment) in check.payments.iter().enumerate() {
                if is_paid(payment) {
                    payments.push(self.payment(payment, &format!("{path}.payments[{index}]"))?);
                }
            }
        }
        Ok(payments)
    }

    fn payment(&self, payment: &wire::Payment<'_>, path: &str) -> Result<Payment, PayloadError> {
        let at = |field: &str| format!("{path}.{field}");
        let amount = payment.amount.ok_or_else(|| PayloadError::missing(at("amount")))?;
        let amount = exact_minor(amount, self.currency, &at("amount"))?;
        let tip = exact_minor(payment.tip_amount.unwrap_or_default(), self.currency, &at("tipAmount"))?;
        Ok(Payment {
            id: payment.guid.as_deref().ok_or_else(|| PayloadError::missing(at("guid")))?.to_owned(),
            tender: tender(payment),
            amount: sum_minor([amount, tip], path)?,
            tip,
        })
    }

    pub(super) fn rounded(&self, amount: Option<Exact>, path: &str) -> Result<Minor, PayloadError> {
        rounded_minor(amount.unwrap_or_default().0, self.currency, path)
    }

    pub(super) fn transaction(&self, parts: Parts) -> Result<Transaction, PayloadError> {
        let order = self.order;
        let business_date = match parts.business_date {
            Some(number) => business_date(number).ok_or_else(|| PayloadError::invalid("businessDate"))?,
            None => self.location.business_date(parts.occurred_at),
        };
        let modified = order.modified_date.map_or(self.created_at, |time| time.0);
        let mut transaction = Transaction {
            id: TransactionId::derive(self.created_at, self.configuration.id, &parts.id, parts.kind),
            provider: ProviderKind::Toast,
            configuration_id: self.configuration.id,
            kind: parts.kind,
            status: parts.status,
            external_order_id: parts.id,
            original_order_id: parts.original_order_id,
            source_version: SourceVersion(modified.as_microsecond()),
            location_id: self.location.id.clone(),
            channel: order.source.as_deref().map(str::to_owned),
            created_at: self.created_at,
            occurred_at: parts.occurred_at,
            business_date,
            currency: self.currency,
            amounts: parts.amounts,
            line_items: parts.line_items,
            discounts: parts.discounts,
            taxes: parts.taxes,
            service_charges: parts.service_charges,
            payments: parts.payments,
            discrepancies: Vec::new(),
        };
        transaction.check_amounts().map_err(|_| PayloadError::out_of_range("totalAmount"))?;
        Ok(transaction)
    }
}

/// What a sale and a refund differ in.
pub(super) struct Parts {
    pub kind: TransactionKind,
    pub id: ExternalOrderId,
    pub original_order_id: Option<ExternalOrderId>,
    pub status: TransactionStatus,
    pub occurred_at: Timestamp,
    /// As Toast writes it; where it does not, the shop's clock decides.
    pub business_date: Option<i64>,
    pub amounts: Amounts,
    pub line_items: Vec<LineItem>,
    pub discounts: Vec<Discount>,
    pub taxes: Vec<Tax>,
    pub service_charges: Vec<ServiceCharge>,
    pub payments: Vec<Payment>,
}

/// `20260214`.
fn business_date(number: i64) -> Option<Date> {
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()
}

fn is_included(selection: &Selection<'_>) -> bool {
    selection.tax_inclusion.as_deref() == Some("INCLUDED")
}

/// `price` is without tax, always, and `receiptLinePrice` with the tax that is included. Where `preDiscountPrice` stands
/// is not documented, so its amount tells: with tax it is what the receipt says, with or without the modifiers.
fn included_tax(selection: &Selection<'_>) -> Option<Exact> {
    let (tax, gross) = (selection.tax.filter(|_| is_included(selection))?, selection.pre_discount_price?.0);
    let quantity = selection.quantity.map_or(Decimal::ONE, |quantity| quantity.0);
    let is_inside = match selection.receipt_line_price {
        Some(unit) => {
            let receipt = unit.0.checked_mul(quantity)?;
            let modifiers = selection.modifiers.iter().filter_map(|modifier| modifier.pre_discount_price);
            let with_modifiers = modifiers.fold(receipt, |sum, modifier| sum + modifier.0);
            [receipt, with_modifiers].iter().any(|amount| amount.round_dp(gross.scale()) == gross)
        }
        None => gross >= selection.price.unwrap_or_default().0 + tax.0,
    };
    Some(tax).filter(|_| is_inside)
}

/// Money that has been received or surely will be. A payment without a state is one of an old till's: it has been
/// received when it has a time.
fn is_paid(payment: &wire::Payment<'_>) -> bool {
    match payment.payment_status.as_deref() {
        Some("AUTHORIZED" | "CAPTURE_IN_PROGRESS" | "CAPTURED") => true,
        Some(_) => false,
        None => payment.paid_date.is_some(),
    }
}

/// Coins that do not exist; its sign is taken as it comes (unverified).
fn is_rounding(charge: &wire::ServiceCharge<'_>) -> bool {
    charge.service_charge_category.as_deref() == Some("CASH_ROUNDING")
}

fn kind(selection: &Selection<'_>) -> LineItemKind {
    match selection.selection_type.as_deref() {
        Some("TOAST_CARD_SELL" | "TOAST_CARD_RELOAD") => LineItemKind::GiftCard,
        Some("HOUSE_ACCOUNT_PAY_BALANCE") => LineItemKind::AccountPayment,
        Some("OPEN_ITEM") => LineItemKind::CustomAmount,
        _ if selection.deferred == Some(true) => LineItemKind::GiftCard,
        _ => LineItemKind::Item,
    }
}

pub(super) fn name(selection: &Selection<'_>) -> String {
    selection.display_name.as_deref().unwrap_or_default().to_owned()
}

pub(super) fn item_id(selection: &Selection<'_>) -> Option<String> {
    selection.item.as_ref()?.guid.as_deref().map(str::to_owned)
}

/// A modifier's is taken as it stands; whether it counts per piece of its parent is unverified.
pub(super) fn quantity(selection: &Selection<'_>) -> Quantity {
    selection.quantity.map_or(Quantity::ONE, |quantity| Quantity::new(quantity.0))
}

pub(super) fn unit(selection: &Selection<'_>) -> Option<String> {
    selection.unit_of_measure.as_deref().filter(|unit| *unit != "NONE").map(str::to_owned)
}

/// Only of what is a rate: a fixed tax has an amount there.
fn rate_percent(tax: &wire::Tax<'_>) -> Option<Quantity> {
    let is_rate = matches!(tax.tax_type.as_deref(), Some("PERCENT") | None);
    let rate = tax.rate.filter(|_| is_rate)?;
    Some(Quantity::new(rate.0.checked_mul(Decimal::ONE_HUNDRED)?))
}

pub(super) fn tender(payment: &wire::Payment<'_>) -> Tender {
    match payment.payment_type.as_deref() {
        Some("CASH") => Tender::Cash,
        Some("CREDIT") => Tender::Card,
        Some("GIFTCARD" | "TOAST_SV") => Tender::GiftCard,
        Some("LEVELUP") => Tender::Wallet,
        Some("HOUSE_ACCOUNT") => Tender::Invoice,
        // Points, what a restaurant has invented, and words that are still to come.
        _ => Tender::Other,
    }
}
