//! The customers: what they want and what becomes of it.

use crate::receipt::RefundKind;
use crate::seed::Draws;

/// A sale somebody asks for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SaleKind {
    /// One product, paid by card, nothing else.
    Simple,
    /// Paid in cash, with change.
    Cash,
    /// Part cash, part card: two payments, one order.
    SplitTender,
    /// A tip on the card.
    Tip,
    /// A product with something added to it.
    Modifiers,
    /// A fractional quantity, sold by the pound.
    Weighted,
    /// An amount typed in by hand beside a product.
    CustomAmount,
    /// A gift card is sold beside a product.
    GiftCard,
    /// A percentage off one line.
    LineDiscount,
    /// Something off the whole order, shared out over the lines.
    OrderDiscount,
    /// A packaging fee and, on the whole order, a gratuity that nobody asked for. (Not at Lightspeed.)
    ServiceCharge,
    /// Ordered through the provider's API: has a version and order events.
    Api,
    /// The payment is authorized and canceled: no money moves.
    Canceled,
    /// Paid while the till was offline and uploaded two days later (two hours at Lightspeed).
    Offline,
    /// Everything comes back some minutes later.
    FullRefund,
    /// One piece of one line comes back.
    PartialRefund,
    /// A goodwill amount comes back.
    AmountRefund,
    /// Everything at once that can stand on one receipt.
    Everything,
    /// Toast: two bills in one order.
    TwoBills,
    /// Toast: an emptied and deleted order.
    Emptied,
    /// Toast: waste, at no price.
    Waste,
    /// Toast: an order of a till in test mode.
    TestMode,
    /// Toast: two copies with one time of change.
    Tie,
    /// A tip that is typed in hours after the card was authorized; Lightspeed knows no such thing.
    LateTip,
    /// Changed once more when it was over: at Square its name, at Toast the tip or the server;
    /// at Lightspeed it is recalled on the next day.
    Edited,
    /// Everything comes back, but on a later day.
    LateRefund,
    /// Lightspeed: paid, opened again and paid otherwise.
    Recalled,
    /// Lightspeed: one bill divided into two.
    Split,
    /// Lightspeed: moved to another table before it is paid.
    Transferred,
    /// Lightspeed: open at the end of the day.
    Overnight,
}

/// What a customer comes for.
#[derive(Debug, Clone, Copy)]
pub enum Asks {
    Anything,
    /// Anything, on a day that passes.
    OfADay,
    /// What is left in the last hour.
    AtClosing,
    For(SaleKind),
}

/// What becomes of a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Kept,
    Canceled,
    Refunded(RefundKind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paying {
    Card,
    Cash,
    Split,
}

/// The plan of a sale before anything is rung up.
#[derive(Debug, Clone)]
pub struct Wish {
    pub lines: i64,
    pub extras: bool,
    pub weighted: bool,
    pub custom_amount: bool,
    pub gift_card: bool,
    pub line_discount: bool,
    pub order_discount: bool,
    pub service_charge: bool,
    pub tip: bool,
    pub paying: Paying,
    pub api: bool,
    pub offline: bool,
    pub fate: Fate,
    /// Ordered and paid days before it is fetched, where days pass.
    pub preorder: bool,
    /// Toast: the order has a second bill.
    pub two_bills: bool,
    /// Toast: its bill goes to another order, and it is deleted.
    pub emptied: bool,
    /// Toast: what is thrown away is typed in, too.
    pub waste: bool,
    /// Toast: somebody tries out the till.
    pub test_mode: bool,
    /// Toast: two copies claim the same time of change.
    pub tie: bool,
    /// The refund comes on a later day.
    pub refund_later: bool,
    /// For how long an offline till was offline.
    pub offline_hours: i64,
    /// Something happens to it when others are over.
    pub late: bool,
    /// The tip is typed in hours later.
    pub late_tip: bool,
    /// Changed once more when it was over.
    pub edited: bool,
    /// Lightspeed: how the bill takes a turn that others do not know.
    pub turn: Turn,
}

/// What becomes of a bill at Lightspeed, where every turn makes another sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    None,
    /// Paid, opened again and paid otherwise.
    Recalled,
    /// Divided between two guests before paying.
    Split,
    /// Moved to another table.
    Transferred,
    /// Still open when the day ends: booked out of it and into the next.
    Overnight,
}

const PLAIN: Wish = Wish {
    lines: 1,
    extras: false,
    weighted: false,
    custom_amount: false,
    gift_card: false,
    line_discount: false,
    order_discount: false,
    service_charge: false,
    tip: false,
    paying: Paying::Card,
    api: false,
    offline: false,
    fate: Fate::Kept,
    preorder: false,
    two_bills: false,
    emptied: false,
    waste: false,
    test_mode: false,
    tie: false,
    refund_later: false,
    offline_hours: 47,
    late: false,
    late_tip: false,
    edited: false,
    turn: Turn::None,
};

impl Asks {
    pub fn wish(self, draws: &mut Draws) -> Wish {
        match self {
            Self::Anything => Wish::random(draws),
            Self::OfADay => {
                let wish = Wish::random(draws);
                // Half of what is ordered online is for another day.
                Wish { preorder: wish.api && draws.happens(50), ..wish }
            }
            Self::AtClosing => {
                let wish = Self::OfADay.wish(draws);
                // Most of what is left is cheaper.
                Wish { line_discount: draws.happens(70), api: false, ..wish }
            }
            Self::For(kind) => Wish::of(kind),
        }
    }
}

