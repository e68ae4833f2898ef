//! The two text formats of Prometheus. Names and labels come from closed lists without anything that had to be escaped.

use std::fmt::Write;

use shared::telemetry::metrics::{CATALOGUE, Kind, Series, Tally, Value};

use super::gauges::{GAUGES, Reading};

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>
    Text,
}

impl Format {
    /// OpenMetrics for whoever knows it.
    pub(super) fn wanted(accept: Option<&str>) -> Self {
        let knows = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if knows { Self::OpenMetrics } else { Self::Text }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All of it. Writing to a text cannot fail.
pub(super) fn write<'r>(format: Format, counted: &Tally, seen: impl Iterator<Item = &'r Reading> + Clone) -> String {
    let mut text = String::new();
    for gauge in GAUGES {
        head(&mut text, gauge.name, "gauge", gauge.help);
        for reading in seen.clone().filter(|reading| reading.gauge == *gauge) {
            let labels = gauge.labels.iter().copied().zip(reading.values.iter().copied());
            line(&mut text, gauge.name, "", labels, reading.value);
        }
    }
    for metric in CATALOGUE {
        let (family, kind) = match (metric.kind, format) {
            // OpenMetrics calls the family without what its series end with.
            (Kind::Counter, Format::OpenMetrics) => (metric.name.trim_end_matches("_total"), "counter"),
            (Kind::Counter, Format::Text) => (metric.name, "counter"),
            (Kind::Histogram(_), _) => (metric.name, "histogram"),
        };
        head(&mut text, family, kind, metric.help);
        for (series, value) in counted.iter().filter(|(series, _)| series.metric == *metric) {
            match (value, metric.kind) {
                (Value::Count { count, .. }, _) => line(&mut text, metric.name, "", series.labels(), count),
                (Value::Sizes { buckets, sum_micros }, Kind::Histogram(bounds)) => {
                    histogram(&mut text, series, (bounds, buckets), *sum_micros);
                }
                (Value::Sizes { .. }, Kind::Counter) => {}
            }
        }
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn head(text: &mut String, family: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {family} {help}\n# TYPE {family} {kind}");
}

/// Buckets are kept apart and shown added up.
fn histogram(text: &mut String, series: &Series, (bounds, buckets): (&[f64], &[u64]), sum_micros: u64) {
    let name = series.metric.name;
    let mut so_far = 0;
    let bounds = bounds.iter().map(|bound| format!("{bound:?}")).chain(["+Inf".to_owned()]);
    for (bound, bucket) in bounds.zip(buckets) {
        so_far += bucket;
        let labels = series.labels().map(|(label, value)| -> (&str, &str) { (label, value) });
        line(text, name, "_bucket", labels.chain([("le", bound.as_str())]), so_far);
    }
    let seconds = format!("{}.{:06}", sum_micros / 1_000_000, sum_micros % 1_000_000);
    line(text, name, "_sum", series.labels(), seconds);
    line(text, name, "_count", series.labels(), so_far);
}

fn line<'l>(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: impl Iterator<Item = (&'l str, &'l str)>,
    value: impl std::fmt::Display,
) {
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{name}{suffix}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> Tally {
        let mut tally = Tally::default();
        let counter = Series::parse("wr:square:accepted").unwrap();
        tally.add(&counter, &Value::Count { count: 7, last: None });
        let histogram = Series::parse("ts:square:webhook").unwrap();
        let mut value = Value::zero(histogram.metric.kind);
        if let Value::Sizes { buckets, sum_micros } = &mut value {
            (buckets[0], buckets[2], *sum_micros) = (3, 4, 12_000_345);
        }
        tally.add(&histogram, &value);
        tally
    }

    #[test]
    fn a_scraper_gets_the_format_that_it_asks_for() {
        for (accept, format) in [
            (None, Format::Text),
            (Some("*/*"), Format::Text),
            (Some("text/plain;version=0.0.4;q=0.3"), Format::Text),
            (Some("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3"), Format::OpenMetrics),
        ] {
            assert_eq!(Format::wanted(accept), format, "{accept:?}");
        }
    }

    #[test]
    fn a_counter_and_a_histogram_are_written_as_the_formats_want() {
        let (open, plain) =
            (write(Format::OpenMetrics, &counted(), [].iter()), write(Format::Text, &counted(), [].iter()));
        assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"));
        assert!(open.contains("# TYPE pos_webhooks_received counter\n"));
        assert!(plain.contains("# TYPE pos_webhooks_received_total counter\n"));
        for text in [open, plain] {
            assert!(text.contains("\npos_webhooks_received_total{provider=\"square\",outcome=\"accepted\"} 7\n"));
            let start = "pos_till_to_sales_seconds";
            let labels = "provider=\"square\",way=\"webhook\"";
            assert!(text.contains(&format!("\n{start}_bucket{{{labels},le=\"+Inf\"}} 7\n")), "{text}");
            assert!(text.contains(&format!("\n{start}_count{{{labels}}} 7\n")));
            assert!(text.contains(&format!("\n{start}_sum{{{labels}}} 12.000345\n")));
            let so_far: Vec<u64> = text
                .lines()
                .filter(|line| line.starts_with("pos_till_to_sales_seconds_bucket"))
                .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
                .collect();
            assert_eq!(so_far.first_chunk(), Some(&[3, 3, 7]));
            assert!(so_far.is_sorted());
        }
    }
}
