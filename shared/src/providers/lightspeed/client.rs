//! Lightspeed's endpoints for sales.

use jiff::{SignedDuration, Timestamp};

use super::wire::{SaleIds, SalesPage};
use crate::domain::LocationId;
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{Access, OrderRef, ProviderError, ProviderErrorKind, RawOrder};

/// The clocks of a till and of the Financial API need not agree.
const AROUND: SignedDuration = SignedDuration::from_mins(15);
/// Five hundred sales in half an hour: no bakery is that fast.
const MOST_PAGES: usize = 5;
const PAGE_SIZE: &str = "100";

/// No endpoint gives one sale by its id, so it is looked for among those that were closed about then.
pub(super) async fn fetch_order(http: &Http, access: &Access<'_>, order: &OrderRef) -> Result<RawOrder, ProviderError> {
    const OPERATION: &str = "fetch_order";
    let (Some(shop), Some(closed_at)) = (&order.location, order.changed_at) else {
        return Err(http.refuse(OPERATION, ProviderErrorKind::Unsupported));
    };
    let from = closed_at.checked_sub(AROUND).unwrap_or(closed_at);
    let to = closed_at.checked_add(AROUND).unwrap_or(closed_at);
    let refuse = |error| http.unreadable(OPERATION, error);
    let observed_at = Timestamp::now();
    let mut token = None;
    for _ in 0..MOST_PAGES {
        let answer = sales(http, access, OPERATION, shop, (from, to), token.as_deref()).await?;
        let page: SalesPage = read_json(&answer).map_err(refuse)?;
        for sale in page.sales {
            let ids: SaleIds = read_json(sale.get().as_bytes()).map_err(refuse)?;
            let id = Some(order.id.as_str());
            if ids.account_fisc_id.as_deref() == id || ids.account_reference.as_deref() == id {
                let body = sale.get().as_bytes().to_vec();
                return Ok(RawOrder { body, location: Some(shop.clone()), paid_offline_at: None, observed_at });
            }
        }
        token = page.next_page_token.filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    Err(http.refuse(OPERATION, ProviderErrorKind::NotFound))
}

/// One page of a shop's sales by the time of their closing.
async fn sales(
    http: &Http,
    access: &Access<'_>,
    operation: &'static str,
    shop: &LocationId,
    (from, to): (Timestamp, Timestamp),
    token: Option<&str>,
) -> Result<Vec<u8>, ProviderError> {
    let (from, to) = (from.to_string(), to.to_string());
    // Payments that are not asked for are missing, not zero.
    let mut query = vec![("from", from.as_str()), ("to", &to), ("include", "payments"), ("pageSize", PAGE_SIZE)];
    query.extend(token.map(|token| ("nextPageToken", token)));
    let path = ["f", "v2", "business-location", shop.as_str(), "sales"];
    let call = http.get(operation, access.environment, &path, &query)?;
    Ok(call.bearer(access.token).send().await?.body)
}
