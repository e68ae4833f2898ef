//! REST: the transactions of a tenant.

mod list;
mod view;

use http::StatusCode;
use lambda_http::{Body, Error, Request, Response, run, service_fn};
use shared::domain::{ConfigurationId, TenantScope, TransactionId};
use shared::problem::Problem;
use shared::rest::{Answer, Call, CursorKey, Role, Route, answer, find_route, unavailable};
use shared::secrets::Secret;
use shared::settings::Reader;
use shared::store::configurations::{Configurations, Filter};
use shared::store::transactions::{TransactionKey, Transactions};
use view::TransactionView;

/// More connections than most tenants have, and DynamoDB's own limit for one read of many items.
const PAGE: i32 = 100;

/// What this function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    List,
    Get,
}

const ROUTES: &[Route<Operation>] = &[
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/transactions",
        role: Some(Role::Read),
        operation: Operation::List,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/transactions/{transaction_id}",
        role: Some(Role::Read),
        operation: Operation::Get,
    },
];

struct App {
    configurations: Configurations,
    transactions: Transactions,
    cursor_key: Secret<CursorKey>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let config = shared::aws::config_from_env()?;
    let (configurations, transactions, cursor_secret) = Reader::from_env(|r| {
        (r.text("CONFIGURATIONS_TABLE"), r.text("TRANSACTIONS_TABLE"), r.text("CURSOR_SECRET_ID"))
    })?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let app = &App {
        configurations: Configurations::new(dynamodb.clone(), configurations),
        transactions: Transactions::new(dynamodb, transactions),
        cursor_key: Secret::new(aws_sdk_secretsmanager::Client::new(&config), cursor_secret),
    };
    run(service_fn(move |request| handle(app, request))).await
}

async fn handle(app: &App, request: Request) -> Result<Response<Body>, Error> {
    answer(request, async |call: Call| {
        let route = find_route(ROUTES, call.method(), call.route()).ok_or_else(|| Problem::not_found("route"))?;
        if let Some(role) = route.role {
            call.require(role)?;
        }
        match route.operation {
            Operation::List => list::list(app, &call).await,
            Operation::Get => get(app, &call).await,
        }
    })
    .await
}

async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    let transaction_id: TransactionId = call.path_id("transaction_id", "transaction")?;
    // The id does not say through which connection it came; a tenant has few.
    let keys: Vec<TransactionKey> = configurations(app, &call.scope)
        .await?
        .into_iter()
        .map(|configuration_id| TransactionKey { scope: call.scope.clone(), configuration_id, transaction_id })
        .collect();
    for keys in keys.chunks(100) {
        let found = app.transactions.find_many(keys).await.map_err(|error| unavailable(&error))?;
        if let Some(found) = found.first() {
            return Answer::json(StatusCode::OK, &TransactionView::new(found));
        }
    }
    Err(Problem::not_found("transaction"))
}

/// The tenant's configurations, oldest first.
async fn configurations(app: &App, scope: &TenantScope) -> Result<Vec<ConfigurationId>, Problem> {
    let mut found = Vec::new();
    let mut start_after = None;
    loop {
        let page = app
            .configurations
            .list(scope, Filter::default(), PAGE, start_after)
            .await
            .map_err(|error| unavailable(&error))?;
        found.extend(page.items.into_iter().map(|configuration| configuration.id));
        start_after = page.next;
        if start_after.is_none() {
            return Ok(found);
        }
    }
}
