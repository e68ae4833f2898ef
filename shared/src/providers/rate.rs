//! How fast a provider lets us ask.

use std::time::Duration;

use super::{lightspeed, square, toast};
use crate::domain::ProviderKind;

/// So many requests in the long run, and so many at once. In any window of time there are at most
/// `burst + window / interval` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// From one request to the next, in the long run.
    pub interval: Duration,
    /// After a pause. Five or more: who syncs has a small burst of its own out of it.
    pub burst: u32,
}

impl Rate {
    /// Another deployment's share of it, or what a simulator takes: 100 leaves it as it is.
    pub fn percent(self, percent: u32) -> Self {
        let percent = percent.max(1);
        let burst = u64::from(self.burst) * u64::from(percent) / 100;
        Self { interval: self.interval * 100 / percent, burst: u32::try_from(burst).unwrap_or(u32::MAX) }
    }
}

/// What we allow ourselves with one credential. Each provider's number stands in its own file, with its reason.
pub fn request_rate(kind: ProviderKind) -> Rate {
    match kind {
        ProviderKind::Square => square::REQUEST_RATE,
        ProviderKind::Toast => toast::REQUEST_RATE,
        ProviderKind::Lightspeed => lightspeed::REQUEST_RATE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_may_ask_faster_or_slower() {
        let rate = Rate { interval: Duration::from_millis(200), burst: 15 };
        assert_eq!(rate.percent(100), rate);
        assert_eq!(rate.percent(2000), Rate { interval: Duration::from_millis(10), burst: 300 });
        assert_eq!(rate.percent(50), Rate { interval: Duration::from_millis(400), burst: 7 });
    }

    /// In any second of Toast's clock: 20 calls, and 10,000 in any quarter of an hour.
    #[test]
    fn toasts_documented_limits_are_kept() {
        let Rate { interval, burst } = request_rate(ProviderKind::Toast);
        let most = |window: u64| u128::from(burst) + Duration::from_secs(window).as_nanos() / interval.as_nanos();
        assert!(most(1) <= 20 && most(900) <= 10_000);
    }
}
