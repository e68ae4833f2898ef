//! One webhook request, from raw bytes to what it says.

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::SignatureMismatch;
use crate::domain::{Environment, EventId, ExternalOrderId, LocationId, MerchantId, ProviderKind, SourceVersion};

/// One webhook request exactly as it arrived.
///
/// Signatures cover bytes, not JSON: never decode and re-encode `body` before it has been verified.
#[derive(Debug, Clone, Copy)]
pub struct WebhookDelivery<'d> {
    /// As they came.
    pub headers: &'d DeliveryHeaders,
    /// As it came.
    pub body: &'d [u8],
    /// For signatures that cover a time. A value, so that checks need no clock.
    pub received_at: Timestamp,
    /// Which of the provider's worlds the owner of the URL is connected to; production for the URL that all share. A
    /// provider that says so itself is believed.
    pub environment: Environment,
}

/// The headers of a delivery; names are compared without case.
#[derive(Debug, Clone, Default)]
pub struct DeliveryHeaders(Vec<(String, String)>);

impl DeliveryHeaders {
    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for DeliveryHeaders {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        Self(headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// What proves a provider's webhooks. Several may be active at once, so that one can follow another without a gap.
#[derive(Clone, Serialize, Deserialize)]
pub struct WebhookSecret {
    /// Ours, or the provider's id of the subscription.
    pub id: String,
    /// The URL that was registered, byte for byte: Square signs it together with the body. Empty for the others.
    #[serde(default)]
    pub notification_url: String,
    /// The key; for Lightspeed `user:password`, or the key that its PMS calls carry.
    pub signature_key: Zeroizing<String>,
    /// Proves nothing that arrives before.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// Proves nothing that arrives after.
    #[serde(default)]
    pub not_after: Option<Timestamp>,
}

impl WebhookSecret {
    fn is_valid_at(&self, at: Timestamp) -> bool {
        self.not_before.is_none_or(|start| start <= at) && self.not_after.is_none_or(|end| at <= end)
    }
}

/// The id of the valid secret that proves a delivery. Every secret is tried, so the time does not tell which one it was.
pub(super) fn proving_secret(
    secrets: &[WebhookSecret],
    received_at: Timestamp,
    proves: impl Fn(&WebhookSecret) -> bool,
) -> Result<String, SignatureMismatch> {
    let mut proven = None;
    for secret in secrets {
        let is_proof = proves(secret);
        if is_proof && secret.is_valid_at(received_at) && !secret.signature_key.is_empty() {
            proven = Some(secret);
        }
    }
    proven.map(|secret| secret.id.clone()).ok_or(SignatureMismatch)
}

/// Whether `mac` is the HMAC-SHA256 of the parts, one after the other.
pub(super) fn is_mac(key: &str, parts: &[&[u8]], mac: &[u8]) -> bool {
    let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return false };
    parts.iter().for_each(|part| hmac.update(part));
    hmac.verify_slice(mac).is_ok()
}

/// Whether two secrets are the same, in a time that does not tell how far they are.
pub(super) fn is_same_secret(presented: &[u8], known: &str) -> bool {
    let Ok(hmac) = Hmac::<Sha256>::new_from_slice(known.as_bytes()) else { return false };
    is_mac(known, &[presented], &hmac.chain_update(known).finalize().into_bytes())
}

/// A delivery of which we know that the provider sent it.
///
/// Only a provider's `verify_webhook` and our own intake queue can make one, so reading an unverified body does not
/// compile.
#[derive(Debug, Clone)]
pub struct VerifiedDelivery<'d> {
    pub(crate) provider: ProviderKind,
    pub(crate) environment: Environment,
    pub(crate) body: Cow<'d, [u8]>,
    pub(crate) received_at: Timestamp,
    pub(crate) signature: String,
    pub(crate) secret_id: String,
}

impl VerifiedDelivery<'_> {
    /// Who sent it.
    pub fn provider(&self) -> ProviderKind {
        self.provider
    }

