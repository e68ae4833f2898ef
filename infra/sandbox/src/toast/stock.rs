//! What is sold out. A write answers 200 even for items that do not exist.

use axum::body::Bytes;
use axum::http::Uri;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{ApiError, Asker, read_json, read_query};
use super::catalog::{Item, items};
use super::webhooks::Event;
use crate::json::Build;
use crate::stage::Tells;

/// How much of an item there is; plainly in stock is no level at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    Out,
    Left(f64),
}

impl Level {
    fn words(level: Option<Self>) -> (&'static str, Option<f64>) {
        match level {
            None => ("IN_STOCK", None),
            Some(Self::Out) => ("OUT_OF_STOCK", None),
            Some(Self::Left(quantity)) => ("QUANTITY", Some(quantity)),
        }
    }
}

impl Asker {
    fn items(&self) -> Vec<Item> {
        items(self.toast.seed, &self.group, &self.restaurant)
    }

    fn level(&self, item: &Item) -> Option<Level> {
        self.toast.world().own.stock.get(&(self.restaurant.clone(), item.guid.clone())).copied()
    }

    fn known(&self, item: &Item) -> Value {
        let (status, quantity) = Level::words(self.level(item));
        json!({
            "guid": item.guid,
            "itemGuidValidity": "VALID",
            "status": status,
            "quantity": quantity,
            "multiLocationId": item.multi_location_id,
            "versionId": item.guid,
        })
    }
}

/// The text "null" stands for what is not known.
fn unknown(guid: Option<&str>, multi_location_id: Option<&str>) -> Value {
    json!({
        "guid": guid.unwrap_or("null"),
        "itemGuidValidity": "INVALID",
        "status": "OUT_OF_STOCK",
        "quantity": null,
        "multiLocationId": multi_location_id.unwrap_or("null"),
        "versionId": guid.unwrap_or("null"),
    })
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    status: Option<String>,
}

/// Only what is not plainly in stock.
pub async fn list(Extension(asker): Extension<Asker>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let ListQuery { status } = read_query(&uri)?;
    let items = asker.items();
    let notable = items.iter().filter(|item| {
        let level = asker.level(item);
        level.is_some() && status.as_deref().is_none_or(|status| Level::words(level).0 == status)
    });
    let shown = notable.map(|item| {
        let mut json = asker.known(item);
        if let Some(fields) = json.as_object_mut() {
            fields.remove("itemGuidValidity");
        }
        json
    });
    Ok(Json(shown.collect()))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Search {
    #[serde(default)]
    guids: Vec<String>,
    #[serde(default)]
    multi_location_ids: Vec<String>,
}

pub async fn search(Extension(asker): Extension<Asker>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let search: Search = read_json(&body)?;
    let items = asker.items();
    let by_guid = search.guids.iter().map(|guid| {
        let item = items.iter().find(|item| item.guid == *guid);
        item.map_or_else(|| unknown(Some(guid), None), |item| asker.known(item))
    });
    let by_id = search.multi_location_ids.iter().map(|id| {
        let item = items.iter().find(|item| item.multi_location_id == *id);
        item.map_or_else(|| unknown(None, Some(id)), |item| asker.known(item))
    });
    Ok(Json(by_guid.chain(by_id).collect()))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    guid: Option<String>,
    multi_location_id: Option<String>,
    status: String,
    quantity: Option<f64>,
}

impl Change {
    fn level(&self) -> Result<Option<Level>, ApiError> {
        match (self.status.as_str(), self.quantity) {
            ("IN_STOCK", None) => Ok(None),
            ("OUT_OF_STOCK", None) => Ok(Some(Level::Out)),
            ("QUANTITY", Some(quantity)) if quantity > 0.0 => Ok(Some(Level::Left(quantity))),
            ("QUANTITY", Some(_)) => Ok(Some(Level::Out)),
            _ => Err(ApiError::bad_request("quantity belongs to the status QUANTITY, and only to it")),
        }
    }
}

pub async fn update(Extension(asker): Extension<Asker>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let changes: Vec<Change> = read_json(&body)?;
    let levels = changes.iter().map(Change::level).collect::<Result<Vec<_>, _>>()?;
    let items = asker.items();
    let mut answer = Vec::new();
    for (change, level) in changes.iter().zip(levels) {
        let named = items.iter().find(|item| {
            change.guid.as_deref() == Some(item.guid.as_str())
                || change.multi_location_id.as_deref() == Some(item.multi_location_id.as_str())
        });
        let Some(item) = named else {
            answer.push(unknown(change.guid.as_deref(), change.multi_location_id.as_deref()));
            continue;
        };
        asker.set(item, level);
        answer.push(asker.known(item));
    }
    Ok(Json(Value::Array(answer)))
}

impl Asker {
    /// Notes the level and tells of it: who wrote it hears his own echo.
    fn set(&self, item: &Item, level: Option<Level>) {
        let mut world = self.toast.world();
        let place = (self.restaurant.clone(), item.guid.clone());
        match level {
            Some(level) => world.own.stock.insert(place, level),
            None => world.own.stock.remove(&place),
        };
        world.own.stock_changes += 1;
        let (status, quantity) = Level::words(level);
        let event_type = match level {
            Some(Level::Out) => "out_of_stock",
            Some(Level::Left(quantity)) if quantity <= 5.0 => "low_quantity",
            Some(Level::Left(_)) | None => "in_stock",
        };
        let details = json!({
            "restaurantGuid": self.restaurant,
            "itemGuid": item.guid,
            "status": status,
            "multiLocationId": item.multi_location_id,
            "versionId": item.guid,
        });
        let details = details.with_some("quantity", quantity);
        let event = Event::stock(event_type, &self.restaurant, &item.guid, world.own.stock_changes, details);
        self.toast.tell(&mut world, &self.group, &event, self.toast.clock.now(), 0);
    }
}
