//! The person behind the counter: rings up what a customer wants.

use crate::catalogue::{EXTRAS, PRODUCTS, ShopPlan};
use crate::customer::{Paying, Wish};
use crate::money::{part_of, percent_of};
use crate::receipt::{Adjustment, Extra, Goods, Line, Means, Quantity, Receipt, Shared, Tender};
use crate::seed::{Draws, Seed};
use crate::shops::Vendor;

impl Wish {
    /// Rings it up at a shop; `catalogue` is whoever owns the ids of the items there.
    pub fn ring_up(&self, vendor: Vendor, catalogue: &str, shop: &ShopPlan, seed: Seed, draws: &mut Draws) -> Receipt {
        let lines = self.lines(vendor, catalogue, seed, draws);
        let mut receipt = Receipt { lines, ..Receipt::nothing(shop.currency) };
        self.take_discounts(&mut receipt, draws);
        match (vendor, shop.tax_included()) {
            (Vendor::Square, false) => {
                self.add_charges(&mut receipt, draws);
                add_taxes(&mut receipt, shop, draws);
            }
            (Vendor::Square, true) => {
                self.add_charges(&mut receipt, draws);
                show_inner_tax(&mut receipt, shop, draws);
            }
            (Vendor::Toast, false) => {
                self.add_fee(&mut receipt, draws);
                tax_as_a_whole(&mut receipt, vendor, shop, draws);
            }
            (Vendor::Toast, true) => {
                self.add_fee(&mut receipt, draws);
                take_out_tax(&mut receipt, shop, draws);
            }
            (Vendor::Lightspeed, false) => tax_as_a_whole(&mut receipt, vendor, shop, draws),
            (Vendor::Lightspeed, true) => receipt.included_tax_minor = tax_of_whole(&receipt, shop),
        }
        self.pay(&mut receipt, draws);
        receipt
    }

