//! Whether all is well.
//!
//! Each dependency is asked for what no role of ours can learn anything from: an item that nobody has, how much lies on a
//! queue, whether a key and a secret are there.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::{BoxFuture, join_all};
use http::StatusCode;
use serde::Serialize;
use shared::aws::{AwsError, SdkConfig};
use shared::problem::Problem;
use shared::queue::depth::depth;
use shared::rest::{Answer, unavailable};
use shared::settings::Reader;
use shared::store::budget::BreakerView;

use crate::App;

/// Who asks waits for everything together no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// The partition key of an item that nobody has, and the only one that the role may ask for in most tables.
const NOBODYS: &str = "#ready";

/// The tables: what each is called in answers, where its name stands, and its key.
const TABLES: [(&str, &str, &[&str]); 9] = [
    ("configurations", "CONFIGURATIONS_TABLE", &["tenant_id", "configuration_id"]),
    ("transactions", "TRANSACTIONS_TABLE", &["configuration_key", "transaction_id"]),
    ("days", "DAYS_TABLE", &["configuration_key", "entry"]),
    ("webhook-logs", "WEBHOOK_LOGS_TABLE", &["log_key", "event_id"]),
    ("raw-log", "RAW_LOG_TABLE", &["configuration_key", "entry"]),
    ("sync-logs", "SYNC_LOGS_TABLE", &["configuration_key", "entry"]),
    ("product-mappings", "PRODUCT_MAPPINGS_TABLE", &["configuration_key", "item_id"]),
    ("audit-log", "AUDIT_LOG_TABLE", &["tenant_id", "sequence"]),
    ("coordination", "COORDINATION_TABLE", &["key"]),
];

/// The queues that are worked on: what each is called in answers and metrics, and where its URL stands.
pub(crate) const QUEUES: [(&str, &str); 6] = [
    ("intake", "INTAKE_QUEUE_URL"),
    ("intake-backfill", "INTAKE_BACKFILL_QUEUE_URL"),
    ("sync-jobs", "SYNC_JOBS_QUEUE_URL"),
    ("sales", "SALES_QUEUE_URL"),
    ("sales-replies", "SALES_REPLIES_QUEUE_URL"),
    ("sold-out-endings", "SOLD_OUT_ENDINGS_QUEUE_URL"),
];

/// The queues of what was given up, in the order of `DeadLetterQueue::ALL`.
pub(crate) const DEAD_LETTER_QUEUES: [(&str, &str); 4] = [
    ("intake-dead-letters", "INTAKE_DEAD_LETTER_QUEUE_URL"),
    ("sync-jobs-dead-letters", "SYNC_JOBS_DEAD_LETTER_QUEUE_URL"),
    ("sales-dead-letters", "SALES_DEAD_LETTER_QUEUE_URL"),
    ("sales-replies-dead-letters", "SALES_REPLIES_DEAD_LETTER_QUEUE_URL"),
];

/// The secrets.
const SECRETS: [(&str, &str); 4] = [
    ("square-application", "SQUARE_SECRET_ID"),
    ("toast-application", "TOAST_SECRET_ID"),
    ("lightspeed-application", "LIGHTSPEED_SECRET_ID"),
    ("cursor-key", "CURSOR_SECRET_ID"),
];

