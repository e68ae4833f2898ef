//! The one way to a provider: time-outs, limits, and what an answer's status means.
//!
//! One attempt each. Nothing follows a redirect: a token goes to the host that it was made for and to no other.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::credentials::AccessToken;
use super::error::read_json;
use super::{Hosts, PayloadError, PayloadProblem, ProviderError, ProviderErrorKind, query};
use crate::domain::{Environment, ProviderKind};
use crate::telemetry::metrics;

/// Far below the normalizer's own limit: one slow answer must not cost its neighbours their turn.
const TIMEOUT: Duration = Duration::from_secs(4);
/// For what moves credentials: shorter than the lease under which they are renewed, and long enough that a slow answer
/// with the only next refresh token in it is not thrown away.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// An order of a thousand lines has half a megabyte, and a page has fifty orders, hardly all of that size.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// The way to one provider.
pub(super) struct Http {
    provider: ProviderKind,
    hosts: Hosts,
    client: Client,
}

/// One for all providers, made for the first call: it reads the trusted roots of the system, which is two thirds of what a
/// function does until its first answer, and many answers need no provider.
#[derive(Clone, Default)]
pub(super) struct Client(Arc<OnceLock<reqwest::Client>>);

impl Client {
    pub(super) fn get(&self, provider: ProviderKind) -> Result<&reqwest::Client, ProviderError> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        // Fails only if a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(2))
            // A frozen execution environment wakes up with dead connections in its pool.
            .pool_idle_timeout(Duration::from_secs(20))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| failure(provider, "connect", ProviderErrorKind::Unavailable, error))?;
        Ok(self.0.get_or_init(|| client))
    }
}

impl Http {
    pub(super) fn new(provider: ProviderKind, hosts: Hosts, client: Client) -> Self {
        Self { provider, hosts, client }
    }

    /// A call that reads. The path goes segment by segment, so that no id can leave its place in it.
    pub(super) fn get(
        &self,
        operation: &'static str,
        environment: Environment,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Call, ProviderError> {
        let url = self.url(operation, environment, path, query)?;
        Ok(Call { provider: self.provider, operation, request: self.client.get(self.provider)?.get(url) })
    }

    /// A call with a body.
    pub(super) fn post(
        &self,
        operation: &'static str,
        environment: Environment,
        path: &[&str],
    ) -> Result<Call, ProviderError> {
        let url = self.url(operation, environment, path, &[])?;
        Ok(Call { provider: self.provider, operation, request: self.client.get(self.provider)?.post(url) })
    }

    /// A call with a body that replaces.
    pub(super) fn put(
        &self,
        operation: &'static str,
        environment: Environment,
        path: &[&str],
    ) -> Result<Call, ProviderError> {
        let url = self.url(operation, environment, path, &[])?;
        Ok(Call { provider: self.provider, operation, request: self.client.get(self.provider)?.put(url) })
    }

    fn url(
        &self,
        operation: &'static str,
        environment: Environment,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Url, ProviderError> {
        let base = self.hosts.of(environment);
        let mut url = Url::parse(base)
            .map_err(|error| failure(self.provider, operation, ProviderErrorKind::Rejected { status: 0 }, error))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.set_query(Some(&query::encode(query)));
        }
        Ok(url)
    }

    /// What a call says when the answer is not to be read.
    pub(super) fn unreadable(&self, operation: &'static str, error: PayloadError) -> ProviderError {
        failure(self.provider, operation, ProviderErrorKind::Malformed, error)
    }

    /// What a call says that the provider does not have, or that nothing here can make.
    pub(super) fn refuse(&self, operation: &'static str, kind: ProviderErrorKind) -> ProviderError {
        ProviderError { provider: self.provider, operation, kind, source: None }
    }
}

/// One call, not yet made.
pub(super) struct Call {
    provider: ProviderKind,
    operation: &'static str,
    request: RequestBuilder,
}

impl Call {
    pub(super) fn bearer(self, token: &AccessToken) -> Self {
        self.header(AUTHORIZATION.as_str(), &format!("Bearer {}", token.expose()))
    }

    pub(super) fn header(self, name: &'static str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    pub(super) fn basic(self, user: &str, password: &str) -> Self {
        Self { request: self.request.basic_auth(user, Some(password)), ..self }
    }

    pub(super) fn json(self, body: &impl Serialize) -> Self {
        Self { request: self.request.json(body), ..self }
    }

    pub(super) fn form(self, fields: &[(&str, &str)]) -> Self {
        let request = self.request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        Self { request: request.body(query::encode(fields)), ..self }
    }

    /// Gives the answer, if the status is one of success.
    pub(super) async fn send(self) -> Result<Answer, ProviderError> {
        let (provider, operation) = (self.provider, self.operation);
        let (status, answer) = self.exchange().await?;
        match failure_kind(status, &answer.headers) {
            None => Ok(answer),
            Some(kind) => Err(ProviderError { provider, operation, kind, source: None }),
        }
    }

