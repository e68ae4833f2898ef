//! One request to AWS, made by hand: what the SDK does around a request is half of all that a delivery costs.
//!
//! One attempt, and only a plain yes counts. Whatever else comes is asked again with the SDK, which knows how to wait, when to
//! try again and what an error means. So nothing of that stands here twice, and this way must only be taken for what may be
//! done twice.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;

use super::{AwsConfigError, AwsError, Connections, SdkConfig};

const OPERATION: &str = "ask by hand";
/// Then the SDK is asked, which has patience.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection to one service that speaks `application/x-amz-json-1.0`.
pub struct Express {
    connections: Connections,
    service: &'static str,
    region: String,
    identity: Identity,
    url: String,
    host: String,
}

impl Express {
    /// `url`: any of the service's, if the configuration names no other place for all of AWS.
    pub async fn new(
        (config, connections): (&SdkConfig, Connections),
        service: &'static str,
        url: &str,
    ) -> Result<Self, AwsConfigError> {
        let unusable = |what: &str| AwsConfigError::Express(what.to_owned());
        let credentials = config.credentials_provider().ok_or_else(|| unusable("no credentials"))?;
        let credentials = credentials.provide_credentials().await.map_err(|error| unusable(&error.to_string()))?;
        let url: http::Uri = config.endpoint_url().unwrap_or(url).parse().map_err(|_| unusable("no URL"))?;
        let (scheme, authority) = url.scheme_str().zip(url.authority()).ok_or_else(|| unusable("no URL"))?;
        Ok(Self {
            connections,
            service,
            region: config.region().map(ToString::to_string).unwrap_or_default(),
            // Lambda's credentials live longer than the execution environment.
            identity: Identity::new(credentials, None),
            url: format!("{scheme}://{authority}/"),
            host: authority.to_string(),
        })
    }

    /// Connects, so that the first request need not wait for that. Whoever answers says that we may not come in unsigned.
    pub async fn connect(&self) {
        let mut request = HttpRequest::new(SdkBody::empty());
        if request.set_uri(self.url.as_str()).is_ok()
            && let Ok(response) = self.connections.call(request).await
        {
            let _ = ByteStream::new(response.into_body()).collect().await;
        }
    }

    /// Whether AWS has said yes, soon. If not, nothing is known.
    pub async fn call(&self, target: &str, body: String) -> bool {
        let called = tokio::time::timeout(PATIENCE, self.try_call(target, body)).await;
        let called = called.unwrap_or_else(|late| Err(AwsError::new(OPERATION, late)));
        called.inspect_err(|error| tracing::debug!(error = ?error, "AWS must be asked again")).is_ok()
    }

    async fn try_call(&self, target: &str, body: String) -> Result<(), AwsError> {
        let headers =
            [("content-type", "application/x-amz-json-1.0"), ("host", self.host.as_str()), ("x-amz-target", target)];
        let params = SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| AwsError::new(OPERATION, error))?;
        let payload = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new("POST", self.url.as_str(), headers.into_iter(), payload);
        let signed = signable.and_then(|request| sign(request, &params.into()));
        let (signature, _) = signed.map_err(|error| AwsError::new(OPERATION, error))?.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| AwsError::new(OPERATION, error))?;
        request.set_uri(self.url.as_str()).map_err(|error| AwsError::new(OPERATION, error))?;
        for (name, value) in headers.into_iter().chain(signature.headers()) {
            let inserted = request.headers_mut().try_insert(name.to_owned(), value.to_owned());
            inserted.map_err(|error| AwsError::new(OPERATION, error))?;
        }
        let response = self.connections.call(request).await.map_err(|error| AwsError::new(OPERATION, error))?;
        let status = response.status();
        // Read to its end, the connection serves the next request.
        let read = ByteStream::new(response.into_body()).collect().await;
        read.map_err(|error| AwsError::new(OPERATION, error))?;
        if status.is_success() { Ok(()) } else { Err(AwsError::new(OPERATION, format!("status {status}"))) }
    }
}
