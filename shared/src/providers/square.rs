//! Square.
//!
//! A webhook of Square's names an order or a payment and hardly more, so every sale is read from the Orders API. A
//! sale rung up at a till sends no `order.created`; its payments are what announces it. A refund is an order of its
//! own, with `returns` in place of lines.

#[cfg(feature = "client")]
mod account;
#[cfg(feature = "client")]
mod catalog;
#[cfg(feature = "client")]
mod client;
mod normalize;
mod webhook;
mod wire;

use std::time::Duration;

#[cfg(feature = "client")]
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

#[cfg(feature = "client")]
use super::http::Http;
#[cfg(feature = "client")]
use super::{
    Access, AvailabilityChange, AvailabilityOutcome, AvailabilitySupport, CatalogPage, DailyTotals, DayPage, DayQuery,
    Listing, MerchantDescription, OrderPage, OrderQuery, OrderRef, ProviderError, ProviderErrorKind, Revocation,
    ShownAvailability,
};
use super::{
    Application, Credentials, Doorbell, Hosts, Notification, PayloadError, PosProvider, Rate, RawOrder, Renewal,
    SignatureMismatch, VerifiedDelivery, WebhookDelivery, WebhookSecret, query,
};
#[cfg(feature = "client")]
use crate::domain::{CertificateMethod, Location, LocationId, ProviderKind};
use crate::domain::{Configuration, Environment, ExternalOrderId, Transaction};

/// Without these no sale can be read.
pub(super) const REQUIRED_SCOPES: [&str; 4] = ["ITEMS_READ", "MERCHANT_PROFILE_READ", "ORDERS_READ", "PAYMENTS_READ"];
/// A subscription without a 2xx for three weeks is disabled,
/// <https://developer.squareup.com/docs/webhooks/step4manage>; it is one of the application, not of a seller.
pub(super) const SILENCE_ADVICE: &str = "Enable the webhook subscription in Square's developer console, or by its webhook subscriptions API \
    (`enabled`), and compare its URL; the seller's consent must still include `ORDERS_READ` and \
    `PAYMENTS_READ`.";
/// For marking as sold out. Asked for along with the others: a merchant is not to consent twice.
const WRITE_BACK_SCOPES: [&str; 2] = ["INVENTORY_READ", "INVENTORY_WRITE"];

/// Square publishes no numbers, only that it answers 429: unverified.
pub(super) const REQUEST_RATE: Rate = Rate { interval: Duration::from_millis(100), burst: 20 };

/// "Renew every seven days or sooner" (Square's page on refreshing tokens), though a token lives for thirty.
const RENEW_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Square, see the module.
pub struct Square {
    hosts: Hosts,
    #[cfg(feature = "client")]
    http: Http,
}

impl Square {
    /// `host` replaces both of Square's own.
    pub(super) fn new(host: Option<String>, #[cfg(feature = "client")] client: super::http::Client) -> Self {
        let hosts = Hosts {
            production: "https://connect.squareup.com",
            sandbox: "https://connect.squareupsandbox.com",
            instead: host,
        };
        Self {
            #[cfg(feature = "client")]
            http: Http::new(ProviderKind::Square, hosts.clone(), client),
            hosts,
        }
    }
}

/// See [`super::parse_order`].
#[cfg(feature = "bench")]
pub(super) fn parse_order(body: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice::<wire::Order>(body).map(|order| drop(std::hint::black_box(order)))
}

impl Doorbell for Square {
    fn verify_webhook<'d>(
        &self,
        delivery: WebhookDelivery<'d>,
        secrets: &[WebhookSecret],
    ) -> Result<VerifiedDelivery<'d>, SignatureMismatch> {
        webhook::verify(delivery, secrets)
    }

    fn parse_notification(&self, delivery: &VerifiedDelivery<'_>) -> Result<Notification, PayloadError> {
        webhook::parse(delivery.body())
    }
}

