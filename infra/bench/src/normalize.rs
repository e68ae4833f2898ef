//! What normalizing an order costs, in bare parses of the same bytes.
//!
//! Both are measured in turn, in one process, in batches of the same length. What disturbs the machine only ever adds
//! time, so of a few turns the fastest of each counts, and the ratio of those is taken many times. Instructions are the same
//! on every machine, where there is a valgrind to count them.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use serde_json::json;
use shared::domain::{Configuration, LocationId, ProviderKind, Transaction};
use shared::providers::{ProviderHosts, Providers, RawOrder, parse_order};

use crate::figures::float;
use crate::harness::{Counting, total};
use crate::orders;

/// All providers.
pub const KINDS: [ProviderKind; 3] = [ProviderKind::Square, ProviderKind::Toast, ProviderKind::Lightspeed];

const SIZES: [usize; 3] = [2_000, 20_000, 200_000];

/// Of these the fastest counts.
const TURNS: usize = 7;

/// The most that normalizing may cost, in bare parses.
const LIMIT: f64 = 2.0;

/// How long to measure.
#[derive(Clone, Copy)]
pub enum Effort {
    /// Long enough for figures to be quoted.
    Thorough,
    /// Long enough to see the limit broken.
    Quick,
}

impl Effort {
    /// Of each measurement.
    pub fn rounds(self) -> usize {
        match self {
            Self::Thorough => 51,
            Self::Quick => 11,
        }
    }
}

/// Prints the table, and fails if the limit is broken.
pub fn run(effort: Effort) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "provider    order                        bytes   parse us   normalize us   ratio   (min    max)   orders/s   \
         kinstr: parse   normalize   ratio"
    )?;
    let mut broken = Vec::new();
    for kind in KINDS {
        for size in SIZES {
            for scenario in orders::SCENARIOS {
                let body = orders::order(kind, scenario, size)?;
                let measured = measure(kind, body, effort).with_context(|| format!("{kind} {scenario}"))?;
                let counted = match effort {
                    Effort::Thorough => counted(kind, scenario, size)?,
                    Effort::Quick => None,
                };
                let counted = counted.map_or_else(String::new, |(parse, normalize)| {
                    format!("{:>16.1} {:>11.1} {:>7.2}", parse / 1e3, normalize / 1e3, normalize / parse)
                });
                writeln!(
                    out,
                    "{:<11} {scenario:<28} {:>5} {:>10.1} {:>14.1} {:>7.2} {:>7.2} {:>6.2} {:>10.0} {counted}",
                    kind.as_str(),
                    measured.bytes,
                    micros(measured.parse),
                    micros(measured.normalize),
                    measured.median,
                    measured.min,
                    measured.max,
                    1.0 / measured.normalize.as_secs_f64()
                )?;
                out.flush()?;
                if measured.median > LIMIT {
                    broken.push(format!("{kind} {scenario} {}", measured.bytes));
                }
            }
        }
    }
    ensure!(broken.is_empty(), "normalizing costs more than {LIMIT} bare parses: {}", broken.join(", "));
    Ok(())
}

/// What is done with an order, for valgrind to look at: `bench once square modifiers 2000 parse 11`.
pub fn once(arguments: &[String]) -> anyhow::Result<()> {
    let [kind, scenario, size, what, times] = arguments else { bail!("which order, what, and how often?") };
    let kind = KINDS.into_iter().find(|it| it.as_str() == kind).context("there is no such provider")?;
    let subject = Subject::new(kind, orders::order(kind, scenario, size.parse()?)?)?;
    for _ in 0..times.parse()? {
        match what.as_str() {
            "parse" => subject.parse()?,
            _ => subject.normalize()?,
        }
    }
    Ok(())
}

