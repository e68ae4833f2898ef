//! EventBridge Scheduler, every minute and every hour: closes shops' business days, and proves them.

// The AWS clients nest their futures deeper than the compiler looks by itself.
#![recursion_limit = "256"]

use day_closer::{App, Request, Settings, handle};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use shared::invocation::{counters, run};
use shared::settings::Reader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("day-closer");
    let config = shared::aws::config_from_env()?;
    let (settings, counters) = Reader::from_env(|r| (Settings::read(r, &config), counters(&config, r)))?;
    let app = &App::new(&config, settings);
    let handler = service_fn(async |event: LambdaEvent<Request>| {
        handle(app, event.payload, event.context.deadline()).await.map_err(Error::from)
    });
    run(Runtime::new(handler), counters).await
}
