//! Public: verifies one delivery and enqueues it.

use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::domain::ProviderKind;
use shared::providers::{ProviderHosts, Providers};
use shared::queue::intake::IntakeQueue;
use shared::secrets::Applications;
use shared::settings::Reader;
use shared::store::configurations::Configurations;
use shared::vault::Vault;
use webhooks::{App, Doors, Request, receive};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("webhooks");
    let config = shared::aws::config_from_env()?;
    let (applications, intake, table, key_id) = Reader::from_env(|r| {
        let applications = Applications::new(&aws_sdk_secretsmanager::Client::new(&config), r);
        (applications, r.text("INTAKE_QUEUE_URL"), r.text("CONFIGURATIONS_TABLE"), r.text("KMS_KEY_ID"))
    })?;
    let configurations = Configurations::new(aws_sdk_dynamodb::Client::new(&config), table);
    let app = &App {
        providers: Providers::new(ProviderHosts::default())?,
        applications,
        doors: Doors::new(configurations, Vault::new(aws_sdk_kms::Client::new(&config), key_id)),
        intake: IntakeQueue::new(Client::new(&config), intake),
    };
    // Read the keys that most deliveries need while init still has Lambda's full CPU. If that fails, the first delivery
    // tries again.
    let _ = app.applications.get(ProviderKind::Square).await;
    run(service_fn(async |event: LambdaEvent<Request>| Ok::<_, Error>(receive(app, event.payload).await))).await
}
