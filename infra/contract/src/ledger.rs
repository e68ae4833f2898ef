//! The books of the reference consumer: pure, without a clock and without a queue.
//!
//! Each event carries the whole state under a revision. So nothing is added up while events come: the highest revision
//! of each transaction and of each day is kept, and sums are made from those. A repeat, an overtaken revision and a
//! whole day that is delivered once more then need no rule of their own.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{DayData, Envelope, ErasedData, Event, Transaction, TransactionData};
use crate::reply::{Reply, Word};

/// What one figure is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TotalKey {
    /// Whose sales.
    pub tenant: String,
    /// Which provider's till.
    pub provider: String,
    /// ISO 4217 code.
    pub currency: String,
    /// `sale` or `refund`; both have positive amounts.
    pub kind: String,
    /// The shop's accounting day.
    pub business_date: String,
}

/// How many, and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Completed transactions.
    pub count: u64,
    /// Sum of their totals in minor units.
    pub total_minor: i64,
}

/// What an event did to the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is the newest state of a transaction or a day now.
    Booked,
    /// It is what was known already.
    Repeated,
    /// A newer revision was known already.
    Overtaken,
    /// We cannot book it, and have said so.
    Refused,
    /// A configuration and all it brought has gone.
    Erased,
    /// It is of a configuration that has gone.
    TooLate,
    /// It is of a type that we do not need.
    Ignored,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// In the books.
    pub effect: Effect,
    /// What is said about it. Only transactions wait for an answer.
    pub reply: Option<Reply>,
}

/// Tenant and configuration.
type Connection = (String, String);

/// The books.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    refused_locations: BTreeSet<String>,
    /// By tenant and transaction: an id of another tenant's would be another transaction.
    transactions: BTreeMap<(String, String), TransactionData>,
    /// By connection, shop and day.
    days: BTreeMap<(Connection, String, String), DayData>,
    /// Kept for good: an event may come days after the word that there will be none.
    erased: BTreeSet<Connection>,
}

impl Ledger {
    /// Empty books that take nothing of these shops.
    #[must_use]
    pub fn refusing(locations: impl IntoIterator<Item = String>) -> Self {
        Self { refused_locations: locations.into_iter().collect(), ..Self::default() }
    }

    /// Takes an event, however often and in whatever order it comes.
    pub fn take(&mut self, event: Event) -> Taken {
        match event {
            Event::Transaction(event) => self.transaction(event),
            Event::Day(event) => Taken { effect: self.day(event), reply: None },
            Event::Erased(event) => Taken { effect: self.erase(event), reply: None },
            Event::Other(_) => Taken { effect: Effect::Ignored, reply: None },
        }
    }

    fn transaction(&mut self, Envelope { tenant, data }: Envelope<TransactionData>) -> Taken {
        let Transaction { id, configuration_id, location_id, .. } = &data.transaction;
        if self.erased.contains(&(tenant.clone(), configuration_id.clone())) {
            // Nobody is left who would take the answer.
            return Taken { effect: Effect::TooLate, reply: None };
        }
        let say = |word: Word| {
            Some(Reply {
                tenant: tenant.clone(),
                configuration_id: configuration_id.clone(),
                transaction_id: id.clone(),
                revision: data.revision,
                word,
            })
        };
        if self.refused_locations.contains(location_id) {
            let reason = format!("no shop of ours is called {location_id}");
            let reply = say(Word::Rejected { code: "unknown_location".to_owned(), reason });
            return Taken { effect: Effect::Refused, reply };
        }
        // An overtaken revision and a repeat are answered like any other: who sends again has not heard us.
        // Derived from the transaction's id, the record's is the same for each revision, and needs no memory.
        let reply = say(Word::Accepted { sales_record_id: format!("sales-{id}") });
        let key = (tenant, id.clone());
        let effect = effect(data.revision, self.transactions.get(&key).map(|known| known.revision));
        if effect == Effect::Booked {
            self.transactions.insert(key, data);
        }
        Taken { effect, reply }
    }

    fn day(&mut self, Envelope { tenant, data }: Envelope<DayData>) -> Effect {
        let connection = (tenant, data.configuration_id.clone());
        if self.erased.contains(&connection) {
            return Effect::TooLate;
        }
        let key = (connection, data.location_id.clone(), data.business_date.clone());
        let effect = effect(data.revision, self.days.get(&key).map(|known| known.revision));
        if effect == Effect::Booked {
            self.days.insert(key, data);
        }
        effect
    }

    fn erase(&mut self, Envelope { tenant, data }: Envelope<ErasedData>) -> Effect {
        let gone = (tenant, data.configuration_id);
        self.transactions.retain(|(tenant, _), known| {
            (tenant.as_str(), known.transaction.configuration_id.as_str()) != (gone.0.as_str(), gone.1.as_str())
        });
        self.days.retain(|(connection, ..), _| *connection != gone);
        self.erased.insert(gone);
        Effect::Erased
    }

