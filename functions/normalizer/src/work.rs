//! How work on a message can end other than well.

use std::error::Error;

use shared::access::TokenError;
use shared::pace::NotNow;
use shared::providers::{Disposition, PayloadError, ProviderError};
use shared::queue::SendError;
pub use shared::queue::{Later, attempt};
use shared::store::StoreError;
use shared::store::webhook_logs::Outcome;
use shared::vault::VaultError;

/// Why work on a message stopped.
#[derive(Debug)]
pub enum Stop {
    /// It must come again.
    Later(Later),
    /// It has ended, and a row says how.
    Final(Outcome),
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
            TokenError::Vault(VaultError::NotAuthentic) | TokenError::ReauthRequired => {
                Self::Final(failed(error.code(), &error))
            }
            TokenError::Store(_) | TokenError::BeingRenewed | TokenError::Aws(_) | TokenError::Vault(_) => {
                Self::Later(Later::unexpected(error.code()))
            }
        }
    }
}

impl From<NotNow> for Stop {
    fn from(not_now: NotNow) -> Self {
        Self::Later(Later::after(not_now.code(), Some(not_now.whole_seconds())))
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
