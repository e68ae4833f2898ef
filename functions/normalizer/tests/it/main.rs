//! The real handler with the real tables, queues and key, reading orders from Square's simulator.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]
#![recursion_limit = "256"]

mod batches;
mod bench;
mod crashes;
mod days;
mod jobs;
mod pages;
mod raw;
mod rebuilds;
mod replayed;
mod replays;
mod sync_page;
mod toast;
