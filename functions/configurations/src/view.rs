//! What a caller sees of a configuration. There is no field for a secret, so none can get out.

use jiff::Timestamp;
use serde::Serialize;
use shared::domain::{
    Configuration, ConfigurationId, ConfigurationStatus, DayStart, Deletion, Environment, Health, Location, Merchant,
    ProviderKind, ReasonCode, SyncSettings, WebhookSecretSummary,
};

/// A configuration as the API shows it.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Configuration"))]
pub struct ConfigurationView<'a> {
    id: ConfigurationId,
    provider: ProviderKind,
    environment: Environment,
    name: &'a str,
    status: ConfigurationStatus,
    /// Why the status is not `active`, and what a person can do.
    status_reasons: Vec<ReasonView<'a>>,
    /// When the accounting day starts, local time, where a location has no time of its own.
    day_start: DayStart,
    /// Whose tills; unknown until somebody has connected.
    merchant: Option<&'a Merchant>,
    locations: &'a [Location],
    /// How often it is read, and how far back.
    sync: SyncSettings,
    /// Whether the sales domain may say at the till what is sold out.
    sold_out_enabled: bool,
    credentials: CredentialsView,
    /// Secrets that prove deliveries to the configuration's own webhook URL.
    webhook_secrets: &'a [WebhookSecretSummary],
    /// How it fares. Not part of what the `ETag` stands for.
    health: &'a Health,
    /// Only while it is being removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion: Option<&'a Deletion>,
    /// Counts changes; the `ETag` is made of it.
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// Why, since when, and what to do.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Reason"))]
struct ReasonView<'a> {
    code: ReasonCode,
    detail: &'a str,
    action: &'static str,
    since: Timestamp,
}

/// Whether there are credentials, and until when.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "CredentialsSummary"))]
struct CredentialsView {
    set: bool,
    updated_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    /// When we renew them by ourselves; absent if we cannot.
    refresh_due_at: Option<Timestamp>,
}

impl<'a> ConfigurationView<'a> {
    /// Shows a configuration.
    pub fn new(configuration: &'a Configuration) -> Self {
        let credentials = configuration.credentials.as_ref();
        let reasons = configuration.reasons.iter().map(|reason| ReasonView {
            code: reason.code,
            detail: &reason.detail,
            action: reason.code.action(),
            since: reason.since,
        });
        Self {
            id: configuration.id,
            provider: configuration.provider,
            environment: configuration.environment,
            name: &configuration.name,
            status: configuration.status,
            status_reasons: reasons.collect(),
            day_start: configuration.day_start,
            merchant: configuration.merchant.as_ref(),
            locations: &configuration.locations,
            sync: configuration.sync,
            sold_out_enabled: configuration.sold_out_enabled,
            credentials: CredentialsView {
                set: credentials.is_some(),
                updated_at: credentials.map(|it| it.set_at),
                expires_at: credentials.and_then(|it| it.expires_at),
                refresh_due_at: credentials.and_then(|it| it.refresh_due_at),
            },
            webhook_secrets: &configuration.webhook_secrets,
            health: &configuration.health,
            deletion: configuration.deletion.as_ref(),
            version: configuration.version,
            created_at: configuration.created_at,
            updated_at: configuration.updated_at,
        }
    }
}
