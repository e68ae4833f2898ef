//! What happens at Square around one sale, step by step.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::Step;
use super::order::Order;
use super::payment::Payment;
use crate::clock::{Moment, Pace, later, rfc3339};
use crate::customer::{Fate, Wish};
use crate::json::Build;
use crate::ledger::{EntryKind, EntryState, LedgerEntry};
use crate::money::percent_of;
use crate::receipt::{Means, Receipt, Tender};
use crate::seed::{Draws, Seed};
use crate::shelf::Draft;
use crate::shops::Shop;
use crate::stage::Ends;

/// How long before it is fetched a pre-order is paid.
const FETCHED_AFTER: Duration = Duration::from_secs(46 * 3_600);
const TIPPED_AFTER: Duration = Duration::from_secs(3 * 3_600);
const EDITED_AFTER: Duration = Duration::from_secs(20 * 3_600);
const REFUNDED_AFTER: Duration = Duration::from_secs(30 * 3_600);

/// Something a webhook may tell.
#[derive(Debug)]
pub struct Event {
    pub event_type: &'static str,
    pub scope: &'static str,
    pub object_type: &'static str,
    pub object_id: String,
    pub order_id: String,
    /// Which change of the object this is; makes the event id.
    pub revision: u32,
    pub object: Draft,
}

/// A sale in full: planned, and later refunded.
#[derive(Debug)]
pub struct Sale {
    pub order: Order,
    pub receipt: Arc<Receipt>,
    pub payments: Vec<Payment>,
    pub fate: Fate,
    pub returned_lines: usize,
    pub refunds_made: usize,
    taken_at: Timestamp,
    /// Paid when it is ordered, and open until it is fetched.
    preorder: bool,
    /// From here on a refund does not get in the way of a planned step.
    pub settled: Moment,
}

/// The shop a sale is planned for.
#[derive(Debug)]
pub struct Counter<'a> {
    pub seed: Seed,
    pub pace: Pace,
    pub shop: Shop<'a>,
}

