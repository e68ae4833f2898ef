//! SQS intake: an order becomes transactions. The only writer of the transactions table.

// The AWS clients nest their futures deeper than the compiler looks by itself.
#![recursion_limit = "256"]

use lambda_runtime::{Error, Runtime, service_fn};
use normalizer::{App, Settings, handle_batch};
use shared::invocation::{counters, run};
use shared::settings::Reader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("normalizer");
    let config = shared::aws::config_from_env()?;
    let (settings, counters) = Reader::from_env(|r| (Settings::read(r, &config), counters(&config, r)))?;
    let app = &App::new(&config, settings)?;
    let handler = service_fn(async |event| handle_batch(app, event).await.map_err(Error::from));
    run(Runtime::new(handler), counters).await
}
