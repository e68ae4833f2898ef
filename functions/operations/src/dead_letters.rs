//! What was given up: by queue and reason, and once more to where it came from.
//!
//! Nothing is moved here. A redrive is written down, and `dead-letters` does it within a minute: it may take longer than a
//! caller waits, and who may ask for it need not be able to do it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use http::StatusCode;
use http::header::LOCATION;
use jiff::Timestamp;
use serde::Serialize;
use shared::domain::{DeadLetterQueue, Redrive, RedriveId, RedriveScope, RedriveState};
use shared::problem::Problem;
use shared::queue::dead_letters::{DeadLetter, DeadLetters};
use shared::rest::{Answer, Operator, Question, unavailable};

use crate::App;

/// Messages of a queue that are looked at.
const MOST: u64 = 1_000;
/// How long a queue is looked at.
const PATIENCE: Duration = Duration::from_secs(6);
/// Messages of a group that are shown.
const SAMPLE: usize = 3;

/// What is wanted: one of the two.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "RedriveRequest")]
#[expect(dead_code, reason = "only its shape is wanted")]
pub struct RedriveBody {
    /// Everything that was given up for this reason.
    reason: Option<String>,
    /// This message, by the queue's id.
    message_id: Option<String>,
}

/// Everything that was given up.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "DeadLetters"))]
pub struct Overview {
    queues: Vec<QueueView>,
}

/// What lies on one queue.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "DeadLettersOfQueue"))]
struct QueueView {
    queue: DeadLetterQueue,
    /// How many messages the queue counts, approximately.
    messages: u64,
    /// Whether the groups hold all of them: a long queue is only looked at for some seconds.
    is_complete: bool,
    /// By reason, the largest first.
    groups: Vec<Group>,
    /// The last ones, newest first, with who has asked for them.
    redrives: Vec<Redrive>,
}

/// What was given up for one reason.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "DeadLetterGroup"))]
struct Group {
    /// The word of the function that has parked them, or `receive_limit_reached`.
    reason: String,
    messages: u64,
    /// When the oldest of them was sent, or parked.
    first_sent_at: Timestamp,
    /// When the newest of them was.
    last_sent_at: Timestamp,
    /// Since the oldest of them was sent, or parked.
    age_seconds: i64,
    /// The oldest of them.
    sample: Vec<Sample>,
}

/// A message, by what it is called. What it says is nobody's business here.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "DeadLetterSample"))]
struct Sample {
    /// The queue's id.
    message_id: String,
    sent_at: Timestamp,
    /// What it is, with its version, if it says so: `delivery.v1`, say.
    kind: Option<String>,
    /// The tenant and the configuration that it is about, if it says so.
    configuration: Option<String>,
    /// The trace that it belongs to, if it says so.
    traceparent: Option<String>,
}

/// Shows everything that was given up.
pub async fn list(app: &App) -> Result<Answer, Problem> {
    let queues = DeadLetterQueue::ALL.map(|queue| look(app, queue));
    Answer::json(StatusCode::OK, &Overview { queues: try_join_all(queues).await? })
}

async fn look(app: &App, queue: DeadLetterQueue) -> Result<QueueView, Problem> {
    let letters = app.dead_letters(queue);
    let redrives = app.coordination.load_redrives(queue).await.map_err(|error| unavailable(&error))?;
    let depth = letters.depth().await.map_err(|error| unavailable(&error))?;
    let messages = depth.visible + depth.in_flight;
    let found = if depth.visible == 0 { Vec::new() } else { peek(letters, depth.visible).await? };
    let is_complete = u64::try_from(found.len()).unwrap_or(u64::MAX) >= messages;
    Ok(QueueView { queue, messages, is_complete, groups: grouped(found), redrives: redrives.all().to_vec() })
}

