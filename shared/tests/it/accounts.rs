//! Consent, tokens and what they reach: Square against its simulator, the others against answers in the documented
//! shapes.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use sandbox::{Sandbox, SandboxOptions};
use serde_json::json;
use shared::domain::{Environment, ExternalOrderId, LocationId, ProviderKind};
use shared::providers::{
    Access, AccessToken, Application, Credentials, MerchantDescription, OrderRef, PosProvider, ProviderErrorKind,
    ProviderHosts, Providers, Renewal, Revocation, required_scopes,
};
use zeroize::Zeroizing;

use crate::vendor::{Reply, Vendor, ok, refused};

const SANDBOX: Environment = Environment::Sandbox;
const BACK: &str = "https://pos.example.com/api/v1/oauth/back?a=1";
pub const KINDS: [ProviderKind; 3] = [ProviderKind::Square, ProviderKind::Toast, ProviderKind::Lightspeed];

/// All providers, for what needs no network.
pub fn pure() -> &'static Providers {
    static PURE: LazyLock<Providers> = LazyLock::new(|| providers_at("http://localhost"));
    &PURE
}

/// All providers, at one address.
pub fn providers_at(url: &str) -> Providers {
    let host = Some(url.to_owned());
    Providers::new(ProviderHosts { square: host.clone(), toast: host.clone(), lightspeed: host })
}

fn application(id: &str, secret: &str) -> Application {
    serde_json::from_value(json!({ "application_id": id, "application_secret": secret })).unwrap()
}

fn refresh_token(token: &str, single_use: bool) -> Credentials {
    Credentials {
        access_token: Zeroizing::new("old".into()),
        obtained_at: "2026-02-14T08:00:00Z".parse().unwrap(),
        expires_at: Some("2026-02-14T09:00:00Z".parse().unwrap()),
        renewal: Renewal::RefreshToken { refresh_token: Zeroizing::new(token.into()), single_use },
    }
}

fn login() -> Credentials {
    Credentials::for_login("group-1", Zeroizing::new("s3cret".into()))
}

async fn describe(
    provider: &dyn PosProvider,
    token: &str,
    shops: &[&str],
) -> Result<MerchantDescription, ProviderErrorKind> {
    let token = AccessToken::new(token);
    let shops: Vec<LocationId> = shops.iter().map(|id| LocationId::new(*id).unwrap()).collect();
    let access = Access { environment: SANDBOX, token: &token };
    provider.describe_merchant(&access, &shops).await.map_err(|error| error.kind)
}

#[tokio::test]
async fn a_square_merchant_agrees_is_renewed_and_takes_it_back() {
    let sandbox = Sandbox::start(SandboxOptions::default()).unwrap();
    let providers = providers_at(&sandbox.square_url());
    let square = providers.get(ProviderKind::Square);
    let registered = sandbox.application();
    let application = application(&registered.id, &registered.secret);

    let url = square.authorize_url(&application, SANDBOX, BACK, "state/1").unwrap();
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = browser.get(url).send().await.unwrap();
    let target = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    let parameter = |name: &str| target.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    assert_eq!((parameter("a"), parameter("state")), ("1".to_owned(), "state/1".to_owned()));

    let exchange = async |code: &str| square.exchange_code(&application, SANDBOX, code, BACK).await;
    let code = parameter("code");
    let first = exchange(&code).await.unwrap();
    assert!(matches!(first.renewal, Renewal::RefreshToken { single_use: false, .. }));
    assert!(first.expires_at.unwrap() > Timestamp::now() + SignedDuration::from_hours(24));
    let again = exchange(&code).await.map(drop).unwrap_err();
    assert_eq!(again.kind, ProviderErrorKind::Unauthorized);

    let described = describe(square, &first.access_token, &[]).await.unwrap();
    assert_eq!(described.merchant.id.as_str(), sandbox.merchants()[0].id);
    assert_eq!(described.locations.len(), sandbox.merchants()[0].locations.len());
    assert_eq!(described.missing_scopes(), Vec::<&str>::new());
    assert!(described.granted_scopes.unwrap().contains("INVENTORY_WRITE"));

    let second = square.refresh_credentials(&application, SANDBOX, &first).await.unwrap();
    assert_ne!(second.access_token, first.access_token);
    assert!(describe(square, &second.access_token, &[]).await.is_ok());

    let revoked = square.revoke_credentials(&application, SANDBOX, &second).await.unwrap();
    assert_eq!(revoked, Revocation::Revoked);
    for credentials in [&first, &second] {
        let refused = describe(square, &credentials.access_token, &[]).await.unwrap_err();
        assert_eq!(refused, ProviderErrorKind::Unauthorized);
        let refused = square.refresh_credentials(&application, SANDBOX, credentials).await.map(drop).unwrap_err();
        assert_eq!(refused.kind, ProviderErrorKind::Unauthorized);
    }
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let sandbox = Sandbox::start(SandboxOptions::default()).unwrap();
    let providers = providers_at(&sandbox.square_url());
    let grant = sandbox.grant(None, &["MERCHANT_PROFILE_READ", "ORDERS_READ"]).unwrap();
    let described = describe(providers.get(ProviderKind::Square), &grant.access_token, &[]).await.unwrap();
    assert_eq!(described.missing_scopes(), ["ITEMS_READ", "PAYMENTS_READ"]);
}

