//! Where a transaction comes from, and where it went: its revisions, what has led to each, and what the sales domain said.
//!
//! Causes are looked up together: one read of the webhook log and three of the sync logs at most, however many there are.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::domain::{
    Cause, ConfigurationId, ExternalOrderId, JobId, PastJob, ProviderKind, Replayed, RunId, SyncCounts, TransactionId,
};
use shared::problem::Problem;
use shared::rest::{Answer, Call, unavailable};
use shared::store::StoreError;
use shared::store::sync_logs::Origins;
use shared::store::transactions::{Revision, SalesState, Stored};
use shared::store::webhook_logs::{LogOwner, LoggedDelivery, OrderSource};

use crate::App;
use crate::sync_page::RunOrigin;
use crate::view::SalesView;
use crate::webhooks::DeliverySummary;
use crate::webhooks::detail::{Step, StepView, timeline};

/// The newest are shown: nobody reads a longer list, and what is looked up for it has an end.
const MOST_REVISIONS: usize = 100;
/// Work on a message takes no longer, and then its row is written.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// A transaction's way from the till to the sales domain.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Lineage"))]
pub struct LineageView<'a> {
    transaction_id: TransactionId,
    configuration_id: ConfigurationId,
    provider: ProviderKind,
    /// The till's own id of the order.
    external_order_id: &'a ExternalOrderId,
    /// The oldest first.
    revisions: Vec<RevisionView<'a>>,
    /// How many came before those.
    earlier_revisions: usize,
    /// What the sales domain has said of the latest.
    sales: SalesView<'a>,
}

/// A revision, what has led to it and what became of it.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "RevisionLineage"))]
struct RevisionView<'a> {
    #[serde(flatten)]
    revision: &'a Revision,
    /// What has led to it.
    origin: OriginView<'a>,
    /// The event that tells the sales domain of it.
    event: EventView<'a>,
}

/// What the log has of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum RecordState {
    /// It is shown.
    Kept,
    /// The work is not over: its row is written at the end.
    UnderWay,
    /// It was removed when it had been kept as long as such rows are.
    Expired,
}

impl RecordState {
    /// Of what has led to a revision of this age.
    fn of(is_kept: bool, age: SignedDuration) -> Self {
        match is_kept {
            true => Self::Kept,
            false if age < PATIENCE => Self::UnderWay,
            false => Self::Expired,
        }
    }
}

/// What has led to a revision.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Origin"))]
#[serde(tag = "kind", rename_all = "snake_case")]
enum OriginView<'a> {
    /// A delivery, when it came or when it was replayed.
    Delivery {
        /// Whether the webhook log has it.
        record: RecordState,
        /// That it does.
        delivery: Option<Box<DeliveryOrigin<'a>>>,
    },
    /// A page that a sync has read.
    Page {
        /// Of which run.
        run_id: RunId,
        /// Its number in it.
        page: u32,
        /// Whether the sync log has the page.
        record: RecordState,
        /// What became of all of its orders.
        counts: Option<SyncCounts>,
        /// The run; null if its row has been removed.
        run: Option<RunOrigin<'a>>,
    },
    /// What the tenant says of its items, brought to what was sold before.
    Remapping {
        /// Which one.
        remapping_id: JobId,
        /// Whether the log has it.
        record: RecordState,
        /// Who wanted it, and how far it is.
        remapping: Option<&'a PastJob>,
    },
    /// What a release of ours makes of the raw orders that are kept.
    Rebuild {
        /// Which one.
        rebuild_id: JobId,
        /// Whether the log has it.
        record: RecordState,
        /// Who wanted it, and how far it is.
        rebuild: Option<&'a PastJob>,
    },
}

/// A delivery as an origin.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "DeliveryOrigin"))]
struct DeliveryOrigin<'a> {
    #[serde(flatten)]
    delivery: DeliverySummary<'a>,
    /// Which secret proved it, when it arrived: nothing that none has proved leads to anything.
    secret_id: &'a str,
    /// How the order was come by; null: it was replayed since, and that is kept of the last work only.
    source: Option<OrderSource>,
    /// What has happened when, in order; without the steps that a later replay has taken anew.
    timeline: Vec<StepView>,
    /// Who had it worked on once more, the oldest first.
    replays: &'a [Replayed],
    /// Whether it can be looked at as it came.
    has_body: bool,
}

/// An event and its answer.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SaleEvent"))]
struct EventView<'a> {
    /// Its id, as the sales domain sees it.
    id: String,
    /// How far the two have agreed about it; null: a newer one has taken its place, and no acceptance of this one is kept.
    state: Option<SalesState>,
    /// When we have heard the answer, if there is one and it was kept.
    answered_at: Option<Timestamp>,
    /// What the sales domain calls the sale, if it has taken this revision.
    record_id: Option<&'a str>,
    /// Why it has not, if it has said so: its word for programs.
    code: Option<&'a str>,
    /// How often it was sent again without an answer; only known of the latest.
    attempts: Option<u32>,
}

