//! What a restaurant sells. There is no way to change it from here.

use axum::{Extension, Json};
use serde_json::{Value, json};

use super::answers::Asker;
use super::order::decimal;
use crate::catalogue::{EXTRAS, PRODUCTS, Product};
use crate::seed::Seed;
use crate::shops::Vendor;
use crate::till::item_id;

const PUBLISHED: &str = "2026-01-05T06:00:00.000+0000";

/// An item, as far as others need it.
pub struct Item {
    pub guid: String,
    /// The same in all restaurants of a group.
    pub multi_location_id: String,
    pub product: &'static Product,
}

pub fn items(seed: Seed, group: &str, restaurant: &str) -> Vec<Item> {
    PRODUCTS
        .iter()
        .map(|product| Item {
            guid: item_id(Vendor::Toast, seed, restaurant, product.name, product.variation),
            multi_location_id: {
                let name = format!("toast/multi/{group}/{}/{}", product.name, product.variation);
                "1".to_owned() + &seed.draws(&name).digits(17)
            },
            product,
        })
        .collect()
}

pub async fn metadata(Extension(asker): Extension<Asker>) -> Json<Value> {
    Json(json!({"restaurantGuid": asker.restaurant, "lastUpdated": PUBLISHED}))
}

pub async fn menus(Extension(asker): Extension<Asker>) -> Json<Value> {
    let toast = &asker.toast;
    let items = items(toast.seed, &asker.group, &asker.restaurant);
    let shown = items.iter().map(|item| {
        json!({
            "name": item.product.name,
            "kitchenName": item.product.variation,
            "guid": item.guid,
            "multiLocationId": item.multi_location_id,
            "masterId": null,
            "description": "",
            "plu": item.guid.chars().filter(char::is_ascii_digit).take(5).collect::<String>(),
            "sku": null,
            "price": decimal(item.product.price_minor, 2),
            "pricingStrategy": "BASE_PRICE",
            "unitOfMeasure": if item.product.by_weight { "LB" } else { "NONE" },
            "itemTags": [],
            "salesCategory": {"name": "Bakery", "guid": format!("{}-bakery", asker.restaurant)},
            "modifierGroupReferences": [1],
        })
    });
    let options: Value = EXTRAS
        .iter()
        .map(|extra| {
            json!({
                "name": extra.name,
                "guid": item_id(Vendor::Toast, toast.seed, &asker.restaurant, extra.name, "modifier"),
                "price": decimal(extra.price_minor, 2),
            })
        })
        .collect();
    let group = json!({
        "name": "Breads and pastries",
        "guid": format!("{}-breads", asker.restaurant),
        "menuItems": shown.collect::<Value>(),
        "menuGroups": [],
    });
    Json(json!({
        "restaurantGuid": asker.restaurant,
        "lastUpdated": PUBLISHED,
        "restaurantTimeZone": toast.businesses.shop(&asker.restaurant).map(|shop| shop.plan.time_zone),
        "menus": [{"name": "Counter", "guid": format!("{}-menu", asker.restaurant), "menuGroups": [group]}],
        "modifierGroupReferences": {"1": {"name": "Extras", "guid": format!("{}-extras", asker.restaurant)}},
        "modifierOptionReferences": options,
    }))
}
