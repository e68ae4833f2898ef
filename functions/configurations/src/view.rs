//! What a caller sees of a configuration. There is no field for a secret, so none can get out.

use jiff::Timestamp;
use serde::Serialize;
use shared::domain::{
    Configuration, ConfigurationId, ConfigurationStatus, Environment, Location, Merchant, ProviderKind,
};

/// A configuration as the API shows it.
#[derive(Serialize)]
pub struct ConfigurationView<'a> {
    id: ConfigurationId,
    provider: ProviderKind,
    environment: Environment,
    name: &'a str,
    status: ConfigurationStatus,
    merchant: &'a Merchant,
    locations: &'a [Location],
    credentials: CredentialsView,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// That there are credentials, and until when.
#[derive(Serialize)]
struct CredentialsView {
    set: bool,
    expires_at: Option<Timestamp>,
}

/// A page of a listing.
#[derive(Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

impl<'a> ConfigurationView<'a> {
    /// Shows a configuration.
    pub fn new(configuration: &'a Configuration) -> Self {
        Self {
            id: configuration.id,
            provider: configuration.provider,
            environment: configuration.environment,
            name: &configuration.name,
            status: configuration.status,
            merchant: &configuration.merchant,
            locations: &configuration.locations,
            // A configuration cannot be stored without.
            credentials: CredentialsView { set: true, expires_at: configuration.credentials_expire_at },
            version: configuration.version,
            created_at: configuration.created_at,
            updated_at: configuration.updated_at,
        }
    }

    /// The strong entity tag.
    pub fn etag(&self) -> String {
        format!("\"v{}\"", self.version)
    }
}
