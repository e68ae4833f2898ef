//! How a seller lets the application in.
//!
//! The code flow of a confidential application: the seller agrees by himself,
//! access tokens live for 30 days, and the refresh token stays the same.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{ApiError, bearer, read_json, read_query};
use super::{Own, Square, Subscription, World};
use crate::Refused;
use crate::clock::{later, rfc3339};
use crate::consent::Consent;
use crate::provider::Access;

const LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
const SHORT_LIFETIME: SignedDuration = SignedDuration::from_hours(24);
const CODE_LIFETIME: SignedDuration = SignedDuration::from_mins(5);
const READ_SCOPES: [&str; 5] =
    ["ITEMS_READ", "INVENTORY_READ", "MERCHANT_PROFILE_READ", "ORDERS_READ", "PAYMENTS_READ"];

/// The application as it is registered in the developer console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// OAuth `client_id`.
    pub id: String,
    /// OAuth `client_secret`.
    pub secret: String,
    /// The application's own token; webhook subscriptions are made with it.
    pub access_token: String,
}

/// A merchant's consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who agreed.
    pub merchant_id: String,
    /// Bearer token for 30 days.
    pub access_token: String,
    /// Gives new access tokens, again and again.
    pub refresh_token: String,
    /// RFC 3339.
    pub expires_at: String,
}

impl Access for Square {
    fn grant(&self, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused> {
        let merchant_id = self.merchant(merchant_id)?.id.clone();
        let scopes = if scopes.is_empty() { &READ_SCOPES } else { scopes };
        let mut world = self.world();
        let consent = Consent::new(&merchant_id, scopes.iter().copied());
        let refresh_token = world.own.grants.token(self.seed, "EQAA", 60);
        Ok(self.hand_out(&mut world, consent, refresh_token, LIFETIME))
    }

    fn revoke(&self, merchant_id: &str) -> Result<(), Refused> {
        self.end_consent(merchant_id, "MERCHANT")
    }

    fn expire_tokens(&self) {
        self.world().own.grants.expire_access(self.clock.now());
    }

    fn subscribe(&self, notification_url: &str) -> Subscription {
        self.subscribe_to_sales(notification_url)
    }
}

impl Square {
    pub fn application(&self) -> Application {
        let mut draws = self.seed.draws("application");
        Application {
            id: format!("sandbox-sq0idb-{}", draws.letters(22)),
            secret: format!("sandbox-sq0csb-{}", draws.secret(43)),
            access_token: format!("EAAA{}", draws.secret(60)),
        }
    }

