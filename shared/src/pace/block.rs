//! Permits in hand: leased with one write, used one by one.

use super::plan::LARGEST_BLOCK;
use crate::store::budget::Micros;

/// The permits that one class of this execution environment holds of one budget.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Of the next permit; after it, it is lost.
    slot: Micros,
    interval: Micros,
    left: u32,
    /// The next request not before: a block is no burst.
    not_before: Micros,
    leased: u32,
    used: u32,
}

/// What a block says to who wants a permit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spending {
    /// Here it is.
    Spent,
    /// After so long.
    NotBefore(Micros),
    /// None is left: lease so many.
    Lease(u32),
}

impl Block {
    pub(super) fn spend(&mut self, now: Micros) -> Spending {
        // What was frozen with its execution environment, or left over, has missed its slot.
        while self.left > 0 && self.slot < now {
            self.slot += self.interval;
            self.left -= 1;
        }
        if now < self.not_before {
            return Spending::NotBefore(self.not_before - now);
        }
        if self.left == 0 {
            return Spending::Lease(self.next_size());
        }
        self.left -= 1;
        self.slot += self.interval;
        self.used += 1;
        self.not_before = now + self.interval;
        Spending::Spent
    }

    /// Takes in what was leased, and uses the first of it.
    pub(super) fn refill(&mut self, slot: Micros, permits: u32, interval: Micros, now: Micros) {
        *self = Self {
            slot: slot + interval,
            interval,
            left: permits.saturating_sub(1),
            not_before: now + interval,
            leased: permits,
            used: 1,
        };
    }

    /// Gives up what is left.
    pub(super) fn drop_permits(&mut self) {
        self.left = 0;
    }

    /// Twice as many as last time if all were used, else as many as were: who reads slowly must not take from the others
    /// what it then loses.
    fn next_size(&self) -> u32 {
        let next = if self.used == self.leased { self.used * 2 } else { self.used };
        next.clamp(1, LARGEST_BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leased(permits: u32) -> Block {
        let mut block = Block::default();
        block.refill(1000, permits, 100, 1000);
        block
    }

    #[test]
    fn a_block_is_used_one_by_one_and_grows_when_all_of_it_was() {
        let mut block = leased(3);
        assert_eq!(block.spend(1040), Spending::NotBefore(60));
        assert_eq!(block.spend(1100), Spending::Spent);
        assert_eq!(block.spend(1200), Spending::Spent);
        assert_eq!(block.spend(1300), Spending::Lease(6));
        assert_eq!(Block::default().spend(1), Spending::Lease(1));
    }

    #[test]
    fn a_permit_that_missed_its_slot_is_lost_and_the_next_block_is_smaller() {
        let mut block = leased(4);
        assert_eq!(block.spend(1300), Spending::Spent, "the last of four");
        assert_eq!(block.spend(1400), Spending::Lease(2));
        let mut frozen = leased(10);
        assert_eq!(frozen.spend(60_000_000), Spending::Lease(1));
    }
}
