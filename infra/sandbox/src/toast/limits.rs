//! How often a client may call, in fixed windows of real time.
//!
//! Real, because the calls are: a day that passes in a minute does not make a
//! client faster.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Toast;
use super::answers::ApiError;

/// What a limit is called, how many calls fit, and into how many seconds.
type Limit = (&'static str, u32, i64);

const EACH_SECOND: Limit = ("GLOBAL", 20, 1);
const EACH_QUARTER: Limit = ("GLOBAL", 10_000, 900);
const BULK: Limit = ("ENDPOINT", 5, 1);
const MENUS: Limit = ("ENDPOINT", 1, 1);

/// Calls in the window that began at this second.
#[derive(Debug, Default)]
pub struct Limits(BTreeMap<(String, Limit), (i64, u32)>);

/// What is left of the tightest window.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    pub by: &'static str,
    pub calls: u32,
    pub free: Timestamp,
}

impl Limits {
    fn count(&mut self, who: &str, limit: Limit, now: Timestamp) -> Result<Left, Left> {
        let (by, most, seconds) = limit;
        let window = now.as_second().div_euclid(seconds) * seconds;
        let (began, used) = self.0.entry((who.to_owned(), limit)).or_default();
        if *began != window {
            (*began, *used) = (window, 0);
        }
        let free = Timestamp::from_second(window + seconds).unwrap_or(now);
        if *used >= most {
            return Err(Left { by, calls: 0, free });
        }
        *used += 1;
        Ok(Left { by, calls: most - *used, free })
    }
}

impl Toast {
    /// Counts a call for its client and restaurant, or says by when to come again.
    pub(super) fn count_call(&self, group: &str, restaurant: &str, path: &str) -> Result<Option<Left>, ApiError> {
        if self.door.faults.get().no_rate_limits {
            return Ok(None);
        }
        let endpoint = match path {
            "/orders/v2/ordersBulk" => Some(BULK),
            "/menus/v2/menus" => Some(MENUS),
            _ => None,
        };
        let now = Timestamp::now();
        let who = format!("{group}/{restaurant}");
        let mut world = self.world();
        let mut tightest = None;
        for limit in [EACH_QUARTER, EACH_SECOND].into_iter().chain(endpoint) {
            let left = world.own.limits.count(&who, limit, now);
            tightest = Some(left.map_err(|left| ApiError::too_many(left.by, now, left.free + SignedDuration::ZERO))?);
        }
        Ok(tightest)
    }
}
