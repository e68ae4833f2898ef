//! What a release makes of raw orders, compared with what is stored. Pure: how orders become transactions is a parameter,
//! so a test can change one rule and look at what is said of it.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use shared::archive::RawRecord;
use shared::domain::{
    Amounts, AmountsDifference, Booked, Currency, EventId, LineItem, Minor, ProductDifference, ProductId, Quantity,
    RebuiltDay, RebuiltTransaction, ShopDay, SourceVersion, Transaction, TransactionId, TransactionKind,
    TransactionStatus,
};
use shared::providers::RawOrder;
use shared::store::transactions::{Candidate, Rebuilding, Stored, content_id, day_hash, rebuilding};

/// All transactions that change are counted, and so many are named.
const NAMED: usize = 100;

/// How new a copy is: the larger is the newer.
type Age = (SourceVersion, Option<Timestamp>);

/// The newest copy of a transaction that was kept, as a release reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// What it says.
    pub transaction: Transaction,
    /// When we began to read it; never, if it was pushed.
    pub observed_at: Option<Timestamp>,
    /// Whether the transaction is of this day, and has not left it: as the newest copy says that was news of it. A newer
    /// copy of its order may have been news of a neighbour only, of a refund.
    pub is_of_day: bool,
    said: Option<Age>,
}

impl Copy {
    fn age(&self) -> Age {
        (self.transaction.source_version, self.observed_at)
    }
}

/// What raw orders come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// By transaction.
    pub copies: BTreeMap<TransactionId, Copy>,
    /// Copies of orders that could not be taken.
    pub failed: u64,
}

impl Replayed {
    /// Reads raw orders. In whatever order they come and however often, the newest (source version, observed at) of each
    /// transaction counts, as in the table; where two are as new as each other, the content decides.
    ///
    /// `normalize`: the transactions of an order; `None`: it cannot be taken.
    pub fn of(records: &[RawRecord], normalize: impl Fn(&RawOrder) -> Option<Vec<Transaction>>) -> Self {
        let mut replayed = Self::default();
        for record in records {
            let Some(transactions) = normalize(&record.order) else {
                replayed.failed += 1;
                continue;
            };
            for transaction in transactions {
                let is_of_day = record.of.contains(&transaction.id);
                let age = (transaction.source_version, record.observed_at());
                let said = (is_of_day || record.left.contains(&transaction.id)).then_some(age);
                replayed.add(Copy { transaction, observed_at: record.observed_at(), is_of_day, said });
            }
        }
        replayed
    }

    fn add(&mut self, copy: Copy) {
        let Some(known) = self.copies.get_mut(&copy.transaction.id) else {
            self.copies.insert(copy.transaction.id, copy);
            return;
        };
        let (is_of_day, said) = match copy.said.cmp(&known.said) {
            std::cmp::Ordering::Less => (known.is_of_day, known.said),
            std::cmp::Ordering::Equal => (known.is_of_day || copy.is_of_day, known.said),
            std::cmp::Ordering::Greater => (copy.is_of_day, copy.said),
        };
        let is_newer = match copy.age().cmp(&known.age()) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => content_id(&copy.transaction) > content_id(&known.transaction),
            std::cmp::Ordering::Greater => true,
        };
        if is_newer {
            *known = copy;
        }
        (known.is_of_day, known.said) = (is_of_day, said);
    }

    /// A hash over the transactions of the day, as [`day_hash`] makes it of stored ones.
    pub fn day_hash(&self) -> String {
        let of_day = self.copies.iter().filter(|(_, copy)| copy.is_of_day);
        day_hash(&of_day.map(|(id, copy)| (*id, content_id(&copy.transaction))).collect())
    }
}

/// Whether this rebuild has written it already, from this day: one that it has moved to another is done here, not there.
fn is_done(known: &Stored, cause: &EventId, (day, is_of_day): (&ShopDay, bool)) -> bool {
    let Some(place) = known.history.iter().position(|revision| revision.cause == *cause) else { return false };
    match place.checked_sub(1).and_then(|before| known.history.get(before)) {
        Some(before) => ShopDay::of(before.content.as_deref().unwrap_or(&known.transaction)) == *day,
        None => is_of_day,
    }
}

/// A transaction that would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is stored, if it is.
    pub known: Option<Stored>,
    /// What would be.
    pub transaction: Transaction,
    /// When its copy was read.
    pub observed_at: Option<Timestamp>,
}

/// What a rebuild would do to a shop's day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What would be written.
    pub changes: Vec<Change>,
    /// What this rebuild has written already.
    pub done: Vec<Stored>,
    same: u64,
    uncovered: u64,
    now: BTreeMap<TransactionId, String>,
}

