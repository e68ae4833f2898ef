//! What Prometheus reads: the counters of all execution environments, and what can be seen at this moment.
//!
//! Whatever the scrape asks of AWS is bounded: one read for the counters, one for the breakers, one for each queue and each
//! shard of an index. What cannot be asked is left out, and said to be.

mod gauges;
mod text;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::problem::Problem;
use shared::rest::{Answer, Question, unavailable};
use shared::telemetry::metrics::Tally;

pub(crate) use gauges::Reading;
pub use gauges::{GAUGES, Gauge};
use text::Format;

use crate::App;

/// Several Prometheus servers, or one that is impatient, cost no more than one.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// What was looked at a moment ago, and when.
pub(crate) struct Kept<T>(Mutex<Option<(Instant, Arc<T>)>>);

/// Answers a scrape, in the format that it asks for.
pub async fn scrape(app: &App, question: &Question) -> Result<Answer, Problem> {
    let format = Format::wanted(question.header(http::header::ACCEPT));
    let (counted, seen) =
        tokio::join!(counted(app), app.seen.get(async || Ok::<_, Infallible>(gauges::look(app).await)));
    let Ok(seen) = seen;
    // The gauges are worth having alone.
    let is_counted = gauges::source("counters", counted.is_ok());
    let counted = counted.unwrap_or_default();
    let text = text::write(format, &counted, seen.iter().chain([&is_counted]));
    Ok(Answer::text(format.media_type(), text))
}

/// What all functions have counted.
pub(crate) async fn counted(app: &App) -> Result<Arc<Tally>, Problem> {
    app.counted.get(|| app.counters.read()).await.map_err(|error| unavailable(&error))
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// What was looked at ten seconds ago at most.
    async fn get<E>(&self, look: impl AsyncFnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((looked_at, kept)) = kept
            && looked_at.elapsed() < FRESH_FOR
        {
            return Ok(kept);
        }
        let fresh = Arc::new(look().await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Arc::clone(&fresh)));
        Ok(fresh)
    }
}
