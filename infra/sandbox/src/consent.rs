//! Codes, access tokens and refresh tokens, as far as providers agree on them.
//!
//! How long a token lives, and whether a refresh token may be used twice, is
//! where they do not agree; that stays with each provider.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::seed::Seed;

/// What a merchant has agreed to.
#[derive(Debug, Clone)]
pub struct Consent {
    pub merchant_id: String,
    pub scopes: Vec<String>,
    pub redirect_uri: Option<String>,
    pub until: Timestamp,
    pub revoked: bool,
}

impl Consent {
    pub fn new(merchant_id: &str, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            merchant_id: merchant_id.to_owned(),
            scopes: scopes.into_iter().map(Into::into).collect(),
            redirect_uri: None,
            until: Timestamp::MAX,
            revoked: false,
        }
    }

    pub fn covers(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }

    pub fn holds(&self, now: Timestamp) -> bool {
        !self.revoked && self.until > now
    }
}

#[derive(Debug, Default)]
pub struct Consents {
    pub codes: BTreeMap<String, Consent>,
    pub access: BTreeMap<String, Consent>,
    pub refresh: BTreeMap<String, Consent>,
    /// Numbers what is handed out, so that tokens follow from the seed.
    handed_out: usize,
}

impl Consents {
    /// A new token that begins with its kind.
    pub fn token(&mut self, seed: Seed, kind: &str, length: usize) -> String {
        self.handed_out += 1;
        let name = format!("{kind}/{}", self.handed_out);
        kind.to_owned() + &seed.draws(&name).secret(length)
    }

    /// Ends everything a merchant has agreed to.
    pub fn revoke(&mut self, merchant_id: &str) {
        for consent in self.access.values_mut().chain(self.refresh.values_mut()) {
            consent.revoked |= consent.merchant_id == merchant_id;
        }
    }

    /// Ends all access tokens; refresh tokens stay good.
    pub fn expire_access(&mut self, now: Timestamp) {
        for consent in self.access.values_mut() {
            consent.until = consent.until.min(now);
        }
    }
}
