//! What all execution environments have counted together, in the coordination table: some items for each function, which
//! only ever grow.
//!
//! Each environment adds to one of its function's items what it has counted since the last time, in one `UpdateItem ADD`:
//! nothing is read, no two are in each other's way, and the sums are monotonic whichever environments come and go. A function
//! has items of its own so that a write is paid by that function's few series. They are never removed.

use aws_sdk_dynamodb::Client;
use jiff::Timestamp;
use uuid::Uuid;

use super::StoreError;
use super::item::{Attributes, Item, batch_get, number, text};
use crate::aws::AwsError;
use crate::telemetry::metrics::{FUNCTIONS, Kind, Series, Tally, Value};

const TABLE: &str = "coordination";
/// A thousand environments that write every ten seconds are a hundred writes a second, of a few units each: too many for
/// one item (a thousand units), and not for four. All items of all functions are read at once.
const SHARDS: u128 = 4;
/// An update's expression has 4 KB at most; this is half of it.
const PARTS: usize = 100;

/// The counters in the table.
#[derive(Clone)]
pub struct Counters {
    client: Client,
    table: String,
    key: String,
}

impl Counters {
    /// `table`: the coordination table's name. `function`: whose counts are added.
    pub fn new(client: Client, table: String, function: &str) -> Self {
        let shard = Uuid::new_v4().as_u128() % SHARDS;
        Self { client, table, key: key(function, shard) }
    }

    /// Adds what was counted. Some of it may have been added when this fails: then that is counted twice if it is added again.
    pub async fn add(&self, counted: &Tally) -> Result<(), StoreError> {
        let parts: Vec<Part> = counted.iter().flat_map(|(series, value)| parts(series, value)).collect();
        for parts in parts.chunks(PARTS) {
            let request = self.client.update_item().table_name(&self.table).key("key", text(&self.key));
            let (mut adds, mut sets, mut request) = (Vec::new(), Vec::new(), request);
            for (index, Part { attribute, number: value, is_sum }) in parts.iter().enumerate() {
                if *is_sum {
                    adds.push(format!("#{index} :{index}"));
                } else {
                    sets.push(format!("#{index} = :{index}"));
                }
                request = request
                    .expression_attribute_names(format!("#{index}"), attribute)
                    .expression_attribute_values(format!(":{index}"), number(value));
            }
            let clause = |verb: &str, parts: Vec<String>| match parts.is_empty() {
                true => String::new(),
                false => format!("{verb} {} ", parts.join(", ")),
            };
            let update = clause("ADD", adds) + &clause("SET", sets);
            let added = request.update_expression(update.trim_end()).send().await;
            added.map_err(|error| AwsError::new("add to the counters", error))?;
        }
        Ok(())
    }

    /// What all functions have counted, ever. What this code does not know is left out.
    pub async fn read(&self) -> Result<Tally, StoreError> {
        let keys = FUNCTIONS.iter().flat_map(|function| (0..SHARDS).map(move |shard| key(function, shard)));
        let keys = keys.map(|key| Item::from([("key".to_owned(), text(key))])).collect();
        let items = batch_get(&self.client, &self.table, keys, false, "read the counters").await?;
        let mut total = Tally::default();
        for item in &items {
            let attributes = Attributes { table: TABLE, item };
            for name in item.keys() {
                if let Some((series, value)) = read(name, || attributes.number(name))? {
                    total.add(&series, &value);
                }
            }
        }
        Ok(total)
    }
}

fn key(function: &str, shard: u128) -> String {
    format!("metrics#{function}#{shard}")
}

/// One attribute: a number to be added, or one that replaces what stands there.
#[derive(Debug, PartialEq)]
struct Part {
    attribute: String,
    number: u64,
    is_sum: bool,
}

/// `wr:square:accepted` is a count, `wr:square:accepted@` the time of its last; `ts:square:webhook/2.5` the bucket up to
/// 2.5 s, `/inf` the last one, `/sum` millionths.
fn parts(series: &Series, value: &Value) -> Vec<Part> {
    let code = series.code();
    let part = |suffix: &str, number| Part { attribute: format!("{code}{suffix}"), number, is_sum: suffix != LAST };
    let parts = match (value, series.metric.kind) {
        (Value::Sizes { buckets, sum_micros }, Kind::Histogram(bounds)) => {
            let suffixes = bounds.iter().map(|bound| format!("/{bound}")).chain(["/inf".to_owned()]);
            let buckets = suffixes.zip(buckets).map(|(suffix, count)| part(&suffix, *count));
            buckets.chain([part("/sum", *sum_micros)]).collect()
        }
        (Value::Count { count, last }, _) => {
            let last = last.and_then(|at| u64::try_from(at.as_millisecond()).ok());
            [part("", *count)].into_iter().chain(last.map(|at| part(LAST, at))).collect()
        }
        (Value::Sizes { .. }, Kind::Counter) => Vec::new(),
    };
    parts.into_iter().filter(|part: &Part| part.number > 0).collect()
}

