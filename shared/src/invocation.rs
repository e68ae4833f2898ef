//! What stands around every invocation: before it, the log learns whose lines follow; after its answer, what was counted goes
//! where it can be seen.
//!
//! *After the answer*: a layer of the Lambda runtime goes on when the answer has been sent, and asks for the next event when
//! it is done. Nobody waits for the flush but the execution environment, which is billed for its milliseconds, and it is never
//! frozen half-way.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use lambda_runtime::tower::layer::layer_fn;
use lambda_runtime::tower::{Service, ServiceExt};
use lambda_runtime::{Error, LambdaInvocation, Runtime};

use crate::aws::SdkConfig;
use crate::settings::Reader;
use crate::store::counters::Counters;
use crate::telemetry;

/// How often an execution environment adds to the table. What it has counted since, when it ends, is missing there: of the
/// last ten seconds in which it worked, and nothing else.
const FLUSH_EVERY: Duration = Duration::from_secs(10);
/// How long the table is waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// What must be left of the invocation's time when that begins.
const ROOM: Duration = Duration::from_millis(600);
/// How often it is logged that the table is away.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Adds what this execution environment counts to what all have counted.
pub struct Flushes {
    counters: Counters,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flushed_at: Option<Instant>,
    complained_at: Option<Instant>,
    ends_at: Option<SystemTime>,
}

/// Where this function adds what it counts.
pub fn counters(config: &SdkConfig, r: &Reader<'_>) -> Counters {
    let client = aws_sdk_dynamodb::Client::new(config);
    Counters::new(client, r.text("COORDINATION_TABLE"), telemetry::function())
}

/// As [`run`], for a function behind the gateway.
#[cfg(feature = "rest")]
pub async fn run_rest<'a, S>(service: S, counters: Counters) -> Result<(), Error>
where
    S: Service<lambda_http::Request, Response = lambda_http::Response<lambda_http::Body>, Error = Error>,
    S::Future: Send + 'a,
{
    run(Runtime::new(lambda_http::Adapter::from(service)), counters).await
}

/// Answers invocations until the execution environment ends.
pub async fn run<S>(runtime: Runtime<S>, counters: Counters) -> Result<(), Error>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
{
    let flushes = &Flushes::new(counters);
    let around = layer_fn(|service: S| {
        let begun = service.map_request(|invocation: LambdaInvocation| {
            flushes.begin(&invocation.context.request_id, invocation.context.deadline());
            invocation
        });
        begun.then(async |answered| {
            flushes.after_answer().await;
            answered
        })
    });
    runtime.layer(around).run().await
}

impl State {
    /// Whether the invocation has time for what comes after its answer.
    fn has_room(&self) -> bool {
        let left = self.ends_at.and_then(|end| end.duration_since(SystemTime::now()).ok());
        self.ends_at.is_none() || left.is_some_and(|left| left >= ROOM)
    }
}

impl Flushes {
    /// Has flushed nothing yet.
    pub fn new(counters: Counters) -> Self {
        Self { counters, state: Mutex::default() }
    }

    fn begin(&self, id: &str, ends_at: SystemTime) {
        telemetry::begin_invocation(id);
        self.with_state(|state| state.ends_at = Some(ends_at));
    }

    /// Writes the metrics of this invocation as lines, and adds to the table if it is time: at once after a quiet while.
    /// Sends spans before, where they are wanted.
    ///
    /// Never fails, and never takes longer than half a second for each. What could not be added is kept for the next time; if the
    /// table has added it all the same and its answer was lost, it counts twice.
    pub async fn after_answer(&self) {
        telemetry::write_lines();
        #[cfg(feature = "otlp")]
        if self.with_state(|state| state.has_room()) {
            telemetry::flush_spans(PATIENCE).await;
        }
        let is_due =
            self.with_state(|state| state.has_room() && state.flushed_at.is_none_or(|at| at.elapsed() >= FLUSH_EVERY));
        let counted = if is_due { telemetry::take() } else { return };
        if counted.is_empty() {
            return;
        }
        self.with_state(|state| state.flushed_at = Some(Instant::now()));
        let error = match tokio::time::timeout(PATIENCE, self.counters.add(&counted)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Some(error),
            Err(_elapsed) => None,
        };
        telemetry::put_back(&counted);
        telemetry::metrics::flush_failed();
        let complains = self.with_state(|state| {
            let is_quiet = state.complained_at.is_some_and(|at| at.elapsed() < COMPLAIN_EVERY);
            if !is_quiet {
                state.complained_at = Some(Instant::now());
            }
            !is_quiet
        });
        if complains {
            tracing::warn!(error = ?error, "what was counted could not be added to the table, and is kept");
        }
    }

    fn with_state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
