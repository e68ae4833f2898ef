//! What was given up, with the real queues and tables, and every AWS call in the test's hands.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what is wrong by failing")]

mod bench;
mod dead_rows;
mod redrives;
