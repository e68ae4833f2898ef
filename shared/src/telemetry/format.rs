//! How a line of the log is written: one JSON object that begins with its time.
//!
//! Whatever a stranger has made us say stands inside a JSON string: it can neither end the line nor begin one that
//! CloudWatch takes for a metric (`{"_aws"` ...). `timestamp` and `level` are the names that Lambda's own JSON format filters
//! by, so the lines are good for both formats of a function.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Marks canonical lines; not shown, as `unit` says it.
pub(super) const LINE: &str = "line";

/// What every line says of the invocation that it belongs to.
static INVOCATION: Mutex<Invocation> = Mutex::new(Invocation { id: String::new(), is_cold: true });

struct Invocation {
    id: String,
    is_cold: bool,
}

/// Says which invocation the next lines belong to.
pub(super) fn begin(id: &str, is_cold: bool) {
    *INVOCATION.lock().unwrap_or_else(PoisonError::into_inner) = Invocation { id: id.to_owned(), is_cold };
}

/// The writer of all lines of one function.
pub(super) struct Lines {
    /// The package's name.
    pub function: &'static str,
    /// The deployed version of it.
    pub version: String,
    /// Where the stack runs.
    pub env: String,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Fields { is_line, message, mut all } = Fields::of(event);
        {
            let invocation = INVOCATION.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert("function".into(), self.function.into());
            all.insert("version".into(), self.version.as_str().into());
            all.insert("env".into(), self.env.as_str().into());
            all.insert("cold_start".into(), invocation.is_cold.into());
            all.insert("invocation.id".into(), invocation.id.as_str().into());
        }
        let metadata = event.metadata();
        if !is_line {
            all.insert("target".into(), metadata.target().into());
        }
        let rest = Value::Object(all).to_string();
        let (level, message) = (metadata.level(), Value::from(message));
        let rest = rest.strip_prefix('{').unwrap_or(&rest);
        writeln!(writer, r#"{{"timestamp":"{:.3}","level":"{level}","message":{message},{rest}"#, Timestamp::now())
    }
}

/// What an event says.
#[derive(Default)]
pub(super) struct Fields {
    is_line: bool,
    message: String,
    /// Everything but the message.
    pub all: Map<String, Value>,
}

impl Fields {
    pub fn of(event: &Event<'_>) -> Self {
        let mut fields = Self { is_line: event.metadata().target() == LINE, ..Self::default() };
        event.record(&mut fields);
        fields
    }

    fn keep(&mut self, field: &Field, value: impl Into<Value>) {
        self.all.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            "counts" if self.is_line => self.all.extend(Counts::read(&text)),
            _ => self.keep(field, text),
        }
    }
}

/// Numbers by name, which become fields of the line: a unit has its own, and a line names no field that is not there.
pub(super) struct Counts<'c>(pub &'c [(&'static str, u64)]);

impl fmt::Debug for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, count)| write!(f, "{name}={count} "))
    }
}

impl Counts<'_> {
    fn read(text: &str) -> impl Iterator<Item = (String, Value)> {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, count)| (name.to_owned(), count.parse::<u64>().unwrap_or_default().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::line::Line;
    use std::io::Write;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(say: impl FnOnce()) -> String {
        let written = Written::default();
        let into = written.clone();
        let lines = Lines { function: "webhooks", version: "$LATEST".into(), env: "local".into() };
        let subscriber = tracing_subscriber::fmt().event_format(lines).with_writer(move || into.clone()).finish();
        tracing::subscriber::with_default(subscriber, say);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_foreign_text_breaks_a_line_or_begins_a_metric() {
        let metric = r#"{"_aws":{"Timestamp":0,"CloudWatchMetrics":[]}}"#;
        let hostile = [
            format!("\n{metric}\n"),
            format!("\r\n{metric}"),
            format!("\"}}\n{metric}"),
            format!("\u{2028}{metric}\u{0}\u{1b}[2J\u{7f}"),
            metric.to_owned(),
            "x=1 resent=99 counts=5".to_owned(),
            "\u{202e}\u{feff}😀\\\\\"".to_owned(),
        ];
        for text in &hostile {
            let output = written(|| {
                tracing::warn!(event.id = %text, error = ?text, text, "{text}");
                let mut line = Line::begin("delivery").of_tenant(text);
                (line.reason, line.event_id, line.merchant_id) =
                    (Some(text.clone()), Some(text.clone()), Some(text.clone()));
                (line.message_id, line.route, line.counts) =
                    (Some(text.clone()), Some(text.clone()), vec![("transactions", 2)]);
                line.end("worked on a delivery");
            });
            let lines: Vec<&str> = output.split_terminator('\n').collect();
            assert_eq!(lines.len(), 2, "{output}");
            for line in &lines {
                assert!(line.starts_with(r#"{"timestamp":""#) && !line.contains('\r'), "{line}");
            }
            let [first, second] = [0, 1].map(|index| serde_json::from_str::<Value>(lines[index]).unwrap());
            assert_eq!((first["message"].as_str(), first["event.id"].as_str()), (Some(&**text), Some(&**text)));
            assert!(first.get("_aws").is_none() && second.get("_aws").is_none() && second.get("resent").is_none());
            assert_eq!((second["reason"].as_str(), second["transactions"].as_u64()), (Some(&**text), Some(2)));
        }
    }

    #[test]
    fn a_canonical_line_has_one_list_of_fields() {
        let output = written(|| {
            let mut line = Line::begin("page");
            (line.outcome, line.attempt, line.counts) = ("repeat", Some(2), vec![("seen", 3), ("created", 0)]);
            line.end("worked on a page");
        });
        let line: Value = serde_json::from_str(&output).unwrap();
        for name in ["timestamp", "level", "message", "function", "version", "env", "cold_start", "invocation.id"] {
            assert!(line.get(name).is_some(), "no {name}: {output}");
        }
        for (name, value) in [
            ("unit", Value::from("page")),
            ("outcome", "repeat".into()),
            ("attempt", 2.into()),
            ("seen", 3.into()),
            ("created", 0.into()),
            ("aws_calls", 0.into()),
            ("provider_calls", 0.into()),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
        for name in ["tenant.id", "reason", "run.id", "counts", "target"] {
            assert!(line.get(name).is_none(), "{name} has no value: {output}");
        }
    }
}
