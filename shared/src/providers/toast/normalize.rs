//! From a Toast order to transactions.
//!
//! An order holds checks, a check holds selections, and a modifier is itself a selection inside another. The checks
//! become one sale: kitchen, server and business date belong to the order, and the split matters only to whoever paid,
//! so it survives as separate payments. Every payment that was given back becomes a refund with a day of its own.

use std::fmt;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::refund;
use super::wire::{self, Check, Order, Selection};
use super::words::{
    business_date, included_tax, is_included, is_paid, is_rounding, item_id, kind, quantity, rate_percent, tender, unit,
};
use crate::domain::{
    Amounts, Configuration, Currency, Discount, Discrepancy, DiscrepancyKind, ExternalOrderId, LineItem, Location,
    LocationId, Minor, Modifier, Payment, ProviderKind, Quantity, ServiceCharge, SourceVersion, Tax, Transaction,
    TransactionId, TransactionKind, TransactionStatus,
};
use crate::providers::decimal::{Exact, exact_minor, rounded_minor, sum_exact, sum_minor, try_sum_minor};
use crate::providers::error::{each, read_json};
use crate::providers::text::{kept, kept_or_empty};
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
            transactions.extend(refund::of_payment(&context, payment, Place::Payment(check_index, index))?);
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

/// Where in an order: which check, and which of its parts.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Check(usize),
    Selection(usize, usize),
    Charge(usize, usize),
    Payment(usize, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(check) => write!(f, "checks[{check}]"),
            Self::Selection(check, index) => write!(f, "checks[{check}].selections[{index}]"),
            Self::Charge(check, index) => write!(f, "checks[{check}].appliedServiceCharges[{index}]"),
            Self::Payment(check, index) => write!(f, "checks[{check}].payments[{index}]"),
        }
    }
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

    /// The checks that still count, each with its index.
    fn checks(&self) -> impl Iterator<Item = (usize, &'a Check<'a>)> {
        let is_order_live = self.order.voided != Some(true) && self.order.deleted != Some(true);
        let checks = self.order.checks.iter().enumerate().filter(move |_| is_order_live);
        checks.filter(|(_, check)| check.voided != Some(true) && check.deleted != Some(true))
    }

    /// The lines that still count.
    pub(super) fn selections(&self) -> impl Iterator<Item = (Place, &'a Selection<'a>)> {
        self.checks().flat_map(|(check_index, check)| {
            let selections = check.selections.iter().enumerate();
            selections
                .filter(|(_, selection)| selection.voided != Some(true))
                .map(move |(index, selection)| (Place::Selection(check_index, index), selection))
        })
    }

    pub(super) fn charges(&self) -> impl Iterator<Item = (Place, &'a wire::ServiceCharge<'a>)> {
        self.checks().flat_map(|(check_index, check)| {
            let charges = check.applied_service_charges.iter().enumerate();
            charges.map(move |(index, charge)| (Place::Charge(check_index, index), charge))
        })
    }

    fn status(&self) -> Result<TransactionStatus, PayloadError> {
        match self.order.approval_status.as_deref() {
            Some("NOT_APPROVED") => return Ok(TransactionStatus::Voided),
            Some("FUTURE" | "NEEDS_APPROVAL") if self.checks().next().is_some() => return Ok(TransactionStatus::Open),
            _ => {}
        }
        let mut status = TransactionStatus::Voided;
        for (index, check) in self.checks() {
            match check.payment_status.as_deref() {
                // Of a card payment the tip may still change; it is paid all the same.
                Some("PAID" | "CLOSED") => {
                    if status == TransactionStatus::Voided {
                        status = TransactionStatus::Completed;
                    }
                }
                Some("OPEN") => status = TransactionStatus::Open,
                Some(_) => return Err(PayloadError::invalid("paymentStatus").inside(Place::Check(index))),
                None => return Err(PayloadError::missing("paymentStatus").inside(Place::Check(index))),
            }
        }
        Ok(status)
    }

    fn sale(&self) -> Result<Transaction, PayloadError> {
        let status = self.status()?;
        let line_items = self.line_items()?;
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
        let amounts = self.checks().map(|(index, check)| {
            let amount = amount(check).ok_or_else(|| PayloadError::missing(field));
            let amount = amount.and_then(|amount| exact_minor(amount, self.currency, field));
            amount.map_err(|error| error.inside(Place::Check(index)))
        });
        try_sum_minor(amounts, field)
    }

    fn charges_of(&self, counts: impl Fn(&wire::ServiceCharge<'_>) -> bool) -> Result<Minor, PayloadError> {
        let charges = self.charges().filter(|(_, charge)| counts(charge));
        let amounts = charges.map(|(place, charge)| {
            self.rounded(charge.charge_amount, "chargeAmount").map_err(|error| error.inside(place))
        });
        try_sum_minor(amounts, "appliedServiceCharges")
    }

    /// Line by line, as it stands in the lines' gross amounts.
    fn included_tax(&self) -> Result<Minor, PayloadError> {
        let taxes = self.selections().map(|(place, selection)| {
            self.rounded(included_tax(selection), "tax").map_err(|error| error.inside(place))
        });
        try_sum_minor(taxes, "selections")
    }

    fn line_items(&self) -> Result<Vec<LineItem>, PayloadError> {
        let mut line_items = Vec::with_capacity(self.checks().map(|(_, check)| check.selections.len()).sum());
        for (place, selection) in self.selections() {
            line_items.push(self.line(selection, place).map_err(|error| error.inside(place))?);
        }
        Ok(line_items)
    }

    fn line(&self, selection: &Selection<'_>, place: Place) -> Result<LineItem, PayloadError> {
        let price = selection.price.ok_or_else(|| PayloadError::missing("price"))?;
        let price = self.rounded(Some(price), "price")?;
        let included = self.rounded(included_tax(selection), "tax")?;
        let net = sum_minor([price, included], "price")?;
        // A gross below the net would mean that it leaves something out, modifiers for one (unverified).
        let stated = self.rounded(selection.pre_discount_price, "preDiscountPrice")?;
        let gross = if selection.pre_discount_price.is_some() && stated >= net {
            stated
        } else {
            let taken_off = self.discounts_of(&selection.applied_discounts)?;
            sum_minor(taken_off.iter().map(|discount| discount.amount).chain([net]), "appliedDiscounts")?
        };
        let quantity = quantity(selection);
        let tax = self.rounded(selection.tax, "tax")?;
        Ok(LineItem {
            id: selection.guid.as_deref().map_or_else(|| place.to_string(), str::to_owned),
            kind: kind(selection),
            name: kept_or_empty(&selection.display_name),
            item_id: item_id(selection),
            product_id: None,
            quantity,
            unit: unit(selection),
            unit_price: self.unit_price(selection, quantity)?,
            gross,
            discount: gross.checked_sub(net).map_err(|_| PayloadError::out_of_range("price"))?,
            tax,
            total: sum_minor([price, tax], "price")?,
            modifiers: self.modifiers(selection)?,
        })
    }

    /// `receiptLinePrice`; older orders do not have it.
    fn unit_price(&self, selection: &Selection<'_>, quantity: Quantity) -> Result<Option<Minor>, PayloadError> {
        let calculated = || selection.pre_discount_price?.0.checked_div(quantity.value());
        let price = selection.receipt_line_price.map(|price| price.0).or_else(calculated);
        price.map(|price| rounded_minor(price, self.currency, "receiptLinePrice")).transpose()
    }

    /// Flat, whatever the depth: the line's price contains them all.
    fn modifiers(&self, selection: &Selection<'_>) -> Result<Vec<Modifier>, PayloadError> {
        let mut modifiers = Vec::new();
        for (index, modifier) in selection.modifiers.iter().enumerate() {
            if modifier.voided == Some(true) {
                continue;
            }
            let inside = |error: PayloadError| error.inside(format_args!("modifiers[{index}]"));
            modifiers.push(Modifier {
                name: kept_or_empty(&modifier.display_name),
                item_id: item_id(modifier),
                quantity: quantity(modifier),
                total: self
                    .rounded(modifier.pre_discount_price.or(modifier.price), "preDiscountPrice")
                    .map_err(inside)?,
            });
            modifiers.extend(self.modifiers(modifier).map_err(inside)?);
        }
        Ok(modifiers)
    }

    /// Those of the checks stand in the lines' prices already, those of modifiers in their parents'.
    fn discounts(&self) -> Result<Vec<Discount>, PayloadError> {
        let of_checks = self.checks().map(|(index, check)| (Place::Check(index), &check.applied_discounts));
        let of_lines = self.selections().map(|(place, selection)| (place, &selection.applied_discounts));
        let mut discounts = Vec::new();
        for (place, applied) in of_checks.chain(of_lines) {
            discounts.extend(self.discounts_of(applied).map_err(|error| error.inside(place))?);
        }
        Ok(discounts)
    }

    fn discounts_of(&self, applied: &[wire::Discount<'_>]) -> Result<Vec<Discount>, PayloadError> {
        let discounts = each("appliedDiscounts", applied, |_, discount| {
            if discount.processing_state.as_deref() == Some("VOID") {
                return Ok(None);
            }
            let amount = self.rounded(discount.discount_amount, "discountAmount")?;
            Ok(Some(Discount { name: kept_or_empty(&discount.name), amount }))
        })?;
        Ok(discounts.into_iter().flatten().collect())
    }

    /// Every tax once: the lines carry up to eight decimals, and only their sum is money. What a marketplace pays itself
    /// stays apart.
    fn taxes(&self) -> Result<Vec<Tax>, PayloadError> {
        struct Sum<'a> {
            tax: &'a wire::Tax<'a>,
            included: bool,
            amount: Decimal,
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
                Some(sum) => sum.amount = sum_exact([sum.amount, amount], "appliedTaxes")?,
                None => sums.push(Sum { tax, included, amount }),
            }
        }
        let sums = sums.into_iter();
        sums.map(|sum| {
            Ok(Tax {
                name: kept_or_empty(&sum.tax.name),
                rate_percent: rate_percent(sum.tax),
                included: sum.included,
                amount: rounded_minor(sum.amount, self.currency, "appliedTaxes")?,
            })
        })
        .collect()
    }

    fn service_charges(&self) -> Result<Vec<ServiceCharge>, PayloadError> {
        let charges = self.charges().filter(|(_, charge)| !is_rounding(charge));
        charges
            .map(|(place, charge)| {
                let amount = self.rounded(charge.charge_amount, "chargeAmount").map_err(|error| error.inside(place))?;
                let gratuity = charge.gratuity == Some(true);
                Ok(ServiceCharge { name: kept_or_empty(&charge.name), gratuity, amount })
            })
            .collect()
    }

    fn payments(&self) -> Result<Vec<Payment>, PayloadError> {
        let mut payments = Vec::new();
        for (check_index, check) in self.checks() {
            for (index, payment) in check.payments.iter().enumerate().filter(|(_, payment)| is_paid(payment)) {
                let payment = self.payment(payment);
                payments.push(payment.map_err(|error| error.inside(Place::Payment(check_index, index)))?);
            }
        }
        Ok(payments)
    }

    fn payment(&self, payment: &wire::Payment<'_>) -> Result<Payment, PayloadError> {
        let amount = payment.amount.ok_or_else(|| PayloadError::missing("amount"))?;
        let amount = exact_minor(amount, self.currency, "amount")?;
        let tip = exact_minor(payment.tip_amount.unwrap_or_default(), self.currency, "tipAmount")?;
        Ok(Payment {
            id: kept(&payment.guid).ok_or_else(|| PayloadError::missing("guid"))?,
            tender: tender(payment),
            amount: sum_minor([amount, tip], "amount")?,
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
            channel: kept(&order.source),
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
