//! How far the work on a delivery is, and how it can end other than well.

use std::error::Error;

use jiff::Timestamp;
use shared::access::TokenError;
use shared::archive::ArchiveError;
use shared::domain::Code;
use shared::pace::NotNow;
use shared::providers::{Disposition, PayloadError, ProviderError};
use shared::queue::SendError;
use shared::queue::SqsMessage;
pub use shared::queue::{Later, attempt};
use shared::store::StoreError;
use shared::store::webhook_logs::{Caused, LoggedDelivery, OrderSource, Outcome, Steps};
use shared::vault::VaultError;

/// What is known of the work on a delivery, for its row.
pub(crate) struct Work {
    /// From 1.
    pub attempt: u32,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Whether it is final already, and somebody wants it to be done once more.
    pub is_replay: bool,
    /// What it led to.
    pub caused: Vec<Caused>,
    /// When what was done.
    pub steps: Steps,
}

impl Work {
    /// On what the queue has brought.
    pub fn of(message: &SqsMessage, received_at: Timestamp) -> Self {
        let at = |name: &str| {
            let millisecond = message.attributes.get(name).and_then(|text| text.parse().ok());
            millisecond.and_then(|it| Timestamp::from_millisecond(it).ok())
        };
        let steps = Steps {
            queued_at: at("SentTimestamp"),
            picked_up_at: at("ApproximateFirstReceiveTimestamp"),
            normalizer: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..Steps::default()
        };
        Self { attempt: attempt(message), received_at, is_replay: false, caused: Vec::new(), steps }
    }

    /// On what stands in the log.
    pub fn again(logged: &LoggedDelivery, attempt: u32) -> Self {
        let steps = Steps {
            queued_at: logged.steps.queued_at,
            picked_up_at: logged.steps.picked_up_at,
            normalizer: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..Steps::default()
        };
        Self { attempt, received_at: logged.entry.received_at, is_replay: true, caused: Vec::new(), steps }
    }

    /// Its transactions are stored and handed over.
    pub fn has_caused(&mut self, caused: Vec<Caused>, source: OrderSource) {
        self.caused = caused;
        self.steps.source = Some(source);
        self.steps.handed_over_at = Some(Timestamp::now());
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
                Self::Final(failed(Code::EventTooLarge, &error))
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

impl From<VaultError> for Stop {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::NotAuthentic => Self::Final(failed(Code::BodyNotAuthentic, &error)),
            VaultError::Kms(_) | VaultError::NotSealed => Self::Later(not_sealed(error)),
        }
    }
}

/// A delivery's body could not be sealed, or opened.
pub fn not_sealed(error: VaultError) -> Later {
    log(&error);
    Later::unexpected(Code::KeyServiceUnavailable)
}

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Self {
        Self::Later(not_kept(error))
    }
}

/// A raw order could not be kept, or found.
pub fn not_kept(error: ArchiveError) -> Later {
    match error {
        ArchiveError::Store(error) => error.into(),
        ArchiveError::Vault(error) => not_sealed(error),
        ArchiveError::NoJson(_) | ArchiveError::NotPacked(_) => {
            log(&error);
            Later::unexpected(Code::OrderNotKept)
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

fn failed(code: Code, error: &dyn Error) -> Outcome {
    Outcome::Failed { code, detail: error.to_string() }
}

fn log(error: &(dyn Error + 'static)) {
    tracing::error!(error = ?error, "a dependency failed");
}
