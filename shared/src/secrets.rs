//! Application secrets in Secrets Manager: one read per execution environment and five minutes, none per event.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::DisplayErrorContext;
use serde::de::DeserializeOwned;

use crate::aws::AwsError;
use crate::domain::ProviderKind;
use crate::providers::Application;
use crate::settings::Reader;

/// How long a secret is used before it is read again.
const FRESH_FOR: Duration = Duration::from_secs(300);
/// How soon a secret may be read again because it seems outdated: a wrong signature must not buy anybody a call.
const RELOAD_AFTER: Duration = Duration::from_secs(20);

/// A secret that holds JSON of type `T`.
pub struct Secret<T> {
    client: Client,
    id: String,
    cached: Mutex<Option<(Instant, Arc<T>)>>,
    previous: Mutex<Option<(Instant, Option<Arc<T>>)>>,
}

impl<T: DeserializeOwned> Secret<T> {
    /// Names the secret; nothing is read yet.
    pub fn new(client: Client, id: String) -> Self {
        Self { client, id, cached: Mutex::new(None), previous: Mutex::new(None) }
    }

    /// The secret, at most five minutes old.
    pub async fn get(&self) -> Result<Arc<T>, AwsError> {
        self.not_older_than(FRESH_FOR).await
    }

    /// The secret, read again if what we hold may be outdated. `None` when it was read only just now.
    pub async fn reload(&self, held: &Arc<T>) -> Result<Option<Arc<T>>, AwsError> {
        let fresh = self.not_older_than(RELOAD_AFTER).await?;
        Ok(Some(fresh).filter(|fresh| !Arc::ptr_eq(fresh, held)))
    }

    /// The secret as it was before its last rotation, if there was one: what was proven with it is still on its way.
    pub async fn previous(&self) -> Result<Option<Arc<T>>, AwsError> {
        let cached = self.previous.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read_at, value)) = cached
            && read_at.elapsed() < FRESH_FOR
        {
            return Ok(value);
        }
        let value = self.read(Some("AWSPREVIOUS")).await?.map(Arc::new);
        *self.previous.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), value.clone()));
        Ok(value)
    }

    async fn not_older_than(&self, age: Duration) -> Result<Arc<T>, AwsError> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read_at, value)) = &cached
            && read_at.elapsed() < age
        {
            return Ok(Arc::clone(value));
        }
        let read = match self.read(None).await {
            Ok(None) => Err(AwsError::new("read the application secret", "it has no current version")),
            Ok(Some(value)) => Ok(value),
            Err(error) => Err(error),
        };
        match read {
            Ok(value) => {
                let value = Arc::new(value);
                // Another version may be the current one now, and then another is the one before.
                *self.previous.lock().unwrap_or_else(PoisonError::into_inner) = None;
                *self.cached.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), Arc::clone(&value)));
                Ok(value)
            }
            // An outdated secret still proves most signatures; an error proves none.
            Err(error) => match cached {
                Some((_, value)) => {
                    tracing::warn!(secret.id = self.id, error = %DisplayErrorContext(&error), "kept an outdated secret");
                    // Nor does waiting for one at every delivery: it serves a while before it is asked for again.
                    let looks_read_at = Instant::now().checked_sub(FRESH_FOR.saturating_sub(RELOAD_AFTER));
                    *self.cached.lock().unwrap_or_else(PoisonError::into_inner) =
                        looks_read_at.map(|read_at| (read_at, Arc::clone(&value)));
                    Ok(value)
                }
                None => Err(error),
            },
        }
    }

    /// `None`: there is no version at this stage.
    async fn read(&self, stage: Option<&str>) -> Result<Option<T>, AwsError> {
        const OPERATION: &str = "read the application secret";
        let request = self.client.get_secret_value().secret_id(&self.id).set_version_stage(stage.map(str::to_owned));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
                return if stage.is_some() { Ok(None) } else { Err(AwsError::new(OPERATION, error)) };
            }
            Err(error) => return Err(AwsError::new(OPERATION, error)),
        };
        // serde_json's message can quote what it read; the category cannot.
        serde_json::from_str(answer.secret_string().unwrap_or_default())
            .map(Some)
            .map_err(|error| AwsError::new(OPERATION, format!("not the documented JSON ({:?})", error.classify())))
    }
}

/// Our application at each provider.
pub struct Applications {
    square: Secret<Application>,
    toast: Secret<Application>,
    lightspeed: Secret<Application>,
}

impl Applications {
    /// Reads nothing yet. The ids of the secrets are settings of the function.
    pub fn new(client: &Client, r: &Reader<'_>) -> Self {
        let secret = |name| Secret::new(client.clone(), r.text(name));
        Self {
            square: secret("SQUARE_SECRET_ID"),
            toast: secret("TOAST_SECRET_ID"),
            lightspeed: secret("LIGHTSPEED_SECRET_ID"),
        }
    }

    /// The secret of our application at this provider.
    pub fn secret(&self, provider: ProviderKind) -> &Secret<Application> {
        match provider {
            ProviderKind::Square => &self.square,
            ProviderKind::Toast => &self.toast,
            ProviderKind::Lightspeed => &self.lightspeed,
        }
    }

    /// Our application at this provider, at most five minutes old.
    pub async fn get(&self, provider: ProviderKind) -> Result<Arc<Application>, AwsError> {
        self.secret(provider).get().await
    }
}