impl<'a> EventView<'a> {
    fn new(stored: &'a Stored, revision: u64) -> Self {
        let accepted = stored.accepted.iter().find(|accepted| accepted.revision == revision);
        let latest = (revision == stored.revision).then(|| stored.sales_state());
        let state = accepted.map(|_| SalesState::Accepted).or(latest);
        let rejected = stored.rejected.as_ref().filter(|_| state == Some(SalesState::Rejected));
        Self {
            id: format!("{}:{revision}", stored.transaction.id),
            state,
            answered_at: accepted.map(|accepted| accepted.at).or(rejected.map(|why| why.at)),
            record_id: stored.sales_record_id.as_deref().filter(|_| state == Some(SalesState::Accepted)),
            code: rejected.map(|why| why.code.as_str()),
            attempts: stored.outbox.filter(|_| latest.is_some()).map(|mark| mark.attempts),
        }
    }
}

/// Shows where a transaction comes from.
pub async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    let stored = crate::find(app, call, call.path_id("transaction_id", "transaction")?).await?;
    let earlier = stored.history.len().saturating_sub(MOST_REVISIONS);
    let history = stored.history.get(earlier..).unwrap_or_default();
    let known = Known::find(app, &stored, history).await.map_err(|error| unavailable(&error))?;
    let revisions = history.iter().map(|revision| {
        let event = EventView::new(&stored, revision.revision);
        RevisionView { revision, origin: known.origin(revision, &event), event }
    });
    let view = LineageView {
        transaction_id: stored.transaction.id,
        configuration_id: stored.transaction.configuration_id,
        provider: stored.transaction.provider,
        external_order_id: &stored.transaction.external_order_id,
        revisions: revisions.collect(),
        earlier_revisions: earlier,
        sales: SalesView::new(&stored),
    };
    Answer::json(StatusCode::OK, &view)
}

/// What the logs have of the causes of some revisions.
struct Known {
    deliveries: Vec<LoggedDelivery>,
    origins: Origins,
}

impl Known {
    async fn find(app: &App, stored: &Stored, history: &[Revision]) -> Result<Self, StoreError> {
        let (scope, configuration) = (&stored.key.scope, stored.key.configuration_id);
        let causes: Vec<Cause> = history.iter().map(|revision| Cause::from(&revision.cause)).collect();
        let events = causes.iter().filter_map(|cause| match cause {
            Cause::Delivery(event) => Some(event),
            Cause::Page { .. } | Cause::Remapping(_) | Cause::Rebuild(_) => None,
        });
        let owner = LogOwner::Configuration(scope.clone(), configuration);
        let deliveries = app.logs.find_many(&owner, events).await?;
        let origins = app.sync_logs.find_origins(scope, configuration, &causes).await?;
        Ok(Self { deliveries, origins })
    }

    fn origin<'a>(&'a self, revision: &'a Revision, event: &EventView<'_>) -> OriginView<'a> {
        let record = |is_kept| RecordState::of(is_kept, Timestamp::now().duration_since(revision.at));
        match Cause::from(&revision.cause) {
            Cause::Delivery(id) => {
                let found = self.deliveries.iter().find(|found| found.entry.event_id == id);
                let delivery = found.map(|found| Box::new(DeliveryOrigin::new(found, revision, event)));
                OriginView::Delivery { record: record(found.is_some()), delivery }
            }
            Cause::Page { run: run_id, page } => {
                let row = self.origins.pages.get(&(run_id, page));
                let run = self.origins.runs.get(&run_id).map(RunOrigin::new);
                OriginView::Page { run_id, page, record: record(row.is_some()), counts: row.map(|row| row.counts), run }
            }
            Cause::Remapping(remapping_id) => {
                let remapping = self.origins.jobs.get(&remapping_id);
                OriginView::Remapping { remapping_id, record: record(remapping.is_some()), remapping }
            }
            Cause::Rebuild(rebuild_id) => {
                let rebuild = self.origins.jobs.get(&rebuild_id);
                OriginView::Rebuild { rebuild_id, record: record(rebuild.is_some()), rebuild }
            }
        }
    }
}

impl<'a> DeliveryOrigin<'a> {
    fn new(found: &'a LoggedDelivery, revision: &Revision, event: &EventView<'_>) -> Self {
        let answer = (event.answered_at.is_some(), event.answered_at);
        // A replay has steps of its own, which did not lead to what was written before it.
        let is_of_replay = found.replays.iter().any(|replay| replay.at > revision.at);
        let of_replay = |step: &StepView| matches!(step.step, Step::Fetched | Step::Normalized | Step::HandedOver);
        let mut timeline = timeline(found, Some(revision.at), answer);
        timeline.retain(|step| !(is_of_replay && of_replay(step)));
        Self {
            delivery: DeliverySummary::new(&found.entry),
            secret_id: &found.secret_id,
            source: found.steps.source.filter(|_| !is_of_replay),
            timeline,
            replays: &found.replays,
            has_body: found.has_body(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_under_way_at_first_and_then_expired() {
        let hours = SignedDuration::from_hours;
        assert_eq!(RecordState::of(true, hours(10_000)), RecordState::Kept);
        assert_eq!(RecordState::of(false, hours(23)), RecordState::UnderWay);
        assert_eq!(RecordState::of(false, hours(25)), RecordState::Expired);
    }
}
