//! EventBridge Scheduler, every minute: tells tenants what was given up, and sends it again when asked to.

use dead_letters::{App, tick};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use shared::invocation::{counters, run};
use shared::settings::Reader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("dead-letters");
    let config = shared::aws::config_from_env()?;
    let (app, counters) = Reader::from_env(|r| (App::new(&config, r), counters(&config, r)))?;
    let app = &app;
    let handler = service_fn(async |event: LambdaEvent<serde_json::Value>| {
        tick(app, event.context.deadline()).await.map_err(Error::from)
    });
    run(Runtime::new(handler), counters).await
}
