//! What configurations need without anybody asking: credentials renewed in time, removals carried on, secrets wrapped
//! with the newest key.
//!
//! Whatever is due stands in an index. A tick that ends early, or twice at once, leaves nothing undone and does nothing
//! twice: renewals are leased, and each step of a removal moves on only from where it was seen.

mod look;
mod removal;
mod reseal;

use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::access::{TokenError, Tokens};
use shared::app::Connections;
use shared::queue::SendError;
use shared::queue::sales::SalesQueue;
use shared::store::StoreError;
use shared::store::configurations::{CommitError, Configurations};
use shared::store::days::Days;
use shared::store::product_mappings::ProductMappings;
use shared::store::raw_log::RawLog;
use shared::store::transactions::Transactions;
use shared::store::webhook_logs::WebhookLogs;
use shared::telemetry::Line;
use shared::vault::VaultError;

pub use reseal::Report;

/// What is left of the time when no further configuration is begun: longer than one renewal may take.
const RESERVE: Duration = Duration::from_secs(15);
/// Items of one query.
const PAGE: i32 = 25;

/// Everything that the work needs, made once per execution environment.
pub struct App {
    connections: Connections,
    tokens: Tokens,
    transactions: Transactions,
    days: Days,
    logs: WebhookLogs,
    raw_log: RawLog,
    product_mappings: ProductMappings,
    sales: SalesQueue,
    settle: SignedDuration,
}

impl App {
    /// `settle`: how long work that has begun before a removal may still write.
    pub fn new(
        connections: Connections,
        (transactions, days, raw_log): (Transactions, Days, RawLog),
        (logs, product_mappings): (WebhookLogs, ProductMappings),
        sales: SalesQueue,
        settle: SignedDuration,
    ) -> Self {
        let tokens = connections.tokens("upkeep");
        Self { connections, tokens, transactions, days, logs, raw_log, product_mappings, sales, settle }
    }
}

/// What is asked for. The schedule asks for nothing in particular.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Request {
    /// Missing: whatever is due.
    #[serde(default)]
    pub operation: Operation,
}

/// What an operator can ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Whatever is due.
    #[default]
    Tick,
    /// Wrap every sealed secret with the key that the deployment names now. Goes on with every tick until it is done.
    Reseal,
    /// How far that is.
    ResealStatus,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Configurations that were looked after.
    pub looked_after: u32,
    /// Of those, not with success.
    pub failed: u32,
    /// How far the secrets are wrapped with the newest key, if somebody has asked for that.
    pub reseal: Option<Report>,
}

/// Why work on one configuration stopped. It stays due.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// No token, and why.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A change was refused.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The sales domain was not told.
    #[error(transparent)]
    Send(#[from] SendError),
    /// KMS failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Does what is asked for, or what is due, or as much of it as there is time for.
pub async fn handle(app: &App, request: Request, deadline: SystemTime) -> Result<Done, UpkeepError> {
    let time_left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    app.tokens.begin(Instant::now() + time_left);
    let deadline = Instant::now() + time_left.saturating_sub(RESERVE);
    let (mut line, mut done) = (Line::begin("tick"), Done::default());
    match request.operation {
        Operation::Tick => tick(app, deadline, &mut done).await?,
        Operation::Reseal => reseal::begin(app).await?,
        Operation::ResealStatus => {
            done.reseal = reseal::status(app).await?;
            return Ok(done);
        }
    }
    done.reseal = reseal::go_on(app, deadline).await?;
    line.state = done.reseal.as_ref().map(|report| if report.is_done { "resealed" } else { "resealing" }.to_owned());
    line.counts = vec![("looked_after", done.looked_after.into()), ("failed", done.failed.into())];
    line.end("looked after configurations");
    Ok(done)
}

async fn tick(app: &App, deadline: Instant, done: &mut Done) -> Result<(), UpkeepError> {
    let now = Timestamp::now();
    // Another shard first each time, so that none waits for ever when there is more due than time.
    let shards = Configurations::due_shards();
    let first = usize::try_from(now.as_second() / 60).unwrap_or(0) % shards.len();
    for shard in shards.clone().cycle().skip(first).take(shards.len()) {
        for (scope, id) in app.connections.configurations.list_due(shard, now, PAGE).await? {
            if Instant::now() >= deadline {
                return Ok(());
            }
            done.looked_after += 1;
            // One that fails must not hold up the others.
            if let Err(error) = look::after(app, &scope, id, deadline).await {
                done.failed += 1;
                tracing::error!(tenant.id = %scope.tenant_id(), configuration.id = %id, error = ?error, "a configuration could not be looked after");
            }
        }
    }
    Ok(())
}
