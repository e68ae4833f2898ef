//! The real handler with the real tables, queues and key, telling the simulated vendors' tills what there is.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]
#![recursion_limit = "256"]

mod bench;
mod crashes;
mod failures;
mod tills;
mod until;
