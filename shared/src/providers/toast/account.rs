//! Logging in, and which restaurants the token is for.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::RESTAURANT;
use crate::domain::{Environment, LocationId, Merchant, MerchantId, ProviderKind};
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{
    Access, Credentials, DescribedLocation, MerchantDescription, PayloadError, PayloadProblem, ProviderError,
    ProviderErrorKind, Renewal,
};

#[derive(Deserialize)]
struct LoginAnswer {
    token: Token,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    access_token: Zeroizing<String>,
    expires_in: Option<i64>,
}

pub(super) async fn login(
    http: &Http,
    environment: Environment,
    credentials: &Credentials,
) -> Result<Credentials, ProviderError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Login<'a> {
        client_id: &'a str,
        client_secret: &'a str,
        user_access_type: &'static str,
    }
    const OPERATION: &str = "refresh_credentials";
    let Renewal::Login { client_id, client_secret } = &credentials.renewal else {
        return Err(http.refuse(OPERATION, ProviderErrorKind::Unauthorized));
    };
    let request = Login { client_id, client_secret, user_access_type: "TOAST_MACHINE_CLIENT" };
    let obtained_at = Timestamp::now();
    let call = http.post(OPERATION, environment, &["authentication", "v1", "authentication", "login"])?;
    let answer: LoginAnswer = call.json(&request).send_for_token().await?;
    let token = answer.token;
    // `expiresIn` may count from when the token was made, which can be a day ago; `exp` is a time.
    let expires_at = expires_at(&token.access_token).or_else(|| {
        let life = SignedDuration::from_secs(token.expires_in?);
        obtained_at.checked_add(life).ok()
    });
    Ok(Credentials { access_token: token.access_token, obtained_at, expires_at, renewal: credentials.renewal.clone() })
}

#[derive(Deserialize)]
struct Restaurant {
    general: General,
    location: Option<Address>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct General {
    name: Option<String>,
    location_name: Option<String>,
    time_zone: String,
    currency_code: Option<String>,
    management_group_guid: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    country: Option<String>,
}

/// The merchant is the restaurants' management group, or the first restaurant where there is no group.
pub(super) async fn describe_merchant(
    http: &Http,
    access: &Access<'_>,
    shops: &[LocationId],
) -> Result<MerchantDescription, ProviderError> {
    const OPERATION: &str = "describe_merchant";
    let mut found: Option<(Option<String>, Merchant)> = None;
    let mut locations = Vec::with_capacity(shops.len());
    for shop in shops {
        let path = ["restaurants", "v1", "restaurants", shop.as_str()];
        let call = http.get(OPERATION, access.environment, &path, &[])?;
        let answer = call.bearer(access.token).header(RESTAURANT, shop.as_str()).send().await?;
        let refuse = |error| http.unreadable(OPERATION, error);
        let restaurant: Restaurant = read_json(&answer.body).map_err(refuse)?;
        let general = &restaurant.general;
        match &found {
            None => {
                let id = general.management_group_guid.as_deref().unwrap_or(shop.as_str());
                let id = MerchantId::new(id).map_err(|_| refuse(invalid("general.managementGroupGuid")))?;
                let name = general.name.clone().unwrap_or_default();
                found = Some((general.management_group_guid.clone(), Merchant { id, name }));
            }
            Some((group, _)) if *group == general.management_group_guid => {}
            Some(_) => return Err(http.refuse(OPERATION, ProviderErrorKind::SeveralMerchants)),
        }
        locations.push(describe_location(shop, restaurant).map_err(refuse)?);
    }
    let (_, merchant) = found.ok_or_else(|| http.refuse(OPERATION, ProviderErrorKind::Unsupported))?;
    Ok(MerchantDescription {
        provider: ProviderKind::Toast,
        merchant,
        locations,
        granted_scopes: scopes(access.token.expose()),
    })
}

fn describe_location(shop: &LocationId, restaurant: Restaurant) -> Result<DescribedLocation, PayloadError> {
    let general = restaurant.general;
    let name = general.location_name.filter(|name| !name.is_empty()).or(general.name);
    // Answers without a currency are of the United States, or not to be guessed at.
    let country = restaurant.location.and_then(|address| address.country);
    let currency = match (general.currency_code.as_deref(), country.as_deref()) {
        (Some(code), _) => code,
        (None, Some("US")) => "USD",
        (None, _) => return Err(PayloadError::new("general.currencyCode", PayloadProblem::Missing)),
    };
    Ok(DescribedLocation {
        id: shop.clone(),
        name: name.unwrap_or_else(|| shop.to_string()),
        time_zone: general.time_zone.parse().map_err(|_| invalid("general.timeZone"))?,
        currency: currency.parse().map_err(|_| invalid("general.currencyCode"))?,
    })
}

fn invalid(path: &str) -> PayloadError {
    PayloadError::new(path, PayloadProblem::Invalid)
}

/// What a token says about itself. Toast's word, not proof: nothing is allowed because of it.
#[derive(Default, Deserialize)]
struct Claims {
    exp: Option<i64>,
    scope: Option<String>,
}

/// The token is a JWT; one that cannot be read says nothing.
fn claims(token: &str) -> Claims {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    claims.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

fn expires_at(token: &str) -> Option<Timestamp> {
    Timestamp::from_second(claims(token).exp?).ok()
}

fn scopes(token: &str) -> Option<BTreeSet<String>> {
    Some(claims(token).scope?.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_end_and_its_scopes_or_nothing() {
        // {"exp":1771056000,"scope":"orders:read menus:read"}
        let token = "e30.eyJleHAiOjE3NzEwNTYwMDAsInNjb3BlIjoib3JkZXJzOnJlYWQgbWVudXM6cmVhZCJ9.c2ln";
        assert_eq!(expires_at(token), Some("2026-02-14T08:00:00Z".parse().unwrap()));
        assert_eq!(scopes(token), Some(["menus:read", "orders:read"].map(str::to_owned).into()));
        for token in ["", "example.jwt.token", "e30.e30.c2ln", "opaque"] {
            assert_eq!((expires_at(token), scopes(token)), (None, None), "{token}");
        }
    }
}
