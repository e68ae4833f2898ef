//! What was given up: a row in the log of the tenant whose delivery it was, and another chance when somebody asks for it.
//!
//! A tick that ends early, or twice at once, leaves nothing undone: messages that were looked at appear again by themselves,
//! a row is written once, and a message is sent before it is deleted.

mod note;
mod redrive;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use shared::aws::{AwsError, SdkConfig};
use shared::domain::DeadLetterQueue;
use shared::providers::{ProviderHosts, Providers};
use shared::queue::dead_letters::DeadLetters;
use shared::settings::Reader;
use shared::store::StoreError;
use shared::store::configurations::Configurations;
use shared::store::coordination::Coordination;
use shared::store::webhook_logs::WebhookLogs;
use shared::telemetry::Line;
use shared::vault::{Bodies, Vault, VaultError};

/// What is left of the time when nothing more is begun.
const RESERVE: Duration = Duration::from_secs(8);

/// Everything that the work needs, made once per execution environment.
pub struct App {
    queues: [(DeadLetterQueue, DeadLetters); 4],
    coordination: Coordination,
    configurations: Configurations,
    logs: WebhookLogs,
    providers: Providers,
    bodies: Bodies,
    /// Messages whose rows are written. It only spares work: whoever does not know them writes the same row again in vain.
    noted: Mutex<HashSet<String>>,
}

impl App {
    /// Asks nobody yet. The environment says where everything is.
    pub fn new(config: &SdkConfig, r: &Reader<'_>) -> Self {
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        let sqs = aws_sdk_sqs::Client::new(config);
        let queue = |queue, url: &str, sources: &[&str]| {
            let sources = sources.iter().map(|source| r.text(source)).collect();
            (queue, DeadLetters::new(sqs.clone(), r.text(url), sources))
        };
        Self {
            queues: [
                // Whatever it was, it goes on as a part of the past: a thousand deliveries must not hold up a live one.
                queue(DeadLetterQueue::Intake, "INTAKE_DEAD_LETTER_QUEUE_URL", &["INTAKE_BACKFILL_QUEUE_URL"]),
                queue(DeadLetterQueue::SyncJobs, "SYNC_JOBS_DEAD_LETTER_QUEUE_URL", &["SYNC_JOBS_QUEUE_URL"]),
                queue(DeadLetterQueue::Sales, "SALES_DEAD_LETTER_QUEUE_URL", &["SALES_QUEUE_URL"]),
                queue(
                    DeadLetterQueue::SalesReplies,
                    "SALES_REPLIES_DEAD_LETTER_QUEUE_URL",
                    &["SALES_REPLIES_QUEUE_URL", "SOLD_OUT_ENDINGS_QUEUE_URL"],
                ),
            ],
            coordination: Coordination::new(dynamodb.clone(), r.text("COORDINATION_TABLE")),
            configurations: Configurations::new(dynamodb.clone(), r.text("CONFIGURATIONS_TABLE")),
            logs: WebhookLogs::new(dynamodb, r.text("WEBHOOK_LOGS_TABLE"), r.number("WEBHOOK_LOG_RETENTION_DAYS")),
            providers: Providers::new(ProviderHosts::default()),
            bodies: Bodies::new(Arc::new(Vault::new(aws_sdk_kms::Client::new(config), r.text("KMS_KEY_ID")))),
            noted: Mutex::default(),
        }
    }
}

/// Why a tick stopped early. The next one does what it had not reached.
#[derive(Debug, thiserror::Error)]
pub enum TickError {
    /// A table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A queue failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A body could not be sealed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Looks after each queue, or as much as there is time for. One that fails does not hold up the others.
pub async fn tick(app: &App, deadline: SystemTime) -> Result<(), TickError> {
    let time_left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let deadline = Instant::now() + time_left.saturating_sub(RESERVE);
    let mut failed = None;
    for (queue, letters) in &app.queues {
        if let Err(error) = look_after(app, *queue, letters, deadline).await {
            tracing::error!(queue = %queue, error = ?error, "a queue could not be looked after");
            failed = failed.or(Some(error));
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn look_after(
    app: &App,
    queue: DeadLetterQueue,
    letters: &DeadLetters,
    deadline: Instant,
) -> Result<(), TickError> {
    let mut line = Line::begin("dead_letters");
    let depth = letters.depth().await?;
    // First what somebody waits for; and a row that cannot be written holds up nobody's redrive.
    let moved = redrive::go_on(app, queue, letters, deadline).await?;
    let noted = if queue == DeadLetterQueue::Intake && depth.visible > 0 {
        note::note(app, letters, depth.visible, deadline).await?
    } else {
        0
    };
    let messages = depth.visible + depth.in_flight;
    line.kind = Some(queue.as_str());
    line.counts = vec![("messages", messages), ("noted", noted), ("moved", moved)];
    line.end("looked after what was given up");
    Ok(())
}
