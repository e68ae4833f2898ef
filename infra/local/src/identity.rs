//! The identity provider whose tokens the API accepts: one ES256 key, made when the value is made.
//!
//! It can also lie in every way that an attacker or a clock might, because a test of an authorizer is mostly a list of
//! tokens that must be refused.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    error::Unspecified,
    rand::{SecureRandom as _, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

/// Issuer that a [`Stack`](crate::Stack)'s authorizer accepts unless its options say otherwise.
pub const ISSUER: &str = "https://identity.localhost";
/// Audience that a [`Stack`](crate::Stack)'s authorizer accepts unless its options say otherwise.
pub const AUDIENCE: &str = "pos-integration";

/// What is wrong with a token that must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It ended an hour ago.
    Expired,
    /// It begins in an hour.
    NotYetValid,
    /// Signed by a key of somebody else, under our key's id.
    OtherKey,
    /// Signed by our key, under an id that is not in the key set.
    UnknownKeyId,
    /// Meant for another service.
    OtherAudience,
    /// Issued by another provider.
    OtherIssuer,
    /// `alg: none`, with an empty signature.
    Unsigned,
    /// One claim changed after it was signed.
    Altered,
    /// It names no tenant.
    NoTenant,
}

impl Flaw {
    /// All of them, for tests that want to try each.
    pub const ALL: [Self; 9] = [
        Self::Expired,
        Self::NotYetValid,
        Self::OtherKey,
        Self::UnknownKeyId,
        Self::OtherAudience,
        Self::OtherIssuer,
        Self::Unsigned,
        Self::Altered,
        Self::NoTenant,
    ];
}

/// A key or a signature could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no randomness to give")]
pub struct NoRandomness;

impl From<Unspecified> for NoRandomness {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// An identity provider with one signing key.
#[derive(Debug)]
pub struct Identity {
    key: EcdsaKeyPair,
    key_id: String,
    random: SystemRandom,
}

impl Identity {
    /// Makes the key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new() -> Result<Self, NoRandomness> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .map_err(|_| NoRandomness)?;
        let mut id = [0; 9];
        random.fill(&mut id)?;
        Ok(Self { key, key_id: URL_SAFE_NO_PAD.encode(id), random })
    }

    /// The key set, as the JWKS secret holds it.
    #[must_use]
    pub fn jwks(&self) -> Value {
        // An uncompressed point: 0x04, then the two coordinates of 32 bytes.
        let point = self.key.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.key_id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }

