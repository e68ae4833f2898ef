//! How we reach AWS: one TLS stack, Amazon's own roots, no provider chain.

mod express;

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
pub use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::settings::{Reader, SettingsError};
use crate::telemetry;

pub use express::Express;

/// The certificates of Amazon Trust Services, <https://www.amazontrust.com/repository/>. The system's whole bundle
/// would cost every cold start 9 million instructions.
const ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

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
    config(Region::new(region), credentials, endpoint)
}

/// The configuration of every AWS client. `endpoint` replaces all of AWS's hosts.
pub fn config(region: Region, credentials: Credentials, endpoint: Option<String>) -> Result<SdkConfig, AwsConfigError> {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls()?)
        .build_https();
    // Without a limit of its own, one black-holed call eats a whole invocation.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(8))
        .build();
    let mut config = SdkConfig::builder()
        .behavior_version(aws_smithy_runtime_api::client::behavior_version::BehaviorVersion::latest())
        .region(region)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(Counted(http))
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard());
    config.set_endpoint_url(endpoint);
    Ok(config.build())
}

fn tls() -> Result<TlsContext, AwsConfigError> {
    let roots = TrustStore::empty().with_pem_certificate(ROOTS);
    let built = TlsContext::builder().with_trust_store(roots).build();
    built.map_err(|error| AwsConfigError::Tls(error.to_string()))
}

/// A client, or a connector of one, whose requests the log counts.
#[derive(Debug)]
struct Counted<T>(T);

impl HttpClient for Counted<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Counted(self.0.http_connector(settings, components)))
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

impl HttpConnector for Counted<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        telemetry::count_aws_call();
        self.0.call(request)
    }
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
