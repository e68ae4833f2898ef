//! Who changed what, and whether that can be believed.

use http::StatusCode;
use shared::problem::Problem;
use shared::rest::{Answer, Call, Cursors, Page, unavailable};

use crate::App;

const DEFAULT_PAGE: i32 = 50;

/// A tenant's changes, newest first.
pub async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let key = app.signing_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, "audit-log".into());
    let mut parameters = call.parameters();
    let (limit, start_before) = (parameters.limit(DEFAULT_PAGE), parameters.cursor(&cursors));
    parameters.finish()?;
    let found = app.audit.list(&call.scope, limit, start_before).await.map_err(|error| unavailable(&error))?;
    let next_cursor = found.next.map(|last| cursors.write(&last)).transpose()?;
    Answer::json(StatusCode::OK, &Page { items: found.items, next_cursor })
}

/// Walks the whole chain.
pub async fn verify(app: &App, call: &Call) -> Result<Answer, Problem> {
    let verified = app.audit.verify(&call.scope).await.map_err(|error| unavailable(&error))?;
    if !verified.intact {
        tracing::error!(tenant.id = %call.scope.tenant_id(), "the audit log is broken");
    }
    Answer::json(StatusCode::OK, &verified)
}
