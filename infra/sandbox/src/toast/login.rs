//! Client id and secret for a token.
//!
//! There is no refresh: who asks again gets the same token until its last
//! minute, and who asks often is told off.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{ApiError, read_json};
use super::{Toast, World};
use crate::clock::later;
use crate::consent::Consent;
use crate::provider::Access;
use crate::square::{Grant, Subscription};
use crate::{Client, Refused};

const LIFETIME: SignedDuration = SignedDuration::from_hours(24);
const LAST_MINUTE: SignedDuration = SignedDuration::from_secs(60);
/// What a partner or a custom integration may ask for.
const SCOPES: [&str; 8] = [
    "config:read",
    "guest.pi:read",
    "menus:read",
    "orders:read",
    "restaurants:read",
    "stock:read",
    "stock:write",
    "cashmgmt:read",
];

impl Access for Toast {
    /// The group's credentials are good (again); answers with its token, as a login does.
    fn grant(&self, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused> {
        let merchant_id = self.businesses.merchant(merchant_id)?.id.clone();
        let mut world = self.world();
        world.own.closed.remove(&merchant_id);
        let scopes = if scopes.is_empty() { &SCOPES } else { scopes };
        let (access_token, until) = self.token(&mut world, Consent::new(&merchant_id, scopes.iter().copied()));
        Ok(Grant { merchant_id, access_token, refresh_token: String::new(), expires_at: until.to_string() })
    }

    /// The group deletes its credentials.
    fn revoke(&self, merchant_id: &str) -> Result<(), Refused> {
        let merchant_id = self.businesses.merchant(Some(merchant_id))?.id.clone();
        let mut world = self.world();
        world.own.tokens.revoke(&merchant_id);
        world.own.closed.insert(merchant_id);
        Ok(())
    }

    fn expire_tokens(&self) {
        self.world().own.tokens.expire_access(self.clock.now());
    }

    fn subscribe(&self, notification_url: &str) -> Subscription {
        self.register("order_updated", notification_url)
    }
}

impl Toast {
    /// The credentials a restaurant group has handed out.
    pub fn client(&self, merchant_id: Option<&str>) -> Result<Client, Refused> {
        let merchant = self.businesses.merchant(merchant_id)?;
        let mut draws = self.seed.draws(&format!("toast/client/{}", merchant.id));
        Ok(Client { id: draws.letters(32), secret: draws.secret(64) })
    }

    /// The token in force if it is not in its last minute, else a new one.
    fn token(&self, world: &mut World, consent: Consent) -> (String, Timestamp) {
        let now = self.clock.now();
        let good = later(now, LAST_MINUTE);
        let known = world.own.tokens.access.iter().find(|(_, known)| {
            known.merchant_id == consent.merchant_id && known.scopes == consent.scopes && known.holds(good)
        });
        if let Some((token, known)) = known {
            return (token.clone(), known.until);
        }
        let until = later(now, LIFETIME);
        let claims = json!({
            "iss": "https://toast-sandbox.invalid/",
            "sub": consent.merchant_id,
            "iat": now.as_second(),
            "exp": until.as_second(),
            "scope": consent.scopes.join(" "),
        });
        let parts =
            [json!({"alg": "RS256", "typ": "JWT"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signature = world.own.tokens.token(self.seed, "toast-", 80);
        let token = format!("{}.{signature}", parts.join("."));
        world.own.tokens.access.insert(token.clone(), Consent { until, ..consent });
        (token, until)
    }

    /// The group a token stands for.
    pub(super) fn admit_token(&self, token: &str, scope: &str) -> Result<String, ApiError> {
        let world = self.world();
        let consent = world.own.tokens.access.get(token).filter(|consent| consent.holds(self.clock.now()));
        let consent = consent.ok_or_else(ApiError::unauthorized)?;
        if !scope.is_empty() && (!consent.covers(scope) || self.door.faults.refuses(scope)) {
            return Err(ApiError::forbidden(format!("The client does not have the scope {scope}")));
        }
        Ok(consent.merchant_id.clone())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginRequest {
    client_id: String,
    client_secret: String,
    user_access_type: String,
}

pub async fn login(State(toast): State<Arc<Toast>>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: LoginRequest = read_json(&body)?;
    if request.user_access_type != "TOAST_MACHINE_CLIENT" {
        return Err(ApiError::bad_request("userAccessType must be TOAST_MACHINE_CLIENT"));
    }
    let mut groups = toast.businesses.all.iter().map(|business| &business.merchant.id);
    let group = groups.find(|group| {
        toast.client(Some(group)).is_ok_and(|client| {
            (client.id, client.secret) == (request.client_id.clone(), request.client_secret.clone())
        })
    });
    let mut world = toast.world();
    let group = group.filter(|group| !world.own.closed.contains(*group)).ok_or_else(ApiError::unauthorized)?;
    let now = toast.clock.now();
    let logins = world.own.logins.entry(group.clone()).or_default();
    logins.retain(|login| *login > later(now, SignedDuration::from_hours(-1)));
    if toast.door.faults.get().limit_logins && logins.len() >= 2 {
        let free = logins.first().map_or(now, |first| later(*first, SignedDuration::from_hours(1)));
        return Err(ApiError::too_many("ENDPOINT", now, free));
    }
    logins.push(now);
    let (token, until) = toast.token(&mut world, Consent::new(group, SCOPES));
    Ok(Json(json!({
        "@class": ".SuccessfulResponse",
        "token": {
            "tokenType": "Bearer",
            "scope": null,
            "expiresIn": until.duration_since(now).as_secs(),
            "accessToken": token,
            "idToken": null,
            "refreshToken": null,
        },
        "status": "SUCCESS",
    })))
}