impl Counter<'_> {
    /// Plans a sale that opens at this shop time, with the refund its fate may hold.
    pub fn sale(&self, wish: &Wish, receipt: Receipt, opens: Duration, draws: &mut Draws) -> (Vec<Step>, Sale) {
        let opened = self.pace.at(opens);
        let order = Order {
            id: draws.letters(27) + "YY",
            location_id: self.shop.location.id.clone(),
            ticket_name: format!("{}{}", draws.capitals(1), draws.between(1, 99)),
            api: wish.api,
            created_at: opened.stamp,
            updated_at: opened.stamp,
            closed_at: None,
            state: "OPEN",
            version: 1,
        };
        let member = format!("team/{}/{}", self.shop.merchant.id, draws.index(4));
        let team_member_id = self.seed.draws(&member).letters(16);
        let payments = receipt
            .tenders
            .iter()
            .map(|tender| Payment {
                tender: tender.clone(),
                order_id: order.id.clone(),
                location_id: order.location_id.clone(),
                team_member_id: team_member_id.clone(),
                api: wish.api,
                status: "APPROVED",
                created_at: opened.stamp,
                updated_at: opened.stamp,
                captured_at: None,
                offline_at: None,
                fee: None,
                refunds: Vec::new(),
                revision: 0,
            })
            .collect();
        let mut sale = Sale {
            order,
            // A copy has no room to spare; many thousand of them are kept.
            receipt: Arc::new(receipt.clone()),
            payments,
            fate: wish.fate,
            returned_lines: 0,
            refunds_made: 0,
            taken_at: opened.stamp,
            preorder: wish.preorder && wish.api && wish.fate != Fate::Canceled && !self.pace.is_squeezed(),
            settled: opened,
        };
        let on_time = |clock| if wish.late && wish.tie { self.pace.on_the_minute(clock) } else { clock };
        let mut steps = Vec::new();
        let mut clock = opens;
        if wish.offline {
            self.upload(&mut sale, wish.offline_hours, opened, &mut steps);
        } else {
            let tipped = wish.late_tip.then(|| sale.without_tip());
            self.open(&mut sale, opened, &mut steps);
            clock += Duration::from_millis(draws.between(20_000, 90_000).unsigned_abs());
            self.authorize(&mut sale, self.pace.at(clock), &mut steps);
            if let Some((receipt, payments)) = tipped {
                clock += self.late(TIPPED_AFTER);
                self.tip(&mut sale, receipt, payments, self.pace.at(clock), &mut steps);
            }
            clock += Duration::from_millis(draws.between(900, 3_000).unsigned_abs());
            if sale.preorder {
                clock += FETCHED_AFTER;
            }
            clock = on_time(clock);
            self.close(&mut sale, self.pace.at(clock), &mut steps);
        }
        clock = on_time(clock + Duration::from_millis(draws.between(8_000, 12_000).unsigned_abs()));
        self.charge_fees(&mut sale, self.pace.at(clock), &mut steps);
        if wish.edited {
            clock += self.late(EDITED_AFTER);
            self.edit(&mut sale, self.pace.at(clock), &mut steps);
        }
        if let Fate::Refunded(kind) = wish.fate {
            clock += match wish.late {
                true => self.late(REFUNDED_AFTER),
                false => Duration::from_secs(draws.between(60, 600).unsigned_abs()),
            };
            // A fresh sale has everything left to refund.
            let _ = self.refund(&mut sale, kind, clock, &mut steps);
        }
        (steps, sale)
    }

    /// So much later where days pass, and ten minutes later where they do not.
    fn late(&self, hours: Duration) -> Duration {
        if self.pace.is_squeezed() { Duration::from_secs(600) } else { hours }
    }

    /// The guest has written a tip on the slip, and somebody types it in.
    fn tip(&self, sale: &mut Sale, receipt: Arc<Receipt>, tenders: Vec<Tender>, at: Moment, steps: &mut Vec<Step>) {
        sale.receipt = receipt;
        for (payment, tender) in sale.payments.iter_mut().zip(tenders) {
            payment.tender = tender;
        }
        let mut step = Step::new(&self.shop.merchant.id, at);
        sale.order.touch(at.stamp);
        self.touch_payments(sale, &mut step, "payment.updated");
        step.write_order(sale);
        steps.push(step);
    }

    /// The name on the ticket is corrected in the Dashboard; that is told even of what a till has sold.
    fn edit(&self, sale: &mut Sale, at: Moment, steps: &mut Vec<Step>) {
        sale.order.ticket_name += " (corrected)";
        sale.order.touch(at.stamp);
        let mut step = Step::new(&self.shop.merchant.id, at);
        step.write_order(sale);
        step.events.push(order_event(sale, "order.updated"));
        steps.push(step);
        sale.settled = at;
    }

    fn open(&self, sale: &mut Sale, at: Moment, steps: &mut Vec<Step>) {
        let mut step = Step::new(&self.shop.merchant.id, at);
        step.write_order(sale);
        step.entries.push(sale.entry(EntryState::Open, self.shop));
        if sale.order.api {
            step.events.push(order_event(sale, "order.created"));
        }
        steps.push(step);
    }

    /// Cards are authorized and cash is in the drawer while the order is still open.
    fn authorize(&self, sale: &mut Sale, at: Moment, steps: &mut Vec<Step>) {
        let mut step = Step::new(&self.shop.merchant.id, at);
        let canceled = sale.fate == Fate::Canceled;
        for payment in &mut sale.payments {
            payment.created_at = at.stamp;
            payment.status = match payment.tender.means {
                Means::Cash { .. } if !canceled => "COMPLETED",
                Means::Card if sale.preorder => "COMPLETED",
                Means::Cash { .. } | Means::Card => "APPROVED",
            };
        }
        if sale.preorder {
            sale.payments.iter_mut().for_each(|payment| payment.captured_at = Some(at.stamp));
            sale.taken_at = at.stamp;
        }
        self.touch_payments(sale, &mut step, "payment.created");
        if sale.order.api {
            sale.order.touch(at.stamp);
            step.write_order(sale);
            step.events.push(order_event(sale, "order.updated"));
        }
        steps.push(step);
    }

    fn close(&self, sale: &mut Sale, at: Moment, steps: &mut Vec<Step>) {
        let mut step = Step::new(&self.shop.merchant.id, at);
        let (state, status, entry_state) = match sale.fate {
            Fate::Canceled => ("CANCELED", "CANCELED", EntryState::Canceled),
            Fate::Kept | Fate::Refunded(_) => ("COMPLETED", "COMPLETED", EntryState::Completed),
        };
        sale.order.touch(at.stamp);
        sale.order.state = state;
        sale.order.closed_at = Some(at.stamp);
        if !sale.preorder {
            sale.taken_at = at.stamp;
            for payment in &mut sale.payments {
                payment.status = status;
                payment.captured_at = (status == "COMPLETED").then_some(at.stamp);
            }
            self.touch_payments(sale, &mut step, "payment.updated");
        }
        step.write_order(sale);
        step.entries.push(sale.entry(entry_state, self.shop));
        step.ends = Some(Ends::Sale);
        if sale.order.api {
            step.events.push(order_event(sale, "order.updated"));
        }
        steps.push(step);
        sale.settled = at;
    }

    /// A till that was offline for days sends a finished sale with its old creation time.
    fn upload(&self, sale: &mut Sale, hours: i64, at: Moment, steps: &mut Vec<Step>) {
        sale.order.created_at = later(at.stamp, SignedDuration::from_hours(-hours));
        let taken_at = later(sale.order.created_at, SignedDuration::from_secs(40));
        for payment in &mut sale.payments {
            payment.created_at = at.stamp;
            payment.offline_at = Some(taken_at);
            payment.status = "COMPLETED";
        }
        let mut step = Step::new(&self.shop.merchant.id, at);
        self.touch_payments(sale, &mut step, "payment.created");
        steps.push(step);
        self.close(sale, at, steps);
        sale.taken_at = taken_at;
        if let Some(step) = steps.last_mut() {
            step.entries = vec![sale.entry(EntryState::Completed, self.shop)];
        }
    }

    /// Card fees are known some seconds later and change a finished order once more.
    fn charge_fees(&self, sale: &mut Sale, at: Moment, steps: &mut Vec<Step>) {
        let mut step = Step::new(&self.shop.merchant.id, at);
        let mut charged = Vec::new();
        for payment in &mut sale.payments {
            if payment.tender.means == Means::Card && payment.status == "COMPLETED" {
                payment.fee = Some((percent_of(payment.tender.minor, 260) + 10, at.stamp));
                charged.push(payment.tender.id.clone());
            }
        }
        if charged.is_empty() {
            return;
        }
        self.touch(sale, &mut step, "payment.updated", &charged);
        sale.order.touch(at.stamp);
        step.write_order(sale);
        steps.push(step);
        sale.settled = at;
    }

    fn touch_payments(&self, sale: &mut Sale, step: &mut Step, event_type: &'static str) {
        let all: Vec<String> = sale.payments.iter().map(|payment| payment.tender.id.clone()).collect();
        self.touch(sale, step, event_type, &all);
    }

    /// Writes changed payments and tells of them.
    pub(super) fn touch(&self, sale: &mut Sale, step: &mut Step, event_type: &'static str, ids: &[String]) {
        for payment in sale.payments.iter_mut().filter(|payment| ids.contains(&payment.tender.id)) {
            payment.updated_at = step.at.stamp;
            payment.revision += 1;
            let (seed, currency, copy) = (self.seed, sale.receipt.currency, payment.clone());
            let json = Draft::of(move || copy.json(seed, currency));
            step.objects.push(payment.object(json.clone()));
            step.events.push(Event {
                event_type,
                scope: "PAYMENTS_READ",
                object_type: "payment",
                object_id: payment.tender.id.clone(),
                order_id: payment.order_id.clone(),
                revision: payment.revision,
                object: Draft::of(move || json!({"payment": json.write()})),
            });
        }
    }
}

