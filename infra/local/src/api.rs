//! The two HTTP APIs that demo and tests talk to: ours, and Square's where the books are checked.

use anyhow::{Context as _, bail};
use jiff::Timestamp;
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

/// A run of a sync, as far as it is of interest here.
#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// `incremental`, `backfill`, `repair` or `catalog`.
    pub kind: String,
    /// `queued`, `reading`, `settling`, and then how it ended.
    pub state: String,
    /// Why it failed.
    pub code: Option<String>,
    /// When somebody, or the schedule, wanted it.
    pub requested_at: Timestamp,
    /// When its first page was read.
    pub started_at: Option<Timestamp>,
    /// When the last of its pages was worked on.
    pub ended_at: Option<Timestamp>,
    /// How far it is.
    pub progress: RunProgress,
    /// What it could not do.
    pub notes: Vec<Value>,
    /// Orders that could not be taken.
    pub failed_orders: Vec<Value>,
}

/// How far a run is.
#[derive(Debug, Clone, Deserialize)]
pub struct RunProgress {
    /// Pages that were read.
    pub pages: u32,
    /// Of those, pages that were worked on.
    pub pages_done: u32,
    /// What they held.
    pub orders: RunCounts,
    /// Calls of the provider's API.
    pub requests: u64,
    /// What the provider's limit has cost.
    pub rate_limit_waited_ms: u64,
}

/// What a run has found. An order may be seen on two pages; it counts once in the others.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct RunCounts {
    /// Orders on its pages.
    pub seen: u64,
    /// Transactions that nobody had known.
    pub created: u64,
    /// Transactions that had changed.
    pub updated: u64,
    /// Transactions that were as they should be.
    pub unchanged: u64,
    /// Orders that could not be taken.
    pub failed: u64,
}

impl Run {
    /// Whether nothing more comes of it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !matches!(self.state.as_str(), "queued" | "reading" | "settling")
    }

    /// Whether it has read everything and every order was taken.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == "completed"
    }
}

#[derive(Deserialize)]
struct Status {
    current: Vec<Run>,
    runs: Vec<Run>,
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

    /// Asks for a run. Returns it, or the one of this kind that is under way already.
    ///
    /// # Errors
    /// When the answer is anything but 202.
    pub async fn begin_sync(&self, configuration_id: &str, request: &Value) -> anyhow::Result<Run> {
        let request = self
            .request(Method::POST, &format!("/configurations/{configuration_id}/sync"))
            .header("idempotency-key", uuid::Uuid::new_v4().to_string())
            .json(request);
        answer_of(request, StatusCode::ACCEPTED, "begin a sync").await
    }

    /// The run of this id.
    ///
    /// # Errors
    /// When there is none.
    pub async fn run(&self, configuration_id: &str, run_id: &str) -> anyhow::Result<Run> {
        let request = self.request(Method::GET, &format!("/configurations/{configuration_id}/sync/status"));
        let status: Status = answer_of(request.query(&[("run_id", run_id)]), StatusCode::OK, "look at a run").await?;
        status.runs.into_iter().next().context("the API shows no run where it was asked for one")
    }

    /// The runs under way, and the last ones that have ended, newest first.
    ///
    /// # Errors
    /// When they are not answered as they should be.
    pub async fn runs(&self, configuration_id: &str) -> anyhow::Result<Vec<Run>> {
        let request = self.request(Method::GET, &format!("/configurations/{configuration_id}/sync/status"));
        let status: Status = answer_of(request.query(&[("limit", PAGE)]), StatusCode::OK, "list runs").await?;
        Ok(status.current.into_iter().chain(status.runs).collect())
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
