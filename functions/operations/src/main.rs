//! REST, for the platform's own people and programs.

use lambda_http::{Error, service_fn};
use operations::{App, handle};
use shared::invocation::{counters, run_rest};
use shared::settings::Reader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("operations");
    let config = shared::aws::config_from_env()?;
    let (app, counters) = Reader::from_env(|r| (App::new(&config, r), counters(&config, r)))?;
    let app = &app;
    run_rest(service_fn(move |request| handle(app, request)), counters).await
}
