//! Credentials under seal: a KMS data key for each, AES-256-GCM, and a context that ties the seal to its owner.
//!
//! Sealing asks KMS for `GenerateDataKey`, opening for `Decrypt`, both with the context as encryption context. A function
//! whose role has only the first can seal and never open. The context is authenticated twice (by KMS and as AAD), so a
//! ciphertext that is moved to another tenant's item opens nowhere.

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::aws::AwsError;
use crate::domain::{ConfigurationId, ProviderKind, TenantScope};
use crate::providers::Credentials;

/// The first byte of every sealed blob: the layout that follows.
const LAYOUT: u8 = 1;

/// Whose credentials they are. Ids only: CloudTrail logs it in the clear.
#[derive(Debug, Clone, Copy)]
pub struct SealContext<'a> {
    /// Whose.
    pub scope: &'a TenantScope,
    /// Of which connection.
    pub configuration_id: ConfigurationId,
    /// To which provider.
    pub provider: ProviderKind,
}

impl SealContext<'_> {
    fn pairs(&self) -> [(&'static str, String); 5] {
        [
            ("app", "pos-integration".to_owned()),
            ("configuration", self.configuration_id.to_string()),
            ("provider", self.provider.to_string()),
            // The policies in the template let a role seal or open by purpose.
            ("purpose", "credentials".to_owned()),
            ("tenant", self.scope.tenant_id().to_string()),
        ]
    }

    /// Length-framed, so that no two contexts have the same bytes.
    fn aad(&self) -> Vec<u8> {
        let mut aad = vec![LAYOUT];
        for (name, value) in self.pairs() {
            for part in [name.as_bytes(), value.as_bytes()] {
                aad.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
                aad.extend(part);
            }
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

/// Why credentials stayed closed, or open.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// KMS refused or did not answer.
    #[error(transparent)]
    Kms(#[from] AwsError),
    /// Not our layout, another owner's, or altered.
    #[error("the sealed credentials are not authentic")]
    NotAuthentic,
    /// No randomness, or a key of the wrong length.
    #[error("the credentials could not be sealed")]
    NotSealed,
}

impl Vault {
    /// `key_id`: the KMS key, by ARN.
    pub fn new(kms: Client, key_id: String) -> Self {
        Self { kms, key_id, random: SystemRandom::new() }
    }

    /// Seals credentials for their owner: one KMS call.
    ///
    /// Layout: version (1), length of the wrapped key (2, big endian), wrapped key, nonce (12), ciphertext and tag.
    pub async fn seal(&self, context: SealContext<'_>, credentials: &Credentials) -> Result<Vec<u8>, VaultError> {
        let mut request = self.kms.generate_data_key().key_id(&self.key_id).key_spec(DataKeySpec::Aes256);
        for (name, value) in context.pairs() {
            request = request.encryption_context(name, value);
        }
        let answer = request.send().await.map_err(|error| AwsError::new("make a data key", error))?;
        let key = answer.plaintext.map(|key| Zeroizing::new(key.into_inner())).ok_or(VaultError::NotSealed)?;
        let wrapped = answer.ciphertext_blob.map(Blob::into_inner).ok_or(VaultError::NotSealed)?;

        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| VaultError::NotSealed)?;
        let mut text = Zeroizing::new(serde_json::to_vec(credentials).map_err(|_| VaultError::NotSealed)?);
        let tag = cipher(&key)
            .ok_or(VaultError::NotSealed)?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context.aad()), &mut text)
            .map_err(|_| VaultError::NotSealed)?;

        let mut sealed = vec![LAYOUT];
        sealed.extend(u16::try_from(wrapped.len()).map_err(|_| VaultError::NotSealed)?.to_be_bytes());
        for part in [wrapped.as_slice(), &nonce, &text, tag.as_ref()] {
            sealed.extend(part);
        }
        Ok(sealed)
    }

    /// Opens what [`Vault::seal`] made for the same owner: one KMS call.
    pub async fn open(&self, context: SealContext<'_>, sealed: &[u8]) -> Result<Credentials, VaultError> {
        let (wrapped, nonce, text) = split(sealed).ok_or(VaultError::NotAuthentic)?;
        let mut request = self.kms.decrypt().key_id(&self.key_id).ciphertext_blob(Blob::new(wrapped));
        for (name, value) in context.pairs() {
            request = request.encryption_context(name, value);
        }
        let answer = request.send().await.map_err(|error| {
            use aws_sdk_kms::operation::decrypt::DecryptError as E;
            match error.as_service_error() {
                Some(E::InvalidCiphertextException(_) | E::IncorrectKeyException(_)) => VaultError::NotAuthentic,
                _ => AwsError::new("unwrap a data key", error).into(),
            }
        })?;
        let key = answer.plaintext.map(|key| Zeroizing::new(key.into_inner())).ok_or(VaultError::NotAuthentic)?;
        let mut text = Zeroizing::new(text.to_vec());
        let text = cipher(&key)
            .ok_or(VaultError::NotAuthentic)?
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(context.aad()), &mut text)
            .map_err(|_| VaultError::NotAuthentic)?;
        serde_json::from_slice(text).map_err(|_| VaultError::NotAuthentic)
    }
}

fn cipher(key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

fn split(sealed: &[u8]) -> Option<(&[u8], [u8; NONCE_LEN], &[u8])> {
    let (&LAYOUT, rest) = sealed.split_first()? else { return None };
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (wrapped, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
    Some((wrapped, *nonce, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_of_another_layout_or_length_is_refused() {
        assert!(split(&[]).is_none());
        assert!(split(&[2, 0, 0]).is_none());
        assert!(split(&[1, 0, 9, 1]).is_none());
        assert!(split(&[&[1, 0, 1, 7][..], &[0; NONCE_LEN]].concat()).is_some());
    }
}
