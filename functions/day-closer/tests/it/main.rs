//! The real handler with the real tables, queues and key, comparing with the simulated vendor's own lists.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]
#![recursion_limit = "256"]

mod bench;
mod clocks;
mod crashes;
mod credentials;
mod reads;
mod words;
