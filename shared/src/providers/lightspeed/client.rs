//! Lightspeed's endpoints for sales.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;

use super::wire::{SaleIds, SalesPage};
use super::{normalize, sale_id};
use crate::domain::{Configuration, ExternalOrderId, Location, LocationId, Minor, TransactionKind, TransactionStatus};
use crate::providers::error::read_json;
use crate::providers::http::Http;
use crate::providers::{
    Access, DailyTotals, DayPage, DayQuery, OrderPage, OrderQuery, OrderRef, PayloadError, ProviderError,
    ProviderErrorKind, RawOrder,
};

/// The clocks of a till and of the Financial API need not agree.
const AROUND: SignedDuration = SignedDuration::from_mins(15);
/// Five hundred sales in half an hour: no bakery is that fast.
const MOST_PAGES: usize = 5;
/// The most that Lightspeed gives.
pub(super) const PAGE_SIZE: usize = 100;
const PAGE_SIZE_TEXT: &str = "100";

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
            if is_called(&ids, shop, &order.id) {
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

/// By its account with or without the shop (a push may not name it), or by its reference.
fn is_called(ids: &SaleIds<'_>, shop: &LocationId, id: &ExternalOrderId) -> bool {
    let is_account = ids.account_fisc_id.as_deref().is_some_and(|account| {
        account == id.as_str() || sale_id(shop, account).is_ok_and(|qualified| qualified == *id)
    });
    is_account || ids.account_reference.as_deref() == Some(id.as_str())
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
    let mut query = vec![("from", from.as_str()), ("to", &to), ("include", "payments"), ("pageSize", PAGE_SIZE_TEXT)];
    query.extend(token.map(|token| ("nextPageToken", token)));
    let path = ["f", "v2", "business-location", shop.as_str(), "sales"];
    let call = http.get(operation, access.environment, &path, &query)?;
    // A refusal says what is wrong in words; with a token there is one thing that can be wrong.
    let is_stale: fn(&[u8]) -> bool = if token.is_some() { |_| true } else { |_| false };
    Ok(call.bearer(access.token).send_for_page(is_stale).await?.body)
}

/// Sales of one shop by the time of their closing. What is corrected later is a sale of its own, closed then.
pub(super) async fn list_orders(
    http: &Http,
    access: &Access<'_>,
    query: &OrderQuery,
) -> Result<OrderPage, ProviderError> {
    const OPERATION: &str = "list_orders";
    let refuse = |error| http.unreadable(OPERATION, error);
    let observed_at = Timestamp::now();
    let window = (query.from, query.to);
    let answer = sales(http, access, OPERATION, &query.location, window, query.cursor.as_deref()).await?;
    let page: SalesPage = read_json(&answer).map_err(refuse)?;
    let raw = |sale: &RawValue| RawOrder {
        body: sale.get().as_bytes().to_vec(),
        location: Some(query.location.clone()),
        paid_offline_at: None,
        observed_at,
    };
    let orders = page.sales.iter().map(|sale| raw(sale)).collect();
    Ok(OrderPage { orders, next: page.next_page_token.filter(|token| !token.is_empty()), requests: 1 })
}

/// Lightspeed's own record of a day, in one answer that is not paged. Where its day does not end with ours, the days before
/// and after it have the rest; those are asked for by cursors of ours.
pub(super) async fn list_day(http: &Http, access: &Access<'_>, query: &DayQuery) -> Result<DayPage, ProviderError> {
    const OPERATION: &str = "list_day";
    let refuse = |error| http.unreadable(OPERATION, error);
    let (date, next) = match query.cursor.as_deref() {
        Some("before") => (query.date.yesterday().unwrap_or(query.date), Some("after")),
        Some(_) => (query.date.tomorrow().unwrap_or(query.date), None),
        None => (query.date, Some("before")),
    };
    let observed_at = Timestamp::now();
    let path = ["f", "v2", "business-location", query.location.id.as_str(), "sales-daily"];
    let day = date.to_string();
    // As in a list, payments that are not asked for are missing (that this call takes the parameter is unverified).
    let call = http.get(OPERATION, access.environment, &path, &[("date", day.as_str()), ("include", "payments")])?;
    let answer = call.bearer(access.token).send().await?;
    let page: SalesPage = read_json(&answer.body).map_err(refuse)?;
    let ends = page.next_start_of_day.and_then(|at| at.parse::<Timestamp>().ok());
    let is_ours = ends.is_none_or(|ends| ends == query.location.day_starts_at(date.tomorrow().unwrap_or(date)));
    let raw = |sale: &RawValue| RawOrder {
        body: sale.get().as_bytes().to_vec(),
        location: Some(query.location.id.clone()),
        paid_offline_at: None,
        observed_at,
    };
    Ok(DayPage {
        orders: page.sales.iter().map(|sale| raw(sale)).collect(),
        next: next.filter(|_| query.cursor.is_some() || !is_ours).map(str::to_owned),
        requests: 1,
        // What our day has of the one after Lightspeed's is there before that is over.
        is_final: query.cursor.is_some() || page.data_complete == Some(true),
        is_capped: false,
    })
}

/// What Lightspeed counts to a day of the shop, in one answer. Tips are left out: without its payments, which this call
/// does not promise, a sale does not tell them.
pub(super) async fn fetch_daily_totals(
    http: &Http,
    access: &Access<'_>,
    configuration: &Configuration,
    location: &Location,
    date: Date,
) -> Result<DailyTotals, ProviderError> {
    const OPERATION: &str = "fetch_daily_totals";
    let refuse = |error| http.unreadable(OPERATION, error);
    let out_of_range = |_| refuse(PayloadError::out_of_range("sales"));
    let path = ["f", "v2", "business-location", location.id.as_str(), "sales-daily"];
    let day = date.to_string();
    let call = http.get(OPERATION, access.environment, &path, &[("date", day.as_str())])?;
    let answer = call.bearer(access.token).send().await?;
    let page: SalesPage = read_json(&answer.body).map_err(refuse)?;
    // Where Lightspeed's day does not end with ours, its count is of other sales.
    let ends = page.next_start_of_day.and_then(|at| at.parse::<Timestamp>().ok());
    let is_ours = ends.is_none_or(|ends| ends == location.day_starts_at(date.tomorrow().unwrap_or(date)));
    let is_final = page.data_complete == Some(true) && is_ours;
    let mut totals =
        DailyTotals { date, is_final, currency: location.currency, sales: 0, refunds: 0, turnover: Minor::ZERO };
    for sale in page.sales {
        let body = sale.get().as_bytes();
        for transaction in normalize::transactions(body, Some(&location.id), configuration).map_err(refuse)? {
            if transaction.status != TransactionStatus::Completed {
                continue;
            }
            let amount = transaction.amounts.total.checked_sub(transaction.amounts.tip).map_err(out_of_range)?;
            totals.turnover = match transaction.kind {
                TransactionKind::Sale => {
                    totals.sales += 1;
                    totals.turnover.checked_add(amount)
                }
                TransactionKind::Refund => {
                    totals.refunds += 1;
                    totals.turnover.checked_sub(amount)
                }
            }
            .map_err(out_of_range)?;
        }
    }
    Ok(totals)
}
