//! A page of a sync: what was read with it, and what that led to.

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use shared::domain::{Cause, EventId, FailedOrder, Run, RunId, RunState, SyncCounts, SyncKind, Trigger};
use shared::problem::Problem;
use shared::rest::{Answer, Call, unavailable};

use crate::App;
use crate::caused::{CausedView, find_caused};

/// A page and what it led to.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SyncPage"))]
pub struct SyncPageView<'a> {
    /// Of which run.
    run_id: RunId,
    /// Its number in it, from 1.
    page: u32,
    /// That run; null if its row has ended before the page's.
    run: Option<RunOrigin<'a>>,
    /// What became of its orders.
    counts: SyncCounts,
    /// What it led to. What it did not change is none of it.
    transactions: Vec<CausedView<'a>>,
    /// Some of its orders that could not be taken.
    failed_orders: &'a [FailedOrder],
}

/// A run in short.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "RunOrigin"))]
pub(crate) struct RunOrigin<'a> {
    kind: SyncKind,
    state: RunState,
    /// Who wanted it.
    trigger: &'a Trigger,
    requested_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl<'a> RunOrigin<'a> {
    /// Of a run, under way or ended.
    pub fn new(run: &'a Run) -> Self {
        Self {
            kind: run.request.kind(),
            state: run.state,
            trigger: &run.trigger,
            requested_at: run.requested_at,
            started_at: run.started_at,
            ended_at: run.ended_at,
        }
    }
}

/// Shows one, when it has been worked on.
pub async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = crate::webhooks::configuration(app, call).await?;
    let run_id: RunId = call.path_id("run_id", "run")?;
    let page: u32 = call.path_id("page", "page")?;
    let cause = Cause::Page { run: run_id, page };
    let origins = app.sync_logs.find_origins(&call.scope, configuration.id, [&cause]).await;
    let origins = origins.map_err(|error| unavailable(&error))?;
    let row = origins.pages.get(&(run_id, page)).ok_or_else(|| Problem::not_found("page"))?;
    let stored = find_caused(app, call, configuration.id, &row.caused).await?;
    let view = SyncPageView {
        run_id,
        page,
        run: origins.runs.get(&run_id).map(RunOrigin::new),
        counts: row.counts,
        transactions: CausedView::all(&row.caused, &EventId::of_page(run_id, page), &stored),
        failed_orders: &row.failed_orders,
    };
    Answer::json(StatusCode::OK, &view)
}
