//! Toast.
//!
//! There is no OAuth: a restaurant group hands us a name and a secret, and a login gives a token for a day. Every call
//! names one restaurant in a header. What a token reaches can be listed for Toast's partners only, and that list holds
//! the restaurants of every customer, so a tenant names its own.

#[cfg(feature = "client")]
mod account;
#[cfg(feature = "client")]
mod catalog;
#[cfg(feature = "client")]
mod client;
mod normalize;
mod refund;
mod webhook;
mod wire;
mod words;

use std::time::Duration;

#[cfg(feature = "client")]
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

#[cfg(feature = "client")]
use super::{
    Access, AvailabilityChange, AvailabilityOutcome, AvailabilitySupport, CatalogPage, DailyTotals, DayPage, DayQuery,
    Hosts, Listing, MerchantDescription, OrderPage, OrderQuery, OrderRef, ProviderError, ProviderErrorKind, Revocation,
    ShownAvailability, http::Http,
};
use super::{
    Application, Credentials, Doorbell, Notification, PayloadError, PosProvider, Rate, RawOrder, Renewal,
    SignatureMismatch, VerifiedDelivery, WebhookDelivery, WebhookSecret,
};
#[cfg(feature = "client")]
use crate::domain::{CertificateMethod, Location, LocationId, ProviderKind};
use crate::domain::{Configuration, Environment, ExternalOrderId, Transaction};

/// Without these no sale can be read. `orders.channel:read` would show our own orders alone.
pub(super) const REQUIRED_SCOPES: [&str; 3] = ["menus:read", "orders:read", "restaurants:read"];
/// A subscription that was paused nine times within ten minutes is stopped (doc.toasttab.com, apiBackOffSupport).
pub(super) const SILENCE_ADVICE: &str = "Toast has stopped the subscription, or somebody has: with standard access set it to active in Toast Web \
    (Manage webhooks), else ask Toast's support to start it again.";

/// Toast's page "Rate limiting": for each client and restaurant 20 a second and 10,000 a quarter of an hour, of
/// `ordersBulk` 5 a second, all counted in fixed windows. The slowest of them for all calls and restaurants together; a
/// burst on top of a second's calls stays below 20.
pub(super) const REQUEST_RATE: Rate = Rate { interval: Duration::from_millis(200), burst: 15 };

/// Toast gives a new token only in the last minute of the old one, and refuses who asks too often.
const RENEW_BEFORE_END: SignedDuration = SignedDuration::from_secs(50);

/// Which restaurant a call is about.
#[cfg(feature = "client")]
const RESTAURANT: &str = "toast-restaurant-external-id";

/// Toast, see the module.
pub struct Toast {
    #[cfg(feature = "client")]
    http: Http,
}

impl Toast {
    /// `host` replaces both of Toast's own.
    #[cfg(feature = "client")]
    pub(super) fn new(host: Option<String>, client: super::http::Client) -> Self {
        let hosts = Hosts {
            production: "https://ws-api.toasttab.com",
            // Unverified: Toast gives the host of its sandbox to each partner.
            sandbox: "https://ws-sandbox-api.toasttab.com",
            instead: host,
        };
        Self { http: Http::new(ProviderKind::Toast, hosts, client) }
    }

    #[cfg(not(feature = "client"))]
    pub(super) fn new() -> Self {
        Self {}
    }
}

/// See [`super::parse_order`].
#[cfg(feature = "bench")]
pub(super) fn parse_order(body: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice::<wire::Order>(body).map(|order| drop(std::hint::black_box(order)))
}

impl Doorbell for Toast {
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
impl PosProvider for Toast {
    fn webhook_event_types(&self) -> &'static [&'static str] {
        webhook::EVENT_TYPES
    }

    fn normalize_order(
        &self,
        order: &RawOrder,
        configuration: &Configuration,
    ) -> Result<Vec<Transaction>, PayloadError> {
        normalize::transactions(&order.body, order.location.as_ref(), configuration)
    }

