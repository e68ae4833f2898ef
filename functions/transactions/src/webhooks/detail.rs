//! One delivery: step by step, from its arrival to what the sales domain has said.

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use shared::domain::{Code, DeliveryOutcome, Replayed};
use shared::problem::Problem;
use shared::rest::{Answer, Call};
use shared::store::transactions::Stored;
use shared::store::webhook_logs::{LoggedDelivery, OrderSource};

use super::{DeliverySummary, configuration, find};
use crate::App;
use crate::caused::{CausedView, find_caused};

/// A delivery and all that is known of it.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "WebhookDeliveryDetail"))]
pub struct DeliveryView<'a> {
    #[serde(flatten)]
    delivery: DeliverySummary<'a>,
    /// Where in the payload, or what the provider said.
    detail: Option<&'a str>,
    /// What can be done about it.
    advice: Option<&'static str>,
    /// What has happened when, in order. The last work on it counts; what came before stands in `replays`.
    timeline: Vec<StepView>,
    /// How the order was come by.
    source: Option<OrderSource>,
    /// Which release of ours has worked on it.
    normalizer: Option<&'a str>,
    /// Which secret proved it, when it arrived. A replay does not ask again.
    secret_id: &'a str,
    /// How long the last attempt has worked on it.
    worked_ms: u64,
    /// How often it has come again after its end.
    repeats: u64,
    /// What it led to.
    transactions: Vec<CausedView<'a>>,
    /// Who had it worked on once more, the oldest first.
    replays: &'a [Replayed],
    /// Whether its body was kept: only then it can be replayed.
    has_body: bool,
    /// The size of a body that was too large to be kept.
    omitted_body_bytes: Option<u64>,
    /// When it is removed from the log.
    expires_at: Timestamp,
}

/// A step on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// It arrived.
    Received,
    /// A secret proved it.
    Verified,
    /// It was on the queue: from here on it could not be lost.
    Queued,
    /// It was first taken off the queue.
    PickedUp,
    /// The order was read, if it had to be.
    Fetched,
    /// The order was understood.
    Normalized,
    /// Its own revision was written, if it said anything new.
    Stored,
    /// What was new was on the sales domain's queue.
    HandedOver,
    /// The sales domain has said something to what it led to.
    Answered,
}

/// A step and its time.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "DeliveryStep"))]
pub(crate) struct StepView {
    /// Which.
    pub(crate) step: Step,
    /// Whether it has been taken.
    is_taken: bool,
    /// When, if that is known.
    at: Option<Timestamp>,
}

/// Shows one.
pub async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = configuration(app, call).await?;
    let found = find(app, call, &configuration).await?;
    let stored = find_caused(app, call, configuration.id, &found.caused).await?;
    Answer::json(StatusCode::OK, &view(&found, &stored))
}

fn view<'a>(found: &'a LoggedDelivery, stored: &'a [Stored]) -> DeliveryView<'a> {
    let transactions = CausedView::all(&found.caused, &found.entry.event_id, stored);
    DeliveryView {
        delivery: DeliverySummary::new(&found.entry),
        detail: found.detail.as_deref(),
        advice: advice(found),
        timeline: timeline_of(found, &transactions),
        source: found.steps.source,
        normalizer: found.steps.normalizer.as_deref(),
        secret_id: &found.secret_id,
        worked_ms: found.worked_ms,
        repeats: found.repeats,
        transactions,
        replays: &found.replays,
        has_body: found.has_body(),
        omitted_body_bytes: found.entry.omitted_body_bytes,
        expires_at: found.expires_at,
    }
}

fn timeline_of(found: &LoggedDelivery, transactions: &[CausedView<'_>]) -> Vec<StepView> {
    let stored_at = transactions.iter().flat_map(|it| &it.caused).map(|revision| revision.at).max();
    let is_answered = !transactions.is_empty() && transactions.iter().all(CausedView::is_answered);
    let answered_at = transactions.iter().filter_map(|it| it.sales.as_ref()?.answered_at()).max();
    timeline(found, stored_at, (is_answered, answered_at.filter(|_| is_answered)))
}

/// The way of a delivery to a revision that was stored then, and whether and when the sales domain has answered.
pub(crate) fn timeline(
    found: &LoggedDelivery,
    stored_at: Option<Timestamp>,
    (is_answered, answered_at): (bool, Option<Timestamp>),
) -> Vec<StepView> {
    let (entry, steps) = (&found.entry, &found.steps);
    let known = |step, at: Option<Timestamp>| StepView { step, is_taken: at.is_some(), at };
    vec![
        known(Step::Received, Some(entry.received_at)),
        // Nothing is queued that was not verified in the same moment.
        known(Step::Verified, Some(entry.received_at)),
        StepView { step: Step::Queued, is_taken: true, at: steps.queued_at },
        StepView { step: Step::PickedUp, is_taken: true, at: steps.picked_up_at },
        known(Step::Fetched, steps.read_at),
        known(Step::Normalized, steps.normalized_at),
        known(Step::Stored, stored_at),
        known(Step::HandedOver, steps.handed_over_at),
        StepView { step: Step::Answered, is_taken: is_answered, at: answered_at },
    ]
}

/// What a person can do about how a delivery ended.
fn advice(found: &LoggedDelivery) -> Option<&'static str> {
    let is_lost = matches!(found.entry.outcome, DeliveryOutcome::Failed | DeliveryOutcome::Dead) && !found.has_body();
    let code = if is_lost { Some(Code::BodyNotKept) } else { Code::of(found.entry.code.as_deref()?) };
    code.map(Code::about)
}
