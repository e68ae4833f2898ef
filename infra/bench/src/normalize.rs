//! What normalizing an order costs, in bare parses of the same bytes.
//!
//! Both are measured in turn, in one process, in batches of the same length. What disturbs the machine only ever adds
//! time, so of a few turns the fastest of each counts, and the ratio of those is taken many times.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::json;
use shared::domain::{Configuration, LocationId, ProviderKind};
use shared::providers::{ProviderHosts, Providers, RawOrder, parse_order};

use crate::orders;

const KINDS: [ProviderKind; 3] = [ProviderKind::Square, ProviderKind::Toast, ProviderKind::Lightspeed];

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
    fn rounds(self) -> usize {
        match self {
            Self::Thorough => 51,
            Self::Quick => 11,
        }
    }
}

/// Prints the table, and fails if the limit is broken.
pub fn run(effort: Effort) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "provider    order                        bytes   parse us   normalize us   ratio   (min    max)")?;
    let mut broken = Vec::new();
    for kind in KINDS {
        for size in SIZES {
            for scenario in orders::SCENARIOS {
                let body = orders::order(kind, scenario, size)?;
                let measured = measure(kind, body, effort).with_context(|| format!("{kind} {scenario}"))?;
                writeln!(
                    out,
                    "{:<11} {scenario:<28} {:>5} {:>10.1} {:>14.1} {:>7.2} {:>7.2} {:>6.2}",
                    kind.as_str(),
                    measured.bytes,
                    micros(measured.parse),
                    micros(measured.normalize),
                    measured.median,
                    measured.min,
                    measured.max
                )?;
                if measured.median > LIMIT {
                    broken.push(format!("{kind} {scenario} {}", measured.bytes));
                }
            }
        }
    }
    ensure!(broken.is_empty(), "normalizing costs more than {LIMIT} bare parses: {}", broken.join(", "));
    Ok(())
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
struct Subject {
    kind: ProviderKind,
    providers: Providers,
    configuration: Configuration,
    raw: RawOrder,
}

impl Subject {
    /// An order that does not add up, or of which nothing was sold, would measure something else.
    fn new(kind: ProviderKind, body: Vec<u8>) -> anyhow::Result<Self> {
        let location = Some(LocationId::new("SHOP1")?);
        let raw = RawOrder { body, location, paid_offline_at: None, observed_at: Timestamp::UNIX_EPOCH };
        let providers = Providers::new(ProviderHosts::default())?;
        let subject = Self { kind, providers, configuration: configuration(kind)?, raw };
        let transactions = subject.providers.get(kind).normalize_order(&subject.raw, &subject.configuration)?;
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
        let provider = self.providers.get(self.kind);
        drop(black_box(provider.normalize_order(black_box(&self.raw), &self.configuration)?));
        Ok(())
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

fn median(times: impl Iterator<Item = Duration>) -> Duration {
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
