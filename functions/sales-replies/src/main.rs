//! SQS: what the sales domain answers, and what it wants the tills to show.

// The AWS clients nest their futures deeper than the compiler looks by itself.
#![recursion_limit = "256"]

use lambda_runtime::{Error, Runtime, service_fn};
use sales_replies::{App, Settings, handle_batch};
use shared::invocation::{counters, run};
use shared::settings::Reader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("sales-replies");
    let config = shared::aws::config_from_env()?;
    let (settings, counters) = Reader::from_env(|r| (Settings::read(r, &config), counters(&config, r)))?;
    let app = &App::new(&config, settings);
    let handler = service_fn(async |event| handle_batch(app, event).await.map_err(Error::from));
    run(Runtime::new(handler), counters).await
}
