//! The point-of-sale providers behind one trait.
//!
//! To add one: a variant of [`ProviderKind`], a file and a folder of four files here, a folder of fixtures. The
//! compiler lists the matches that want an arm.

pub mod error;
pub mod square;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::domain::{
    Configuration, Environment, EventId, ExternalOrderId, MerchantId, ProviderKind, SourceVersion, Transaction,
};
#[cfg(feature = "client")]
use crate::domain::{Currency, LocationId, Merchant, TimeZoneName};
pub use error::{Disposition, PayloadError, PayloadProblem, ProviderError, ProviderErrorKind, SignatureMismatch};

/// Everything we ask of a point-of-sale provider.
///
/// The first three methods are pure: bytes in, values out, no clock and no network. The others talk to the provider,
/// make one attempt, and say through [`ProviderErrorKind`] what went wrong; whether to try again is the caller's
/// decision. There are no default bodies: a provider that cannot do something says so in its own file.
#[cfg_attr(feature = "client", async_trait::async_trait)]
pub trait PosProvider: Send + Sync {
    /// Proves that the provider sent these bytes, with one of the secrets that are valid now.
    fn verify_webhook<'d>(
        &self,
        delivery: WebhookDelivery<'d>,
        secrets: &[WebhookSecret],
    ) -> Result<VerifiedDelivery<'d>, SignatureMismatch>;

    /// What a delivery says. Only a verified one can be read.
    fn parse_notification(&self, delivery: &VerifiedDelivery<'_>) -> Result<Notification, PayloadError>;

    /// The transactions of an order: none for a draft, two for an exchange, one for nearly all.
    ///
    /// The configuration knows the shops, whose zone and start of day decide the business date.
    fn normalize_order(
        &self,
        order: &RawOrder,
        configuration: &Configuration,
    ) -> Result<Vec<Transaction>, PayloadError>;

    /// Reads one order.
    #[cfg(feature = "client")]
    async fn fetch_order(
        &self,
        environment: Environment,
        token: &AccessToken,
        id: &ExternalOrderId,
    ) -> Result<RawOrder, ProviderError>;

    /// Reads whose token this is and which shops it reaches.
    #[cfg(feature = "client")]
    async fn describe_merchant(
        &self,
        environment: Environment,
        token: &AccessToken,
    ) -> Result<MerchantDescription, ProviderError>;
}

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

/// What proves a provider's webhooks, from the application secret.
#[derive(Clone, Deserialize)]
pub struct WebhookSecret {
    /// The provider's id of the subscription.
    pub id: String,
    /// The URL that was registered, byte for byte: Square signs it together with the body.
    pub notification_url: String,
    /// The key.
    pub signature_key: Zeroizing<String>,
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

    /// The bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// When it arrived.
    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// As presented, so that whoever reads the queue can check again.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// Which secret proved it.
    pub fn secret_id(&self) -> &str {
        &self.secret_id
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
    pub merchant_id: MerchantId,
    /// What changed.
    pub subject: Subject,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An order, which must now be read.
    Order {
        /// Which.
        id: ExternalOrderId,
        /// When it changed, if the event says so: a copy read well after this needs no second reading.
        changed_at: Option<Timestamp>,
        /// What a copy must show to be at least as new as the event.
        expects: Expectation,
    },
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

/// The provider's record of an order, as they keep it.
#[derive(Debug, Clone)]
pub struct RawOrder {
    /// Their JSON.
    pub body: Vec<u8>,
    /// When we began to read it. Of two copies with the same version, the one read later counts.
    pub observed_at: Timestamp,
}

/// An access token, opened and ready to be sent to its provider.
#[cfg(feature = "client")]
#[derive(Clone)]
pub struct AccessToken(Zeroizing<String>);

#[cfg(feature = "client")]
impl AccessToken {
    /// Takes the plain token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(Zeroizing::new(token.into()))
    }

    /// For the Authorization header, and nothing else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// Whose token it is and which shops it reaches.
#[cfg(feature = "client")]
#[derive(Debug, Clone)]
pub struct MerchantDescription {
    /// Whose.
    pub merchant: Merchant,
    /// Which shops.
    pub locations: Vec<DescribedLocation>,
}

/// A shop as the provider describes it; when its day starts is the tenant's to say.
#[cfg(feature = "client")]
#[derive(Debug, Clone)]
pub struct DescribedLocation {
    /// The provider's id.
    pub id: LocationId,
    /// As the merchant calls it.
    pub name: String,
    /// Where its clock hangs.
    pub time_zone: TimeZoneName,
    /// What its till is kept in.
    pub currency: Currency,
}

/// All providers, made once per execution environment.
pub struct Providers {
    square: square::Square,
}

impl Providers {
    /// Connects to nobody yet.
    pub fn new(hosts: ProviderHosts) -> Result<Self, ProviderError> {
        Ok(Self { square: square::Square::new(hosts.square)? })
    }

    /// The one of this kind.
    pub fn get(&self, kind: ProviderKind) -> &dyn PosProvider {
        match kind {
            ProviderKind::Square => &self.square,
        }
    }
}

/// Where the providers are, if not at their own hosts. A parameter of the deployment, never of a tenant.
#[derive(Debug, Clone, Default)]
pub struct ProviderHosts {
    /// Replaces both of Square's.
    pub square: Option<String>,
}
