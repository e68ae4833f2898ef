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

    /// All accounts of a location as a replica knows them, by time of closing.
    fn accounts(&self, location: &str) -> Vec<(Timestamp, String, Value)> {
        let lag = self.lightspeed.replica_lag();
        let world = self.lightspeed.world();
        let prefix = format!("{location}/");
        let here = world.shelf("sales").range(prefix.clone()..).take_while(|(place, _)| place.starts_with(&prefix));
        let mut found: Vec<(Timestamp, String, Value)> = here
            .filter_map(|(place, copies)| {
                let sale = copies.seen(lag)?;
                let closed = sale.get("timeClosed")?.as_str()?.parse().ok()?;
                Some((closed, place.clone(), sale.clone()))
            })
            .collect();
        found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        found
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
    after: (Timestamp, String),
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
    let mut after = None;
    if let Some(given) = query.next_page_token.filter(|given| !given.is_empty()) {
        let token: Option<Token> =
            URL_SAFE_NO_PAD.decode(given).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let token = token.filter(|token| {
            let alive = later(token.issued, TOKEN_LIFETIME) > now && !faults.take(|faults| &mut faults.expire_cursors);
            alive && token.location == location && token.from == from
        });
        let token = token.ok_or_else(|| ApiError::bad_request("nextPageToken is invalid or has expired"))?;
        to = token.to;
        after = Some(token.after);
    }
    let mut found = asker.accounts(&location);
    found.retain(|(closed, place, _)| {
        let passed = after.as_ref().is_some_and(|after| (*closed, place) <= (after.0, &after.1));
        from <= *closed && *closed < to && !passed
    });
    let size = if faults.take(|faults| &mut faults.empty_pages) && after.is_some() { 0 } else { size };
    let more = found.len() > size;
    found.truncate(size);
    let last = found.last().map(|(closed, place, _)| (*closed, place.clone())).or(after);
    let token = last.filter(|_| more).and_then(|after| {
        serde_json::to_vec(&Token { location, from, to, after, issued: now })
            .ok()
            .map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
    });
    let sales: Value = found.into_iter().map(|(_, _, sale)| included(sale, &query.include)).collect();
    Ok(Json(match token {
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
    let mut found = asker.accounts(&location);
    found.retain(|(closed, _, _)| shop.business_date(*closed) == date);
    Ok(Json(json!({
        "sales": found.into_iter().map(|(_, _, sale)| included(sale, &query.include)).collect::<Value>(),
        "nextStartOfDayAsIso8601": ends.to_string(),
        "dataComplete": ends <= asker.lightspeed.clock.now(),
    })))
}
