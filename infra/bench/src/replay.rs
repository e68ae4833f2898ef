//! How fast the raw log becomes transactions again: orders per second on one core, in the bytes that are read for each.
//!
//! Unpacked, read, normalized, the newest copy of each chosen, and hashed as a shop's day is. Not in it: the table's answers
//! and the seal (AES opens in one microsecond what an order is packed to).

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use normalizer::rebuild::Replayed;
use serde_json::Value;
use shared::archive::{RawRecord, packed, unpacked};
use shared::domain::ProviderKind;
use shared::providers::RawOrder;

use crate::normalize::{KINDS, Subject, median};
use crate::orders;

/// Of a busy shop's day.
const ORDERS: usize = 1_000;
/// As large as most orders are.
const BYTES: usize = 2_000;
/// What the log is written in: an order that was pushed lies alone, those of a page together.
const TOGETHER: [usize; 2] = [1, 100];

/// Prints the table.
pub fn run(rounds: usize) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "\nreplay      in items of   JSON each   packed each   orders/s")?;
    for kind in KINDS {
        for together in TOGETHER {
            let day = Day::new(kind, together)?;
            let took = (0..rounds).map(|_| day.replay()).collect::<anyhow::Result<Vec<Duration>>>()?;
            let took = median(took.into_iter()).as_secs_f64();
            let each = |bytes: usize| bytes / ORDERS;
            let per_second = f64::from(u32::try_from(ORDERS)?) / took;
            writeln!(
                out,
                "{:<11} {together:>11} {:>11} {:>13} {per_second:>10.0}",
                kind.as_str(),
                each(day.json),
                each(day.items.iter().map(Vec::len).sum())
            )?;
        }
    }
    Ok(())
}

/// What the log has of a shop's day.
struct Day {
    subject: Subject,
    items: Vec<Vec<u8>>,
    json: usize,
}

impl Day {
    fn new(kind: ProviderKind, together: usize) -> anyhow::Result<Self> {
        let subject = Subject::new(kind, orders::order(kind, "modifiers", BYTES)?)?;
        let records = (0..ORDERS).map(|number| record(&subject, number)).collect::<anyhow::Result<Vec<RawRecord>>>()?;
        let json = records.iter().map(|record| record.order.body.len()).sum();
        let items = records.chunks(together).map(|some| packed(kind, some)).collect::<Result<_, _>>()?;
        Ok(Self { subject, items, json })
    }

    fn replay(&self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut records = Vec::with_capacity(ORDERS);
        for item in &self.items {
            records.extend(unpacked(self.subject.kind, black_box(item)).context("it does not unpack")?);
        }
        let replayed = Replayed::of(&records, |order| self.subject.normalized(order).ok());
        black_box(replayed.day_hash());
        let took = start.elapsed();
        ensure!(replayed.failed == 0 && replayed.copies.len() == ORDERS, "{} transactions", replayed.copies.len());
        Ok(took)
    }
}

/// An order of its own: the same sale, under another id.
fn record(subject: &Subject, number: usize) -> anyhow::Result<RawRecord> {
    let mut order: Value = serde_json::from_slice(&subject.raw.body)?;
    // A check of Toast's is a transaction of its own.
    for id in ["/id", "/guid", "/checks/0/guid", "/accountReference", "/accountFiscId"] {
        if let Some(Value::String(id)) = order.pointer_mut(id) {
            id.push_str(&format!("-{number}"));
        }
    }
    let order = RawOrder { body: serde_json::to_vec(&order)?, ..subject.raw.clone() };
    let of = subject.normalized(&order)?.into_iter().map(|transaction| transaction.id).collect();
    Ok(RawRecord { order, is_pushed: false, of, left: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_a_day_comes_back_from_what_it_was_packed_to() {
        for kind in KINDS {
            for together in TOGETHER {
                Day::new(kind, together).unwrap().replay().unwrap();
            }
        }
    }
}
