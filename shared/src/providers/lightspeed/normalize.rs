//! From a Lightspeed sale to a transaction.
//!
//! A correction is a sale of its own with negative lines; so the sign of the sum says which way the money went, and the
//! sum of all that is kept is the shop's turnover whatever the rarer types mean. Amounts come finer than coins: sums are
//! exact, and rounded once per sale.

use rust_decimal::Decimal;
use serde::Deserialize;

use super::lines::{self, LineSums, Lines};
use super::sale_id;
use super::wire::{self, Sale};
use crate::domain::{
    Amounts, Configuration, Currency, Discount, ExternalOrderId, Location, LocationId, Minor, Payment, ProviderKind,
    Quantity, ServiceCharge, SourceVersion, Tax, Tender, Transaction, TransactionId, TransactionKind,
    TransactionStatus,
};
use crate::providers::decimal::{Exact, exact_minor, rounded_minor, sum_exact};
use crate::providers::error::{each, read_json};
use crate::providers::text::{kept, kept_or_empty};
use crate::providers::{PayloadError, PayloadProblem};

/// Whether a payment's `netAmountWithTax` contains its tip (unverified).
const TIP_IN_PAYMENT: bool = false;
/// Whether it contains a card's surcharge (unverified).
const SURCHARGE_IN_PAYMENT: bool = false;

pub(super) fn transactions(
    body: &[u8],
    location: Option<&LocationId>,
    configuration: &Configuration,
) -> Result<Vec<Transaction>, PayloadError> {
    let sale: Sale = read_json(body)?;
    match sale.sale_type.as_deref() {
        // Change for the drawer, an account carried into the next day, and one moved to another table.
        Some("FLOAT" | "TRANSITORY" | "TRANSFER") => return Ok(Vec::new()),
        Some("SALE" | "UPDATE" | "SPLIT" | "CROSS_BL" | "REFUND" | "VOID" | "RECALL" | "CANCEL") => {}
        Some(_) => return Err(PayloadError::invalid("type")),
        None => return Err(PayloadError::missing("type")),
    }
    let location = location
        .and_then(|id| configuration.location(id))
        .ok_or_else(|| PayloadError::new("businessLocationId", PayloadProblem::UnknownLocation))?;
    Ok(vec![transaction(&sale, location, configuration)?])
}

/// Whatever else is wrong with it.
pub(super) fn order_id(body: &[u8], location: Option<&LocationId>) -> Option<ExternalOrderId> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        account_fisc_id: Option<String>,
        account_reference: Option<String>,
    }
    let named: Named = read_json(body).ok()?;
    match (location, named.account_fisc_id) {
        (Some(location), Some(account)) => sale_id(location, &account).ok(),
        (None, Some(id)) => ExternalOrderId::new(id).ok(),
        (_, None) => ExternalOrderId::new(named.account_reference?).ok(),
    }
}

fn transaction(
    sale: &Sale<'_>,
    location: &Location,
    configuration: &Configuration,
) -> Result<Transaction, PayloadError> {
    let closed_at = sale.time_closed.ok_or_else(|| PayloadError::missing("timeClosed"))?;
    let created_at = sale.time_of_opening.unwrap_or(closed_at);
    let id = match (sale.account_fisc_id.as_deref(), sale.account_reference.as_deref()) {
        (Some(account), _) => sale_id(&location.id, account),
        (None, Some(reference)) => ExternalOrderId::new(reference),
        (None, None) => return Err(PayloadError::missing("accountFiscId")),
    };
    let id = id.map_err(|_| PayloadError::invalid("accountFiscId"))?;
    let currency = currency(sale, location)?;

    let lines = Lines::of(&sale.sales_lines)?;
    let paid = Paid::of(sale, currency)?;
    let kind = kind(sale, lines.total.total);
    let sign = match kind {
        TransactionKind::Sale => Decimal::ONE,
        TransactionKind::Refund => Decimal::NEGATIVE_ONE,
    };
    let amounts = amounts(&lines.total, &paid, sign, currency)?;
    let mut transaction = Transaction {
        id: TransactionId::derive(created_at, configuration.id, &id, kind),
        provider: ProviderKind::Lightspeed,
        configuration_id: configuration.id,
        kind,
        status: status(sale, lines.total.total, &paid),
        original_order_id: original(sale, kind, &location.id)?,
        external_order_id: id,
        // There is no version and no time of change; a closed sale does not change.
        source_version: SourceVersion(closed_at.as_microsecond()),
        location_id: location.id.clone(),
        channel: kept(&sale.account_profile_code),
        created_at,
        occurred_at: closed_at,
        business_date: location.business_date(closed_at),
        currency,
        line_items: lines.items(sign, amounts.discount, currency)?,
        amounts,
        discounts: discounts(sale, sign, currency)?,
        taxes: taxes(sale, sign, currency)?,
        service_charges: service_charges(&lines.total, &paid, sign, currency)?,
        payments: paid.payments(sign)?,
        discrepancies: Vec::new(),
    };
    transaction.check_amounts().map_err(|_| PayloadError::out_of_range("salesLines"))?;
    Ok(transaction)
}

