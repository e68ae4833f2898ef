//! REST: the transactions of a tenant, what its tills sell, and what has come by webhook.

mod caused;
mod days;
mod export;
mod lineage;
mod list;
#[cfg(feature = "schema")]
pub mod openapi;
mod past;
mod products;
mod resend;
mod sync_page;
mod table;
mod view;
mod webhooks;

use http::StatusCode;
use lambda_http::{Body, Error, Request, Response};
use shared::domain::{ConfigurationId, ProviderKind, RebuiltDay, RemappedDay, TenantScope, TransactionId};
use shared::problem::{FieldError, Problem};
use shared::queue::intake::IntakeQueue;
use shared::rest::{Answer, Call, CursorKey, Role, Route, answer, unavailable};
use shared::secrets::Secret;
use shared::store::audit::AuditLog;
use shared::store::configurations::{Changes, Configurations, Filter};
use shared::store::coordination::Coordination;
use shared::store::days::Days;
use shared::store::product_mappings::ProductMappings;
use shared::store::sync_logs::SyncLogs;
use shared::store::transactions::{Stored, TransactionKey, Transactions};
use shared::store::webhook_logs::WebhookLogs;
use shared::vault::Bodies;
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
    /// Shows where one comes from, and where it went.
    GetLineage,
    /// Sends one that was rejected again.
    ResendOne,
    /// Sends what was rejected again.
    ResendMany,
    /// Lists what a till sells.
    ListProductMappings,
    /// Takes mappings that were sent together.
    ImportProductMappings,
    /// Shows how far an import is.
    GetImport,
    /// Shows one item of a till.
    GetProductMapping,
    /// Says what one item is.
    PutProductMapping,
    /// Lists what is sold and not mapped.
    ListUnmapped,
    /// Lists what items may be.
    ListSuggestions,
    /// Finds out what a mapping changes of the past.
    BeginRemapping,
    /// Shows how far that is.
    GetRemapping,
    /// Shows what changes, day by day.
    ListRemappedDays,
    /// Does what was shown.
    ApplyRemapping,
    /// Finds out what this release makes of the raw orders that are kept.
    BeginRebuild,
    /// Shows how far that is.
    GetRebuild,
    /// Shows what would change, by shop and day.
    ListRebuiltDays,
    /// Does what was shown.
    ApplyRebuild,
    /// Lists what has come by webhook.
    ListDeliveries,
    /// Shows what the doorbell is worth.
    GetScoreboard,
    /// Shows one delivery step by step.
    GetDelivery,
    /// Shows one as it came.
    GetDeliveryBody,
    /// Works on one once more.
    ReplayOne,
    /// Works on many once more.
    ReplayMany,
    /// Shows how far that is.
    GetReplay,
    /// Lists what was said of shops' business days.
    ListDays,
    /// Shows a business date.
    GetDay,
    /// Has somebody look at one soon.
    CertifyDay,
    /// Shows what a page of a sync has led to.
    GetSyncPage,
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
        path: "/api/v1/tenants/{tenant_id}/pos/transactions/{transaction_id}/lineage",
        role: Some(Role::Read),
        operation: Operation::GetLineage,
    },
    Route {
        method: "POST",
        path: "/api/v1/tenants/{tenant_id}/pos/transactions/{transaction_id}/resend",
        role: Some(Role::Write),
        operation: Operation::ResendOne,
    },
    Route {
        method: "POST",
        path: "/api/v1/tenants/{tenant_id}/pos/transactions/resend",
        role: Some(Role::Write),
        operation: Operation::ResendMany,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings",
        role: Some(Role::Read),
        operation: Operation::ListProductMappings,
    },
    Route {
        method: "PUT",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings",
        role: Some(Role::Write),
        operation: Operation::ImportProductMappings,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings/imports/{import_id}",
        role: Some(Role::Read),
        operation: Operation::GetImport,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings/items/{item_id}",
        role: Some(Role::Read),
        operation: Operation::GetProductMapping,
    },
    Route {
        method: "PUT",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings/items/{item_id}",
        role: Some(Role::Write),
        operation: Operation::PutProductMapping,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings/unmapped",
        role: Some(Role::Read),
        operation: Operation::ListUnmapped,
    },
    Route {
        method: "POST",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings/suggestions",
        role: Some(Role::Read),
        operation: Operation::ListSuggestions,
    },
    Route {
        method: "POST",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings/remappings",
        role: Some(Role::Write),
        operation: Operation::BeginRemapping,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings/remappings/{remapping_id}",
        role: Some(Role::Read),
        operation: Operation::GetRemapping,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings/remappings/{remapping_id}/days",
        role: Some(Role::Read),
        operation: Operation::ListRemappedDays,
    },
    Route {
        method: "POST",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/product-mappings/remappings/{remapping_id}/apply",
        role: Some(Role::Write),
        operation: Operation::ApplyRemapping,
    },
    Route {
        method: "POST",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/rebuilds",
        role: Some(Role::Write),
        operation: Operation::BeginRebuild,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/rebuilds/{rebuild_id}",
        role: Some(Role::Read),
        operation: Operation::GetRebuild,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/rebuilds/{rebuild_id}/days",
        role: Some(Role::Read),
        operation: Operation::ListRebuiltDays,
    },
    Route {
        method: "POST",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/rebuilds/{rebuild_id}/apply",
        role: Some(Role::Write),
        operation: Operation::ApplyRebuild,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/webhooks",
        role: Some(Role::Read),
        operation: Operation::ListDeliveries,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/webhooks/scoreboard",
        role: Some(Role::Read),
        operation: Operation::GetScoreboard,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/webhooks/{event_id}",
        role: Some(Role::Read),
        operation: Operation::GetDelivery,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/webhooks/{event_id}/body",
        role: Some(Role::Admin),
        operation: Operation::GetDeliveryBody,
    },
    Route {
        method: "POST",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/webhooks/{event_id}/replay",
        role: Some(Role::Write),
        operation: Operation::ReplayOne,
    },
    Route {
        method: "POST",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/webhooks/replay",
        role: Some(Role::Write),
        operation: Operation::ReplayMany,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/webhooks/replays/{replay_id}",
        role: Some(Role::Read),
        operation: Operation::GetReplay,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/days",
        role: Some(Role::Read),
        operation: Operation::ListDays,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/days/{date}",
        role: Some(Role::Read),
        operation: Operation::GetDay,
    },
    Route {
        method: "POST",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/days/{date}/certificates",
        role: Some(Role::Write),
        operation: Operation::CertifyDay,
    },
    Route {
        method: "GET",
        path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/sync/runs/{run_id}/pages/{page}",
        role: Some(Role::Read),
        operation: Operation::GetSyncPage,
    },
];

