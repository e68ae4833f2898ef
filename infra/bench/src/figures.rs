//! What many runs have shown of one subject: medians, with the least and the most.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Sample;

/// Of one measure, over all runs; `None` where it could not be taken.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Figure {
    pub fn of(values: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let mut values = values.collect::<Option<Vec<f64>>>()?;
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { median: *values.get(values.len() / 2)?, min, max })
    }

    fn json(self) -> Value {
        json!([self.median, self.min, self.max])
    }
}

/// A measure: what it is called, what it is read from, and in which unit.
pub struct Measure {
    /// In the JSON.
    pub name: &'static str,
    /// Above its column.
    pub title: &'static str,
    pub decimals: usize,
    of: Of,
}

enum Of {
    Cold(fn(&Sample) -> Option<f64>),
    Warm(fn(&Sample) -> Option<f64>),
}

/// All measures, in the order of the table.
pub const MEASURES: [Measure; 8] = [
    Measure { name: "init_ms", title: "init ms", decimals: 2, of: Of::Cold(|it| Some(millis(it.init))) },
    Measure { name: "cold_ms", title: "cold ms", decimals: 2, of: Of::Cold(|it| Some(millis(it.cold))) },
    Measure { name: "first_ms", title: "first ms", decimals: 2, of: Of::Cold(|it| Some(millis(it.first))) },
    Measure { name: "warm_us", title: "p50 us", decimals: 0, of: Of::Warm(|it| took(it, 50)) },
    Measure { name: "warm_p99_us", title: "p99 us", decimals: 0, of: Of::Warm(|it| took(it, 99)) },
    Measure {
        name: "events_per_second",
        title: "events/s",
        decimals: 0,
        of: Of::Warm(|it| it.warm.as_ref().map(|warm| count(warm.took.len()) / warm.length.as_secs_f64())),
    },
    Measure {
        name: "warm_cpu_us",
        title: "CPU us",
        decimals: 0,
        of: Of::Warm(|it| it.warm.as_ref().map(|warm| warm.cpu.as_secs_f64() * 1e6 / count(warm.took.len()))),
    },
    Measure { name: "memory_mb", title: "MB", decimals: 1, of: Of::Warm(|it| Some(float(it.memory) / 1048576.0)) },
];

/// The runs of one subject.
#[derive(Default)]
pub struct Series {
    pub cold: Vec<Sample>,
    pub warm: Vec<Sample>,
}

impl Series {
    pub fn figure(&self, measure: &Measure) -> Option<Figure> {
        match measure.of {
            Of::Cold(read) => Figure::of(self.cold.iter().map(read)),
            Of::Warm(read) => Figure::of(self.warm.iter().map(read)),
        }
    }

    /// By the name of the measure.
    pub fn named(&self, name: &str) -> Option<Figure> {
        MEASURES.iter().find(|measure| measure.name == name).and_then(|measure| self.figure(measure))
    }

    pub fn json(&self) -> Value {
        let figures = MEASURES.iter().map(|it| (it.name.to_owned(), self.figure(it).map_or(Value::Null, Figure::json)));
        Value::Object(figures.collect())
    }
}

fn took(sample: &Sample, percent: usize) -> Option<f64> {
    let took = &sample.warm.as_ref()?.took;
    took.get((took.len() * percent / 100).min(took.len().checked_sub(1)?)).map(|took| took.as_secs_f64() * 1e6)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn count(number: usize) -> f64 {
    u64::try_from(number).map_or(f64::NAN, float)
}

/// Exact up to 2^53.
#[expect(clippy::as_conversions, reason = "there is no other way to a float")]
pub fn float(number: u64) -> f64 {
    number as f64
}
