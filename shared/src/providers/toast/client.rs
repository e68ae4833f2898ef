//! Toast's endpoints for orders.

use jiff::Timestamp;

use super::RESTAURANT;
use crate::providers::http::Http;
use crate::providers::{Access, OrderRef, ProviderError, ProviderErrorKind, RawOrder};

/// Toast answers for one restaurant at a time, so an order without its shop cannot be asked for.
pub(super) async fn fetch_order(http: &Http, access: &Access<'_>, order: &OrderRef) -> Result<RawOrder, ProviderError> {
    const OPERATION: &str = "fetch_order";
    let Some(shop) = &order.location else { return Err(http.refuse(OPERATION, ProviderErrorKind::Unsupported)) };
    let observed_at = Timestamp::now();
    let call = http.get(OPERATION, access.environment, &["orders", "v2", "orders", order.id.as_str()], &[])?;
    let answer = call.bearer(access.token).header(RESTAURANT, shop.as_str()).send().await?;
    Ok(RawOrder { body: answer.body, location: Some(shop.clone()), paid_offline_at: None, observed_at })
}
