//! Giving money back.
//!
//! A refund does not change the sale's order: it makes a second order with
//! `returns`, a refund for each payment the money goes back to, and changes
//! those payments.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::Step;
use super::order::Order;
use super::payment::{Payment, Refund};
use super::script::{Counter, Event, Sale, entry};
use crate::Refused;
use crate::ledger::{EntryKind, EntryState, LedgerEntry};
use crate::receipt::{Means, Receipt, RefundKind, Tender};
use crate::seed::Draws;
use crate::shelf::Draft;
use crate::stage::Ends;

impl Counter<'_> {
    /// Plans a refund that begins at this shop time and answers with the return's order.
    pub fn refund(
        &self,
        sale: &mut Sale,
        kind: RefundKind,
        begins: Duration,
        steps: &mut Vec<Step>,
    ) -> Result<LedgerEntry, Refused> {
        let name = format!("refund/{}/{}", sale.order.id, sale.refunds_made);
        let mut draws = self.seed.draws(&name);
        let mut receipt = sale.give_back(kind, &mut draws)?;
        let (began, done) = (self.pace.at(begins), self.pace.at(begins + Duration::from_millis(2_500)));
        let order = Order {
            id: draws.letters(27) + "YY",
            ticket_name: format!("R{}", sale.refunds_made),
            created_at: began.stamp,
            updated_at: began.stamp,
            closed_at: Some(began.stamp),
            state: "COMPLETED",
            version: 1,
            ..sale.order.clone()
        };
        let mut refunds = Vec::new();
        let mut left = receipt.total();
        for payment in &mut sale.payments {
            let minor = left.min(payment.refundable());
            if minor > 0 {
                left -= minor;
                let id = format!("{}_{}", payment.tender.id, draws.letters(43));
                payment.refunds.push((id.clone(), minor));
                refunds.push(Refund {
                    id,
                    payment_id: payment.tender.id.clone(),
                    order_id: order.id.clone(),
                    location_id: order.location_id.clone(),
                    minor,
                    status: "PENDING",
                    created_at: began.stamp,
                    updated_at: began.stamp,
                    reason: if kind == RefundKind::Amount { "Goodwill" } else { "Stale" },
                });
            }
        }
        receipt.tenders = refunds.iter().map(Refund::as_tender).collect();
        let entry = LedgerEntry {
            kind: EntryKind::Refund,
            source_order_id: Some(sale.order.id.clone()),
            ..entry(self.shop, &order, &receipt, EntryState::Completed, began.stamp)
        };
        let receipt = Arc::new(receipt);
        let mut asked = Step::new(&self.shop.merchant.id, began);
        asked.write_return(&order, &receipt, &sale.order.id, &refunds, "refund.created", 1);
        asked.entries.push(entry.clone());
        steps.push(asked);

        let order = Order { updated_at: done.stamp, version: 2, ..order };
        for refund in &mut refunds {
            refund.status = "COMPLETED";
            refund.updated_at = done.stamp;
        }
        let mut granted = Step::new(&self.shop.merchant.id, done);
        granted.write_return(&order, &receipt, &sale.order.id, &refunds, "refund.updated", 2);
        let paid_back: Vec<String> = refunds.into_iter().map(|refund| refund.payment_id).collect();
        self.touch(sale, &mut granted, "payment.updated", &paid_back);
        granted.ends = Some(Ends::Refund);
        steps.push(granted);
        sale.refunds_made += 1;
        sale.settled = done;
        Ok(entry)
    }
}

impl Sale {
    /// The receipt of what comes back, if that is still possible.
    fn give_back(&mut self, kind: RefundKind, draws: &mut Draws) -> Result<Receipt, Refused> {
        let left: i64 = self.payments.iter().map(Payment::refundable).sum();
        let refuse = |why: &str| Err(Refused(format!("order {} cannot be refunded: {why}", self.order.id)));
        if self.order.state != "COMPLETED" {
            return refuse("it was never completed");
        }
        if kind == RefundKind::Full && self.refunds_made > 0 {
            return refuse("a part of it has been refunded already");
        }
        let receipt = self.receipt.returned(kind, self.returned_lines, left, draws);
        if receipt.lines.is_empty() || receipt.total() > left || receipt.total() == 0 {
            return refuse("nothing of the kind is left");
        }
        match kind {
            RefundKind::Line => self.returned_lines += 1,
            RefundKind::Full | RefundKind::Amount => {}
        }
        Ok(receipt)
    }
}

impl Refund {
    fn as_tender(&self) -> Tender {
        Tender { id: self.id.clone(), means: Means::Card, minor: self.minor, tip_minor: 0 }
    }
}

impl Step {
    fn write_return(
        &mut self,
        order: &Order,
        receipt: &Arc<Receipt>,
        source_order_id: &str,
        refunds: &[Refund],
        event_type: &'static str,
        revision: u32,
    ) {
        for refund in refunds {
            let (copy, currency) = (refund.clone(), receipt.currency);
            let json = Draft::of(move || copy.json(currency));
            self.objects.push(refund.object(json.clone()));
            self.events.push(Event {
                event_type,
                scope: "PAYMENTS_READ",
                object_type: "refund",
                object_id: refund.id.clone(),
                order_id: order.id.clone(),
                revision,
                object: Draft::of(move || json!({"refund": json.write()})),
            });
        }
        let (copy, receipt, refunds) = (order.clone(), Arc::clone(receipt), refunds.to_vec());
        let source = source_order_id.to_owned();
        self.objects.push(order.object(Draft::of(move || copy.giving_back(&receipt, &source, &refunds))));
    }
}
