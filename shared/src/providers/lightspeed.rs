//! Lightspeed Restaurant, K-Series.
//!
//! What its tills push is unsigned: a name and password, or a key inside the body, is all that proves it. So a push
//! only rings the bell, and every sale is read from the Financial API, which knows closed sales alone. Corrections are
//! sales of their own.

#[cfg(feature = "client")]
mod account;
#[cfg(feature = "client")]
mod catalog;
#[cfg(feature = "client")]
mod client;
mod lines;
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
use crate::domain::{CertificateMethod, Location, ProviderKind};
use crate::domain::{Configuration, Environment, ExternalOrderId, InvalidId, LocationId, Transaction};

/// Sales and businesses; names and SKUs.
pub(super) const REQUIRED_SCOPES: [&str; 2] = ["financial-api", "items"];
/// Endpoints of real-time notifications are made in the back office; subscriptions of receipts expire.
pub(super) const SILENCE_ADVICE: &str = "Register the endpoint again in Lightspeed's back office with this configuration's URL, name and \
    password; a subscription of receipts has an end and must be renewed before.";

/// Lightspeed publishes no numbers for the K-Series: unverified, and so low because nothing is known.
pub(super) const REQUEST_RATE: Rate = Rate { interval: Duration::from_millis(500), burst: 10 };

/// Where a token does not say when it ends: three quarters of the documented hour.
const RENEW_AFTER: SignedDuration = SignedDuration::from_mins(45);

/// Lightspeed, see the module.
pub struct Lightspeed {
    hosts: Hosts,
    #[cfg(feature = "client")]
    http: Http,
}

impl Lightspeed {
    /// `host` replaces both of Lightspeed's own.
    pub(super) fn new(host: Option<String>, #[cfg(feature = "client")] client: super::http::Client) -> Self {
        let hosts = Hosts {
            production: "https://api.lsk.lightspeed.app",
            sandbox: "https://api.trial.lsk.lightspeed.app",
            instead: host,
        };
        Self {
            #[cfg(feature = "client")]
            http: Http::new(ProviderKind::Lightspeed, hosts.clone(), client),
            hosts,
        }
    }
}

/// See [`super::parse_order`].
#[cfg(feature = "bench")]
pub(super) fn parse_order(body: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice::<wire::Sale>(body).map(|order| drop(std::hint::black_box(order)))
}

impl Doorbell for Lightspeed {
    fn verify_webhook<'d>(
        &self,
        delivery: WebhookDelivery<'d>,
        secrets: &[WebhookSecret],
    ) -> Result<VerifiedDelivery<'d>, SignatureMismatch> {
        webhook::verify(delivery, secrets)
    }

    fn parse_notification(&self, delivery: &VerifiedDelivery<'_>) -> Result<Notification, PayloadError> {
        webhook::parse(delivery.body(), delivery.received_at())
    }
}

#[cfg_attr(feature = "client", async_trait::async_trait)]
impl PosProvider for Lightspeed {
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
        normalize::order_id(&order.body, order.location.as_ref())
    }

    fn authorize_url(
        &self,
        application: &Application,
        environment: Environment,
        redirect_uri: &str,
        state: &str,
    ) -> Option<String> {
        let host = self.hosts.of(environment);
        let scopes = REQUIRED_SCOPES.join(" ");
        let parameters = [
            ("response_type", "code"),
            ("client_id", application.application_id.as_str()),
            ("scope", &scopes),
            ("redirect_uri", redirect_uri),
            ("state", state),
        ];
        Some(format!("{host}/oauth/authorize?{}", query::encode(&parameters)))
    }

    fn refresh_due_at(&self, credentials: &Credentials) -> Option<Timestamp> {
        match credentials.renewal {
            Renewal::RefreshToken { .. } => {
                Some(credentials.at_three_quarters().unwrap_or_else(|| credentials.after(RENEW_AFTER)))
            }
            Renewal::Never | Renewal::Login { .. } => None,
        }
    }

    #[cfg(feature = "client")]
    async fn fetch_order(&self, access: &Access<'_>, order: &OrderRef) -> Result<RawOrder, ProviderError> {
        client::fetch_order(&self.http, access, order).await
    }

    /// More is refused.
    #[cfg(feature = "client")]
    fn listing(&self) -> Listing {
        Listing {
            longest_window: SignedDuration::from_hours(365 * 24),
            page_size: client::PAGE_SIZE,
            counts_days: true,
            shares_catalog: false,
            // A till that was offline sends what it closed with the time of the closing.
            late: SignedDuration::from_hours(3),
        }
    }

    #[cfg(feature = "client")]
    async fn list_orders(&self, access: &Access<'_>, query: &OrderQuery) -> Result<OrderPage, ProviderError> {
        client::list_orders(&self.http, access, query).await
    }

    #[cfg(feature = "client")]
    fn day_method(&self) -> CertificateMethod {
        CertificateMethod::DailyRecord
    }

    #[cfg(feature = "client")]
    async fn list_day(&self, access: &Access<'_>, query: &DayQuery) -> Result<DayPage, ProviderError> {
        client::list_day(&self.http, access, query).await
    }

    #[cfg(feature = "client")]
    async fn list_catalog(
        &self,
        access: &Access<'_>,
        location: &LocationId,
        cursor: Option<&str>,
    ) -> Result<CatalogPage, ProviderError> {
        catalog::list(&self.http, access, location, cursor).await
    }

    #[cfg(feature = "client")]
    async fn fetch_daily_totals(
        &self,
        access: &Access<'_>,
        configuration: &Configuration,
        location: &Location,
        date: Date,
    ) -> Result<DailyTotals, ProviderError> {
        client::fetch_daily_totals(&self.http, access, configuration, location, date).await
    }

    /// Availability can be read but not written.
    #[cfg(feature = "client")]
    fn availability_support(&self) -> AvailabilitySupport {
        AvailabilitySupport::Nothing
    }

    /// What cannot be written is not read either.
    #[cfg(feature = "client")]
    async fn fetch_availability(
        &self,
        _access: &Access<'_>,
        _location: &LocationId,
        _item_id: &str,
    ) -> Result<ShownAvailability, ProviderError> {
        Err(self.http.refuse("fetch_availability", ProviderErrorKind::Unsupported))
    }

    #[cfg(feature = "client")]
    async fn set_availability(
        &self,
        _access: &Access<'_>,
        _change: &AvailabilityChange,
    ) -> Result<AvailabilityOutcome, ProviderError> {
        Err(self.http.refuse("set_availability", ProviderErrorKind::Unsupported))
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

    /// There is no such call: the merchant removes the application in the back office, and a refresh token that is not
    /// used ends after fourteen days.
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

/// What a sale is called: its account, and the shop, since only there an account's number is known to be unique.
fn sale_id(shop: &LocationId, account: &str) -> Result<ExternalOrderId, InvalidId> {
    ExternalOrderId::new(format!("{shop}/{account}"))
}

/// An id that is written as text in one place and as a number in another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text(String);

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Text;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a whole number")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
