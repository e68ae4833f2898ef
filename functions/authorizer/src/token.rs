//! Who a token speaks for, if it may be believed.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use shared::domain::TenantId;

use crate::keys::{Keys, KeysError};

/// Seconds by which two clocks may differ.
const LEEWAY: u64 = 30;
/// A header larger than this is no token of an identity provider.
const MAX_TOKEN: usize = 8 * 1024;

/// What we believe of a token.
#[derive(Debug, Deserialize)]
pub struct Claims {
    /// Who.
    pub sub: String,
    /// For which tenant. Without one it can only speak for the platform.
    pub tenant_id: Option<TenantId>,
    /// As what.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// Why a token was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its own fault; the word is for the log.
    #[error("{0}")]
    Token(&'static str),
    /// We cannot tell: our keys are out of reach.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// Checks tokens.
pub struct Verifier {
    keys: Keys,
    validation: Validation,
}

impl Verifier {
    /// With the identity provider's keys, for tokens of exactly this issuer and audience.
    pub fn new(keys: Keys, issuer: &str, audience: &str) -> Self {
        // The algorithm is put in from the key, see `verify`.
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        Self { keys, validation }
    }

    /// The token's claims, if a key of ours signed them and they hold now.
    pub async fn verify(&self, token: Option<&str>) -> Result<Claims, Refusal> {
        let token = token.filter(|token| token.len() <= MAX_TOKEN).ok_or(Refusal::Token("no bearer token"))?;
        let header = decode_header(token).map_err(|_| Refusal::Token("malformed"))?;
        let kid = header.kid.ok_or(Refusal::Token("no key id"))?;
        let held = self.keys.get().await?;
        let found = held.find(&kid).cloned();
        let key = match found {
            Some(key) => key,
            // A key that was added after we read them.
            None => self
                .keys
                .reload(&held)
                .await?
                .and_then(|fresh| fresh.find(&kid).cloned())
                .ok_or(Refusal::Token("unknown key"))?,
        };
        let mut validation = self.validation.clone();
        validation.algorithms = vec![algorithm(&key).ok_or(Refusal::Token("unsupported key"))?];
        let key = DecodingKey::from_jwk(&key).map_err(|_| Refusal::Token("unsupported key"))?;
        let token = decode::<Claims>(token, &key, &validation).map_err(|error| Refusal::Token(reason(&error)))?;
        Ok(token.claims)
    }
}

/// The one algorithm for a key of this kind. What the token says about its algorithm is only compared with this.
#[expect(clippy::wildcard_enum_match_arm, reason = "another kind of key is not supported, whatever it is")]
fn algorithm(key: &Jwk) -> Option<Algorithm> {
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => Some(Algorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Some(Algorithm::ES256),
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Some(Algorithm::EdDSA),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a word for the log; the common ones have their own")]
fn reason(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind as E;
    match error.kind() {
        E::ExpiredSignature => "expired",
        E::ImmatureSignature => "not yet valid",
        E::InvalidIssuer => "other issuer",
        E::InvalidAudience => "other audience",
        E::InvalidSignature => "wrong signature",
        E::InvalidAlgorithm => "other algorithm than the key's",
        E::MissingRequiredClaim(_) => "a required claim is missing",
        E::Json(_) => "claims of another shape",
        _ => "malformed",
    }
}
