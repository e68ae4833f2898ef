//! What vendors have delivered, under seal: it tells of people, and only a replay or an audited look needs it.
//!
//! A secret has a data key of its own; deliveries are millions, so one data key serves an execution environment for an
//! hour. Whose delivery it is, is authenticated with the row's key: a body that is moved to another row opens nowhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::aead::NONCE_LEN;
use zeroize::Zeroizing;

use super::{DataKey, Vault, VaultError, decrypt, first, framed, with_length};

/// The first byte of a sealed body. After it: length of the wrapped key (2, big endian), wrapped key, nonce (12),
/// ciphertext and tag. Which key wraps it is not said, as it is of a secret: KMS knows, and nobody wraps it again.
const LAYOUT: u8 = 3;
/// The first byte of what is authenticated beside a body. It stays when the layout changes: what others keep has none.
const CONTEXT: u8 = 3;
/// How long a data key is used. (AES-GCM with nonces by chance bears four thousand million seals.)
const KEY_LIFE: Duration = Duration::from_secs(3600);
/// Keys of other environments that are remembered while their bodies are read.
const REMEMBERED: usize = 1024;
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
        let key = self.key().await?;
        let mut sealed = vec![LAYOUT];
        with_length(&mut sealed, &key.wrapped)?;
        sealed.extend(self.seal_under(&key, place, packed)?);
        Ok(sealed)
    }

    /// Opens what [`Bodies::seal`] made for the same place: a call for each key that it has not seen.
    pub async fn open(&self, place: [&str; 2], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (wrapped, sealed) = split(sealed).ok_or(VaultError::NotAuthentic)?;
        let known = self.unwrapped.lock().unwrap_or_else(PoisonError::into_inner).get(wrapped).cloned();
        let key = match known {
            Some(key) => key,
            None => {
                let key = self.unwrap(wrapped).await?;
                let mut unwrapped = self.unwrapped.lock().unwrap_or_else(PoisonError::into_inner);
                if unwrapped.len() >= REMEMBERED {
                    unwrapped.clear();
                }
                unwrapped.insert(wrapped.to_vec(), Arc::clone(&key));
                key
            }
        };
        let packed = open_under(&key, place, sealed)?;
        zstd::bulk::decompress(&packed, LARGEST).map_err(|_| VaultError::NotAuthentic)
    }

    /// Seals, under a key that whoever keeps it keeps elsewhere, what is packed already.
    pub fn seal_under(&self, key: &DataKey, place: [&str; 2], packed: Vec<u8>) -> Result<Vec<u8>, VaultError> {
        let (nonce, text) = self.vault.encrypt(&key.plain, &aad(place), packed)?;
        Ok([nonce.as_slice(), &text].concat())
    }

    /// A key that was wrapped: one KMS call.
    pub async fn unwrap(&self, wrapped: &[u8]) -> Result<Arc<DataKey>, VaultError> {
        let plain = self.vault.unwrap_key(None, wrapped, &pairs()).await?;
        Ok(Arc::new(DataKey { plain, wrapped: wrapped.to_vec() }))
    }

    /// What is sealed with now.
    pub async fn key(&self) -> Result<Arc<DataKey>, VaultError> {
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

/// Opens what [`Bodies::seal_under`] made with the same key for the same place, and leaves it packed.
pub fn open_under(key: &DataKey, place: [&str; 2], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::NotAuthentic)?;
    decrypt(&key.plain, &aad(place), *nonce, text)
}

/// The wrapped key, and what is sealed under it.
fn split(sealed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&LAYOUT, rest) = sealed.split_first()? else { return None };
    first(rest)
}

/// The encryption context: the same for all, because the key is.
fn pairs() -> [(&'static str, String); 2] {
    [("app", "pos-integration".to_owned()), ("purpose", "bodies".to_owned())]
}

fn aad(place: [&str; 2]) -> Vec<u8> {
    let mut aad = vec![CONTEXT];
    for (name, value) in
        pairs().iter().map(|(name, value)| (*name, value.as_str())).chain([("log", place[0]), ("event", place[1])])
    {
        framed(&mut aad, &[name.as_bytes(), value.as_bytes()]);
    }
    aad
}