impl Wish {
    pub fn of(kind: SaleKind) -> Wish {
        match kind {
            SaleKind::Simple => PLAIN,
            SaleKind::Cash => Wish { paying: Paying::Cash, ..PLAIN },
            SaleKind::SplitTender => Wish { lines: 3, paying: Paying::Split, ..PLAIN },
            SaleKind::Tip => Wish { tip: true, ..PLAIN },
            SaleKind::Modifiers => Wish { extras: true, ..PLAIN },
            SaleKind::Weighted => Wish { weighted: true, ..PLAIN },
            SaleKind::CustomAmount => Wish { custom_amount: true, ..PLAIN },
            SaleKind::GiftCard => Wish { gift_card: true, ..PLAIN },
            SaleKind::LineDiscount => Wish { lines: 2, line_discount: true, ..PLAIN },
            SaleKind::OrderDiscount => Wish { lines: 3, order_discount: true, ..PLAIN },
            SaleKind::ServiceCharge => Wish { lines: 3, service_charge: true, ..PLAIN },
            SaleKind::Api => Wish { lines: 2, api: true, ..PLAIN },
            SaleKind::Canceled => Wish { lines: 2, fate: Fate::Canceled, ..PLAIN },
            SaleKind::Offline => Wish { offline: true, ..PLAIN },
            SaleKind::FullRefund => Wish { lines: 2, fate: Fate::Refunded(RefundKind::Full), ..PLAIN },
            SaleKind::PartialRefund => Wish { lines: 3, fate: Fate::Refunded(RefundKind::Line), ..PLAIN },
            SaleKind::AmountRefund => Wish { fate: Fate::Refunded(RefundKind::Amount), ..PLAIN },
            SaleKind::TwoBills => Wish { lines: 2, two_bills: true, ..PLAIN },
            SaleKind::Emptied => Wish { emptied: true, ..PLAIN },
            SaleKind::Waste => Wish { waste: true, ..PLAIN },
            SaleKind::TestMode => Wish { test_mode: true, ..PLAIN },
            SaleKind::Tie => Wish { tip: true, tie: true, ..PLAIN },
            SaleKind::LateTip => Wish { late: true, tip: true, late_tip: true, ..PLAIN },
            SaleKind::Edited => Wish { late: true, tip: true, edited: true, turn: Turn::Recalled, ..PLAIN },
            SaleKind::LateRefund => {
                Wish { late: true, fate: Fate::Refunded(RefundKind::Full), refund_later: true, ..PLAIN }
            }
            SaleKind::Recalled => Wish { lines: 2, turn: Turn::Recalled, ..PLAIN },
            SaleKind::Split => Wish { lines: 3, turn: Turn::Split, ..PLAIN },
            SaleKind::Transferred => Wish { lines: 2, turn: Turn::Transferred, ..PLAIN },
            SaleKind::Overnight => Wish { turn: Turn::Overnight, ..PLAIN },
            SaleKind::Everything => Wish {
                lines: 4,
                extras: true,
                weighted: true,
                custom_amount: true,
                gift_card: true,
                line_discount: true,
                order_discount: true,
                service_charge: true,
                tip: true,
                paying: Paying::Split,
                ..PLAIN
            },
        }
    }

    /// A customer as they come in on a morning.
    pub fn random(draws: &mut Draws) -> Wish {
        let fate = match draws.between(0, 99) {
            0..=3 => Fate::Canceled,
            4..=5 => Fate::Refunded(RefundKind::Full),
            6..=10 => Fate::Refunded(RefundKind::Line),
            11..=12 => Fate::Refunded(RefundKind::Amount),
            _ => Fate::Kept,
        };
        let offline = draws.happens(2);
        Wish {
            lines: draws.between(1, 4),
            extras: draws.happens(25),
            weighted: draws.happens(20),
            custom_amount: draws.happens(4),
            gift_card: draws.happens(3),
            line_discount: draws.happens(15),
            order_discount: draws.happens(10),
            service_charge: draws.happens(5),
            tip: draws.happens(30),
            paying: match draws.between(0, 99) {
                0..=27 => Paying::Cash,
                28..=35 => Paying::Split,
                _ => Paying::Card,
            },
            api: !offline && draws.happens(15),
            offline,
            fate: if offline { Fate::Kept } else { fate },
            two_bills: draws.happens(6),
            emptied: draws.happens(2),
            waste: draws.happens(2),
            test_mode: draws.happens(2),
            tie: draws.happens(4),
            refund_later: draws.happens(30),
            turn: match draws.between(0, 99) {
                0..=2 => Turn::Recalled,
                3..=5 => Turn::Split,
                6..=7 => Turn::Transferred,
                8..=9 => Turn::Overnight,
                _ => Turn::None,
            },
            ..PLAIN
        }
    }

    /// The same customer, about whom something comes late.
    pub fn late(self, draws: &mut Draws) -> Wish {
        let kept = Wish { late: true, fate: Fate::Kept, offline: false, preorder: false, turn: Turn::None, ..self };
        let on_card = Wish { tip: true, paying: Paying::Card, ..kept.clone() };
        let wish = match draws.between(0, 3) {
            0 => Wish { offline: true, api: false, offline_hours: draws.between(1, 71), ..kept },
            1 => Wish { late_tip: true, ..on_card },
            2 => Wish { edited: true, turn: Turn::Recalled, ..on_card },
            _ => {
                let kind = *draws.pick(&[RefundKind::Full, RefundKind::Line, RefundKind::Amount]);
                Wish { fate: Fate::Refunded(kind), refund_later: true, ..kept }
            }
        };
        // At Toast a tie is that the tip comes at once.
        Wish { tie: !wish.late_tip && draws.happens(50), ..wish }
    }
}