    /// A good token.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn token(&self, tenant: &str, roles: &[&str], lifetime: Duration) -> Result<String, NoRandomness> {
        self.sign(&claims(tenant, roles, lifetime))
    }

    /// A token that must be refused for one reason only.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn flawed_token(&self, flaw: Flaw, tenant: &str, roles: &[&str]) -> Result<String, NoRandomness> {
        let hour = 3600;
        let mut claims = claims(tenant, roles, Duration::from_secs(hour));
        let now = seconds_since_epoch();
        match flaw {
            Flaw::Expired => {
                set(&mut claims, "nbf", (now - 2 * hour).into());
                set(&mut claims, "exp", (now - hour).into());
            }
            Flaw::NotYetValid => {
                set(&mut claims, "nbf", (now + hour).into());
                set(&mut claims, "exp", (now + 2 * hour).into());
            }
            Flaw::OtherKey => {
                let stranger = Self { key_id: self.key_id.clone(), ..Self::new()? };
                return stranger.sign(&claims);
            }
            Flaw::UnknownKeyId => {
                return self.sign_as(&json!({ "alg": "ES256", "kid": "nobody" }), &claims);
            }
            Flaw::OtherAudience => set(&mut claims, "aud", "another-service".into()),
            Flaw::OtherIssuer => set(&mut claims, "iss", "https://elsewhere.localhost".into()),
            Flaw::Unsigned => {
                let header = encode(&json!({ "alg": "none", "kid": self.key_id }));
                return Ok(format!("{header}.{}.", encode(&claims)));
            }
            Flaw::Altered => {
                let token = self.sign(&claims)?;
                set(&mut claims, "tenant_id", "somebody-else".into());
                let mut parts: Vec<&str> = token.split('.').collect();
                let altered = encode(&claims);
                if let Some(middle) = parts.get_mut(1) {
                    *middle = &altered;
                }
                return Ok(parts.join("."));
            }
            Flaw::NoTenant => {
                if let Some(claims) = claims.as_object_mut() {
                    claims.remove("tenant_id");
                }
            }
        }
        self.sign(&claims)
    }

    /// Signs whatever claims it is given.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn sign(&self, claims: &Value) -> Result<String, NoRandomness> {
        self.sign_as(&json!({ "alg": "ES256", "typ": "JWT", "kid": self.key_id }), claims)
    }

    fn sign_as(&self, header: &Value, claims: &Value) -> Result<String, NoRandomness> {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The claims of a good token, for tests that want to change one of them and [`Identity::sign`] the rest.
#[must_use]
pub fn claims(tenant: &str, roles: &[&str], lifetime: Duration) -> Value {
    let now = seconds_since_epoch();
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "local-user",
        "iat": now,
        // A little earlier, as real providers do, because two clocks never agree.
        "nbf": now - 5,
        "exp": now + lifetime.as_secs(),
        "tenant_id": tenant,
        "roles": roles.iter().copied().collect::<BTreeSet<_>>(),
    })
}

fn set(claims: &mut Value, name: &str, value: Value) {
    if let Some(claims) = claims.as_object_mut() {
        claims.insert(name.to_owned(), value);
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn seconds_since_epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    /// What a verifier does, from the exported key set only.
    fn verifies(token: &str, jwks: &Value) -> bool {
        let parts: Vec<&str> = token.split('.').collect();
        let mut point = vec![4];
        for coordinate in ["x", "y"] {
            point.extend(URL_SAFE_NO_PAD.decode(jwks["keys"][0][coordinate].as_str().unwrap()).unwrap());
        }
        let signed = format!("{}.{}", parts[0], parts[1]);
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).is_ok()
    }

    fn decoded(token: &str, part: usize) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(part).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn a_good_token_verifies_with_the_exported_key() {
        let identity = Identity::new().unwrap();
        let token = identity.token("bakery", &["pos:read"], Duration::from_secs(60)).unwrap();
        assert!(verifies(&token, &identity.jwks()));
        assert_eq!(decoded(&token, 0)["kid"], identity.jwks()["keys"][0]["kid"]);
        assert_eq!(decoded(&token, 1)["tenant_id"], "bakery");
    }

    #[test]
    fn a_flawed_token_has_its_flaw_and_no_other() {
        let identity = Identity::new().unwrap();
        for flaw in Flaw::ALL {
            let token = identity.flawed_token(flaw, "bakery", &["pos:read"]).unwrap();
            let signed_by_us = !matches!(flaw, Flaw::OtherKey | Flaw::Unsigned | Flaw::Altered);
            assert_eq!(verifies(&token, &identity.jwks()), signed_by_us, "{flaw:?}");
            let claims = decoded(&token, 1);
            assert_eq!(claims["iss"] != ISSUER, flaw == Flaw::OtherIssuer, "{flaw:?}");
            assert_eq!(claims["aud"] != AUDIENCE, flaw == Flaw::OtherAudience, "{flaw:?}");
            assert_eq!(claims["tenant_id"].is_null(), flaw == Flaw::NoTenant, "{flaw:?}");
            assert_eq!(claims["exp"].as_u64().unwrap() < seconds_since_epoch(), flaw == Flaw::Expired, "{flaw:?}");
            assert_eq!(claims["nbf"].as_u64().unwrap() > seconds_since_epoch(), flaw == Flaw::NotYetValid, "{flaw:?}");
        }
    }
}
