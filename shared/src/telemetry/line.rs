//! The canonical line: what became of one unit of work, with everything that somebody may want to filter by.
//!
//! One type for all functions, so that a field has one name. Ids yes; bodies, headers, secrets and names of people no.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::TraceParent;
use crate::domain::{ConfigurationId, TenantId};

/// Calls of this process, ever.
static AWS_CALLS: AtomicU64 = AtomicU64::new(0);
static PROVIDER_CALLS: AtomicU64 = AtomicU64::new(0);

/// Counts a request to AWS, each attempt of it.
pub fn count_aws_call() {
    AWS_CALLS.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn count_provider_call() {
    PROVIDER_CALLS.fetch_add(1, Ordering::Relaxed);
}

/// What is said about one unit of work. A unit is worked on alone, so the calls between its beginning and its end are its.
#[derive(Default)]
pub struct Line {
    begun: Option<(Instant, u64, u64)>,
    unit: &'static str,
    tenant_id: Option<String>,
    configuration_id: Option<String>,
    trace_id: Option<String>,
    /// Where spans are made of the lines: its own, its caller's, and whether the caller wants to see it.
    span: Option<(String, Option<String>, bool)>,
    /// How it ended: `done`, `repeat`, `ignored`, `failed`, `later`, `dropped`, or a word of the unit's own.
    pub outcome: &'static str,
    /// Why, if that is not plain: a stable word.
    pub reason: Option<String>,
    /// Of whom.
    pub provider: Option<&'static str>,
    /// The provider's id of the merchant or shop.
    pub merchant_id: Option<String>,
    /// The event that led to it.
    pub event_id: Option<String>,
    /// Of the queue.
    pub message_id: Option<String>,
    /// As a caller of the API knows it.
    pub request_id: Option<String>,
    /// Ours.
    pub transaction_id: Option<String>,
    /// Of the transaction.
    pub revision: Option<u64>,
    /// A sync's.
    pub run_id: Option<String>,
    /// Of the run.
    pub page: Option<u32>,
    /// Of the run or the job.
    pub kind: Option<&'static str>,
    /// A sold-out command's.
    pub command_id: Option<String>,
    /// Of a run, as it is now.
    pub state: Option<String>,
    /// `GET`, `POST` ...
    pub method: Option<String>,
    /// As the template has it.
    pub route: Option<String>,
    /// HTTP.
    pub status: Option<u16>,
    /// Of the body.
    pub bytes: Option<usize>,
    /// Of the queue, from 1.
    pub attempt: Option<u32>,
    /// How old it was at the end: from the arrival of a delivery, the reading of a page, the giving of a command.
    pub age_ms: Option<i64>,
    /// What it came to, by names that are ours.
    pub counts: Vec<(&'static str, u64)>,
}

impl Line {
    /// Begins a unit: `request`, `delivery`, `page`, `run`, `job`, `reply`, `command`, `sweep`, `tick`, `token`.
    pub fn begin(unit: &'static str) -> Self {
        let calls = (AWS_CALLS.load(Ordering::Relaxed), PROVIDER_CALLS.load(Ordering::Relaxed));
        Self { begun: Some((Instant::now(), calls.0, calls.1)), unit, outcome: "done", ..Self::default() }
    }

    /// Whose it is.
    pub fn of(mut self, tenant: &TenantId, configuration: ConfigurationId) -> Self {
        (self.tenant_id, self.configuration_id) = (Some(tenant.to_string()), Some(configuration.to_string()));
        self
    }

    /// Whose it is, if no more is known.
    pub fn of_tenant(mut self, tenant: impl Display) -> Self {
        self.tenant_id = Some(tenant.to_string()).filter(|tenant| !tenant.is_empty());
        self
    }

    /// To which connection it belongs, as a path says: what is none is left out.
    pub fn configuration(&mut self, id: Option<&str>) {
        self.configuration_id = id.and_then(|id| id.parse::<ConfigurationId>().ok()).map(|id| id.to_string());
    }

    /// To which trace it belongs.
    pub fn traced(mut self, trace: &TraceParent) -> Self {
        self.trace_id = Some(trace.trace_id().to_owned());
        if cfg!(feature = "otlp") {
            self.span = Some((trace.span_id().to_owned(), trace.caller().map(str::to_owned), trace.is_sampled()));
        }
        self
    }

    /// How it ended, and why if that is not plain.
    pub fn ended(mut self, outcome: &'static str, reason: impl Into<String>) -> Self {
        (self.outcome, self.reason) = (outcome, Some(reason.into()).filter(|reason| !reason.is_empty()));
        self
    }

    /// Writes the line. `message`: what was done, for a person.
    pub fn end(self, message: &'static str) {
        let Some((started, aws_calls, provider_calls)) = self.begun else { return };
        let (span, caller, is_sampled) = self.span.map_or((None, None, None), |(id, of, is)| (Some(id), of, Some(is)));
        let since = |now: &AtomicU64, then: u64| now.load(Ordering::Relaxed).saturating_sub(then);
        tracing::info!(
            target: super::format::LINE,
            unit = self.unit,
            outcome = self.outcome,
            reason = self.reason,
            tenant.id = self.tenant_id,
            configuration.id = self.configuration_id,
            provider = self.provider,
            merchant.id = self.merchant_id.filter(|id| !id.is_empty()),
            event.id = self.event_id.filter(|id| !id.is_empty()),
            message.id = self.message_id,
            request.id = self.request_id,
            transaction.id = self.transaction_id,
            revision = self.revision,
            run.id = self.run_id,
            page = self.page,
            kind = self.kind,
            command.id = self.command_id,
            state = self.state,
            trace.id = self.trace_id,
            span.id = span,
            span.parent_id = caller,
            span.sampled = is_sampled,
            http.method = self.method,
            http.route = self.route,
            http.status = self.status,
            bytes = self.bytes,
            attempt = self.attempt,
            provider_calls = since(&PROVIDER_CALLS, provider_calls),
            aws_calls = since(&AWS_CALLS, aws_calls),
            age_ms = self.age_ms,
            duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            counts = ?super::format::Counts(&self.counts),
            "{message}"
        );
    }
}
