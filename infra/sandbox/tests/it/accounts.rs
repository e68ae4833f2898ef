//! How Toast and Lightspeed let an application in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::redirect::Policy;
use sandbox::{Failure, Faults, Sandbox, SandboxOptions, Slowness, Vendor};
use serde_json::{Value, json};

use crate::quick;

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

async fn login(sandbox: &Sandbox, group: Option<&str>) -> (u16, Value) {
    let client = sandbox.toast_client(group).unwrap();
    let url = format!("{}/authentication/v1/authentication/login", sandbox.toast_url());
    let body = json!({"clientId": client.id, "clientSecret": client.secret, "userAccessType": "TOAST_MACHINE_CLIENT"});
    answer(reqwest::Client::new().post(url).json(&body)).await
}

async fn toast_token(sandbox: &Sandbox) -> String {
    login(sandbox, None).await.1["token"]["accessToken"].as_str().unwrap().to_owned()
}

async fn restaurant(sandbox: &Sandbox, token: &str, header: Option<&str>, guid: &str) -> (u16, Value) {
    let url = format!("{}/restaurants/v1/restaurants/{guid}", sandbox.toast_url());
    let mut request = reqwest::Client::new().get(url).bearer_auth(token);
    if let Some(header) = header {
        request = request.header("Toast-Restaurant-External-ID", header);
    }
    answer(request).await
}

#[tokio::test]
async fn toast_gives_the_same_token_until_its_last_minute() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let (status, first) = login(&sandbox, None).await;
    assert_eq!(status, 200, "{first}");
    let token = first["token"]["accessToken"].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 24 * 3600);
    assert!(claims["scope"].as_str().unwrap().contains("orders:read"));

    sandbox.advance_clock(Duration::from_secs(lifetime.unsigned_abs() - 120));
    let (_, again) = login(&sandbox, None).await;
    assert_eq!(again["token"]["accessToken"], token);
    assert!((115..=120).contains(&again["token"]["expiresIn"].as_i64().unwrap()), "{again}");
    sandbox.advance_clock(Duration::from_secs(70));
    assert_ne!(login(&sandbox, None).await.1["token"]["accessToken"], token);
    let calls = sandbox.calls(Vendor::Toast);
    assert_eq!((calls.token_requests, calls.tokens_given), (3, 3));
}

#[tokio::test]
async fn toast_tells_off_who_logs_in_too_often_when_it_is_asked_to() {
    let sandbox = Sandbox::start(quick()).unwrap();
    sandbox.set_faults_of(Vendor::Toast, Faults { limit_logins: true, ..Faults::default() });
    for _ in 0..2 {
        assert_eq!(login(&sandbox, None).await.0, 200);
    }
    assert_eq!(login(&sandbox, None).await.0, 429);
    sandbox.advance_clock(Duration::from_secs(3601));
    assert_eq!(login(&sandbox, None).await.0, 200);
    assert_eq!(sandbox.calls(Vendor::Toast).rate_limited, 1);
}

#[tokio::test]
async fn a_restaurant_is_shown_to_its_own_client_and_only_with_the_header() {
    let sandbox = Sandbox::start(SandboxOptions { merchants: 2, ..quick() }).unwrap();
    let groups = sandbox.merchants_of(Vendor::Toast);
    let (ours, theirs) = (&groups[0].locations[0], &groups[1].locations[0]);
    let token = toast_token(&sandbox).await;
    let (status, shown) = restaurant(&sandbox, &token, Some(&ours.id), &ours.id).await;
    assert_eq!(status, 200, "{shown}");
    assert_eq!(shown["general"]["timeZone"], ours.time_zone.as_str());
    assert_eq!(shown["general"]["currencyCode"], ours.currency.as_str());
    assert_eq!(shown["general"]["closeoutHour"], ours.day_starts);
    assert_eq!(shown["general"]["managementGroupGuid"], groups[0].id.as_str());

    assert_eq!(restaurant(&sandbox, "nonsense", Some(&ours.id), &ours.id).await.0, 401);
    assert_eq!(restaurant(&sandbox, &token, None, &ours.id).await.0, 400);
    assert_eq!(restaurant(&sandbox, &token, Some(&theirs.id), &theirs.id).await.0, 403);
    assert_eq!(restaurant(&sandbox, &token, Some(&ours.id), &theirs.id).await.0, 404);

    let refuse = Faults { refuse_scopes: vec!["restaurants:read".to_owned()], ..Faults::default() };
    sandbox.set_faults_of(Vendor::Toast, refuse);
    let (status, error) = restaurant(&sandbox, &token, Some(&ours.id), &ours.id).await;
    assert_eq!(status, 403);
    assert!(error["requestId"].is_string(), "{error}");
}

