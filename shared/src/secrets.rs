//! Application secrets in Secrets Manager: one read per execution environment and five minutes, none per event.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::DisplayErrorContext;
use serde::de::DeserializeOwned;

use crate::aws::AwsError;

/// How long a secret is used before it is read again.
const FRESH_FOR: Duration = Duration::from_secs(300);
/// How soon a secret may be read again because it seems outdated: a wrong signature must not buy anybody a call.
const RELOAD_AFTER: Duration = Duration::from_secs(20);

/// A secret that holds JSON of type `T`.
pub struct Secret<T> {
    client: Client,
    id: String,
    cached: Mutex<Option<(Instant, Arc<T>)>>,
}

impl<T: DeserializeOwned> Secret<T> {
    /// Names the secret; nothing is read yet.
    pub fn new(client: Client, id: String) -> Self {
        Self { client, id, cached: Mutex::new(None) }
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

    async fn not_older_than(&self, age: Duration) -> Result<Arc<T>, AwsError> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read_at, value)) = &cached
            && read_at.elapsed() < age
        {
            return Ok(Arc::clone(value));
        }
        match self.read().await {
            Ok(value) => {
                let value = Arc::new(value);
                *self.cached.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), Arc::clone(&value)));
                Ok(value)
            }
            // An outdated secret still proves most signatures; an error proves none.
            Err(error) => match cached {
                Some((_, value)) => {
                    tracing::warn!(secret.id = self.id, error = %DisplayErrorContext(&error), "kept an outdated secret");
                    Ok(value)
                }
                None => Err(error),
            },
        }
    }

    async fn read(&self) -> Result<T, AwsError> {
        const OPERATION: &str = "read the application secret";
        let answer = self.client.get_secret_value().secret_id(&self.id).send().await;
        let answer = answer.map_err(|error| AwsError::new(OPERATION, error))?;
        // serde_json's message can quote what it read; the category cannot.
        serde_json::from_str(answer.secret_string().unwrap_or_default())
            .map_err(|error| AwsError::new(OPERATION, format!("not the documented JSON ({:?})", error.classify())))
    }
}
