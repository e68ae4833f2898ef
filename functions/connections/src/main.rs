//! REST: tests a tenant's connection to its provider.

use connections::{App, handle};
use lambda_http::{Error, run, service_fn};
use shared::app::{ConnectionSettings, Connections};
use shared::settings::Reader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("connections");
    let config = shared::aws::config_from_env()?;
    let settings = Reader::from_env(|r| ConnectionSettings::read(r, &config))?;
    let app = &App::new(Connections::new(&config, settings)?);
    run(service_fn(move |request| handle(app, request))).await
}
