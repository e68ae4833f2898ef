//! What a merchant sells, and how much of it is left.
//!
//! No flag says "sold out" that an application could write: a variation whose stock is counted is sold out while its
//! count is nothing, and of the others nobody can say so.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::Uri;
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{ApiError, Asker, read_json, read_query};
use super::order::money;
use super::reads::OPENED;
use super::script::Event;
use crate::catalogue::{PRODUCTS, Product};
use crate::clock::{later, rfc3339};
use crate::json::Build;
use crate::shelf::Draft;
use crate::shops::Vendor;
use crate::stage::Tells;
use crate::till::item_id;

const MOST_OBJECTS: usize = 1_000;
const USUAL_OBJECTS: usize = 100;
const MOST_CHANGES: usize = 100;
const LONGEST_KEY: usize = 128;
/// Of a count, in decimal places.
const FINEST: usize = 5;
/// What lies on a shelf before anybody has counted it.
const BAKED: &str = "24";
/// The second shop of every merchant does not count these, though the item says so.
const UNCOUNTED_BESIDE: &str = "Bagel";
/// Two clocks are never one.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What was counted, and which changes were made already.
#[derive(Debug, Default)]
pub struct Stock {
    /// By variation and shop.
    counts: BTreeMap<(String, String), (String, Timestamp)>,
    /// By merchant and idempotency key: what was asked, and what was answered.
    answered: BTreeMap<(String, String), (Bytes, Value)>,
    changes: u32,
}

/// Loaves are counted; what is cut, poured or baked all day is not.
fn is_counted(product: &Product) -> bool {
    !product.by_weight && !product.taxed
}

fn category(product: &Product) -> &'static str {
    if product.taxed { "Pastry" } else { "Bread" }
}

fn object(kind: &str, id: &str, part: &str, value: Value) -> Value {
    json!({
        "type": kind,
        "id": id,
        "updated_at": OPENED,
        "version": OPENED.parse().unwrap_or(Timestamp::UNIX_EPOCH).as_millisecond(),
        "is_deleted": false,
        "present_at_all_locations": true,
    })
    .with(part, value)
}

impl Asker {
    fn id_of(&self, product: &Product, what: &str) -> String {
        item_id(Vendor::Square, self.square.seed, &self.merchant_id, product.name, what)
    }

    fn variation_id(&self, product: &Product) -> String {
        self.id_of(product, product.variation)
    }

    fn category_id(&self, product: &Product) -> String {
        let name = format!("category/{}/{}", self.merchant_id, category(product));
        self.square.seed.draws(&name).capitals(24)
    }

    /// The merchant's shops, the main one first.
    fn shops(&self) -> Vec<String> {
        let merchant = self.square.merchant(Some(&self.merchant_id)).ok();
        merchant.into_iter().flat_map(|merchant| &merchant.locations).map(|location| location.id.clone()).collect()
    }

    fn is_counted_at(&self, product: &Product, shop: &str) -> bool {
        let is_beside = || self.shops().get(1).is_some_and(|second| second == shop);
        is_counted(product) && !(product.name == UNCOUNTED_BESIDE && is_beside())
    }

