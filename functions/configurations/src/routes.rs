//! The routes, who may call them, and what they do.

use shared::rest::{Role, Route};

/// What this function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Lists a tenant's configurations.
    List,
    /// Connects a merchant, or makes a configuration that is connected later.
    Create,
    /// Shows one.
    Get,
    /// Replaces what a tenant decides about one.
    Replace,
    /// Removes one with all that belongs to it.
    Delete,
    /// Wants no sales until resumed.
    Pause,
    /// Wants sales again.
    Resume,
    /// Asks for the URL at which the merchant agrees.
    Authorize,
    /// Where the merchant's browser comes back to.
    Callback,
    /// Adds a webhook secret.
    AddWebhookSecret,
    /// Removes a webhook secret.
    RemoveWebhookSecret,
    /// Begins a run of the sync.
    BeginSync,
    /// Shows runs, and how complete the shops are.
    SyncStatus,
    /// Ends runs.
    CancelSync,
    /// Lists who changed what.
    ListAudit,
    /// Walks the audit log's chain.
    VerifyAudit,
}

macro_rules! tenant {
    ($path:literal) => {
        concat!("/api/v1/tenants/{tenant_id}/pos", $path)
    };
}

const COLLECTION: &str = tenant!("/configurations");
const ITEM: &str = tenant!("/configurations/{configuration_id}");

const fn route(method: &'static str, path: &'static str, role: Role, operation: Operation) -> Route<Operation> {
    Route { method, path, role: Some(role), operation }
}

/// All of them.
pub const ROUTES: &[Route<Operation>] = &[
    route("GET", COLLECTION, Role::Read, Operation::List),
    route("POST", COLLECTION, Role::Write, Operation::Create),
    route("GET", ITEM, Role::Read, Operation::Get),
    route("PUT", ITEM, Role::Write, Operation::Replace),
    route("DELETE", ITEM, Role::Admin, Operation::Delete),
    route("POST", tenant!("/configurations/{configuration_id}/pause"), Role::Write, Operation::Pause),
    route("POST", tenant!("/configurations/{configuration_id}/resume"), Role::Write, Operation::Resume),
    route("POST", tenant!("/configurations/{configuration_id}/authorize"), Role::Write, Operation::Authorize),
    route(
        "POST",
        tenant!("/configurations/{configuration_id}/webhook-secrets"),
        Role::Write,
        Operation::AddWebhookSecret,
    ),
    route(
        "DELETE",
        tenant!("/configurations/{configuration_id}/webhook-secrets/{secret_id}"),
        Role::Write,
        Operation::RemoveWebhookSecret,
    ),
    route("POST", tenant!("/configurations/{configuration_id}/sync"), Role::Write, Operation::BeginSync),
    route("GET", tenant!("/configurations/{configuration_id}/sync/status"), Role::Read, Operation::SyncStatus),
    route("POST", tenant!("/configurations/{configuration_id}/sync/cancel"), Role::Write, Operation::CancelSync),
    route("GET", tenant!("/audit-log"), Role::Admin, Operation::ListAudit),
    route("GET", tenant!("/audit-log/verification"), Role::Admin, Operation::VerifyAudit),
    Route { method: "GET", path: "/api/v1/oauth/{pos_system}/callback", role: None, operation: Operation::Callback },
];
