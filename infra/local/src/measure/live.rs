//! Sales at a steady pace, and how long each takes from the till to the sales domain.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use aws_sdk_sqs::Client;
use jiff::Timestamp;
use local::{Bakery, SalesDomain};
use sandbox::{EntryState, SaleKind, Sandbox};

use crate::demo::Screen;

const GLANCE: Duration = Duration::from_millis(20);
const ASK_EVERY: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// For the last sale of a phase.
const PATIENCE: Duration = Duration::from_secs(120);

/// The till. It sells when it is time, whatever has become of the sales before (an open loop).
pub struct Live<'a> {
    sandbox: &'a Sandbox,
    sales: &'a SalesDomain,
    shops: Vec<String>,
    interval: Duration,
    due: Instant,
    looked_at: Instant,
    sold: Vec<String>,
    aws: Client,
    queue: String,
    asked_at: Instant,
    /// How long the local AWS took for one call.
    asked: Vec<f64>,
}

/// What a phase took.
pub struct Phase {
    /// From the till to the sales domain.
    pub sales: Figures,
    /// Of that, until it was stored and its event made.
    pub stored: Figures,
    /// One call of the local AWS: a sale makes about ten, one after the other.
    pub call: Figures,
}

/// Durations in seconds, sorted.
#[derive(Debug)]
pub struct Figures(Vec<f64>);

impl<'a> Live<'a> {
    pub fn new(bakery: &'a Bakery, sales: &'a SalesDomain, rate: u32) -> anyhow::Result<Self> {
        let Bakery { sandbox, stack, .. } = bakery;
        let merchant = sandbox.merchants().into_iter().next().context("the simulator has no merchants")?;
        let shops = merchant.locations.into_iter().map(|location| location.id).collect();
        let (interval, now) = (Duration::from_secs(1) / rate.max(1), Instant::now());
        Ok(Self {
            sandbox,
            sales,
            shops,
            interval,
            due: now,
            looked_at: now,
            sold: Vec::new(),
            aws: Client::new(&stack.config()),
            queue: stack.output("IntakeQueueUrl").unwrap_or_default().to_owned(),
            asked_at: now,
            asked: Vec::new(),
        })
    }

    /// Forgets what was sold before.
    pub fn begin(&mut self) {
        self.sold.clear();
        self.asked.clear();
        self.due = Instant::now();
    }

    /// Sells what is due, and shows how it goes from time to time: then it is true, and time for another look.
    pub async fn go_on(&mut self, screen: &mut Screen, shown: impl FnOnce() -> String) -> anyhow::Result<bool> {
        while Instant::now() >= self.due {
            let shop = self.shops.get(self.sold.len() % self.shops.len().max(1)).context("a merchant has no shops")?;
            self.sold.push(self.sandbox.ring_up_at(SaleKind::Simple, shop)?.order_id);
            self.due += self.interval;
        }
        if self.asked_at.elapsed() >= ASK_EVERY {
            self.asked_at = Instant::now();
            self.aws.get_queue_attributes().queue_url(&self.queue).send().await.context("the local AWS is away")?;
            self.asked.push(self.asked_at.elapsed().as_secs_f64());
        }
        let is_time = self.looked_at.elapsed() >= LOOK_EVERY;
        if is_time {
            self.looked_at = Instant::now();
            screen.status(&format!("{}; {} live sales", shown(), self.sold.len()));
        }
        tokio::time::sleep(GLANCE).await;
        Ok(is_time)
    }