impl Sale {
    /// Takes the tip out until it is known, and answers with what will be known then.
    fn without_tip(&mut self) -> (Arc<Receipt>, Vec<Tender>) {
        let receipt = Arc::clone(&self.receipt);
        let tenders = self.payments.iter().map(|payment| payment.tender.clone()).collect();
        self.receipt = Arc::new(Receipt { tip_minor: 0, ..(*receipt).clone() });
        for Payment { tender, .. } in &mut self.payments {
            tender.minor -= std::mem::take(&mut tender.tip_minor);
        }
        (receipt, tenders)
    }

    pub fn entry(&self, state: EntryState, shop: Shop<'_>) -> LedgerEntry {
        let entry = entry(shop, &self.order, &self.receipt, state, self.taken_at);
        let kind = if state == EntryState::Canceled { EntryKind::Canceled } else { EntryKind::Sale };
        LedgerEntry { kind, ..entry }
    }
}

pub(super) fn entry(
    shop: Shop<'_>,
    order: &Order,
    receipt: &Receipt,
    state: EntryState,
    taken_at: Timestamp,
) -> LedgerEntry {
    let mut entry = LedgerEntry {
        order_id: order.id.clone(),
        state,
        merchant_id: shop.merchant.id.clone(),
        location_id: order.location_id.clone(),
        currency: receipt.currency.to_owned(),
        business_date: Some(shop.business_date(order.closed_at.unwrap_or(order.updated_at)).to_string()),
        created_at: rfc3339(order.created_at),
        taken_at: rfc3339(taken_at),
        closed_at: order.closed_at.map(rfc3339),
        ..LedgerEntry::default()
    };
    entry.amounts(receipt);
    entry
}

impl Order {
    fn touch(&mut self, at: Timestamp) {
        self.updated_at = at;
        self.version += 1;
    }
}

impl Step {
    fn write_order(&mut self, sale: &Sale) {
        let (order, receipt, payments) = (sale.order.clone(), Arc::clone(&sale.receipt), sale.payments.clone());
        self.objects.push(sale.order.object(Draft::of(move || order.sale(&receipt, &payments))));
    }
}

/// Order events are thin: ids, state and version, and the order has to be read.
fn order_event(sale: &Sale, event_type: &'static str) -> Event {
    let order = &sale.order;
    let mut facts = json!({
        "order_id": order.id,
        "location_id": order.location_id,
        "state": order.state,
        "created_at": rfc3339(order.created_at),
    })
    .with_some("version", order.api.then_some(order.version));
    let object_type = if event_type == "order.created" {
        "order_created"
    } else {
        facts = facts.with("updated_at", rfc3339(order.updated_at));
        "order_updated"
    };
    Event {
        event_type,
        scope: "ORDERS_READ",
        object_type,
        object_id: order.id.clone(),
        order_id: order.id.clone(),
        revision: u32::try_from(order.version).unwrap_or(u32::MAX),
        object: Draft::of(move || json!({object_type: facts})),
    }
}
