//! A new configuration: everything is checked before anything is written.

use jiff::Timestamp;
use serde::Deserialize;
use shared::domain::{
    Configuration, ConfigurationId, ConfigurationStatus, DayStart, Environment, Location, ProviderKind, TenantScope,
    UnknownProvider,
};
use shared::problem::{FieldError, Problem};
use shared::providers::{Access, AccessToken, Credentials, ProviderError, ProviderErrorKind, Renewal};
use shared::rest::unavailable;
use shared::store::configurations::CreateError;
use shared::vault::SealContext;
use zeroize::Zeroizing;

use crate::App;

/// What a caller sends. Shops are not typed in: the provider knows their zones and currencies.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    provider: String,
    environment: Environment,
    name: String,
    /// When the accounting day of the shops starts, `HH:MM` local time; 04:00 if absent.
    day_start: Option<String>,
    credentials: CredentialsInput,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialsInput {
    access_token: Zeroizing<String>,
    refresh_token: Option<Zeroizing<String>>,
    expires_at: Option<Timestamp>,
}

const MAX_NAME: usize = 100;
const MAX_TOKEN: usize = 4096;

/// Checks the input, asks the provider whose token it is, seals the token, stores the rest.
pub async fn create(app: &App, scope: &TenantScope, input: Input) -> Result<Configuration, Problem> {
    let (provider, day_start) = check(&input)?;
    let token = AccessToken::new(input.credentials.access_token.as_str());
    let access = Access { environment: input.environment, token: &token };
    let described = app.providers.get(provider).describe_merchant(&access, &[]).await;
    let described = described.map_err(|error| refusal(&error))?;

    let now = Timestamp::now();
    let configuration = Configuration {
        id: ConfigurationId::generate(),
        provider,
        environment: input.environment,
        name: input.name,
        merchant: described.merchant,
        locations: described
            .locations
            .into_iter()
            .map(|found| Location {
                id: found.id,
                name: found.name,
                time_zone: found.time_zone,
                currency: found.currency,
                day_start,
            })
            .collect(),
        status: ConfigurationStatus::Active,
        credentials_expire_at: input.credentials.expires_at,
        version: 1,
        created_at: now,
        updated_at: now,
    };
    let credentials = Credentials {
        access_token: input.credentials.access_token,
        obtained_at: now,
        expires_at: input.credentials.expires_at,
        renewal: match input.credentials.refresh_token {
            Some(refresh_token) => Renewal::RefreshToken { refresh_token, single_use: false },
            None => Renewal::Never,
        },
    };
    let context = SealContext { scope, configuration_id: configuration.id, provider };
    let sealed = app.vault.seal(context, &credentials).await.map_err(|error| unavailable(&error))?;
    match app.configurations.create(scope, &configuration, sealed).await {
        Ok(()) => Ok(configuration),
        Err(CreateError::MerchantTaken) => Err(Problem::conflict("this merchant is connected already")),
        Err(CreateError::Store(error)) => Err(unavailable(&error)),
    }
}

/// Every wrong field at once.
fn check(input: &Input) -> Result<(ProviderKind, DayStart), Problem> {
    let mut errors = Vec::new();
    // The others come with the rest of their control plane.
    let provider = match input.provider.parse() {
        Ok(ProviderKind::Toast | ProviderKind::Lightspeed) => Err(UnknownProvider),
        provider => provider,
    };
    if let Err(error) = &provider {
        errors.push(FieldError::new("/provider", error));
    }
    let day_start = input.day_start.as_deref().map_or(Ok(DayStart::default()), str::parse);
    if let Err(error) = &day_start {
        errors.push(FieldError::new("/day_start", error));
    }
    let is_printable = !input.name.chars().any(char::is_control);
    if input.name.trim().is_empty() || input.name.chars().count() > MAX_NAME || !is_printable {
        errors.push(FieldError::new("/name", format!("is 1 to {MAX_NAME} characters without control characters")));
    }
    let tokens = [
        ("/credentials/access_token", Some(&input.credentials.access_token)),
        ("/credentials/refresh_token", input.credentials.refresh_token.as_ref()),
    ];
    for (pointer, token) in tokens {
        let is_token =
            |token: &str| (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        if token.is_some_and(|token| !is_token(token)) {
            errors.push(FieldError::new(pointer, format!("is 1 to {MAX_TOKEN} visible ASCII characters")));
        }
    }
    match (provider, day_start) {
        (Ok(provider), Ok(day_start)) if errors.is_empty() => Ok((provider, day_start)),
        _ => Err(Problem::invalid_fields(errors)),
    }
}

fn refusal(error: &ProviderError) -> Problem {
    tracing::warn!(error = ?error, "a provider did not describe its merchant");
    match error.kind {
        ProviderErrorKind::Unauthorized => Problem::provider_refused("the provider refused the access token"),
        ProviderErrorKind::Forbidden => {
            Problem::provider_refused("the access token lacks the permission to read the merchant's profile")
        }
        ProviderErrorKind::RateLimited { .. } => Problem::unavailable(),
        ProviderErrorKind::NotFound
        | ProviderErrorKind::Unavailable
        | ProviderErrorKind::Rejected { .. }
        | ProviderErrorKind::Malformed
        | ProviderErrorKind::CursorExpired
        | ProviderErrorKind::SeveralMerchants
        | ProviderErrorKind::Unsupported => Problem::provider_failed(),
    }
}
