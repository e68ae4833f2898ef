//! What happens at Toast around one order, step by step.
//!
//! Opened, paid with the tip unknown, tip typed in, closed out at night; and
//! money may go back at any time after the payment, which changes the order
//! that everybody thought was over.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::order::{Back, Check, Payment, Ticket};
use super::webhooks::Event;
use super::{Own, Step, Toast, World};
use crate::clock::{Moment, Pace, later, rfc3339};
use crate::customer::{Fate, Wish};
use crate::ledger::{EntryKind, EntryPayment, EntryState, LedgerEntry};
use crate::money::percent_of;
use crate::receipt::{Means, Receipt};
use crate::seed::Draws;
use crate::shops::{Shop, Vendor};
use crate::stage::{Ends, House, Place, Plan};
use crate::{RefundKind, Refused, RungUp};

/// When a squeezed day is closed out, in shop time after the payment.
const CLOSEOUT: Duration = Duration::from_secs(30 * 60);
const TIPPED_AFTER: Duration = Duration::from_secs(3 * 3_600);
const EDITED_AFTER: Duration = Duration::from_secs(5 * 3_600);
const REFUNDED_AFTER: Duration = Duration::from_secs(30 * 3_600);
/// What a tip was typed in too low.
const CORRECTION: i64 = 50;
/// Closeouts of a restaurant happen all at once, a little after the hour.
const AFTER_HOUR: SignedDuration = SignedDuration::from_millis(300_024);

fn seconds(draws: &mut Draws, least: i64, most: i64) -> Duration {
    Duration::from_millis(draws.between(least * 1_000, most * 1_000).unsigned_abs())
}

impl Toast {
    fn guid(&self, name: &str) -> String {
        self.draws(&format!("guid/{name}")).uuid()
    }

    fn check(&self, wish: &Wish, shop: Shop<'_>, number: i64, draws: &mut Draws) -> Check {
        let mut receipt = wish.ring_up(Vendor::Toast, &shop.location.id, shop.plan, self.seed, draws);
        receipt.rename(|uid| self.guid(uid));
        let mistake = draws.happens(8).then(|| receipt.lines.first().cloned()).flatten().map(|mut line| {
            line.uid = self.guid(&format!("{}/mistake", line.uid));
            line.extras.clear();
            line
        });
        Check {
            guid: draws.uuid(),
            number,
            receipt,
            mistake,
            payments: Vec::new(),
            returned_lines: 0,
            returned: Vec::new(),
        }
    }

    /// When an online order will be fetched: the day after tomorrow, or soon.
    fn promise(&self, preorder: bool, opened: Timestamp, shop: Shop<'_>) -> Timestamp {
        match preorder {
            false => later(opened, SignedDuration::from_mins(1)),
            true => later(shop.day_ends(shop.business_date(opened)), SignedDuration::from_hours(24 + 4)),
        }
    }
}

impl House for Toast {
    type Own = Own;
    type Event = Event;

    fn plan(&self, world: &mut World, at: Place<'_>, wish: &Wish, draws: &mut Draws) -> Plan<Self> {
        let Place { shop, pace, opens } = at;
        let uploaded = pace.at(opens);
        // A till that was offline for days sends an order that is long over.
        let age = SignedDuration::from_hours(if wish.offline { -wish.offline_hours } else { 0 });
        let opened = later(uploaded.stamp, age);
        let promised = wish.api.then(|| self.promise(wish.preorder, opened, shop));
        let number = draws.between(1, 999);
        let mut checks = vec![self.check(wish, shop, number, draws)];
        if wish.two_bills {
            checks.push(self.check(&Wish { lines: 1, ..wish.clone() }, shop, number + 1, draws));
        }
        let odd = draws.happens(3);
        let mut ticket = Ticket {
            // One of Toast's samples has 33 digits.
            guid: if odd { draws.uuid() + "b" } else { draws.uuid() },
            merchant_id: shop.merchant.id.clone(),
            restaurant: shop.location.id.clone(),
            number,
            server: draws.uuid(),
            plan: shop.plan,
            opened,
            modified: uploaded.stamp,
            promised,
            paid: None,
            closed: None,
            voided: None,
            deleted: None,
            business_date: shop.business_date(promised.unwrap_or(opened)),
            approval: if promised.is_some() { "FUTURE" } else { "APPROVED" },
            source: if wish.api { "Online" } else { "In Store" },
            test_mode: wish.test_mode,
            waste: wish.waste,
            checks,
            revision: 0,
            refunds_made: 0,
            settled: uploaded,
        };
        let mut course = Course { pace, shop, steps: Vec::new(), now: opens };
        if !wish.offline {
            course.change(&mut ticket, EntryState::Open);
            course.now += seconds(draws, 20, 90);
        }
        if wish.fate == Fate::Canceled || wish.emptied {
            // Half of what is voided was paid for already: the payments are voided with it.
            if !wish.emptied && draws.happens(50) {
                course.pay(&mut ticket, age);
                course.now += Duration::from_secs(120);
            }
            course.take_back(&mut ticket, wish.emptied);
        } else {
            course.play(&mut ticket, wish, age, draws);
        }
        ticket.settled = course.pace.at(course.now);
        let refund_order_id = ticket
            .checks
            .iter()
            .flat_map(|check| &check.payments)
            .find(|payment| payment.back.is_some())
            .map(|payment| payment.tender.id.clone());
        let entry = ticket.entry(EntryState::Completed);
        let rung_up = RungUp { refund_order_id, ..RungUp::of(&entry) };
        let steps = course.steps;
        world.own.tickets.insert(ticket.guid.clone(), ticket);
        (steps, rung_up)
    }

