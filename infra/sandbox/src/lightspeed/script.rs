//! What happens at Lightspeed around one bill, step by step.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::account::Account;
use super::notifications::Event;
use super::{Lightspeed, Own, Step, World};
use crate::clock::{Moment, Pace, later, rfc3339};
use crate::customer::{Fate, Turn, Wish};
use crate::ledger::{EntryKind, EntryState, LedgerEntry};
use crate::receipt::{Means, Receipt, Tender};
use crate::seed::Draws;
use crate::shelf::{By, Draft, Object};
use crate::shops::{Shop, Vendor};
use crate::stage::{Ends, House, Place, Plan};
use crate::till::bill_of;
use crate::{RefundKind, Refused, RungUp};

/// A till that was offline sends what it has with the times it had; longer ago
/// than this nobody would look for it.
const OFFLINE: SignedDuration = SignedDuration::from_hours(-2);

/// What a refund needs to know of a sale.
#[derive(Debug, Clone)]
pub struct Bill {
    account: Account,
    /// What has gone back, tips included.
    given_back: i64,
    refunds_made: usize,
    returned_lines: usize,
    last: String,
    settled: Moment,
}

/// A bill's way through the day.
struct Course<'a> {
    lightspeed: &'a Lightspeed,
    shop: Shop<'a>,
    pace: Pace,
    now: Duration,
    steps: Vec<Step>,
}

impl Lightspeed {
    fn next_number(&self, world: &mut World, location: &str) -> u32 {
        let number = world.own.numbers.entry(location.to_owned()).or_default();
        *number += 1;
        *number
    }

    fn account(&self, world: &mut World, shop: Shop<'_>, receipt: Receipt, opened: Timestamp) -> Account {
        let location = shop.location.id.clone();
        let mut account = Account {
            device: self.draws(&format!("device/{location}")).digits(5),
            number: self.next_number(world, &location),
            location,
            plan: shop.plan,
            kind: "SALE",
            initial: String::new(),
            previous: None,
            opened,
            closed: opened,
            cancelled: false,
            sign: 1,
            receipt,
        };
        account.initial = account.fiscal_id();
        account
    }

    /// Another account of the same chain.
    fn next_account(&self, world: &mut World, of: &Account, kind: &'static str, sign: i64) -> Account {
        let previous = Some(of.fiscal_id());
        Account { number: self.next_number(world, &of.location), kind, sign, previous, ..of.clone() }
    }
}

impl House for Lightspeed {
    type Own = Own;
    type Event = Event;

    fn plan(&self, world: &mut World, at: Place<'_>, wish: &Wish, draws: &mut Draws) -> Plan<Self> {
        let Place { shop, pace, opens } = at;
        let receipt = wish.ring_up(Vendor::Lightspeed, &shop.merchant.id, shop.plan, self.seed, draws);
        let first_of_shop = !world.own.numbers.contains_key(&shop.location.id);
        let mut course = Course { lightspeed: self, shop, pace, now: opens, steps: Vec::new() };
        if first_of_shop {
            course.put_float_in(world);
        }
        let opened = pace.at(opens);
        let mut account = self.account(world, shop, receipt, opened.stamp);
        course.tell("OPEN", &account, opened);
        course.now += Duration::from_millis(draws.between(20_000, 90_000).unsigned_abs());
        course.tell("UPDATE", &account, pace.at(course.now));
        course.now += Duration::from_millis(draws.between(3_000, 20_000).unsigned_abs());
        course.before_paying(world, &mut account, wish.turn);
        account.closed = course.close_time(wish);
        let mut refund_order_id = None;
        let canceled = wish.fate == Fate::Canceled;
        if canceled && draws.happens(50) {
            course.drop_bill(&mut account);
        } else if wish.turn == Turn::Split && account.receipt.lines.len() > 1 {
            course.split(world, &mut account, draws);
        } else {
            course.close(&account, Some(Ends::Sale));
            if canceled {
                course.counter(world, &account, "VOID");
            } else if wish.turn == Turn::Recalled {
                // What the back office changes is dated when it changes it.
                let tomorrow = wish.late && !pace.is_squeezed();
                course.now += Duration::from_secs(if tomorrow { 20 * 3_600 } else { 0 });
                course.recall(world, &mut account);
            } else if let Fate::Refunded(kind) = wish.fate {
                let wait = if wish.refund_later && !pace.is_squeezed() { 30 * 3_600 } else { draws.between(60, 600) };
                course.now += Duration::from_secs(wait.unsigned_abs());
                let mut bill = course.bill(&account);
                // A fresh sale has everything left to refund.
                let given = course.give_back(world, &mut bill, kind, draws);
                refund_order_id = given.ok().map(|entry| entry.order_id);
                world.own.bills.insert(account.place(), bill);
            }
        }
        let entry = course.entry(&account);
        let settled = pace.at(course.now);
        let bill = Bill { settled, ..course.bill(&account) };
        if !canceled {
            world.own.bills.entry(account.place()).or_insert(bill).settled = settled;
        }
        (course.steps, RungUp { refund_order_id, ..RungUp::of(&entry) })
    }