fn restaurant(guid: &str, group: Option<&str>, currency: Option<&str>) -> serde_json::Value {
    json!({
        "guid": guid,
        "general": {
            "name": "Bakery", "locationName": format!("Shop {guid}"), "timeZone": "America/New_York", "closeoutHour": 4,
            "currencyCode": currency, "managementGroupGuid": group,
        },
        "location": { "country": "US" },
    })
}

/// A token whose claims are `{"exp":1771056000,"scope":"orders:read menus:read"}`.
const JWT: &str = "e30.eyJleHAiOjE3NzEwNTYwMDAsInNjb3BlIjoib3JkZXJzOnJlYWQgbWVudXM6cmVhZCJ9.c2ln";

fn toast(
    guids: &'static [(&'static str, Option<&'static str>, Option<&'static str>)],
) -> impl Fn(&crate::vendor::Seen) -> Reply {
    move |seen| {
        if seen.path == "/authentication/v1/authentication/login" {
            return match serde_json::from_str::<serde_json::Value>(&seen.body).unwrap() {
                body if body
                    == json!({ "clientId": "group-1", "clientSecret": "s3cret", "userAccessType": "TOAST_MACHINE_CLIENT" }) =>
                {
                    ok(
                        json!({ "token": { "tokenType": "Bearer", "scope": null, "expiresIn": 86400, "accessToken": JWT, "idToken": null, "refreshToken": null }, "status": "SUCCESS" }),
                    )
                }
                _ => refused(401, json!({ "status": 401, "message": "no" })),
            };
        }
        let guid = seen.path.strip_prefix("/restaurants/v1/restaurants/").unwrap();
        let is_admitted = seen.header("authorization") == format!("Bearer {JWT}");
        match guids.iter().find(|(known, ..)| *known == guid) {
            Some((_, group, currency)) if is_admitted && seen.header("toast-restaurant-external-id") == guid => {
                ok(restaurant(guid, *group, *currency))
            }
            _ => refused(403, "{}"),
        }
    }
}

#[tokio::test]
async fn a_toast_login_gives_a_token_until_it_ends() {
    let vendor = Vendor::answering(toast(&[])).await;
    let providers = providers_at(&vendor.url);
    let toast = providers.get(ProviderKind::Toast);
    let nothing = application("", "");
    assert_eq!(toast.authorize_url(&nothing, SANDBOX, BACK, "s"), None);
    let unsupported = toast.exchange_code(&nothing, SANDBOX, "code", BACK).await.map(drop).unwrap_err();
    assert_eq!(unsupported.kind, ProviderErrorKind::Unsupported);

    let credentials = toast.refresh_credentials(&nothing, SANDBOX, &login()).await.unwrap();
    assert_eq!(credentials.access_token.as_str(), JWT);
    assert_eq!(credentials.expires_at, Some("2026-02-14T08:00:00Z".parse().unwrap()));
    assert!(matches!(&credentials.renewal, Renewal::Login { client_id, .. } if client_id == "group-1"));
    assert_eq!(toast.refresh_due_at(&credentials), Some("2026-02-14T07:59:10Z".parse().unwrap()));

    let wrong = Credentials::for_login("group-1", Zeroizing::new("guessed".into()));
    let refused = toast.refresh_credentials(&nothing, SANDBOX, &wrong).await.map(drop).unwrap_err();
    assert_eq!(refused.kind, ProviderErrorKind::Unauthorized);
    let revoked = toast.revoke_credentials(&nothing, SANDBOX, &credentials).await.unwrap();
    assert_eq!(revoked, Revocation::Unsupported);
}