/// Looks at messages. What they say is nobody's business here.
async fn peek(letters: &DeadLetters, visible: u64) -> Result<Vec<DeadLetter>, Problem> {
    let found = letters.look(visible.min(MOST), Instant::now() + PATIENCE, |mut letter| {
        letter.message.body = None;
        Some(letter)
    });
    found.await.map_err(|error| unavailable(&error))
}

fn grouped(mut found: Vec<DeadLetter>) -> Vec<Group> {
    let now = Timestamp::now();
    found.sort_by_key(|letter| letter.sent_at);
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for letter in found {
        let sent_at = letter.sent_at;
        let group = groups.entry(letter.reason.clone()).or_insert_with(|| Group {
            reason: letter.reason.clone(),
            messages: 0,
            first_sent_at: sent_at,
            last_sent_at: sent_at,
            age_seconds: now.duration_since(sent_at).as_secs(),
            sample: Vec::new(),
        });
        group.messages += 1;
        group.last_sent_at = sent_at;
        if group.sample.len() < SAMPLE {
            group.sample.push(Sample {
                message_id: letter.id().to_owned(),
                sent_at,
                kind: letter.attribute("kind"),
                configuration: letter.attribute("configuration"),
                traceparent: letter.attribute("traceparent"),
            });
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.messages));
    groups
}

/// Asks for a redrive. The same `Idempotency-Key` and body: the same one.
pub async fn redrive(app: &App, question: &Question, operator: &Operator) -> Result<Answer, Problem> {
    let queue: DeadLetterQueue = question.path_id("queue", "queue")?;
    let mut fields = question.fields()?;
    let (reason, message_id) = (fields.optional::<String>("reason"), fields.optional::<String>("message_id"));
    let scope = match (reason, message_id) {
        (Some(reason), None) => Some(RedriveScope::Reason(reason)),
        (None, Some(id)) => Some(RedriveScope::MessageId(id)),
        (None, None) | (Some(_), Some(_)) => {
            fields.refuse("reason", "say either which reason or which message_id");
            None
        }
    };
    fields.finish()?;
    let scope = scope.ok_or_else(Problem::internal)?;
    let id =
        question.idempotency_key()?.map_or_else(RedriveId::generate, |key| RedriveId::of_key(&operator.subject, key));
    let seen = app.coordination.load_redrives(queue).await.map_err(|error| unavailable(&error))?;
    let known = seen.all().iter().find(|known| known.id == id);
    let redrive = match known {
        Some(known) if known.scope == scope => known.clone(),
        Some(_) => return Err(Problem::idempotency_key_reused()),
        None => {
            if let Some(running) = seen.running() {
                let detail = format!("redrive {} of this queue is still under way", running.id);
                return Err(Problem::conflict(&detail));
            }
            let new = Redrive {
                id,
                queue,
                scope,
                by: operator.subject.clone(),
                at: Timestamp::now(),
                state: RedriveState::Running,
                moved: 0,
                failed: 0,
                ended_at: None,
            };
            let saved = app.coordination.save_redrive(&seen, &new).await.map_err(|error| unavailable(&error))?;
            if saved.is_none() {
                return Err(Problem::conflict("another redrive was asked for at the same moment: look again"));
            }
            tracing::info!(
                request.id = question.request_id, subject = operator.subject, queue = %queue, redrive.id = %id,
                scope = ?new.scope, "asked for a redrive"
            );
            new
        }
    };
    let location = format!("{}/{id}", question.path());
    Ok(Answer::json(StatusCode::ACCEPTED, &redrive)?.header(LOCATION, location))
}

/// Shows how far a redrive is.
pub async fn get(app: &App, question: &Question) -> Result<Answer, Problem> {
    let queue: DeadLetterQueue = question.path_id("queue", "queue")?;
    let id: RedriveId = question.path_id("redrive_id", "redrive")?;
    let seen = app.coordination.load_redrives(queue).await.map_err(|error| unavailable(&error))?;
    let known = seen.all().iter().find(|known| known.id == id).ok_or_else(|| Problem::not_found("redrive"))?;
    Answer::json(StatusCode::OK, known)
}
