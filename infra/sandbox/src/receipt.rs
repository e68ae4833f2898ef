//! What was rung up, in words that belong to no provider.
//!
//! A receipt is the truth about one sale or one return: every provider's JSON
//! and the ledger are written from it, so they can only differ where a
//! provider's own rules differ. Amounts of a return are positive.

use crate::money::{part_of, share_out};
use crate::seed::Draws;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goods {
    Product,
    /// An amount typed in by hand.
    CustomAmount,
    /// Money that will come back as a payment: a liability, not revenue.
    GiftCard,
}

/// Pieces, or pounds with two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    pub hundredths: i64,
    pub by_weight: bool,
}

impl Quantity {
    pub fn pieces(count: i64) -> Self {
        Self { hundredths: count * 100, by_weight: false }
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.by_weight {
            write!(f, "{}.{:02}", self.hundredths / 100, self.hundredths % 100)
        } else {
            write!(f, "{}", self.hundredths / 100)
        }
    }
}

#[derive(Debug, Clone)]
pub struct Extra {
    pub uid: String,
    pub source_uid: Option<String>,
    pub item_id: String,
    pub name: &'static str,
    pub unit_minor: i64,
    pub total_minor: i64,
}

/// The part of an [`Adjustment`] that falls on one line.
#[derive(Debug, Clone)]
pub struct Share {
    pub uid: String,
    pub of: String,
    pub minor: i64,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub uid: String,
    /// The line of the sale, when this is a line of a return.
    pub source_uid: Option<String>,
    pub item_id: Option<String>,
    pub name: &'static str,
    pub variation: Option<&'static str>,
    pub goods: Goods,
    pub taxed: bool,
    pub quantity: Quantity,
    pub unit_minor: i64,
    /// Unit price × quantity, without extras.
    pub plain_minor: i64,
    pub extras: Vec<Extra>,
    pub discounts: Vec<Share>,
    pub taxes: Vec<Share>,
    /// Taxes inside the price; no part of the total.
    pub inner_taxes: Vec<Share>,
    pub charges: Vec<Share>,
}

impl Line {
    /// A line of what needs no catalogue, without anything that is shared out over lines.
    pub fn new(uid: impl Into<String>, goods: Goods, name: &'static str, quantity: Quantity, unit_minor: i64) -> Self {
        Self {
            uid: uid.into(),
            source_uid: None,
            item_id: None,
            name,
            variation: None,
            goods,
            taxed: false,
            quantity,
            unit_minor,
            plain_minor: part_of(unit_minor, quantity.hundredths, 100),
            extras: Vec::new(),
            discounts: Vec::new(),
            taxes: Vec::new(),
            inner_taxes: Vec::new(),
            charges: Vec::new(),
        }
    }

    pub fn gross(&self) -> i64 {
        self.plain_minor + self.extras.iter().map(|extra| extra.total_minor).sum::<i64>()
    }

    pub fn discount(&self) -> i64 {
        sum(&self.discounts)
    }

    pub fn tax(&self) -> i64 {
        sum(&self.taxes)
    }

    pub fn inner_tax(&self) -> i64 {
        sum(&self.inner_taxes)
    }

    pub fn charge(&self) -> i64 {
        sum(&self.charges)
    }

    fn shares(&mut self) -> impl Iterator<Item = &mut Share> {
        let taxes = self.taxes.iter_mut().chain(&mut self.inner_taxes);
        self.discounts.iter_mut().chain(taxes).chain(&mut self.charges)
    }

    /// What a tax is computed on.
    pub fn net(&self) -> i64 {
        self.gross() - self.discount()
    }

    pub fn total(&self) -> i64 {
        self.net() + self.tax() + self.charge()
    }
}

fn sum(shares: &[Share]) -> i64 {
    shares.iter().map(|share| share.minor).sum()
}

/// A discount, a tax or a service charge of the whole receipt.
#[derive(Debug, Clone)]
pub struct Adjustment {
    pub uid: String,
    pub source_uid: Option<String>,
    pub name: &'static str,
    /// Hundredths of a percent; `None` is a fixed amount.
    pub basis_points: Option<i64>,
    pub whole_order: bool,
    /// Whether the lines carry their shares of it.
    pub shared_out: bool,
    pub minor: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    Card,
    Cash { given_minor: i64 },
}

#[derive(Debug, Clone)]
pub struct Tender {
    pub id: String,
    pub means: Means,
    /// With the tip.
    pub minor: i64,
    pub tip_minor: i64,
}

#[derive(Debug, Clone, Default)]
pub struct Receipt {
    pub currency: &'static str,
    pub lines: Vec<Line>,
    pub discounts: Vec<Adjustment>,
    pub taxes: Vec<Adjustment>,
    pub inner_taxes: Vec<Adjustment>,
    pub charges: Vec<Adjustment>,
    /// Tax inside the prices, of which the other amounts know nothing.
    pub included_tax_minor: i64,
    pub tip_minor: i64,
    pub tenders: Vec<Tender>,
}

/// How much of a sale comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundKind {
    /// All lines, the charges and the tip.
    Full,
    /// One piece of one line.
    Line,
    /// An amount as goodwill; no goods come back.
    Amount,
}

impl Receipt {
    pub fn gross(&self) -> i64 {
        self.lines.iter().map(Line::gross).sum()
    }

    pub fn discount(&self) -> i64 {
        self.discounts.iter().map(|discount| discount.minor).sum()
    }

    pub fn tax(&self) -> i64 {
        self.taxes.iter().map(|tax| tax.minor).sum()
    }

    pub fn charge(&self) -> i64 {
        self.charges.iter().map(|charge| charge.minor).sum()
    }

    pub fn total(&self) -> i64 {
        self.gross() - self.discount() + self.tax() + self.charge() + self.tip_minor
    }

