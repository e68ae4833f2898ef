//! How we reach AWS: one TLS stack, Amazon's own roots, no provider chain.

mod connector;
mod express;

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
pub use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::settings::{Reader, SettingsError};

pub use connector::Connections;
pub use express::Express;

/// An AWS service did not do what we asked. What it said is for the log.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed")]
pub struct AwsError {
    operation: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl AwsError {
    /// Keeps the whole chain of causes.
    pub fn new(operation: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { operation, source: source.into() }
    }
}

/// The configuration of every AWS client, from what Lambda always sets.
pub fn config_from_env() -> Result<SdkConfig, AwsConfigError> {
    Ok(connected_from_env()?.0)
}

/// The same, with the connections that its clients share: for who also goes without a client.
pub fn connected_from_env() -> Result<(SdkConfig, Connections), AwsConfigError> {
    let (region, credentials, endpoint) = Reader::from_env(|r| {
        let credentials = Credentials::new(
            r.text("AWS_ACCESS_KEY_ID"),
            r.text("AWS_SECRET_ACCESS_KEY"),
            r.optional("AWS_SESSION_TOKEN"),
            None,
            "execution-environment",
        );
        (r.text("AWS_REGION"), credentials, r.optional("AWS_ENDPOINT_URL"))
    })?;
    let connections = Connections::new()?;
    Ok((configured(Region::new(region), credentials, endpoint, connections.clone()), connections))
}

/// The configuration of every AWS client. `endpoint` replaces all of AWS's hosts.
pub fn config(region: Region, credentials: Credentials, endpoint: Option<String>) -> Result<SdkConfig, AwsConfigError> {
    Ok(configured(region, credentials, endpoint, Connections::new()?))
}

fn configured(
    region: Region,
    credentials: Credentials,
    endpoint: Option<String>,
    connections: Connections,
) -> SdkConfig {
    // Without a limit of its own, one black-holed call eats a whole invocation.
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(8))
        .build();
    let mut config = SdkConfig::builder()
        .behavior_version(aws_smithy_runtime_api::client::behavior_version::BehaviorVersion::latest())
        .region(region)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(connections)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard());
    config.set_endpoint_url(endpoint);
    config.build()
}

/// The environment is no Lambda's, or TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum AwsConfigError {
    /// Variables that Lambda always sets are not there.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The embedded roots are no certificates.
    #[error("TLS could not be set up: {0}")]
    Tls(String),
    /// Requests could not be made by hand.
    #[error("requests cannot be made by hand: {0}")]
    Express(String),
}
