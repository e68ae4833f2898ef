//! Public: verifies one delivery and enqueues it.

use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::providers::{ProviderHosts, Providers};
use shared::queue::intake::IntakeQueue;
use shared::secrets::Secret;
use shared::settings::Reader;
use webhooks::{App, Request, receive};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let config = shared::aws::config_from_env()?;
    let (intake, square_secret) = Reader::from_env(|r| (r.text("INTAKE_QUEUE_URL"), r.text("SQUARE_SECRET_ID")))?;
    let app = &App {
        providers: Providers::new(ProviderHosts::default())?,
        square: Secret::new(aws_sdk_secretsmanager::Client::new(&config), square_secret),
        intake: IntakeQueue::new(Client::new(&config), intake),
    };
    // Read the keys while init still has Lambda's full CPU. If that fails, the first delivery tries again.
    let _ = app.square.get().await;
    run(service_fn(async |event: LambdaEvent<Request>| Ok::<_, Error>(receive(app, event.payload).await))).await
}
