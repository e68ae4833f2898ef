//! The beginning of a removal. The rest is done step by step by `upkeep`, and shown until it is complete.

use http::StatusCode;
use http::header::LOCATION;
use jiff::Timestamp;
use shared::domain::{Deletion, DeletionStep};
use shared::problem::Problem;
use shared::rest::{Answer, Call};
use shared::store::configurations::Change;

use crate::replace::moved_is_stale;
use crate::{App, find, show};

/// Marks the configuration: from here on nothing is done for it any more.
pub async fn remove(app: &App, call: &Call) -> Result<Answer, Problem> {
    let before = find(app, call).await?;
    call.require_match(before.version)?;
    let answer =
        |configuration| Ok::<_, Problem>(show(StatusCode::ACCEPTED, configuration)?.header(LOCATION, call.path()));
    if before.deletion.is_some() {
        return answer(&before);
    }
    let now = Timestamp::now();
    let mut after = before.clone();
    after.epoch += 1;
    after.deletion = Some(Deletion {
        requested_at: now,
        step: DeletionStep::Revoke,
        due_at: now,
        attempts: 0,
        revoked: None,
        transactions: 0,
        deliveries: 0,
    });
    after.touch();
    let actor = call.actor();
    let change = Change::of(&actor, "configuration.deletion_requested", &before, &after);
    app.changes.commit(&call.scope, &change).await.map_err(moved_is_stale)?;
    answer(&after)
}