    fn name_order(&self, order: &RawOrder) -> Option<ExternalOrderId> {
        normalize::order_id(&order.body)
    }

    /// No OAuth, see the module.
    fn authorize_url(
        &self,
        _application: &Application,
        _environment: Environment,
        _redirect_uri: &str,
        _state: &str,
    ) -> Option<String> {
        None
    }

    fn refresh_due_at(&self, credentials: &Credentials) -> Option<Timestamp> {
        match credentials.renewal {
            Renewal::Login { .. } => {
                let end = credentials.expires_at?;
                Some(end.checked_sub(RENEW_BEFORE_END).unwrap_or(Timestamp::MIN))
            }
            Renewal::Never | Renewal::RefreshToken { .. } => None,
        }
    }

    #[cfg(feature = "client")]
    async fn fetch_order(&self, access: &Access<'_>, order: &OrderRef) -> Result<RawOrder, ProviderError> {
        client::fetch_order(&self.http, access, order).await
    }

    /// A month, and of the shortest kind.
    #[cfg(feature = "client")]
    fn listing(&self) -> Listing {
        Listing {
            longest_window: SignedDuration::from_hours(28 * 24),
            page_size: client::PAGE_SIZE,
            counts_days: false,
            shares_catalog: false,
            late: SignedDuration::ZERO,
        }
    }

    #[cfg(feature = "client")]
    async fn list_orders(&self, access: &Access<'_>, query: &OrderQuery) -> Result<OrderPage, ProviderError> {
        client::list_orders(&self.http, access, query).await
    }

    #[cfg(feature = "client")]
    fn day_method(&self) -> CertificateMethod {
        CertificateMethod::OrdersOfDate
    }

    #[cfg(feature = "client")]
    async fn list_day(&self, access: &Access<'_>, query: &DayQuery) -> Result<DayPage, ProviderError> {
        client::list_day(&self.http, access, query).await
    }

    /// All in one page.
    #[cfg(feature = "client")]
    async fn list_catalog(
        &self,
        access: &Access<'_>,
        location: &LocationId,
        _cursor: Option<&str>,
    ) -> Result<CatalogPage, ProviderError> {
        catalog::list(&self.http, access, location).await
    }

    /// Its analytics want a licence of their own.
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
        AvailabilitySupport::AllItems
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
        shops: &[LocationId],
    ) -> Result<MerchantDescription, ProviderError> {
        account::describe_merchant(&self.http, access, shops).await
    }

    /// No OAuth, no code.
    #[cfg(feature = "client")]
    async fn exchange_code(
        &self,
        _application: &Application,
        _environment: Environment,
        _code: &str,
        _redirect_uri: &str,
    ) -> Result<Credentials, ProviderError> {
        Err(self.http.refuse("exchange_code", ProviderErrorKind::Unsupported))
    }

    /// A login. Toast answers with the token that is still valid until its last minute.
    #[cfg(feature = "client")]
    async fn refresh_credentials(
        &self,
        _application: &Application,
        environment: Environment,
        credentials: &Credentials,
    ) -> Result<Credentials, ProviderError> {
        account::login(&self.http, environment, credentials).await
    }

    /// There is no such call: the restaurant deletes the credentials in Toast Web, the token ends within a day.
    #[cfg(feature = "client")]
    async fn revoke_credentials(
        &self,
        _application: &Application,
        _environment: Environment,
        _credentials: &Credentials,
    ) -> Result<Revocation, ProviderError> {
        Ok(Revocation::Unsupported)
    }
}

/// Toast writes `2026-02-14T08:00:00.123+0000`, whose offset lacks the colon of RFC 3339.
fn instant(text: &str) -> Option<Timestamp> {
    let zoned = |text: &str| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok();
    text.parse().ok().or_else(|| zoned(text))
}
