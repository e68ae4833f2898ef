//! SQS: goes on with runs.
fn main() {}
