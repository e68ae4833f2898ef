//! Spans over OTLP: every canonical line once more, as a span of the trace that it belongs to, with the provider's requests
//! inside it. Linked by the feature `otlp` alone, and silent without `OTEL_EXPORTER_OTLP_ENDPOINT`.
//!
//! Nothing is detached: what has ended is sent after the answer, by whoever has called [`flush`], or it is dropped. Spans
//! are for looking, the lines are the record.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::format::{Fields, LINE, Lines};
use super::new_span;
use crate::domain::ProviderKind;

/// Where spans go; the exporter adds `/v1/traces`, and reads the standard's other variables by itself.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// What is kept of one invocation.
const MOST: usize = 1_000;
/// How long a receiver that has failed is left alone.
const REST: Duration = Duration::from_secs(60);

static EXPORTER: OnceLock<SpanExporter> = OnceLock::new();
static STATE: Mutex<State> = Mutex::new(State { ended: Vec::new(), calls: Vec::new(), rests_until: None });

struct State {
    /// Spans that nobody has sent yet.
    ended: Vec<SpanData>,
    /// Requests to providers, of the unit that is being worked on. Where several are at once (days that are closed), they
    /// stand under the one that ends next.
    calls: Vec<SpanData>,
    rests_until: Option<Instant>,
}

fn state<T>(work: impl FnOnce(&mut State) -> T) -> T {
    work(&mut STATE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Starts logging, and the export if the deployment says where to.
pub(super) fn init(lines: Lines, level: LevelFilter) {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    let exports = std::env::var(ENDPOINT).is_ok_and(|endpoint| !endpoint.is_empty());
    let built = exports.then(|| exporter(&lines)).transpose();
    let spans = built
        .as_ref()
        .is_ok_and(Option::is_some)
        .then(|| Spans.with_filter(filter_fn(|it| it.target() == LINE).with_max_level_hint(LevelFilter::INFO)));
    let log = tracing_subscriber::fmt::layer().event_format(lines).with_filter(level);
    tracing_subscriber::registry().with(log).with(spans).init();
    match built {
        Ok(Some(exporter)) => drop(EXPORTER.set(exporter)),
        Ok(None) => {}
        Err(error) => tracing::error!(error, "spans are not exported"),
    }
}

fn exporter(lines: &Lines) -> Result<SpanExporter, String> {
    // Fails only if a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client.map_err(|error| error.to_string())?)
        .with_protocol(Protocol::HttpJson)
        .build()
        .map_err(|error| error.to_string())?;
    let attributes = [
        KeyValue::new("service.namespace", "pos-integration"),
        KeyValue::new("service.version", lines.version.clone()),
        KeyValue::new("deployment.environment.name", lines.env.clone()),
    ];
    let resource = Resource::builder_empty().with_service_name(lines.function).with_attributes(attributes).build();
    exporter.set_resource(&resource);
    Ok(exporter)
}

/// Sends what has ended, and waits so long at most. What is not taken is dropped, and nothing is tried for a minute.
pub async fn flush(patience: Duration) {
    let Some(exporter) = EXPORTER.get() else { return };
    let (spans, rests) =
        state(|it| (std::mem::take(&mut it.ended), it.rests_until.is_some_and(|until| Instant::now() < until)));
    if spans.is_empty() || rests {
        return;
    }
    let number = spans.len();
    let error = match tokio::time::timeout(patience, exporter.export(spans)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(elapsed) => elapsed.to_string(),
    };
    state(|it| it.rests_until = Some(Instant::now() + REST));
    tracing::warn!(number, error, "spans were not taken");
}

/// A provider was asked, just now.
pub(super) fn asked(provider: ProviderKind, operation: &str, status: Option<u16>, took: Duration) {
    let mut attributes = vec![KeyValue::new("provider", provider.as_str())];
    attributes.extend(status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
    let failed = status.is_none_or(|status| status >= 400);
    let status = if failed { Status::error("") } else { Status::Unset };
    let name = format!("{provider} {operation}");
    // Whose it is, the unit says when it ends.
    let span = span(SpanContext::NONE, SpanId::INVALID, (name, SpanKind::Client), took, attributes, status);
    if EXPORTER.get().is_some() {
        state(|it| it.calls.push(span));
    }
}

struct Spans;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Fields { mut all, .. } = Fields::of(event);
        let calls = state(|it| std::mem::take(&mut it.calls));
        let Some(context) = context(&mut all) else { return };
        let parent = text(&mut all, "span.parent_id").and_then(|id| SpanId::from_hex(&id).ok());
        let calls = calls.into_iter().map(|call| SpanData {
            span_context: beside(&context),
            parent_span_id: context.span_id(),
            ..call
        });
        let unit = of_line(context.clone(), parent.unwrap_or(SpanId::INVALID), all);
        state(|it| {
            let room = MOST.saturating_sub(it.ended.len());
            it.ended.extend(std::iter::once(unit).chain(calls).take(room));
        });
    }
}

/// `None`: whoever has begun the trace does not want it to be recorded.
fn context(all: &mut Map<String, Value>) -> Option<SpanContext> {
    let (trace, span) = (text(all, "trace.id"), text(all, "span.id"));
    let is_sampled = all.remove("span.sampled").is_none_or(|sampled| sampled == Value::Bool(true));
    let id = |text: Option<String>| TraceId::from_hex(&text?).ok();
    // A tick belongs to no trace, so it is one.
    let trace = id(trace).or_else(|| id(Some(uuid::Uuid::new_v4().simple().to_string())))?;
    let span = SpanId::from_hex(&span.unwrap_or_else(new_span)).ok()?;
    is_sampled.then(|| SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE))
}

