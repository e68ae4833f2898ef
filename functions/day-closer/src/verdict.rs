//! Two lists of a day are compared, transaction by transaction. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use shared::domain::{Code, DayState, Transaction, TransactionId, TransactionStatus};
use shared::store::transactions::{Agreement, Stored};

/// What differs. What stands here is looked up once more, each for itself, before it counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// They have it, and we do not.
    pub missing: Vec<TransactionId>,
    /// Both have it, and theirs is newer.
    pub outdated: Vec<TransactionId>,
    /// We have it, and they do not.
    pub surplus: Vec<TransactionId>,
    /// Both have it, and ours is newer: they answer from a replica that lags.
    pub ahead: u64,
    /// We have it and they have it, but their list does not show it.
    pub unlisted: u64,
    /// Transactions of both together.
    pub compared: u64,
}

fn counts(transaction: &Transaction) -> bool {
    transaction.status == TransactionStatus::Completed
}

/// Compares what counts: what neither calls completed is no turnover, and no difference.
pub fn compare(ours: &[Stored], theirs: &BTreeMap<TransactionId, Transaction>) -> Difference {
    let mut difference = Difference::default();
    let known: BTreeMap<TransactionId, &Stored> = ours.iter().map(|stored| (stored.transaction.id, stored)).collect();
    for (id, copy) in theirs {
        let stored = known.get(id);
        if !counts(copy) && stored.is_none_or(|stored| !counts(&stored.transaction)) {
            continue;
        }
        difference.compared += 1;
        match stored.map(|stored| stored.agrees_with(copy)) {
            None => difference.missing.push(*id),
            Some(Agreement::Same) => {}
            Some(Agreement::Outdated) => difference.outdated.push(*id),
            Some(Agreement::Ahead) => difference.ahead += 1,
        }
    }
    for stored in ours.iter().filter(|stored| counts(&stored.transaction)) {
        if !theirs.contains_key(&stored.transaction.id) {
            difference.compared += 1;
            difference.surplus.push(stored.transaction.id);
        }
    }
    difference
}

/// What follows. `proven` only if nothing speaks against it.
pub fn state(difference: &Difference, (is_final, is_capped): (bool, bool), look_again: Timestamp) -> DayState {
    let Difference { missing, outdated, surplus, ahead, unlisted, .. } = difference;
    if !missing.is_empty() || !outdated.is_empty() {
        let mut missing: Vec<TransactionId> = missing.iter().chain(outdated).copied().collect();
        missing.sort_unstable();
        return DayState::Short { missing };
    }
    // What is cut says nothing about what it does not show.
    if is_capped || *unlisted > 0 {
        return DayState::NotProvable { reason: Code::ListingCapped.into() };
    }
    if !surplus.is_empty() {
        let mut surplus = surplus.clone();
        surplus.sort_unstable();
        return DayState::Over { surplus };
    }
    if !is_final || *ahead > 0 {
        return DayState::Pending { until: look_again };
    }
    DayState::Proven
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u8]) -> Vec<TransactionId> {
        let id = |number: &u8| format!("01938d5e-0000-8000-8000-0000000000{number:02}").parse().unwrap();
        numbers.iter().map(id).collect()
    }

    #[test]
    fn a_day_is_proven_only_if_nothing_speaks_against_it() {
        let none = Difference::default();
        let at: Timestamp = "2026-02-15T05:00:00Z".parse().unwrap();
        let missing = Difference { missing: ids(&[3, 1]), outdated: ids(&[2]), surplus: ids(&[4]), ..none.clone() };
        let capped = || DayState::NotProvable { reason: Code::ListingCapped.into() };
        for (difference, is_final, is_capped, expected) in [
            (none.clone(), true, false, DayState::Proven),
            (none.clone(), false, false, DayState::Pending { until: at }),
            (none.clone(), true, true, capped()),
            (none.clone(), false, true, capped()),
            (Difference { ahead: 1, ..none.clone() }, true, false, DayState::Pending { until: at }),
            (Difference { unlisted: 1, ..none.clone() }, true, false, capped()),
            (Difference { unlisted: 1, surplus: ids(&[4]), ..none.clone() }, true, false, capped()),
            (
                Difference { surplus: ids(&[5, 4]), ..none.clone() },
                true,
                false,
                DayState::Over { surplus: ids(&[4, 5]) },
            ),
            (missing, false, true, DayState::Short { missing: ids(&[1, 2, 3]) }),
        ] {
            assert_eq!(
                state(&difference, (is_final, is_capped), at),
                expected,
                "{difference:?} {is_final} {is_capped}"
            );
        }
    }
}
