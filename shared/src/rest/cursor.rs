//! Where a listing goes on: opaque, signed, ending, and bound to the tenant and the filter that it was made for.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use lambda_http::RequestExt;
use ring::hmac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Question;
use crate::domain::{TenantId, TenantScope};
use crate::problem::{FieldError, Problem};

/// The application secret that signs cursors.
#[derive(Deserialize)]
pub struct CursorKey {
    key: Zeroizing<String>,
}

/// How long a cursor can be used: long enough for a person's pause, short enough to follow a rotated key.
const CURSOR_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// Texts that only we can have written, until they end.
pub struct Seal<'a> {
    key: &'a CursorKey,
    /// What the text is for; one made for something else is refused.
    purpose: &'a [&'a str],
}

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    until: i64,
    value: T,
}

impl<'a> Seal<'a> {
    /// For one purpose.
    pub fn new(key: &'a CursorKey, purpose: &'a [&'a str]) -> Self {
        Self { key, purpose }
    }

    /// The text that stands for a value until then.
    pub fn write(&self, value: &impl Serialize, until: Timestamp) -> Result<String, Problem> {
        let sealed = Sealed { until: until.as_second(), value };
        let bytes = serde_json::to_vec(&sealed).map_err(|_| Problem::internal())?;
        let tag = hmac::sign(&self.signing_key(), &self.signed(&bytes));
        Ok(URL_SAFE_NO_PAD.encode([tag.as_ref(), &bytes].concat()))
    }

    /// The value that a text stands for. `None`: not ours, for something else, or over.
    pub fn read<T: DeserializeOwned>(&self, text: &str, now: Timestamp) -> Option<T> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (tag, bytes) = bytes.split_at_checked(32)?;
        hmac::verify(&self.signing_key(), &self.signed(bytes), tag).ok()?;
        let sealed: Sealed<T> = serde_json::from_slice(bytes).ok()?;
        (now.as_second() < sealed.until).then_some(sealed.value)
    }

    /// As [`Seal::write`], for somebody who comes back without a token.
    pub fn write_for(&self, scope: &TenantScope, value: &impl Serialize, until: Timestamp) -> Result<String, Problem> {
        self.write(&(scope.tenant_id(), value), until)
    }

    /// What [`Seal::write_for`] wrote, and for whom: that we have signed it proves the tenant.
    pub fn read_for<T: DeserializeOwned>(&self, text: &str, now: Timestamp) -> Option<(TenantScope, T)> {
        let (tenant, value) = self.read::<(TenantId, T)>(text, now)?;
        Some((TenantScope::new(tenant), value))
    }

    fn signing_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.key.key.as_bytes())
    }

    fn signed(&self, bytes: &[u8]) -> Vec<u8> {
        let mut signed = Vec::new();
        for part in self.purpose.iter().map(|part| part.as_bytes()).chain([bytes]) {
            signed.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            signed.extend(part);
        }
        signed
    }
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
        let until = Timestamp::now() + CURSOR_LIFETIME;
        Seal::new(&self.key, &self.purpose()).write(position, until)
    }

    /// The position that a text stands for.
    pub fn read<T: DeserializeOwned>(&self, cursor: &str) -> Result<T, FieldError> {
        let position = Seal::new(&self.key, &self.purpose()).read(cursor, Timestamp::now());
        position.ok_or_else(|| FieldError::new("cursor", "was not made for this listing, or is too old"))
    }

    fn purpose(&self) -> [&str; 3] {
        ["cursor", self.scope.tenant_id().as_str(), &self.filter]
    }
}

impl Question {
    /// The value of a `Link` header (RFC 8288) that leads to the next page: this request's query with another cursor. Its
    /// target has no path, so whoever follows it stays where this request was sent to, whatever stands before us.
    pub fn link_to_next(&self, cursor: &str) -> String {
        let query = self.request.query_string_parameters();
        let mut link = "<?".to_owned();
        for (name, value) in query.iter().filter(|(name, _)| *name != "cursor") {
            link = link + &percent_encoded(name) + "=" + &percent_encoded(value) + "&";
        }
        // What a cursor is made of needs no encoding.
        link + "cursor=" + cursor + ">; rel=\"next\""
    }
}

/// <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_a_url_is_encoded() {
        assert_eq!(percent_encoded("a-Z_0.~ä&=+:#>"), "a-Z_0.~%C3%A4%26%3D%2B%3A%23%3E");
    }

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

    #[test]
    fn a_sealed_text_ends_and_serves_one_purpose() {
        let key = CursorKey { key: Zeroizing::new("k".into()) };
        let at = |second| Timestamp::from_second(second).unwrap();
        let text = Seal::new(&key, &["state"]).write(&7, at(100)).unwrap();
        assert_eq!(Seal::new(&key, &["state"]).read(&text, at(99)), Some(7));
        assert_eq!(Seal::new(&key, &["state"]).read::<u8>(&text, at(100)), None);
        assert_eq!(Seal::new(&key, &["cursor"]).read::<u8>(&text, at(99)), None);
    }
}
