//! How work on a message can end other than well.

use std::error::Error;
use std::time::Duration;

use shared::access::TokenError;
use shared::aws::AwsError;
use shared::pace::{NotNow, Why};
use shared::providers::{Disposition, PayloadError, ProviderError};
use shared::queue::SendError;
pub use shared::queue::attempt;
use shared::store::StoreError;
use shared::store::webhook_logs::Outcome;
use shared::vault::VaultError;

/// The message must come again.
#[derive(Debug, PartialEq, Eq)]
pub struct Later {
    /// Stable word for the log.
    pub code: &'static str,
    /// What the provider, or its budget, asked for.
    after: Option<Duration>,
    /// Nothing is wrong, there was only no time left.
    is_unfinished: bool,
}

impl Later {
    /// For a reason of our own.
    pub fn unexpected(code: &'static str) -> Self {
        Self::after(code, None)
    }

    /// Nothing is wrong: it goes on as soon as the queue brings it.
    pub fn at_once(code: &'static str) -> Self {
        Self { is_unfinished: true, ..Self::after(code, None) }
    }

    fn after(code: &'static str, after: Option<Duration>) -> Self {
        Self { code, after, is_unfinished: false }
    }

    /// Never sooner than the provider asked for. The queue allows a hundred attempts: a day's outage is survived here.
    pub fn delay(&self, attempt: u32) -> Duration {
        if self.is_unfinished { Duration::ZERO } else { shared::queue::delay(attempt, self.after) }
    }
}

/// Why work on a message stopped.
#[derive(Debug)]
pub enum Stop {
    /// It must come again.
    Later(Later),
    /// It has ended, and a row says how.
    Final(Outcome),
}

impl From<StoreError> for Later {
    fn from(error: StoreError) -> Self {
        log(&error);
        Self::unexpected("store_unavailable")
    }
}

/// Of a queue.
impl From<AwsError> for Later {
    fn from(error: AwsError) -> Self {
        log(&error);
        Self::unexpected("queue_unavailable")
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Later(error.into())
    }
}

impl From<SendError> for Stop {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Aws(error) => Self::Later(error.into()),
            // Stored and marked, so it stays visible as unacknowledged.
            SendError::TooLarge => {
                log(&error);
                Self::Final(failed("event_too_large", &error))
            }
        }
    }
}

impl From<TokenError> for Stop {
    fn from(error: TokenError) -> Self {
        log(&error);
        match error {
            TokenError::Provider(error) => error.into(),
            TokenError::Store(error) => error.into(),
            TokenError::BeingRenewed => Self::Later(Later::unexpected("credentials_being_renewed")),
            TokenError::Aws(_) => Self::Later(Later::unexpected("secrets_unavailable")),
            TokenError::Vault(VaultError::Kms(_) | VaultError::NotSealed) => {
                Self::Later(Later::unexpected("key_service_unavailable"))
            }
            TokenError::Vault(VaultError::NotAuthentic) => Self::Final(failed("credentials_not_authentic", &error)),
            TokenError::ReauthRequired => Self::Final(failed("reauth_required", &error)),
        }
    }
}

impl From<NotNow> for Stop {
    fn from(not_now: NotNow) -> Self {
        let code = match not_now.why {
            Why::Budget | Why::RetryAfter => "paced",
            Why::BreakerOpen => "provider_breaker_open",
        };
        // The queue counts in whole seconds, and sooner is in vain.
        let after = Duration::from_secs(not_now.retry_after.as_secs() + 1);
        Self::Later(Later::after(code, Some(after)))
    }
}

impl From<PayloadError> for Stop {
    fn from(error: PayloadError) -> Self {
        Self::Final(failed(error.problem.code(), &error))
    }
}

impl From<ProviderError> for Stop {
    fn from(error: ProviderError) -> Self {
        tracing::warn!(error = %error, source = ?error.source, "a provider did not give an order");
        let outcome = || failed(error.kind.code(), &error);
        match error.kind.disposition() {
            Disposition::Retry { after } => Self::Later(Later::after(error.kind.code(), after)),
            Disposition::Disconnect | Disposition::Fail => Self::Final(outcome()),
        }
    }
}

fn failed(code: &'static str, error: &dyn Error) -> Outcome {
    Outcome::Failed { code, detail: error.to_string() }
}

fn log(error: &(dyn Error + 'static)) {
    tracing::error!(error = ?error, "a dependency failed");
}