    fn plan_refund(
        &self,
        world: &mut World,
        order_id: &str,
        kind: RefundKind,
        pace: Pace,
    ) -> Result<Plan<Self>, Refused> {
        let unknown = || Refused(format!("there is no sale {order_id}"));
        let ticket = world.own.tickets.get_mut(order_id).ok_or_else(unknown)?;
        let shop = self.businesses.shop(&ticket.restaurant).ok_or_else(unknown)?;
        let pace = pace.not_before(ticket.settled);
        let mut course = Course { pace, shop, steps: Vec::new(), now: Duration::from_secs(1) };
        let mut draws = self.draws(&format!("refund/{order_id}/{}", ticket.refunds_made));
        let entry = course.money_back(ticket, kind, &mut draws)?;
        ticket.settled = course.pace.at(course.now);
        Ok((course.steps, RungUp::of(&entry)))
    }
}

/// An order's way through the day.
struct Course<'a> {
    pace: Pace,
    shop: Shop<'a>,
    steps: Vec<Step>,
    now: Duration,
}

impl Course<'_> {
    /// The order as it is now becomes known, and is told.
    fn change(&mut self, ticket: &mut Ticket, state: EntryState) {
        let at = self.pace.at(self.now);
        ticket.modified = at.stamp;
        self.show(ticket, state, at);
    }

    fn show(&mut self, ticket: &mut Ticket, state: EntryState, at: Moment) {
        ticket.revision += 1;
        let copy = Arc::new(ticket.clone());
        let mut step = Step::new(&ticket.merchant_id, at);
        step.entries.push(ticket.entry(state));
        step.events.push(Event::order(&copy));
        step.objects = copy.objects();
        self.steps.push(step);
    }

    /// The last step is the one that settles the sale or the refund.
    fn ends(&mut self, ends: Ends) {
        if let Some(step) = self.steps.last_mut() {
            step.ends = Some(ends);
        }
    }

    /// Before money was captured: voided, or emptied because its bill went to another order.
    fn take_back(&mut self, ticket: &mut Ticket, emptied: bool) {
        let at = self.pace.at(self.now).stamp;
        if emptied {
            ticket.deleted = Some(at);
        } else {
            ticket.voided = Some(at);
        }
        for payment in ticket.checks.iter_mut().flat_map(|check| &mut check.payments) {
            payment.status = "VOIDED";
            payment.tip_known = true;
        }
        self.change(ticket, EntryState::Canceled);
        self.ends(Ends::Sale);
    }

    fn play(&mut self, ticket: &mut Ticket, wish: &Wish, age: SignedDuration, draws: &mut Draws) {
        self.pay(ticket, age);
        if !wish.offline {
            self.now += seconds(draws, 300, 1_200);
            self.wait(if wish.late_tip { TIPPED_AFTER } else { Duration::ZERO });
        }
        self.tip(ticket, wish.tie);
        self.ends(Ends::Sale);
        if let (Fate::Refunded(kind), false) = (wish.fate, wish.refund_later) {
            self.now += seconds(draws, 60, 600);
            // A fresh sale has everything left to refund.
            let _ = self.money_back(ticket, kind, draws);
        }
        if let Some(promised) = ticket.promised {
            self.wait_for(promised);
            ticket.approval = "APPROVED";
            self.change(ticket, ticket.state());
        }
        self.close_out(ticket);
        if wish.edited {
            self.wait(EDITED_AFTER);
            self.edit(ticket, draws);
        }
        if let (Fate::Refunded(kind), true) = (wish.fate, wish.refund_later) {
            self.wait(REFUNDED_AFTER);
            let _ = self.money_back(ticket, kind, draws);
        }
    }

    /// So much longer where days pass, and ten minutes where they do not.
    fn wait(&mut self, long: Duration) {
        self.now += if self.pace.is_squeezed() { long.min(Duration::from_secs(600)) } else { long };
    }

    /// A manager opens it again: the tip was typed in wrongly, or another server gets it.
    fn edit(&mut self, ticket: &mut Ticket, draws: &mut Draws) {
        ticket.server = draws.uuid();
        for check in &mut ticket.checks {
            let on_card = check.payments.iter_mut().find(|payment| payment.tender.tip_minor > 0);
            let tender = check.receipt.tenders.iter_mut().find(|tender| tender.tip_minor > 0);
            if let (Some(payment), Some(tender)) = (on_card, tender) {
                for tender in [&mut payment.tender, tender] {
                    tender.minor += CORRECTION;
                    tender.tip_minor += CORRECTION;
                }
                check.receipt.tip_minor += CORRECTION;
            }
        }
        self.change(ticket, ticket.state());
    }

    fn wait_for(&mut self, stamp: Timestamp) {
        let ahead = stamp.duration_since(self.pace.start.stamp);
        if !self.pace.is_squeezed() {
            self.now = self.now.max(Duration::try_from(ahead).unwrap_or_default());
        }
    }

    fn pay(&mut self, ticket: &mut Ticket, age: SignedDuration) {
        let at = later(self.pace.at(self.now).stamp, age);
        ticket.paid = Some(at);
        for check in &mut ticket.checks {
            let tenders = check.receipt.tenders.iter();
            check.payments = tenders
                .map(|tender| Payment {
                    tender: tender.clone(),
                    status: if tender.means == Means::Card { "AUTHORIZED" } else { "CAPTURED" },
                    paid: at,
                    business_date: self.shop.business_date(at),
                    tip_known: tender.means != Means::Card,
                    fee: None,
                    back: None,
                })
                .collect();
        }
        if ticket.waste {
            ticket.checks.iter_mut().for_each(|check| check.payments.clear());
        }
        self.change(ticket, ticket.state());
    }

    /// `tie`: in the millisecond of the payment, so that two copies claim the same time.
    fn tip(&mut self, ticket: &mut Ticket, tie: bool) {
        for payment in ticket.checks.iter_mut().flat_map(|check| &mut check.payments) {
            payment.tip_known = true;
        }
        let now = self.pace.at(self.now);
        let at = self.steps.last().filter(|_| tie).map_or(now, |payment| payment.at);
        ticket.modified = at.stamp;
        self.show(ticket, ticket.state(), at);
    }

    /// Cards are captured and fees known when the restaurant's day ends.
    fn close_out(&mut self, ticket: &mut Ticket) {
        let day_ends = later(self.shop.day_ends(ticket.business_date), AFTER_HOUR);
        match self.pace.is_squeezed() {
            true => self.now += CLOSEOUT,
            false => self.wait_for(day_ends),
        }
        ticket.closed = Some(self.pace.at(self.now).stamp);
        for payment in ticket.checks.iter_mut().flat_map(|check| &mut check.payments) {
            payment.status = "CAPTURED";
            if payment.tender.means == Means::Card {
                payment.fee = Some(percent_of(payment.tender.minor, 249) + 15);
            }
        }
        self.change(ticket, ticket.state());
    }

    fn money_back(&mut self, ticket: &mut Ticket, kind: RefundKind, draws: &mut Draws) -> Result<LedgerEntry, Refused> {
        let guid = ticket.guid.clone();
        let refuse = |why: &str| Refused(format!("order {guid} cannot be refunded: {why}"));
        if ticket.state() != EntryState::Completed || ticket.paid.is_none() {
            return Err(refuse("it was never completed"));
        }
        if kind == RefundKind::Full && ticket.refunds_made > 0 {
            return Err(refuse("a part of it has been refunded already"));
        }
        let at = self.pace.at(self.now).stamp;
        let day = self.shop.business_date(at);
        let mut given = Vec::new();
        // All bills come back, or something of the first.
        let bills = if kind == RefundKind::Full { ticket.checks.len() } else { 1 };
        for check in ticket.checks.iter_mut().take(bills) {
            let left: i64 = check.payments.iter().map(Payment::refundable).sum();
            let back = check.receipt.returned(kind, check.returned_lines, left, draws);
            if back.lines.is_empty() || back.total() > left || back.total() == 0 {
                return Err(refuse("nothing of the kind is left"));
            }
            check.returned_lines += usize::from(kind == RefundKind::Line);
            if kind != RefundKind::Amount {
                let lines = back.lines.iter().filter_map(|line| line.source_uid.clone().map(|uid| (uid, line)));
                check.returned.extend(lines.map(|(uid, line)| (uid, line.net(), line.tax())));
            }
            let payments = check.give(&back, at, day, draws);
            given.push((back, payments));
        }
        ticket.refunds_made += 1;
        self.change(ticket, ticket.state());
        let entries: Vec<LedgerEntry> =
            given.iter().map(|(back, payments)| ticket.refund_entry(back, payments.clone(), at, self.shop)).collect();
        let first = entries.first().cloned().ok_or_else(|| refuse("it has no bill"))?;
        if let Some(step) = self.steps.last_mut() {
            step.entries.extend(entries);
        }
        self.ends(Ends::Refund);
        Ok(first)
    }
}

