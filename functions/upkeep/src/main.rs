//! EventBridge Scheduler, every minute, and operators: looks after configurations.

use jiff::SignedDuration;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::app::{ConnectionSettings, Connections};
use shared::queue::sales::SalesQueue;
use shared::settings::Reader;
use shared::store::product_mappings::ProductMappings;
use shared::store::transactions::Transactions;
use shared::store::webhook_logs::WebhookLogs;
use upkeep::{App, Request, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("upkeep");
    let config = shared::aws::config_from_env()?;
    let (settings, [transactions, logs, product_mappings], sales, settle) = Reader::from_env(|r| {
        let tables = ["TRANSACTIONS_TABLE", "WEBHOOK_LOGS_TABLE", "PRODUCT_MAPPINGS_TABLE"];
        let settle = SignedDuration::from_secs(r.number("REMOVAL_SETTLE_SECONDS"));
        (ConnectionSettings::read(r, &config), tables.map(|name| r.text(name)), r.text("SALES_QUEUE_URL"), settle)
    })?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let app = &App::new(
        Connections::new(&config, settings)?,
        (
            Transactions::new(dynamodb.clone(), transactions),
            WebhookLogs::new(dynamodb.clone(), logs, 0),
            ProductMappings::new(dynamodb, product_mappings),
        ),
        SalesQueue::new(aws_sdk_sqs::Client::new(&config), sales),
        settle,
    );
    run(service_fn(async |event: LambdaEvent<Request>| {
        handle(app, event.payload, event.context.deadline()).await.map_err(Error::from)
    }))
    .await
}
