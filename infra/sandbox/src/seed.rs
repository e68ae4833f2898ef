//! One number, one day.
//!
//! Everything that looks like chance is drawn from the seed under a name of
//! its own ("sale/12", "event/…"), never from a shared stream: ringing up one
//! more sale, or a delivery that takes longer today, must not change what the
//! other sales look like.

use sha2::{Digest, Sha256};

use crate::people::SECRET;

/// The number a sandbox was started with.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub u64);

impl Seed {
    /// A stream of draws that belongs to one named thing.
    pub fn draws(self, name: &str) -> Draws {
        let digest = Sha256::digest(format!("{}/{name}", self.0));
        let state = digest.first_chunk().map_or(self.0, |bytes| u64::from_be_bytes(*bytes));
        Draws { state }
    }
}

/// SplitMix64: small, and the same on every machine and in every release.
#[derive(Debug)]
pub struct Draws {
    state: u64,
}

const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const MIXED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl Draws {
    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of the range, both ends included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.number() % (high.abs_diff(low) + 1)).cast_signed()
    }

    /// True in so many of a hundred cases.
    pub fn happens(&mut self, percent: u8) -> bool {
        self.number() % 100 < u64::from(percent)
    }

    /// One of the items; the list must not be empty.
    #[expect(clippy::indexing_slicing, reason = "the index is below the length")]
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// A position in a list of this length.
    pub fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % length).unwrap_or(0)
    }

    /// Upper-case letters and digits, as in Square's location ids.
    pub fn capitals(&mut self, length: usize) -> String {
        self.text(LETTERS, length)
    }

    /// Letters of both cases and digits, as in order ids and tokens.
    pub fn letters(&mut self, length: usize) -> String {
        self.text(MIXED, length)
    }

    /// A token, key or password, with the mark of one.
    pub fn secret(&mut self, length: usize) -> String {
        SECRET.to_owned() + &self.letters(length.saturating_sub(SECRET.len()))
    }

    /// A number without zeros, as text.
    pub fn digits(&mut self, length: usize) -> String {
        self.text(b"123456789", length)
    }

    fn text(&mut self, alphabet: &[u8], length: usize) -> String {
        let mut text = String::with_capacity(length);
        while text.len() < length {
            text.push(char::from(*self.pick(alphabet)));
        }
        text
    }

    /// A random-looking UUID.
    pub fn uuid(&mut self) -> String {
        let bits = (u128::from(self.number()) << 64) | u128::from(self.number());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_always_draws_the_same_and_other_names_draw_otherwise() {
        let seed = Seed(7);
        assert_eq!(seed.draws("a").letters(22), seed.draws("a").letters(22));
        assert_ne!(seed.draws("a").letters(22), seed.draws("b").letters(22));
        assert_ne!(seed.draws("a").letters(22), Seed(8).draws("a").letters(22));
    }

    #[test]
    fn both_ends_of_a_range_are_drawn() {
        let mut draws = Seed(1).draws("range");
        let drawn: std::collections::BTreeSet<i64> = (0..200).map(|_| draws.between(-2, 2)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
    }
}
