//! Credentials ready for use: opened once, kept for minutes, renewed by one for all.
//!
//! Many Lambdas may find the same token about to end at the same moment, and some refresh tokens can be used once only.
//! So whoever wants to renew takes a lease on the configuration first; the others wait for what the winner has stored.
//! The provider's deadline is shorter than the lease: when a lease ends, its holder has long stopped calling.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::aws::AwsError;
use crate::domain::{Code, Configuration, ConfigurationId, CredentialsSummary, ReasonCode, TenantScope};
use crate::providers::{AccessToken, Application, Credentials, Disposition, ProviderError, Providers};
use crate::secrets::Applications;
use crate::store::StoreError;
use crate::store::audit::Actor;
use crate::store::configurations::{
    Change, Changes, CommitError, Configurations, Lease, NewCredentials, SealedConfiguration,
};
use crate::telemetry::metrics;
use crate::vault::{Purpose, SealContext, Vault, VaultError};

/// How long an opened token is kept in memory. Without it every sale would cost a KMS call.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// The right to renew: longer than the provider's deadline (10 s) and all our writes together.
const LEASE: SignedDuration = SignedDuration::from_secs(30);
/// What one renewal may take: the provider's deadline, and our writes.
const RENEWAL: Duration = Duration::from_secs(15);
/// How long one waits for somebody else's renewal before the work comes again later.
const PATIENCE: Duration = Duration::from_secs(5);
/// A token that ends within this time is not handed out while it is being renewed.
const ABOUT_TO_END: SignedDuration = SignedDuration::from_secs(20);
/// After a renewal that failed for a reason that passes.
const TRY_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// Writing what the provider has given us is tried so often: a single-use refresh token is gone already.
const WRITES: u32 = 5;

/// Opens, keeps and renews credentials.
pub struct Tokens {
    vault: Arc<Vault>,
    configurations: Configurations,
    changes: Changes,
    providers: Arc<Providers>,
    applications: Arc<Applications>,
    actor: Actor,
    kept: Mutex<HashMap<(ConfigurationId, Uuid), Kept>>,
    /// When the invocation ends: a renewal that is cut off may have spent a single-use token.
    ends_at: Mutex<Option<Instant>>,
    /// One at a time in this execution environment: the others find the winner's token kept.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    opened_at: Instant,
    token: AccessToken,
}

/// An access token, and which set of credentials it is from: a refusal counts against that set only.
#[derive(Clone)]
pub struct Token {
    /// For the provider.
    pub access: AccessToken,
    generation: Uuid,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A person must connect again; the configuration says so by now.
    #[error("the configuration must be connected again")]
    ReauthRequired,
    /// Somebody else is renewing it and has not finished.
    #[error("the credentials are being renewed")]
    BeingRenewed,
    /// The provider did not renew it, for a reason that passes.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// It could not be opened or sealed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Our application's secret could not be read.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TokenError {
    /// Stable word.
    pub fn code(&self) -> Code {
        match self {
            Self::ReauthRequired => Code::ReauthRequired,
            Self::BeingRenewed => Code::CredentialsBeingRenewed,
            Self::Provider(error) => error.kind.code(),
            Self::Vault(VaultError::NotAuthentic) => Code::CredentialsNotAuthentic,
            Self::Vault(VaultError::Kms(_) | VaultError::NotSealed) => Code::KeyServiceUnavailable,
            Self::Aws(_) => Code::SecretsUnavailable,
            Self::Store(_) => Code::StoreUnavailable,
        }
    }
}