/// Whom the service depends on.
pub struct Dependencies {
    dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    kms: aws_sdk_kms::Client,
    secrets_manager: aws_sdk_secretsmanager::Client,
    tables: Vec<(&'static str, String, &'static [&'static str])>,
    pub(crate) queues: Vec<(&'static str, String)>,
    secrets: Vec<(&'static str, String)>,
    key_id: String,
}

impl Dependencies {
    /// Asks nobody yet.
    pub fn new(
        config: &SdkConfig,
        dynamodb: aws_sdk_dynamodb::Client,
        sqs: aws_sdk_sqs::Client,
        r: &Reader<'_>,
    ) -> Self {
        Self {
            dynamodb,
            sqs,
            kms: aws_sdk_kms::Client::new(config),
            secrets_manager: aws_sdk_secretsmanager::Client::new(config),
            tables: TABLES.iter().map(|(name, variable, key)| (*name, r.text(variable), *key)).collect(),
            queues: QUEUES.iter().chain(&DEAD_LETTER_QUEUES).map(|(name, url)| (*name, r.text(url))).collect(),
            secrets: SECRETS.iter().map(|(name, id)| (*name, r.text(id))).collect(),
            key_id: r.text("KMS_KEY_ID"),
        }
    }

    async fn ask_table(&self, table: &str, key: &[&str]) -> Result<(), AwsError> {
        let mut request = self.dynamodb.get_item().table_name(table);
        for name in key {
            let is_number = *name == "sequence";
            let value = if is_number { AttributeValue::N("0".into()) } else { AttributeValue::S(NOBODYS.into()) };
            request = request.key(*name, value);
        }
        request.send().await.map(drop).map_err(|error| AwsError::new("ask a table for what it does not have", error))
    }

    async fn ask_key(&self) -> Result<(), AwsError> {
        const OPERATION: &str = "ask after the key";
        let answer = self.kms.describe_key().key_id(&self.key_id).send().await;
        let answer = answer.map_err(|error| AwsError::new(OPERATION, error))?;
        let is_enabled = answer.key_metadata().is_some_and(|key| key.enabled());
        if is_enabled { Ok(()) } else { Err(AwsError::new(OPERATION, "it is disabled")) }
    }

    async fn ask_secret(&self, id: &str) -> Result<(), AwsError> {
        let answer = self.secrets_manager.describe_secret().secret_id(id).send().await;
        answer.map(drop).map_err(|error| AwsError::new("ask after a secret", error))
    }
}

/// Whether the service can work.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Readiness {
    /// `down` if anything is that the service cannot do without; `degraded` if a provider is left alone for now.
    status: Status,
    /// Whom it depends on.
    dependencies: Vec<Dependency>,
}

/// One that the service depends on.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Dependency {
    kind: Kind,
    name: String,
    status: Status,
    /// How long it took to answer.
    latency_ms: u64,
    /// What is wrong. The log has the details.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "DependencyKind"))]
#[serde(rename_all = "snake_case")]
enum Kind {
    Table,
    Queue,
    Key,
    Secret,
    Provider,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "DependencyStatus"))]
#[serde(rename_all = "snake_case")]
enum Status {
    Up,
    Degraded,
    Down,
}

/// One look at a dependency.
type Check<'c> = BoxFuture<'c, Result<(), AwsError>>;

/// Somebody is there.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Alive {
    /// Always `ok`.
    status: &'static str,
}

/// Asks nobody: who sees this answer knows that the gateway and this function work.
pub fn alive() -> Result<Answer, Problem> {
    Answer::json(StatusCode::OK, &Alive { status: "ok" })
}

/// Asks everybody at once.
pub async fn ready(app: &App) -> Result<Answer, Problem> {
    let all = &app.dependencies;
    let mut checks: Vec<(Kind, &str, Check<'_>)> = Vec::new();
    for (name, table, key) in &all.tables {
        checks.push((Kind::Table, name, Box::pin(all.ask_table(table, key))));
    }
    for (name, url) in &all.queues {
        checks.push((Kind::Queue, name, Box::pin(async { depth(&all.sqs, url).await.map(drop) })));
    }
    for (name, id) in &all.secrets {
        checks.push((Kind::Secret, name, Box::pin(all.ask_secret(id))));
    }
    checks.push((Kind::Key, "sealing", Box::pin(all.ask_key())));
    let checks = checks.into_iter().map(|(kind, name, check)| judge(kind, name, check));
    let (mut dependencies, providers) = tokio::join!(join_all(checks), providers(app));
    dependencies.extend(providers);
    let status = dependencies.iter().map(|dependency| dependency.status).max().unwrap_or(Status::Up);
    let answered = if status == Status::Down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Answer::json(answered, &Readiness { status, dependencies })
}

async fn judge(kind: Kind, name: &str, check: Check<'_>) -> Dependency {
    let started = Instant::now();
    let checked = tokio::time::timeout(PATIENCE, check).await;
    let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (status, reason) = match checked {
        Ok(Ok(())) => (Status::Up, None),
        Ok(Err(error)) => {
            // The problem that it would be elsewhere is not what is answered here; what it logs is wanted.
            unavailable(&error);
            (Status::Down, Some("it refused, or could not be reached"))
        }
        Err(_elapsed) => (Status::Down, Some("it did not answer in time")),
    };
    Dependency { kind, name: name.to_owned(), status, latency_ms, reason }
}

/// Providers are not called for this: their breakers say what the last calls have come to. One that is left alone makes
/// nothing unready that is ours.
async fn providers(app: &App) -> Vec<Dependency> {
    let started = Instant::now();
    let breakers = tokio::time::timeout(PATIENCE, app.budgets.list_breakers()).await;
    let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    // That the table is away is said above.
    let breakers = breakers.ok().and_then(Result::ok).unwrap_or_default();
    let dependency = |BreakerView { provider, environment, is_open }| Dependency {
        kind: Kind::Provider,
        name: format!("{provider}-{}", environment.as_str()),
        status: if is_open { Status::Degraded } else { Status::Up },
        latency_ms,
        reason: is_open.then_some("it has failed too often: its breaker is open"),
    };
    breakers.into_iter().map(dependency).collect()
}
