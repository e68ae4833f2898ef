//! EventBridge Scheduler, every minute: begins the runs that are due.

use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use shared::invocation::{counters, run};
use shared::queue::sync_jobs::SyncJobs;
use shared::settings::Reader;
use shared::store::configurations::Configurations;
use shared::store::sync_logs::SyncLogs;
use sync_scheduler::{App, tick};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("sync-scheduler");
    let config = shared::aws::config_from_env()?;
    let (configurations, sync_logs, jobs, counters) = Reader::from_env(|r| {
        (r.text("CONFIGURATIONS_TABLE"), r.text("SYNC_LOGS_TABLE"), r.text("SYNC_JOBS_QUEUE_URL"), counters(&config, r))
    })?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let app = &App {
        configurations: Configurations::new(dynamodb.clone(), configurations),
        sync_logs: SyncLogs::new(dynamodb, sync_logs),
        jobs: SyncJobs::new(aws_sdk_sqs::Client::new(&config), jobs),
    };
    let handler = service_fn(async |event: LambdaEvent<serde_json::Value>| {
        tick(app, event.context.deadline()).await.map_err(Error::from)
    });
    run(Runtime::new(handler), counters).await
}