impl Tokens {
    /// `function`: who renews, in the audit log.
    pub fn new(
        vault: Arc<Vault>,
        (configurations, changes): (Configurations, Changes),
        (providers, applications): (Arc<Providers>, Arc<Applications>),
        function: &str,
    ) -> Self {
        Self {
            vault,
            configurations,
            changes,
            providers,
            applications,
            actor: Actor::service(function),
            kept: Mutex::default(),
            ends_at: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Says when the invocation ends, at its beginning: no renewal is begun that may be cut off.
    pub fn begin(&self, ends_at: Instant) {
        *self.ends_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends_at);
    }

    fn has_time(&self) -> bool {
        let ends_at = *self.ends_at.lock().unwrap_or_else(PoisonError::into_inner);
        ends_at.is_none_or(|ends_at| ends_at.saturating_duration_since(Instant::now()) >= RENEWAL)
    }

    /// The access token of a configuration, renewed if it is time. While a renewal fails, the old token serves to its end.
    pub async fn current(&self, found: &SealedConfiguration) -> Result<Token, TokenError> {
        let summary = summary_of(&found.configuration)?;
        let now = Timestamp::now();
        if !is_due(summary, now) {
            return self.opened(found, summary).await;
        }
        let is_usable = summary.expires_at.is_some_and(|end| now + ABOUT_TO_END < end);
        match self.renewed(found, summary.generation, is_usable).await {
            Err(TokenError::Provider(_) | TokenError::BeingRenewed) if is_usable => self.opened(found, summary).await,
            renewed => renewed,
        }
    }

    /// The token after the provider has refused the current one: renewed once, by whoever is first.
    pub async fn after_refusal(&self, found: &SealedConfiguration, refused: &Token) -> Result<Token, TokenError> {
        self.renewed(found, refused.generation, false).await
    }

    /// The credentials as they are, for who hands them back to the provider.
    pub async fn credentials(&self, found: &SealedConfiguration) -> Result<Credentials, TokenError> {
        let sealed = found.sealed_credentials.as_deref().ok_or(TokenError::ReauthRequired)?;
        Ok(self.vault.open(seal_context(&found.scope, &found.configuration), sealed).await?)
    }

    async fn opened(&self, found: &SealedConfiguration, summary: &CredentialsSummary) -> Result<Token, TokenError> {
        let key = (found.configuration.id, summary.generation);
        if let Some(token) = self.kept(key) {
            return Ok(token);
        }
        let credentials = self.credentials(found).await?;
        Ok(self.keep(key, &credentials))
    }

    /// A token of another generation than `seen`; or that one, if it is usable and another renews it.
    async fn renewed(&self, found: &SealedConfiguration, seen: Uuid, is_usable: bool) -> Result<Token, TokenError> {
        let _turn = self.turn.lock().await;
        let (scope, id) = (&found.scope, found.configuration.id);
        let deadline = Instant::now() + PATIENCE;
        let mut opened = None;
        for attempt in 1.. {
            let now = self.configurations.load(scope, id).await?.ok_or(TokenError::ReauthRequired)?;
            let summary = summary_of(&now.configuration)?;
            if summary.generation != seen {
                return self.opened(&now, summary).await;
            }
            if now.configuration.reasons.iter().any(|reason| reason.code.stops_renewal()) {
                return Err(TokenError::ReauthRequired);
            }
            if !self.has_time() {
                break;
            }
            // What can fail without having asked the provider comes before the lease, and once: whoever waits looks often.
            let old = match &opened {
                Some(old) => old,
                None => opened.insert(self.credentials(&now).await?),
            };
            let application = self.applications.get(now.configuration.provider).await?;
            if let Some(lease) = self.configurations.take_lease(scope, id, seen, LEASE).await? {
                match self.renew(&now, &lease, (&application, old)).await {
                    // Read once more before it counts: somebody may have stored newer ones meanwhile.
                    Err(TokenError::ReauthRequired) => continue,
                    outcome => return outcome,
                }
            }
            if is_usable {
                return self.opened(&now, summary).await;
            }
            if Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(crate::store::jitter(attempt)).await;
        }
        Err(TokenError::BeingRenewed)
    }

    /// With the lease in hand: asks the provider, seals, stores.
    async fn renew(
        &self,
        found: &SealedConfiguration,
        lease: &Lease,
        (application, old): (&Application, &Credentials),
    ) -> Result<Token, TokenError> {
        let (scope, configuration) = (&found.scope, &found.configuration);
        let provider = self.providers.get(configuration.provider);
        let fresh = match provider.refresh_credentials(application, configuration.environment, old).await {
            Ok(fresh) => fresh,
            Err(error) => return Err(self.not_renewed(found, lease, error).await),
        };
        metrics::token_refreshed(configuration.provider, "renewed");
        let summary = CredentialsSummary {
            generation: Uuid::now_v7(),
            set_at: fresh.obtained_at,
            expires_at: fresh.expires_at,
            refresh_due_at: provider.refresh_due_at(&fresh),
        };
        let key = (configuration.id, summary.generation);
        // What the provider has given us may exist only here by now: what fails is tried again while there is time.
        let mut outcome = Err(TokenError::BeingRenewed);
        for attempt in 1..=WRITES {
            outcome = self.store(scope, configuration, lease, (&summary, &fresh)).await;
            match outcome {
                Err(TokenError::Store(_) | TokenError::Vault(_)) => {
                    tokio::time::sleep(crate::store::jitter(attempt + 2)).await;
                }
                _ => break,
            }
        }
        match outcome {
            Ok(true) => {}
            // A person has replaced the credentials meanwhile: theirs count. The provider's answer still works.
            Ok(false) => {
                let access = AccessToken::new(fresh.access_token.as_str());
                return Ok(Token { access, generation: summary.generation });
            }
            Err(error) => {
                tracing::error!(tenant.id = %scope.tenant_id(), configuration.id = %configuration.id, error = %error, "renewed credentials could not be stored");
                return Err(error);
            }
        }
        tracing::info!(tenant.id = %scope.tenant_id(), configuration.id = %configuration.id, expires_at = summary.expires_at.map(tracing::field::display), "renewed credentials");
        if configuration.reasons.iter().any(|reason| reason.code == ReasonCode::RefreshFailing) {
            self.drop_reason(scope, configuration.id, ReasonCode::RefreshFailing).await;
        }
        Ok(self.keep(key, &fresh))
    }

    async fn store(
        &self,
        scope: &TenantScope,
        configuration: &Configuration,
        lease: &Lease,
        (summary, fresh): (&CredentialsSummary, &Credentials),
    ) -> Result<bool, TokenError> {
        let sealed = self.vault.seal(seal_context(scope, configuration), fresh).await?;
        let new = NewCredentials { summary: summary.clone(), sealed };
        Ok(self.configurations.replace_credentials(scope, configuration.id, lease, &new).await?)
    }

    /// Says on the configuration what is wrong, unless its credentials have been replaced meanwhile.
    async fn not_renewed(&self, found: &SealedConfiguration, lease: &Lease, error: ProviderError) -> TokenError {
        let (scope, configuration) = (&found.scope, &found.configuration);
        tracing::warn!(tenant.id = %scope.tenant_id(), configuration.id = %configuration.id, error = %error, "credentials were not renewed");
        let code = match error.kind.disposition() {
            Disposition::Disconnect => ReasonCode::CredentialsRefused,
            Disposition::Retry { .. } | Disposition::Fail => ReasonCode::RefreshFailing,
        };
        let outcome = if code == ReasonCode::CredentialsRefused { "refused" } else { "failed" };
        metrics::token_refreshed(configuration.provider, outcome);
        if let Err(error) =
            self.state_reason(scope, configuration.id, lease.generation, (code, &error.to_string())).await
        {
            return error.into();
        }
        let look_again_at = Timestamp::now() + TRY_AGAIN_AFTER;
        if code == ReasonCode::CredentialsRefused {
            return TokenError::ReauthRequired;
        }
        match self.configurations.return_lease(scope, configuration.id, lease, look_again_at).await {
            Ok(()) => TokenError::Provider(error),
            Err(error) => error.into(),
        }
    }

    /// Notes that the provider refuses a token for good, unless its credentials have been replaced meanwhile.
    pub async fn state_refusal(
        &self,
        found: &SealedConfiguration,
        refused: &Token,
        code: ReasonCode,
        detail: &str,
    ) -> Result<(), StoreError> {
        self.state_reason(&found.scope, found.configuration.id, refused.generation, (code, detail)).await
    }

    async fn state_reason(
        &self,
        scope: &TenantScope,
        id: ConfigurationId,
        generation: Uuid,
        (code, detail): (ReasonCode, &str),
    ) -> Result<(), StoreError> {
        let stated = self.amend(scope, id, (None, "configuration.reason_stated"), |configuration| {
            if configuration.credentials.as_ref().is_none_or(|credentials| credentials.generation != generation) {
                return false;
            }
            let known = configuration.reasons.iter().any(|reason| reason.code == code);
            configuration.state_reason(code, detail, Timestamp::now());
            !known
        });
        stated.await.map(drop).map_err(of_amendment)
    }

    async fn drop_reason(&self, scope: &TenantScope, id: ConfigurationId, code: ReasonCode) {
        let dropped = self.amend(scope, id, (None, "configuration.reason_dropped"), |configuration| {
            let before = configuration.reasons.len();
            configuration.reasons.retain(|reason| reason.code != code);
            configuration.reasons.len() != before
        });
        if let Err(error) = dropped.await {
            tracing::warn!(configuration.id = %id, error = %error, "an outdated reason stays on a configuration");
        }
    }

    /// Changes a configuration whatever its version, if the change still applies. Returns what it is then; `None`: it is
    /// gone.
    pub async fn amend(
        &self,
        scope: &TenantScope,
        id: ConfigurationId,
        (actor, action): (Option<&Actor>, &str),
        change: impl Fn(&mut Configuration) -> bool,
    ) -> Result<Option<Configuration>, CommitError> {
        for attempt in 1..=5 {
            let Some(before) = self.configurations.find(scope, id).await? else { return Ok(None) };
            let mut after = before.clone();
            if before.deletion.is_some() || !change(&mut after) {
                return Ok(Some(before));
            }
            after.touch();
            // What was judged is what has these credentials: a renewal is no new version.
            let generation = before.credentials.as_ref().map(|credentials| credentials.generation);
            let actor = actor.unwrap_or(&self.actor);
            let change = Change { generation, ..Change::of(actor, action, &before, &after) };
            match self.changes.commit(scope, &change).await {
                Ok(_) => return Ok(Some(after)),
                Err(CommitError::Moved) => tokio::time::sleep(crate::store::jitter(attempt)).await,
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Contended.into())
    }

    fn keep(&self, key: (ConfigurationId, Uuid), credentials: &Credentials) -> Token {
        let token = AccessToken::new(credentials.access_token.as_str());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| kept.opened_at.elapsed() < KEPT_FOR);
        kept.insert(key, Kept { opened_at: Instant::now(), token: token.clone() });
        Token { access: token, generation: key.1 }
    }

    fn kept(&self, key: (ConfigurationId, Uuid)) -> Option<Token> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get(&key).filter(|kept| kept.opened_at.elapsed() < KEPT_FOR)?;
        Some(Token { access: kept.token.clone(), generation: key.1 })
    }
}

/// Whose credentials, for the vault.
pub fn seal_context<'a>(scope: &'a TenantScope, configuration: &Configuration) -> SealContext<'a> {
    SealContext {
        scope,
        configuration_id: configuration.id,
        provider: configuration.provider,
        purpose: Purpose::Credentials,
    }
}

fn summary_of(configuration: &Configuration) -> Result<&CredentialsSummary, TokenError> {
    configuration.credentials.as_ref().ok_or(TokenError::ReauthRequired)
}

/// Time to renew, or past the end of what can be renewed.
fn is_due(summary: &CredentialsSummary, now: Timestamp) -> bool {
    summary.refresh_due_at.is_some_and(|due_at| due_at <= now || summary.expires_at.is_some_and(|end| end <= now))
}

fn of_amendment(error: CommitError) -> StoreError {
    if let CommitError::Store(error) = error { error } else { StoreError::Contended }
}
