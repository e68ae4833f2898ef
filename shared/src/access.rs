//! Credentials ready for use: opened once, kept for minutes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::ConfigurationId;
use crate::providers::AccessToken;
use crate::store::configurations::SealedConfiguration;
use crate::vault::{SealContext, Vault, VaultError};

/// How long an opened token is kept in memory. Without it every sale would cost a KMS call.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// Opens credentials and remembers what it opened.
pub struct Access {
    vault: Vault,
    opened: Mutex<HashMap<(ConfigurationId, u64), (Instant, AccessToken)>>,
}

impl Access {
    /// Opens with this vault.
    pub fn new(vault: Vault) -> Self {
        Self { vault, opened: Mutex::default() }
    }

    /// The access token of a configuration. A changed configuration is opened anew: its version is part of the key.
    pub async fn open(&self, found: &SealedConfiguration) -> Result<AccessToken, VaultError> {
        let configuration = &found.configuration;
        let key = (configuration.id, configuration.version);
        if let Some(token) = self.remembered(key) {
            return Ok(token);
        }
        let context =
            SealContext { scope: &found.scope, configuration_id: configuration.id, provider: configuration.provider };
        let credentials = self.vault.open(context, &found.sealed_credentials).await?;
        let token = AccessToken::new(credentials.access_token.as_str());
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|_, (opened_at, _)| opened_at.elapsed() < KEPT_FOR);
        opened.insert(key, (Instant::now(), token.clone()));
        Ok(token)
    }

    fn remembered(&self, key: (ConfigurationId, u64)) -> Option<AccessToken> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get(&key).filter(|(opened_at, _)| opened_at.elapsed() < KEPT_FOR).map(|(_, token)| token.clone())
    }
}
