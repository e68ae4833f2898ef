//! Public: verifies one delivery and enqueues it.

use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use shared::aws::Express;
use shared::domain::ProviderKind;
use shared::invocation::{counters, run};
use shared::providers::{ProviderHosts, Providers};
use shared::queue::intake::IntakeQueue;
use shared::secrets::Applications;
use shared::settings::Reader;
use shared::store::configurations::Configurations;
use shared::vault::Vault;
use webhooks::{App, Desk, Doors, Request, receive};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("webhooks");
    let (config, connections) = shared::aws::connected_from_env()?;
    let (applications, intake, table, key_id, counters) = Reader::from_env(|r| {
        let applications = Applications::new(&aws_sdk_secretsmanager::Client::new(&config), r);
        let (table, key_id) = (r.text("CONFIGURATIONS_TABLE"), r.text("KMS_KEY_ID"));
        (applications, r.text("INTAKE_QUEUE_URL"), table, key_id, counters(&config, r))
    })?;
    let express = Express::new((&config, connections), "sqs", &intake).await?;
    // Connect, and read the keys that most deliveries need, while init still has Lambda's full CPU. If that fails, the first
    // delivery tries again.
    let _ = tokio::join!(express.connect(), applications.get(ProviderKind::Square));
    let intake = IntakeQueue::new(Client::new(&config), intake).expressly(express);
    let doors = Doors::new(move || Desk {
        configurations: Configurations::new(aws_sdk_dynamodb::Client::new(&config), table),
        vault: Vault::new(aws_sdk_kms::Client::new(&config), key_id),
    });
    let app = &App { providers: Providers::new(ProviderHosts::default()), applications, doors, intake };
    let handler = service_fn(async |event: LambdaEvent<Request>| Ok::<_, Error>(receive(app, event.payload).await));
    run(Runtime::new(handler), counters).await
}
