//! REST: the transactions of a tenant, what its tills sell, and what has come by webhook.

use std::sync::Arc;

use lambda_http::{Error, service_fn};
use shared::invocation::{counters, run_rest};
use shared::queue::intake::IntakeQueue;
use shared::secrets::Secret;
use shared::settings::Reader;
use shared::store::audit::AuditLog;
use shared::store::configurations::Configurations;
use shared::store::coordination::Coordination;
use shared::store::days::Days;
use shared::store::product_mappings::ProductMappings;
use shared::store::sync_logs::SyncLogs;
use shared::store::transactions::Transactions;
use shared::store::webhook_logs::WebhookLogs;
use shared::vault::{Bodies, Vault};
use transactions::{App, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("transactions");
    let config = shared::aws::config_from_env()?;
    let (own, (past, key_id), [product_mappings, sync_logs], jobs, cursor_secret, counters) = Reader::from_env(|r| {
        let own = ["CONFIGURATIONS_TABLE", "AUDIT_LOG_TABLE", "COORDINATION_TABLE"].map(|name| r.text(name));
        let past = ["TRANSACTIONS_TABLE", "DAYS_TABLE", "WEBHOOK_LOGS_TABLE"].map(|name| r.text(name));
        let items = ["PRODUCT_MAPPINGS_TABLE", "SYNC_LOGS_TABLE"].map(|name| r.text(name));
        let (jobs, cursor_secret) = (r.text("INTAKE_BACKFILL_QUEUE_URL"), r.text("CURSOR_SECRET_ID"));
        (own, (past, r.text("KMS_KEY_ID")), items, jobs, cursor_secret, counters(&config, r))
    })?;
    let ([configurations, audit, coordination], [transactions, days, logs]) = (own, past);
    let bodies = Bodies::new(Arc::new(Vault::new(aws_sdk_kms::Client::new(&config), key_id)));
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let app = &App::new(
        (
            Configurations::new(dynamodb.clone(), configurations),
            AuditLog::new(dynamodb.clone(), audit, coordination.clone()),
            Coordination::new(dynamodb.clone(), coordination),
        ),
        // It writes no delivery's row, so how long one is kept is not its business.
        (
            Transactions::new(dynamodb.clone(), transactions),
            Days::new(dynamodb.clone(), days),
            WebhookLogs::new(dynamodb.clone(), logs, 0),
            bodies,
        ),
        (
            ProductMappings::new(dynamodb.clone(), product_mappings),
            SyncLogs::new(dynamodb, sync_logs),
            IntakeQueue::new(aws_sdk_sqs::Client::new(&config), jobs),
        ),
        Secret::new(aws_sdk_secretsmanager::Client::new(&config), cursor_secret),
    );
    run_rest(service_fn(move |request| handle(app, request)), counters).await
}
