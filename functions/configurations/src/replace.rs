//! What a tenant decides about a configuration, replaced as a whole. Provider and environment are what it is.

use http::StatusCode;
use shared::problem::Problem;
use shared::rest::{Answer, Call, refused_change};
use shared::store::configurations::{Change, CommitError};

use crate::create::read_decisions;
use crate::{App, connect, find_to_change, show, sync};

/// Replaces name, day starts and how it is read, and the credentials if there are any in the request.
pub async fn replace(app: &App, call: &Call) -> Result<Answer, Problem> {
    let before = find_to_change(app, call).await?;
    call.require_match(before.version)?;
    let mut fields = call.fields()?;
    let decisions = read_decisions(&mut fields);
    let brought = connect::read(&mut fields, before.provider);
    fields.finish()?;

    let mut after = before.clone();
    after.name = decisions.name.ok_or_else(Problem::internal)?;
    after.day_start = decisions.day_start;
    after.day_starts = decisions.day_starts;
    after.sync = decisions.sync;
    after.sold_out_enabled = decisions.sold_out_enabled;
    after.apply_day_starts();
    let sealed = match brought.flatten() {
        Some(brought) => {
            let credentials = connect::connect(app, &mut after, brought).await?;
            Some(connect::seal(app, &call.scope, &mut after, &credentials).await?)
        }
        None => None,
    };
    connect::check_day_starts(&after)?;
    if after == before && sealed.is_none() {
        return show(StatusCode::OK, &before);
    }
    after.touch();
    let actor = call.actor();
    let change = Change { credentials: sealed, ..Change::of(&actor, "configuration.replaced", &before, &after) };
    let begun = app.changes.commit(&call.scope, &change).await.map_err(moved_is_stale)?;
    sync::call_workers(app, (&call.scope, &call.trace()), after.id, &begun).await;
    if after.sync.interval_minutes < before.sync.interval_minutes {
        sync::hurry(app, call, &after).await;
    }
    show(StatusCode::OK, &after)
}

/// The caller has named a version: somebody else's change at the same moment makes it a stale one.
pub fn moved_is_stale(error: CommitError) -> Problem {
    if matches!(error, CommitError::Moved) { Problem::precondition_failed() } else { refused_change(error) }
}