/// Everything that the work needs, made once per execution environment.
pub struct App {
    configurations: Configurations,
    transactions: Transactions,
    days: Days,
    product_mappings: ProductMappings,
    sync_logs: SyncLogs,
    logs: WebhookLogs,
    bodies: Bodies,
    changes: Changes,
    jobs: IntakeQueue,
    cursor_key: Secret<CursorKey>,
}

impl App {
    /// Reads nothing yet.
    pub fn new(
        (configurations, audit, coordination): (Configurations, AuditLog, Coordination),
        (transactions, days, logs, bodies): (Transactions, Days, WebhookLogs, Bodies),
        (product_mappings, sync_logs, jobs): (ProductMappings, SyncLogs, IntakeQueue),
        cursor_key: Secret<CursorKey>,
    ) -> Self {
        let changes = Changes::new(configurations.clone(), audit, coordination, sync_logs.clone());
        Self {
            configurations,
            transactions,
            days,
            product_mappings,
            sync_logs,
            logs,
            bodies,
            changes,
            jobs,
            cursor_key,
        }
    }
}

/// Answers one request.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>, Error> {
    answer(request, async |call: Call| match call.operation(ROUTES)? {
        Operation::List => list::list(app, &call).await,
        Operation::Get => get(app, &call).await,
        Operation::GetLineage => lineage::get(app, &call).await,
        Operation::ResendOne => resend::one(app, &call).await,
        Operation::ResendMany => resend::many(app, &call).await,
        Operation::ListProductMappings => products::list(app, &call).await,
        Operation::ImportProductMappings => products::import::begin(app, &call).await,
        Operation::GetImport => products::import::get(app, &call).await,
        Operation::GetProductMapping => products::get(app, &call).await,
        Operation::PutProductMapping => products::put(app, &call).await,
        Operation::ListUnmapped => products::unmapped::list(app, &call).await,
        Operation::ListSuggestions => products::suggest::list(app, &call).await,
        Operation::BeginRemapping => past::begin::<RemappedDay>(app, &call).await,
        Operation::GetRemapping => past::get::<RemappedDay>(app, &call).await,
        Operation::ListRemappedDays => past::list_days::<RemappedDay>(app, &call).await,
        Operation::ApplyRemapping => past::apply::<RemappedDay>(app, &call).await,
        Operation::BeginRebuild => past::begin::<RebuiltDay>(app, &call).await,
        Operation::GetRebuild => past::get::<RebuiltDay>(app, &call).await,
        Operation::ListRebuiltDays => past::list_days::<RebuiltDay>(app, &call).await,
        Operation::ApplyRebuild => past::apply::<RebuiltDay>(app, &call).await,
        Operation::ListDeliveries => webhooks::list(app, &call).await,
        Operation::GetScoreboard => webhooks::scoreboard::get(app, &call).await,
        Operation::GetDelivery => webhooks::detail::get(app, &call).await,
        Operation::GetDeliveryBody => webhooks::body(app, &call).await,
        Operation::ReplayOne => webhooks::replay::one(app, &call).await,
        Operation::ReplayMany => webhooks::replay::many(app, &call).await,
        Operation::GetReplay => webhooks::replay::get(app, &call).await,
        Operation::ListDays => days::list(app, &call).await,
        Operation::GetDay => days::get(app, &call).await,
        Operation::CertifyDay => days::certify(app, &call).await,
        Operation::GetSyncPage => sync_page::get(app, &call).await,
    })
    .await
}

