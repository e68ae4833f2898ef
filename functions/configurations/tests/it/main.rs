//! Runs asked for in this process, on the local stack: no worker is called, so that each run stays where it is put.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]

mod desk;
mod sync;
