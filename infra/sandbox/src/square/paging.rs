//! Cursors that remember what was asked.
//!
//! A cursor marks a place in the sorted list, not a count of items, because
//! the list changes between two pages. It is bound to its query, and the end
//! of an open time range is fixed by the first request.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Square;
use super::answers::ApiError;
use crate::shelf::{After, By, Draft, Object, Wanted};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cursor {
    query: String,
    /// The time that stands for a missing end.
    pub end: Timestamp,
    /// The last item of the page before.
    after: Option<After>,
    /// Items on all pages before.
    given: usize,
    /// Makes two cursors at one place differ.
    page: u32,
    /// As it was asked with.
    #[serde(skip)]
    text: Option<String>,
}

/// The list a page belongs to.
pub struct List<'a> {
    pub shelf: &'static str,
    pub by: By,
    pub locations: &'a [&'a str],
    /// Both ends are inside.
    pub from: Timestamp,
    pub to: Timestamp,
    pub descending: bool,
    pub limit: usize,
}

/// What of a list goes into one answer.
pub struct Page {
    pub items: Vec<Value>,
    pub cursor: Option<String>,
}

impl Cursor {
    /// Where the next page begins, as text.
    fn next(mut self) -> Option<String> {
        self.page += 1;
        serde_json::to_vec(&self).ok().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl Square {
    /// The place to go on from; `query` is everything that was asked but the cursor.
    pub fn open_cursor(&self, query: &str, given: Option<&str>) -> Result<Cursor, ApiError> {
        let query = URL_SAFE_NO_PAD.encode(Sha256::digest(query));
        let Some(text) = given.filter(|given| !given.is_empty()) else {
            let end = self.clock.now();
            return Ok(Cursor { query, end, after: None, given: 0, page: 0, text: None });
        };
        let invalid = |why: &str| ApiError::invalid("INVALID_CURSOR", format!("The cursor {why}.")).field("cursor");
        let cursor: Cursor = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| invalid("is not one of ours"))?;
        if cursor.query != query {
            return Err(invalid("belongs to another query"));
        }
        if self.door.faults.take(|faults| &mut faults.expire_cursors) {
            return Err(invalid("has expired"));
        }
        Ok(Cursor { text: Some(text.to_owned()), ..cursor })
    }

    pub fn page(&self, mut cursor: Cursor, list: &List<'_>, fits: impl Fn(&Object) -> bool) -> Page {
        let &List { shelf, by, locations, from, to, descending, limit } = list;
        let faults = &self.door.faults;
        let repeated = cursor.text.take().filter(|_| faults.take(|faults| &mut faults.repeat_cursors));
        let limit = if faults.take(|faults| &mut faults.empty_pages) { 0 } else { limit };
        let (limit, is_cut) = faults.capped(cursor.given, limit);
        let lag = self.replica_lag();
        let wanted = Wanted { by, locations, from, to, after: cursor.after.as_ref(), descending, lag };
        let mut more = false;
        let mut last = None;
        let json: Vec<Draft> = {
            let world = self.world();
            let found = world.shelf(shelf).list(&wanted, limit + 1, fits);
            more |= found.len() > limit && !is_cut;
            let found = found.into_iter().take(limit);
            found
                .inspect(|(stamp, object)| last = Some((*stamp, object.id.to_string())))
                .map(|(_, object)| object.json.clone())
                .collect()
        };
        cursor.after = last.or(cursor.after);
        cursor.given += json.len();
        let items = json.into_iter().map(|json| json.write()).collect();
        Page { items, cursor: repeated.or(cursor.next().filter(|_| more)) }
    }

    /// A page of a list that stays as it is: here the place is a count.
    pub fn page_of(&self, mut cursor: Cursor, items: Vec<Value>, limit: usize) -> Page {
        let faults = &self.door.faults;
        let repeated = cursor.text.take().filter(|_| faults.take(|faults| &mut faults.repeat_cursors));
        let limit = if faults.take(|faults| &mut faults.empty_pages) { 0 } else { limit };
        let all = items.len();
        let items: Vec<Value> = items.into_iter().skip(cursor.given).take(limit).collect();
        cursor.given += items.len();
        let more = cursor.given < all;
        Page { items, cursor: repeated.or(cursor.next().filter(|_| more)) }
    }
}