async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    let found = find(app, call, call.path_id("transaction_id", "transaction")?).await?;
    Answer::json(StatusCode::OK, &TransactionView::new(&found))
}

async fn find(app: &App, call: &Call, transaction_id: TransactionId) -> Result<Stored, Problem> {
    // The id does not say through which connection it came; a tenant has few.
    let keys: Vec<TransactionKey> = configurations(app, &call.scope, None)
        .await?
        .into_iter()
        .map(|configuration_id| TransactionKey { scope: call.scope.clone(), configuration_id, transaction_id })
        .collect();
    let found = app.transactions.find_many(&keys).await.map_err(|error| unavailable(&error))?;
    found.into_iter().next().ok_or_else(|| Problem::not_found("transaction"))
}

/// The configuration that is asked for, if it is the tenant's and of this provider; or all of them, oldest first.
async fn asked_configurations(
    app: &App,
    call: &Call,
    asked: Option<ConfigurationId>,
    provider: Option<ProviderKind>,
) -> Result<Vec<ConfigurationId>, Problem> {
    let Some(asked) = asked else { return configurations(app, &call.scope, provider).await };
    let found = app.configurations.find(&call.scope, asked).await.map_err(|error| unavailable(&error))?;
    let found = found.ok_or_else(|| Problem::not_found("configuration"))?;
    if provider.is_some_and(|provider| provider != found.provider) {
        let error = FieldError::new("provider", "is another one than the configuration's");
        return Err(Problem::invalid_fields(vec![error]));
    }
    Ok(vec![found.id])
}

/// The tenant's configurations, oldest first.
async fn configurations(
    app: &App,
    scope: &TenantScope,
    provider: Option<ProviderKind>,
) -> Result<Vec<ConfigurationId>, Problem> {
    let (mut found, mut start_after) = (Vec::new(), None);
    let filter = Filter { provider, ..Filter::default() };
    loop {
        let page = app.configurations.list(scope, filter, PAGE, start_after).await;
        let page = page.map_err(|error| unavailable(&error))?;
        found.extend(page.items.into_iter().map(|configuration| configuration.id));
        start_after = page.next;
        if start_after.is_none() {
            return Ok(found);
        }
    }
}
