//! A call to a provider on nobody's behalf: with the credential's token, within its budget, once more with a renewed token
//! if the one that we have is refused.

use std::time::Duration;

use super::Connections;
use crate::access::{TokenError, Tokens};
use crate::domain::{Code, ReasonCode};
use crate::pace::{BudgetKey, NotNow, Priority};
use crate::providers::{Access, ProviderError, ProviderErrorKind};
use crate::store::configurations::SealedConfiguration;

/// How long to wait for somebody else's renewal of the credentials.
const RENEWAL: Duration = Duration::from_secs(5);

/// What a call to the provider led to.
#[derive(Debug)]
pub enum Answer<T> {
    /// What was asked for.
    Given(T),
    /// Not now; the same again later.
    Later(Duration),
    /// It does not answer this question; it may answer another.
    Failed(ProviderErrorKind),
}

/// A call, and what it took.
#[derive(Debug)]
pub struct Asked<T> {
    /// What it led to. Or the credentials are refused, in a stable word: a person must connect again, and the configuration
    /// says so by now.
    pub answer: Result<Answer<T>, Code>,
    /// Requests that were made.
    pub requests: u64,
    /// How often our budget, or the provider, made us wait, or would have.
    pub waits: u64,
    /// For how long together.
    pub waited: Duration,
    /// Whether the credentials were renewed: the configuration that was read is not the newest.
    pub is_renewed: bool,
}

impl Connections {
    /// Makes one call. Waits for its turn no longer than `patience`.
    pub async fn ask<T>(
        &self,
        tokens: &Tokens,
        found: &SealedConfiguration,
        (priority, patience): (Priority, Duration),
        call: impl AsyncFn(Access<'_>) -> Result<T, ProviderError>,
    ) -> Result<Asked<T>, TokenError> {
        let mut asked = Asked {
            answer: Ok(Answer::Later(RENEWAL)),
            requests: 0,
            waits: 0,
            waited: Duration::ZERO,
            is_renewed: false,
        };
        let budget = BudgetKey::of(&found.configuration);
        let mut token = match tokens.current(found).await {
            Ok(token) => token,
            Err(error) => return no_token(error).map(|answer| Asked { answer, ..asked }),
        };
        loop {
            let (waited, not_now) = match self.pace.acquire_within(&budget, priority, patience).await {
                Ok(waited) => (waited, None),
                Err(NotNow { retry_after, .. }) => (retry_after, Some(retry_after)),
            };
            asked.waits += u64::from(!waited.is_zero());
            asked.waited += waited;
            if let Some(retry_after) = not_now {
                return Ok(Asked { answer: Ok(Answer::Later(retry_after)), ..asked });
            }
            asked.requests += 1;
            let environment = found.configuration.environment;
            let said = call(Access { environment, token: &token.access }).await;
            self.pace.note(&budget, &said).await;
            let error = match said {
                Ok(given) => return Ok(Asked { answer: Ok(Answer::Given(given)), ..asked }),
                Err(error) => error,
            };
            tracing::warn!(configuration.id = %found.configuration.id, error = %error, source = ?error.source, "a provider did not answer");
            let reason = match error.kind {
                ProviderErrorKind::Unauthorized if !asked.is_renewed => {
                    asked.is_renewed = true;
                    token = match tokens.after_refusal(found, &token).await {
                        Ok(token) => token,
                        Err(error) => return no_token(error).map(|answer| Asked { answer, ..asked }),
                    };
                    continue;
                }
                ProviderErrorKind::Unauthorized => ReasonCode::CredentialsRefused,
                ProviderErrorKind::Forbidden => ReasonCode::PermissionMissing,
                // The budget knows how long; whoever asks it next hears that.
                ProviderErrorKind::RateLimited { .. } => {
                    asked.waits += 1;
                    return Ok(Asked { answer: Ok(Answer::Later(Duration::ZERO)), ..asked });
                }
                kind @ (ProviderErrorKind::NotFound
                | ProviderErrorKind::Unavailable
                | ProviderErrorKind::Rejected { .. }
                | ProviderErrorKind::Malformed
                | ProviderErrorKind::CursorExpired
                | ProviderErrorKind::SeveralMerchants
                | ProviderErrorKind::Unsupported) => return Ok(Asked { answer: Ok(Answer::Failed(kind)), ..asked }),
            };
            tokens.state_refusal(found, &token, reason, &error.to_string()).await?;
            return Ok(Asked { answer: Err(error.kind.code()), ..asked });
        }
    }
}

fn no_token<T>(error: TokenError) -> Result<Result<Answer<T>, Code>, TokenError> {
    Ok(match error {
        TokenError::ReauthRequired => Err(Code::ReauthRequired),
        TokenError::BeingRenewed => Ok(Answer::Later(RENEWAL)),
        TokenError::Provider(ProviderError { kind: ProviderErrorKind::RateLimited { retry_after }, .. }) => {
            Ok(Answer::Later(retry_after.unwrap_or(RENEWAL)))
        }
        TokenError::Provider(error) => Ok(Answer::Failed(error.kind)),
        error @ (TokenError::Vault(_) | TokenError::Aws(_) | TokenError::Store(_)) => return Err(error),
    })
}