/// Lines and payments say the currency, the sale does not.
fn currency(sale: &Sale<'_>, location: &Location) -> Result<Currency, PayloadError> {
    let of_lines = sale.sales_lines.iter().filter_map(|line| line.currency.as_deref());
    let mut codes = of_lines.chain(sale.payments.iter().filter_map(|payment| payment.currency.as_deref()));
    let Some(first) = codes.next() else { return Ok(location.currency) };
    if codes.any(|code| code != first) {
        return Err(PayloadError::new("salesLines", PayloadProblem::MixedCurrencies));
    }
    first.parse().map_err(|_| PayloadError::invalid("currency"))
}

fn kind(sale: &Sale<'_>, total: Decimal) -> TransactionKind {
    let is_refund = sale.sale_type.as_deref() == Some("REFUND") && total.is_zero();
    if total < Decimal::ZERO || is_refund { TransactionKind::Refund } else { TransactionKind::Sale }
}

/// Taken back before money moved: what was cancelled and never paid. What was cancelled later has a negative counterpart
/// that takes it out of the turnover, so both count.
fn status(sale: &Sale<'_>, total: Decimal, paid: &Paid) -> TransactionStatus {
    let is_void = matches!(sale.sale_type.as_deref(), Some("VOID" | "RECALL" | "CANCEL"));
    let is_taken_back = is_void || sale.cancelled == Some(true);
    if is_taken_back && total >= Decimal::ZERO && paid.is_nothing() {
        TransactionStatus::Voided
    } else {
        TransactionStatus::Completed
    }
}

/// The first of the chain, not the one before: a refund of a refund is still about the first sale.
fn original(
    sale: &Sale<'_>,
    kind: TransactionKind,
    shop: &LocationId,
) -> Result<Option<ExternalOrderId>, PayloadError> {
    let initial = sale.source.as_ref().and_then(|source| source.initial_account_id.as_deref());
    match (kind, initial) {
        (TransactionKind::Refund, Some(initial)) if Some(initial) != sale.account_fisc_id.as_deref() => {
            sale_id(shop, initial).map(Some).map_err(|_| PayloadError::invalid("source.initialAccountId"))
        }
        (TransactionKind::Refund | TransactionKind::Sale, _) => Ok(None),
    }
}

/// Each sum rounded for itself. Where the exact ones add up, what the rounding makes of them is a rounding and no
/// breach. A bill is rounded before a tip is put on top of it: half a cent goes to the even one, which the tip would change.
fn amounts(sums: &LineSums, paid: &Paid, sign: Decimal, currency: Currency) -> Result<Amounts, PayloadError> {
    let round = |amount: Decimal| rounded_minor(amount * sign, currency, "salesLines");
    let on_top = round(paid.tip + paid.surcharge)?;
    let bill = round(sums.total)?;
    let mut amounts = Amounts {
        gross: round(sums.gross)?,
        discount: round(sums.discount)?,
        tax: round(sums.tax)?,
        tax_included: round(sums.tax_included)?,
        service_charge: round(sums.service_charge + paid.surcharge)?,
        tip: round(paid.tip)?,
        rounding: Minor::ZERO,
        total: bill.checked_add(on_top).map_err(|_| PayloadError::out_of_range("payments"))?,
    };
    let exact = sums.gross - sums.discount + sums.tax - sums.tax_included + sums.service_charge;
    if exact == sums.total {
        let whole = Minor::sum([amounts.gross, amounts.tax, amounts.service_charge, amounts.tip]).and_then(|sum| {
            let parts = sum.checked_sub(amounts.discount)?.checked_sub(amounts.tax_included)?;
            amounts.total.checked_sub(parts)
        });
        amounts.rounding = whole.map_err(|_| PayloadError::out_of_range("salesLines"))?;
    }
    Ok(amounts)
}

/// Every discount once, by its name.
fn discounts(sale: &Sale<'_>, sign: Decimal, currency: Currency) -> Result<Vec<Discount>, PayloadError> {
    let mut sums: Vec<(&str, Decimal)> = Vec::new();
    for line in &sale.sales_lines {
        let amount = lines::discount(line);
        let name = line.discount_name.as_deref().unwrap_or_default();
        match sums.iter_mut().find(|(known, _)| *known == name) {
            _ if amount.is_zero() => {}
            Some((_, sum)) => *sum = sum_exact([*sum, amount], "totalDiscountAmount")?,
            None => sums.push((name, amount)),
        }
    }
    let sums = sums.into_iter();
    sums.map(|(name, amount)| {
        Ok(Discount { name: name.to_owned(), amount: rounded_minor(amount * sign, currency, "totalDiscountAmount")? })
    })
    .collect()
}

