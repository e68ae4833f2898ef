//! Goes on with runs: reads a provider's pages, hands their orders to the normalizer, keeps how far it is.
//!
//! A run stands in its lane of the sync-logs table, and whoever holds the lane's lease goes on with it. The steps are
//! ordered so that a crash between any two of them repeats a page and loses none: a page is on the intake queue before the
//! run says so, and it has the same number when it is read again, so its row is written once.

mod catalog;
mod page;
mod plan;
mod settle;
mod work;

use std::time::{Duration, Instant, SystemTime};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::SignedDuration;
use lambda_runtime::LambdaEvent;
use shared::access::Tokens;
use shared::app::{ConnectionSettings, Connections};
use shared::aws::SdkConfig;
use shared::providers::ProviderError;
use shared::queue::intake::IntakeQueue;
use shared::queue::sync_jobs::{self, SyncJobs};
use shared::queue::{MissingMessageId, deliver_again};
use shared::settings::Reader;
use shared::store::product_mappings::ProductMappings;

use plan::Edges;

/// What is left of the time when no further page is begun: longer than a page takes at its worst.
const RESERVE: Duration = Duration::from_secs(15);

/// What the deployment says.
pub struct Settings {
    connections: ConnectionSettings,
    product_mappings_table: String,
    intake_queue_url: String,
    intake_backfill_queue_url: String,
    sync_jobs_queue_url: String,
    edges: Edges,
    page_patience: SignedDuration,
}

impl Settings {
    /// Reads the function's environment variables.
    pub fn read(r: &Reader<'_>, config: &SdkConfig) -> Self {
        let seconds = |name| SignedDuration::from_secs(r.number(name));
        Self {
            connections: ConnectionSettings::read(r, config),
            product_mappings_table: r.text("PRODUCT_MAPPINGS_TABLE"),
            intake_queue_url: r.text("INTAKE_QUEUE_URL"),
            intake_backfill_queue_url: r.text("INTAKE_BACKFILL_QUEUE_URL"),
            sync_jobs_queue_url: r.text("SYNC_JOBS_QUEUE_URL"),
            edges: Edges { overlap: seconds("SYNC_OVERLAP_SECONDS"), settle: seconds("SYNC_SETTLE_SECONDS") },
            page_patience: seconds("SYNC_PAGE_PATIENCE_SECONDS"),
        }
    }
}

/// Everything that the work needs, made once per execution environment.
pub struct App {
    connections: Connections,
    tokens: Tokens,
    product_mappings: ProductMappings,
    /// For what has just changed.
    intake: IntakeQueue,
    /// For the past.
    intake_backfill: IntakeQueue,
    jobs: SyncJobs,
    edges: Edges,
    page_patience: SignedDuration,
}

impl App {
    /// Opens nothing yet.
    pub fn new(config: &SdkConfig, settings: Settings) -> Result<Self, ProviderError> {
        let sqs = aws_sdk_sqs::Client::new(config);
        let connections = Connections::new(config, settings.connections);
        connections.providers.prepare()?;
        Ok(Self {
            tokens: connections.tokens("sync-worker"),
            connections,
            product_mappings: ProductMappings::new(
                aws_sdk_dynamodb::Client::new(config),
                settings.product_mappings_table,
            ),
            intake: IntakeQueue::new(sqs.clone(), settings.intake_queue_url),
            intake_backfill: IntakeQueue::new(sqs.clone(), settings.intake_backfill_queue_url),
            jobs: SyncJobs::new(sqs, settings.sync_jobs_queue_url),
            edges: settings.edges,
            page_patience: settings.page_patience,
        })
    }
}

/// Goes on with the run of every job, until it ends, must wait, or the time runs out.
///
/// A job is done even if the work failed: the run is due again when its lease has ended, and the scheduler calls another
/// worker. Only what is none of our jobs comes again, until the dead-letter queue keeps it.
pub async fn handle_batch(app: &App, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, MissingMessageId> {
    let records = &event.payload.records;
    if records.iter().any(|message| message.message_id.as_deref().is_none_or(str::is_empty)) {
        return Err(MissingMessageId);
    }
    let time_left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    app.tokens.begin(Instant::now() + time_left);
    let deadline = Instant::now() + time_left.saturating_sub(RESERVE);
    let mut response = SqsBatchResponse::default();
    for message in records {
        match sync_jobs::decode(message) {
            Ok(job) => work::go_on(app, &job, deadline).await,
            Err(error) => {
                tracing::error!(message.id = message.message_id, error = %error, "a message of the sync jobs queue is unreadable");
                deliver_again(&mut response, message.message_id.as_deref().unwrap_or_default());
            }
        }
    }
    Ok(response)
}
