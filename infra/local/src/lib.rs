//! Everything around the service that a laptop or a test needs and AWS, a till or a neighbour would provide.
//!
//! Integration tests of `shared` and of the functions use this crate, so it must never depend on them: the stack is
//! driven from outside, by its AWS interfaces and by HTTP.

mod processes;
mod stack;

pub use stack::{Stack, StackOptions, StartError};
