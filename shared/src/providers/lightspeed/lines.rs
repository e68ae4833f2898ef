//! What the lines of a Lightspeed sale come to.

use std::collections::HashMap;

use rust_decimal::Decimal;

use super::wire::Line;
use crate::domain::{Currency, LineItem, LineItemKind, Minor, Modifier, Quantity};
use crate::providers::PayloadError;
use crate::providers::decimal::{Exact, rounded_minor, sum_exact, sum_minor};
use crate::providers::error::each;
use crate::providers::text::kept;

/// Whether `totalNetAmountWithoutTax` contains the service charge. In the published example it does not, and the amount
/// with tax does (unverified).
const SERVICE_CHARGE_IN_NET: bool = false;

/// Exact, with the sign that the lines came with.
#[derive(Default, Clone, Copy)]
pub(super) struct LineSums {
    pub gross: Decimal,
    pub discount: Decimal,
    pub tax: Decimal,
    pub tax_included: Decimal,
    pub service_charge: Decimal,
    pub total: Decimal,
}

impl LineSums {
    fn add(&mut self, other: &Self) -> Result<(), PayloadError> {
        for (sum, amount) in [
            (&mut self.gross, other.gross),
            (&mut self.discount, other.discount),
            (&mut self.tax, other.tax),
            (&mut self.tax_included, other.tax_included),
            (&mut self.service_charge, other.service_charge),
            (&mut self.total, other.total),
        ] {
            *sum = sum_exact([*sum, amount], "salesLines")?;
        }
        Ok(())
    }
}

/// Whether the business adds its taxes to its prices. Lines without a tax follow the others.
fn is_exclusive(lines: &[Line<'_>]) -> bool {
    lines.iter().flat_map(|line| &line.tax_lines).any(|tax| tax.tax_included == Some(false))
}

fn sums_of(line: &Line<'_>, is_exclusive: bool) -> Result<LineSums, PayloadError> {
    let value = |amount: Option<Exact>| amount.unwrap_or_default().0;
    let taxes = line.tax_lines.iter().map(|tax| value(tax.tax_amount));
    let tax = if line.tax_lines.is_empty() { value(line.tax_amount) } else { sum_exact(taxes, "taxLines")? };
    let (discount, service_charge) = (discount(line), value(line.service_charge));
    let total = if is_exclusive {
        // What `totalNetAmountWithTax` means there is not published.
        let net = line.total_net_amount_without_tax.ok_or_else(|| PayloadError::missing("totalNetAmountWithoutTax"))?;
        let charge_on_top = if SERVICE_CHARGE_IN_NET { Decimal::ZERO } else { service_charge };
        sum_exact([net.0, tax, charge_on_top], "salesLines")?
    } else {
        line.total_net_amount_with_tax.ok_or_else(|| PayloadError::missing("totalNetAmountWithTax"))?.0
    };
    let tax_included = if is_exclusive { Decimal::ZERO } else { tax };
    // The fallback is the definition turned round.
    let calculated = || total - service_charge - (tax - tax_included) + discount;
    let gross = line.menu_list_price.map_or_else(calculated, |price| price.0);
    Ok(LineSums { gross, discount, tax, tax_included, service_charge, total })
}

/// `totalDiscountAmount` holds both kinds.
pub(super) fn discount(line: &Line<'_>) -> Decimal {
    let parts = || line.discount_amount.unwrap_or_default().0 + line.account_discount_amount.unwrap_or_default().0;
    line.total_discount_amount.map_or_else(parts, |total| total.0)
}

/// The lines of a sale, with what each comes to.
pub(super) struct Lines<'a> {
    lines: &'a [Line<'a>],
    sums: Vec<LineSums>,
    /// Of all.
    pub total: LineSums,
}