#[tokio::test]
async fn tokens_of_toast_can_be_ended_and_credentials_deleted() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let group = sandbox.merchants_of(Vendor::Toast).remove(0);
    let shop = group.locations[0].id.as_str();
    let token = toast_token(&sandbox).await;
    sandbox.expire_tokens(Vendor::Toast);
    assert_eq!(restaurant(&sandbox, &token, Some(shop), shop).await.0, 401);
    let next = toast_token(&sandbox).await;
    assert_ne!(next, token);
    assert_eq!(restaurant(&sandbox, &next, Some(shop), shop).await.0, 200);
    sandbox.revoke_of(Vendor::Toast, &group.id).unwrap();
    assert_eq!(restaurant(&sandbox, &next, Some(shop), shop).await.0, 401);
    assert_eq!(login(&sandbox, None).await.0, 401);
}

#[tokio::test]
async fn the_lists_of_restaurants_agree() {
    let sandbox = Sandbox::start(SandboxOptions { shops: 5, ..quick() }).unwrap();
    let group = sandbox.merchants_of(Vendor::Toast).remove(0);
    let token = toast_token(&sandbox).await;
    let get = |path: String| {
        let request = reqwest::Client::new().get(format!("{}{path}", sandbox.toast_url())).bearer_auth(&token);
        answer(request.header("Toast-Restaurant-External-ID", &group.locations[0].id))
    };
    let guids: Vec<&str> = group.locations.iter().map(|location| location.id.as_str()).collect();
    let (_, members) = get(format!("/restaurants/v1/groups/{}/restaurants", group.id)).await;
    assert_eq!(members.as_array().unwrap().iter().map(|entry| &entry["guid"]).collect::<Vec<_>>(), guids);
    let (_, all) = get("/partners/v1/restaurants".to_owned()).await;
    assert_eq!(all.as_array().unwrap().iter().map(|entry| &entry["restaurantGuid"]).collect::<Vec<_>>(), guids);
    let mut seen = Vec::new();
    let mut page = String::new();
    loop {
        let (_, shown) = get(format!("/partners/v1/connectedRestaurants?pageSize=2{page}")).await;
        let results = shown["results"].as_array().unwrap().clone();
        seen.extend(results.iter().map(|entry| entry["restaurantGuid"].as_str().unwrap().to_owned()));
        match shown["nextPageToken"].as_str() {
            Some(token) => page = format!("&pageToken={token}"),
            None => break,
        }
    }
    assert_eq!(seen, guids);
    assert!(guids.iter().any(|guid| guid.len() != 36), "one guid is no UUID");
}

async fn lightspeed_token(sandbox: &Sandbox, fields: &[(&str, &str)]) -> (u16, Value) {
    let client = sandbox.lightspeed_client();
    let form = reqwest::Url::parse_with_params("form:///", fields).unwrap();
    let request = reqwest::Client::new()
        .post(format!("{}/oauth/token", sandbox.lightspeed_url()))
        .basic_auth(client.id, Some(client.secret))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.query().unwrap().to_owned());
    answer(request).await
}

