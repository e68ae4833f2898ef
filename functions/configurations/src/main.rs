//! REST: the configurations of a tenant.

use configurations::{App, handle};
use lambda_http::{Error, run, service_fn};
use shared::app::{ConnectionSettings, Connections};
use shared::secrets::Secret;
use shared::settings::Reader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let config = shared::aws::config_from_env()?;
    let (settings, signing_secret, public_url) = Reader::from_env(|r| {
        (ConnectionSettings::read(r, &config), r.text("CURSOR_SECRET_ID"), r.optional("PUBLIC_URL"))
    })?;
    let signing_key = Secret::new(aws_sdk_secretsmanager::Client::new(&config), signing_secret);
    let app = &App::new(Connections::new(&config, settings)?, signing_key, public_url);
    run(service_fn(move |request| handle(app, request))).await
}
