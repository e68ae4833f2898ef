//! Square's endpoints. One attempt each; the answer's status decides what kind of failure it was.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER};

use super::wire;
use crate::domain::{Environment, ExternalOrderId, LocationId, Merchant, MerchantId, ProviderKind};
use crate::providers::error::read_json;
use crate::providers::{
    AccessToken, DescribedLocation, MerchantDescription, PayloadError, ProviderError, ProviderErrorKind, RawOrder,
};

const PRODUCTION: &str = "https://connect.squareup.com";
const SANDBOX: &str = "https://connect.squareupsandbox.com";
/// The version whose shapes `wire.rs` describes.
const VERSION: &str = "2025-08-20";
/// Far below the normalizer's own limit: one slow answer must not cost its neighbours their turn.
const TIMEOUT: Duration = Duration::from_secs(4);
/// An order of a thousand lines has half a megabyte.
const MAX_ANSWER: usize = 10 * 1024 * 1024;

pub(super) struct Client {
    http: reqwest::Client,
    host: Option<String>,
}

impl Client {
    pub(super) fn new(host: Option<String>) -> Result<Self, ProviderError> {
        // Fails only if a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(2))
            // A frozen execution environment wakes up with dead connections in its pool.
            .pool_idle_timeout(Duration::from_secs(20))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| failure("connect", ProviderErrorKind::Unavailable, error))?;
        Ok(Self { http, host })
    }

    pub(super) async fn fetch_order(
        &self,
        environment: Environment,
        token: &AccessToken,
        id: &ExternalOrderId,
    ) -> Result<RawOrder, ProviderError> {
        const OPERATION: &str = "fetch_order";
        let observed_at = Timestamp::now();
        let answer = self.get(OPERATION, environment, token, &["v2", "orders", id.as_str()]).await?;
        let answer: wire::OrderAnswer = read_json(&answer).map_err(|error| unreadable(OPERATION, error))?;
        Ok(RawOrder { body: answer.order.get().as_bytes().to_vec(), observed_at })
    }

    pub(super) async fn describe_merchant(
        &self,
        environment: Environment,
        token: &AccessToken,
    ) -> Result<MerchantDescription, ProviderError> {
        const OPERATION: &str = "describe_merchant";
        let refuse = |error| unreadable(OPERATION, error);
        let merchants = self.get(OPERATION, environment, token, &["v2", "merchants"]).await?;
        let merchants: wire::MerchantsAnswer = read_json(&merchants).map_err(refuse)?;
        // A token belongs to one merchant, so the list has one.
        let merchant = merchants.merchant.into_iter().next().ok_or_else(|| refuse(invalid("merchant")))?;
        let locations = self.get(OPERATION, environment, token, &["v2", "locations"]).await?;
        let locations: wire::LocationsAnswer = read_json(&locations).map_err(refuse)?;
        Ok(MerchantDescription {
            merchant: Merchant {
                id: MerchantId::new(merchant.id).map_err(|_| refuse(invalid("merchant.id")))?,
                name: merchant.business_name.unwrap_or_default(),
            },
            locations: locations
                .locations
                .into_iter()
                .map(describe_location)
                .collect::<Result<_, _>>()
                .map_err(refuse)?,
        })
    }

    async fn get(
        &self,
        operation: &'static str,
        environment: Environment,
        token: &AccessToken,
        path: &[&str],
    ) -> Result<Vec<u8>, ProviderError> {
        let base = self.host.as_deref().unwrap_or(match environment {
            Environment::Production => PRODUCTION,
            Environment::Sandbox => SANDBOX,
        });
        let mut url = reqwest::Url::parse(base)
            .map_err(|error| failure(operation, ProviderErrorKind::Rejected { status: 0 }, error))?;
        // Segment by segment, so that no id can leave its place in the path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        let unavailable = |error| failure(operation, ProviderErrorKind::Unavailable, error);
        let mut answer = self
            .http
            .get(url)
            .header(AUTHORIZATION, format!("Bearer {}", token.expose()))
            .header("square-version", VERSION)
            .send()
            .await
            .map_err(unavailable)?;
        if let Some(kind) = failure_kind(answer.status(), answer.headers()) {
            return Err(ProviderError { provider: ProviderKind::Square, operation, kind, source: None });
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(unreadable(operation, invalid("")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// <https://developer.squareup.com/docs/build-basics/general-considerations/handling-errors>
fn failure_kind(status: StatusCode, headers: &HeaderMap) -> Option<ProviderErrorKind> {
    let retry_after = || headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs);
    match status.as_u16() {
        200..=299 => None,
        401 => Some(ProviderErrorKind::Unauthorized),
        403 => Some(ProviderErrorKind::Forbidden),
        404 => Some(ProviderErrorKind::NotFound),
        429 => Some(ProviderErrorKind::RateLimited { retry_after: retry_after() }),
        408 | 500.. => Some(ProviderErrorKind::Unavailable),
        status => Some(ProviderErrorKind::Rejected { status }),
    }
}

fn describe_location(location: wire::Location) -> Result<DescribedLocation, PayloadError> {
    let name = location.name.unwrap_or_else(|| location.id.clone());
    let zone = location.timezone.as_deref().unwrap_or_default();
    let currency = location.currency.as_deref().unwrap_or_default();
    Ok(DescribedLocation {
        id: LocationId::new(location.id).map_err(|_| invalid("locations.id"))?,
        name,
        time_zone: zone.parse().map_err(|_| invalid("locations.timezone"))?,
        currency: currency.parse().map_err(|_| invalid("locations.currency"))?,
    })
}

fn invalid(path: &str) -> PayloadError {
    PayloadError::new(path, crate::providers::PayloadProblem::Invalid)
}

fn unreadable(operation: &'static str, error: PayloadError) -> ProviderError {
    failure(operation, ProviderErrorKind::Malformed, error)
}

fn failure(
    operation: &'static str,
    kind: ProviderErrorKind,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ProviderError {
    ProviderError { provider: ProviderKind::Square, operation, kind, source: Some(source.into()) }
}