async fn connect(sandbox: &Sandbox) -> Value {
    let client = sandbox.lightspeed_client();
    let redirect_uri = "https://example.com/connected?tenant=1";
    let parameters = [
        ("response_type", "code"),
        ("client_id", client.id.as_str()),
        ("redirect_uri", redirect_uri),
        ("scope", "financial-api items"),
        ("state", "s/1"),
    ];
    let url = format!("{}/oauth/authorize", sandbox.lightspeed_url());
    let browser = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let answer = browser.get(reqwest::Url::parse_with_params(&url, parameters).unwrap()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 302);
    let target = reqwest::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    let query: BTreeMap<String, String> = target.query_pairs().into_owned().collect();
    assert_eq!((query["tenant"].as_str(), query["state"].as_str()), ("1", "s/1"));
    let exchange = [("grant_type", "authorization_code"), ("code", &query["code"]), ("redirect_uri", redirect_uri)];
    let (status, tokens) = lightspeed_token(sandbox, &exchange).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(lightspeed_token(sandbox, &exchange).await.1["error"], "invalid_grant", "a code is used once");
    tokens
}

async fn businesses(sandbox: &Sandbox, tokens: &Value) -> (u16, Value) {
    let url = format!("{}/f/data/businesses?page=0&size=5", sandbox.lightspeed_url());
    answer(reqwest::Client::new().get(url).bearer_auth(tokens["access_token"].as_str().unwrap())).await
}

#[tokio::test]
async fn a_refresh_token_of_lightspeed_is_used_once() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let first = connect(&sandbox).await;
    assert_eq!((&first["expires_in"], &first["scope"]), (&json!(3599), &json!("financial-api items")));
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", first["refresh_token"].as_str().unwrap())];
    let (status, second) = lightspeed_token(&sandbox, &refresh).await;
    assert_eq!(status, 200);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    let (status, refused) = lightspeed_token(&sandbox, &refresh).await;
    assert_eq!((status, refused["error"].as_str().unwrap()), (400, "invalid_grant"));
    for tokens in [&first, &second] {
        assert_eq!(businesses(&sandbox, tokens).await.0, 200);
    }
    sandbox.advance_clock(Duration::from_secs(3600));
    assert_eq!(businesses(&sandbox, &second).await.0, 401);
    sandbox.advance_clock(Duration::from_secs(15 * 24 * 3600));
    let late = [("grant_type", "refresh_token"), ("refresh_token", second["refresh_token"].as_str().unwrap())];
    assert_eq!(lightspeed_token(&sandbox, &late).await.1["error"], "invalid_grant");
    assert_eq!(sandbox.calls(Vendor::Lightspeed).tokens_given, 2);
}

#[tokio::test]
async fn a_business_of_lightspeed_has_one_currency_and_shops_with_long_ids() {
    let sandbox = Sandbox::start(SandboxOptions { merchants: 3, ..quick() }).unwrap();
    for merchant in sandbox.merchants_of(Vendor::Lightspeed) {
        let grant = sandbox.grant_of(Vendor::Lightspeed, Some(&merchant.id), &[]).unwrap();
        let (status, page) = businesses(&sandbox, &json!({"access_token": grant.access_token})).await;
        assert_eq!(status, 200, "{page}");
        let shown = &page["_embedded"]["businessList"][0];
        assert_eq!(shown["businessId"].to_string(), merchant.id);
        assert_eq!(shown["currencyCode"], merchant.locations[0].currency.as_str());
        assert_eq!(shown["businessLocations"][1]["blID"].to_string(), merchant.locations[1].id);
        assert_eq!(shown["businessLocations"][1]["timezone"], merchant.locations[1].time_zone.as_str());
    }
    let narrow = sandbox.grant_of(Vendor::Lightspeed, None, &["items"]).unwrap();
    let (status, refused) = businesses(&sandbox, &json!({"access_token": narrow.access_token})).await;
    assert_eq!((status, refused["error"].as_str().unwrap()), (403, "insufficient_scope"));
}

