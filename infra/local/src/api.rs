//! The two HTTP APIs that demo and tests talk to: ours, and Square's where the books are checked.

use anyhow::{Context as _, bail};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use sandbox::Merchant;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

const PAGE: &str = "100";

/// Our REST API, as one tenant's user.
#[derive(Debug)]
pub struct Api {
    http: Client,
    base: String,
    token: String,
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Found<T> {
    // Square leaves an empty list out.
    #[serde(default = "Vec::new")]
    orders: Vec<T>,
    cursor: Option<String>,
}

impl Api {
    /// For this tenant's user with this token.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(api_url: &str, tenant: &str, token: String) -> anyhow::Result<Self> {
        Ok(Self { http: client()?, base: format!("{api_url}/api/v1/tenants/{tenant}/pos"), token })
    }

    /// The bearer token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Connects a merchant. Returns the configuration's id.
    ///
    /// # Errors
    /// When the answer is anything but 201.
    pub async fn create_configuration(&self, configuration: &Value) -> anyhow::Result<String> {
        let request = self
            .request(Method::POST, "/configurations")
            .header("idempotency-key", uuid::Uuid::new_v4().to_string())
            .json(configuration);
        let created: Created = answer_of(request, StatusCode::CREATED, "create the configuration").await?;
        Ok(created.id)
    }

    /// Every transaction of a configuration, page by page.
    ///
    /// # Errors
    /// When a page is not answered as it should be.
    pub async fn transactions<T: DeserializeOwned>(&self, configuration_id: &str) -> anyhow::Result<Vec<T>> {
        let mut transactions = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("configuration_id", configuration_id), ("limit", PAGE)];
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let request = self.request(Method::GET, "/transactions").query(&query);
            let page: Page<T> = answer_of(request, StatusCode::OK, "list transactions").await?;
            transactions.extend(page.items);
            match page.next_cursor {
                None => return Ok(transactions),
                next if next == cursor => bail!("the API answered the same cursor twice"),
                next => cursor = next,
            }
        }
    }

    /// What the merchant's browser does after the vendor's page: it calls us without a token.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn come_back(&self, provider: &str, query: &[(&str, &str)]) -> anyhow::Result<Response> {
        let (root, _) = self.base.split_once("/tenants/").context("the API's URL has no tenant")?;
        let request = self.http.get(format!("{root}/oauth/{provider}/callback")).query(query);
        request.send().await.context("failed to come back from the vendor's page")
    }

    /// A request below the tenant's path, `/transactions` say, with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }
}

/// A client that shows redirects instead of following them: the OAuth code is in one.
///
/// # Errors
/// When no HTTP client can be made.
pub fn client() -> anyhow::Result<Client> {
    // Fails only if a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().redirect(redirect::Policy::none()).build().context("failed to make an HTTP client")
}

/// The answer if it has the wanted status and shape; otherwise its text, because that says what went wrong.
///
/// # Errors
/// With that text.
pub async fn answer_of<T: DeserializeOwned>(
    request: RequestBuilder,
    wanted: StatusCode,
    action: &str,
) -> anyhow::Result<T> {
    let response = request.send().await.with_context(|| format!("failed to {action}"))?;
    let status = response.status();
    let text = response.text().await.with_context(|| format!("failed to {action}"))?;
    if status != wanted {
        bail!("failed to {action}: {status} {text}");
    }
    serde_json::from_str(&text).with_context(|| format!("failed to {action}: unexpected answer {text}"))
}

/// Every completed order, from Square's own search and not from its notifications.
///
/// # Errors
/// When Square does not answer as it should.
pub async fn search_orders<T: DeserializeOwned>(
    square: &str,
    access_token: &str,
    merchants: &[Merchant],
) -> anyhow::Result<Vec<T>> {
    let shops = merchants.iter().flat_map(|merchant| &merchant.locations);
    let locations: Vec<&str> = shops.map(|location| location.id.as_str()).collect();
    let http = client()?;
    let mut orders = Vec::new();
    // Square takes no more than ten locations at once.
    for location_ids in locations.chunks(10) {
        let mut search = json!({
            "location_ids": location_ids,
            "limit": 100,
            "query": {
                "filter": { "state_filter": { "states": ["COMPLETED"] } },
                "sort": { "sort_field": "CREATED_AT", "sort_order": "ASC" },
            },
        });
        loop {
            let request = http.post(format!("{square}/v2/orders/search")).bearer_auth(access_token).json(&search);
            let found: Found<T> = answer_of(request, StatusCode::OK, "search orders").await?;
            orders.extend(found.orders);
            let (Some(cursor), Some(search)) = (found.cursor, search.as_object_mut()) else {
                break;
            };
            search.insert("cursor".to_owned(), Value::String(cursor));
        }
    }
    Ok(orders)
}
