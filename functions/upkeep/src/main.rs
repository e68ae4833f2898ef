//! EventBridge Scheduler, every minute, and operators: looks after configurations.

use jiff::SignedDuration;
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use shared::app::{ConnectionSettings, Connections};
use shared::invocation::{counters, run};
use shared::queue::sales::SalesQueue;
use shared::settings::Reader;
use shared::store::days::Days;
use shared::store::product_mappings::ProductMappings;
use shared::store::raw_log::RawLog;
use shared::store::transactions::Transactions;
use shared::store::webhook_logs::WebhookLogs;
use upkeep::{App, Request, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("upkeep");
    let config = shared::aws::config_from_env()?;
    let (settings, [transactions, days, raw_log, logs, product_mappings], sales, settle, counters) =
        Reader::from_env(|r| {
            let tables =
                ["TRANSACTIONS_TABLE", "DAYS_TABLE", "RAW_LOG_TABLE", "WEBHOOK_LOGS_TABLE", "PRODUCT_MAPPINGS_TABLE"];
            let settle = SignedDuration::from_secs(r.number("REMOVAL_SETTLE_SECONDS"));
            let tables = tables.map(|name| r.text(name));
            (ConnectionSettings::read(r, &config), tables, r.text("SALES_QUEUE_URL"), settle, counters(&config, r))
        })?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let app = &App::new(
        Connections::new(&config, settings),
        (
            Transactions::new(dynamodb.clone(), transactions),
            Days::new(dynamodb.clone(), days),
            RawLog::new(dynamodb.clone(), raw_log, 0),
        ),
        (WebhookLogs::new(dynamodb.clone(), logs, 0), ProductMappings::new(dynamodb, product_mappings)),
        SalesQueue::new(aws_sdk_sqs::Client::new(&config), sales),
        settle,
    );
    let handler = service_fn(async |event: LambdaEvent<Request>| {
        handle(app, event.payload, event.context.deadline()).await.map_err(Error::from)
    });
    run(Runtime::new(handler), counters).await
}
