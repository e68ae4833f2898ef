//! Upkeep in this process, on the local stack, with every AWS call in the test's hands.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]

mod bench;
mod refresh;
mod removal;
mod reseal;
