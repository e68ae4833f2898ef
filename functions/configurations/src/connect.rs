//! From what a person brings (tokens, a login, a code) to credentials that the provider takes, and whose they are.

use jiff::Timestamp;
use serde::Deserialize;
use shared::access::seal_context;
use shared::domain::{Configuration, CredentialsSummary, LocationId, ProviderKind, TenantScope};
use shared::problem::{FieldError, Problem};
use shared::providers::{Access, AccessToken, Credentials, MerchantDescription, Renewal};
use shared::rest::{Fields, is_token, refused_by_provider, unavailable};
use zeroize::Zeroizing;

use crate::App;

pub(crate) const MAX_TOKEN: usize = 4096;
/// A claim is a write of the same transaction, which has room for a hundred.
pub(crate) const MAX_RESTAURANTS: usize = 50;

/// What a person brings.
pub struct Brought {
    credentials: Credentials,
    /// The shops that a login is meant for, where the provider cannot list them.
    shops: Vec<LocationId>,
}

/// A text that only the vault may keep. No `Debug`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretText(pub Zeroizing<String>);

impl SecretText {
    /// Notes it as wrong if no provider can have given it.
    pub fn check(self, fields: &mut Fields, name: &str) -> Option<Self> {
        if is_token(&self.0, MAX_TOKEN) {
            return Some(self);
        }
        fields.refuse(name, format!("is 1 to {MAX_TOKEN} visible ASCII characters"));
        None
    }
}

/// Reads the `credentials` of a request: a token that a person has, or a login for Toast.
pub fn read(fields: &mut Fields, provider: ProviderKind) -> Option<Option<Brought>> {
    fields.section("credentials", |fields| match provider {
        ProviderKind::Square | ProviderKind::Lightspeed => read_token(fields, provider),
        ProviderKind::Toast => read_login(fields),
    })
}

fn read_token(fields: &mut Fields, provider: ProviderKind) -> Option<Brought> {
    let access_token = fields.required::<SecretText>("access_token").and_then(|it| it.check(fields, "access_token"));
    let refresh_token = fields.optional::<SecretText>("refresh_token").and_then(|it| it.check(fields, "refresh_token"));
    let expires_at = fields.optional::<Timestamp>("expires_at");
    let renewal = match refresh_token {
        Some(SecretText(refresh_token)) => {
            Renewal::RefreshToken { refresh_token, single_use: provider == ProviderKind::Lightspeed }
        }
        None => Renewal::Never,
    };
    let SecretText(access_token) = access_token?;
    let credentials = Credentials { access_token, obtained_at: Timestamp::now(), expires_at, renewal };
    Some(Brought { credentials, shops: Vec::new() })
}

fn read_login(fields: &mut Fields) -> Option<Brought> {
    let client_id = fields.required::<String>("client_id").and_then(|id| {
        if is_token(&id, MAX_TOKEN) {
            return Some(id);
        }
        fields.refuse("client_id", format!("is 1 to {MAX_TOKEN} visible ASCII characters"));
        None
    });
    let secret = fields.required::<SecretText>("client_secret").and_then(|it| it.check(fields, "client_secret"));
    let shops = fields.required::<Vec<LocationId>>("restaurants").unwrap_or_default();
    if shops.len() > MAX_RESTAURANTS {
        fields.refuse("restaurants", format!("are {MAX_RESTAURANTS} at most; make another configuration for the rest"));
    }
    let SecretText(secret) = secret?;
    Some(Brought { credentials: Credentials::for_login(client_id?, secret), shops })
}

/// Asks the provider whose credentials these are, and says so on the configuration. Nothing is written.
pub async fn connect(app: &App, configuration: &mut Configuration, brought: Brought) -> Result<Credentials, Problem> {
    let provider = app.providers.get(configuration.provider);
    let environment = configuration.environment;
    let credentials = match &brought.credentials.renewal {
        Renewal::Login { .. } => {
            let application =
                app.applications.get(configuration.provider).await.map_err(|error| unavailable(&error))?;
            let logged_in = provider.refresh_credentials(&application, environment, &brought.credentials).await;
            logged_in.map_err(|error| refused_by_provider(&error))?
        }
        Renewal::Never | Renewal::RefreshToken { .. } => brought.credentials,
    };
    let token = AccessToken::new(credentials.access_token.as_str());
    let described = provider.describe_merchant(&Access { environment, token: &token }, &brought.shops).await;
    accept(configuration, &described.map_err(|error| refused_by_provider(&error))?)?;
    Ok(credentials)
}

/// Takes over what the provider says, unless it is another merchant or a narrower permission than we need.
fn accept(configuration: &mut Configuration, described: &MerchantDescription) -> Result<(), Problem> {
    let missing = described.missing_scopes();
    if !missing.is_empty() {
        return Err(Problem::permission_missing(format!("the merchant has not granted {}", missing.join(", "))));
    }
    if configuration.merchant.as_ref().is_some_and(|known| known.id != described.merchant.id) {
        return Err(Problem::conflict("these credentials are another merchant's: make another configuration for it"));
    }
    described.apply_to(configuration);
    configuration.drop_credential_reasons();
    Ok(())
}

/// Refuses a start of day for a shop that the merchant does not have.
pub fn check_day_starts(configuration: &Configuration) -> Result<(), Problem> {
    let unknown = configuration.day_starts.keys().filter(|id| configuration.location(id).is_none());
    let errors: Vec<_> =
        unknown.map(|id| FieldError::new("/locations", format!("{id} is no shop of this merchant"))).collect();
    if errors.is_empty() || configuration.merchant.is_none() { Ok(()) } else { Err(Problem::invalid_fields(errors)) }
}

/// From a code that the provider's page has sent along.
pub async fn exchange(
    app: &App,
    configuration: &mut Configuration,
    code: &str,
    redirect_uri: &str,
) -> Result<Credentials, Problem> {
    let application = app.applications.get(configuration.provider).await.map_err(|error| unavailable(&error))?;
    let provider = app.providers.get(configuration.provider);
    let exchanged = provider.exchange_code(&application, configuration.environment, code, redirect_uri).await;
    let credentials = exchanged.map_err(|error| refused_by_provider(&error))?;
    connect(app, configuration, Brought { credentials, shops: Vec::new() }).await
}

/// Seals credentials for their configuration and notes on it what may be known of them.
pub async fn seal(
    app: &App,
    scope: &TenantScope,
    configuration: &mut Configuration,
    credentials: &Credentials,
) -> Result<Vec<u8>, Problem> {
    configuration.credentials = Some(CredentialsSummary {
        generation: uuid::Uuid::now_v7(),
        set_at: Timestamp::now(),
        expires_at: credentials.expires_at,
        refresh_due_at: app.providers.get(configuration.provider).refresh_due_at(credentials),
    });
    app.vault.seal(seal_context(scope, configuration), credentials).await.map_err(|error| unavailable(&error))
}
