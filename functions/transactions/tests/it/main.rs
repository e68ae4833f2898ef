//! The function's own handler as its role, over the tables of the local stack, with every AWS call in the test's hands.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what is wrong by failing")]

mod books;
mod desk;
mod export;
mod lineage;
mod search;