#[cfg_attr(feature = "client", async_trait::async_trait)]
impl PosProvider for Square {
    fn webhook_event_types(&self) -> &'static [&'static str] {
        webhook::EVENT_TYPES
    }

    fn normalize_order(
        &self,
        order: &RawOrder,
        configuration: &Configuration,
    ) -> Result<Vec<Transaction>, PayloadError> {
        normalize::transactions(order, configuration)
    }

    fn name_order(&self, order: &RawOrder) -> Option<ExternalOrderId> {
        normalize::order_id(&order.body)
    }

    /// `session=false`: the merchant chooses its account even if a browser is still logged in to another.
    fn authorize_url(
        &self,
        application: &Application,
        environment: Environment,
        redirect_uri: &str,
        state: &str,
    ) -> Option<String> {
        let host = self.hosts.of(environment);
        let scopes = [REQUIRED_SCOPES.as_slice(), &WRITE_BACK_SCOPES].concat().join(" ");
        let parameters = [
            ("client_id", application.application_id.as_str()),
            ("scope", &scopes),
            ("session", "false"),
            ("state", state),
            ("redirect_uri", redirect_uri),
        ];
        Some(format!("{host}/oauth2/authorize?{}", query::encode(&parameters)))
    }

    /// Nothing renews a token that was typed in. One that is short-lived is renewed after three quarters of its life.
    fn refresh_due_at(&self, credentials: &Credentials) -> Option<Timestamp> {
        match credentials.renewal {
            Renewal::RefreshToken { .. } => {
                let usual = credentials.after(RENEW_AFTER);
                Some(credentials.at_three_quarters().map_or(usual, |early| early.min(usual)))
            }
            Renewal::Never | Renewal::Login { .. } => None,
        }
    }

    #[cfg(feature = "client")]
    async fn fetch_order(&self, access: &Access<'_>, order: &OrderRef) -> Result<RawOrder, ProviderError> {
        client::fetch_order(&self.http, access, order).await
    }

    /// As far back as anybody asks.
    #[cfg(feature = "client")]
    fn listing(&self) -> Listing {
        Listing {
            longest_window: SignedDuration::from_hours(365 * 24),
            page_size: client::PAGE_SIZE,
            counts_days: false,
            shares_catalog: true,
            late: SignedDuration::ZERO,
        }
    }

    #[cfg(feature = "client")]
    async fn list_orders(&self, access: &Access<'_>, query: &OrderQuery) -> Result<OrderPage, ProviderError> {
        client::list_orders(&self.http, access, query).await
    }

    /// One catalogue for all shops.
    #[cfg(feature = "client")]
    fn day_method(&self) -> CertificateMethod {
        CertificateMethod::OrdersByClosing
    }

    #[cfg(feature = "client")]
    async fn list_day(&self, access: &Access<'_>, query: &DayQuery) -> Result<DayPage, ProviderError> {
        client::list_day(&self.http, access, query).await
    }

    #[cfg(feature = "client")]
    async fn list_catalog(
        &self,
        access: &Access<'_>,
        _location: &LocationId,
        cursor: Option<&str>,
    ) -> Result<CatalogPage, ProviderError> {
        catalog::list(&self.http, access, cursor).await
    }

    /// Its reporting is another product, whose answers nobody has shown us.
    #[cfg(feature = "client")]
    async fn fetch_daily_totals(
        &self,
        _access: &Access<'_>,
        _configuration: &Configuration,
        _location: &Location,
        _date: Date,
    ) -> Result<DailyTotals, ProviderError> {
        Err(self.http.refuse("fetch_daily_totals", ProviderErrorKind::Unsupported))
    }

    #[cfg(feature = "client")]
    fn availability_support(&self) -> AvailabilitySupport {
        AvailabilitySupport::CountedItems
    }

    #[cfg(feature = "client")]
    async fn fetch_availability(
        &self,
        access: &Access<'_>,
        location: &LocationId,
        item_id: &str,
    ) -> Result<ShownAvailability, ProviderError> {
        catalog::fetch_availability(&self.http, access, location, item_id).await
    }

    #[cfg(feature = "client")]
    async fn set_availability(
        &self,
        access: &Access<'_>,
        change: &AvailabilityChange,
    ) -> Result<AvailabilityOutcome, ProviderError> {
        catalog::set_availability(&self.http, access, change).await
    }

    #[cfg(feature = "client")]
    async fn describe_merchant(
        &self,
        access: &Access<'_>,
        _shops: &[LocationId],
    ) -> Result<MerchantDescription, ProviderError> {
        account::describe_merchant(&self.http, access).await
    }

    #[cfg(feature = "client")]
    async fn exchange_code(
        &self,
        application: &Application,
        environment: Environment,
        code: &str,
        redirect_uri: &str,
    ) -> Result<Credentials, ProviderError> {
        account::exchange_code(&self.http, application, environment, code, redirect_uri).await
    }

    #[cfg(feature = "client")]
    async fn refresh_credentials(
        &self,
        application: &Application,
        environment: Environment,
        credentials: &Credentials,
    ) -> Result<Credentials, ProviderError> {
        account::refresh_credentials(&self.http, application, environment, credentials).await
    }

    #[cfg(feature = "client")]
    async fn revoke_credentials(
        &self,
        application: &Application,
        environment: Environment,
        credentials: &Credentials,
    ) -> Result<Revocation, ProviderError> {
        account::revoke_credentials(&self.http, application, environment, credentials).await
    }
}
