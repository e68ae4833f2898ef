//! Deliveries, once more: one, or all that have ended in one way within a time.
//!
//! Whoever asks for many counts first and says how many they are. What was asked for is written down with its audit row,
//! then each delivery goes as a message of its own to the queue of the past, where the normalizer works on it behind live
//! sales. A repeat with the same `Idempotency-Key` calls for the same again, and a delivery is replayed once for each
//! replay, so whoever was cut off asks again.

use std::collections::BTreeMap;

use http::StatusCode;
use http::header::LOCATION;
use jiff::Timestamp;
use serde::Serialize;
use shared::domain::{Configuration, DeliveryOutcome, EventId, Replay, ReplayId, ReplayRequest, Replayed};
use shared::problem::Problem;
use shared::rest::{Answer, Call, refused_change, require_readable, unavailable};
use shared::store::configurations::CommitError;
use shared::store::webhook_logs::{LogEntry, LogFilter};

use super::{configuration, find, without_body};
use crate::App;

/// What one request replays at most: a hundred calls of the queue.
pub(crate) const MOST: usize = 1000;
/// What is looked at for it at most: ten reads of an index.
const MOST_EXAMINED: usize = 10_000;
/// Entries that are read at once.
const READ: i32 = 1000;

/// Which deliveries shall be worked on once more.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "ReplayRequestBody")]
#[expect(dead_code, reason = "only its shape is wanted")]
pub struct ReplayBody {
    /// Ended like this.
    outcome: DeliveryOutcome,
    /// For this reason only.
    code: Option<String>,
    /// Arrived then or later.
    from: Option<Timestamp>,
    /// Arrived then or earlier.
    to: Timestamp,
    /// How many that are. Without it they are counted, and nothing is replayed.
    expected: Option<u64>,
}

/// How many deliveries match.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplayCount {
    /// Those that can be replayed.
    matching: u64,
    /// How many of them by code.
    codes: BTreeMap<String, u64>,
    /// Those that cannot, because their bodies were too large to be kept: a `repair` sync of their days reads the sales.
    without_body: u64,
}

/// A replay and how far it is.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ReplayProgress"))]
pub struct ReplayView<'a> {
    #[serde(flatten)]
    replay: &'a Replay,
    /// Deliveries that were worked on so far.
    worked_on: u64,
    /// Of those, how many ended how.
    outcomes: BTreeMap<&'static str, u64>,
    /// Of those, how many did not end well, and why.
    codes: BTreeMap<&'a str, u64>,
    /// Whether nothing more comes of it.
    is_done: bool,
}

impl<'a> ReplayView<'a> {
    fn new(replay: &'a Replay, done: &'a [Replayed]) -> Self {
        let (mut outcomes, mut codes) = (BTreeMap::new(), BTreeMap::new());
        for replayed in done {
            *outcomes.entry(replayed.outcome.as_str()).or_default() += 1;
            if let Some(code) = &replayed.code {
                *codes.entry(code.as_str()).or_default() += 1;
            }
        }
        let worked_on = u64::try_from(done.len()).unwrap_or(u64::MAX);
        Self { replay, worked_on, outcomes, codes, is_done: worked_on >= replay.deliveries }
    }
}

/// Replays one delivery.
pub async fn one(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = configuration(app, call).await?;
    let found = find(app, call, &configuration).await?;
    if !found.has_body() {
        return Err(without_body(&found));
    }
    let event_id = found.entry.event_id;
    begin(app, call, &configuration, ReplayRequest::Delivery { event_id: event_id.clone() }, vec![event_id]).await
}

