//! REST: asks the provider, with the stored credentials, whose they are and what they permit.
//!
//! A function of its own because it must open credentials, which the one that changes configurations must not.

#[cfg(feature = "schema")]
pub mod openapi;

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

use http::StatusCode;
use jiff::Timestamp;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use serde::Serialize;
use shared::access::{Token, TokenError, Tokens};
use shared::app::Connections;
use shared::domain::{Configuration, ConfigurationId, ConfigurationStatus, Location, Merchant, ReasonCode};
use shared::problem::Problem;
use shared::providers::{Access, MerchantDescription, ProviderError, ProviderErrorKind};
use shared::rest::{Answer, Call, Role, Route, answer, refused_by_provider, refused_change, unavailable};
use shared::store::configurations::SealedConfiguration;

/// What this function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Tests a connection.
    Test,
}

/// All routes.
pub const ROUTES: &[Route<Operation>] = &[Route {
    method: "POST",
    path: "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/test",
    role: Some(Role::Write),
    operation: Operation::Test,
}];

/// Everything that the work needs, made once per execution environment.
pub struct App {
    connections: Connections,
    tokens: Tokens,
}

impl App {
    /// Connects to nobody yet.
    pub fn new(connections: Connections) -> Self {
        Self { tokens: connections.tokens("connections"), connections }
    }
}

/// What a test found.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TestReport {
    /// Whether sales can flow.
    pub ok: bool,
    /// The configuration's status after the test.
    pub status: ConfigurationStatus,
    /// Whose credentials they are.
    pub merchant: Merchant,
    /// The shops that they reach, now noted on the configuration.
    pub locations: Vec<Location>,
    /// What they permit.
    pub scopes: Scopes,
    /// When the provider answered.
    pub tested_at: Timestamp,
}

/// What credentials permit, in the provider's words.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Scopes {
    /// Absent: the provider does not tell.
    pub granted: Option<BTreeSet<String>>,
    /// What we need beyond that.
    pub missing: Vec<&'static str>,
}

/// Answers one request.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>, Error> {
    let ends_at = request.lambda_context().deadline();
    app.tokens.begin(Instant::now() + ends_at.duration_since(SystemTime::now()).unwrap_or_default());
    answer(request, async |call: Call| match call.operation(ROUTES)? {
        Operation::Test => test(app, &call).await,
    })
    .await
}

async fn test(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id: ConfigurationId = call.path_id("configuration_id", "configuration")?;
    let found = app.connections.configurations.load(&call.scope, id).await.map_err(|error| unavailable(&error))?;
    let found = found.ok_or_else(|| Problem::not_found("configuration"))?;
    if found.configuration.deletion.is_some() {
        return Err(Problem::conflict("the configuration is being removed"));
    }
    let described = describe(app, &found).await?;
    let missing = described.missing_scopes();
    let now = Timestamp::now();
    let note = |configuration: &mut Configuration| {
        let before = configuration.clone();
        described.apply_to(configuration);
        configuration.drop_credential_reasons();
        if !missing.is_empty() {
            let since = before.reasons.iter().find(|reason| reason.code == ReasonCode::PermissionMissing);
            let since = since.map_or(now, |reason| reason.since);
            configuration.state_reason(
                ReasonCode::PermissionMissing,
                format!("missing: {}", missing.join(", ")),
                since,
            );
        }
        *configuration != before
    };
    let actor = call.actor();
    let configuration = app.tokens.amend(&call.scope, id, (Some(&actor), "configuration.tested"), note).await;
    let configuration = configuration.map_err(refused_change)?;
    let configuration = configuration.ok_or_else(|| Problem::not_found("configuration"))?;
    let report = TestReport {
        ok: missing.is_empty(),
        status: configuration.status,
        merchant: described.merchant.clone(),
        locations: configuration.locations,
        scopes: Scopes { granted: described.granted_scopes.clone(), missing: missing.clone() },
        tested_at: now,
    };
    Answer::json(StatusCode::OK, &report)
}

/// Asks with the token that we have and, when that is refused, with a renewed one.
async fn describe(app: &App, found: &SealedConfiguration) -> Result<MerchantDescription, Problem> {
    let token = app.tokens.current(found).await.map_err(no_token)?;
    match ask(app, found, &token).await {
        Err(ProviderError { kind: ProviderErrorKind::Unauthorized, .. }) => {
            let token = app.tokens.after_refusal(found, &token).await.map_err(no_token)?;
            let described = ask(app, found, &token).await;
            if let Err(ProviderError { kind: ProviderErrorKind::Unauthorized, .. }) = &described {
                let detail = "the provider refuses renewed credentials, too";
                let reason = ReasonCode::CredentialsRefused;
                let stated = app.tokens.state_refusal(found, &token, reason, detail).await;
                stated.map_err(|error| unavailable(&error))?;
            }
            described.map_err(|error| refused_by_provider(&error))
        }
        described => described.map_err(|error| refused_by_provider(&error)),
    }
}

async fn ask(app: &App, found: &SealedConfiguration, token: &Token) -> Result<MerchantDescription, ProviderError> {
    let configuration = &found.configuration;
    let shops: Vec<_> = configuration.locations.iter().map(|location| location.id.clone()).collect();
    let access = Access { environment: configuration.environment, token: &token.access };
    app.connections.providers.get(configuration.provider).describe_merchant(&access, &shops).await
}

fn no_token(error: TokenError) -> Problem {
    match &error {
        TokenError::ReauthRequired => {
            Problem::provider_refused("there are no credentials that the provider takes: authorize or replace them")
        }
        TokenError::BeingRenewed => Problem::unavailable(),
        TokenError::Provider(error) => refused_by_provider(error),
        TokenError::Vault(error) => unavailable(error),
        TokenError::Aws(error) => unavailable(error),
        TokenError::Store(error) => unavailable(error),
    }
}