/// Every tax once, by code, rate and whether it is included.
fn taxes(sale: &Sale<'_>, sign: Decimal, currency: Currency) -> Result<Vec<Tax>, PayloadError> {
    let mut sums: Vec<(&wire::TaxLine<'_>, Decimal)> = Vec::new();
    for tax in sale.sales_lines.iter().flat_map(|line| &line.tax_lines) {
        let key = |tax: &wire::TaxLine<'_>| (tax.tax_rate.map(|rate| rate.0), tax.tax_included);
        let is_same = |known: &wire::TaxLine<'_>| known.tax_code == tax.tax_code && key(known) == key(tax);
        let amount = tax.tax_amount.unwrap_or_default().0;
        match sums.iter_mut().find(|(known, _)| is_same(known)) {
            Some((_, sum)) => *sum = sum_exact([*sum, amount], "taxLines")?,
            None => sums.push((tax, amount)),
        }
    }
    let sums = sums.into_iter();
    sums.map(|(tax, amount)| {
        Ok(Tax {
            name: kept_or_empty(&tax.tax_code),
            rate_percent: tax.tax_rate.map(percent),
            included: tax.tax_included == Some(true),
            amount: rounded_minor(amount * sign, currency, "taxLines")?,
        })
    })
    .collect()
}

fn percent(multiplier: Exact) -> Quantity {
    Quantity::new((multiplier.0 - Decimal::ONE) * Decimal::ONE_HUNDRED)
}

fn service_charges(
    sums: &LineSums,
    paid: &Paid,
    sign: Decimal,
    currency: Currency,
) -> Result<Vec<ServiceCharge>, PayloadError> {
    let charges = [("Service charge", sums.service_charge), ("Surcharge", paid.surcharge)].into_iter();
    charges
        .filter(|(_, amount)| !amount.is_zero())
        .map(|(name, amount)| {
            let amount = rounded_minor(amount * sign, currency, "serviceCharge")?;
            Ok(ServiceCharge { name: name.to_owned(), gratuity: false, amount })
        })
        .collect()
}

/// The payments of a sale, with the sign that they came with.
struct Paid {
    payments: Vec<Payment>,
    tip: Decimal,
    surcharge: Decimal,
}

impl Paid {
    fn of(sale: &Sale<'_>, currency: Currency) -> Result<Self, PayloadError> {
        let payments = each("payments", &sale.payments, |index, payment| read_payment(index, payment, currency))?;
        let of_all = |amount: fn(&wire::Payment<'_>) -> Option<Exact>| {
            sum_exact(sale.payments.iter().map(|payment| amount(payment).unwrap_or_default().0), "payments")
        };
        Ok(Self { payments, tip: of_all(|payment| payment.tip)?, surcharge: of_all(|payment| payment.surcharge)? })
    }

    fn is_nothing(&self) -> bool {
        self.payments.iter().all(|payment| payment.amount == Minor::ZERO)
    }

    fn payments(self, sign: Decimal) -> Result<Vec<Payment>, PayloadError> {
        if sign.is_sign_positive() {
            return Ok(self.payments);
        }
        let negate = |amount| Minor::ZERO.checked_sub(amount).map_err(|_| PayloadError::out_of_range("payments"));
        let payments = self.payments.into_iter();
        payments
            .map(|payment| Ok(Payment { amount: negate(payment.amount)?, tip: negate(payment.tip)?, ..payment }))
            .collect()
    }
}

fn read_payment(index: usize, payment: &wire::Payment<'_>, currency: Currency) -> Result<Payment, PayloadError> {
    let net = payment.net_amount_with_tax.ok_or_else(|| PayloadError::missing("netAmountWithTax"))?;
    let (tip, surcharge) = (payment.tip.unwrap_or_default(), payment.surcharge.unwrap_or_default());
    let on_top = [(tip, TIP_IN_PAYMENT), (surcharge, SURCHARGE_IN_PAYMENT)];
    let on_top = on_top.into_iter().filter(|(_, is_inside)| !is_inside).map(|(amount, _)| amount.0);
    let amount = Exact(sum_exact(on_top.chain([net.0]), "netAmountWithTax")?);
    let id = payment.uuid.as_deref().or(payment.fisc_id.as_deref());
    Ok(Payment {
        id: id.map_or_else(|| index.to_string(), str::to_owned),
        tender: tender(payment),
        amount: exact_minor(amount, currency, "netAmountWithTax")?,
        tip: exact_minor(tip, currency, "tip")?,
    })
}

/// The codes are the merchant's; these are Lightspeed's own and the usual ones.
fn tender(payment: &wire::Payment<'_>) -> Tender {
    if payment.payment_type.as_deref() == Some("ACCOUNTS_RECEIVABLE") {
        return Tender::Invoice;
    }
    match payment.code.as_deref() {
        Some("CASH") => Tender::Cash,
        Some("CARD" | "CC" | "CREDIT" | "DEBIT" | "VISA" | "MC" | "MASTERCARD" | "AMEX" | "LSPAY") => Tender::Card,
        Some("GIFTCARD" | "GIFT_CARD" | "GIFT") => Tender::GiftCard,
        // A hotel's guest pays with the room.
        Some("IKPMS") => Tender::Invoice,
        _ => Tender::Other,
    }
}
