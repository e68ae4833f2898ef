//! Secrets under seal: a KMS data key for each, AES-256-GCM, and a context that ties the seal to its owner.
//!
//! Sealing asks KMS for `GenerateDataKey`, opening for `Decrypt`, both with the context as encryption context. A function
//! whose role has only the first can seal and never open. The context is authenticated twice (by KMS and as AAD), so a
//! ciphertext that is moved to another tenant's item opens nowhere.

mod bodies;

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

pub use bodies::{Bodies, open_under};

use crate::aws::AwsError;
use crate::domain::{ConfigurationId, ProviderKind, TenantScope};

/// The first byte of every sealed secret: the layout that follows.
const LAYOUT: u8 = 2;

/// What is sealed. The policies in the template let a role seal or open by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// What the provider gave us to act for a merchant.
    Credentials,
    /// What proves deliveries to a configuration's own webhook URL.
    Webhook,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Webhook => "webhook",
        }
    }
}

/// Whose secret it is. Ids only: CloudTrail logs it in the clear.
///
/// ```compile_fail,E0063
/// # use shared::{domain::*, vault::*};
/// # async fn of(vault: &Vault, configuration_id: ConfigurationId) {
/// use shared::domain::ProviderKind::Square as provider;
/// use shared::vault::Purpose::Webhook as purpose;
/// let _ = vault.seal(SealContext { configuration_id, provider, purpose }, &"secret").await; // whose?
/// # }
/// ```
///
/// ```
/// # use shared::{domain::*, vault::*};
/// # async fn of(vault: &Vault, configuration_id: ConfigurationId, scope: TenantScope) {
/// use shared::domain::ProviderKind::Square as provider;
/// use shared::vault::Purpose::Webhook as purpose;
/// let _ = vault.seal(SealContext { scope: &scope, configuration_id, provider, purpose }, &"secret").await;
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SealContext<'a> {
    /// Whose.
    pub scope: &'a TenantScope,
    /// Of which connection.
    pub configuration_id: ConfigurationId,
    /// To which provider.
    pub provider: ProviderKind,
    /// What for.
    pub purpose: Purpose,
}

impl SealContext<'_> {
    fn pairs(&self) -> [(&'static str, String); 5] {
        [
            ("app", "pos-integration".to_owned()),
            ("configuration", self.configuration_id.to_string()),
            ("provider", self.provider.to_string()),
            ("purpose", self.purpose.as_str().to_owned()),
            ("tenant", self.scope.tenant_id().to_string()),
        ]
    }

    /// Length-framed, so that no two contexts have the same bytes.
    fn aad(&self) -> Vec<u8> {
        let mut aad = vec![LAYOUT];
        for (name, value) in self.pairs() {
            framed(&mut aad, &[name.as_bytes(), value.as_bytes()]);
        }
        aad
    }
}

/// Seals and opens.
pub struct Vault {
    kms: Client,
    key_id: String,
    random: SystemRandom,
}

/// Why a secret stayed closed, or open.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// KMS refused or did not answer.
    #[error(transparent)]
    Kms(#[from] AwsError),
    /// Not our layout, another owner's, or altered.
    #[error("the sealed secret is not authentic")]
    NotAuthentic,
    /// No randomness, or a key of the wrong length.
    #[error("the secret could not be sealed")]
    NotSealed,
}

impl Vault {
    /// `key_id`: the KMS key, by ARN.
    pub fn new(kms: Client, key_id: String) -> Self {
        Self { kms, key_id, random: SystemRandom::new() }
    }

    /// Seals a secret for its owner: one KMS call.
    ///
    /// Layout: version (1), length of the key's ARN (2, big endian), ARN, length of the wrapped key (2), wrapped key,
    /// nonce (12), ciphertext and tag.
    pub async fn seal(&self, context: SealContext<'_>, secret: &impl Serialize) -> Result<Vec<u8>, VaultError> {
        let key = self.data_key(&context.pairs()).await?;
        let text = serde_json::to_vec(secret).map_err(|_| VaultError::NotSealed)?;
        let (nonce, text) = self.encrypt(&key.plain, &context.aad(), text)?;
        join(&Sealed { key_id: &self.key_id, wrapped: &key.wrapped, nonce, text: &text })
    }

    /// Opens what [`Vault::seal`] made for the same owner: one KMS call.
    pub async fn open<T: DeserializeOwned>(&self, context: SealContext<'_>, sealed: &[u8]) -> Result<T, VaultError> {
        let Sealed { key_id, wrapped, nonce, text } = split(sealed).ok_or(VaultError::NotAuthentic)?;
        let key = self.unwrap_key(Some(key_id), wrapped, &context.pairs()).await?;
        let text = decrypt(&key, &context.aad(), nonce, text)?;
        serde_json::from_slice(&text).map_err(|_| VaultError::NotAuthentic)
    }

    /// Wraps the data key of a sealed secret with the vault's own key, if another one wraps it. The plain data key
    /// never leaves KMS; the ciphertext stays as it is. `None`: there is nothing to do.
    pub async fn reseal(&self, context: SealContext<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        let Sealed { key_id, wrapped, nonce, text } = split(sealed).ok_or(VaultError::NotAuthentic)?;
        if key_id == self.key_id {
            return Ok(None);
        }
        let mut request = self
            .kms
            .re_encrypt()
            .ciphertext_blob(Blob::new(wrapped))
            .source_key_id(key_id)
            .destination_key_id(&self.key_id);
        for (name, value) in context.pairs() {
            request = request.source_encryption_context(name, &value).destination_encryption_context(name, value);
        }
        let answer = request.send().await.map_err(|error| {
            use aws_sdk_kms::operation::re_encrypt::ReEncryptError as E;
            match error.as_service_error() {
                Some(E::InvalidCiphertextException(_) | E::IncorrectKeyException(_)) => VaultError::NotAuthentic,
                _ => AwsError::new("wrap a data key again", error).into(),
            }
        })?;
        let wrapped = answer.ciphertext_blob.map(Blob::into_inner).ok_or(VaultError::NotSealed)?;
        join(&Sealed { key_id: &self.key_id, wrapped: &wrapped, nonce, text }).map(Some)
    }

