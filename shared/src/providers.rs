//! The point-of-sale providers behind one trait.
//!
//! To add one: a variant of [`ProviderKind`], a file and a folder here, a folder of fixtures. The compiler lists the
//! matches that want an arm.

mod credentials;
mod decimal;
mod delivery;
pub mod error;
#[cfg(feature = "client")]
mod http;
pub mod lightspeed;
#[cfg(feature = "client")]
mod merchant;
mod query;
mod rate;
#[cfg(feature = "client")]
mod reading;
pub mod square;
mod text;
pub mod toast;

use jiff::Timestamp;
#[cfg(feature = "client")]
use jiff::civil::Date;

#[cfg(feature = "client")]
use crate::domain::{CertificateMethod, Location};
use crate::domain::{Configuration, Environment, ExternalOrderId, LocationId, ProviderKind, Transaction};
#[cfg(feature = "client")]
pub use credentials::{Access, AccessToken};
pub use credentials::{Application, Credentials, Renewal, Revocation};
pub use delivery::{
    DeliveryHeaders, Expectation, Notification, Origin, Subject, VerifiedDelivery, WebhookDelivery, WebhookSecret,
};
pub use error::{Disposition, PayloadError, PayloadProblem, ProviderError, ProviderErrorKind, SignatureMismatch};
#[cfg(feature = "client")]
pub use merchant::{DescribedLocation, MerchantDescription};
pub use rate::{Rate, request_rate};
#[cfg(feature = "client")]
pub use reading::{
    Availability, AvailabilityChange, AvailabilityOutcome, AvailabilitySupport, CatalogItem, CatalogPage, DailyTotals,
    DayPage, DayQuery, Listing, OrderPage, OrderQuery, ShownAvailability,
};

/// What a provider's webhooks say, and that it was the provider who said so: all that whoever takes deliveries links of it.
pub trait Doorbell {
    /// Proves that the provider sent these bytes, with one of the secrets that are valid now.
    fn verify_webhook<'d>(
        &self,
        delivery: WebhookDelivery<'d>,
        secrets: &[WebhookSecret],
    ) -> Result<VerifiedDelivery<'d>, SignatureMismatch>;

    /// What a delivery says. Only a verified one can be read.
    fn parse_notification(&self, delivery: &VerifiedDelivery<'_>) -> Result<Notification, PayloadError>;
}