    /// The receipt of a return, without tenders: which payments the money goes
    /// back to depends on what has been refunded before.
    ///
    /// `line` is the line a [`RefundKind::Line`] brings back, `most` what may
    /// still be refunded.
    pub fn returned(&self, kind: RefundKind, line: usize, most: i64, draws: &mut Draws) -> Receipt {
        let mut back = Receipt { tenders: Vec::new(), ..self.clone() };
        match kind {
            RefundKind::Full => {}
            RefundKind::Line => {
                back.lines = self.lines.get(line).map(one_piece).into_iter().collect();
                back.tip_minor = 0;
                back.charges.retain(|charge| charge.shared_out);
            }
            RefundKind::Amount => {
                let goodwill = Line::new("", Goods::CustomAmount, "Custom Amount", Quantity::pieces(1), most.min(500));
                back = Receipt { lines: vec![goodwill], ..Receipt::nothing(self.currency) };
            }
        }
        back.renew_uids(draws);
        back.settle_adjustments();
        let whole = self.total() - self.tip_minor;
        let share = if whole == 0 { 0 } else { part_of(self.included_tax_minor, back.total() - back.tip_minor, whole) };
        let inner: i64 = back.inner_taxes.iter().map(|tax| tax.minor).sum();
        back.included_tax_minor = match kind {
            RefundKind::Amount => 0,
            RefundKind::Full | RefundKind::Line => {
                if self.inner_taxes.is_empty() {
                    share
                } else {
                    inner
                }
            }
        };
        back
    }

    /// A receipt of nothing.
    pub fn nothing(currency: &'static str) -> Receipt {
        Receipt { currency, ..Receipt::default() }
    }

    /// Gives everything an id in the form another provider likes.
    pub fn rename(&mut self, name: impl Fn(&str) -> String) {
        let change = |uid: &mut String| *uid = name(uid);
        for adjustment in self.discounts.iter_mut().chain(&mut self.taxes).chain(&mut self.charges) {
            change(&mut adjustment.uid);
        }
        for line in &mut self.lines {
            change(&mut line.uid);
            line.extras.iter_mut().for_each(|extra| change(&mut extra.uid));
            for share in line.shares() {
                change(&mut share.uid);
                change(&mut share.of);
            }
        }
        self.tenders.iter_mut().for_each(|tender| change(&mut tender.id));
    }

    /// Gives every part of a return a uid of its own and keeps the old one as its source.
    fn renew_uids(&mut self, draws: &mut Draws) {
        let adjustments = [&mut self.discounts, &mut self.taxes, &mut self.inner_taxes, &mut self.charges];
        for adjustment in adjustments.into_iter().flatten() {
            let uid = std::mem::replace(&mut adjustment.uid, draws.letters(22));
            for share in self.lines.iter_mut().flat_map(Line::shares) {
                if share.of == uid {
                    share.of.clone_from(&adjustment.uid);
                    share.uid = draws.letters(22);
                }
            }
            adjustment.source_uid = Some(uid);
        }
        for line in &mut self.lines {
            let uid = std::mem::replace(&mut line.uid, draws.letters(22));
            line.source_uid = (!uid.is_empty()).then_some(uid);
            for extra in &mut line.extras {
                extra.source_uid = Some(std::mem::replace(&mut extra.uid, draws.letters(22)));
            }
        }
    }

    /// Makes what is shared out the sum of its shares, and drops what no line carries.
    pub fn settle_adjustments(&mut self) {
        let lines = &self.lines;
        for adjustments in [&mut self.discounts, &mut self.taxes, &mut self.inner_taxes, &mut self.charges] {
            adjustments.retain_mut(|adjustment| {
                if adjustment.shared_out {
                    adjustment.minor = lines
                        .iter()
                        .flat_map(|line| [&line.discounts, &line.taxes, &line.inner_taxes, &line.charges])
                        .flatten()
                        .filter(|share| share.of == adjustment.uid)
                        .map(|share| share.minor)
                        .sum();
                }
                adjustment.minor > 0
            });
        }
    }

    /// Adds an adjustment whose shares follow the weights, one weight for each line.
    pub fn share(&mut self, what: Shared, adjustment: Adjustment, weights: &[i64], draws: &mut Draws) {
        for (line, minor) in self.lines.iter_mut().zip(share_out(adjustment.minor, weights)) {
            if minor > 0 {
                let share = Share { uid: draws.letters(22), of: adjustment.uid.clone(), minor };
                match what {
                    Shared::Discount => line.discounts.push(share),
                    Shared::Tax => line.taxes.push(share),
                    Shared::InnerTax => line.inner_taxes.push(share),
                    Shared::Charge => line.charges.push(share),
                }
            }
        }
        match what {
            Shared::Discount => self.discounts.push(adjustment),
            Shared::Tax => self.taxes.push(adjustment),
            Shared::InnerTax => self.inner_taxes.push(adjustment),
            Shared::Charge => self.charges.push(adjustment),
        }
    }
}

/// Which list an [`Adjustment`] belongs to.
#[derive(Debug, Clone, Copy)]
pub enum Shared {
    Discount,
    Tax,
    InnerTax,
    Charge,
}

/// One piece of a line, with its part of everything; what is sold by weight comes back whole.
fn one_piece(line: &Line) -> Line {
    let mut piece = line.clone();
    if !line.quantity.by_weight {
        let count = line.quantity.hundredths / 100;
        piece.quantity = Quantity::pieces(1);
        piece.plain_minor = part_of(line.plain_minor, 1, count);
        for extra in &mut piece.extras {
            extra.total_minor = part_of(extra.total_minor, 1, count);
        }
        for share in piece.shares() {
            share.minor = part_of(share.minor, 1, count);
        }
    }
    piece
}
