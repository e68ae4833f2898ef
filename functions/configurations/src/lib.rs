//! REST: the configurations of a tenant. This function seals credentials; its role cannot open them.

mod audit;
mod authorize;
mod connect;
mod create;
mod list;
#[cfg(feature = "schema")]
pub mod openapi;
mod remove;
mod replace;
mod routes;
mod switch;
mod sync;
mod sync_view;
mod view;
mod webhook_secrets;

use std::ops::Deref;

use http::StatusCode;
use http::header::ETAG;
use lambda_http::{Body, Error, Request, Response};
use shared::app::Connections;
use shared::domain::{Configuration, ConfigurationId};
use shared::problem::Problem;
use shared::queue::sync_jobs::SyncJobs;
use shared::rest::{Answer, Call, CursorKey, Question, answer_public, etag, find_route, unavailable};
use shared::secrets::Secret;
use shared::store::coordination::Repeatable;

pub use routes::{Operation, ROUTES};
use view::ConfigurationView;

/// Everything that the work needs, made once per execution environment.
pub struct App {
    connections: Connections,
    jobs: SyncJobs,
    signing_key: Secret<CursorKey>,
    public_url: Option<String>,
}

impl App {
    /// `public_url`: where the API is, if not where the gateway says.
    pub fn new(
        connections: Connections,
        jobs: SyncJobs,
        signing_key: Secret<CursorKey>,
        public_url: Option<String>,
    ) -> Self {
        Self { connections, jobs, signing_key, public_url }
    }

    /// Where the world reaches this API, without `/api/v1`.
    fn base_url(&self, question: &Question) -> String {
        self.public_url.clone().unwrap_or_else(|| question.base_url())
    }
}

impl Deref for App {
    type Target = Connections;
    fn deref(&self) -> &Connections {
        &self.connections
    }
}

/// Answers one request.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>, Error> {
    answer_public(request, async |question: Question| {
        let asked = find_route(ROUTES, question.method(), question.route()).map(|route| route.operation);
        if asked == Some(Operation::Callback) {
            return authorize::callback(app, &question).await;
        }
        let call = Call::new(question)?;
        match call.operation(ROUTES)? {
            Operation::List => list::list(app, &call).await,
            Operation::Create => {
                call.once(&app.coordination, async |repeat| create::create(app, &call, repeat).await).await
            }
            Operation::Get => list::get(app, &call).await,
            Operation::Replace => replace::replace(app, &call).await,
            Operation::Delete => remove::remove(app, &call).await,
            Operation::Pause => {
                call.once(&app.coordination, async |repeat| switch::pause(app, &call, repeat).await).await
            }
            Operation::Resume => {
                call.once(&app.coordination, async |repeat| switch::resume(app, &call, repeat).await).await
            }
            Operation::Authorize => authorize::authorize(app, &call).await,
            Operation::AddWebhookSecret => {
                call.once(&app.coordination, async |repeat| webhook_secrets::add(app, &call, repeat).await).await
            }
            Operation::RemoveWebhookSecret => webhook_secrets::remove(app, &call).await,
            Operation::BeginSync => {
                call.once(&app.coordination, async |repeat| sync::begin(app, &call, repeat).await).await
            }
            Operation::SyncStatus => sync::status(app, &call).await,
            Operation::CancelSync => {
                call.once(&app.coordination, async |repeat| sync::cancel(app, &call, repeat).await).await
            }
            Operation::ListAudit => audit::list(app, &call).await,
            Operation::VerifyAudit => audit::verify(app, &call).await,
            // Answered above: whoever comes back has no token.
            Operation::Callback => Err(Problem::not_found("route")),
        }
    })
    .await
}

/// The configuration that a path names. One that is being removed can be looked at and not changed.
async fn find(app: &App, call: &Call) -> Result<Configuration, Problem> {
    let id: ConfigurationId = call.path_id("configuration_id", "configuration")?;
    let found = app.configurations.find(&call.scope, id).await.map_err(|error| unavailable(&error))?;
    found.ok_or_else(|| Problem::not_found("configuration"))
}

async fn find_to_change(app: &App, call: &Call) -> Result<Configuration, Problem> {
    let found = find(app, call).await?;
    if found.deletion.is_some() {
        return Err(Problem::conflict("the configuration is being removed"));
    }
    Ok(found)
}

fn show(status: StatusCode, configuration: &Configuration) -> Result<Answer, Problem> {
    Ok(Answer::json(status, &ConfigurationView::new(configuration))?.header(ETAG, etag(configuration.version)))
}

type Repeat<'a> = Option<&'a Repeatable>;
