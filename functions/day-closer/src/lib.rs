//! Closes shops' business days, proves them against what the provider says by another question than the syncs ask, and
//! tells the sales domain what they come to.
//!
//! Whatever is due stands in an index. Who looks at a day has taken it before, for longer than a look can last; a crash
//! leaves it due again. What changes a day meanwhile moves its due time, so what was found out is not written over it.

mod clocks;
mod listing;
mod look;
mod verdict;

use std::time::{Duration, Instant, SystemTime};

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use shared::access::{TokenError, Tokens};
use shared::app::{ConnectionSettings, Connections};
use shared::aws::{AwsError, SdkConfig};
use shared::domain::MoneyError;
use shared::queue::SendError;
use shared::queue::sales::SalesQueue;
use shared::queue::sync_jobs::SyncJobs;
use shared::settings::Reader;
use shared::store::StoreError;
use shared::store::days::{Days, Due};
use shared::store::transactions::Transactions;
use shared::telemetry::Line;

/// Entries of one shard that are read together.
const PAGE: i32 = 50;
/// Days that are looked at side by side. A look mostly waits: for the table, and for its turn at the provider.
const AT_ONCE: usize = 8;
/// What is left of the time when no further look is begun.
const RESERVE: Duration = Duration::from_secs(10);
/// A clock that has struck makes a day due, which is looked at in the next round.
const ROUNDS: u32 = 3;

/// What the deployment says.
pub struct Settings {
    connections: ConnectionSettings,
    transactions_table: String,
    days_table: String,
    sales_queue_url: String,
    sync_jobs_queue_url: String,
    close_after: SignedDuration,
    look_again_after: SignedDuration,
}

impl Settings {
    /// Reads the function's environment variables.
    pub fn read(r: &Reader<'_>, config: &SdkConfig) -> Self {
        Self {
            connections: ConnectionSettings::read(r, config),
            transactions_table: r.text("TRANSACTIONS_TABLE"),
            days_table: r.text("DAYS_TABLE"),
            sales_queue_url: r.text("SALES_QUEUE_URL"),
            sync_jobs_queue_url: r.text("SYNC_JOBS_QUEUE_URL"),
            close_after: SignedDuration::from_mins(r.number("DAY_CLOSE_AFTER_MINUTES")),
            look_again_after: SignedDuration::from_secs(r.number("DAY_LOOK_AGAIN_SECONDS")),
        }
    }
}

/// Everything that the work needs, made once per execution environment.
pub struct App {
    connections: Connections,
    tokens: Tokens,
    transactions: Transactions,
    days: Days,
    sales: SalesQueue,
    jobs: SyncJobs,
    /// How long after its end a day is closed: the last tills must have told what they sold.
    close_after: SignedDuration,
    /// How long after the first look that proved nothing comes the second.
    look_again_after: SignedDuration,
}

impl App {
    /// Opens nothing yet.
    pub fn new(config: &SdkConfig, settings: Settings) -> Self {
        let (dynamodb, sqs) = (aws_sdk_dynamodb::Client::new(config), aws_sdk_sqs::Client::new(config));
        let connections = Connections::new(config, settings.connections);
        Self {
            tokens: connections.tokens("day-closer"),
            connections,
            transactions: Transactions::new(dynamodb.clone(), settings.transactions_table),
            days: Days::new(dynamodb, settings.days_table),
            sales: SalesQueue::new(sqs.clone(), settings.sales_queue_url),
            jobs: SyncJobs::new(sqs, settings.sync_jobs_queue_url),
            close_after: settings.close_after,
            look_again_after: settings.look_again_after,
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Request {
    /// Missing: whatever is due.
    #[serde(default)]
    pub operation: Operation,
}

/// What the schedules ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Every minute: whatever is due.
    #[default]
    Tick,
    /// Every hour: a clock for each shop that has none.
    WindUp,
}

/// Why work stopped. What it was about is due again.
#[derive(Debug, thiserror::Error)]
pub enum CloserError {
    /// A table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A queue failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The sales domain was not told.
    #[error(transparent)]
    Send(#[from] SendError),
    /// There is no token, for a reason of our own.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A day comes to no amount of money.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Does what is asked for, or as much of it as there is time for.
pub async fn handle(app: &App, request: Request, deadline: SystemTime) -> Result<(), CloserError> {
    let time_left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    app.tokens.begin(Instant::now() + time_left);
    let deadline = Instant::now() + time_left.saturating_sub(RESERVE);
    match request.operation {
        Operation::Tick => tick(app, deadline).await,
        Operation::WindUp => clocks::wind_up(app, deadline).await,
    }
}

async fn tick(app: &App, deadline: Instant) -> Result<(), CloserError> {
    let (mut line, mut found, mut failed) = (Line::begin("tick"), 0, 0);
    for _ in 0..ROUNDS {
        let now = Timestamp::now();
        let mut due = Vec::new();
        for shard in Days::due_shards() {
            due.extend(app.days.list_due(shard, now, PAGE).await?);
        }
        // The longest due first, whatever its shard: what is put off goes behind the others.
        due.sort_by_key(Due::due_at);
        if due.is_empty() || Instant::now() >= deadline {
            break;
        }
        found += due.len();
        let mut looks = Vec::with_capacity(due.len());
        for due in &due {
            looks.push(follow(app, due, deadline));
        }
        let outcomes: Vec<bool> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        failed += outcomes.iter().filter(|is_done| !**is_done).count();
    }
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    line.counts = vec![("due", number(found)), ("failed", number(failed))];
    line.end("looked at what is due");
    Ok(())
}

/// Does what is due. One that fails must not hold up the others: it stays due. Whether it has not failed.
async fn follow(app: &App, due: &Due, deadline: Instant) -> bool {
    if Instant::now() >= deadline {
        return true;
    }
    let (scope, id, done) = match due {
        Due::Clock(clock) => (&clock.scope, clock.configuration_id, clocks::strike(app, clock).await),
        Due::Day(day, due_at) => (&day.scope, day.configuration_id, look::at(app, day, *due_at, deadline).await),
    };
    if let Err(error) = &done {
        tracing::error!(tenant.id = %scope.tenant_id(), configuration.id = %id, error = ?error, "a day could not be looked at");
    }
    done.is_ok()
}
