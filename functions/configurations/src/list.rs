//! Configurations as they are: one DynamoDB call for a page, one for a single one.

use http::StatusCode;
use shared::problem::Problem;
use shared::rest::{Answer, Call, Cursors, Page, unavailable};
use shared::store::configurations::Filter;

use crate::view::ConfigurationView;
use crate::{App, find, show};

pub(crate) const DEFAULT_PAGE: i32 = 50;

/// A page of a tenant's configurations.
pub async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let mut parameters = call.parameters();
    let filter = Filter {
        provider: parameters.get("provider", "a provider that this service speaks with"),
        status: parameters.get("status", "a status of a configuration"),
    };
    let key = app.signing_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, format!("configurations {filter:?}"));
    let (limit, start_after) = (parameters.limit(DEFAULT_PAGE), parameters.cursor(&cursors));
    parameters.finish()?;

    let found = app.configurations.list(&call.scope, filter, limit, start_after).await;
    let found = found.map_err(|error| unavailable(&error))?;
    let next_cursor = found.next.map(|last| cursors.write(&last)).transpose()?;
    let items = found.items.iter().map(ConfigurationView::new).collect();
    Answer::json(StatusCode::OK, &Page { items, next_cursor })
}

/// One configuration.
pub async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    show(StatusCode::OK, &find(app, call).await?)
}