    /// For a page: a refusal may mean that the cursor is no longer good.
    pub(super) async fn send_for_page(self, is_stale: fn(&[u8]) -> bool) -> Result<Answer, ProviderError> {
        let (provider, operation) = (self.provider, self.operation);
        let (status, answer) = self.exchange().await?;
        match failure_kind(status, &answer.headers) {
            None => Ok(answer),
            Some(ProviderErrorKind::Rejected { .. }) if is_stale(&answer.body) => {
                Err(ProviderError { provider, operation, kind: ProviderErrorKind::CursorExpired, source: None })
            }
            Some(kind) => Err(ProviderError { provider, operation, kind, source: None }),
        }
    }

    /// For what moves credentials: more patience, and the words of OAuth in a refusal count.
    pub(super) async fn send_for_token<T: DeserializeOwned>(mut self) -> Result<T, ProviderError> {
        self.request = self.request.timeout(TOKEN_TIMEOUT);
        let (provider, operation) = (self.provider, self.operation);
        let (status, answer) = self.exchange().await?;
        let body = Zeroizing::new(answer.body);
        match failure_kind(status, &answer.headers) {
            None => read_json(&body).map_err(|e| failure(provider, operation, ProviderErrorKind::Malformed, e)),
            Some(kind) => {
                let kind = refused_grant(status, &body).unwrap_or(kind);
                Err(ProviderError { provider, operation, kind, source: None })
            }
        }
    }

    async fn exchange(self) -> Result<(u16, Answer), ProviderError> {
        let (provider, operation, started) = (self.provider, self.operation, Instant::now());
        let exchanged = self.exchange_once().await;
        let status = exchanged.as_ref().ok().map(|(status, _)| *status);
        metrics::provider_asked(provider, operation, status, started.elapsed());
        exchanged
    }

    async fn exchange_once(self) -> Result<(u16, Answer), ProviderError> {
        let (provider, operation) = (self.provider, self.operation);
        let unavailable = |error: reqwest::Error| {
            // The URL can hold ids and cursors; the rest of the message says enough.
            failure(provider, operation, ProviderErrorKind::Unavailable, error.without_url())
        };
        let mut answer = self.request.send().await.map_err(unavailable)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                let error = PayloadError::new("", PayloadProblem::Unreadable);
                return Err(failure(provider, operation, ProviderErrorKind::Malformed, error));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((answer.status().as_u16(), Answer { headers: answer.headers().clone(), body }))
    }
}

/// What came back.
pub(super) struct Answer {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

fn failure_kind(status: u16, headers: &HeaderMap) -> Option<ProviderErrorKind> {
    match status {
        200..=299 => None,
        401 => Some(ProviderErrorKind::Unauthorized),
        403 => Some(ProviderErrorKind::Forbidden),
        404 => Some(ProviderErrorKind::NotFound),
        429 => Some(ProviderErrorKind::RateLimited { retry_after: retry_after(headers, Timestamp::now()) }),
        408 | 500.. => Some(ProviderErrorKind::Unavailable),
        status => Some(ProviderErrorKind::Rejected { status }),
    }
}

/// Seconds, or a time in the way of RFC 9110.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// RFC 6749, 5.2: a grant that is over wants a person; a client that is refused is our own mistake, and must not make
/// every merchant of ours connect again.
fn refused_grant(status: u16, body: &[u8]) -> Option<ProviderErrorKind> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    match refusal.error.as_str() {
        "invalid_grant" => Some(ProviderErrorKind::Unauthorized),
        "invalid_client" | "unauthorized_client" => Some(ProviderErrorKind::Rejected { status }),
        _ => None,
    }
}

fn failure(
    provider: ProviderKind,
    operation: &'static str,
    kind: ProviderErrorKind,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ProviderError {
    ProviderError { provider, operation, kind, source: Some(source.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_wish_is_read_in_seconds_and_as_a_time() {
        let now = "2026-02-14T08:00:00Z".parse().unwrap();
        for (text, wish) in [
            ("17", Some(17)),
            ("Sat, 14 Feb 2026 08:00:30 GMT", Some(30)),
            ("Sat, 14 Feb 2026 07:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            let headers = [(RETRY_AFTER, text.parse().unwrap())].into_iter().collect();
            assert_eq!(retry_after(&headers, now), wish.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn only_a_grant_that_is_over_wants_a_person() {
        for (status, body, kind) in [
            (400, r#"{"error":"invalid_grant"}"#, Some(ProviderErrorKind::Unauthorized)),
            (401, r#"{"error":"invalid_client"}"#, Some(ProviderErrorKind::Rejected { status: 401 })),
            (400, r#"{"error":"invalid_request"}"#, None),
            (401, r#"{"errors":[]}"#, None),
            (502, "<html>", None),
        ] {
            assert_eq!(refused_grant(status, body.as_bytes()), kind, "{body}");
        }
    }
}
