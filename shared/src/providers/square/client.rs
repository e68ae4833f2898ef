//! Square's endpoints for orders.

use jiff::{SignedDuration, Timestamp};

use super::wire;
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{Access, OrderRef, ProviderError, RawOrder};

/// An order that takes longer than this to close may have waited for the network.
const SLOW_TO_CLOSE: SignedDuration = SignedDuration::from_mins(15);
/// The version whose shapes `wire.rs` describes.
pub(super) const VERSION: &str = "2025-08-20";

pub(super) async fn fetch_order(http: &Http, access: &Access<'_>, order: &OrderRef) -> Result<RawOrder, ProviderError> {
    const OPERATION: &str = "fetch_order";
    let observed_at = Timestamp::now();
    let call = http.get(OPERATION, access.environment, &["v2", "orders", order.id.as_str()], &[])?;
    let answer = call.bearer(access.token).header("square-version", VERSION).send().await?;
    let answer: wire::OrderAnswer = read_json(&answer.body).map_err(|error| http.unreadable(OPERATION, error))?;
    let body = answer.order.get().as_bytes().to_vec();
    let paid_offline_at = paid_offline_at(http, access, OPERATION, &body).await?;
    Ok(RawOrder { body, location: order.location.clone(), paid_offline_at, observed_at })
}

/// When the guest paid, if the till was offline then: only the payment knows. Most orders close soon after they were
/// opened, and of those nobody needs to ask.
async fn paid_offline_at(
    http: &Http,
    access: &Access<'_>,
    operation: &'static str,
    order: &[u8],
) -> Result<Option<Timestamp>, ProviderError> {
    let refuse = |error| http.unreadable(operation, error);
    let order: wire::OrderTimes = read_json(order).map_err(refuse)?;
    let Some(closed_at) = order.closed_at else { return Ok(None) };
    if closed_at.duration_since(order.created_at) < SLOW_TO_CLOSE {
        return Ok(None);
    }
    let payments = order.tenders.iter().filter_map(|tender| tender.payment_id.as_deref().or(tender.id.as_deref()));
    let mut paid_at = None;
    for id in payments {
        let call = http.get(operation, access.environment, &["v2", "payments", id], &[])?;
        let answer = call.bearer(access.token).header("square-version", VERSION).send().await?;
        let answer: wire::PaymentAnswer = read_json(&answer.body).map_err(refuse)?;
        paid_at = paid_at.max(answer.payment.offline_payment_details.and_then(|details| details.client_created_at));
    }
    Ok(paid_at)
}
