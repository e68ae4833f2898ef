//! REST: the configurations of a tenant. This function seals credentials; its role cannot open them.

mod create;
mod view;

use http::StatusCode;
use http::header::{ETAG, LOCATION};
use lambda_http::{Body, Error, Request, Response, run, service_fn};
use shared::domain::ConfigurationId;
use shared::problem::Problem;
use shared::providers::{ProviderHosts, Providers};
use shared::rest::{Answer, Call, CursorKey, Cursors, Role, answer, unavailable};
use shared::secrets::Secret;
use shared::settings::Reader;
use shared::store::configurations::Configurations;
use shared::vault::Vault;
use view::{ConfigurationView, Page};

const COLLECTION: &str = "/api/v1/tenants/{tenant_id}/pos/configurations";
const ITEM: &str = "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}";
const DEFAULT_PAGE: i32 = 50;

struct App {
    configurations: Configurations,
    vault: Vault,
    providers: Providers,
    cursor_key: Secret<CursorKey>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let config = shared::aws::config_from_env()?;
    let (table, key_id, cursor_secret, square) = Reader::from_env(|r| {
        let square = r.optional("SQUARE_BASE_URL");
        (r.text("CONFIGURATIONS_TABLE"), r.text("KMS_KEY_ID"), r.text("CURSOR_SECRET_ID"), square)
    })?;
    let app = &App {
        configurations: Configurations::new(aws_sdk_dynamodb::Client::new(&config), table),
        vault: Vault::new(aws_sdk_kms::Client::new(&config), key_id),
        providers: Providers::new(ProviderHosts { square, ..ProviderHosts::default() })?,
        cursor_key: Secret::new(aws_sdk_secretsmanager::Client::new(&config), cursor_secret),
    };
    run(service_fn(move |request| handle(app, request))).await
}

async fn handle(app: &App, request: Request) -> Result<Response<Body>, Error> {
    answer(request, async |call: Call| match (call.method(), call.route.as_str()) {
        ("POST", COLLECTION) => create(app, &call).await,
        ("GET", COLLECTION) => list(app, &call).await,
        ("GET", ITEM) => get(app, &call).await,
        _ => Err(Problem::not_found("route")),
    })
    .await
}

async fn create(app: &App, call: &Call) -> Result<Answer, Problem> {
    call.require(Role::Write)?;
    let configuration = create::create(app, &call.scope, call.json()?).await?;
    let location = format!("{}/{}", call.path().trim_end_matches('/'), configuration.id);
    let view = ConfigurationView::new(&configuration);
    Ok(Answer::json(StatusCode::CREATED, &view)?.header(LOCATION, location).header(ETAG, view.etag()))
}

async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    call.require(Role::Read)?;
    let limit = call.limit(DEFAULT_PAGE).map_err(|error| Problem::invalid_fields(vec![error]))?;
    let key = app.cursor_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, "configurations".into());
    let cursor = call.query::<String>("cursor", "a cursor").ok().flatten();
    let start_after = cursor.map(|cursor| cursors.read::<ConfigurationId>(&cursor)).transpose();
    let start_after = start_after.map_err(|error| Problem::invalid_fields(vec![error]))?;

    let found = app.configurations.list(&call.scope, limit, start_after).await;
    let found = found.map_err(|error| unavailable(&error))?;
    let next_cursor = found.next.map(|last| cursors.write(&last)).transpose()?;
    let items = found.items.iter().map(ConfigurationView::new).collect();
    Answer::json(StatusCode::OK, &Page { items, next_cursor })
}

async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    call.require(Role::Read)?;
    let id: ConfigurationId = call.path_id("configuration_id", "configuration")?;
    let found = app.configurations.find(&call.scope, id).await.map_err(|error| unavailable(&error))?;
    let found = found.ok_or_else(|| Problem::not_found("configuration"))?;
    let view = ConfigurationView::new(&found);
    Ok(Answer::json(StatusCode::OK, &view)?.header(ETAG, view.etag()))
}