    fn lines(&self, vendor: Vendor, catalogue: &str, seed: Seed, draws: &mut Draws) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for number in 0..self.lines {
            let weighted = self.weighted && number == 0;
            let offered: Vec<usize> = (0..PRODUCTS.len())
                .filter(|index| PRODUCTS.get(*index).is_some_and(|product| product.by_weight == weighted))
                .collect();
            let index = *draws.pick(&offered);
            let Some(product) = PRODUCTS.get(index) else {
                continue;
            };
            let quantity = match weighted {
                true => Quantity { hundredths: draws.between(20, 350), by_weight: true },
                false => Quantity::pieces(*draws.pick(&[1, 1, 1, 2, 2, 3, 6])),
            };
            let mut line = line(draws, Goods::Product, product.name, quantity, product.price_minor);
            line.item_id = Some(item_id(vendor, seed, catalogue, product.name, product.variation));
            line.variation = Some(product.variation);
            line.taxed = product.taxed;
            if self.extras && !weighted && (number == 0 || draws.happens(30)) {
                let extra = draws.pick(&EXTRAS);
                line.extras.push(Extra {
                    uid: draws.letters(22),
                    source_uid: None,
                    item_id: item_id(vendor, seed, catalogue, extra.name, "modifier"),
                    name: extra.name,
                    unit_minor: extra.price_minor,
                    total_minor: extra.price_minor * quantity.hundredths / 100,
                });
            }
            lines.push(line);
        }
        if self.custom_amount {
            let minor = draws.between(5, 60) * 100;
            lines.push(line(draws, Goods::CustomAmount, "Custom Amount", Quantity::pieces(1), minor));
        }
        // Lightspeed sells gift cards through somebody else.
        if self.gift_card && vendor != Vendor::Lightspeed {
            let minor = *draws.pick(&[2_500, 5_000]);
            lines.push(line(draws, Goods::GiftCard, "Gift Card", Quantity::pieces(1), minor));
        }
        lines
    }

    fn take_discounts(&self, receipt: &mut Receipt, draws: &mut Draws) {
        if self.line_discount {
            let weights: Vec<i64> = receipt.lines.iter().take(1).map(Line::gross).collect();
            let minor = percent_of(weights.iter().sum(), 2_500);
            let rule = adjustment(draws, "Day-old 25%", Some(2_500), false, minor);
            receipt.share(Shared::Discount, rule, &weights, draws);
        }
        if self.order_discount {
            let weights = nets(receipt, |line| line.goods == Goods::Product);
            let sum: i64 = weights.iter().sum();
            let rule = if draws.happens(50) {
                adjustment(draws, "Regulars 5%", Some(500), true, percent_of(sum, 500))
            } else {
                adjustment(draws, "Loyalty $2", None, true, (sum / 2).min(200))
            };
            receipt.share(Shared::Discount, rule, &weights, draws);
        }
    }

    fn add_charges(&self, receipt: &mut Receipt, draws: &mut Draws) {
        if self.service_charge {
            let weights = nets(receipt, |line| line.goods == Goods::Product);
            let fee = adjustment(draws, "Packaging fee", None, true, 150);
            receipt.share(Shared::Charge, fee, &weights, draws);
            let minor = percent_of(weights.iter().sum(), 1_800);
            let gratuity = adjustment(draws, "Auto gratuity", Some(1_800), true, minor);
            receipt.charges.push(Adjustment { shared_out: false, ..gratuity });
        }
    }

    /// A fee and a gratuity that belong to the bill and not to its lines.
    fn add_fee(&self, receipt: &mut Receipt, draws: &mut Draws) {
        if self.service_charge {
            let fee = Adjustment { shared_out: false, ..adjustment(draws, "Packaging fee", None, true, 150) };
            let minor = percent_of(nets(receipt, |line| line.goods == Goods::Product).iter().sum(), 1_800);
            let uid = format!("{}/gratuity", fee.uid);
            let gratuity = Adjustment { uid, name: "Auto gratuity", basis_points: Some(1_800), minor, ..fee.clone() };
            receipt.charges.extend([fee, gratuity]);
        }
    }

    fn pay(&self, receipt: &mut Receipt, draws: &mut Draws) {
        if self.tip && self.paying != Paying::Cash {
            receipt.tip_minor = *draws.pick(&[100, 150, 200, 300, 457]);
        }
        let total = receipt.total();
        let due = total - receipt.tip_minor;
        let in_cash = match self.paying {
            Paying::Card => 0,
            Paying::Cash => due,
            Paying::Split => due / 2,
        };
        if in_cash > 0 {
            let note = *draws.pick(&[500, 1_000, 2_000]);
            let given_minor = (in_cash + note - 1) / note * note;
            receipt.tenders.push(Tender {
                id: draws.letters(27) + "ZY",
                means: Means::Cash { given_minor },
                minor: in_cash,
                tip_minor: 0,
            });
        }
        if in_cash < total {
            receipt.tenders.push(Tender {
                id: draws.letters(27) + "ZY",
                means: Means::Card,
                minor: total - in_cash,
                tip_minor: receipt.tip_minor,
            });
        }
    }
}

/// A state tax rounded line by line on what is taxable, and a city tax on the whole order.
fn add_taxes(receipt: &mut Receipt, shop: &ShopPlan, draws: &mut Draws) {
    // Already rounded parts shared out by themselves come back unchanged.
    let parts: Vec<i64> =
        nets(receipt, |line| line.taxed).into_iter().map(|net| percent_of(net, shop.state_tax)).collect();
    let minor: i64 = parts.iter().sum();
    if minor > 0 {
        let rule = adjustment(draws, "State Sales Tax", Some(shop.state_tax), false, minor);
        receipt.share(Shared::Tax, rule, &parts, draws);
    }
    let weights = nets(receipt, |line| line.goods == Goods::Product);
    let minor = percent_of(weights.iter().sum(), shop.city_tax);
    if minor > 0 {
        let rule = adjustment(draws, "City Tax", Some(shop.city_tax), true, minor);
        receipt.share(Shared::Tax, rule, &weights, draws);
    }
}

