//! Goes on with runs.
pub mod plan;
