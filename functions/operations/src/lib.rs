//! REST, for the platform's own people and programs: whether all is well, what is measured, and what was given up.
//!
//! Nothing in here belongs to a tenant, and no answer names more of one than an id.

mod dead_letters;
mod health;
mod metrics;
#[cfg(feature = "schema")]
pub mod openapi;
mod webhooks;

use lambda_http::{Body, Error, Request, Response};
use shared::domain::DeadLetterQueue;
use shared::problem::Problem;
use shared::providers::{ProviderHosts, Providers};
use shared::queue::dead_letters::DeadLetters;
use shared::rest::{Operator, Role, Route, answer_public, find_route};
use shared::settings::Reader;
use shared::store::budget::Budgets;
use shared::store::configurations::Configurations;
use shared::store::coordination::Coordination;
use shared::store::counters::Counters;
use shared::store::sync_logs::SyncLogs;
use shared::store::transactions::Transactions;
use shared::telemetry::metrics::Tally;

pub use health::Dependencies;
pub use metrics::{GAUGES, Gauge};

/// What this function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Says that somebody is there.
    Health,
    /// Looks at everything that the service depends on.
    Ready,
    /// Shows what is counted and seen, to Prometheus.
    Metrics,
    /// Shows the receiver of a provider's webhooks.
    WebhookStatus,
    /// Shows what was given up.
    ListDeadLetters,
    /// Asks for messages to be sent once more.
    Redrive,
    /// Shows how far that is.
    GetRedrive,
}

/// All routes.
pub const ROUTES: &[Route<Operation>] = &[
    Route { method: "GET", path: "/api/v1/health", role: None, operation: Operation::Health },
    Route {
        method: "GET",
        path: "/api/v1/health/ready",
        role: Some(Role::PlatformOperate),
        operation: Operation::Ready,
    },
    Route { method: "GET", path: "/api/v1/metrics", role: Some(Role::PlatformMetrics), operation: Operation::Metrics },
    Route {
        method: "GET",
        path: "/api/v1/webhooks/{pos_system}/status",
        role: None,
        operation: Operation::WebhookStatus,
    },
    Route {
        method: "GET",
        path: "/api/v1/operations/dead-letters",
        role: Some(Role::PlatformOperate),
        operation: Operation::ListDeadLetters,
    },
    Route {
        method: "POST",
        path: "/api/v1/operations/dead-letters/{queue}/redrives",
        role: Some(Role::PlatformOperate),
        operation: Operation::Redrive,
    },
    Route {
        method: "GET",
        path: "/api/v1/operations/dead-letters/{queue}/redrives/{redrive_id}",
        role: Some(Role::PlatformOperate),
        operation: Operation::GetRedrive,
    },
];

/// Everything that the work needs, made once per execution environment.
pub struct App {
    dead_letters: [DeadLetters; 4],
    coordination: Coordination,
    configurations: Configurations,
    transactions: Transactions,
    sync_logs: SyncLogs,
    counters: Counters,
    budgets: Budgets,
    dependencies: Dependencies,
    providers: Providers,
    counted: metrics::Kept<Tally>,
    seen: metrics::Kept<Vec<metrics::Reading>>,
}

impl App {
    /// Asks nobody yet. The environment says where everything is.
    pub fn new(config: &shared::aws::SdkConfig, r: &Reader<'_>) -> Self {
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        let sqs = aws_sdk_sqs::Client::new(config);
        let coordination = r.text("COORDINATION_TABLE");
        Self {
            // Of these, in the order of `DeadLetterQueue::ALL`. Nothing is sent from here.
            dead_letters: health::DEAD_LETTER_QUEUES
                .map(|(_, url)| DeadLetters::new(sqs.clone(), r.text(url), Vec::new())),
            coordination: Coordination::new(dynamodb.clone(), coordination.clone()),
            configurations: Configurations::new(dynamodb.clone(), r.text("CONFIGURATIONS_TABLE")),
            transactions: Transactions::new(dynamodb.clone(), r.text("TRANSACTIONS_TABLE")),
            sync_logs: SyncLogs::new(dynamodb.clone(), r.text("SYNC_LOGS_TABLE")),
            counters: Counters::new(dynamodb.clone(), coordination.clone(), "operations"),
            budgets: Budgets::new(dynamodb.clone(), coordination),
            dependencies: Dependencies::new(config, dynamodb, sqs, r),
            providers: Providers::new(ProviderHosts::default()),
            counted: metrics::Kept::default(),
            seen: metrics::Kept::default(),
        }
    }

    fn dead_letters(&self, queue: DeadLetterQueue) -> &DeadLetters {
        let [intake, sync_jobs, sales, sales_replies] = &self.dead_letters;
        match queue {
            DeadLetterQueue::Intake => intake,
            DeadLetterQueue::SyncJobs => sync_jobs,
            DeadLetterQueue::Sales => sales,
            DeadLetterQueue::SalesReplies => sales_replies,
        }
    }
}

/// Answers one request.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>, Error> {
    answer_public(request, async |question| {
        let route = find_route(ROUTES, question.method(), question.route());
        let route = route.ok_or_else(|| Problem::not_found("route"))?;
        let operator = route.role.map(|role| Operator::of(&question, role)).transpose()?;
        match route.operation {
            Operation::Health => health::alive(),
            Operation::Ready => health::ready(app).await,
            Operation::Metrics => metrics::scrape(app, &question).await,
            Operation::WebhookStatus => webhooks::status(app, &question).await,
            Operation::ListDeadLetters => dead_letters::list(app).await,
            Operation::Redrive => {
                let operator = operator.ok_or_else(Problem::internal)?;
                dead_letters::redrive(app, &question, &operator).await
            }
            Operation::GetRedrive => dead_letters::get(app, &question).await,
        }
    })
    .await
}
