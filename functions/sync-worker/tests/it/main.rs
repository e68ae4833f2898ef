//! The real handler with the real tables, queues and key, reading the simulated vendors' pages. What is sent on is worked
//! on by the deployed normalizer.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]
#![recursion_limit = "256"]

mod bench;
mod crashes;
mod leases;
mod pages;
