//! From an intake message to transactions, the sales queue and the webhook log.
//!
//! Each step may be the last before a crash. The steps are ordered so that the message is still on the queue until
//! all of them are done, and each of them does nothing the second time.

mod batch;
mod days;
mod jobs;
mod page;
mod products;
mod put;
mod raw;
pub mod rebuild;
mod replay;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use jiff::SignedDuration;
use lambda_runtime::LambdaEvent;
use shared::access::Tokens;
use shared::app::{ConnectionSettings, Connections};
use shared::archive::Archive;
use shared::aws::SdkConfig;
use shared::domain::Code;
use shared::providers::ProviderError;
use shared::queue::dead_letters::DeadLetters;
use shared::queue::intake::IntakeQueue;
use shared::queue::sales::{SalesQueue, Urgency};
use shared::queue::{MissingMessageId, catch_panic, deliver_again};
use shared::settings::Reader;
use shared::store::days::Days;
use shared::store::product_mappings::ProductMappings;
use shared::store::raw_log::RawLog;
use shared::store::transactions::{Stored, Transactions};
use shared::store::webhook_logs::WebhookLogs;
use shared::telemetry::TraceParent;
use shared::telemetry::metrics::{self, Way};

use batch::Batch;
use products::Products;
use work::{Later, Stop};

/// What is left of the time for telling SQS which messages to deliver again.
const RESERVE: Duration = Duration::from_millis(700);

/// What the deployment says.
pub struct Settings {
    connections: ConnectionSettings,
    transactions_table: String,
    days_table: String,
    product_mappings_table: String,
    raw_log_table: String,
    raw_log_retention_days: u32,
    webhook_logs_table: String,
    webhook_log_retention_days: u32,
    intake_queue_url: String,
    intake_backfill_queue_url: String,
    intake_dead_letter_queue_url: String,
    intake_attempts: u32,
    sales_queue_url: String,
    sales_domain_answers: bool,
    first_resend_after: SignedDuration,
}

impl Settings {
    /// Reads the function's environment variables.
    pub fn read(r: &Reader<'_>, config: &SdkConfig) -> Self {
        Self {
            connections: ConnectionSettings::read(r, config),
            transactions_table: r.text("TRANSACTIONS_TABLE"),
            days_table: r.text("DAYS_TABLE"),
            product_mappings_table: r.text("PRODUCT_MAPPINGS_TABLE"),
            raw_log_table: r.text("RAW_LOG_TABLE"),
            raw_log_retention_days: r.number("RAW_LOG_RETENTION_DAYS"),
            webhook_logs_table: r.text("WEBHOOK_LOGS_TABLE"),
            webhook_log_retention_days: r.number("WEBHOOK_LOG_RETENTION_DAYS"),
            intake_queue_url: r.text("INTAKE_QUEUE_URL"),
            intake_backfill_queue_url: r.text("INTAKE_BACKFILL_QUEUE_URL"),
            intake_dead_letter_queue_url: r.text("INTAKE_DEAD_LETTER_QUEUE_URL"),
            intake_attempts: r.number("INTAKE_ATTEMPTS"),
            sales_queue_url: r.text("SALES_QUEUE_URL"),
            sales_domain_answers: r.flag("SALES_DOMAIN_ANSWERS"),
            first_resend_after: SignedDuration::from_secs(r.number("OUTBOX_FIRST_RESEND_SECONDS")),
        }
    }
}

/// Everything that the work needs, made once per execution environment.
pub struct App {
    connections: Connections,
    tokens: Tokens,
    transactions: Transactions,
    days: Days,
    products: Products,
    archive: Archive,
    logs: WebhookLogs,
    intake: IntakeQueue,
    intake_backfill: IntakeQueue,
    given_up: DeadLetters,
    attempts: u32,
    sales: SalesQueue,
    first_resend_after: SignedDuration,
}

impl App {
    /// Opens nothing yet.
    pub fn new(config: &SdkConfig, settings: Settings) -> Result<Self, ProviderError> {
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        let sqs = aws_sdk_sqs::Client::new(config);
        let connections = Connections::new(config, settings.connections);
        connections.providers.prepare()?;
        let days = Days::new(dynamodb.clone(), settings.days_table);
        Ok(Self {
            tokens: connections.tokens("normalizer"),
            archive: Archive::new(
                RawLog::new(dynamodb.clone(), settings.raw_log_table, settings.raw_log_retention_days),
                Arc::clone(&connections.bodies),
            ),
            connections,
            transactions: Transactions::new(dynamodb.clone(), settings.transactions_table).noting_moves(days.clone()),
            days,
            products: Products::new(ProductMappings::new(dynamodb.clone(), settings.product_mappings_table)),
            logs: WebhookLogs::new(dynamodb, settings.webhook_logs_table, settings.webhook_log_retention_days),
            intake: IntakeQueue::new(sqs.clone(), settings.intake_queue_url),
            intake_backfill: IntakeQueue::new(sqs.clone(), settings.intake_backfill_queue_url),
            given_up: DeadLetters::new(sqs.clone(), settings.intake_dead_letter_queue_url, Vec::new()),
            attempts: settings.intake_attempts,
            sales: SalesQueue::new(sqs, settings.sales_queue_url).answered(settings.sales_domain_answers),
            first_resend_after: settings.first_resend_after,
        })
    }
}

