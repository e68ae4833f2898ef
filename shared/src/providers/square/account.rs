//! The merchant's consent, its tokens, and what they reach.

use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::client::VERSION;
use super::wire;
use crate::domain::{Environment, LocationId, Merchant, MerchantId, ProviderKind};
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{
    Access, Application, Credentials, DescribedLocation, MerchantDescription, PayloadError, PayloadProblem,
    ProviderError, ProviderErrorKind, Renewal, Revocation,
};

#[derive(Serialize)]
struct TokenRequest<'a> {
    client_id: &'a str,
    client_secret: &'a str,
    grant_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

impl<'a> TokenRequest<'a> {
    fn new(application: &'a Application, grant_type: &'static str) -> Self {
        Self {
            client_id: &application.application_id,
            client_secret: &application.application_secret,
            grant_type,
            code: None,
            redirect_uri: None,
            refresh_token: None,
        }
    }

    async fn send(
        &self,
        http: &Http,
        operation: &'static str,
        environment: Environment,
    ) -> Result<Credentials, ProviderError> {
        let obtained_at = Timestamp::now();
        let call = http.post(operation, environment, &["oauth2", "token"])?;
        let answer: wire::TokenAnswer = call.header("square-version", VERSION).json(self).send_for_token().await?;
        // The code flow's refresh token never ends and comes back the same (api.json, ObtainTokenResponse).
        let given = answer.refresh_token.map(|token| Renewal::RefreshToken { refresh_token: token, single_use: false });
        let kept = || {
            let refresh_token = Zeroizing::new(self.refresh_token?.to_owned());
            Some(Renewal::RefreshToken { refresh_token, single_use: false })
        };
        Ok(Credentials {
            access_token: answer.access_token,
            obtained_at,
            expires_at: answer.expires_at,
            renewal: given.or_else(kept).unwrap_or(Renewal::Never),
        })
    }
}

pub(super) async fn exchange_code(
    http: &Http,
    application: &Application,
    environment: Environment,
    code: &str,
    redirect_uri: &str,
) -> Result<Credentials, ProviderError> {
    let request = TokenRequest {
        code: Some(code),
        redirect_uri: Some(redirect_uri),
        ..TokenRequest::new(application, "authorization_code")
    };
    request.send(http, "exchange_code", environment).await
}

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
    let request =
        TokenRequest { refresh_token: Some(refresh_token), ..TokenRequest::new(application, "refresh_token") };
    request.send(http, OPERATION, environment).await
}

/// Ends every token that this seller gave our application, the refresh token included: that is what a person who
/// disconnects means, and a merchant is connected once at most. (`revoke_only_access_token` would leave the refresh
/// token alive.)
pub(super) async fn revoke_credentials(
    http: &Http,
    application: &Application,
    environment: Environment,
    credentials: &Credentials,
) -> Result<Revocation, ProviderError> {
    #[derive(Serialize)]
    struct Revoke<'a> {
        client_id: &'a str,
        access_token: &'a str,
    }
    let request = Revoke { client_id: &application.application_id, access_token: &credentials.access_token };
    let call = http.post("revoke_credentials", environment, &["oauth2", "revoke"])?;
    let authorization = format!("Client {}", application.application_secret.as_str());
    let call = call.header("authorization", &authorization).header("square-version", VERSION);
    match call.json(&request).send_for_token::<serde::de::IgnoredAny>().await {
        // Nobody has such a token any more, which is what was wanted.
        Ok(_) | Err(ProviderError { kind: ProviderErrorKind::NotFound, .. }) => Ok(Revocation::Revoked),
        Err(error) => Err(error),
    }
}

pub(super) async fn describe_merchant(http: &Http, access: &Access<'_>) -> Result<MerchantDescription, ProviderError> {
    const OPERATION: &str = "describe_merchant";
    let refuse = |error| http.unreadable(OPERATION, error);
    let read = |path: &'static [&'static str]| async move {
        let call = http.get(OPERATION, access.environment, path, &[])?;
        call.bearer(access.token).header("square-version", VERSION).send().await
    };
    let merchants = read(&["v2", "merchants"]).await?;
    let merchants: wire::MerchantsAnswer = read_json(&merchants.body).map_err(refuse)?;
    // A token belongs to one merchant, so the list has one.
    let merchant = merchants.merchant.into_iter().next().ok_or_else(|| refuse(invalid("merchant")))?;
    let locations = read(&["v2", "locations"]).await?;
    let locations: wire::LocationsAnswer = read_json(&locations.body).map_err(refuse)?;
    Ok(MerchantDescription {
        provider: ProviderKind::Square,
        merchant: Merchant {
            id: MerchantId::new(merchant.id).map_err(|_| refuse(invalid("merchant.id")))?,
            name: merchant.business_name.unwrap_or_default(),
        },
        locations: locations.locations.into_iter().map(describe_location).collect::<Result<_, _>>().map_err(refuse)?,
        granted_scopes: granted_scopes(http, access).await?,
    })
}

/// A token that was not given by OAuth has no status to be read. It has just read the merchant, so it works.
async fn granted_scopes(
    http: &Http,
    access: &Access<'_>,
) -> Result<Option<std::collections::BTreeSet<String>>, ProviderError> {
    let call = http.post("describe_merchant", access.environment, &["oauth2", "token", "status"])?;
    let call = call.bearer(access.token).header("square-version", VERSION);
    match call.send_for_token::<wire::TokenStatusAnswer>().await {
        Ok(status) => Ok(Some(status.scopes)),
        Err(error) => match error.kind {
            ProviderErrorKind::Unauthorized
            | ProviderErrorKind::Forbidden
            | ProviderErrorKind::NotFound
            | ProviderErrorKind::Rejected { .. } => Ok(None),
            ProviderErrorKind::RateLimited { .. }
            | ProviderErrorKind::Unavailable
            | ProviderErrorKind::Malformed
            | ProviderErrorKind::CursorExpired
            | ProviderErrorKind::SeveralMerchants
            | ProviderErrorKind::Unsupported => Err(error),
        },
    }
}

fn describe_location(location: wire::Location) -> Result<DescribedLocation, PayloadError> {
    let name = location.name.unwrap_or_else(|| location.id.clone());
    let zone = location.timezone.as_deref().unwrap_or_default();
    let currency = location.currency.as_deref().unwrap_or_default();
    Ok(DescribedLocation {
        id: LocationId::new(location.id).map_err(|_| invalid("locations.id"))?,
        name,
        time_zone: zone.parse().map_err(|_| invalid("locations.timezone"))?,
        currency: currency.parse().map_err(|_| invalid("locations.currency"))?,
    })
}

fn invalid(path: &str) -> PayloadError {
    PayloadError::new(path, PayloadProblem::Invalid)
}