    /// A new access token next to the ones there are.
    fn hand_out(&self, world: &mut World, consent: Consent, refresh_token: String, lifetime: SignedDuration) -> Grant {
        let access_token = world.own.grants.token(self.seed, "EAAA", 60);
        let until = later(self.clock.now(), lifetime);
        let grant = Grant {
            merchant_id: consent.merchant_id.clone(),
            access_token: access_token.clone(),
            refresh_token: refresh_token.clone(),
            expires_at: until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        world.own.grants.access.insert(access_token, Consent { until, ..consent.clone() });
        world.own.grants.refresh.insert(refresh_token, Consent { until: Timestamp::MAX, ..consent });
        grant
    }

    /// Ends all tokens of a seller and tells the application.
    pub(super) fn end_consent(&self, merchant_id: &str, revoker: &str) -> Result<(), Refused> {
        let merchant_id = self.merchant(Some(merchant_id))?.id.clone();
        let mut world = self.world();
        world.own.grants.revoke(&merchant_id);
        self.announce_revocation(&mut world, &merchant_id, revoker);
        Ok(())
    }

    /// The merchant a token stands for, if it may be used for this.
    pub fn admit_token(&self, token: &str, scope: &str) -> Result<String, ApiError> {
        let world = self.world();
        let consent = world
            .own
            .grants
            .access
            .get(token)
            .ok_or_else(|| ApiError::unauthorized("This request could not be authorized."))?;
        if consent.revoked {
            return Err(ApiError::token("ACCESS_TOKEN_REVOKED", "The access token was revoked."));
        }
        if consent.until <= self.clock.now() {
            return Err(ApiError::token("ACCESS_TOKEN_EXPIRED", "The access token expired."));
        }
        if !consent.covers(scope) || self.door.faults.refuses(scope) {
            let detail = "The merchant has not given your application sufficient permissions to do that.";
            return Err(ApiError::forbidden("INSUFFICIENT_SCOPES", detail));
        }
        Ok(consent.merchant_id.clone())
    }
}

impl Own {
    /// Whether a seller's events with this scope may be sent; `""` needs none.
    pub(super) fn allows(&self, merchant_id: &str, scope: &str) -> bool {
        scope.is_empty()
            || self
                .grants
                .refresh
                .values()
                .any(|consent| !consent.revoked && consent.merchant_id == merchant_id && consent.covers(scope))
    }
}

#[derive(Debug, Deserialize)]
pub struct AuthorizeQuery {
    client_id: String,
    redirect_uri: Option<String>,
    scope: Option<String>,
    state: Option<String>,
    /// Not Square's: which seller is sitting in front of the browser.
    merchant_id: Option<String>,
}

pub async fn authorize(State(square): State<Arc<Square>>, uri: Uri) -> Result<Response, ApiError> {
    let query: AuthorizeQuery = read_query(&uri)?;
    if query.client_id != square.application().id {
        return Err(ApiError::unauthorized("No application has this client_id.").field("client_id"));
    }
    let Some(redirect_uri) = query.redirect_uri else {
        return Err(ApiError::bad_request("The simulator needs a redirect_uri.").field("redirect_uri"));
    };
    let mut target = reqwest::Url::parse(&redirect_uri)
        .map_err(|error| ApiError::bad_request(format!("redirect_uri is no URL: {error}")).field("redirect_uri"))?;
    let merchant =
        square.merchant(query.merchant_id.as_deref()).map_err(|refused| ApiError::bad_request(refused.to_string()))?;
    let scope = query.scope.unwrap_or_default();
    let mut world = square.world();
    let code = world.own.grants.token(square.seed, "sq0cgb-", 22);
    let consent = Consent {
        redirect_uri: Some(redirect_uri),
        until: later(square.clock.now(), CODE_LIFETIME),
        ..Consent::new(&merchant.id, scope.split_whitespace())
    };
    world.own.grants.codes.insert(code.clone(), consent);
    target.query_pairs_mut().append_pair("code", &code).append_pair("response_type", "code");
    if let Some(state) = query.state {
        target.query_pairs_mut().append_pair("state", &state);
    }
    Ok((StatusCode::FOUND, [(header::LOCATION, target.to_string())]).into_response())
}

#[derive(Debug, Deserialize)]
pub struct TokenRequest {
    client_id: String,
    client_secret: Option<String>,
    grant_type: String,
    code: Option<String>,
    redirect_uri: Option<String>,
    refresh_token: Option<String>,
    #[serde(default)]
    short_lived: bool,
}

pub async fn token(State(square): State<Arc<Square>>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: TokenRequest = read_json(&body)?;
    let application = square.application();
    if request.client_id != application.id || request.client_secret != Some(application.secret) {
        return Err(ApiError::unauthorized("The application id and secret do not belong together."));
    }
    let mut world = square.world();
    let (consent, refresh_token) = match request.grant_type.as_str() {
        "authorization_code" => {
            let code = request.code.ok_or_else(|| ApiError::bad_request("code is missing").field("code"))?;
            let now = square.clock.now();
            let consent = world
                .own
                .grants
                .codes
                .remove(&code)
                .filter(|consent| consent.holds(now))
                .ok_or_else(|| ApiError::unauthorized("The authorization code is unknown, used or expired."))?;
            if request.redirect_uri.is_some() && request.redirect_uri != consent.redirect_uri {
                return Err(ApiError::unauthorized("redirect_uri is not the one the code was given for."));
            }
            let refresh_token = world.own.grants.token(square.seed, "EQAA", 60);
            (consent, refresh_token)
        }
        "refresh_token" => {
            let missing = || ApiError::bad_request("refresh_token is missing").field("refresh_token");
            let refresh_token = request.refresh_token.ok_or_else(missing)?;
            let consent = world.own.grants.refresh.get(&refresh_token).filter(|consent| !consent.revoked).cloned();
            let consent = consent.ok_or_else(|| ApiError::unauthorized("The refresh token is unknown or revoked."))?;
            (consent, refresh_token)
        }
        other => {
            let detail = format!("The simulator does not know the grant_type `{other}`.");
            return Err(ApiError::bad_request(detail).field("grant_type"));
        }
    };
    let lifetime = if request.short_lived { SHORT_LIFETIME } else { LIFETIME };
    let grant = square.hand_out(&mut world, consent, refresh_token, lifetime);
    Ok(Json(json!({
        "access_token": grant.access_token,
        "token_type": "bearer",
        "expires_at": grant.expires_at,
        "merchant_id": grant.merchant_id,
        "refresh_token": grant.refresh_token,
        "short_lived": request.short_lived,
    })))
}

#[derive(Debug, Deserialize)]
pub struct RevokeRequest {
    client_id: Option<String>,
    access_token: Option<String>,
    merchant_id: Option<String>,
}

pub async fn revoke(
    State(square): State<Arc<Square>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let application = square.application();
    let secret = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Client "));
    if secret != Some(application.secret.as_str()) {
        return Err(ApiError::unauthorized("The header must be `Authorization: Client APPLICATION_SECRET`."));
    }
    let request: RevokeRequest = read_json(&body)?;
    if request.client_id.is_some_and(|id| id != application.id) {
        return Err(ApiError::unauthorized("No application has this client_id.").field("client_id"));
    }
    let named_by_token = request
        .access_token
        .as_ref()
        .and_then(|token| square.world().own.grants.access.get(token).map(|consent| consent.merchant_id.clone()));
    let merchant_id = request.merchant_id.or(named_by_token);
    let merchant_id = merchant_id.ok_or_else(|| ApiError::not_found("There is no such access token."))?;
    square.end_consent(&merchant_id, "APPLICATION").map_err(|refused| ApiError::not_found(refused.to_string()))?;
    Ok(Json(json!({"success": true})))
}

pub async fn status(State(square): State<Arc<Square>>, headers: HeaderMap) -> Result<Json<Value>, ApiError> {
    let world = square.world();
    let consent = bearer(&headers)
        .and_then(|token| world.own.grants.access.get(token))
        .filter(|consent| consent.holds(square.clock.now()))
        .ok_or_else(|| ApiError::unauthorized("This request could not be authorized."))?;
    Ok(Json(json!({
        "scopes": consent.scopes,
        "expires_at": rfc3339(consent.until),
        "client_id": square.application().id,
        "merchant_id": consent.merchant_id,
    })))
}