fn nets(receipt: &Receipt, counts: impl Fn(&Line) -> bool) -> Vec<i64> {
    receipt.lines.iter().map(|line| if counts(line) { line.net() } else { 0 }).collect()
}

pub fn item_id(vendor: Vendor, seed: Seed, catalogue: &str, name: &str, variation: &str) -> String {
    let mut draws = seed.draws(&format!("item/{catalogue}/{name}/{variation}"));
    match vendor {
        Vendor::Square => draws.capitals(24),
        Vendor::Toast => draws.uuid(),
        Vendor::Lightspeed => draws.digits(15),
    }
}

/// What is rounded once for the whole bill: a millionth of a minor unit is a
/// basis point of a basis point, so nothing is lost before.
const EXACT: i64 = 10_000;

/// Tax on top, exact line by line and rounded once: Toast rounds the tax,
/// Lightspeed what has to be paid, which is not the same for half a cent.
fn tax_as_a_whole(receipt: &mut Receipt, vendor: Vendor, shop: &ShopPlan, draws: &mut Draws) {
    let weights: Vec<i64> = receipt.lines.iter().map(|line| line.net() * shop.rate(line.taxed)).collect();
    let net: i64 = if vendor == Vendor::Lightspeed { receipt.lines.iter().map(Line::net).sum() } else { 0 };
    let minor = part_of(net * EXACT + weights.iter().sum::<i64>(), 1, EXACT) - net;
    if minor > 0 {
        let tax = adjustment(draws, "Sales tax", Some(shop.rate(true)), false, minor);
        receipt.share(Shared::Tax, tax, &weights, draws);
    }
}

/// The tax inside the prices: four more decimals than the currency for each line, rounded once.
fn tax_of_whole(receipt: &Receipt, shop: &ShopPlan) -> i64 {
    let exact = receipt.lines.iter().map(|line| {
        let rate = shop.rate(line.taxed);
        let extras: i64 = line.extras.iter().map(|extra| inner_tax(extra.total_minor, rate)).sum();
        extras + inner_tax(line.plain_minor - line.discount(), rate)
    });
    part_of(exact.sum(), 1, EXACT)
}

/// Some lines of a bill as a bill of their own, paid by card without a tip.
pub fn bill_of(receipt: &Receipt, lines: impl Fn(usize) -> bool, shop: &ShopPlan, draws: &mut Draws) -> Receipt {
    let mut part = Receipt { taxes: Vec::new(), tip_minor: 0, tenders: Vec::new(), ..receipt.clone() };
    let mut place = 0..;
    part.lines.retain(|_| place.next().is_some_and(&lines));
    part.lines.iter_mut().for_each(|line| line.taxes.clear());
    part.settle_adjustments();
    if shop.tax_included() {
        part.included_tax_minor = tax_of_whole(&part, shop);
    } else {
        tax_as_a_whole(&mut part, Vendor::Lightspeed, shop, draws);
    }
    let minor = part.total();
    part.tenders = vec![Tender { id: draws.letters(27) + "ZY", means: Means::Card, minor, tip_minor: 0 }];
    part
}

/// Square's way with prices that include tax: rounded line by line, and shown without being added.
fn show_inner_tax(receipt: &mut Receipt, shop: &ShopPlan, draws: &mut Draws) {
    for rate in [shop.rate(true), shop.rate(false)] {
        let parts: Vec<i64> = receipt
            .lines
            .iter()
            .map(|line| if line.goods == Goods::Product && shop.rate(line.taxed) == rate { line.net() } else { 0 })
            .map(|net| part_of(net, rate, EXACT + rate))
            .collect();
        let minor: i64 = parts.iter().sum();
        if minor > 0 && receipt.inner_taxes.iter().all(|tax| tax.basis_points != Some(rate)) {
            let tax = adjustment(draws, "VAT", Some(rate), false, minor);
            receipt.share(Shared::InnerTax, tax, &parts, draws);
            receipt.included_tax_minor += minor;
        }
    }
}

/// The tax inside an amount, in ten-thousandths of its minor unit.
pub fn inner_tax(minor: i64, rate: i64) -> i64 {
    part_of(minor * EXACT, rate, EXACT + rate)
}

