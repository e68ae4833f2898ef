//! Where a listing goes on: opaque, signed, and bound to the tenant and the filter that it was made for.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::TenantScope;
use crate::problem::{FieldError, Problem};

/// The application secret that signs cursors.
#[derive(Deserialize)]
pub struct CursorKey {
    key: Zeroizing<String>,
}

/// Makes and reads the cursors of one listing.
pub struct Cursors<'a> {
    key: Arc<CursorKey>,
    scope: &'a TenantScope,
    /// What the listing was asked for; the cursor of another question is refused.
    filter: String,
}

impl<'a> Cursors<'a> {
    /// For the listing of a tenant with a filter.
    pub fn new(key: Arc<CursorKey>, scope: &'a TenantScope, filter: String) -> Self {
        Self { key, scope, filter }
    }

    /// The text that stands for a position.
    pub fn write(&self, position: &impl Serialize) -> Result<String, Problem> {
        let position = serde_json::to_vec(position).map_err(|_| Problem::internal())?;
        let tag = hmac::sign(&self.signing_key(), &self.signed(&position));
        Ok(URL_SAFE_NO_PAD.encode([tag.as_ref(), &position].concat()))
    }

    /// The position that a text stands for.
    pub fn read<T: DeserializeOwned>(&self, cursor: &str) -> Result<T, FieldError> {
        let refused = || FieldError::new("cursor", "was not made for this listing");
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
        let (tag, position) = bytes.split_at_checked(32).ok_or_else(refused)?;
        hmac::verify(&self.signing_key(), &self.signed(position), tag).map_err(|_| refused())?;
        serde_json::from_slice(position).map_err(|_| refused())
    }

    fn signing_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.key.key.as_bytes())
    }

    fn signed(&self, position: &[u8]) -> Vec<u8> {
        let mut signed = Vec::new();
        for part in [self.scope.tenant_id().as_str().as_bytes(), self.filter.as_bytes(), position] {
            signed.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            signed.extend(part);
        }
        signed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_serves_only_the_listing_that_made_it() {
        let key = Arc::new(CursorKey { key: Zeroizing::new("k".into()) });
        let other_key = Arc::new(CursorKey { key: Zeroizing::new("other".into()) });
        let scope = |id: &str| TenantScope::new(id.parse().unwrap());
        let (mine, theirs) = (scope("t_1"), scope("t_2"));
        let listing = |key: &Arc<CursorKey>, scope, filter: &str| Cursors::new(Arc::clone(key), scope, filter.into());
        let cursor = listing(&key, &mine, "date=1").write(&"here").unwrap();
        assert_eq!(listing(&key, &mine, "date=1").read::<String>(&cursor).unwrap(), "here");
        assert!(listing(&key, &theirs, "date=1").read::<String>(&cursor).is_err());
        assert!(listing(&key, &mine, "date=2").read::<String>(&cursor).is_err());
        assert!(listing(&other_key, &mine, "date=1").read::<String>(&cursor).is_err());
        assert!(
            listing(&key, &mine, "date=1").read::<String>(&cursor.replace('a', "b")).is_err() || !cursor.contains('a')
        );
        assert!(listing(&key, &mine, "date=1").read::<String>("").is_err());
    }
}
