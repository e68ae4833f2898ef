//! Orders: one by id, several by id, and the search with all its rules.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Path;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{ApiError, Asker, read_json};
use super::paging::List;
use crate::json::Build;
use crate::shelf::{By, Object};

const MOST_LOCATIONS: usize = 10;
const MOST_ORDERS: usize = 1_000;
const USUAL_ORDERS: usize = 500;
const MOST_IDS: usize = 100;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SearchRequest {
    #[serde(default)]
    location_ids: Vec<String>,
    #[serde(default)]
    query: Query,
    limit: Option<usize>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(default)]
    return_entries: bool,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Query {
    #[serde(default)]
    filter: Filter,
    #[serde(default)]
    sort: Sort,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    state_filter: Option<StateFilter>,
    date_time_filter: Option<DateTimeFilter>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StateFilter {
    states: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct DateTimeFilter {
    created_at: Option<TimeRange>,
    updated_at: Option<TimeRange>,
    closed_at: Option<TimeRange>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TimeRange {
    start_at: Option<Timestamp>,
    end_at: Option<Timestamp>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sort {
    sort_field: Option<SortField>,
    sort_order: Option<SortOrder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
enum SortField {
    #[serde(rename = "CREATED_AT")]
    Created,
    #[serde(rename = "UPDATED_AT")]
    Updated,
    #[serde(rename = "CLOSED_AT")]
    Closed,
}

impl SortField {
    fn key(self) -> &'static str {
        match self {
            Self::Created => "created_at",
            Self::Updated => "updated_at",
            Self::Closed => "closed_at",
        }
    }

    fn by(self) -> By {
        match self {
            Self::Created => By::Created,
            Self::Updated => By::Changed,
            Self::Closed => By::Closed,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum SortOrder {
    Asc,
    Desc,
}

impl SearchRequest {
    /// The one time range there may be, and the field it is about.
    fn time_range(&self) -> Result<Option<(SortField, &TimeRange)>, ApiError> {
        let Some(filter) = &self.query.filter.date_time_filter else {
            return Ok(None);
        };
        let mut ranges = [
            (SortField::Created, &filter.created_at),
            (SortField::Updated, &filter.updated_at),
            (SortField::Closed, &filter.closed_at),
        ]
        .into_iter()
        .filter_map(|(field, range)| range.as_ref().map(|range| (field, range)));
        let (first, second) = (ranges.next(), ranges.next());
        if second.is_some() {
            let detail = "date_time_filter takes one of created_at, updated_at and closed_at.";
            return Err(ApiError::invalid("CONFLICTING_PARAMETERS", detail).field("query.filter.date_time_filter"));
        }
        Ok(first)
    }

    fn sort_field(&self) -> Result<SortField, ApiError> {
        let sort_field = self.query.sort.sort_field.unwrap_or(SortField::Created);
        if let Some((field, _)) = self.time_range()?
            && field != sort_field
        {
            let detail = format!("sort_field must be the field of date_time_filter, {}.", field.key());
            return Err(ApiError::bad_request(detail).field("query.sort.sort_field"));
        }
        let states = self.query.filter.state_filter.as_ref().map(|filter| filter.states.as_slice());
        let terminal =
            states.is_some_and(|states| states.iter().all(|state| state == "COMPLETED" || state == "CANCELED"));
        if sort_field == SortField::Closed && !terminal {
            let detail = "CLOSED_AT needs a state_filter with only COMPLETED or CANCELED.";
            return Err(ApiError::bad_request(detail).field("query.filter.state_filter"));
        }
        Ok(sort_field)
    }

    fn check(&self, asker: &Asker) -> Result<(), ApiError> {
        let count = self.location_ids.len();
        if !(1..=MOST_LOCATIONS).contains(&count) {
            let detail = format!("location_ids takes 1 to {MOST_LOCATIONS} ids, not {count}.");
            return Err(ApiError::bad_request(detail).field("location_ids"));
        }
        if let Some(id) = self.location_ids.iter().find(|id| !asker.has_location(id)) {
            let detail = format!("The merchant has no location {id}.");
            return Err(ApiError::forbidden("FORBIDDEN", detail).field("location_ids"));
        }
        if !(1..=MOST_ORDERS).contains(&self.limit.unwrap_or(USUAL_ORDERS)) {
            let detail = format!("limit takes 1 to {MOST_ORDERS}.");
            return Err(ApiError::bad_request(detail).field("limit"));
        }
        let known = ["DRAFT", "OPEN", "COMPLETED", "CANCELED"];
        let states = self.query.filter.state_filter.iter().flat_map(|filter| &filter.states);
        if let Some(unknown) = states.into_iter().find(|state| !known.contains(&state.as_str())) {
            let detail = format!("`{unknown}` is no state of an order.");
            return Err(ApiError::bad_request(detail).field("query.filter.state_filter.states"));
        }
        Ok(())
    }

    fn wants(&self, order: &Object) -> bool {
        let states = self.query.filter.state_filter.as_ref();
        states.is_none_or(|filter| filter.states.iter().any(|state| *state == order.state))
    }
}

pub async fn search(Extension(asker): Extension<Asker>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: SearchRequest = read_json(&body)?;
    request.check(&asker)?;
    let sort_field = request.sort_field()?;
    let range = request.time_range()?.map(|(_, range)| range);
    let asked = serde_json::to_string(&request).unwrap_or_default() + &asker.merchant_id;
    let cursor = asker.square.open_cursor(&asked, request.cursor.as_deref())?;
    let mut locations: Vec<&str> = request.location_ids.iter().map(String::as_str).collect();
    locations.sort_unstable();
    locations.dedup();
    let list = List {
        shelf: "orders",
        by: sort_field.by(),
        locations: &locations,
        from: range.and_then(|range| range.start_at).unwrap_or(Timestamp::MIN),
        to: range.map_or(Timestamp::MAX, |range| range.end_at.unwrap_or(cursor.end)),
        descending: request.query.sort.sort_order != Some(SortOrder::Asc),
        limit: request.limit.unwrap_or(USUAL_ORDERS),
    };
    let page = asker.square.page(cursor, &list, |order| request.wants(order));
    // Square leaves out what is empty.
    let (entries, orders) = if request.return_entries { (page.items, vec![]) } else { (vec![], page.items) };
    Ok(Json(
        json!({})
            .with_list("orders", orders.into_iter())
            .with_list("order_entries", entries.iter().map(entry))
            .with_some("cursor", page.cursor),
    ))
}

fn entry(order: &Value) -> Value {
    json!({"order_id": order["id"], "location_id": order["location_id"]})
        .with_some("version", order.get("version").cloned())
}

impl Asker {
    /// An object as a replica sees it, if it is this merchant's.
    pub fn seen(&self, shelf: &str, id: &str) -> Option<Value> {
        let lag = self.square.replica_lag();
        let json = {
            let world = self.square.world();
            let object = world.shelf(shelf).seen(id, lag)?;
            self.has_location(&object.location).then(|| object.json.clone())?
        };
        Some(json.write())
    }

    fn has_location(&self, id: &str) -> bool {
        self.square.businesses.shop(id).is_some_and(|shop| shop.merchant.id == self.merchant_id)
    }
}

/// Reads at once and may answer late, so that an old copy can overtake a new one.
pub async fn get_order(Extension(asker): Extension<Asker>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let order = asker.seen("orders", &id);
    tokio::time::sleep(Duration::from_millis(asker.square.door.faults.get().hold_order_ms)).await;
    let order = order.ok_or_else(|| ApiError::not_found(format!("Order {id} not found")).field("order_id"))?;
    Ok(Json(json!({"order": order})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchRequest {
    location_id: Option<String>,
    order_ids: Vec<String>,
}

/// Ids that are not found are left out without a word.
pub async fn batch_retrieve(Extension(asker): Extension<Asker>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: BatchRequest = read_json(&body)?;
    if !(1..=MOST_IDS).contains(&request.order_ids.len()) {
        let detail = format!("order_ids takes 1 to {MOST_IDS} ids.");
        return Err(ApiError::bad_request(detail).field("order_ids"));
    }
    let here =
        |order: &Value| request.location_id.is_none() || order.get("location_id") == Some(&json!(request.location_id));
    let orders: Vec<Value> = request.order_ids.iter().filter_map(|id| asker.seen("orders", id)).filter(here).collect();
    Ok(Json(json!({}).with_list("orders", orders.into_iter())))
}