    /// From which of its worlds.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The bytes; without the secret, where that is how a provider proves itself.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// When it arrived.
    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// As presented, so that whoever reads the queue can check again. Where the proof is the secret itself, only which
    /// kind of proof it was.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// Which secret proved it.
    pub fn secret_id(&self) -> &str {
        &self.secret_id
    }

    /// For whoever keeps it longer than the request.
    pub fn into_owned(self) -> VerifiedDelivery<'static> {
        VerifiedDelivery { body: Cow::Owned(self.body.into_owned()), ..self }
    }
}

/// "Something changed", verified and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Repeats of a delivery keep it.
    pub event_id: EventId,
    /// In the provider's words.
    pub event_type: String,
    /// Whose till.
    pub origin: Origin,
    /// What changed.
    pub subject: Subject,
}

/// Whose till a notification is about, as far as it says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// This merchant's.
    Merchant(MerchantId),
    /// One in this shop. Who owns the shop is not said.
    Location(LocationId),
    /// Not said: it belongs to the owner of the URL that it came to.
    Url,
}

impl Origin {
    /// The id, empty where there is none.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Merchant(id) => id.as_str(),
            Self::Location(id) => id.as_str(),
            Self::Url => "",
        }
    }
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An order, which must now be read.
    Order {
        /// Which.
        id: ExternalOrderId,
        /// In which shop, if the event says so.
        location: Option<LocationId>,
        /// When it changed, if the event says so: a copy read well after this needs no second reading.
        changed_at: Option<Timestamp>,
        /// What a copy must show to be at least as new as the event.
        expects: Expectation,
        /// The order itself, where a proven delivery carries it whole: then it need not be read.
        pushed: Option<Vec<u8>>,
    },
    /// The merchant has taken its consent back: the credentials are of no use any more.
    Revoked,
    /// Nothing that could move a sale.
    Nothing,
}

/// What a copy of an order must show. Providers answer from replicas that lag by seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// The event names nothing to look for.
    Any,
    /// At least this version.
    Version(SourceVersion),
    /// This payment among the order's.
    Payment(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(id: &str, not_before: Option<&str>, not_after: Option<&str>) -> WebhookSecret {
        WebhookSecret {
            id: id.into(),
            notification_url: String::new(),
            signature_key: Zeroizing::new("k".into()),
            not_before: not_before.map(|text| text.parse().unwrap()),
            not_after: not_after.map(|text| text.parse().unwrap()),
        }
    }

    #[test]
    fn a_secret_proves_only_while_it_is_valid_and_is_named() {
        let old = secret("old", None, Some("2026-02-14T09:00:00Z"));
        let new = secret("new", Some("2026-02-14T08:00:00Z"), None);
        let secrets = [old, new];
        let at =
            |text: &str, proves: &str| proving_secret(&secrets, text.parse().unwrap(), |secret| secret.id == proves);
        assert_eq!(at("2026-02-14T07:59:59Z", "old"), Ok("old".into()));
        assert_eq!(at("2026-02-14T07:59:59Z", "new"), Err(SignatureMismatch));
        assert_eq!(at("2026-02-14T08:30:00Z", "old"), Ok("old".into()));
        assert_eq!(at("2026-02-14T08:30:00Z", "new"), Ok("new".into()));
        assert_eq!(at("2026-02-14T09:00:00.1Z", "old"), Err(SignatureMismatch));
        assert_eq!(at("2026-02-14T08:30:00Z", "none"), Err(SignatureMismatch));
    }

    #[test]
    fn an_empty_key_proves_nothing() {
        let mut empty = secret("empty", None, None);
        empty.signature_key = Zeroizing::default();
        assert_eq!(proving_secret(&[empty], Timestamp::UNIX_EPOCH, |_| true), Err(SignatureMismatch));
    }

    #[test]
    fn secrets_are_the_same_or_not() {
        assert!(is_same_secret("pâte:à:pain".as_bytes(), "pâte:à:pain"));
        for presented in ["", "pâte:à:pai", "pâte:à:painn"] {
            assert!(!is_same_secret(presented.as_bytes(), "pâte:à:pain"), "{presented}");
        }
    }
}