impl Plan {
    /// Compares. `stored`: the day's transactions, and those that the copies are of.
    ///
    /// Each transaction is looked at once, on the day that it is stored under, or, if it is not, on the day that its newest
    /// copy was news of.
    pub fn new(day: &ShopDay, stored: Vec<Stored>, replayed: Replayed, cause: &EventId) -> Self {
        let mut plan = Self::default();
        let mut stored: HashMap<TransactionId, Stored> = stored.into_iter().map(|it| (it.transaction.id, it)).collect();
        for (id, Copy { transaction, observed_at, is_of_day, .. }) in replayed.copies {
            let known = stored.remove(&id);
            let done = known.as_ref().filter(|known| is_done(known, cause, (day, is_of_day))).cloned();
            let is_here = known.as_ref().map_or(is_of_day, |known| ShopDay::of(&known.transaction) == *day);
            plan.done.extend(done);
            if !is_here {
                continue;
            }
            let candidate = Candidate { transaction, observed_at, cause };
            let rebuilding = rebuilding(known.as_ref(), &candidate);
            if let Some(known) = &known {
                plan.now.insert(id, known.content_id());
            }
            match (rebuilding, known) {
                (Rebuilding::Same, Some(_)) => plan.same += 1,
                (Rebuilding::Uncovered, _) => plan.uncovered += 1,
                (_, known) => plan.changes.push(Change { known, transaction: candidate.transaction, observed_at }),
            }
        }
        for (id, known) in stored.into_iter().filter(|(_, known)| ShopDay::of(&known.transaction) == *day) {
            plan.now.insert(id, known.content_id());
            plan.uncovered += 1;
        }
        plan
    }

    /// Over what would be written and has been, and what that is written over.
    pub fn hash(&self, cause: &EventId) -> String {
        let wanted = self.changes.iter().map(|change| {
            let over = change.known.as_ref().map_or(0, |known| known.revision);
            (change.transaction.id, over, content_id(&change.transaction))
        });
        let done = self.done.iter().flat_map(|done| {
            let ours = done.history.iter().filter(|revision| revision.cause == *cause);
            ours.map(|revision| (done.transaction.id, revision.revision.saturating_sub(1), revision.hash.clone()))
        });
        let mut lines: Vec<String> =
            wanted.chain(done).map(|(id, over, content)| format!("{id} {over} {content}\n")).collect();
        lines.sort_unstable();
        let hash = lines.iter().fold(Sha256::new(), |hash, line| hash.chain_update(line));
        format!("{:x}", hash.finalize())
    }

    /// What is shown of it.
    pub fn report(&self, day: &ShopDay, cause: &EventId, (orders, failed): (u64, u64)) -> RebuiltDay {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let mut then = self.now.clone();
        let mut difference = Difference::default();
        for change in &self.changes {
            then.insert(change.transaction.id, content_id(&change.transaction));
            if let Some(known) = &change.known {
                difference.add(&known.transaction, false);
            }
            difference.add(&change.transaction, true);
        }
        let created = count(self.changes.iter().filter(|change| change.known.is_none()).count());
        let named = self.changes.iter().take(NAMED).map(|change| RebuiltTransaction {
            id: change.transaction.id,
            now: change.known.as_ref().map(|known| Booked::of(&known.transaction)),
            then: Booked::of(&change.transaction),
        });
        RebuiltDay {
            business_date: day.business_date,
            location_id: day.location_id.clone(),
            previewed_at: Timestamp::now(),
            normalizer: env!("CARGO_PKG_VERSION").to_owned(),
            orders,
            failed,
            created,
            changed: count(self.changes.len()) - created,
            same: self.same,
            uncovered: self.uncovered,
            hash_now: day_hash(&self.now),
            hash_then: day_hash(&then),
            plan_hash: self.hash(cause),
            transactions: named.collect(),
            products: difference.products(),
            amounts: difference.amounts(),
            outcome: None,
        }
    }
}

