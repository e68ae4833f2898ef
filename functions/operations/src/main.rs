//! REST, for the platform's own people and programs.

use lambda_http::{Error, run, service_fn};
use operations::{App, handle};
use shared::settings::Reader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("operations");
    let config = shared::aws::config_from_env()?;
    let app = &Reader::from_env(|r| App::new(&config, r))??;
    run(service_fn(move |request| handle(app, request))).await
}
