//! What operators see: log lines, one canonical line per unit of work; metrics; and the trace that a sale belongs to.

mod format;
mod line;
mod meter;
pub mod metrics;
#[cfg(feature = "otlp")]
mod spans;

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::filter::LevelFilter;
use uuid::Uuid;

pub use line::{Line, count_aws_call};
pub use meter::{put_back, take, write_lines};
#[cfg(feature = "otlp")]
pub use spans::flush as flush_spans;

static FUNCTION: OnceLock<&'static str> = OnceLock::new();
static IS_WARM: AtomicBool = AtomicBool::new(false);

/// The name of this function's package; `other` if it has not been said.
pub fn function() -> &'static str {
    FUNCTION.get().copied().unwrap_or("other")
}

/// Starts logging and counting for a function, called as its package is. Lambda sends standard output to CloudWatch.
pub fn init(function: &'static str) {
    let _ = FUNCTION.set(function);
    meter::start(function);
    let variable = |name| std::env::var(name).unwrap_or_default();
    let level = variable("RUST_LOG").parse().unwrap_or(LevelFilter::INFO);
    let (version, env) = (variable("AWS_LAMBDA_FUNCTION_VERSION"), variable("DEPLOYMENT_ENV"));
    let lines = format::Lines { function, version, env };
    #[cfg(not(feature = "otlp"))]
    tracing_subscriber::fmt().event_format(lines).with_max_level(level).init();
    #[cfg(feature = "otlp")]
    spans::init(lines, level);
}

/// Says which invocation the next lines belong to.
pub fn begin_invocation(id: &str) {
    let is_cold = !IS_WARM.swap(true, Ordering::Relaxed);
    format::begin(id, is_cold);
    if is_cold {
        metrics::cold_start();
    }
}

/// A W3C `traceparent`: follows a sale from the webhook through the queues to the sales domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    text: String,
    /// The span that led to this one, of what was read.
    caller: Option<String>,
}

impl TraceParent {
    /// Our hop in the caller's trace, if there is a well-formed one; else in a new trace.
    pub fn from_header(header: Option<&str>) -> Self {
        header.and_then(|text| text.parse().ok()).map_or_else(Self::generate, |caller: Self| caller.next_hop())
    }

    /// A new trace, sampled.
    pub fn generate() -> Self {
        Self { text: format!("00-{}-{}-01", Uuid::new_v4().simple(), new_span()), caller: None }
    }

    /// The next hop of the same trace: a span of our own, under the caller's.
    pub fn next_hop(&self) -> Self {
        let flags = self.text.get(52..).unwrap_or("-01");
        let text = format!("00-{}-{}{flags}", self.trace_id(), new_span());
        Self { text, caller: Some(self.span_id().to_owned()) }
    }

    /// What all hops have in common: 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        self.text.get(3..35).unwrap_or_default()
    }

    /// This hop's own: 16 hexadecimal digits.
    pub fn span_id(&self) -> &str {
        self.text.get(36..52).unwrap_or_default()
    }

    /// The hop before it, if it was ours to make one.
    pub fn caller(&self) -> Option<&str> {
        self.caller.as_deref()
    }

    /// Whether whoever has begun the trace wants to see it.
    pub fn is_sampled(&self) -> bool {
        let flags = self.text.get(53..).and_then(|flags| u8::from_str_radix(flags, 16).ok());
        flags.is_some_and(|flags| flags & 1 == 1)
    }

    /// As it is written in headers and events.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn new_span() -> String {
    // The variant's bits are in these digits: never all zero.
    format!("{:016x}", Uuid::new_v4().as_u64_pair().1)
}

/// Not the form that <https://www.w3.org/TR/trace-context/> gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct InvalidTraceParent;

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let is_hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let is_set = |part: &str| part.bytes().any(|b| b != b'0');
        match text.split('-').collect::<Vec<_>>().as_slice() {
            ["00", trace, span, flags]
                if [trace.len(), span.len(), flags.len()] == [32, 16, 2]
                    && [trace, span, flags].into_iter().all(|part| is_hex(part))
                    && is_set(trace)
                    && is_set(span) =>
            {
                Ok(Self { text: text.to_owned(), caller: None })
            }
            _ => Err(InvalidTraceParent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_a_span_of_its_own_in_the_callers_trace() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let hop = TraceParent::from_header(Some(good));
        assert_eq!((hop.trace_id(), &hop.as_str()[52..]), (&good[3..35], "-00"));
        assert_eq!((hop.caller(), hop.is_sampled()), (Some(&good[36..52]), false));
        assert!(TraceParent::generate().is_sampled());
        assert_ne!(hop.as_str(), good);
        assert!(hop.as_str().parse::<TraceParent>().is_ok());
        for bad in ["", "00-x", &good.to_uppercase(), &good.replace("00f067aa0ba902b7", "0000000000000000")] {
            assert_ne!(TraceParent::from_header(Some(bad)).trace_id(), hop.trace_id());
        }
        assert!(TraceParent::generate().as_str().parse::<TraceParent>().is_ok());
    }
}
