//! The rooms of `shared` from outside: pure ones on fixtures, the others on the local stack.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]

mod accounts;
mod archive;
mod catalogue;
mod conformance;
mod counters;
mod days;
mod errors;
mod imports;
mod orders;
mod pace;
mod product_mappings;
mod proofs;
mod reads;
mod scenarios;
mod schemas;
mod secrets;
mod square;
mod stack;
mod sync_logs;
mod town;
mod transactions;
mod vault;
mod vendor;
mod webhook_logs;
