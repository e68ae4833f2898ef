//! Logs: JSON lines, one canonical line per unit of work. Ids yes; bodies, headers, secrets and names of people no.

mod meter;
pub mod metrics;

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use uuid::Uuid;

pub use meter::{put_back, take, write_lines};

static FUNCTION: OnceLock<&'static str> = OnceLock::new();

/// The package's name.
fn function() -> &'static str {
    FUNCTION.get().copied().unwrap_or("other")
}

/// Starts logging and counting for a function, called as its package is. Lambda sends standard output to CloudWatch.
pub fn init(function: &'static str) {
    let _ = FUNCTION.set(function);
    meter::start(function);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_env_filter(filter).init();
}

/// A W3C `traceparent`: follows a sale from the webhook through the queues to the sales domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(String);

impl TraceParent {
    /// The caller's, if it is well formed, else a new one.
    pub fn from_header(header: Option<&str>) -> Self {
        header.and_then(|text| text.parse().ok()).unwrap_or_else(Self::generate)
    }

    /// A new trace, sampled.
    pub fn generate() -> Self {
        let span = Uuid::new_v4().simple().to_string();
        let span = span.get(..16).unwrap_or("0000000000000001");
        Self(format!("00-{}-{span}-01", Uuid::new_v4().simple()))
    }

    /// As it is written in headers and events.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidTraceParent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_traceparent_is_carried_on() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceParent::from_header(Some(good)).as_str(), good);
        for bad in ["", "00-x", &good.to_uppercase(), &good.replace("00f067aa0ba902b7", "0000000000000000")] {
            assert_ne!(TraceParent::from_header(Some(bad)).as_str(), bad);
        }
        assert!(TraceParent::generate().as_str().parse::<TraceParent>().is_ok());
    }
}