    /// A new data key, plain and wrapped.
    async fn data_key(&self, context: &[(&'static str, String)]) -> Result<DataKey, VaultError> {
        let mut request = self.kms.generate_data_key().key_id(&self.key_id).key_spec(DataKeySpec::Aes256);
        for (name, value) in context {
            request = request.encryption_context(*name, value);
        }
        let answer = request.send().await.map_err(|error| AwsError::new("make a data key", error))?;
        let plain = answer.plaintext.map(|key| Zeroizing::new(key.into_inner())).ok_or(VaultError::NotSealed)?;
        let wrapped = answer.ciphertext_blob.map(Blob::into_inner).ok_or(VaultError::NotSealed)?;
        Ok(DataKey { plain, wrapped })
    }

    async fn unwrap_key(
        &self,
        key_id: Option<&str>,
        wrapped: &[u8],
        context: &[(&'static str, String)],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let mut request = self.kms.decrypt().set_key_id(key_id.map(str::to_owned)).ciphertext_blob(Blob::new(wrapped));
        for (name, value) in context {
            request = request.encryption_context(*name, value);
        }
        let answer = request.send().await.map_err(|error| {
            use aws_sdk_kms::operation::decrypt::DecryptError as E;
            match error.as_service_error() {
                Some(E::InvalidCiphertextException(_) | E::IncorrectKeyException(_)) => VaultError::NotAuthentic,
                _ => AwsError::new("unwrap a data key", error).into(),
            }
        })?;
        answer.plaintext.map(|key| Zeroizing::new(key.into_inner())).ok_or(VaultError::NotAuthentic)
    }

    /// Nonce, and ciphertext with its tag.
    fn encrypt(&self, key: &[u8], aad: &[u8], text: Vec<u8>) -> Result<([u8; NONCE_LEN], Vec<u8>), VaultError> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| VaultError::NotSealed)?;
        let mut text = Zeroizing::new(text);
        let tag = cipher(key)
            .ok_or(VaultError::NotSealed)?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut text)
            .map_err(|_| VaultError::NotSealed)?;
        Ok((nonce, [text.as_slice(), tag.as_ref()].concat()))
    }

    /// The KMS key that secrets are sealed with now.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

/// What AES-GCM works with, and how it travels.
pub struct DataKey {
    plain: Zeroizing<Vec<u8>>,
    wrapped: Vec<u8>,
}

impl DataKey {
    /// Under a key of KMS.
    pub fn wrapped(&self) -> &[u8] {
        &self.wrapped
    }
}

/// The parts of a sealed secret. The key's id is not part of what is authenticated: KMS knows whose key it is.
struct Sealed<'a> {
    key_id: &'a str,
    wrapped: &'a [u8],
    nonce: [u8; NONCE_LEN],
    text: &'a [u8],
}

fn cipher(key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

fn decrypt(key: &[u8], aad: &[u8], nonce: [u8; NONCE_LEN], text: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let mut text = Zeroizing::new(text.to_vec());
    let length = cipher(key)
        .ok_or(VaultError::NotAuthentic)?
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut text)
        .map_err(|_| VaultError::NotAuthentic)?
        .len();
    text.truncate(length);
    Ok(text)
}

/// Each part with its length before it.
fn framed(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(*part);
    }
}

fn join(parts: &Sealed<'_>) -> Result<Vec<u8>, VaultError> {
    let mut sealed = vec![LAYOUT];
    with_length(&mut sealed, parts.key_id.as_bytes())?;
    with_length(&mut sealed, parts.wrapped)?;
    sealed.extend(parts.nonce);
    sealed.extend(parts.text);
    Ok(sealed)
}

fn with_length(sealed: &mut Vec<u8>, part: &[u8]) -> Result<(), VaultError> {
    sealed.extend(u16::try_from(part.len()).map_err(|_| VaultError::NotSealed)?.to_be_bytes());
    sealed.extend(part);
    Ok(())
}

/// What [`with_length`] wrote first, and the rest.
fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

fn split(sealed: &[u8]) -> Option<Sealed<'_>> {
    let (&LAYOUT, rest) = sealed.split_first()? else { return None };
    let (key_id, rest) = first(rest)?;
    let (wrapped, rest) = first(rest)?;
    let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
    Some(Sealed { key_id: std::str::from_utf8(key_id).ok()?, wrapped, nonce: *nonce, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_of_another_layout_or_length_is_refused() {
        for broken in [&[][..], &[3, 0, 0, 0, 0], &[LAYOUT, 0, 9, 1], &[LAYOUT, 0, 1, b'k', 0, 9, 1]] {
            assert!(split(broken).is_none(), "{broken:?}");
        }
        let sealed = join(&Sealed { key_id: "k", wrapped: &[7], nonce: [1; NONCE_LEN], text: &[9] }).unwrap();
        let parts = split(&sealed).unwrap();
        assert_eq!((parts.key_id, parts.wrapped, parts.nonce, parts.text), ("k", &[7][..], [1; NONCE_LEN], &[9][..]));
    }
}
