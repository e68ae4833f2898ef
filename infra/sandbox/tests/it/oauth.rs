use std::time::Duration;

use reqwest::redirect::Policy;
use sandbox::Sandbox;
use serde_json::{Value, json};

use crate::{Client, error_code, quick};

async fn code(sandbox: &Sandbox) -> String {
    let browser = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let url = reqwest::Url::parse_with_params(
        &format!("{}/oauth2/authorize", sandbox.square_url()),
        [
            ("client_id", sandbox.application().id.as_str()),
            ("scope", "ORDERS_READ MERCHANT_PROFILE_READ"),
            ("state", "s/1"),
            ("redirect_uri", "https://example.com/connected?shop=1"),
        ],
    )
    .unwrap();
    let answer = browser.get(url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 302);
    let target = reqwest::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    let parameter = |name: &str| target.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    assert_eq!((parameter("shop"), parameter("state")), ("1".to_owned(), "s/1".to_owned()));
    parameter("code")
}

fn token_request(sandbox: &Sandbox, more: &Value) -> Value {
    let application = sandbox.application();
    let mut request = json!({"client_id": application.id, "client_secret": application.secret});
    for (key, value) in more.as_object().unwrap() {
        request[key] = value.clone();
    }
    request
}

#[tokio::test]
async fn a_code_becomes_tokens_once_and_the_refresh_token_stays() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let nobody = Client::with_token(&sandbox, "nothing");
    let exchange = token_request(&sandbox, &json!({"grant_type": "authorization_code", "code": code(&sandbox).await}));
    let (status, first) = nobody.post("/oauth2/token", exchange.clone()).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(first["merchant_id"], sandbox.merchants()[0].id.as_str());
    let again = nobody.post("/oauth2/token", exchange).await;
    assert_eq!(error_code(&again), (401, "UNAUTHORIZED"));

    let refresh = json!({"grant_type": "refresh_token", "refresh_token": first["refresh_token"]});
    let (_, second) = nobody.post("/oauth2/token", token_request(&sandbox, &refresh)).await;
    assert_eq!(second["refresh_token"], first["refresh_token"]);
    assert_ne!(second["access_token"], first["access_token"]);

    for token in [&first, &second] {
        let client = Client::with_token(&sandbox, token["access_token"].as_str().unwrap());
        assert_eq!(client.get("/v2/merchants/me").await.0, 200);
        let unscoped = client.get("/v2/payments").await;
        assert_eq!(error_code(&unscoped), (403, "INSUFFICIENT_SCOPES"));
        let (_, status) = client.post("/oauth2/token/status", json!({})).await;
        assert_eq!(status["scopes"], json!(["ORDERS_READ", "MERCHANT_PROFILE_READ"]));
    }
}

#[tokio::test]
async fn wrong_secrets_and_odd_requests_are_refused_in_a_sentence() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let nobody = Client::with_token(&sandbox, "nothing");
    let mut wrong = token_request(&sandbox, &json!({"grant_type": "refresh_token", "refresh_token": "x"}));
    assert_eq!(error_code(&nobody.post("/oauth2/token", wrong.clone()).await), (401, "UNAUTHORIZED"));
    wrong["client_secret"] = json!("guessed");
    assert_eq!(error_code(&nobody.post("/oauth2/token", wrong).await), (401, "UNAUTHORIZED"));
    assert_eq!(error_code(&nobody.post("/oauth2/token", json!([1])).await), (400, "BAD_REQUEST"));
    assert_eq!(error_code(&nobody.get("/oauth2/authorize?client_id=x").await), (401, "UNAUTHORIZED"));
    assert_eq!(error_code(&nobody.get("/oauth2/authorize").await), (400, "BAD_REQUEST"));
    assert_eq!(error_code(&nobody.get("/v2/locations").await), (401, "UNAUTHORIZED"));
    assert_eq!(error_code(&nobody.get("/nowhere").await), (404, "NOT_FOUND"));
    assert_eq!(error_code(&nobody.get("/oauth2/token").await), (405, "METHOD_NOT_ALLOWED"));
}

#[tokio::test]
async fn tokens_expire_after_thirty_days_and_end_when_the_seller_says_so() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = Client::of(&sandbox);
    sandbox.advance_clock(Duration::from_secs(29 * 24 * 3600));
    assert_eq!(client.get("/v2/locations").await.0, 200);
    sandbox.advance_clock(Duration::from_secs(2 * 24 * 3600));
    assert_eq!(error_code(&client.get("/v2/locations").await), (401, "ACCESS_TOKEN_EXPIRED"));

    let client = Client::of(&sandbox);
    sandbox.revoke(&sandbox.merchants()[0].id).unwrap();
    assert_eq!(error_code(&client.get("/v2/locations").await), (401, "ACCESS_TOKEN_REVOKED"));
    let event = sandbox.events().pop().unwrap();
    assert_eq!(event.event_type, "oauth.authorization.revoked");
}

#[tokio::test]
async fn the_application_can_revoke_with_its_secret() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let client = Client::of(&sandbox);
    let request = client.http.post(format!("{}/oauth2/revoke", client.url)).json(&json!({
        "client_id": sandbox.application().id,
        "access_token": client.token,
    }));
    let refused = request.try_clone().unwrap().send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 401);
    let secret = format!("Client {}", sandbox.application().secret);
    let answer = request.header("authorization", secret).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"success": true}));
    assert_eq!(error_code(&client.get("/v2/locations").await), (401, "ACCESS_TOKEN_REVOKED"));
}