/// User instructions of a bare parse and of normalizing. `None`: nobody can count them here.
fn counted(kind: ProviderKind, scenario: &str, size: usize) -> anyhow::Result<Option<(f64, f64)>> {
    let mut each = [0.0; 2];
    for (each, what) in each.iter_mut().zip(["parse", "normalize"]) {
        // Two lives that differ in ten orders.
        let mut counted = [0; 2];
        for (counted, times) in counted.iter_mut().zip(["1", "11"]) {
            let Some(mut counting) = Counting::of(&std::env::current_exe()?) else { return Ok(None) };
            counting.command.args(["once", kind.as_str(), scenario, &size.to_string(), what, times]);
            ensure!(counting.command.status()?.success(), "valgrind has failed");
            *counted = total(&counting.out)?;
        }
        let [fewer, more] = counted;
        *each = float(more.saturating_sub(fewer)) / 10.0;
    }
    let [parse, normalize] = each;
    Ok(Some((parse, normalize)))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

struct Measured {
    bytes: usize,
    parse: Duration,
    normalize: Duration,
    median: f64,
    min: f64,
    max: f64,
}

fn measure(kind: ProviderKind, body: Vec<u8>, effort: Effort) -> anyhow::Result<Measured> {
    let subject = Subject::new(kind, body)?;
    let mut rounds = Vec::with_capacity(effort.rounds());
    for _ in 0..effort.rounds() {
        rounds.push(subject.round()?);
    }
    let mut ratios: Vec<f64> =
        rounds.iter().map(|(parse, normalize)| normalize.as_secs_f64() / parse.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = |at: usize| ratios.get(at).copied().context("no rounds");
    Ok(Measured {
        bytes: subject.raw.body.len(),
        parse: median(rounds.iter().map(|(parse, _)| *parse)),
        normalize: median(rounds.iter().map(|(_, normalize)| *normalize)),
        median: ratio(ratios.len() / 2)?,
        min: ratio(0)?,
        max: ratio(ratios.len() - 1)?,
    })
}

/// One order, and what is done with it.
pub struct Subject {
    pub kind: ProviderKind,
    pub raw: RawOrder,
    providers: Providers,
    configuration: Configuration,
}

impl Subject {
    /// An order that does not add up, or of which nothing was sold, would measure something else.
    pub fn new(kind: ProviderKind, body: Vec<u8>) -> anyhow::Result<Self> {
        let location = Some(LocationId::new("SHOP1")?);
        let raw = RawOrder { body, location, paid_offline_at: None, observed_at: Timestamp::UNIX_EPOCH };
        let providers = Providers::new(ProviderHosts::default());
        let subject = Self { kind, raw, providers, configuration: configuration(kind)? };
        let transactions = subject.normalized(&subject.raw)?;
        ensure!(!transactions.is_empty(), "nothing was sold");
        ensure!(transactions.iter().all(|transaction| transaction.discrepancies.is_empty()), "does not add up");
        Ok(subject)
    }

    /// The fastest parse and the fastest normalization of a few turns.
    fn round(&self) -> anyhow::Result<(Duration, Duration)> {
        // A batch is long against the clock's grain and short against the scheduler's.
        let batch = (100_000 / self.raw.body.len()).clamp(1, 100);
        let mut fastest = (Duration::MAX, Duration::MAX);
        for turn in 0..TURNS {
            if turn % 2 == 0 {
                fastest.0 = fastest.0.min(timed(batch, || self.parse())?);
            }
            fastest.1 = fastest.1.min(timed(batch, || self.normalize())?);
            if turn % 2 == 1 {
                fastest.0 = fastest.0.min(timed(batch, || self.parse())?);
            }
        }
        Ok(fastest)
    }

    fn parse(&self) -> anyhow::Result<()> {
        Ok(parse_order(self.kind, black_box(&self.raw.body))?)
    }

    fn normalize(&self) -> anyhow::Result<()> {
        drop(black_box(self.normalized(black_box(&self.raw))?));
        Ok(())
    }

    /// Any order of the same provider's.
    pub fn normalized(&self, order: &RawOrder) -> anyhow::Result<Vec<Transaction>> {
        Ok(self.providers.get(self.kind).normalize_order(order, &self.configuration)?)
    }
}

/// Of one, on the average of a batch.
fn timed(batch: usize, work: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let start = Instant::now();
    for _ in 0..batch {
        work()?;
    }
    Ok(start.elapsed() / u32::try_from(batch)?)
}

/// Of some times, in whatever order.
pub fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn configuration(kind: ProviderKind) -> anyhow::Result<Configuration> {
    let location = json!({
        "id": "SHOP1", "name": "Shop", "time_zone": "America/New_York", "currency": "USD", "day_start": "04:00",
    });
    Ok(serde_json::from_value(json!({
        "id": "01938d5e-0000-7000-8000-000000000001", "provider": kind, "environment": "production",
        "name": "Bakery", "merchant": { "id": "M1", "name": "Bakery" }, "locations": [location], "status": "active",
        "credentials_expire_at": null, "version": 1,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    }))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_adds_up_and_has_about_its_size() {
        for kind in KINDS {
            for scenario in orders::SCENARIOS {
                for size in SIZES {
                    let subject = Subject::new(kind, orders::order(kind, scenario, size).unwrap()).unwrap();
                    let bytes = subject.raw.body.len();
                    // Toast's smallest order is larger than the smallest size.
                    assert!((size * 95 / 100..size * 2 + 500).contains(&bytes), "{kind} {scenario} {size}: {bytes}");
                }
            }
        }
    }

    /// Not the limit, which an unoptimized build cannot show: that nothing is done for every pair of lines.
    #[test]
    fn ten_times_the_order_costs_about_ten_times_as_much() {
        for kind in KINDS {
            for scenario in orders::SCENARIOS {
                let [of_one, of_ten] = [20_000, 200_000].map(|size| {
                    let subject = Subject::new(kind, orders::order(kind, scenario, size).unwrap()).unwrap();
                    subject.round().unwrap().1
                });
                assert!(of_ten < of_one * 40, "{kind} {scenario}: {of_one:?} and {of_ten:?}");
            }
        }
    }
}