/// Counts what matches, or replays it.
pub async fn many(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = configuration(app, call).await?;
    let mut fields = call.fields()?;
    let outcome = fields.required::<DeliveryOutcome>("outcome");
    let code = fields.optional::<String>("code");
    let from = fields.optional::<Timestamp>("from");
    let to = fields.required::<Timestamp>("to");
    let expected = fields.optional::<u64>("expected");
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        fields.refuse("from", "is after `to`");
    }
    fields.finish()?;
    let (outcome, to) = outcome.zip(to).ok_or_else(Problem::internal)?;
    let filter = LogFilter { outcome: Some(outcome), code: code.clone(), event_type: None, from, to: Some(to) };
    let found = matching(app, call, &configuration, &filter).await?;
    let (kept, omitted): (Vec<_>, Vec<_>) = found.into_iter().partition(|it| it.omitted_body_bytes.is_none());
    let count = |entries: &[LogEntry]| u64::try_from(entries.len()).unwrap_or(u64::MAX);
    let matching = count(&kept);
    let Some(expected) = expected else {
        let mut codes = BTreeMap::<String, u64>::new();
        kept.iter().filter_map(|it| it.code.clone()).for_each(|code| *codes.entry(code).or_default() += 1);
        return Answer::json(StatusCode::OK, &ReplayCount { matching, codes, without_body: count(&omitted) });
    };
    // Whoever repeats a request finds fewer: those that were replayed have another end by now.
    let is_repeat = match call.idempotency_key()? {
        Some(key) => find_replay(app, call, &configuration, ReplayId::of_key(&call.scope, configuration.id, key)).await,
        None => Ok(None),
    }?;
    if is_repeat.is_none() && expected != matching {
        return Err(Problem::conflict(&format!("{matching} match, and {expected} were expected: count again")));
    }
    let events = kept.into_iter().map(|entry| entry.event_id).collect();
    begin(app, call, &configuration, ReplayRequest::Window { outcome, code, from, to }, events).await
}

/// Shows how far one is.
pub async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = configuration(app, call).await?;
    let id = call.path_id("replay_id", "replay")?;
    let replay = find_replay(app, call, &configuration, id).await?.ok_or_else(|| Problem::not_found("replay"))?;
    let done = app.sync_logs.list_replayed(&call.scope, configuration.id, id).await;
    Answer::json(StatusCode::OK, &ReplayView::new(&replay, &done.map_err(|error| unavailable(&error))?))
}

/// All that match, if they are no more than one request replays.
async fn matching(
    app: &App,
    call: &Call,
    configuration: &Configuration,
    filter: &LogFilter,
) -> Result<Vec<LogEntry>, Problem> {
    let (mut found, mut examined, mut after) = (Vec::new(), 0, None);
    loop {
        let read = app.logs.list(&call.scope, configuration.id, filter, READ, after).await;
        let (page, looked_at) = read.map_err(|error| unavailable(&error))?;
        found.extend(page.items);
        examined += looked_at;
        if found.len() > MOST || (examined >= MOST_EXAMINED && page.next.is_some()) {
            let detail = format!("more than {MOST} match, or too many lie in between: ask for a shorter time");
            return Err(Problem::conflict(&detail));
        }
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// Writes down what is wanted, and calls for it.
async fn begin(
    app: &App,
    call: &Call,
    configuration: &Configuration,
    request: ReplayRequest,
    events: Vec<EventId>,
) -> Result<Answer, Problem> {
    require_readable(configuration)?;
    let key = call.idempotency_key()?;
    let id = key.map_or_else(ReplayId::generate, |key| ReplayId::of_key(&call.scope, configuration.id, key));
    let deliveries = u64::try_from(events.len()).unwrap_or(u64::MAX);
    let mut replay = Replay { id, by: call.subject.clone(), at: Timestamp::now(), request, deliveries };
    match app.changes.begin_replay(&call.scope, &call.actor(), configuration, &replay).await {
        Ok(()) => {}
        Err(CommitError::Busy) => {
            let known = find_replay(app, call, configuration, id).await?.ok_or_else(Problem::internal)?;
            if known.request != replay.request {
                return Err(Problem::idempotency_key_reused());
            }
            replay = known;
        }
        Err(error) => return Err(refused_change(error)),
    }
    let sent = app.jobs.send_replays(&call.scope, configuration.id, &replay, &events, &call.trace()).await;
    sent.map_err(|error| unavailable(&error))?;
    let (configuration_path, _) = call.path().rsplit_once("/webhooks/").ok_or_else(Problem::internal)?;
    let location = format!("{configuration_path}/webhooks/replays/{id}");
    Ok(Answer::json(StatusCode::ACCEPTED, &ReplayView::new(&replay, &[]))?.header(LOCATION, location))
}

async fn find_replay(
    app: &App,
    call: &Call,
    configuration: &Configuration,
    id: ReplayId,
) -> Result<Option<Replay>, Problem> {
    app.sync_logs.find_replay(&call.scope, configuration.id, id).await.map_err(|error| unavailable(&error))
}
