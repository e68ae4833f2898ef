//! Drives the simulator over HTTP, as a client and a receiver would.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets something else has failed"
)]

mod accounts;
mod bakery;
mod catalog;
mod day;
mod disorder;
mod faults;
mod lightspeed;
mod listing;
mod oauth;
mod receiver;
mod search;
mod shape;
mod toast;
mod webhooks;

use std::time::Duration;

use reqwest::Method;
use sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// Fast, and well-behaved unless a test asks for bad manners.
fn quick() -> SandboxOptions {
    SandboxOptions { speed: 50_000.0, duplicates_percent: 0, disorder_percent: 0, ..SandboxOptions::default() }
}

/// A clock that only the shops move.
fn standing() -> SandboxOptions {
    SandboxOptions { now: Some("2026-03-08T10:00:00Z".parse().unwrap()), ..quick() }
}

/// A client with the token of one merchant.
struct Client {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Client {
    fn of(sandbox: &Sandbox) -> Self {
        let token = sandbox.grant(None, &[]).unwrap().access_token;
        Self { url: sandbox.square_url(), token, http: reqwest::Client::new() }
    }

    fn with_token(sandbox: &Sandbox, token: &str) -> Self {
        Self { url: sandbox.square_url(), token: token.to_owned(), http: reqwest::Client::new() }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Every order there is, page by page, in the order of their updates.
    async fn all_orders(&self, sandbox: &Sandbox, limit: usize) -> Vec<Value> {
        let mut query = updated_since(&locations(sandbox), "2020-01-01T00:00:00Z");
        query["limit"] = json!(limit);
        let mut orders = Vec::new();
        loop {
            let (status, page) = self.post("/v2/orders/search", query.clone()).await;
            assert_eq!(status, 200, "{page}");
            orders.extend(page["orders"].as_array().cloned().unwrap_or_default());
            match page.get("cursor") {
                Some(cursor) => query["cursor"] = cursor.clone(),
                None => return orders,
            }
        }
    }
}

fn locations(sandbox: &Sandbox) -> Vec<String> {
    let merchants = sandbox.merchants();
    merchants[0].locations.iter().map(|location| location.id.clone()).collect()
}

fn updated_since(location_ids: &[String], start: &str) -> Value {
    json!({
        "location_ids": location_ids,
        "query": {
            "filter": {"date_time_filter": {"updated_at": {"start_at": start}}},
            "sort": {"sort_field": "UPDATED_AT", "sort_order": "ASC"},
        },
    })
}

fn error_code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["errors"][0]["code"].as_str().unwrap_or_default())
}
