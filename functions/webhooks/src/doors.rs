//! What proves deliveries to a configuration's own URL: read once a minute, opened once.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use shared::domain::{ConfigurationId, Environment, ProviderKind, TenantScope};
use shared::providers::WebhookSecret;
use shared::store::StoreError;
use shared::store::configurations::{Configurations, Door};
use shared::vault::{Purpose, SealContext, Vault, VaultError};

/// How long a door is used before it is read again: a removed secret proves nothing after this.
const FRESH_FOR: Duration = Duration::from_secs(60);
/// How soon a door may be read again because nothing it has proves a delivery: a wrong signature must not buy anybody a
/// call.
const RELOAD_AFTER: Duration = Duration::from_secs(5);
/// A stranger who tries ids must not fill the memory.
const MAX_KNOWN: usize = 1000;
/// How often failures are written down: a stranger must not buy writes.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// All doors that this execution environment has seen.
pub struct Doors {
    desk: LazyLock<Desk, Box<dyn FnOnce() -> Desk + Send>>,
    known: Mutex<HashMap<ConfigurationId, Read>>,
    failures: Mutex<HashMap<ConfigurationId, Failures>>,
}

/// What doors are read with.
pub struct Desk {
    /// Where they are kept.
    pub configurations: Configurations,
    /// Who opens their secrets.
    pub vault: Vault,
}

/// A door with its secrets opened.
pub struct OpenDoor {
    /// Whose.
    pub scope: TenantScope,
    /// Who may call it.
    pub provider: ProviderKind,
    /// From which of its worlds.
    pub environment: Environment,
    /// What proves a call.
    pub secrets: Vec<WebhookSecret>,
}

/// When it was looked for, and what was there.
type Read = (Instant, Option<Arc<OpenDoor>>);

#[derive(Default)]
struct Failures {
    noted_at: Option<Instant>,
    count: u64,
}

/// Why a door stays closed for now.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret could not be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Doors {
    /// Reads nothing yet. Most deliveries come to the URL that all share, so even the clients are made for the first that does
    /// not: they are a tenth of a cold start.
    pub fn new(desk: impl FnOnce() -> Desk + Send + 'static) -> Self {
        Self { desk: LazyLock::new(Box::new(desk)), known: Mutex::default(), failures: Mutex::default() }
    }

    /// The door of a configuration, if it has one.
    pub async fn find(&self, id: ConfigurationId) -> Result<Option<Arc<OpenDoor>>, DoorError> {
        self.not_older_than(FRESH_FOR, id).await
    }

    /// The door as it is now, after nothing it had proved a delivery: a secret that was just added is the usual reason.
    pub async fn reload(&self, id: ConfigurationId) -> Result<Option<Arc<OpenDoor>>, DoorError> {
        self.not_older_than(RELOAD_AFTER, id).await
    }

    async fn not_older_than(&self, age: Duration, id: ConfigurationId) -> Result<Option<Arc<OpenDoor>>, DoorError> {
        let before = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some((read_at, door)) = &before
            && read_at.elapsed() < age
        {
            return Ok(door.clone());
        }
        let found = match self.desk.configurations.find_door(id).await? {
            Some(door) => Some(Arc::new(self.open(id, door, before.and_then(|(_, door)| door)).await?)),
            None => None,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            // Doors that exist stay open.
            known.retain(|_, (_, door)| door.is_some());
        }
        known.insert(id, (Instant::now(), found.clone()));
        Ok(found)
    }

    /// Opens what was not open before: one KMS call for each new secret.
    async fn open(
        &self,
        configuration_id: ConfigurationId,
        door: Door,
        before: Option<Arc<OpenDoor>>,
    ) -> Result<OpenDoor, DoorError> {
        let mut secrets = Vec::new();
        for sealed in door.secrets {
            let id = sealed.id.to_string();
            let known = before.as_ref().and_then(|door| door.secrets.iter().find(|known| known.id == id).cloned());
            let opened = match known {
                Some(known) => known,
                None => {
                    let (scope, provider) = (&door.scope, door.provider);
                    let context = SealContext { scope, configuration_id, provider, purpose: Purpose::Webhook };
                    match self.desk.vault.open::<WebhookSecret>(context, &sealed.sealed).await {
                        // It proves nothing; the others still do.
                        Err(VaultError::NotAuthentic) => {
                            tracing::error!(configuration.id = %configuration_id, secret.id = id, "a webhook secret does not open");
                            continue;
                        }
                        opened => opened?,
                    }
                }
            };
            let (not_before, not_after) = (Some(sealed.not_before), sealed.not_after);
            secrets.push(WebhookSecret { id, not_before, not_after, ..opened });
        }
        Ok(OpenDoor { scope: door.scope, provider: door.provider, environment: door.environment, secrets })
    }

    /// Counts a delivery that nothing proved. The first is written down at once, the others of a minute together.
    pub async fn count_failure(&self, door: &OpenDoor, id: ConfigurationId) {
        let count = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let failures = failures.entry(id).or_default();
            failures.count += 1;
            if failures.noted_at.is_some_and(|noted_at| noted_at.elapsed() < NOTE_EVERY) {
                return;
            }
            failures.noted_at = Some(Instant::now());
            std::mem::take(&mut failures.count)
        };
        let noted = self.desk.configurations.note_signature_failures(&door.scope, id, count, Timestamp::now()).await;
        if let Err(error) = noted {
            tracing::warn!(configuration.id = %id, error = ?error, "unproven deliveries could not be counted");
        }
    }
}
