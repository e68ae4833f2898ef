//! From a Toast payment that was given back to a refund.
//!
//! Toast keeps one record of it inside the payment, which grows when more is given back; so the payment's id is the
//! refund's, and its day is that of the last time. What was taken back stands at the lines, if the till says so.

use super::normalize::{Context, Parts, item_id, name, quantity, tender, unit};
use super::wire::{self, RefundDetails, Selection};
use crate::domain::{
    Amounts, ExternalOrderId, LineItem, LineItemKind, Minor, Payment, Quantity, ServiceCharge, Transaction,
    TransactionKind, TransactionStatus,
};
use crate::providers::PayloadError;
use crate::providers::decimal::{exact_minor, sum_minor};

pub(super) fn of_payment(
    context: &Context<'_>,
    payment: &wire::Payment<'_>,
    path: &str,
) -> Result<Option<Transaction>, PayloadError> {
    let Some(refund) = &payment.refund else { return Ok(None) };
    let at = |field: &str| format!("{path}.refund.{field}");
    let amount = exact_minor(refund.refund_amount.unwrap_or_default(), context.currency, &at("refundAmount"))?;
    let tip = exact_minor(refund.tip_refund_amount.unwrap_or_default(), context.currency, &at("tipRefundAmount"))?;
    let total = sum_minor([amount, tip], path)?;
    if total == Minor::ZERO {
        return Ok(None);
    }
    let id = payment.guid.as_deref().ok_or_else(|| PayloadError::missing(format!("{path}.guid")))?;
    let date = refund.refund_date.ok_or_else(|| PayloadError::missing(at("refundDate")))?;

    let taken_back = TakenBack::find(context, refund)?;
    let TakenBack { mut line_items, service_charges, charges_tax } = taken_back;
    if line_items.is_empty() && service_charges.is_empty() && amount != Minor::ZERO {
        line_items.push(unspecified(id, amount));
    }
    let amounts = Amounts {
        gross: sum_minor(line_items.iter().map(|line| line.gross), path)?,
        tax: sum_minor(line_items.iter().map(|line| line.tax).chain([charges_tax]), path)?,
        service_charge: sum_minor(service_charges.iter().map(|charge| charge.amount), path)?,
        tip,
        total,
        ..Amounts::default()
    };
    context
        .transaction(Parts {
            kind: TransactionKind::Refund,
            id: ExternalOrderId::new(id).map_err(|_| PayloadError::invalid(format!("{path}.guid")))?,
            original_order_id: Some(context.id.clone()),
            status: TransactionStatus::Completed,
            occurred_at: date.0,
            business_date: refund.refund_business_date,
            amounts,
            line_items,
            discounts: Vec::new(),
            taxes: Vec::new(),
            service_charges,
            payments: vec![Payment { id: id.to_owned(), tender: tender(payment), amount: total, tip }],
        })
        .map(Some)
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
        for (path, selection) in context.selections() {
            if let Some(details) = selection.refund_details.as_ref().filter(|details| is_of_refund(details)) {
                found.line_items.push(line(context, selection, details, &path)?);
            }
        }
        for (path, charge) in context.charges() {
            if let Some(details) = charge.refund_details.as_ref().filter(|details| is_of_refund(details)) {
                let name = charge.name.as_deref().unwrap_or_default().to_owned();
                let amount = context.rounded(details.refund_amount, &path)?;
                let gratuity = charge.gratuity == Some(true);
                found.service_charges.push(ServiceCharge { name, gratuity, amount });
                let tax = context.rounded(details.tax_refund_amount, &path)?;
                found.charges_tax = sum_minor([found.charges_tax, tax], &path)?;
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
    path: &str,
) -> Result<LineItem, PayloadError> {
    let gross = context.rounded(details.refund_amount, path)?;
    let tax = context.rounded(details.tax_refund_amount, path)?;
    let is_whole = context.rounded(selection.price, path)? == gross;
    Ok(LineItem {
        id: selection.guid.as_deref().unwrap_or(path).to_owned(),
        kind: if is_whole { LineItemKind::Item } else { LineItemKind::CustomAmount },
        name: name(selection),
        item_id: item_id(selection),
        quantity: if is_whole { quantity(selection) } else { Quantity::ONE },
        unit: unit(selection).filter(|_| is_whole),
        unit_price: None,
        gross,
        discount: Minor::ZERO,
        tax,
        total: sum_minor([gross, tax], path)?,
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
