//! Opening day: what an operator does once, and what a customer does to connect a till.

use anyhow::{Context as _, bail};
use local::Stack;
use reqwest::{StatusCode, Url, header::LOCATION};
use sandbox::Sandbox;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::{self, Api};

const REDIRECT_URI: &str = "http://127.0.0.1/connected";

/// What Square answers to a code, and what our API takes as credentials.
#[derive(Serialize, Deserialize)]
pub struct Tokens {
    access_token: String,
    refresh_token: String,
    expires_at: String,
}

/// The operator: subscribes our URL at Square and puts what Square answered into the application's secret.
pub async fn subscribe(sandbox: &Sandbox, stack: &Stack) -> anyhow::Result<()> {
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
pub async fn connect(sandbox: &Sandbox) -> anyhow::Result<Tokens> {
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
pub async fn configure(api: &Api, tokens: &Tokens) -> anyhow::Result<String> {
    let configuration = json!({
        "provider": "square",
        "environment": "sandbox",
        "name": "Demo bakery",
        "day_start": "04:00",
        "credentials": tokens,
    });
    api.create_configuration(&configuration).await
}
