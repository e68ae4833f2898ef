//! Opening day: what an operator does once, and what a customer does to connect a till.

use anyhow::{Context as _, bail};
use reqwest::{StatusCode, Url, header::LOCATION};
use sandbox::Sandbox;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

use crate::{
    Identity, Stack, StackOptions,
    api::{self, Api},
};

/// The tenant whose bakery is connected.
pub const TENANT: &str = "bakery";
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3600);
const REDIRECT_URI: &str = "http://127.0.0.1/connected";

/// A bakery that sells: its till's vendor, our service, and the connection between the two.
///
/// Fields are dropped in this order: whoever calls others goes first.
#[derive(Debug)]
pub struct Bakery {
    /// The vendor of its till.
    pub sandbox: Sandbox,
    /// Our service.
    pub stack: Stack,
    /// Who vouches for the users of our API.
    pub identity: Identity,
    /// The connection.
    pub configuration_id: String,
}

impl Bakery {
    /// Starts our service and connects the bakery to it.
    ///
    /// # Errors
    /// When a part does not start, or a step is not answered as it should be.
    pub async fn open(sandbox: Sandbox, mut options: StackOptions) -> anyhow::Result<Self> {
        options.parameters.insert("SquareBaseUrl".to_owned(), sandbox.square_url());
        let stack = Stack::start(&options)?;
        let identity = Identity::new().context("failed to make the identity provider's key")?;
        stack.put_secret("JwksSecretId", &identity.jwks()).await.context("failed to store the JWKS")?;
        subscribe(&sandbox, &stack).await?;
        let credentials = connect(&sandbox).await?;
        let mut bakery = Self { sandbox, stack, identity, configuration_id: String::new() };
        bakery.configuration_id = configure(&bakery.api()?, &credentials).await?;
        Ok(bakery)
    }

    /// Our API as a user of the bakery sees it. One for each test: its connections belong to a runtime.
    ///
    /// # Errors
    /// When no token can be signed.
    pub fn api(&self) -> anyhow::Result<Api> {
        self.api_of(TENANT, &["pos:read", "pos:write", "pos:admin"])
    }

    /// Our API as any tenant's user with these roles sees it.
    ///
    /// # Errors
    /// When no token can be signed.
    pub fn api_of(&self, tenant: &str, roles: &[&str]) -> anyhow::Result<Api> {
        let token = self.identity.token(tenant, roles, TOKEN_LIFETIME).context("failed to sign a token")?;
        Api::new(self.stack.api_url(), tenant, token)
    }
}

/// What Square answers to a code, and what our API takes as credentials.
#[derive(Serialize, Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: String,
    expires_at: String,
}

/// The operator: subscribes our URL at Square and puts what Square answered into the application's secret.
async fn subscribe(sandbox: &Sandbox, stack: &Stack) -> anyhow::Result<()> {
    let application = sandbox.application();
    let notification_url = format!("{}/api/v1/webhooks/square", stack.api_url());
    let subscription = sandbox.subscribe(&notification_url);
    let secret = json!({
        "application_id": application.id,
        "application_secret": application.secret,
        "webhook_subscriptions": [{
            "id": subscription.id,
            "notification_url": subscription.notification_url,
            "signature_key": subscription.signature_key,
        }],
    });
    stack.put_secret("SquareSecretId", &secret).await.context("failed to store the Square application's secret")
}

/// The customer: agrees at Square, and the code that comes back becomes tokens.
async fn connect(sandbox: &Sandbox) -> anyhow::Result<Tokens> {
    let (http, square, application) = (api::client()?, sandbox.square_url(), sandbox.application());
    let consent = http
        .get(format!("{square}/oauth2/authorize"))
        .query(&[
            ("client_id", application.id.as_str()),
            ("scope", "MERCHANT_PROFILE_READ ORDERS_READ PAYMENTS_READ"),
            ("state", "opening-day"),
            ("redirect_uri", REDIRECT_URI),
        ])
        .send()
        .await
        .context("failed to ask for consent")?;
    let target = consent.headers().get(LOCATION).and_then(|target| target.to_str().ok());
    let Some(target) = target.and_then(|target| Url::parse(target).ok()) else {
        bail!("consent was answered with {} and no redirect", consent.status());
    };
    let answer = |name: &str| target.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    if answer("state").as_deref() != Some("opening-day") {
        bail!("the consent's state is not the one we sent");
    }
    let request = http.post(format!("{square}/oauth2/token")).json(&json!({
        "client_id": application.id,
        "client_secret": application.secret,
        "grant_type": "authorization_code",
        "code": answer("code"),
        "redirect_uri": REDIRECT_URI,
    }));
    api::answer_of(request, StatusCode::OK, "exchange the code").await
}

/// The customer: creates the configuration with these tokens. Returns its id.
async fn configure(api: &Api, tokens: &Tokens) -> anyhow::Result<String> {
    let configuration = json!({
        "provider": "square",
        "environment": "sandbox",
        "name": "Demo bakery",
        "day_start": "04:00",
        "credentials": tokens,
    });
    api.create_configuration(&configuration).await
}
