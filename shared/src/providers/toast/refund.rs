//! From a Toast payment that was given back to a refund.
//!
//! Toast keeps one record of it inside the payment, which grows when more is given back; so the payment's id is the
//! refund's, and its day is that of the last time. What was taken back stands at the lines, if the till says so.

use jiff::Timestamp;

use super::normalize::{Context, Parts, Place};
use super::wire::{self, RefundDetails, Selection};
use super::words::{item_id, quantity, tender, unit};
use crate::domain::{
    Amounts, ExternalOrderId, LineItem, LineItemKind, Minor, Payment, Quantity, ServiceCharge, Transaction,
    TransactionKind, TransactionStatus,
};
use crate::providers::PayloadError;
use crate::providers::decimal::{Exact, exact_minor, sum_minor};
use crate::providers::text::kept_or_empty;

/// Where a refund's amounts stand at a line or charge.
const PATH: &str = "refundDetails";

pub(super) fn of_payment(
    context: &Context<'_>,
    payment: &wire::Payment<'_>,
    place: Place,
) -> Result<Option<Transaction>, PayloadError> {
    let Some(refund) = &payment.refund else { return Ok(None) };
    let given_back = GivenBack::read(context, payment, refund).map_err(|error| error.inside(place))?;
    let Some(GivenBack { id, payment, occurred_at }) = given_back else { return Ok(None) };
    let TakenBack { mut line_items, service_charges, charges_tax } = TakenBack::find(context, refund)?;
    let amount = payment.amount.checked_sub(payment.tip).map_err(|_| PayloadError::out_of_range(PATH))?;
    if line_items.is_empty() && service_charges.is_empty() && amount != Minor::ZERO {
        line_items.push(unspecified(&payment.id, amount));
    }
    let amounts = Amounts {
        gross: sum_minor(line_items.iter().map(|line| line.gross), PATH)?,
        tax: sum_minor(line_items.iter().map(|line| line.tax).chain([charges_tax]), PATH)?,
        service_charge: sum_minor(service_charges.iter().map(|charge| charge.amount), PATH)?,
        tip: payment.tip,
        total: payment.amount,
        ..Amounts::default()
    };
    context
        .transaction(Parts {
            kind: TransactionKind::Refund,
            id,
            original_order_id: Some(context.id.clone()),
            status: TransactionStatus::Completed,
            occurred_at,
            business_date: refund.refund_business_date,
            amounts,
            line_items,
            discounts: Vec::new(),
            taxes: Vec::new(),
            service_charges,
            payments: vec![payment],
        })
        .map(Some)
}

/// What a refund says at its payment.
struct GivenBack {
    id: ExternalOrderId,
    payment: Payment,
    occurred_at: Timestamp,
}

impl GivenBack {
    /// `None`: nothing was given back yet.
    fn read(
        context: &Context<'_>,
        payment: &wire::Payment<'_>,
        refund: &wire::Refund<'_>,
    ) -> Result<Option<Self>, PayloadError> {
        let exact = |amount: Option<Exact>, path| exact_minor(amount.unwrap_or_default(), context.currency, path);
        let amount = exact(refund.refund_amount, "refund.refundAmount")?;
        let tip = exact(refund.tip_refund_amount, "refund.tipRefundAmount")?;
        let total = sum_minor([amount, tip], "refund")?;
        if total == Minor::ZERO {
            return Ok(None);
        }
        let id = payment.guid.as_deref().ok_or_else(|| PayloadError::missing("guid"))?;
        let date = refund.refund_date.ok_or_else(|| PayloadError::missing("refund.refundDate"))?;
        Ok(Some(Self {
            id: ExternalOrderId::new(id).map_err(|_| PayloadError::invalid("guid"))?,
            payment: Payment { id: id.to_owned(), tender: tender(payment), amount: total, tip },
            occurred_at: date.0,
        }))
    }
}

/// What a refund says at the lines and charges.
struct TakenBack {
    line_items: Vec<LineItem>,
    service_charges: Vec<ServiceCharge>,
    charges_tax: Minor,
}

impl TakenBack {
    fn find(context: &Context<'_>, refund: &wire::Refund<'_>) -> Result<Self, PayloadError> {
        let mut found = Self { line_items: Vec::new(), service_charges: Vec::new(), charges_tax: Minor::ZERO };
        let wanted = refund.refund_transaction.as_ref().and_then(|reference| reference.guid.as_deref());
        let is_of_refund = |details: &RefundDetails<'_>| {
            let given = details.refund_transaction.as_ref().and_then(|reference| reference.guid.as_deref());
            wanted.is_some() && given == wanted
        };
        for (place, selection) in context.selections() {
            if let Some(details) = selection.refund_details.as_ref().filter(|details| is_of_refund(details)) {
                let line = line(context, selection, details, place).map_err(|error| error.inside(place))?;
                found.line_items.push(line);
            }
        }
        for (place, charge) in context.charges() {
            if let Some(details) = charge.refund_details.as_ref().filter(|details| is_of_refund(details)) {
                let inside = |error: PayloadError| error.inside(place);
                let amount = context.rounded(details.refund_amount, PATH).map_err(inside)?;
                let gratuity = charge.gratuity == Some(true);
                found.service_charges.push(ServiceCharge { name: kept_or_empty(&charge.name), gratuity, amount });
                let tax = context.rounded(details.tax_refund_amount, PATH).map_err(inside)?;
                found.charges_tax = sum_minor([found.charges_tax, tax], PATH)?;
            }
        }
        Ok(found)
    }
}

/// A line that was paid back whole came back whole. Of one that was paid back in part nobody says how much of it came
/// back, so it is an amount.
fn line(
    context: &Context<'_>,
    selection: &Selection<'_>,
    details: &RefundDetails<'_>,
    place: Place,
) -> Result<LineItem, PayloadError> {
    let gross = context.rounded(details.refund_amount, PATH)?;
    let tax = context.rounded(details.tax_refund_amount, PATH)?;
    let is_whole = context.rounded(selection.price, "price")? == gross;
    Ok(LineItem {
        id: selection.guid.as_deref().map_or_else(|| place.to_string(), str::to_owned),
        kind: if is_whole { LineItemKind::Item } else { LineItemKind::CustomAmount },
        name: kept_or_empty(&selection.display_name),
        item_id: item_id(selection),
        product_id: None,
        quantity: if is_whole { quantity(selection) } else { Quantity::ONE },
        unit: unit(selection).filter(|_| is_whole),
        unit_price: None,
        gross,
        discount: Minor::ZERO,
        tax,
        total: sum_minor([gross, tax], PATH)?,
        modifiers: Vec::new(),
    })
}

/// Money back without a word for what.
fn unspecified(id: &str, amount: Minor) -> LineItem {
    LineItem {
        id: id.to_owned(),
        kind: LineItemKind::CustomAmount,
        name: String::new(),
        item_id: None,
        product_id: None,
        quantity: Quantity::ONE,
        unit: None,
        unit_price: None,
        gross: amount,
        discount: Minor::ZERO,
        tax: Minor::ZERO,
        total: amount,
        modifiers: Vec::new(),
    }
}