#[tokio::test]
async fn toasts_restaurants_are_those_of_one_group() {
    let vendor = Vendor::answering(toast(&[
        ("r1", Some("g1"), Some("USD")),
        ("r2", Some("g1"), None),
        ("r3", Some("g2"), Some("CAD")),
        ("r4", None, Some("USD")),
        ("r5", None, Some("USD")),
    ]))
    .await;
    let providers = providers_at(&vendor.url);
    let toast = providers.get(ProviderKind::Toast);
    let described = describe(toast, JWT, &["r1", "r2"]).await.unwrap();
    assert_eq!((described.merchant.id.as_str(), described.merchant.name.as_str()), ("g1", "Bakery"));
    let shops: Vec<_> =
        described.locations.iter().map(|l| (l.id.as_str(), l.name.as_str(), l.currency.code())).collect();
    assert_eq!(shops, [("r1", "Shop r1", "USD"), ("r2", "Shop r2", "USD")]);
    assert_eq!(described.missing_scopes(), ["restaurants:read"]);
    assert_eq!(describe(toast, JWT, &["r4", "r5"]).await.unwrap().merchant.id.as_str(), "r4");
    for (shops, kind) in [
        (&["r1", "r3"][..], ProviderErrorKind::SeveralMerchants),
        (&["r1", "r9"], ProviderErrorKind::Forbidden),
        (&[], ProviderErrorKind::Unsupported),
    ] {
        assert_eq!(describe(toast, JWT, shops).await.unwrap_err(), kind, "{shops:?}");
    }
}

fn lightspeed(seen: &crate::vendor::Seen) -> Reply {
    let businesses = |ids: &[i64]| {
        let list: Vec<_> = ids
            .iter()
            .map(|id| {
                json!({
                    "businessName": "Bakery", "businessId": id, "currencyCode": "GBP",
                    "businessLocations": [
                        { "blName": "North", "blID": 45454565682155_i64, "country": "GB", "timezone": "Europe/London" },
                        { "blName": "South", "blId": 45454565682156_i64, "country": "GB", "timezone": "Europe/London" },
                    ],
                })
            })
            .collect();
        list
    };
    match (seen.path.as_str(), seen.header("authorization")) {
        // printf 'app:s3cret' | base64
        ("/oauth/token", "Basic YXBwOnMzY3JldA==") => match seen.body.as_str() {
            "grant_type=authorization_code&code=c%2F1&redirect_uri=https%3A%2F%2Fpos.example.com%2Fapi%2Fv1%2Foauth%2Fback%3Fa%3D1"
            | "grant_type=refresh_token&refresh_token=r%2B1" => ok(json!({
                "access_token": "a2", "token_type": "bearer", "refresh_token": "r2", "expires_in": 3599, "scope": "financial-api items",
            })),
            _ => refused(400, json!({ "error": "invalid_grant", "error_description": "spent" })),
        },
        ("/oauth/token", _) => refused(401, json!({ "error": "invalid_client" })),
        ("/f/data/businesses?page=0&size=100", "Bearer paged") => {
            ok(json!({ "_embedded": { "businessList": businesses(&[7]) }, "page": { "totalPages": 1 } }))
        }
        ("/f/data/businesses?page=0&size=100", "Bearer bare") => ok(json!(businesses(&[7]))),
        ("/f/data/businesses?page=0&size=100", "Bearer martian") => {
            ok(json!(businesses(&[7])).to_string().replace("Europe/London", "Mars/Base"))
        }
        ("/f/data/businesses?page=0&size=100", "Bearer two") => ok(json!(businesses(&[7, 8]))),
        _ => refused(401, "{}"),
    }
}

