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

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cursor {
    query: String,
    /// The time that stands for a missing end.
    pub end: Timestamp,
    /// The last item of the page before.
    after: Option<(Timestamp, String)>,
    /// Makes two cursors at one place differ.
    page: u32,
}

/// One place in a sorted list.
pub struct Item {
    pub sorted_by: Timestamp,
    pub id: String,
    pub json: Value,
}

/// What of a list goes into one answer.
pub struct Page {
    pub items: Vec<Value>,
    pub cursor: Option<String>,
}

impl Square {
    /// The place to go on from; `query` is everything that was asked but the cursor.
    pub fn open_cursor(&self, query: &str, given: Option<&str>) -> Result<Cursor, ApiError> {
        let query = URL_SAFE_NO_PAD.encode(Sha256::digest(query));
        let Some(given) = given.filter(|given| !given.is_empty()) else {
            let end = self.clock.now();
            return Ok(Cursor { query, end, after: None, page: 0 });
        };
        let invalid = |why: &str| ApiError::invalid("INVALID_CURSOR", format!("The cursor {why}.")).field("cursor");
        let cursor: Cursor = URL_SAFE_NO_PAD
            .decode(given)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| invalid("is not one of ours"))?;
        if cursor.query != query {
            return Err(invalid("belongs to another query"));
        }
        if self.door.faults.take(|faults| &mut faults.expire_cursors) {
            return Err(invalid("has expired"));
        }
        Ok(cursor)
    }

    pub fn page(&self, mut cursor: Cursor, mut items: Vec<Item>, descending: bool, limit: usize) -> Page {
        items.sort_by(|a, b| (a.sorted_by, &a.id).cmp(&(b.sorted_by, &b.id)));
        if descending {
            items.reverse();
        }
        if let Some((time, id)) = &cursor.after {
            items.retain(|item| {
                let (place, last) = ((item.sorted_by, &item.id), (*time, id));
                if descending { place < last } else { place > last }
            });
        }
        let limit = if self.door.faults.take(|faults| &mut faults.empty_pages) { 0 } else { limit };
        let more = items.len() > limit;
        items.truncate(limit);
        if let Some(last) = items.last() {
            cursor.after = Some((last.sorted_by, last.id.clone()));
        }
        cursor.page += 1;
        let text = serde_json::to_vec(&cursor).map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        Page { items: items.into_iter().map(|item| item.json).collect(), cursor: text.ok().filter(|_| more) }
    }
}

/// A timestamp inside an object; objects are written by us, so it is there.
pub fn time_of(json: &Value, key: &str) -> Option<Timestamp> {
    json.get(key)?.as_str()?.parse().ok()
}
