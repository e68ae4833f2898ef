//! What vendors have delivered, under seal: it tells of people, and only a replay or an audited look needs it.
//!
//! A secret has a data key of its own; deliveries are millions, so one data key serves an execution environment for an
//! hour. Whose delivery it is, is authenticated with the row's key: a body that is moved to another row opens nowhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::{DataKey, LAYOUT, Sealed, Vault, VaultError, framed, join, split};

/// How long a data key is used. (AES-GCM with nonces by chance bears four thousand million seals.)
const KEY_LIFE: Duration = Duration::from_secs(3600);
/// Keys of other environments that are remembered while their bodies are read.
const REMEMBERED: usize = 64;
/// Larger than anything that was ever sealed here: what unpacks to more is not ours.
const LARGEST: usize = 16 * 1024 * 1024;

/// Seals and opens bodies. Its key is asked for once an hour.
pub struct Bodies {
    vault: Arc<Vault>,
    current: Mutex<Option<(Instant, Arc<DataKey>)>>,
    unwrapped: Mutex<HashMap<Vec<u8>, Arc<DataKey>>>,
}

impl Bodies {
    /// With the key of this vault.
    pub fn new(vault: Arc<Vault>) -> Self {
        Self { vault, current: Mutex::default(), unwrapped: Mutex::default() }
    }

    /// Packs and seals a body for its place (whose log, which event): no call, except for the first in an hour.
    pub async fn seal(&self, place: [&str; 2], body: &[u8]) -> Result<Vec<u8>, VaultError> {
        let packed = zstd::bulk::compress(body, 3).map_err(|_| VaultError::NotSealed)?;
        self.seal_packed(place, packed).await
    }

    /// Seals what is packed already.
    pub async fn seal_packed(&self, place: [&str; 2], packed: Vec<u8>) -> Result<Vec<u8>, VaultError> {
        let key = self.key().await?;
        let (nonce, text) = self.vault.encrypt(&key.plain, &aad(place), packed)?;
        join(&Sealed { key_id: &self.vault.key_id, wrapped: &key.wrapped, nonce, text: &text })
    }

    /// Opens what [`Bodies::seal`] made for the same place: a call for each key that it has not seen.
    pub async fn open(&self, place: [&str; 2], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let packed = self.open_packed(place, sealed).await?;
        zstd::bulk::decompress(&packed, LARGEST).map_err(|_| VaultError::NotAuthentic)
    }

    /// Opens what [`Bodies::seal_packed`] made for the same place, and leaves it packed.
    pub async fn open_packed(&self, place: [&str; 2], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let Sealed { key_id, wrapped, nonce, text } = split(sealed).ok_or(VaultError::NotAuthentic)?;
        let known = self.unwrapped.lock().unwrap_or_else(PoisonError::into_inner).get(wrapped).cloned();
        let key = match known {
            Some(key) => key,
            None => {
                let plain = self.vault.unwrap_key(key_id, wrapped, &pairs()).await?;
                let key = Arc::new(DataKey { plain, wrapped: wrapped.to_vec() });
                let mut unwrapped = self.unwrapped.lock().unwrap_or_else(PoisonError::into_inner);
                if unwrapped.len() >= REMEMBERED {
                    unwrapped.clear();
                }
                unwrapped.insert(wrapped.to_vec(), Arc::clone(&key));
                key
            }
        };
        super::decrypt(&key.plain, &aad(place), nonce, text)
    }

    async fn key(&self) -> Result<Arc<DataKey>, VaultError> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((made_at, key)) = &current
            && made_at.elapsed() < KEY_LIFE
        {
            return Ok(Arc::clone(key));
        }
        let key = match (self.vault.data_key(&pairs()).await, current) {
            (Ok(key), _) => Arc::new(key),
            // While KMS is away, an older key is as good.
            (Err(_), Some((_, older))) => return Ok(older),
            (Err(error), None) => return Err(error),
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Arc::clone(&key)));
        Ok(key)
    }
}

/// The encryption context: the same for all, because the key is.
fn pairs() -> [(&'static str, String); 2] {
    [("app", "pos-integration".to_owned()), ("purpose", "bodies".to_owned())]
}

fn aad(place: [&str; 2]) -> Vec<u8> {
    let mut aad = vec![LAYOUT];
    for (name, value) in
        pairs().iter().map(|(name, value)| (*name, value.as_str())).chain([("log", place[0]), ("event", place[1])])
    {
        framed(&mut aad, &[name.as_bytes(), value.as_bytes()]);
    }
    aad
}
