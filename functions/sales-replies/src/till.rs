//! The till behind a configuration: asked and told when it is our turn, with renewed credentials if they are refused.

use std::time::{Duration, Instant};

use shared::access::{Token, TokenError};
use shared::domain::{AvailabilityVerdict, Configuration, Intent, ItemPlace, ReasonCode};
use shared::pace::{BudgetKey, NotNow, Priority};
use shared::providers::{
    Access, AvailabilityChange, AvailabilityOutcome, Disposition, PosProvider, ProviderError, ProviderErrorKind,
    ShownAvailability,
};
use shared::queue::Later;
use shared::store::StoreError;
use shared::store::configurations::SealedConfiguration;
use shared::vault::VaultError;

use crate::App;

/// How long a command waits here for its turn at the provider, rather than on the queue.
const TURN: Duration = Duration::from_secs(1);
/// What a call and the writes after it may take.
const ROOM: Duration = Duration::from_secs(6);

/// Why a till was not asked or told.
#[derive(Debug)]
pub enum Stop {
    /// Later it may go better.
    Later(Later),
    /// It will not for this item.
    Refused(AvailabilityVerdict),
    /// A person must connect again.
    NotConnected,
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Later(error.into())
    }
}

impl From<NotNow> for Stop {
    fn from(not_now: NotNow) -> Self {
        Self::Later(Later::after(not_now.code(), Some(not_now.whole_seconds())))
    }
}

impl From<TokenError> for Stop {
    fn from(error: TokenError) -> Self {
        tracing::error!(error = ?error, "there is no token for a command");
        match error {
            TokenError::ReauthRequired => Self::NotConnected,
            TokenError::Vault(VaultError::NotAuthentic) => Self::Refused(AvailabilityVerdict::Failed),
            TokenError::Provider(error) => of_provider(&error),
            TokenError::Store(_) | TokenError::BeingRenewed | TokenError::Aws(_) | TokenError::Vault(_) => {
                Self::Later(Later::unexpected(error.code()))
            }
        }
    }
}

/// What becomes of a command at an item when the provider says this. A permission that is missing stops no sales, so it is
/// no reason to disconnect: Toast gives that for writing to few, and a merchant may not have granted it.
fn of_provider(error: &ProviderError) -> Stop {
    match &error.kind {
        ProviderErrorKind::Unauthorized => Stop::NotConnected,
        ProviderErrorKind::Forbidden => Stop::Refused(AvailabilityVerdict::NotPermitted),
        ProviderErrorKind::Unsupported => Stop::Refused(AvailabilityVerdict::Unsupported),
        kind @ (ProviderErrorKind::RateLimited { .. }
        | ProviderErrorKind::Unavailable
        | ProviderErrorKind::NotFound
        | ProviderErrorKind::CursorExpired
        | ProviderErrorKind::Rejected { .. }
        | ProviderErrorKind::Malformed
        | ProviderErrorKind::SeveralMerchants) => match kind.disposition() {
            Disposition::Retry { after } => Stop::Later(Later::after(kind.code(), after)),
            Disposition::Disconnect | Disposition::Fail => Stop::Refused(AvailabilityVerdict::Failed),
        },
    }
}

/// The till of one configuration, for one command.
pub struct Till<'a> {
    app: &'a App,
    found: &'a SealedConfiguration,
    deadline: Instant,
    token: Option<Token>,
    is_renewed: bool,
}

impl<'a> Till<'a> {
    /// `deadline`: when work on the command is cut off.
    pub fn new(app: &'a App, found: &'a SealedConfiguration, deadline: Instant) -> Self {
        Self { app, found, deadline, token: None, is_renewed: false }
    }

    /// What it is.
    pub fn provider(&self) -> &'a dyn PosProvider {
        self.app.connections.providers.get(self.found.configuration.provider)
    }

    /// What it shows of an item.
    pub async fn shown(&mut self, place: &ItemPlace) -> Result<ShownAvailability, Stop> {
        let ask = async |provider: &dyn PosProvider, access: Access<'_>| {
            provider.fetch_availability(&access, &place.location_id, &place.item_id).await
        };
        self.call(ask).await
    }

    /// Lets it show something.
    pub async fn show(&mut self, place: &ItemPlace, intent: &Intent) -> Result<AvailabilityOutcome, Stop> {
        let change = AvailabilityChange {
            location: place.location_id.clone(),
            item_id: place.item_id.clone(),
            availability: intent.to,
            idempotency_key: intent.key.to_string(),
            decided_at: intent.at,
        };
        let tell =
            async |provider: &dyn PosProvider, access: Access<'_>| provider.set_availability(&access, &change).await;
        self.call(tell).await
    }

    /// One call when it is its turn, once more with a renewed token if the first is refused. When that is refused too, the
    /// configuration says so from then on.
    async fn call<T>(
        &mut self,
        call: impl AsyncFn(&dyn PosProvider, Access<'_>) -> Result<T, ProviderError>,
    ) -> Result<T, Stop> {
        let (app, found, provider) = (self.app, self.found, self.provider());
        let Configuration { environment, .. } = found.configuration;
        let budget = BudgetKey::of(&found.configuration);
        loop {
            let token = match self.token.take() {
                Some(token) => token,
                None => app.tokens.current(found).await?,
            };
            let time_left = self.deadline.saturating_duration_since(Instant::now());
            let patience = TURN.min(time_left.saturating_sub(ROOM));
            app.connections.pace.acquire_within(&budget, Priority::Live, patience).await?;
            let said = call(provider, Access { environment, token: &token.access }).await;
            app.connections.pace.note(&budget, &said).await;
            let error = match said {
                Ok(given) => {
                    self.token = Some(token);
                    return Ok(given);
                }
                Err(error) => error,
            };
            tracing::warn!(tenant.id = %found.scope.tenant_id(), configuration.id = %found.configuration.id, error = %error, source = ?error.source, "a provider did not take a command");
            if error.kind != ProviderErrorKind::Unauthorized {
                self.token = Some(token);
                return Err(of_provider(&error));
            }
            if self.is_renewed {
                let code = ReasonCode::CredentialsRefused;
                app.tokens.state_refusal(found, &token, code, &error.to_string()).await?;
                return Err(Stop::NotConnected);
            }
            self.is_renewed = true;
            self.token = Some(app.tokens.after_refusal(found, &token).await?);
        }
    }
}