/// Another span of the same trace.
fn beside(context: &SpanContext) -> SpanContext {
    let id = SpanId::from_hex(&new_span()).unwrap_or(SpanId::INVALID);
    SpanContext::new(context.trace_id(), id, TraceFlags::SAMPLED, false, TraceState::NONE)
}

/// What a canonical line says, as a span.
fn of_line(context: SpanContext, parent: SpanId, mut all: Map<String, Value>) -> SpanData {
    let unit = text(&mut all, "unit").unwrap_or_default();
    let took = all.remove("duration_ms").and_then(|it| it.as_u64()).unwrap_or_default();
    let kind = match unit.as_str() {
        "request" | "webhook" | "token" => SpanKind::Server,
        "sweep" | "tick" => SpanKind::Internal,
        _ => SpanKind::Consumer,
    };
    let has_failed = all.get("outcome").is_some_and(|outcome| outcome == "failed")
        || all.get("http.status").and_then(Value::as_u64).is_some_and(|status| status >= 500);
    let why = all.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
    let status = if has_failed { Status::error(why) } else { Status::Unset };
    let attributes = all.into_iter().map(|(name, value)| match value {
        Value::Bool(value) => KeyValue::new(name, value),
        Value::Number(value) => KeyValue::new(name, value.as_i64().unwrap_or(i64::MAX)),
        Value::String(value) => KeyValue::new(name, value),
        value @ (Value::Null | Value::Array(_) | Value::Object(_)) => KeyValue::new(name, value.to_string()),
    });
    span(context, parent, (unit, kind), Duration::from_millis(took), attributes.collect(), status)
}

fn span(
    span_context: SpanContext,
    parent_span_id: SpanId,
    (name, span_kind): (String, SpanKind),
    took: Duration,
    attributes: Vec<KeyValue>,
    status: Status,
) -> SpanData {
    let end_time = SystemTime::now();
    SpanData {
        span_context,
        parent_span_id,
        parent_span_is_remote: true,
        span_kind,
        name: name.into(),
        start_time: end_time.checked_sub(took).unwrap_or(end_time),
        end_time,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder("shared").build(),
    }
}

fn text(all: &mut Map<String, Value>, name: &str) -> Option<String> {
    match all.remove(name) {
        Some(Value::String(text)) => Some(text),
        Some(_) | None => None,
    }
}
