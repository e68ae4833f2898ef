//! REST: the transactions of a tenant, and what its tills sell.

use lambda_http::{Error, service_fn};
use shared::invocation::{counters, run_rest};
use shared::queue::intake::IntakeQueue;
use shared::secrets::Secret;
use shared::settings::Reader;
use shared::store::configurations::Configurations;
use shared::store::product_mappings::ProductMappings;
use shared::store::sync_logs::SyncLogs;
use shared::store::transactions::Transactions;
use transactions::{App, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("transactions");
    let config = shared::aws::config_from_env()?;
    let ([configurations, transactions, product_mappings, sync_logs], jobs, cursor_secret, counters) =
        Reader::from_env(|r| {
            let tables = ["CONFIGURATIONS_TABLE", "TRANSACTIONS_TABLE", "PRODUCT_MAPPINGS_TABLE", "SYNC_LOGS_TABLE"];
            let (jobs, cursor_secret) = (r.text("INTAKE_BACKFILL_QUEUE_URL"), r.text("CURSOR_SECRET_ID"));
            (tables.map(|name| r.text(name)), jobs, cursor_secret, counters(&config, r))
        })?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let app = &App::new(
        Configurations::new(dynamodb.clone(), configurations),
        Transactions::new(dynamodb.clone(), transactions),
        (
            ProductMappings::new(dynamodb.clone(), product_mappings),
            SyncLogs::new(dynamodb, sync_logs),
            IntakeQueue::new(aws_sdk_sqs::Client::new(&config), jobs),
        ),
        Secret::new(aws_sdk_secretsmanager::Client::new(&config), cursor_secret),
    );
    run_rest(service_fn(move |request| handle(app, request)), counters).await
}