#[tokio::test]
async fn a_lightspeed_refresh_token_is_spent_by_its_use() {
    let vendor = Vendor::answering(lightspeed).await;
    let providers = providers_at(&vendor.url);
    let lightspeed = providers.get(ProviderKind::Lightspeed);
    let ours = application("app", "s3cret");
    let url = lightspeed.authorize_url(&ours, SANDBOX, BACK, "state/1").unwrap();
    let expected = "/oauth/authorize?response_type=code&client_id=app&scope=financial-api%20items&redirect_uri=https%3A%2F%2Fpos.example.com%2Fapi%2Fv1%2Foauth%2Fback%3Fa%3D1&state=state%2F1";
    assert_eq!(url, format!("{}{expected}", vendor.url));

    let credentials = lightspeed.exchange_code(&ours, SANDBOX, "c/1", BACK).await.unwrap();
    let life = credentials.expires_at.unwrap().duration_since(credentials.obtained_at);
    assert_eq!(life, SignedDuration::from_secs(3599));
    assert!(
        matches!(&credentials.renewal, Renewal::RefreshToken { refresh_token, single_use: true } if refresh_token.as_str() == "r2")
    );

    let renewed = lightspeed.refresh_credentials(&ours, SANDBOX, &refresh_token("r+1", true)).await.unwrap();
    assert_eq!(renewed.access_token.as_str(), "a2");
    for (application, token, kind) in [
        (&ours, "spent", ProviderErrorKind::Unauthorized),
        // Our own mistake, for which no merchant must connect again.
        (&application("app", "wrong"), "r+1", ProviderErrorKind::Rejected { status: 401 }),
    ] {
        let refused = lightspeed.refresh_credentials(application, SANDBOX, &refresh_token(token, true)).await;
        assert_eq!(refused.map(drop).unwrap_err().kind, kind, "{token}");
    }
    let revoked = lightspeed.revoke_credentials(&ours, SANDBOX, &renewed).await.unwrap();
    assert_eq!(revoked, Revocation::Unsupported);
}

#[tokio::test]
async fn a_lightspeed_token_reaches_one_business() {
    let vendor = Vendor::answering(lightspeed).await;
    let providers = providers_at(&vendor.url);
    let lightspeed = providers.get(ProviderKind::Lightspeed);
    for token in ["paged", "bare"] {
        let described = describe(lightspeed, token, &[]).await.unwrap();
        assert_eq!(described.merchant.id.as_str(), "7");
        let shops: Vec<_> = described.locations.iter().map(|l| (l.id.as_str(), l.time_zone.as_str())).collect();
        assert_eq!(shops, [("45454565682155", "Europe/London"), ("45454565682156", "Europe/London")]);
        assert_eq!((described.missing_scopes(), described.granted_scopes), (Vec::new(), None));
    }
    assert_eq!(describe(lightspeed, "two", &[]).await.unwrap_err(), ProviderErrorKind::SeveralMerchants);
    assert_eq!(describe(lightspeed, "none", &[]).await.unwrap_err(), ProviderErrorKind::Unauthorized);
    // A zone that nobody knows would put sales into the wrong day.
    assert_eq!(describe(lightspeed, "martian", &[]).await.unwrap_err(), ProviderErrorKind::Malformed);
}

#[test]
fn a_token_is_renewed_before_it_ends_and_only_if_something_buys_the_next() {
    let providers = pure();
    let due = |kind, renewal: &Renewal, lives: Option<i64>| {
        let obtained_at = "2026-02-14T08:00:00Z".parse::<Timestamp>().unwrap();
        let expires_at = lives.map(|seconds| obtained_at + SignedDuration::from_secs(seconds));
        let access_token = Zeroizing::default();
        let credentials = Credentials { access_token, obtained_at, expires_at, renewal: renewal.clone() };
        providers.get(kind).refresh_due_at(&credentials).map(|due| due.duration_since(obtained_at).as_secs())
    };
    let token = refresh_token("r", false).renewal;
    let login = login().renewal;
    const DAY: i64 = 86_400;
    for (kind, renewal, lives, expected) in [
        (ProviderKind::Square, &token, Some(30 * DAY), Some(7 * DAY)),
        (ProviderKind::Square, &token, Some(DAY), Some(DAY * 3 / 4)),
        (ProviderKind::Square, &token, None, Some(7 * DAY)),
        (ProviderKind::Lightspeed, &token, Some(3600), Some(2700)),
        (ProviderKind::Lightspeed, &token, None, Some(2700)),
        (ProviderKind::Toast, &login, Some(DAY), Some(DAY - 50)),
        (ProviderKind::Toast, &token, Some(DAY), None),
        (ProviderKind::Square, &Renewal::Never, Some(DAY), None),
        (ProviderKind::Lightspeed, &Renewal::Never, Some(DAY), None),
    ] {
        assert_eq!(due(kind, renewal, lives), expected, "{kind} {lives:?}");
    }
}

