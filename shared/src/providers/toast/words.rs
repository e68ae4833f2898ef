//! What Toast's fields and words mean.

use jiff::civil::Date;
use rust_decimal::Decimal;

use super::wire::{self, Selection};
use crate::domain::{LineItemKind, Quantity, Tender};
use crate::providers::decimal::Exact;
use crate::providers::text::kept;

/// `20260214`.
pub(super) fn business_date(number: i64) -> Option<Date> {
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()
}

pub(super) fn is_included(selection: &Selection<'_>) -> bool {
    selection.tax_inclusion.as_deref() == Some("INCLUDED")
}

/// `price` is without tax, always, and `receiptLinePrice` with the tax that is included. Where `preDiscountPrice` stands
/// is not documented, so its amount tells: with tax it is what the receipt says, with or without the modifiers.
pub(super) fn included_tax(selection: &Selection<'_>) -> Option<Exact> {
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
pub(super) fn is_paid(payment: &wire::Payment<'_>) -> bool {
    match payment.payment_status.as_deref() {
        Some("AUTHORIZED" | "CAPTURE_IN_PROGRESS" | "CAPTURED") => true,
        Some(_) => false,
        None => payment.paid_date.is_some(),
    }
}

/// Coins that do not exist; its sign is taken as it comes (unverified).
pub(super) fn is_rounding(charge: &wire::ServiceCharge<'_>) -> bool {
    charge.service_charge_category.as_deref() == Some("CASH_ROUNDING")
}

pub(super) fn kind(selection: &Selection<'_>) -> LineItemKind {
    match selection.selection_type.as_deref() {
        Some("TOAST_CARD_SELL" | "TOAST_CARD_RELOAD") => LineItemKind::GiftCard,
        Some("HOUSE_ACCOUNT_PAY_BALANCE") => LineItemKind::AccountPayment,
        Some("OPEN_ITEM") => LineItemKind::CustomAmount,
        _ if selection.deferred == Some(true) => LineItemKind::GiftCard,
        _ => LineItemKind::Item,
    }
}

pub(super) fn item_id(selection: &Selection<'_>) -> Option<String> {
    kept(&selection.item.as_ref()?.guid)
}

/// A modifier's is taken as it stands; whether it counts per piece of its parent is unverified.
pub(super) fn quantity(selection: &Selection<'_>) -> Quantity {
    selection.quantity.map_or(Quantity::ONE, |quantity| Quantity::new(quantity.0))
}

pub(super) fn unit(selection: &Selection<'_>) -> Option<String> {
    selection.unit_of_measure.as_deref().filter(|unit| *unit != "NONE").map(str::to_owned)
}

/// Only of what is a rate: a fixed tax has an amount there.
pub(super) fn rate_percent(tax: &wire::Tax<'_>) -> Option<Quantity> {
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
