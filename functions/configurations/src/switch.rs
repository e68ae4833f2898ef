//! Pause and resume. While paused, deliveries are taken and ignored, and nothing is read from the provider.

use http::StatusCode;
use shared::problem::Problem;
use shared::rest::{Answer, Call, refused_change};
use shared::store::configurations::Change;

use crate::{App, Repeat, find_to_change, show};

/// Wants no sales until resumed.
pub async fn pause(app: &App, call: &Call, repeat: Repeat<'_>) -> Result<Answer, Problem> {
    switch(app, call, repeat, true, "configuration.paused").await
}

/// Wants sales again.
pub async fn resume(app: &App, call: &Call, repeat: Repeat<'_>) -> Result<Answer, Problem> {
    switch(app, call, repeat, false, "configuration.resumed").await
}

async fn switch(app: &App, call: &Call, repeat: Repeat<'_>, is_paused: bool, action: &str) -> Result<Answer, Problem> {
    let before = find_to_change(app, call).await?;
    if before.is_paused == is_paused {
        return show(StatusCode::OK, &before);
    }
    let mut after = before.clone();
    after.is_paused = is_paused;
    after.touch();
    let answer = show(StatusCode::OK, &after)?;
    let actor = call.actor();
    let change = Change { remember: answer.remembered(repeat), ..Change::of(&actor, action, &before, &after) };
    app.changes.commit(&call.scope, &change).await.map_err(refused_change)?;
    Ok(answer)
}
