//! The Financial API: closed accounts, by the time they were closed.

use axum::extract::Path;
use axum::http::Uri;
use axum::{Extension, Json};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{ApiError, Asker, read_query};
use crate::clock::later;
use crate::shelf::{After, By, Draft, Wanted};
use crate::shops::Shop;

const USUAL: usize = 50;
const MOST: usize = 100;
const LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long a token leads to the next page; not documented.
const TOKEN_LIFETIME: SignedDuration = SignedDuration::from_mins(15);
/// All shops opened on this day.
const OPENED: &str = "2024-03-01T00:00:00Z";

impl Asker {
    pub(super) fn shop(&self, location: &str) -> Result<Shop<'_>, ApiError> {
        let shop = self.lightspeed.businesses.shop(location).filter(|shop| shop.merchant.id == self.business);
        shop.ok_or_else(|| ApiError::not_found(location))
    }

    /// Accounts of a location as a replica knows them, by time of closing; the end is not inside.
    fn accounts(
        &self,
        location: &str,
        (from, to): (Timestamp, Timestamp),
        after: Option<&After>,
        most: usize,
    ) -> Vec<(After, Draft)> {
        let lag = self.lightspeed.replica_lag();
        let to = later(to, SignedDuration::from_nanos(-1));
        let wanted = Wanted { by: By::Closed, locations: &[location], from, to, after, descending: false, lag };
        let world = self.lightspeed.world();
        let found = world.shelf("sales").list(&wanted, most, |_| true).into_iter();
        found.map(|(closed, sale)| ((closed, sale.id.to_string()), sale.json.clone())).collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SalesQuery {
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    include: String,
    page_size: Option<usize>,
    next_page_token: Option<String>,
}

/// Where to go on; bound to its question.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    location: String,
    from: Timestamp,
    to: Timestamp,
    after: Option<After>,
    /// Sales on all pages before.
    given: usize,
    issued: Timestamp,
}

fn read_time(text: &str) -> Result<Timestamp, ApiError> {
    text.parse().map_err(|_| ApiError::bad_request(format!("Invalid date format: {text}")))
}

fn range(query: &SalesQuery, now: Timestamp) -> Result<(Timestamp, Timestamp), ApiError> {
    let Some(from) = &query.from else {
        let text = "Required request parameter 'from' for method parameter type OffsetDateTime is not present";
        return Err(ApiError::bad_request(text));
    };
    let from = read_time(from)?;
    let to = query.to.as_deref().map(read_time).transpose()?.map_or(now, |to| to.min(now));
    if from > to {
        return Err(ApiError::bad_request("'from' date cannot be after 'to' date"));
    }
    if to.duration_since(from) > LONGEST {
        return Err(ApiError::bad_request("The range cannot be longer than 365 days"));
    }
    if from < read_time(OPENED)? {
        return Err(ApiError::bad_request(format!("'from' cannot be before {OPENED}")));
    }
    Ok((from, to))
}

/// Payments are missing, not empty, where nobody asked for them.
fn included(mut sale: Value, include: &str) -> Value {
    if let Some(fields) = sale.as_object_mut()
        && !include.split(',').any(|wanted| wanted == "payments")
    {
        fields.remove("payments");
    }
    sale
}

pub async fn sales(
    Extension(asker): Extension<Asker>,
    Path(location): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, ApiError> {
    let query: SalesQuery = read_query(&uri)?;
    asker.shop(&location)?;
    let now = asker.lightspeed.clock.now();
    let (from, mut to) = range(&query, now)?;
    let size = query.page_size.unwrap_or(USUAL);
    if !(1..=MOST).contains(&size) {
        return Err(ApiError::bad_request(format!("pageSize must be between 1 and {MOST}")));
    }
    let faults = &asker.lightspeed.door.faults;
    let (mut after, mut given) = (None, 0);
    let asked_with = query.next_page_token.filter(|given| !given.is_empty());
    if let Some(text) = &asked_with {
        let token: Option<Token> =
            URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let token = token.filter(|token| {
            let alive = later(token.issued, TOKEN_LIFETIME) > now && !faults.take(|faults| &mut faults.expire_cursors);
            alive && token.location == location && token.from == from
        });
        let token = token.ok_or_else(|| ApiError::bad_request("nextPageToken is invalid or has expired"))?;
        (to, after, given) = (token.to, token.after, token.given);
    }
    let repeated = asked_with.filter(|_| faults.take(|faults| &mut faults.repeat_cursors));
    let size = if given > 0 && faults.take(|faults| &mut faults.empty_pages) { 0 } else { size };
    let (size, is_cut) = faults.capped(given, size);
    let mut found = asker.accounts(&location, (from, to), after.as_ref(), size + 1);
    let more = found.len() > size && !is_cut;
    found.truncate(size);
    given += found.len();
    let after = found.last().map(|(place, _)| place.clone()).or(after);
    let token = serde_json::to_vec(&Token { location, from, to, after, given, issued: now });
    let token = token.ok().filter(|_| more).map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    let sales: Value = found.into_iter().map(|(_, sale)| included(sale.write(), &query.include)).collect();
    Ok(Json(match repeated.or(token) {
        Some(token) => json!({"sales": sales, "nextPageToken": token}),
        None => json!({"sales": sales}),
    }))
}

#[derive(Debug, Deserialize)]
struct DailyQuery {
    date: Option<String>,
    #[serde(default)]
    include: String,
}

/// A business day in one piece; complete when the next one has begun.
pub async fn sales_daily(
    Extension(asker): Extension<Asker>,
    Path(location): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, ApiError> {
    let query: DailyQuery = read_query(&uri)?;
    let shop = asker.shop(&location)?;
    let date = query.date.ok_or_else(|| ApiError::bad_request("Required request parameter 'date' is not present"))?;
    let date: Date = date.parse().map_err(|_| ApiError::bad_request(format!("Invalid date format: {date}")))?;
    let ends = shop.day_ends(date);
    let begins = date.yesterday().map_or(ends, |before| shop.day_ends(before));
    // Never cut short: what is missing in a list is found out here.
    let found = asker.accounts(&location, (begins, ends), None, usize::MAX);
    Ok(Json(json!({
        "sales": found.into_iter().map(|(_, sale)| included(sale.write(), &query.include)).collect::<Value>(),
        "nextStartOfDayAsIso8601": ends.to_string(),
        "dataComplete": ends <= asker.lightspeed.clock.now(),
    })))
}