impl<'a> Lines<'a> {
    pub(super) fn of(lines: &'a [Line<'a>]) -> Result<Self, PayloadError> {
        let is_exclusive = is_exclusive(lines);
        let sums = each("salesLines", lines, |_, line| sums_of(line, is_exclusive))?;
        let mut total = LineSums::default();
        for sums in &sums {
            total.add(sums)?;
        }
        Ok(Self { lines, sums, total })
    }

    /// The lines, each with those that belong to it: they have amounts of their own, which are counted once, at the line
    /// that they change (whether Lightspeed counts them there too is unverified).
    pub(super) fn items(
        &self,
        sign: Decimal,
        discount: Minor,
        currency: Currency,
    ) -> Result<Vec<LineItem>, PayloadError> {
        let roots = roots(self.lines);
        let lines = || self.lines.iter().zip(&self.sums);
        let alone =
            |(line, own): (&'a Line<'a>, &LineSums)| Family { line, own: *own, sums: *own, modifiers: Vec::new() };
        let mut families: Vec<Family<'_>> = lines().map(alone).collect();
        let round = |amount: Decimal| rounded_minor(amount * sign, currency, "salesLines");
        for (index, ((child, own), &root)) in lines().zip(&roots).enumerate() {
            if let Some(family) = families.get_mut(root).filter(|_| root != index) {
                family.sums.add(own)?;
                family.modifiers.push(Modifier {
                    name: name(child),
                    item_id: kept(&child.sku),
                    quantity: per_piece_rounded(child, family.line),
                    total: round(own.gross)?,
                });
            }
        }
        let mut items = Vec::with_capacity(families.len());
        for (index, (family, root)) in families.into_iter().zip(roots).enumerate() {
            if root == index {
                items.push(family.item(index, sign, currency)?);
            }
        }
        carry_cents(&mut items, discount)?;
        Ok(items)
    }
}

/// A line, with what belongs to it added up.
struct Family<'a> {
    line: &'a Line<'a>,
    own: LineSums,
    sums: LineSums,
    modifiers: Vec<Modifier>,
}

impl Family<'_> {
    fn item(self, index: usize, sign: Decimal, currency: Currency) -> Result<LineItem, PayloadError> {
        let Self { line, own, sums, modifiers } = self;
        let quantity = line.quantity.map_or(Decimal::ONE, |quantity| quantity.0);
        let unit_price = own.gross.checked_div(quantity);
        let round = |amount: Decimal| rounded_minor(amount * sign, currency, "salesLines");
        Ok(LineItem {
            id: line.id.as_deref().map_or_else(|| index.to_string(), str::to_owned),
            kind: LineItemKind::Item,
            name: name(line),
            item_id: kept(&line.sku),
            product_id: None,
            quantity: Quantity::new(quantity * sign),
            unit: None,
            // Both carry the sign, so the price does not.
            unit_price: unit_price.map(|price| rounded_minor(price, currency, "menuListPrice")).transpose()?,
            gross: round(sums.gross)?,
            discount: round(sums.discount)?,
            tax: round(sums.tax)?,
            total: round(sums.total)?,
            modifiers,
        })
    }
}

/// The discount of the sale is rounded once, those of its lines each: what that leaves over goes to the largest.
fn carry_cents(items: &mut [LineItem], discount: Minor) -> Result<(), PayloadError> {
    let out_of_range = |_| PayloadError::out_of_range("totalDiscountAmount");
    let of_items = sum_minor(items.iter().map(|item| item.discount), "totalDiscountAmount")?;
    let left_over = discount.checked_sub(of_items).map_err(out_of_range)?;
    if let Some(largest) = items.iter_mut().max_by_key(|item| item.discount.0.unsigned_abs()) {
        largest.discount = largest.discount.checked_add(left_over).map_err(out_of_range)?;
    }
    Ok(())
}

/// The line that each line belongs to in the end; itself, if its parent is not of this sale. As many steps as lines: a
/// circle has no end.
fn roots(lines: &[Line<'_>]) -> Vec<usize> {
    if lines.iter().all(|line| line.parent_line_id.is_none()) {
        return (0..lines.len()).collect();
    }
    let mut by_id: HashMap<&str, usize> = HashMap::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        if let Some(id) = line.id.as_deref() {
            by_id.entry(id).or_insert(index);
        }
    }
    let parents = lines.iter().enumerate().map(|(index, line)| {
        let parent = line.parent_line_id.as_deref().and_then(|id| by_id.get(id));
        parent.copied().unwrap_or(index)
    });
    let parents: Vec<usize> = parents.collect();
    let root = |index: usize| {
        let mut at = index;
        for _ in lines {
            match parents.get(at) {
                Some(&parent) if parent != at => at = parent,
                _ => return at,
            }
        }
        index
    };
    (0..lines.len()).map(root).collect()
}

/// What the staff typed in comes before what the catalogue says.
fn name(line: &Line<'_>) -> String {
    let typed = line.name_override.as_deref().filter(|name| !name.is_empty());
    typed.or(line.name.as_deref()).unwrap_or_default().to_owned()
}

fn per_piece_rounded(child: &Line<'_>, parent: &Line<'_>) -> Quantity {
    let value = |line: &Line<'_>| line.quantity.map_or(Decimal::ONE, |quantity| quantity.0);
    let per_piece = value(child).checked_div(value(parent)).unwrap_or(value(child));
    Quantity::new(per_piece.round_dp(6))
}
