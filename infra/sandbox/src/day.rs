//! A bakery's day: opening hours, the rush before work, the queue on Saturdays.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};

use crate::clock::Pace;
use crate::customer::Asks;
use crate::seed::Draws;
use crate::shops::Shop;

/// Somebody comes in.
#[derive(Debug, Clone, Copy)]
struct Visit {
    at: Timestamp,
    /// In the last hour, when what is left has to go.
    closing: bool,
}

/// Somebody who comes in, and when; what they want is drawn from their number.
pub struct Customer<'a> {
    pub pace: Pace,
    /// Shop time from the start of the pace.
    pub opens: Duration,
    /// One of these is drawn.
    pub shops: Arc<[Shop<'a>]>,
    pub asks: Asks,
}

/// A morning's customers, in the order in which they come in.
pub fn morning<'a>(draws: &mut Draws, pace: Pace, sales: usize, shops: &Arc<[Shop<'a>]>) -> Vec<Customer<'a>> {
    let arrivals = arrivals(draws, sales).into_iter();
    arrivals.map(|opens| Customer { pace, opens, shops: Arc::clone(shops), asks: Asks::Anything }).collect()
}

/// A day's customers of one shop, each at the pace it is given.
pub fn whole_day<'a>(
    draws: &mut Draws,
    shop: Shop<'a>,
    date: Date,
    usual: usize,
    pace: impl Fn(Timestamp) -> Option<(Pace, Duration)>,
) -> Vec<Customer<'a>> {
    let shops: Arc<[Shop<'a>]> = [shop].into();
    let customer = |visit: Visit| {
        let (pace, opens) = pace(visit.at)?;
        let asks = if visit.closing { Asks::AtClosing } else { Asks::OfADay };
        Some(Customer { pace, opens, shops: Arc::clone(&shops), asks })
    };
    visits(draws, shop, date, usual).into_iter().filter_map(customer).collect()
}

/// Opening and closing in minutes of the day, and customers of a hundred on a usual day.
fn habits(weekday: Weekday) -> (i64, i64, i64) {
    match weekday {
        Weekday::Monday => (390, 840, 70),
        Weekday::Tuesday => (390, 1_080, 90),
        Weekday::Wednesday => (390, 1_080, 95),
        Weekday::Thursday => (390, 1_080, 100),
        Weekday::Friday => (390, 1_080, 120),
        Weekday::Saturday => (420, 960, 160),
        Weekday::Sunday => (450, 750, 110),
    }
}

const BUSIEST: i64 = 4;

/// How busy a minute is, from 1 to [`BUSIEST`].
fn rush(weekday: Weekday, minute: i64) -> i64 {
    match (weekday, minute) {
        (Weekday::Saturday | Weekday::Sunday, 540..=659) => BUSIEST,
        (Weekday::Saturday | Weekday::Sunday, 480..=719) => 2,
        (Weekday::Saturday | Weekday::Sunday, _) => 1,
        (_, 420..=539) => BUSIEST,
        (_, 720..=809) => 3,
        (_, 540..=659) => 2,
        _ => 1,
    }
}

/// A day's customers of one shop, in the order in which they come in.
fn visits(draws: &mut Draws, shop: Shop<'_>, date: Date, usual: usize) -> Vec<Visit> {
    let weekday = date.weekday();
    let (opens, closes, percent) = habits(weekday);
    let usual = i64::try_from(usual).unwrap_or(i64::MAX / 200);
    let expected = usual * (percent + draws.between(-10, 10)) / 100;
    let mut seconds: Vec<i64> = (0..expected)
        .map(|_| {
            loop {
                let second = draws.between(opens * 60, closes * 60 - 1);
                if draws.between(1, BUSIEST) <= rush(weekday, second / 60) {
                    return second;
                }
            }
        })
        .collect();
    seconds.sort_unstable();
    let visit = |second: i64| Visit { at: shop.local(date, second), closing: second / 60 >= closes - 60 };
    seconds.into_iter().map(visit).collect()
}

/// The same in a morning of four hours that knows no clock: a rush, a lull and a lunch.
const MORNING: [i64; 8] = [2, 4, 4, 3, 1, 1, 2, 3];
const HALF_AN_HOUR: i64 = 1_800_000;

/// When so many customers come in, from the opening of the shop on.
fn arrivals(draws: &mut Draws, customers: usize) -> Vec<Duration> {
    let halves: Vec<i64> = (0_i64..).zip(MORNING).flat_map(|(half, weight)| (0..weight).map(move |_| half)).collect();
    let mut arrivals: Vec<i64> =
        (0..customers).map(|_| *draws.pick(&halves) * HALF_AN_HOUR + draws.between(0, HALF_AN_HOUR - 1)).collect();
    arrivals.sort_unstable();
    arrivals.into_iter().map(|arrival| Duration::from_millis(arrival.unsigned_abs())).collect()
}
