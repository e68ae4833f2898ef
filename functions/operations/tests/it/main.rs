//! The real handler with the real tables, queues and key, and every AWS call in the test's hands.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what is wrong by failing")]

mod bench;
mod health;
mod metrics;