/// Everything we ask of a point-of-sale provider.
///
/// Some methods are pure: bytes in, values out, no clock and no network. The others talk to the provider, make one
/// attempt, and say through [`ProviderErrorKind`] what went wrong; whether to try again is the caller's decision. There
/// are no default bodies: a provider that cannot do something says so in its own file.
#[cfg_attr(feature = "client", async_trait::async_trait)]
pub trait PosProvider: Doorbell + Send + Sync {
    /// Of which events we make something, in the provider's words. The others need no work.
    fn webhook_event_types(&self) -> &'static [&'static str];

    /// The transactions of an order: none for a draft, two for an exchange, one for nearly all.
    ///
    /// The configuration knows the shops, whose zone and start of day decide the business date.
    fn normalize_order(
        &self,
        order: &RawOrder,
        configuration: &Configuration,
    ) -> Result<Vec<Transaction>, PayloadError>;

    /// Which order this is, as far as it says: for one that cannot be normalized.
    fn name_order(&self, order: &RawOrder) -> Option<ExternalOrderId>;

    /// Where a merchant agrees that we act for it. `None`: this provider has no OAuth.
    fn authorize_url(
        &self,
        application: &Application,
        environment: Environment,
        redirect_uri: &str,
        state: &str,
    ) -> Option<String>;

    /// From when on the access token should be renewed, if it ever should.
    fn refresh_due_at(&self, credentials: &Credentials) -> Option<Timestamp>;

    /// Reads one order.
    #[cfg(feature = "client")]
    async fn fetch_order(&self, access: &Access<'_>, order: &OrderRef) -> Result<RawOrder, ProviderError>;

    /// How it lists orders, days and what is sold.
    #[cfg(feature = "client")]
    fn listing(&self) -> Listing;

    /// Reads a page of the orders of a shop that changed in a window of time. `CursorExpired`: the window must be read
    /// from its start.
    #[cfg(feature = "client")]
    async fn list_orders(&self, access: &Access<'_>, query: &OrderQuery) -> Result<OrderPage, ProviderError>;

    /// Which question [`list_day`](Self::list_day) asks.
    #[cfg(feature = "client")]
    fn day_method(&self) -> CertificateMethod;

    /// Reads a page of what counts to a shop's accounting day, by another question than
    /// [`list_orders`](Self::list_orders) asks: what one has not found, the other may. Other days' orders may stand among it.
    #[cfg(feature = "client")]
    async fn list_day(&self, access: &Access<'_>, query: &DayQuery) -> Result<DayPage, ProviderError>;

    /// Reads a page of what a shop sells: names, SKUs and categories, for lines that lack them.
    #[cfg(feature = "client")]
    async fn list_catalog(
        &self,
        access: &Access<'_>,
        location: &LocationId,
        cursor: Option<&str>,
    ) -> Result<CatalogPage, ProviderError>;

    /// Reads what the provider itself counts to an accounting day, to be compared with. `Unsupported`: it does not tell.
    #[cfg(feature = "client")]
    async fn fetch_daily_totals(
        &self,
        access: &Access<'_>,
        configuration: &Configuration,
        location: &Location,
        date: Date,
    ) -> Result<DailyTotals, ProviderError>;

    /// For what the provider lets us say whether it is there.
    #[cfg(feature = "client")]
    fn availability_support(&self) -> AvailabilitySupport;

    /// Reads what the till shows of an item in a shop.
    #[cfg(feature = "client")]
    async fn fetch_availability(
        &self,
        access: &Access<'_>,
        location: &LocationId,
        item_id: &str,
    ) -> Result<ShownAvailability, ProviderError>;

    /// Shows at the till that something is sold out, or there again: something of which
    /// [`fetch_availability`](Self::fetch_availability) knows it.
    #[cfg(feature = "client")]
    async fn set_availability(
        &self,
        access: &Access<'_>,
        change: &AvailabilityChange,
    ) -> Result<AvailabilityOutcome, ProviderError>;

    /// Reads whose token this is and which shops it reaches.
    ///
    /// `shops`: those to describe, where the provider cannot list them. The others list their own.
    #[cfg(feature = "client")]
    async fn describe_merchant(
        &self,
        access: &Access<'_>,
        shops: &[LocationId],
    ) -> Result<MerchantDescription, ProviderError>;

    /// Turns the code that a merchant's consent gave into credentials.
    #[cfg(feature = "client")]
    async fn exchange_code(
        &self,
        application: &Application,
        environment: Environment,
        code: &str,
        redirect_uri: &str,
    ) -> Result<Credentials, ProviderError>;

    /// Buys new credentials with the old ones. `Unauthorized`: only a person can.
    #[cfg(feature = "client")]
    async fn refresh_credentials(
        &self,
        application: &Application,
        environment: Environment,
        credentials: &Credentials,
    ) -> Result<Credentials, ProviderError>;

    /// Gives the merchant's consent back.
    #[cfg(feature = "client")]
    async fn revoke_credentials(
        &self,
        application: &Application,
        environment: Environment,
        credentials: &Credentials,
    ) -> Result<Revocation, ProviderError>;
}

/// An order to be read.
#[cfg(feature = "client")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRef {
    /// Which.
    pub id: ExternalOrderId,
    /// In which shop, where that is known. Toast and Lightspeed are asked shop by shop.
    pub location: Option<LocationId>,
    /// About when it changed, where that is known. Lightspeed finds a sale by the time of its closing.
    pub changed_at: Option<Timestamp>,
}

/// The provider's record of an order, as they keep it.
#[derive(Debug, Clone)]
pub struct RawOrder {
    /// Their JSON.
    pub body: Vec<u8>,
    /// The shop it was read from: Toast's and Lightspeed's orders do not say.
    pub location: Option<LocationId>,
    /// When the guest paid, where the order tells only when the till could say so: Square's offline payments.
    pub paid_offline_at: Option<Timestamp>,
    /// When we began to read it. Of two copies with the same version, the one read later counts.
    pub observed_at: Timestamp,
}

/// All providers, made once per execution environment.
pub struct Providers {
    square: square::Square,
    toast: toast::Toast,
    lightspeed: lightspeed::Lightspeed,
    #[cfg(feature = "client")]
    client: http::Client,
}

impl Providers {
    /// Connects to nobody yet.
    #[cfg(feature = "client")]
    pub fn new(hosts: ProviderHosts) -> Self {
        let client = http::Client::default();
        Self {
            square: square::Square::new(hosts.square, client.clone()),
            toast: toast::Toast::new(hosts.toast, client.clone()),
            lightspeed: lightspeed::Lightspeed::new(hosts.lightspeed, client.clone()),
            client,
        }
    }

    /// For functions that nearly always call somebody: makes what that takes while they start, when Lambda gives them a whole CPU.
    #[cfg(feature = "client")]
    pub fn prepare(&self) -> Result<(), ProviderError> {
        self.client.get(ProviderKind::Square).map(|_| ())
    }

    /// For functions that call nobody.
    #[cfg(not(feature = "client"))]
    pub fn new(hosts: ProviderHosts) -> Self {
        Self {
            square: square::Square::new(hosts.square),
            toast: toast::Toast::new(),
            lightspeed: lightspeed::Lightspeed::new(hosts.lightspeed),
        }
    }

    /// The doorbell of the one of this kind. Not by way of [`get`](Self::get), which would link all that the provider can do.
    pub fn doorbell(&self, kind: ProviderKind) -> &dyn Doorbell {
        match kind {
            ProviderKind::Square => &self.square,
            ProviderKind::Toast => &self.toast,
            ProviderKind::Lightspeed => &self.lightspeed,
        }
    }

    /// The one of this kind.
    pub fn get(&self, kind: ProviderKind) -> &dyn PosProvider {
        match kind {
            ProviderKind::Square => &self.square,
            ProviderKind::Toast => &self.toast,
            ProviderKind::Lightspeed => &self.lightspeed,
        }
    }
}

/// Reads an order into the structs that its normalizer reads, and does nothing with it.
#[cfg(feature = "bench")]
pub fn parse_order(kind: ProviderKind, body: &[u8]) -> serde_json::Result<()> {
    match kind {
        ProviderKind::Square => square::parse_order(body),
        ProviderKind::Toast => toast::parse_order(body),
        ProviderKind::Lightspeed => lightspeed::parse_order(body),
    }
}

/// The newest version of each provider's [`dictionary`].
pub const DICTIONARY: u8 = 1;

/// What an order of a provider mostly says, for whoever packs orders: some of our own making, as the simulator prints
/// them. What was packed with a version is read with that version, so none ever changes; the next one is a file more.
pub fn dictionary(kind: ProviderKind, version: u8) -> Option<&'static [u8]> {
    match (kind, version) {
        (ProviderKind::Square, 1) => Some(include_bytes!("providers/square/dictionary-1.json")),
        (ProviderKind::Toast, 1) => Some(include_bytes!("providers/toast/dictionary-1.json")),
        (ProviderKind::Lightspeed, 1) => Some(include_bytes!("providers/lightspeed/dictionary-1.json")),
        _ => None,
    }
}

