//! Square's endpoints for orders.

use jiff::Timestamp;

use super::wire;
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{Access, OrderRef, ProviderError, RawOrder};

/// The version whose shapes `wire.rs` describes.
pub(super) const VERSION: &str = "2025-08-20";

pub(super) async fn fetch_order(http: &Http, access: &Access<'_>, order: &OrderRef) -> Result<RawOrder, ProviderError> {
    const OPERATION: &str = "fetch_order";
    let observed_at = Timestamp::now();
    let call = http.get(OPERATION, access.environment, &["v2", "orders", order.id.as_str()], &[])?;
    let answer = call.bearer(access.token).header("square-version", VERSION).send().await?;
    let answer: wire::OrderAnswer = read_json(&answer.body).map_err(|error| http.unreadable(OPERATION, error))?;
    Ok(RawOrder { body: answer.order.get().as_bytes().to_vec(), observed_at })
}
