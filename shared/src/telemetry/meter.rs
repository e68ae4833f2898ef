//! Where counts go: to CloudWatch as lines of the embedded metric format, and into a tally that is added to the table.
//!
//! One for the process, like its standard output. The lines are complete; what of the tally is not yet in the table when an
//! execution environment ends is missing there.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use metrics_cloudwatch_embedded::{Builder, Collector};

use super::metrics::{CATALOGUE, Kind, Series, Tally, Value};

/// The library keeps so many values of a histogram between two flushes, which is also what one line may have.
const MOST_VALUES: usize = 100;

static METER: Mutex<Meter> = Mutex::new(Meter { counted: None, values: 0 });
static LINES: OnceLock<&'static Collector> = OnceLock::new();

struct Meter {
    counted: Option<Tally>,
    /// Of histograms, since the last flush.
    values: usize,
}

/// Begins to write lines, for this function. Without it, only the tally is kept.
pub(super) fn start(function: &'static str) {
    let Ok(collector) = Builder::new().cloudwatch_namespace("PosIntegration").init() else { return };
    // Some metrics have a label `function`: a line must not have one name twice.
    collector.set_property("emitted_by", function);
    for metric in CATALOGUE {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metrics::Unit::Count, metric.help),
            Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metrics::Unit::Seconds, metric.help),
        }
    }
    let _ = LINES.set(collector);
}

/// Counts.
pub(super) fn count(series: &Series, count: u64) {
    let last = series.metric.is_dated().then(Timestamp::now);
    metrics::counter!(series.metric.name, labels(series)).increment(count);
    meter().counted.get_or_insert_default().add(series, &Value::Count { count, last });
}

/// Takes one value of a histogram, in seconds.
pub(super) fn observe(series: &Series, seconds: f64) {
    let Kind::Histogram(bounds) = series.metric.kind else { return };
    let is_full = meter().values >= MOST_VALUES;
    if is_full {
        write_lines();
    }
    metrics::histogram!(series.metric.name, labels(series)).record(seconds);
    let mut value = Value::zero(series.metric.kind);
    if let Value::Sizes { buckets, sum_micros } = &mut value {
        let place = bounds.iter().position(|bound| seconds <= *bound).unwrap_or(bounds.len());
        buckets.iter_mut().skip(place).take(1).for_each(|bucket| *bucket = 1);
        *sum_micros = micros(seconds);
    }
    let mut meter = meter();
    meter.values += 1;
    meter.counted.get_or_insert_default().add(series, &value);
}

/// Writes what was counted since the last time to standard output, a line for each set of labels.
pub fn write_lines() {
    let Some(collector) = LINES.get() else { return };
    meter().values = 0;
    let mut lines = Vec::new();
    // Lambda takes whole lines; in a vector, writing fails for nothing.
    if collector.flush(&mut lines).is_ok() {
        let _ = io::stdout().lock().write_all(&lines);
    }
}

/// What was counted since the last time, for the table.
pub fn take() -> Tally {
    meter().counted.take().unwrap_or_default()
}

/// Keeps what could not be added to the table, for the next time.
pub fn put_back(tally: &Tally) {
    meter().counted.get_or_insert_default().add_all(tally);
}

fn meter() -> MutexGuard<'static, Meter> {
    METER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn labels(series: &Series) -> Vec<metrics::Label> {
    series.labels().map(|(name, value)| metrics::Label::from_static_parts(name, value)).collect()
}

#[expect(clippy::as_conversions, reason = "there is no other way from a float, and this one stops at the ends")]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}