/// What a token must be allowed to do for our work, in the provider's words.
pub fn required_scopes(kind: ProviderKind) -> &'static [&'static str] {
    match kind {
        ProviderKind::Square => &square::REQUIRED_SCOPES,
        ProviderKind::Toast => &toast::REQUIRED_SCOPES,
        ProviderKind::Lightspeed => &lightspeed::REQUIRED_SCOPES,
    }
}

/// What starts webhooks again that have stopped, in the provider's words.
pub fn silence_advice(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::Square => square::SILENCE_ADVICE,
        ProviderKind::Toast => toast::SILENCE_ADVICE,
        ProviderKind::Lightspeed => lightspeed::SILENCE_ADVICE,
    }
}

/// Where the providers are, if not at their own hosts. A parameter of the deployment, never of a tenant.
#[derive(Debug, Clone, Default)]
pub struct ProviderHosts {
    /// Replaces both of Square's.
    pub square: Option<String>,
    /// Replaces both of Toast's.
    pub toast: Option<String>,
    /// Replaces both of Lightspeed's.
    pub lightspeed: Option<String>,
}

/// A provider's two worlds, or what stands in for both.
#[derive(Debug, Clone)]
struct Hosts {
    production: &'static str,
    sandbox: &'static str,
    /// A parameter of the deployment.
    instead: Option<String>,
}

impl Hosts {
    fn of(&self, environment: Environment) -> &str {
        self.instead.as_deref().map(|host| host.trim_end_matches('/')).unwrap_or(match environment {
            Environment::Production => self.production,
            Environment::Sandbox => self.sandbox,
        })
    }
}
