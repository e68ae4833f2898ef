//! The merchant's consent, its tokens, and what they reach.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::domain::{Currency, Environment, LocationId, Merchant, MerchantId, ProviderKind};
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{
    Access, Application, Credentials, DescribedLocation, MerchantDescription, PayloadError, PayloadProblem,
    ProviderError, ProviderErrorKind, Renewal,
};

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Zeroizing<String>,
    refresh_token: Option<Zeroizing<String>>,
    expires_in: Option<i64>,
}

pub(super) async fn exchange_code(
    http: &Http,
    application: &Application,
    environment: Environment,
    code: &str,
    redirect_uri: &str,
) -> Result<Credentials, ProviderError> {
    let fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri)];
    request_token(http, "exchange_code", application, environment, &fields).await
}

/// The old refresh token is spent by this, whether or not the answer arrives.
pub(super) async fn refresh_credentials(
    http: &Http,
    application: &Application,
    environment: Environment,
    credentials: &Credentials,
) -> Result<Credentials, ProviderError> {
    const OPERATION: &str = "refresh_credentials";
    let Renewal::RefreshToken { refresh_token, .. } = &credentials.renewal else {
        return Err(http.refuse(OPERATION, ProviderErrorKind::Unauthorized));
    };
    let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
    request_token(http, OPERATION, application, environment, &fields).await
}

/// The client proves itself by HTTP Basic authentication, which every server of OAuth must take (RFC 6749, 2.3.1);
/// Lightspeed's public pages do not say which way it wants.
async fn request_token(
    http: &Http,
    operation: &'static str,
    application: &Application,
    environment: Environment,
    fields: &[(&str, &str)],
) -> Result<Credentials, ProviderError> {
    let obtained_at = Timestamp::now();
    let call = http.post(operation, environment, &["oauth", "token"])?;
    let call = call.basic(&application.application_id, &application.application_secret).form(fields);
    let answer: TokenAnswer = call.send_for_token().await?;
    let life = answer.expires_in.map(SignedDuration::from_secs);
    Ok(Credentials {
        access_token: answer.access_token,
        obtained_at,
        expires_at: life.and_then(|life| obtained_at.checked_add(life).ok()),
        renewal: match answer.refresh_token {
            Some(refresh_token) => Renewal::RefreshToken { refresh_token, single_use: true },
            None => Renewal::Never,
        },
    })
}

/// As the page of a list or as the bare list: which one comes is not published.
#[derive(Deserialize)]
struct Page {
    #[serde(rename = "_embedded")]
    embedded: Embedded,
}

#[derive(Deserialize)]
struct Embedded {
    #[serde(rename = "businessList", default)]
    businesses: Vec<Business>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Business {
    business_name: Option<String>,
    business_id: i64,
    currency_code: String,
    #[serde(default)]
    business_locations: Vec<BusinessLocation>,
}

#[derive(Deserialize)]
struct BusinessLocation {
    #[serde(rename = "blName")]
    name: Option<String>,
    #[serde(rename = "blID", alias = "blId")]
    id: i64,
    timezone: String,
}

fn read_businesses(body: &[u8]) -> Result<Vec<Business>, PayloadError> {
    match body.trim_ascii_start().first() {
        Some(b'[') => read_json(body),
        _ => read_json::<Page>(body).map(|page| page.embedded.businesses),
    }
}

/// A person may own several businesses, and a token reaches what its person reaches. One connection is one merchant,
/// so such a person must consent with a login that sees one business only: taking the first would lose the others'
/// sales without a word.
///
/// What the token may do stands in the answer to its request alone, so it is not known here.
pub(super) async fn describe_merchant(http: &Http, access: &Access<'_>) -> Result<MerchantDescription, ProviderError> {
    const OPERATION: &str = "describe_merchant";
    let refuse = |error| http.unreadable(OPERATION, error);
    let query = [("page", "0"), ("size", "100")];
    let call = http.get(OPERATION, access.environment, &["f", "data", "businesses"], &query)?;
    let answer = call.bearer(access.token).send().await?;
    let mut businesses = read_businesses(&answer.body).map_err(refuse)?.into_iter();
    let business = match (businesses.next(), businesses.next()) {
        (Some(only), None) => only,
        (Some(_), Some(_)) => return Err(http.refuse(OPERATION, ProviderErrorKind::SeveralMerchants)),
        (None, _) => return Err(http.refuse(OPERATION, ProviderErrorKind::Forbidden)),
    };
    let currency: Currency = business.currency_code.parse().map_err(|_| refuse(invalid("currencyCode")))?;
    let locations = business.business_locations.into_iter().map(|location| describe_location(location, currency));
    Ok(MerchantDescription {
        provider: ProviderKind::Lightspeed,
        merchant: Merchant {
            id: MerchantId::new(business.business_id.to_string()).map_err(|_| refuse(invalid("businessId")))?,
            name: business.business_name.unwrap_or_default(),
        },
        locations: locations.collect::<Result<_, _>>().map_err(refuse)?,
        granted_scopes: None,
    })
}

fn describe_location(location: BusinessLocation, currency: Currency) -> Result<DescribedLocation, PayloadError> {
    let id = location.id.to_string();
    Ok(DescribedLocation {
        name: location.name.unwrap_or_else(|| id.clone()),
        id: LocationId::new(id).map_err(|_| invalid("blID"))?,
        time_zone: location.timezone.parse().map_err(|_| invalid("timezone"))?,
        currency,
    })
}

fn invalid(field: &str) -> PayloadError {
    PayloadError::new(format!("businesses.{field}"), PayloadProblem::Invalid)
}