    /// What was sold: completed transactions only.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<TotalKey, Total> {
        let mut totals = BTreeMap::<TotalKey, Total>::new();
        for ((tenant, _), TransactionData { transaction, .. }) in &self.transactions {
            if !transaction.counts() {
                continue;
            }
            let key = TotalKey {
                tenant: tenant.clone(),
                provider: transaction.provider.clone(),
                currency: transaction.currency.clone(),
                kind: transaction.kind.as_str().to_owned(),
                business_date: transaction.business_date.clone(),
            };
            let total = totals.entry(key).or_default();
            total.count += 1;
            total.total_minor += transaction.amounts.total_minor;
        }
        totals
    }

    /// The newest word on each shop's day, with the tenant whose it is.
    pub fn days(&self) -> impl Iterator<Item = (&str, &DayData)> {
        self.days.iter().map(|(((tenant, _), ..), day)| (tenant.as_str(), day))
    }
}

fn effect(revision: u64, known: Option<u64>) -> Effect {
    match known {
        Some(known) if known == revision => Effect::Repeated,
        Some(known) if known > revision => Effect::Overtaken,
        Some(_) | None => Effect::Booked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letters::{Figures, Scene, Spec};

    fn scene() -> Scene {
        Scene::new("t", "SHOP1", "2026-11-22")
    }

    fn taken(ledger: &mut Ledger, body: &str) -> Taken {
        ledger.take(Event::read(body).unwrap())
    }

    fn sums(ledger: &Ledger) -> Vec<(String, u64, i64)> {
        ledger.totals().into_iter().map(|(key, total)| (key.kind, total.count, total.total_minor)).collect()
    }

    #[test]
    fn the_highest_revision_counts_in_any_order_and_however_often() {
        let (scene, sale) = (scene(), Spec::sale(100));
        let revisions =
            [1, 2, 3].map(|revision| scene.event(&sale.revised(revision, 100 * i64::try_from(revision).unwrap())).body);
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]] {
            let mut ledger = Ledger::default();
            for index in order.into_iter().chain(order) {
                let taken = taken(&mut ledger, &revisions[index]);
                let Word::Accepted { sales_record_id } = taken.reply.unwrap().word else { panic!("refused") };
                assert_eq!(sales_record_id, format!("sales-{}", sale.id));
            }
            assert_eq!(sums(&ledger), [("sale".to_owned(), 1, 300)], "{order:?}");
        }
    }

    #[test]
    fn effects_tell_repeats_from_what_was_overtaken() {
        let (scene, sale, mut ledger) = (scene(), Spec::sale(100), Ledger::default());
        let effects = [2, 1, 2, 3].map(|revision| {
            let body = scene.event(&sale.revised(revision, 100)).body;
            taken(&mut ledger, &body).effect
        });
        assert_eq!(effects, [Effect::Booked, Effect::Overtaken, Effect::Repeated, Effect::Booked]);
    }

    #[test]
    fn only_what_is_completed_counts_and_refunds_stand_apart() {
        let (scene, mut ledger) = (scene(), Ledger::default());
        let (sale, refund) = (Spec::sale(500), Spec::sale(200).refund());
        let specs =
            [Spec::sale(1).status("open"), Spec::sale(2), sale.clone(), refund, sale.revised(2, 500).status("voided")];
        for spec in specs {
            taken(&mut ledger, &scene.event(&spec).body);
        }
        assert_eq!(sums(&ledger), [("refund".to_owned(), 1, 200), ("sale".to_owned(), 1, 2)]);
    }

    #[test]
    fn a_shop_that_is_refused_is_not_booked_and_told_why() {
        let mut ledger = Ledger::refusing(["SHOP1".to_owned()]);
        let taken = taken(&mut ledger, &scene().event(&Spec::sale(1)).body);
        assert_eq!(taken.effect, Effect::Refused);
        assert!(matches!(taken.reply.unwrap().word, Word::Rejected { code, .. } if code == "unknown_location"));
        assert!(ledger.totals().is_empty());
    }

    #[test]
    fn a_day_is_what_was_said_last_of_it_by_revision() {
        let (scene, mut ledger) = (scene(), Ledger::default());
        for revision in [1, 3, 2] {
            let figures = Figures { revision, sale_count: revision, sales: 100, refund_count: 0, refunds: 0 };
            taken(&mut ledger, &scene.day(&figures).body);
        }
        let days: Vec<_> = ledger.days().map(|(tenant, day)| (tenant, day.sale_count)).collect();
        assert_eq!(days, [("t", 3)]);
    }

    #[test]
    fn what_is_erased_stays_erased_and_nobody_else_suffers() {
        let (gone, stays, mut ledger) = (scene(), scene(), Ledger::default());
        // The same configuration of another tenant's is another one.
        let namesake = Scene { tenant: "other".to_owned(), ..gone.clone() };
        for scene in [&gone, &stays, &namesake] {
            taken(&mut ledger, &scene.event(&Spec::sale(100)).body);
            let figures = Figures { revision: 1, sale_count: 1, sales: 100, refund_count: 0, refunds: 0 };
            taken(&mut ledger, &scene.day(&figures).body);
        }
        assert_eq!(taken(&mut ledger, &gone.erased().body).effect, Effect::Erased);
        let late = taken(&mut ledger, &gone.event(&Spec::sale(7)).body);
        assert_eq!((late.effect, late.reply), (Effect::TooLate, None));
        let figures = Figures { revision: 2, sale_count: 9, sales: 900, refund_count: 0, refunds: 0 };
        assert_eq!(taken(&mut ledger, &gone.day(&figures).body).effect, Effect::TooLate);
        assert_eq!(ledger.totals().values().map(|total| total.count).sum::<u64>(), 2);
        assert_eq!(ledger.days().count(), 2);
    }
}
