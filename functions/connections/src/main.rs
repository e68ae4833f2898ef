//! REST: tests a tenant's connection to its provider.

use connections::{App, handle};
use lambda_http::{Error, service_fn};
use shared::app::{ConnectionSettings, Connections};
use shared::invocation::{counters, run_rest};
use shared::settings::Reader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("connections");
    let config = shared::aws::config_from_env()?;
    let read = |r: &Reader<'_>| (ConnectionSettings::read(r, &config), counters(&config, r));
    let (settings, counters) = Reader::from_env(read)?;
    let app = &App::new(Connections::new(&config, settings));
    run_rest(service_fn(move |request| handle(app, request)), counters).await
}
