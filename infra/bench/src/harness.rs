//! Plays AWS for a function's release build: Lambda's Runtime API and the services it calls, both answering at once, and
//! measures the process in between.
//!
//! What is measured is the part that a build decides. Lambda's sandbox, the download of the code and the network are not in
//! it, so that two builds can be told apart.

pub mod aws;
mod counting;
mod http1;
mod meter;
mod run;
mod runtime_api;

pub use counting::{Counting, total};
pub use run::{Deliveries, Sample, instructions, run};
