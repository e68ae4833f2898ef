//! A stack, and this function in the test's own process before it.

use local::{Proxy, Stack, StackOptions};
use operations::{App, handle};
use serde_json::{Value, json};
use shared::settings::Reader;
use tokio::sync::OnceCell;

pub async fn stack() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_init(|| async {
            Stack::start(&StackOptions { name: "operations".into(), ..StackOptions::default() }).unwrap()
        })
        .await
}

/// The function's work in this process, through a proxy.
pub async fn app(proxy: &Proxy) -> App {
    let stack = stack().await;
    proxy.forward_to(stack.endpoint());
    // One attempt for each call: a repeat would hide what the proxy did.
    let config = stack.config_at(proxy.url()).into_builder();
    let config = config.retry_config(aws_sdk_sqs::config::retry::RetryConfig::disabled()).build();
    let variable = |name: &str| stack.variable("operations", name).map(str::to_owned);
    Reader::read(variable, |r| App::new(&config, r)).unwrap()
}

/// What a route answers to somebody of the platform's: status, media type and body.
pub async fn get(app: &App, route: &str, accept: &str) -> (u16, String, String) {
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/operations.json")).unwrap();
    event["resource"] = json!(route);
    event["requestContext"]["resourcePath"] = json!(route);
    event["path"] = json!(route.replace("{pos_system}", "square"));
    event["pathParameters"] = json!({ "pos_system": "square" });
    event["headers"]["Accept"] = json!(accept);
    event["multiValueHeaders"]["Accept"] = json!([accept]);
    let answer = handle(app, lambda_http::request::from_str(&event.to_string()).unwrap()).await.unwrap();
    let media_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let body: &[u8] = answer.body();
    (answer.status().as_u16(), media_type, String::from_utf8(body.to_vec()).unwrap())
}
