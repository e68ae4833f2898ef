//! The connections to AWS: HTTP/1.1, which is all that its JSON protocols want, over the one TLS stack.
//!
//! `aws-smithy-http-client` does the same with HTTP/2, proxies and the system's certificates, which no function of ours has
//! a use for: they are a fifth of what the ingress weighs.

use std::time::Duration;

use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector as Connect, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::AwsConfigError;
use crate::telemetry;

/// The certificates of Amazon Trust Services, <https://www.amazontrust.com/repository/>. The system's whole bundle
/// would cost every cold start 9 million instructions.
const ROOTS: &[u8] = include_bytes!("../amazon-roots.pem");
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections that all clients of an execution environment share, and the log counts what they carry.
#[derive(Debug, Clone)]
pub struct Connections(Client<HttpsConnector<HttpConnector>, SdkBody>);

impl Connections {
    /// Connects to nobody yet.
    pub(super) fn new() -> Result<Self, AwsConfigError> {
        let unusable = |error: &dyn std::fmt::Display| AwsConfigError::Tls(error.to_string());
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(ROOTS) {
            roots.add(root.map_err(|error| unusable(&error))?).map_err(|error| unusable(&error))?;
        }
        let tls = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // Plain HTTP is for a local AWS: on AWS every endpoint is HTTPS.
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let mut client = Client::builder(TokioExecutor::new());
        Ok(Self(client.pool_timer(TokioTimer::new()).build(https.wrap_connector(tcp))))
    }
}

impl Connect for Connections {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        telemetry::count_aws_call();
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            // The SDK tries again after it.
            let response = client.request(request).await.map_err(|error| ConnectorError::io(error.into()))?;
            let response = HttpResponse::try_from(response.map(SdkBody::from_body_1_x));
            response.map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

impl HttpClient for Connections {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some("1.x".into())))
    }
}
