//! What normalizing an order costs, in bare parses of the same bytes.
//!
//! Both are measured in turn, in one process, in batches of the same length: whatever disturbs the machine disturbs
//! both, and the ratio stays.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::json;
use shared::domain::{Configuration, LocationId, ProviderKind};
use shared::providers::{PosProvider, ProviderHosts, Providers, RawOrder, parse_order};

use crate::orders;

const KINDS: [ProviderKind; 3] = [ProviderKind::Square, ProviderKind::Toast, ProviderKind::Lightspeed];

const SIZES: [usize; 3] = [2_000, 20_000, 200_000];

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
            Self::Thorough => 201,
            Self::Quick => 41,
        }
    }
}

/// Prints the table, and fails if the limit is broken.
pub fn run(effort: Effort) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "provider    order                        bytes   parse us   normalize us   ratio   (min    max)"
    )?;
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
    let providers = Providers::new(ProviderHosts::default())?;
    let (provider, configuration) = (providers.get(kind), configuration(kind)?);
    let location = Some(LocationId::new("SHOP1")?);
    let raw = RawOrder { body, location, paid_offline_at: None, observed_at: Timestamp::UNIX_EPOCH };
    let transactions = provider.normalize_order(&raw, &configuration)?;
    ensure!(!transactions.is_empty(), "nothing was sold");
    ensure!(transactions.iter().all(|transaction| transaction.discrepancies.is_empty()), "does not add up");

    let parse = || parse_order(kind, black_box(&raw.body)).map_err(anyhow::Error::from);
    let normalize = || normalize(provider, black_box(&raw), &configuration);
    // A batch is long against the clock's grain and short against the scheduler's.
    let batch = (100_000 / raw.body.len()).clamp(1, 100);
    let mut rounds = Vec::with_capacity(effort.rounds());
    for round in 0..effort.rounds() {
        rounds.push(if round % 2 == 0 {
            let parsed = timed(batch, parse)?;
            (parsed, timed(batch, normalize)?)
        } else {
            let normalized = timed(batch, normalize)?;
            (timed(batch, parse)?, normalized)
        });
    }
    let mut ratios: Vec<f64> =
        rounds.iter().map(|(parsed, normalized)| normalized.as_secs_f64() / parsed.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = |at: usize| ratios.get(at).copied().context("no rounds");
    Ok(Measured {
        bytes: raw.body.len(),
        parse: median(rounds.iter().map(|(parsed, _)| *parsed)),
        normalize: median(rounds.iter().map(|(_, normalized)| *normalized)),
        median: ratio(ratios.len() / 2)?,
        min: ratio(0)?,
        max: ratio(ratios.len() - 1)?,
    })
}

fn normalize(provider: &dyn PosProvider, raw: &RawOrder, configuration: &Configuration) -> anyhow::Result<()> {
    drop(black_box(provider.normalize_order(raw, configuration)?));
    Ok(())
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