impl Check {
    /// Spreads what comes back over the payments, and says how much each gives.
    fn give(&mut self, back: &Receipt, at: Timestamp, business_date: Date, draws: &mut Draws) -> Vec<EntryPayment> {
        let (mut goods, mut tips) = (back.total() - back.tip_minor, back.tip_minor);
        let mut given = Vec::new();
        for payment in &mut self.payments {
            let (known, known_tip) = payment.back.as_ref().map_or((0, 0), |back| (back.minor, back.tip_minor));
            let tip = tips.min(payment.tender.tip_minor - known_tip);
            let minor = goods.min(payment.refundable() - tip);
            if minor + tip > 0 {
                (goods, tips) = (goods - minor, tips - tip);
                let id = payment.tender.id.clone();
                given.push(EntryPayment { id, amount_minor: minor + tip, tip_minor: tip });
                let (minor, tip_minor) = (known + minor, known_tip + tip);
                payment.back = Some(Back { guid: draws.uuid(), minor, tip_minor, at, business_date });
            }
        }
        given
    }
}

impl Ticket {
    /// What the order is worth once it is paid.
    fn state(&self) -> EntryState {
        match self.voided.is_some() || self.deleted.is_some() || self.waste || self.test_mode {
            true => EntryState::Canceled,
            false if self.approval == "FUTURE" => EntryState::Open,
            false => EntryState::Completed,
        }
    }