    fn product(&self, variation_id: &str) -> Option<&'static Product> {
        PRODUCTS.iter().find(|product| self.variation_id(product) == variation_id)
    }

    /// How many there are, and since when that is so.
    fn count(&self, variation_id: &str, shop: &str) -> (String, Timestamp) {
        let place = (variation_id.to_owned(), shop.to_owned());
        let known = self.square.world().own.stock.counts.get(&place).cloned();
        known.unwrap_or_else(|| (BAKED.to_owned(), OPENED.parse().unwrap_or(Timestamp::UNIX_EPOCH)))
    }

    fn variation(&self, product: &Product, place: usize) -> Value {
        let id = self.variation_id(product);
        let main = self.square.businesses.shops().find(|shop| shop.merchant.id == self.merchant_id);
        let currency = main.map(|shop| shop.plan.currency);
        let overrides = self.shops().into_iter().filter_map(|shop| {
            let is_counted_here = self.is_counted_at(product, &shop);
            let is_sold_out = is_counted_here && is_nothing(&self.count(&id, &shop).0);
            (is_sold_out || is_counted_here != is_counted(product)).then(|| {
                json!({"location_id": shop, "track_inventory": is_counted_here})
                    .with_some("sold_out", is_sold_out.then_some(true))
            })
        });
        // What is weighed has no label to scan.
        let sku = (!product.by_weight).then(|| id.chars().take(8).collect::<String>());
        let data = json!({
            "item_id": self.id_of(product, "item"),
            "name": product.variation,
            "ordinal": place,
            "pricing_type": "FIXED_PRICING",
            "price_money": money(product.price_minor, currency.unwrap_or("USD")),
            "sellable": true,
            "stockable": true,
        })
        .with_some("sku", sku)
        .with_some("track_inventory", is_counted(product).then_some(true))
        .with_list("location_overrides", overrides);
        object("ITEM_VARIATION", &id, "item_variation_data", data)
    }

    /// An item with its variations.
    fn item(&self, product: &Product) -> Value {
        let variations = PRODUCTS.iter().filter(|other| other.name == product.name);
        let variations = variations.enumerate().map(|(place, product)| self.variation(product, place));
        let category = json!({"id": self.category_id(product), "ordinal": 0});
        let data = json!({
            "name": product.name,
            "product_type": "REGULAR",
            "is_taxable": product.taxed,
            "categories": [category],
            "reporting_category": category,
        });
        object("ITEM", &self.id_of(product, "item"), "item_data", data.with_list("variations", variations))
    }

    fn category(&self, product: &Product) -> Value {
        object("CATEGORY", &self.category_id(product), "category_data", json!({"name": category(product)}))
    }

    /// Everything of one type.
    fn objects(&self, kind: &str) -> Result<Vec<Value>, ApiError> {
        let mut seen = BTreeSet::new();
        let all = match kind {
            "ITEM" => PRODUCTS.iter().filter(|it| seen.insert(it.name)).map(|it| self.item(it)).collect(),
            "ITEM_VARIATION" => PRODUCTS.iter().map(|it| self.variation(it, 0)).collect(),
            "CATEGORY" => PRODUCTS.iter().filter(|it| seen.insert(category(it))).map(|it| self.category(it)).collect(),
            other => {
                let detail = format!("The simulator has no objects of the type `{other}`.");
                return Err(ApiError::bad_request(detail).field("object_types"));
            }
        };
        Ok(all)
    }

    fn all_objects(&self) -> Vec<Value> {
        let kinds = ["ITEM", "ITEM_VARIATION", "CATEGORY"];
        kinds.into_iter().flat_map(|kind| self.objects(kind).unwrap_or_default()).collect()
    }

    /// What these name by its id: an item its categories, a variation its item.
    fn related(&self, objects: &[Value]) -> Vec<Value> {
        let mut named = BTreeSet::new();
        for object in objects {
            let categories = object.pointer("/item_data/categories").and_then(Value::as_array);
            named.extend(categories.into_iter().flatten().filter_map(|category| category.get("id")?.as_str()));
            named.extend(object.pointer("/item_variation_data/item_id").and_then(Value::as_str));
        }
        let is_named = |object: &Value| object.get("id").and_then(Value::as_str).is_some_and(|id| named.contains(id));
        self.all_objects().into_iter().filter(is_named).collect()
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SearchRequest {
    #[serde(default)]
    object_types: Vec<String>,
    #[serde(default)]
    include_related_objects: bool,
    #[serde(default)]
    include_deleted_objects: bool,
    /// Only what has changed since.
    begin_time: Option<Timestamp>,
    limit: Option<i64>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

pub async fn search(Extension(asker): Extension<Asker>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: SearchRequest = read_json(&body)?;
    let mut found = match request.object_types.as_slice() {
        [] => asker.all_objects(),
        kinds => kinds.iter().map(|kind| asker.objects(kind)).collect::<Result<Vec<_>, _>>()?.concat(),
    };
    if request.begin_time.is_some_and(|begin| OPENED.parse::<Timestamp>().is_ok_and(|changed| changed <= begin)) {
        found.clear();
    }
    // A limit that cannot be is ignored.
    let limit = request.limit.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.filter(|limit| (1..=MOST_OBJECTS).contains(limit)).unwrap_or(USUAL_OBJECTS);
    let asked = format!("catalog{}{}", asker.merchant_id, serde_json::to_string(&request).unwrap_or_default());
    let cursor = asker.square.open_cursor(&asked, request.cursor.as_deref())?;
    let page = asker.square.page_of(cursor, found, limit);
    let related = if request.include_related_objects { asker.related(&page.items) } else { vec![] };
    Ok(Json(
        json!({"latest_time": OPENED})
            .with_list("objects", page.items.into_iter())
            .with_list("related_objects", related.into_iter())
            .with_some("cursor", page.cursor),
    ))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchRequest {
    object_ids: Vec<String>,
    #[serde(default)]
    include_related_objects: bool,
}

/// Ids that are not found are left out without a word.
pub async fn batch_retrieve(Extension(asker): Extension<Asker>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: BatchRequest = read_json(&body)?;
    if !(1..=MOST_OBJECTS).contains(&request.object_ids.len()) {
        let detail = format!("object_ids takes 1 to {MOST_OBJECTS} ids.");
        return Err(ApiError::bad_request(detail).field("object_ids"));
    }
    let is_wanted = |object: &Value| request.object_ids.iter().any(|id| object.get("id") == Some(&json!(id)));
    let objects: Vec<Value> = asker.all_objects().into_iter().filter(is_wanted).collect();
    let related = if request.include_related_objects { asker.related(&objects) } else { vec![] };
    Ok(Json(json!({}).with_list("objects", objects.into_iter()).with_list("related_objects", related.into_iter())))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneQuery {
    #[serde(default)]
    include_related_objects: bool,
}

pub async fn get_object(
    Extension(asker): Extension<Asker>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, ApiError> {
    let query: OneQuery = read_query(&uri)?;
    let object = asker.all_objects().into_iter().find(|object| object.get("id") == Some(&json!(id)));
    let object = object.ok_or_else(|| ApiError::not_found(format!("Catalog object with ID `{id}` not found.")))?;
    let related = if query.include_related_objects { asker.related(std::slice::from_ref(&object)) } else { vec![] };
    Ok(Json(json!({"object": object}).with_list("related_objects", related.into_iter())))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeRequest {
    idempotency_key: String,
    #[serde(default)]
    changes: Vec<Change>,
    /// A count that stays the same is no change, unless asked otherwise.
    ignore_unchanged_counts: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    r#type: String,
    physical_count: Option<PhysicalCount>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PhysicalCount {
    catalog_object_id: String,
    location_id: String,
    state: String,
    quantity: String,
    occurred_at: Timestamp,
    #[serde(rename = "reference_id")]
    _reference_id: Option<String>,
    #[serde(rename = "team_member_id")]
    _team_member_id: Option<String>,
}

/// Digits, and after a point five more at most.
fn is_quantity(text: &str) -> bool {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits(whole) && is_digits(part) && part.len() <= FINEST
}

fn is_nothing(quantity: &str) -> bool {
    quantity.bytes().all(|byte| byte == b'0' || byte == b'.')
}

impl Asker {
    fn check(&self, count: &PhysicalCount) -> Result<(), ApiError> {
        let now = self.square.clock.now();
        if self.product(&count.catalog_object_id).is_none() {
            let detail = format!("There is no variation {}.", count.catalog_object_id);
            return Err(ApiError::not_found(detail).field("catalog_object_id"));
        }
        if !self.shops().contains(&count.location_id) {
            let detail = format!("The merchant has no location {}.", count.location_id);
            return Err(ApiError::not_found(detail).field("location_id"));
        }
        if count.state != "IN_STOCK" {
            let detail = "The simulator counts what is IN_STOCK only.";
            return Err(ApiError::invalid("INVALID_ENUM_VALUE", detail).field("state"));
        }
        if !is_quantity(&count.quantity) {
            let detail = format!("`{}` is no quantity: a decimal number of {FINEST} places at most.", count.quantity);
            return Err(ApiError::invalid("INVALID_VALUE", detail).field("quantity"));
        }
        let oldest = later(now, SignedDuration::from_hours(-24));
        if !(oldest..=later(now, CLOCK_SKEW)).contains(&count.occurred_at) {
            let detail = "occurred_at must not be older than 24 hours, and not in the future.";
            return Err(ApiError::invalid("INVALID_TIME", detail).field("occurred_at"));
        }
        Ok(())
    }

    fn count_json(&self, variation_id: &str, shop: &str) -> Value {
        let (quantity, at) = self.count(variation_id, shop);
        json!({
            "catalog_object_id": variation_id,
            "catalog_object_type": "ITEM_VARIATION",
            "state": "IN_STOCK",
            "location_id": shop,
            "quantity": quantity,
            "calculated_at": rfc3339(at),
        })
    }

    /// Notes counts and tells of them: who wrote them hears his own echo.
    fn set(&self, counts: &[&PhysicalCount], ignores_unchanged: bool) -> Vec<Value> {
        let now = self.square.clock.now();
        let mut changed = Vec::new();
        let mut answer = Vec::new();
        for count in counts {
            let place = (count.catalog_object_id.clone(), count.location_id.clone());
            let is_same = self.count(&place.0, &place.1).0 == count.quantity;
            if !(is_same && ignores_unchanged) {
                let value = (count.quantity.clone(), now);
                self.square.world().own.stock.counts.insert(place, value);
                changed.push(self.count_json(&count.catalog_object_id, &count.location_id));
            }
            answer.push(self.count_json(&count.catalog_object_id, &count.location_id));
        }
        if !changed.is_empty() {
            let mut world = self.square.world();
            world.own.stock.changes += 1;
            let number = world.own.stock.changes;
            let event = Event {
                event_type: "inventory.count.updated",
                scope: "INVENTORY_READ",
                object_type: "inventory_counts",
                object_id: self.square.seed.draws(&format!("counts/{}/{number}", self.merchant_id)).uuid(),
                order_id: String::new(),
                revision: number,
                object: Draft::of(move || json!({"inventory_counts": changed})),
            };
            self.square.tell(&mut world, &self.merchant_id, &event, now, 0);
        }
        answer
    }
}

pub async fn change(Extension(asker): Extension<Asker>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: ChangeRequest = read_json(&body)?;
    if !(1..=LONGEST_KEY).contains(&request.idempotency_key.len()) {
        let detail = format!("idempotency_key takes 1 to {LONGEST_KEY} characters.");
        return Err(ApiError::bad_request(detail).field("idempotency_key"));
    }
    if !(1..=MOST_CHANGES).contains(&request.changes.len()) {
        return Err(ApiError::bad_request(format!("changes takes 1 to {MOST_CHANGES}.")).field("changes"));
    }
    let key = (asker.merchant_id.clone(), request.idempotency_key);
    let known = asker.square.world().own.stock.answered.get(&key).cloned();
    if let Some((asked, answer)) = known {
        if asked == body {
            return Ok(Json(answer));
        }
        let detail = "The idempotency key was used with another request.";
        return Err(ApiError::invalid("IDEMPOTENCY_KEY_REUSED", detail).field("idempotency_key"));
    }
    let counts = request.changes.iter().map(|change| match (change.r#type.as_str(), &change.physical_count) {
        ("PHYSICAL_COUNT", Some(count)) => asker.check(count).map(|()| count),
        _ => {
            Err(ApiError::bad_request("The simulator takes changes of the type PHYSICAL_COUNT only.").field("changes"))
        }
    });
    // All or nothing.
    let counts = counts.collect::<Result<Vec<_>, _>>()?;
    let answer = asker.set(&counts, request.ignore_unchanged_counts.unwrap_or(true));
    let answer = json!({}).with_list("counts", answer.into_iter());
    asker.square.world().own.stock.answered.insert(key, (body, answer.clone()));
    Ok(Json(answer))
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct CountsRequest {
    catalog_object_ids: Option<Vec<String>>,
    location_ids: Option<Vec<String>>,
    updated_after: Option<Timestamp>,
    limit: Option<usize>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

/// Of what is not counted there is no count.
pub async fn counts(Extension(asker): Extension<Asker>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: CountsRequest = read_json(&body)?;
    let limit = request.limit.unwrap_or(USUAL_OBJECTS);
    if !(1..=MOST_OBJECTS).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit takes 1 to {MOST_OBJECTS}.")).field("limit"));
    }
    let is_wanted = |wanted: &Option<Vec<String>>, id: &String| wanted.as_ref().is_none_or(|ids| ids.contains(id));
    let mut found = Vec::new();
    for product in &PRODUCTS {
        let id = asker.variation_id(product);
        let shops = asker.shops().into_iter().filter(|shop| {
            asker.is_counted_at(product, shop)
                && is_wanted(&request.catalog_object_ids, &id)
                && is_wanted(&request.location_ids, shop)
                && request.updated_after.is_none_or(|after| asker.count(&id, shop).1 > after)
        });
        found.extend(shops.map(|shop| asker.count_json(&id, &shop)));
    }
    let asked = format!("counts{}{}", asker.merchant_id, serde_json::to_string(&request).unwrap_or_default());
    let cursor = asker.square.open_cursor(&asked, request.cursor.as_deref())?;
    let page = asker.square.page_of(cursor, found, limit);
    Ok(Json(json!({}).with_list("counts", page.items.into_iter()).with_some("cursor", page.cursor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_text_of_five_decimals_at_most() {
        assert!(["0", "53", "2.5", "0.00001"].into_iter().all(is_quantity));
        assert!(!["", ".5", "1.", "-1", "1e3", "0.000001", "1.2.3"].into_iter().any(is_quantity));
        assert!(is_nothing("0") && is_nothing("0.00") && !is_nothing("0.5"));
    }
}