    fn plan_refund(
        &self,
        world: &mut World,
        order_id: &str,
        kind: RefundKind,
        pace: Pace,
    ) -> Result<Plan<Self>, Refused> {
        let unknown = || Refused(format!("there is no sale {order_id}"));
        let mut bill = world.own.bills.get(order_id).cloned().ok_or_else(unknown)?;
        let shop = self.businesses.shop(&bill.account.location).ok_or_else(unknown)?;
        let pace = pace.not_before(bill.settled);
        let mut course = Course { lightspeed: self, shop, pace, now: Duration::from_secs(1), steps: Vec::new() };
        let mut draws = self.draws(&format!("refund/{order_id}/{}", bill.refunds_made));
        let entry = course.give_back(world, &mut bill, kind, &mut draws)?;
        bill.settled = pace.at(course.now);
        let steps = course.steps;
        world.own.bills.insert(order_id.to_owned(), bill);
        Ok((steps, RungUp::of(&entry)))
    }
}

impl Course<'_> {
    fn step(&mut self, at: Moment) -> &mut Step {
        self.steps.push(Step::new(&self.shop.merchant.id, at));
        let last = self.steps.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "it was pushed in the line above")]
        &mut self.steps[last]
    }

    fn tell(&mut self, kind: &'static str, account: &Account, at: Moment) {
        let event = Event::open(kind, account, at.stamp);
        self.step(at).events.push(event);
    }

    /// Guests pay on the minute in a tie, so that many accounts close at one instant.
    fn close_time(&self, wish: &Wish) -> Timestamp {
        let now = self.pace.at(self.now).stamp;
        let now =
            if wish.offline { later(now, OFFLINE.max(SignedDuration::from_hours(-wish.offline_hours))) } else { now };
        let second = now.as_second();
        if wish.tie { Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(now) } else { now }
    }

    /// The account is on the books from now on.
    fn book(&mut self, account: &Account) -> &mut Step {
        let (at, seed) = (self.pace.at(self.now), self.lightspeed.seed);
        let step = self.step(at);
        let copy = account.clone();
        let object = Object::new("sales", &account.place(), &account.location, Draft::of(move || copy.json(seed)));
        step.objects.push(object.at(By::Closed, account.closed));
        step
    }

    /// Both come for the same account, the one right after the other.
    fn close(&mut self, account: &Account, ends: Option<Ends>) {
        let entry = self.entry(account);
        let events = ["UPDATE", "CLOSE"].map(|kind| Event::closed(kind, account));
        let step = self.book(account);
        step.entries.push(entry);
        step.events.extend(events);
        step.ends = ends;
    }

    fn entry(&self, account: &Account) -> LedgerEntry {
        let mut entry = LedgerEntry {
            order_id: account.place(),
            reference: Some(account.reference(self.lightspeed.seed)),
            kind: if account.sign < 0 { EntryKind::Refund } else { EntryKind::Sale },
            state: EntryState::Completed,
            merchant_id: self.shop.merchant.id.clone(),
            location_id: account.location.clone(),
            currency: account.receipt.currency.to_owned(),
            source_order_id: account.previous.as_ref().map(|_| format!("{}/{}", account.location, account.initial)),
            business_date: Some(self.shop.business_date(account.closed).to_string()),
            created_at: rfc3339(account.opened),
            taken_at: rfc3339(account.closed),
            closed_at: Some(rfc3339(account.closed)),
            ..LedgerEntry::default()
        };
        if account.cancelled {
            (entry.kind, entry.state) = (EntryKind::Canceled, EntryState::Canceled);
        }
        entry.amounts(&account.receipt);
        entry
    }

    fn bill(&self, account: &Account) -> Bill {
        Bill {
            account: account.clone(),
            given_back: 0,
            refunds_made: 0,
            returned_lines: 0,
            last: account.fiscal_id(),
            settled: self.pace.at(self.now),
        }
    }

    /// Change for the day: a payment, and no sale.
    fn put_float_in(&mut self, world: &mut World) {
        let at = self.pace.at(self.now).stamp;
        let cash = Tender {
            id: "float-of-the-day-ZY".to_owned(),
            means: Means::Cash { given_minor: 15_000 },
            minor: 15_000,
            tip_minor: 0,
        };
        let receipt = Receipt { tenders: vec![cash], ..Receipt::nothing(self.shop.plan.currency) };
        let float = Account { kind: "FLOAT", ..self.lightspeed.account(world, self.shop, receipt, at) };
        self.book(&float);
    }

    /// What books an open account out of a table or a day and in again: never turnover.
    fn before_paying(&mut self, world: &mut World, account: &mut Account, turn: Turn) {
        let kind = match turn {
            Turn::Transferred => "TRANSFER",
            Turn::Overnight => "TRANSITORY",
            Turn::None | Turn::Recalled | Turn::Split => return,
        };
        if turn == Turn::Overnight && !self.pace.is_squeezed() {
            let cutoff = self.shop.day_ends(self.shop.business_date(account.opened));
            let ahead = cutoff.duration_since(self.pace.start.stamp);
            self.now = self.now.max(Duration::try_from(ahead).unwrap_or_default());
        }
        let mut out = self.lightspeed.next_account(world, account, kind, -1);
        out.closed = self.pace.at(self.now).stamp;
        // What is still open is paid by a payment that is none.
        let due = out.receipt.total() - out.receipt.tip_minor;
        out.receipt.tip_minor = 0;
        out.receipt.tenders =
            vec![Tender { id: "transitory-account-ZY".to_owned(), means: Means::Card, minor: due, tip_minor: 0 }];
        let told = Event::closed("UPDATE", &out);
        self.book(&out).events.push(told);
        let again = Account { sign: 1, ..self.lightspeed.next_account(world, &out, kind, 1) };
        self.book(&again);
        self.now += Duration::from_secs(60);
        let next = self.lightspeed.next_account(world, account, "SALE", 1);
        *account = Account { previous: Some(again.fiscal_id()), ..next };
    }

    /// Taken back before anybody paid: an empty account is what remains.
    fn drop_bill(&mut self, account: &mut Account) {
        account.kind = "VOID";
        account.cancelled = true;
        account.receipt = Receipt::nothing(self.shop.plan.currency);
        self.close(account, Some(Ends::Sale));
    }

    /// Money and goods go back the way they came.
    fn counter(&mut self, world: &mut World, account: &Account, kind: &'static str) -> Account {
        self.now += Duration::from_secs(240);
        let mut counter = self.lightspeed.next_account(world, account, kind, -1);
        counter.opened = self.pace.at(self.now).stamp;
        counter.closed = counter.opened;
        self.close(&counter, None);
        counter
    }

    fn recall(&mut self, world: &mut World, account: &mut Account) {
        let back = self.counter(world, account, "RECALL");
        let mut again = self.lightspeed.next_account(world, &back, "SALE", 1);
        for tender in &mut again.receipt.tenders {
            tender.means = Means::Cash { given_minor: tender.minor };
        }
        self.now += Duration::from_secs(30);
        again.closed = self.pace.at(self.now).stamp;
        self.close(&again, None);
        // From now on it is this one that can be refunded.
        *account = again;
    }

    fn split(&mut self, world: &mut World, account: &mut Account, draws: &mut Draws) {
        let whole = account.receipt.clone();
        let mut other = self.lightspeed.next_account(world, account, "SPLIT", 1);
        account.kind = "SPLIT";
        account.receipt = bill_of(&whole, |place| place == 0, self.shop.plan, draws);
        other.receipt = bill_of(&whole, |place| place > 0, self.shop.plan, draws);
        self.close(account, Some(Ends::Sale));
        self.now += Duration::from_secs(20);
        other.closed = self.pace.at(self.now).stamp;
        self.close(&other, None);
    }

    fn give_back(
        &mut self,
        world: &mut World,
        bill: &mut Bill,
        kind: RefundKind,
        draws: &mut Draws,
    ) -> Result<LedgerEntry, Refused> {
        let refuse = |why: &str| Err(Refused(format!("account {} cannot be refunded: {why}", bill.account.place())));
        let left = bill.account.receipt.total() - bill.given_back;
        if kind == RefundKind::Full && bill.refunds_made > 0 {
            return refuse("a part of it has been refunded already");
        }
        let mut back = bill.account.receipt.returned(kind, bill.returned_lines, left, draws);
        if back.lines.is_empty() || back.total() > left || back.total() == 0 {
            return refuse("nothing of the kind is left");
        }
        back.tenders = match kind {
            RefundKind::Full => bill.account.receipt.tenders.clone(),
            RefundKind::Line | RefundKind::Amount => {
                vec![Tender { id: draws.letters(29), means: Means::Card, minor: back.total(), tip_minor: 0 }]
            }
        };
        let at = self.pace.at(self.now).stamp;
        let mut account = self.lightspeed.next_account(world, &bill.account, "REFUND", -1);
        account.previous = Some(std::mem::replace(&mut bill.last, account.fiscal_id()));
        (account.opened, account.closed, account.receipt) = (at, at, back);
        bill.given_back += account.receipt.total();
        bill.refunds_made += 1;
        bill.returned_lines += usize::from(kind == RefundKind::Line);
        self.close(&account, Some(Ends::Refund));
        Ok(self.entry(&account))
    }
}