#[tokio::test]
async fn what_nothing_can_renew_wants_a_person() {
    let providers = pure();
    for kind in KINDS {
        let mut credentials = login();
        credentials.renewal = Renewal::Never;
        let refused = providers.get(kind).refresh_credentials(&application("a", "b"), SANDBOX, &credentials).await;
        assert_eq!(refused.map(drop).unwrap_err().kind, ProviderErrorKind::Unauthorized, "{kind}");
    }
    assert!(KINDS.into_iter().all(|kind| !required_scopes(kind).is_empty()));
}

/// What every provider's answers mean, whichever call it was.
#[tokio::test]
async fn an_answers_status_decides_what_happened() {
    type Case = (fn() -> Reply, ProviderErrorKind);
    let cases: [Case; 10] = [
        (|| refused(401, "{}"), ProviderErrorKind::Unauthorized),
        (|| refused(403, "{}"), ProviderErrorKind::Forbidden),
        (|| refused(404, "{}"), ProviderErrorKind::NotFound),
        (|| refused(400, "{}"), ProviderErrorKind::Rejected { status: 400 }),
        (|| refused(429, "{}"), ProviderErrorKind::RateLimited { retry_after: None }),
        (
            || (429, vec![("retry-after", "17".to_owned())], String::new()),
            ProviderErrorKind::RateLimited { retry_after: Some(Duration::from_secs(17)) },
        ),
        (|| refused(503, "<html>"), ProviderErrorKind::Unavailable),
        (|| ok("<html>"), ProviderErrorKind::Malformed),
        (|| ok("x".repeat(33 * 1024 * 1024)), ProviderErrorKind::Malformed),
        // A token follows nobody elsewhere.
        (
            || (302, vec![("location", "https://example.com/".to_owned())], String::new()),
            ProviderErrorKind::Rejected { status: 302 },
        ),
    ];
    for (answer, kind) in cases {
        let vendor = Vendor::answering(move |_| answer()).await;
        let providers = providers_at(&vendor.url);
        for provider in KINDS {
            let described = describe(providers.get(provider), "t", &["r1"]).await;
            assert_eq!(described.unwrap_err(), kind, "{provider}");
        }
        let asked = vendor.seen().len();
        assert_eq!(asked, KINDS.len(), "one attempt each");
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let providers = providers_at(&url);
    for kind in KINDS {
        let unavailable = describe(providers.get(kind), "t", &["r1"]).await.unwrap_err();
        assert_eq!(unavailable, ProviderErrorKind::Unavailable, "{kind}");
    }
}

#[tokio::test]
async fn an_id_cannot_leave_its_place_in_the_path() {
    let vendor = Vendor::answering(|_| refused(404, "{}")).await;
    let providers = providers_at(&vendor.url);
    let token = AccessToken::new("t");
    let access = Access { environment: SANDBOX, token: &token };
    let location = Some(LocationId::new("r1").unwrap());
    let order = OrderRef { id: ExternalOrderId::new("../a?b/c").unwrap(), location, changed_at: None };
    for kind in [ProviderKind::Square, ProviderKind::Toast] {
        let missing = providers.get(kind).fetch_order(&access, &order).await.unwrap_err();
        assert_eq!(missing.kind, ProviderErrorKind::NotFound);
    }
    let paths: Vec<String> = vendor.seen().into_iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
    assert_eq!(paths, ["GET /v2/orders/..%2Fa%3Fb%2Fc", "GET /orders/v2/orders/..%2Fa%3Fb%2Fc"]);
}