    pub fn entry(&self, state: EntryState) -> LedgerEntry {
        let state = if self.state() == EntryState::Canceled { EntryState::Canceled } else { state };
        let mut entry = LedgerEntry {
            order_id: self.guid.clone(),
            kind: if state == EntryState::Canceled { EntryKind::Canceled } else { EntryKind::Sale },
            state,
            merchant_id: self.merchant_id.clone(),
            location_id: self.restaurant.clone(),
            currency: self.plan.currency.to_owned(),
            business_date: Some(self.business_date.to_string()),
            created_at: rfc3339(self.opened),
            taken_at: rfc3339(self.paid.unwrap_or(self.opened)),
            closed_at: self.closed.map(rfc3339),
            ..LedgerEntry::default()
        };
        for check in &self.checks {
            let mut receipt = check.receipt.clone();
            // A tip that nobody has typed in yet is not known to anybody.
            let unknown = |payment: &&Payment| !payment.tip_known;
            let missing: i64 = check.payments.iter().filter(unknown).map(|payment| payment.tender.tip_minor).sum();
            receipt.tip_minor -= missing;
            for (tender, payment) in receipt.tenders.iter_mut().zip(&check.payments) {
                if !payment.tip_known {
                    tender.minor -= tender.tip_minor;
                    tender.tip_minor = 0;
                }
            }
            entry.amounts(&receipt);
        }
        entry
    }

    /// One entry for each bill that money was given back for.
    fn refund_entry(&self, back: &Receipt, payments: Vec<EntryPayment>, at: Timestamp, shop: Shop<'_>) -> LedgerEntry {
        let mut entry = LedgerEntry {
            order_id: format!("{}/{}", payments.first().map_or("", |payment| &payment.id), self.refunds_made),
            kind: EntryKind::Refund,
            state: EntryState::Completed,
            source_order_id: Some(self.guid.clone()),
            merchant_id: self.merchant_id.clone(),
            location_id: self.restaurant.clone(),
            currency: self.plan.currency.to_owned(),
            business_date: Some(shop.business_date(at).to_string()),
            created_at: rfc3339(at),
            taken_at: rfc3339(at),
            closed_at: Some(rfc3339(at)),
            ..LedgerEntry::default()
        };
        entry.amounts(back);
        entry.payments = payments;
        entry
    }
}
