//! Opening day: what an operator does once, and what a customer does to connect a till.

use anyhow::{Context as _, bail};
use reqwest::{Method, StatusCode, Url, header::LOCATION};
use sandbox::{Sandbox, Vendor};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

use crate::{
    Identity, Stack, StackOptions,
    api::{self, Api},
};

/// Which shops a configuration has.
#[derive(Deserialize)]
struct Shown {
    locations: Vec<ShownShop>,
}

#[derive(Deserialize)]
struct ShownShop {
    id: String,
}

/// The tenant whose bakery is connected.
pub const TENANT: &str = "bakery";
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3600);

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
        let hosts = [
            ("SquareBaseUrl", sandbox.square_url()),
            ("ToastBaseUrl", sandbox.toast_url()),
            ("LightspeedBaseUrl", sandbox.lightspeed_url()),
        ];
        options.parameters.extend(hosts.map(|(name, url)| (name.to_owned(), url)));
        let stack = Stack::start(&options)?;
        let identity = Identity::new().context("failed to make the identity provider's key")?;
        stack.put_secret("JwksSecretId", &identity.jwks()).await.context("failed to store the JWKS")?;
        register(&sandbox, &stack).await?;
        let mut bakery = Self { sandbox, stack, identity, configuration_id: String::new() };
        let configuration =
            json!({ "provider": "square", "environment": "sandbox", "name": "Demo bakery", "day_start": "04:00" });
        bakery.configuration_id = connect_by_oauth(&bakery.api()?, &configuration).await?;
        Ok(bakery)
    }

    /// Says when the days of the bakery's shops begin, as the simulator's shops have it: its ledger counts by that.
    async fn keep_hours(&self, api: &Api, id: &str, vendor: Vendor, name: &str) -> anyhow::Result<()> {
        let path = format!("/configurations/{id}");
        let shown: Shown = api.request(Method::GET, &path).send().await?.error_for_status()?.json().await?;
        let known: Vec<&str> = shown.locations.iter().map(|shop| shop.id.as_str()).collect();
        let merchants = self.sandbox.at(vendor).merchants().into_iter();
        let shops = merchants.flat_map(|merchant| merchant.locations).filter(|shop| known.contains(&shop.id.as_str()));
        let hours: Vec<Value> =
            shops.map(|shop| json!({ "id": shop.id, "day_start": format!("{:02}:00", shop.day_starts) })).collect();
        let wanted = json!({ "name": name, "day_start": "04:00", "locations": hours });
        let request = api.request(Method::PUT, &path).header("if-match", "*").json(&wanted);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// Connects the bakery's branches that sell with Toast and Lightspeed, each with a webhook URL of its own, as no
    /// application of ours proves their deliveries. Returns all connections, Square's first.
    ///
    /// # Errors
    /// When a step is not answered as it should be.
    pub async fn connect_branches(&self) -> anyhow::Result<Vec<(Vendor, String)>> {
        let api = self.api()?;
        let branch = |provider: &str, name: &str| json!({ "provider": provider, "environment": "production", "name": name, "day_start": "04:00" });
        let mut toast = branch("toast", "Harbour branch");
        let client = self.sandbox.toast_client(None).context("the simulator has no restaurants")?;
        let group = self.sandbox.at(Vendor::Toast).merchants().into_iter().next().context("nobody sells with Toast")?;
        let restaurants: Vec<_> = group.locations.into_iter().map(|restaurant| restaurant.id).collect();
        let login = json!({ "client_id": client.id, "client_secret": client.secret, "restaurants": restaurants });
        toast.as_object_mut().context("a configuration is an object")?.insert("credentials".to_owned(), login);
        let toast = api.create_configuration(&toast).await?;
        let lightspeed = connect_by_oauth(&api, &branch("lightspeed", "Station branch")).await?;
        let connections = vec![
            (Vendor::Square, self.configuration_id.clone()),
            (Vendor::Toast, toast),
            (Vendor::Lightspeed, lightspeed),
        ];
        for (vendor, id) in &connections {
            let name = format!("{vendor:?} branch");
            self.keep_hours(&api, id, *vendor, &name).await?;
            let provider = match vendor {
                Vendor::Square => continue,
                Vendor::Toast => "toast",
                Vendor::Lightspeed => "lightspeed",
            };
            let url = format!("{}/api/v1/webhooks/{provider}/{id}", self.stack.api_url());
            let subscription = self.sandbox.at(*vendor).subscribe(&url);
            let secret = match vendor {
                // Basic authentication: the name is part of what proves.
                Vendor::Lightspeed => format!("{}:{}", subscription.id, subscription.signature_key),
                Vendor::Square | Vendor::Toast => subscription.signature_key,
            };
            let request = api.request(Method::POST, &format!("/configurations/{id}/webhook-secrets"));
            let request = request.json(&json!({ "secret": secret, "label": subscription.id }));
            let _: Value = api::answer_of(request, StatusCode::CREATED, "add a webhook secret").await?;
        }
        Ok(connections)
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

/// The operator: subscribes our URL at Square and puts what the vendors have answered into our applications' secrets.
async fn register(sandbox: &Sandbox, stack: &Stack) -> anyhow::Result<()> {
    let application = sandbox.application();
    let notification_url = format!("{}/api/v1/webhooks/square", stack.api_url());
    let subscription = sandbox.subscribe(&notification_url);
    let square = json!({
        "application_id": application.id,
        "application_secret": application.secret,
        "webhook_subscriptions": [{
            "id": subscription.id,
            "notification_url": subscription.notification_url,
            "signature_key": subscription.signature_key,
        }],
    });
    let client = sandbox.lightspeed_client();
    let lightspeed = json!({ "application_id": client.id, "application_secret": client.secret });
    for (secret, value) in [("SquareSecretId", square), ("LightspeedSecretId", lightspeed)] {
        stack.put_secret(secret, &value).await.with_context(|| format!("failed to store {secret}"))?;
    }
    Ok(())
}

/// The customer: makes a configuration, agrees at the vendor, and comes back. Returns the configuration's id.
///
/// # Errors
/// When a step is not answered as it should be.
pub async fn connect_by_oauth(api: &Api, configuration: &Value) -> anyhow::Result<String> {
    let id = api.create_configuration(configuration).await?;
    let (code, state) = consent(api, &id).await?;
    let provider = configuration.get("provider").and_then(Value::as_str).unwrap_or_default();
    let answer = api.come_back(provider, &[("code", &code), ("state", &state)]).await?;
    if answer.status() != StatusCode::OK {
        bail!("coming back was answered with {} {}", answer.status(), answer.text().await.unwrap_or_default());
    }
    Ok(id)
}

/// Agrees at the vendor. Returns what its page sends the browser back with: the code and our state.
///
/// # Errors
/// When a step is not answered as it should be.
pub async fn consent(api: &Api, configuration_id: &str) -> anyhow::Result<(String, String)> {
    #[derive(Deserialize)]
    struct Authorization {
        authorization_url: String,
    }
    let request = api.request(Method::POST, &format!("/configurations/{configuration_id}/authorize"));
    let authorization: Authorization = api::answer_of(request, StatusCode::OK, "ask where to agree").await?;
    let consent = api::client()?.get(authorization.authorization_url).send().await.context("failed to agree")?;
    let target = consent.headers().get(LOCATION).and_then(|target| target.to_str().ok());
    let Some(target) = target.and_then(|target| Url::parse(target).ok()) else {
        bail!("consent was answered with {} and no redirect", consent.status());
    };
    let answer = |name: &str| target.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    answer("code").zip(answer("state")).context("the vendor sends no code back")
}