#[tokio::test]
async fn every_vendor_can_be_slow_failing_and_revoked() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let tokens = connect(&sandbox).await;
    sandbox.set_faults_of(
        Vendor::Lightspeed,
        Faults {
            failures: vec![Failure {
                status: 503,
                times: 1,
                path: Some("/oauth/token".to_owned()),
                ..Failure::default()
            }],
            slow: vec![Slowness { path: "/f/".to_owned(), millis: 300 }],
            ..Faults::default()
        },
    );
    let asked = Instant::now();
    assert_eq!(businesses(&sandbox, &tokens).await.0, 200);
    assert!(asked.elapsed() >= Duration::from_millis(300));
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    assert_eq!(lightspeed_token(&sandbox, &refresh).await.0, 503, "and the refresh token was not used up");
    assert_eq!(lightspeed_token(&sandbox, &refresh).await.0, 200);
    let business = sandbox.merchants_of(Vendor::Lightspeed).remove(0).id;
    sandbox.revoke_of(Vendor::Lightspeed, &business).unwrap();
    assert_eq!(businesses(&sandbox, &tokens).await.0, 401);

    let admin = |path: &str| format!("{}/_admin/{path}", sandbox.square_url());
    let http = reqwest::Client::new();
    let faults = json!({"failures": [{"status": 429, "times": 1, "retry_after": 7}]});
    for vendor in ["square", "toast", "lightspeed"] {
        assert_eq!(answer(http.put(admin(&format!("faults?vendor={vendor}"))).json(&faults)).await.0, 200);
    }
    for url in [sandbox.toast_url() + "/partners/v1/restaurants", sandbox.lightspeed_url() + "/f/data/businesses"] {
        let limited = http.get(url).send().await.unwrap();
        assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    }
    let (_, calls) = answer(http.get(admin("calls?vendor=lightspeed"))).await;
    assert_eq!(
        (&calls["token_requests"], &calls["tokens_given"], &calls["rate_limited"]),
        (&json!(4), &json!(2), &json!(1))
    );
}

#[tokio::test]
async fn tokens_of_square_are_counted_and_can_be_ended() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let grant = sandbox.grant(None, &[]).unwrap();
    let get = |token: &str| {
        answer(reqwest::Client::new().get(format!("{}/v2/locations", sandbox.square_url())).bearer_auth(token))
    };
    assert_eq!(get(&grant.access_token).await.0, 200);
    sandbox.expire_tokens(Vendor::Square);
    let (status, error) = get(&grant.access_token).await;
    assert_eq!((status, error["errors"][0]["code"].as_str().unwrap()), (401, "ACCESS_TOKEN_EXPIRED"));
    let application = sandbox.application();
    let refresh = json!({"client_id": application.id, "client_secret": application.secret,
        "grant_type": "refresh_token", "refresh_token": grant.refresh_token});
    let url = format!("{}/oauth2/token", sandbox.square_url());
    let (_, renewed) = answer(reqwest::Client::new().post(url).json(&refresh)).await;
    assert_eq!(get(renewed["access_token"].as_str().unwrap()).await.0, 200);
    let calls = sandbox.calls(Vendor::Square);
    assert_eq!((calls.token_requests, calls.tokens_given, calls.api_calls), (1, 1, 3));
}

#[tokio::test]
async fn who_loses_the_answer_to_a_refresh_has_lost_the_business() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let tokens = connect(&sandbox).await;
    let lost = Failure { status: 502, times: 1, path: Some("/oauth/token".to_owned()), ..Failure::default() };
    sandbox.set_faults_of(Vendor::Lightspeed, Faults { lost_answers: vec![lost], ..Faults::default() });
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    assert_eq!(lightspeed_token(&sandbox, &refresh).await.0, 502);
    assert_eq!(lightspeed_token(&sandbox, &refresh).await.1["error"], "invalid_grant", "it was used up");
}
