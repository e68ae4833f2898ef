//! How a business lets the application in.
//!
//! Access tokens live for an hour. A refresh token is good for one refresh and
//! for 14 days: who loses the answer has lost the business.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{ApiError, read_query};
use super::{Lightspeed, World};
use crate::clock::later;
use crate::consent::Consent;
use crate::provider::Access;
use crate::square::{Grant, Subscription};
use crate::{Client, Refused};

const LIFETIME: SignedDuration = SignedDuration::from_secs(3599);
const REFRESH_LIFETIME: SignedDuration = SignedDuration::from_hours(14 * 24);
const CODE_LIFETIME: SignedDuration = SignedDuration::from_mins(5);
const SCOPES: [&str; 3] = ["financial-api", "items", "orders-api"];

impl Access for Lightspeed {
    fn grant(&self, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused> {
        let merchant_id = self.businesses.merchant(merchant_id)?.id.clone();
        let scopes = if scopes.is_empty() { &SCOPES } else { scopes };
        Ok(self.hand_out(&mut self.world(), Consent::new(&merchant_id, scopes.iter().copied())))
    }

    /// The business disconnects the application; it is not told.
    fn revoke(&self, merchant_id: &str) -> Result<(), Refused> {
        let merchant_id = self.businesses.merchant(Some(merchant_id))?.id.clone();
        self.world().own.grants.revoke(&merchant_id);
        Ok(())
    }

    fn expire_tokens(&self) {
        self.world().own.grants.expire_access(self.clock.now());
    }

    fn subscribe(&self, notification_url: &str) -> Subscription {
        self.register(notification_url)
    }
}

impl Lightspeed {
    /// The application as it is registered for this environment.
    pub fn client(&self) -> Client {
        let mut draws = self.seed.draws("lightspeed/application");
        Client { id: format!("devp-v2-{}", draws.letters(24)), secret: draws.secret(40) }
    }

    fn hand_out(&self, world: &mut World, consent: Consent) -> Grant {
        let now = self.clock.now();
        let access_token = world.own.grants.token(self.seed, "ls-at-", 60);
        let refresh_token = world.own.grants.token(self.seed, "ls-rt-", 60);
        let until = later(now, LIFETIME);
        let merchant_id = consent.merchant_id.clone();
        world.own.grants.access.insert(access_token.clone(), Consent { until, ..consent.clone() });
        let refreshable = Consent { until: later(now, REFRESH_LIFETIME), ..consent };
        world.own.grants.refresh.insert(refresh_token.clone(), refreshable);
        Grant { merchant_id, access_token, refresh_token, expires_at: until.to_string() }
    }

    /// The business a token stands for.
    pub(super) fn admit_token(&self, token: &str, scope: &str) -> Result<String, ApiError> {
        let world = self.world();
        let consent = world.own.grants.access.get(token).filter(|consent| consent.holds(self.clock.now()));
        let consent = consent.ok_or_else(ApiError::unauthorized)?;
        if !consent.covers(scope) || self.door.faults.refuses(scope) {
            return Err(ApiError::forbidden(scope));
        }
        Ok(consent.merchant_id.clone())
    }

    /// Name and secret come as Basic authentication or as fields of the form.
    fn is_ours(&self, headers: &HeaderMap, form: &BTreeMap<String, String>) -> bool {
        let Client { id, secret } = self.client();
        let basic = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match basic {
            Some(basic) => basic == format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))),
            None => form.get("client_id") == Some(&id) && form.get("client_secret") == Some(&secret),
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct AuthorizeQuery {
    response_type: String,
    client_id: String,
    redirect_uri: Option<String>,
    scope: Option<String>,
    state: Option<String>,
    /// Not Lightspeed's: whose owner is sitting in front of the browser.
    merchant_id: Option<String>,
}

pub async fn authorize(State(lightspeed): State<Arc<Lightspeed>>, uri: Uri) -> Result<Response, ApiError> {
    let query: AuthorizeQuery = read_query(&uri)?;
    let refuse = |error, description| Err(ApiError::oauth(StatusCode::BAD_REQUEST, error, description));
    if query.client_id != lightspeed.client().id {
        return Err(ApiError::oauth(StatusCode::UNAUTHORIZED, "invalid_client", "No client has this client_id"));
    }
    if query.response_type != "code" {
        return refuse("unsupported_response_type", "response_type must be code");
    }
    let Some((redirect_uri, mut target)) =
        query.redirect_uri.and_then(|uri| reqwest::Url::parse(&uri).ok().map(|url| (uri, url)))
    else {
        return refuse("invalid_request", "redirect_uri is missing or no URL");
    };
    let Ok(merchant) = lightspeed.businesses.merchant(query.merchant_id.as_deref()) else {
        return refuse("invalid_request", "there is no such business");
    };
    let scope = query.scope.unwrap_or_default();
    if scope.split_whitespace().any(|scope| lightspeed.door.faults.refuses(scope)) || scope.is_empty() {
        return refuse("invalid_scope", "the client may not ask for this scope");
    }
    let mut world = lightspeed.world();
    let code = world.own.grants.token(lightspeed.seed, "ls-code-", 32);
    let consent = Consent {
        redirect_uri: Some(redirect_uri),
        until: later(lightspeed.clock.now(), CODE_LIFETIME),
        ..Consent::new(&merchant.id, scope.split_whitespace())
    };
    world.own.grants.codes.insert(code.clone(), consent);
    target.query_pairs_mut().append_pair("code", &code);
    if let Some(state) = query.state {
        target.query_pairs_mut().append_pair("state", &state);
    }
    Ok((StatusCode::FOUND, [(header::LOCATION, target.to_string())]).into_response())
}

/// A form is the query of a URL without one.
fn read_form(body: &Bytes) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let url = reqwest::Url::parse(&format!("form:///?{text}"));
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

pub async fn token(
    State(lightspeed): State<Arc<Lightspeed>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let form = read_form(&body);
    if !lightspeed.is_ours(&headers, &form) {
        let description = "Client id and secret do not belong together";
        return Err(ApiError::oauth(StatusCode::UNAUTHORIZED, "invalid_client", description));
    }
    let now = lightspeed.clock.now();
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    let mut world = lightspeed.world();
    let consent = match field("grant_type").as_str() {
        "authorization_code" => {
            let consent = world.own.grants.codes.remove(&field("code")).filter(|consent| consent.holds(now));
            let consent = consent.ok_or_else(|| ApiError::invalid_grant("The code is unknown, used or expired"))?;
            if consent.redirect_uri != form.get("redirect_uri").cloned() {
                return Err(ApiError::invalid_grant("redirect_uri is not the one the code was given for"));
            }
            consent
        }
        "refresh_token" => {
            // Taken out whatever happens next: single use means single use.
            let consent = world.own.grants.refresh.remove(&field("refresh_token")).filter(|consent| consent.holds(now));
            consent.ok_or_else(|| ApiError::invalid_grant("The refresh token is unknown, used, expired or revoked"))?
        }
        _ => return Err(ApiError::oauth(StatusCode::BAD_REQUEST, "unsupported_grant_type", "")),
    };
    let scope = consent.scopes.join(" ");
    let grant = lightspeed.hand_out(&mut world, Consent { redirect_uri: None, ..consent });
    Ok(Json(json!({
        "access_token": grant.access_token,
        "token_type": "bearer",
        "refresh_token": grant.refresh_token,
        "expires_in": LIFETIME.as_secs(),
        "scope": scope,
    })))
}
