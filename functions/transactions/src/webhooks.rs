//! What has come by webhook, what became of it, and doing it once more.

pub(crate) mod detail;
pub(crate) mod replay;
pub(crate) mod scoreboard;

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use shared::domain::{Configuration, DeliveryOutcome, EventId};
use shared::problem::Problem;
use shared::rest::{Answer, Call, Cursors, Page, unavailable};
use shared::store::webhook_logs::{LogEntry, LogFilter, LogOwner, LogPosition, LoggedDelivery};

use crate::App;

pub(crate) const DEFAULT_PAGE: i32 = 50;

/// A delivery in short.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "WebhookDelivery"))]
pub struct DeliverySummary<'a> {
    /// The provider's id, or the hash of a body that has none.
    event_id: &'a EventId,
    /// In the provider's words; null for what cannot be read.
    event_type: Option<&'a str>,
    /// When it arrived.
    received_at: Timestamp,
    /// When the last work on it ended.
    finished_at: Timestamp,
    /// When the till has changed what it tells of, if it says so.
    changed_at: Option<Timestamp>,
    /// How it ended.
    outcome: DeliveryOutcome,
    /// Why, where it did not end as `done`.
    #[cfg_attr(feature = "schema", schemars(schema_with = "shared::domain::delivery_code"))]
    code: Option<&'a str>,
    /// How often it was worked on until it ended.
    attempts: u32,
}

impl<'a> DeliverySummary<'a> {
    pub(crate) fn new(entry: &'a LogEntry) -> Self {
        Self {
            event_id: &entry.event_id,
            event_type: entry.event_type.as_deref(),
            received_at: entry.received_at,
            finished_at: entry.finished_at,
            changed_at: entry.changed_at,
            outcome: entry.outcome,
            code: entry.code.as_deref(),
            attempts: entry.attempt,
        }
    }
}

/// A page, newest first. One read: where few of many are wanted, it may be short and yet have a next one.
pub async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration(app, call).await?.id;
    let mut parameters = call.parameters();
    let filter = LogFilter {
        outcome: parameters.get("outcome", "`done`, `ignored`, `failed` or `dead`"),
        code: parameters.get("code", "a stable word"),
        event_type: parameters.get("event_type", "the provider's word for a kind of event"),
        from: parameters.get("from", "a time, RFC 3339"),
        to: parameters.get("to", "a time, RFC 3339"),
    };
    let key = app.cursor_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, format!("webhooks {id} {filter:?}"));
    let (limit, start_after) = (parameters.limit(DEFAULT_PAGE), parameters.cursor::<LogPosition>(&cursors));
    parameters.finish()?;
    let found = app.logs.list(&call.scope, id, &filter, limit, start_after).await;
    let (page, _) = found.map_err(|error| unavailable(&error))?;
    let next_cursor = page.next.map(|last| cursors.write(&last)).transpose()?;
    Answer::json(StatusCode::OK, &Page { items: page.items.iter().map(DeliverySummary::new).collect(), next_cursor })
}

/// One as it came. Who has looked at it is written down before: it may name people.
pub async fn body(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = configuration(app, call).await?;
    let found = find(app, call, &configuration).await?;
    let sealed = found.sealed_body().ok_or_else(|| without_body(&found))?;
    let place = LogOwner::Configuration(call.scope.clone(), configuration.id).key();
    let body = app.bodies.open([&place, found.entry.event_id.as_str()], sealed).await;
    let body = body.map_err(|error| unavailable(&error))?;
    let noted = app.changes.note_body_read(&call.scope, &call.actor(), &configuration, &found.entry.event_id).await;
    noted.map_err(shared::rest::refused_change)?;
    Ok(Answer::raw_json(String::from_utf8_lossy(&body).into_owned()))
}

/// The configuration of the path, if the caller has it.
pub(crate) async fn configuration(app: &App, call: &Call) -> Result<Configuration, Problem> {
    let id = call.path_id("configuration_id", "configuration")?;
    let found = app.configurations.find(&call.scope, id).await.map_err(|error| unavailable(&error))?;
    found.ok_or_else(|| Problem::not_found("configuration"))
}

/// The delivery of the path.
async fn find(app: &App, call: &Call, configuration: &Configuration) -> Result<LoggedDelivery, Problem> {
    let event: EventId = call.path_id("event_id", "delivery")?;
    let owner = LogOwner::Configuration(call.scope.clone(), configuration.id);
    let found = app.logs.find(&owner, &event).await.map_err(|error| unavailable(&error))?;
    found.ok_or_else(|| Problem::not_found("delivery"))
}

fn without_body(found: &LoggedDelivery) -> Problem {
    let bytes = found.entry.omitted_body_bytes.unwrap_or(0);
    Problem::conflict(&format!(
        "the body, {bytes} bytes, was too large to be kept: let its day be read again by a `repair` sync"
    ))
}