impl App {
    /// Whether it comes from the queue of the past.
    fn is_past(&self, message: &SqsMessage) -> bool {
        message.event_source_arn.as_deref().is_some_and(|arn| self.intake_backfill.is_called(arn))
    }

    /// Sends a revision that was written.
    async fn send_sale(&self, revision: &Stored, trace: &TraceParent) -> Result<(), Stop> {
        self.sales.send(revision, trace).await?;
        metrics::sales_sent(Way::Webhook, 1, 0);
        Ok(self.sales.settle(&self.transactions, &[revision]).await?)
    }

    /// Sends revisions that were written. Answers how many of them the queue did not take: the sweeper sends those.
    async fn send_sales(&self, revisions: &[&Stored], way: Way, trace: &TraceParent) -> Result<usize, Later> {
        let urgency = if way == Way::Sync { Urgency::Live } else { Urgency::Past };
        let refused = self.sales.send_many(revisions, urgency, trace).await?;
        metrics::sales_sent(way, revisions.len() - refused.len(), refused.len());
        for refused in &refused {
            tracing::warn!(transaction.id = %refused.id, code = refused.code, "the sales queue did not take a transaction");
        }
        let is_sent = |stored: &&&Stored| refused.iter().all(|it| it.id != stored.transaction.id);
        let sent: Vec<&Stored> = revisions.iter().filter(is_sent).copied().collect();
        // When an older sale was changed, a listing does not say in one way.
        for stored in sent.iter().filter(|stored| stored.revision == 1) {
            metrics::handed_over(stored.transaction.provider, way, stored.transaction.occurred_at);
        }
        self.sales.settle(&self.transactions, &sent).await?;
        Ok(refused.len())
    }
}

/// Works on every message of the batch and names the ones to deliver again.
///
/// Returning `Err` puts the whole batch back on the queue, so it is kept for the one case in which we cannot name a
/// message: reporting an empty id would do the same thing silently.
pub async fn handle_batch(app: &App, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, MissingMessageId> {
    let records = &event.payload.records;
    if records.iter().any(|message| message.message_id.as_deref().is_none_or(str::is_empty)) {
        return Err(MissingMessageId);
    }
    let mut response = SqsBatchResponse::default();
    let time_left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    app.tokens.begin(Instant::now() + time_left);
    let deadline = Instant::now() + time_left.saturating_sub(RESERVE);
    let mut batch = Batch::new(app, deadline);
    for message in records {
        if let Err(later) = work_until(deadline, &mut batch, message).await {
            if give_up(app, message, &later).await {
                continue;
            }
            metrics::postponed(later.code.as_str());
            postpone(app, message, &later).await;
            deliver_again(&mut response, message.message_id.as_deref().unwrap_or_default());
        }
    }
    Ok(response)
}

async fn work_until(deadline: Instant, batch: &mut Batch<'_>, message: &SqsMessage) -> Result<(), Later> {
    let work = catch_panic(batch.work(message));
    match tokio::time::timeout_at(deadline.into(), work).await {
        Ok(Ok(result)) => result,
        Ok(Err(panicked)) => {
            tracing::error!(message.id = message.message_id, error = %panicked, "a message made us panic");
            Err(Later::unexpected(Code::Panicked))
        }
        Err(_elapsed) => {
            tracing::warn!(message.id = message.message_id, "no time was left for a message");
            Err(Later::unexpected(Code::OutOfTime))
        }
    }
}

/// Whether this was the last attempt, and the message lies where it was given up, with the reason. The queue would move it
/// there itself, and not say why.
async fn give_up(app: &App, message: &SqsMessage, later: &Later) -> bool {
    if work::attempt(message) < app.attempts {
        return false;
    }
    let parked = app.given_up.park(message, later.code.as_str()).await;
    tracing::error!(message.id = message.message_id, code = %later.code, error = ?parked.as_ref().err(), "gave a message up");
    parked.is_ok()
}

/// Lets the message come again when it may help. If that fails, it comes again after the queue's own time.
async fn postpone(app: &App, message: &SqsMessage, later: &Later) {
    let after = later.delay(work::attempt(message));
    let Some(handle) = message.receipt_handle.as_deref() else { return };
    // A handle is good for the queue that it came from.
    let queue = if app.is_past(message) { &app.intake_backfill } else { &app.intake };
    if let Err(error) = queue.postpone(handle, after).await {
        tracing::warn!(message.id = message.message_id, error = ?error, "a message could not be postponed");
    }
}