/// Toast's way with prices that include tax: it takes the tax out of every
/// amount, so that tax is on top again. Only the unit price keeps it.
fn take_out_tax(receipt: &mut Receipt, shop: &ShopPlan, draws: &mut Draws) {
    let mut taxes = Vec::new();
    for line in &mut receipt.lines {
        let rate = shop.rate(line.taxed);
        let inside = |minor: i64| part_of(minor, rate, EXACT + rate);
        let total = line.net();
        for extra in &mut line.extras {
            extra.total_minor -= inside(extra.total_minor);
        }
        for discount in &mut line.discounts {
            discount.minor -= inside(discount.minor);
        }
        line.plain_minor -= inside(line.plain_minor);
        taxes.push(total - line.net());
    }
    receipt.settle_adjustments();
    let tax = adjustment(draws, "VAT", Some(shop.rate(true)), false, taxes.iter().sum());
    if tax.minor > 0 {
        // Already rounded parts shared out by themselves come back unchanged.
        receipt.share(Shared::Tax, tax, &taxes, draws);
    }
}

fn adjustment(
    draws: &mut Draws,
    name: &'static str,
    basis_points: Option<i64>,
    whole_order: bool,
    minor: i64,
) -> Adjustment {
    Adjustment { uid: draws.letters(22), source_uid: None, name, basis_points, whole_order, shared_out: true, minor }
}

fn line(draws: &mut Draws, goods: Goods, name: &'static str, quantity: Quantity, unit_minor: i64) -> Line {
    Line::new(draws.letters(22), goods, name, quantity, unit_minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{LIGHTSPEED_SHOPS, SHOPS, SQUARE_ABROAD, TOAST_SHOPS};
    use crate::receipt::RefundKind;

    #[test]
    fn every_receipt_and_every_return_adds_up_to_the_cent() {
        let seed = Seed(7);
        for number in 0..2_000 {
            let mut draws = seed.draws(&format!("sale/{number}"));
            let wish = Wish::random(&mut draws);
            let towns = [&SHOPS[..], &SQUARE_ABROAD, &TOAST_SHOPS, &LIGHTSPEED_SHOPS[0], &LIGHTSPEED_SHOPS[2]];
            let town = number % towns.len();
            let shop = &towns[town][number % towns[town].len()];
            let vendor = [Vendor::Square, Vendor::Square, Vendor::Toast, Vendor::Lightspeed, Vendor::Lightspeed][town];
            let receipt = wish.ring_up(vendor, "M", shop, seed, &mut draws);
            assert_adds_up(&receipt);
            let paid: i64 = receipt.tenders.iter().map(|tender| tender.minor).sum();
            assert_eq!(paid, receipt.total(), "sale {number}: tenders");
            let tips: i64 = receipt.tenders.iter().map(|tender| tender.tip_minor).sum();
            assert_eq!(tips, receipt.tip_minor, "sale {number}: tips");
            for kind in [RefundKind::Full, RefundKind::Line, RefundKind::Amount] {
                let back = receipt.returned(kind, 0, paid, &mut draws);
                assert_adds_up(&back);
                assert!(back.total() > 0 && back.total() <= paid, "sale {number} {kind:?}");
                if kind == RefundKind::Full {
                    assert_eq!(back.total(), paid);
                }
            }
        }
    }

    fn assert_adds_up(receipt: &Receipt) {
        let lines: i64 = receipt.lines.iter().map(Line::total).sum();
        let apart: i64 = receipt.charges.iter().filter(|charge| !charge.shared_out).map(|c| c.minor).sum();
        assert_eq!(lines + apart + receipt.tip_minor, receipt.total());
        assert_eq!(receipt.lines.iter().map(Line::discount).sum::<i64>(), receipt.discount());
        assert_eq!(receipt.lines.iter().map(Line::tax).sum::<i64>(), receipt.tax());
        assert!(receipt.lines.iter().all(|line| line.discount() <= line.gross()));
    }
}
