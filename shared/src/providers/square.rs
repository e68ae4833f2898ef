//! Square.
//!
//! A webhook of Square's names an order or a payment and hardly more, so every sale is read from the Orders API. A
//! sale rung up at a till sends no `order.created`; its payments are what announces it. A refund is an order of its
//! own, with `returns` in place of lines.

#[cfg(feature = "client")]
mod client;
mod normalize;
mod webhook;
mod wire;

use crate::domain::{Configuration, Transaction};
#[cfg(feature = "client")]
use crate::domain::{Environment, ExternalOrderId};
#[cfg(feature = "client")]
use crate::providers::{AccessToken, MerchantDescription};
use crate::providers::{
    Notification, PayloadError, PosProvider, ProviderError, RawOrder, SignatureMismatch, VerifiedDelivery,
    WebhookDelivery, WebhookSecret,
};

/// Square, see the module.
pub struct Square {
    #[cfg(feature = "client")]
    client: client::Client,
}

impl Square {
    /// `host` replaces Square's own, for functions that call it.
    pub(super) fn new(host: Option<String>) -> Result<Self, ProviderError> {
        #[cfg(not(feature = "client"))]
        drop(host);
        Ok(Self {
            #[cfg(feature = "client")]
            client: client::Client::new(host)?,
        })
    }
}

#[cfg_attr(feature = "client", async_trait::async_trait)]
impl PosProvider for Square {
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

    fn normalize_order(
        &self,
        order: &RawOrder,
        configuration: &Configuration,
    ) -> Result<Vec<Transaction>, PayloadError> {
        normalize::transactions(&order.body, configuration)
    }

    #[cfg(feature = "client")]
    async fn fetch_order(
        &self,
        environment: Environment,
        token: &AccessToken,
        id: &ExternalOrderId,
    ) -> Result<RawOrder, ProviderError> {
        self.client.fetch_order(environment, token, id).await
    }

    #[cfg(feature = "client")]
    async fn describe_merchant(
        &self,
        environment: Environment,
        token: &AccessToken,
    ) -> Result<MerchantDescription, ProviderError> {
        self.client.describe_merchant(environment, token).await
    }
}