    /// Waits for the last sale of the phase.
    pub async fn finish(&mut self, screen: &mut Screen) -> anyhow::Result<Phase> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let arrived = self.arrivals();
            let missing = self.sold.iter().filter(|order| !arrived.contains_key(*order)).count();
            if missing == 0 {
                break;
            }
            screen.status(&format!("{missing} live sales are under way"));
            if Instant::now() > deadline {
                bail!("{missing} of {} live sales did not arrive within {} s", self.sold.len(), PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        screen.keep_status();
        let (arrived, closed) = (self.arrivals(), self.closings());
        let took = |of: fn(&Arrival) -> Timestamp| {
            let took =
                self.sold.iter().filter_map(|order| Some(of(arrived.get(order)?).duration_since(*closed.get(order)?)));
            Figures::of(took.map(|took| took.as_secs_f64()).collect())
        };
        Ok(Phase {
            sales: took(|arrival| arrival.at),
            stored: took(|arrival| arrival.event_made_at),
            call: Figures::of(std::mem::take(&mut self.asked)),
        })
    }

    /// For each sale of the phase, how many of `others` reached the sales domain while it was on its way, the fewest first. Of a
    /// queue that serves whoever came first it would be all of those that were there before.
    pub fn overtaken_by(&self, others: &[String]) -> Vec<usize> {
        let (arrived, closed) = (self.arrivals(), self.closings());
        let others: Vec<Timestamp> = others.iter().filter_map(|order| Some(arrived.get(order)?.at)).collect();
        let overtaken = self.sold.iter().filter_map(|order| {
            let (from, to) = (*closed.get(order)?, arrived.get(order)?.at);
            Some(others.iter().filter(|at| (from..=to).contains(at)).count())
        });
        let mut overtaken: Vec<usize> = overtaken.collect();
        overtaken.sort_unstable();
        overtaken
    }

    /// When the sales domain first knew a completed sale.
    pub fn arrivals(&self) -> BTreeMap<String, Arrival> {
        let known = self.sales.transactions().into_values();
        let arrival = |known: local::KnownTransaction| {
            let order = known.event.pointer("/data/transaction/external_order_id")?.as_str()?.to_owned();
            let event_made_at = known.event.get("time")?.as_str()?.parse().ok()?;
            Some((order, Arrival { event_made_at, at: known.completed_at? }))
        };
        known.filter_map(arrival).collect()
    }

    /// When the till closed a sale: its notifications leave at that moment.
    fn closings(&self) -> BTreeMap<String, Timestamp> {
        let closed = self.sandbox.ledger().into_iter().filter(|entry| entry.state == EntryState::Completed);
        closed.filter_map(|entry| Some((entry.order_id, entry.closed_at?.parse().ok()?))).collect()
    }
}

/// What the sales domain knows of a sale.
pub struct Arrival {
    event_made_at: Timestamp,
    at: Timestamp,
}

impl Figures {
    fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self(seconds)
    }

    pub const HEAD: &'static str = "     n      p50      p90      p99      max";

    pub fn line(&self) -> String {
        let [p50, p90, p99, max] = [50, 90, 99, 100].map(|percent| self.percentile(percent));
        format!("{:>6} {p50:>6.3} s {p90:>6.3} s {p99:>6.3} s {max:>6.3} s", self.0.len())
    }

    pub fn p99(&self) -> f64 {
        self.percentile(99)
    }

    /// How many took how long: bars, from one 1-2-5 step to the next.
    pub fn histogram(&self) -> Vec<String> {
        const STEPS: [f64; 11] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
        const WIDTH: usize = 50;
        let mut bars: Vec<(String, usize)> = Vec::new();
        let mut below = 0.0;
        for step in STEPS.into_iter().chain([f64::INFINITY]) {
            let count = self.0.iter().filter(|took| **took > below && **took <= step).count();
            let label = if step.is_finite() { format!("to {step} s") } else { format!("over {below} s") };
            bars.push((label, count));
            below = step;
        }
        let most = bars.iter().map(|(_, count)| *count).max().unwrap_or_default().max(1);
        let used = |bar: &(String, usize)| bar.1 > 0;
        let (first, last) = (bars.iter().position(used).unwrap_or(0), bars.iter().rposition(used).unwrap_or(0));
        let shown = bars.iter().take(last + 1).skip(first);
        shown.map(|(label, n)| format!("{label:>12} {n:>6} {}", "#".repeat((n * WIDTH).div_ceil(most)))).collect()
    }

    /// The smallest duration that so many of a hundred do not exceed.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_durations() {
        let figures = Figures((1..=200_u32).map(f64::from).collect());
        assert_eq!([1, 50, 99, 100].map(|percent| figures.percentile(percent)), [2.0, 100.0, 198.0, 200.0]);
        assert_eq!(Figures(vec![7.0]).p99(), 7.0);
        assert!(Figures(vec![]).p99().is_nan());
    }

    #[test]
    fn a_histogram_has_everything_and_nothing_around_it() {
        let bars = Figures(vec![0.07, 0.3, 0.4, 200.0]).histogram();
        let counts = bars.iter().map(|bar| bar.split_whitespace().nth(3).unwrap_or_default().trim_end_matches('#'));
        assert_eq!(bars.len(), 11, "{bars:?}");
        assert!(
            bars[0].starts_with("    to 0.1 s      1 #") && bars[10].starts_with("  over 100 s      1 #"),
            "{bars:?}"
        );
        assert_eq!(counts.filter_map(|count| count.parse::<usize>().ok()).sum::<usize>(), 4);
        assert_eq!(Figures(vec![]).histogram().len(), 1);
    }
}