/// An item, its name where it is none of the catalogue's, what it counts as, and in which currency.
type ProductKey = (Option<String>, String, Option<ProductId>, &'static str);

/// What counts as turnover then, less what does now.
#[derive(Default)]
struct Difference {
    products: BTreeMap<ProductKey, ProductDifference>,
    amounts: BTreeMap<&'static str, (Currency, Amounts)>,
}

impl Difference {
    /// Refunds are taken off. A shop's day is far from the largest sum, at which it stops.
    fn add(&mut self, transaction: &Transaction, is_then: bool) {
        if transaction.status != TransactionStatus::Completed {
            return;
        }
        let is_plus = is_then == (transaction.kind == TransactionKind::Sale);
        let currency = transaction.currency;
        let (_, sum) = self.amounts.entry(currency.code()).or_insert((currency, Amounts::default()));
        let added = if is_plus { sum.checked_add(transaction.amounts) } else { sum.checked_sub(transaction.amounts) };
        *sum = added.unwrap_or(*sum);
        for line in &transaction.line_items {
            self.add_line(line, currency, is_plus);
        }
    }

    fn add_line(&mut self, line: &LineItem, currency: Currency, is_plus: bool) {
        let name = if line.item_id.is_some() { String::new() } else { line.name.clone() };
        let key = (line.item_id.clone(), name, line.product_id.clone(), currency.code());
        let product = self.products.entry(key).or_insert_with(|| ProductDifference {
            item_id: line.item_id.clone(),
            name: line.name.clone(),
            product_id: line.product_id.clone(),
            quantity: Quantity::ZERO,
            total: Minor::ZERO,
            currency,
        });
        product.quantity = product.quantity + if is_plus { line.quantity } else { -line.quantity };
        let total = if is_plus { product.total.checked_add(line.total) } else { product.total.checked_sub(line.total) };
        product.total = total.unwrap_or(product.total);
    }

    fn products(&self) -> Vec<ProductDifference> {
        let is_any = |it: &&ProductDifference| it.quantity != Quantity::ZERO || it.total != Minor::ZERO;
        self.products.values().filter(is_any).cloned().collect()
    }

    fn amounts(&self) -> Vec<AmountsDifference> {
        let some = self.amounts.values().filter(|(_, amounts)| *amounts != Amounts::default());
        some.map(|(currency, amounts)| AmountsDifference { currency: *currency, amounts: *amounts }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;
    use serde_json::json;
    use shared::domain::{Configuration, ExternalOrderId};
    use shared::providers::{ProviderHosts, Providers};

    /// A copy of one of a few orders: version, whether its guest has left a tip, and when it was read, if it was.
    fn record((order, version, tip, read): (u8, u8, u8, Option<u8>)) -> RawRecord {
        let money = |cents: u64| json!({ "amount": cents, "currency": "USD" });
        let body = json!({
            "id": format!("ORDER-{order}"), "location_id": "SHOP1", "version": version, "state": "COMPLETED",
            "created_at": "2026-02-14T12:00:00Z", "updated_at": "2026-02-14T12:00:00Z",
            "closed_at": "2026-02-14T12:00:00Z",
            "total_money": money(300 + u64::from(tip)), "total_tip_money": money(tip.into()),
        });
        let observed_at = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(read.unwrap_or_default().into());
        let body = serde_json::to_vec(&body).unwrap();
        let order = RawOrder { body, location: None, paid_offline_at: None, observed_at };
        let of = normalize(&order).unwrap().iter().map(|it| it.id).collect();
        RawRecord { order, is_pushed: read.is_none(), of, left: Vec::new() }
    }

    fn normalize(order: &RawOrder) -> Option<Vec<Transaction>> {
        let configuration: Configuration = serde_json::from_value(json!({
            "id": "01938d5e-0000-7000-8000-000000000001", "provider": "square", "environment": "sandbox",
            "name": "Bakery", "merchant": null, "status": "active", "credentials_expire_at": null, "version": 1,
            "locations": [{ "id": "SHOP1", "name": "One", "time_zone": "America/New_York", "currency": "USD", "day_start": "04:00" }],
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        }))
        .unwrap();
        let providers = Providers::new(ProviderHosts::default());
        providers.get(configuration.provider).normalize_order(order, &configuration).ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_order_of_copies_and_their_repeats_make_no_difference(
            copies in prop::collection::vec((0..4_u8, 1..4_u8, 0..3_u8, prop::option::of(0..3_u8)), 1..10),
            order in any::<prop::sample::Index>(),
        ) {
            let records: Vec<RawRecord> = copies.iter().map(|copy| record(*copy)).collect();
            let once = Replayed::of(&records, normalize);
            let mut shuffled = [records.clone(), records].concat();
            shuffled.rotate_left(order.index(copies.len()));
            shuffled.reverse();
            let again = Replayed::of(&shuffled, normalize);
            prop_assert_eq!(once.day_hash(), again.day_hash());
            prop_assert_eq!(&once, &again);
            // The naive way: of each order the newest copy, and of equals the larger content.
            for copy in once.copies.values() {
                let of_order = copies.iter().filter(|(order, ..)| {
                    ExternalOrderId::new(format!("ORDER-{order}")).unwrap() == copy.transaction.external_order_id
                });
                let newest = of_order.map(|(_, version, _, read)| (*version, *read)).max().unwrap();
                prop_assert_eq!(copy.transaction.source_version, SourceVersion(newest.0.into()));
                prop_assert_eq!(copy.observed_at.is_none(), newest.1.is_none());
            }
        }
    }

    #[test]
    fn a_sale_stays_of_its_day_when_a_newer_copy_of_its_order_was_news_of_a_refund_only() {
        let first = record((1, 1, 0, Some(1)));
        let later = RawRecord { of: Vec::new(), ..record((1, 2, 0, Some(2))) };
        let id = first.of[0];
        let replayed = Replayed::of(&[later.clone(), first.clone()], normalize);
        assert!(replayed.copies[&id].is_of_day);
        assert_eq!(replayed.copies[&id].transaction.source_version, SourceVersion(2));
        // It has left for another day; a copy that says so may come first.
        let left = RawRecord { of: Vec::new(), left: vec![id], ..record((1, 3, 0, Some(3))) };
        assert!(!Replayed::of(&[left, later, first], normalize).copies[&id].is_of_day);
    }
}
