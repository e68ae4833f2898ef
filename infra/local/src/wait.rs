//! Waiting for other processes, which tell nobody when they are done.

use std::time::{Duration, Instant};

/// How long something took to become true, or `None` if it did not in time.
#[must_use]
pub fn wait_for(within: Duration, is_true: impl Fn() -> bool) -> Option<Duration> {
    let started = Instant::now();
    while started.elapsed() < within {
        if is_true() {
            return Some(started.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}
