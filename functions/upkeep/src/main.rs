//! EventBridge Scheduler, every minute, and operators: looks after configurations.

use jiff::SignedDuration;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::app::{ConnectionSettings, Connections};
use shared::settings::Reader;
use shared::store::transactions::Transactions;
use shared::store::webhook_logs::WebhookLogs;
use upkeep::{App, Request, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let config = shared::aws::config_from_env()?;
    let (settings, transactions, logs, settle) = Reader::from_env(|r| {
        let settle = SignedDuration::from_secs(r.number("REMOVAL_SETTLE_SECONDS"));
        (ConnectionSettings::read(r, &config), r.text("TRANSACTIONS_TABLE"), r.text("WEBHOOK_LOGS_TABLE"), settle)
    })?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let app = &App::new(
        Connections::new(&config, settings)?,
        Transactions::new(dynamodb.clone(), transactions),
        WebhookLogs::new(dynamodb, logs, 0),
        settle,
    );
    run(service_fn(async |event: LambdaEvent<Request>| {
        handle(app, event.payload, event.context.deadline()).await.map_err(Error::from)
    }))
    .await
}