const LAST: &str = "@";

/// What one attribute adds to its series. `None`: it is no series', or one that the catalogue does not know.
fn read(name: &str, number: impl FnOnce() -> Result<u64, StoreError>) -> Result<Option<(Series, Value)>, StoreError> {
    let (code, suffix) = match name.find(['/', '@']) {
        Some(at) => name.split_at(at),
        None => (name, ""),
    };
    let Some(series) = Series::parse(code) else { return Ok(None) };
    let number = number()?;
    let mut value = Value::zero(series.metric.kind);
    match (&mut value, series.metric.kind) {
        (Value::Count { count, .. }, _) if suffix.is_empty() => *count = number,
        (Value::Count { last, .. }, _) => {
            *last = i64::try_from(number).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        }
        (Value::Sizes { sum_micros, .. }, _) if suffix == "/sum" => *sum_micros = number,
        (Value::Sizes { buckets, .. }, Kind::Histogram(bounds)) => {
            // What was counted under other bounds belongs to the next larger one that there is now.
            let bound: f64 = suffix.trim_start_matches('/').parse().unwrap_or(f64::INFINITY);
            let place = bounds.iter().position(|known| bound <= *known).unwrap_or(bounds.len());
            buckets.iter_mut().skip(place).take(1).for_each(|bucket| *bucket = number);
        }
        (Value::Sizes { .. }, Kind::Counter) => {}
    }
    Ok(Some((series, value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::CATALOGUE;

    #[test]
    fn what_is_written_is_read_and_what_is_unknown_is_left_out() {
        let at = Timestamp::from_millisecond(1_790_000_000_123).unwrap();
        let sizes = |series: &Series, place: usize| {
            let mut value = Value::zero(series.metric.kind);
            if let Value::Sizes { buckets, sum_micros } = &mut value {
                (buckets[place], *sum_micros) = (3, 1_500_000);
            }
            value
        };
        let histogram = Series::parse("ts:square:webhook").unwrap();
        let counter = Series::parse("wr:toast:accepted").unwrap();
        for (series, value) in [
            (&counter, Value::Count { count: 7, last: Some(at) }),
            (&histogram, sizes(&histogram, 0)),
            (&histogram, sizes(&histogram, 12)),
        ] {
            let mut total = Tally::default();
            for part in parts(series, &value) {
                let (found, value) = read(&part.attribute, || Ok(part.number)).unwrap().unwrap();
                total.add(&found, &value);
            }
            assert_eq!(total.iter().collect::<Vec<_>>(), [&(series.clone(), value)]);
        }
        // Bounds that there were once.
        for (name, place) in [("ts:square:webhook/0.7", 1), ("ts:square:webhook/7000000", 12)] {
            let (_, value) = read(name, || Ok(3)).unwrap().unwrap();
            let Value::Sizes { buckets, .. } = value else { panic!("no histogram") };
            assert_eq!(buckets.iter().position(|count| *count == 3), Some(place), "{name}");
        }
        for name in ["key", "zz", "wr:acme:accepted", "wr:toast", "wr:toast:accepted:t_1", ""] {
            assert_eq!(read(name, || panic!("not a number")).unwrap(), None, "{name}");
        }
    }

    #[test]
    fn every_series_has_a_name_of_its_own() {
        let mut names = std::collections::BTreeSet::new();
        for metric in CATALOGUE {
            let code = Series { metric, values: metric.labels.iter().map(|label| label.values[0]).collect() }.code();
            assert_eq!(Series::parse(&code).map(|series| series.metric.name), Some(metric.name));
            assert!(names.insert(metric.name) && metric.name.starts_with("pos_"), "{}", metric.name);
            assert!(!metric.labels.iter().any(|label| label.values.iter().any(|v| v.contains([':', '/', '@']))));
        }
    }
}
