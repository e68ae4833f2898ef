//! REST: the transactions of a tenant, and what its tills sell.

mod list;
#[cfg(feature = "schema")]
pub mod openapi;
mod products;
mod view;

use http::StatusCode;
use lambda_http::{Body, Error, Request, Response};
use shared::domain::{ConfigurationId, TenantScope, TransactionId};
use shared::problem::Problem;
use shared::rest::{Answer, Call, CursorKey, Role, Route, answer, unavailable};
use shared::secrets::Secret;
use shared::store::configurations::{Configurations, Filter};
use shared::store::product_mappings::ProductMappings;
use shared::store::transactions::{TransactionKey, Transactions};
use view::TransactionView;

/// More connections than most tenants have, and DynamoDB's own limit for one read of many items.
const PAGE: i32 = 100;

/// What this function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Lists a tenant's transactions.
    List,
    /// Shows one.
    Get,
    /// Lists what a till sells.
    ListProductMappings,
}

/// All routes.
pub const ROUTES: &[Route<Operation>] = &[
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
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings",
        role: Some(Role::Read),
        operation: Operation::ListProductMappings,
    },
];

/// Everything that the work needs, made once per execution environment.
pub struct App {
    configurations: Configurations,
    transactions: Transactions,
    product_mappings: ProductMappings,
    cursor_key: Secret<CursorKey>,
}

impl App {
    /// Reads nothing yet.
    pub fn new(
        configurations: Configurations,
        transactions: Transactions,
        product_mappings: ProductMappings,
        cursor_key: Secret<CursorKey>,
    ) -> Self {
        Self { configurations, transactions, product_mappings, cursor_key }
    }
}

/// Answers one request.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>, Error> {
    answer(request, async |call: Call| match call.operation(ROUTES)? {
        Operation::List => list::list(app, &call).await,
        Operation::Get => get(app, &call).await,
        Operation::ListProductMappings => products::list(app, &call).await,
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
