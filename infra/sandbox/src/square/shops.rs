//! The sellers and their shops, with the ids they have at Square.

use serde::{Deserialize, Serialize};

use super::Square;
use crate::catalogue::{BUSINESSES, SHOPS, ShopPlan};
use crate::seed::Seed;
use crate::{Refused, SandboxOptions};

/// A seller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merchant {
    /// Square's id.
    pub id: String,
    /// Business name.
    pub name: String,
    /// The first one is the main location.
    pub locations: Vec<Location>,
}

/// A shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Square's id.
    pub id: String,
    /// Shop name.
    pub name: String,
    /// IANA zone.
    pub time_zone: String,
    /// ISO 4217.
    pub currency: String,
}

impl Square {
    pub fn merchants(&self) -> Vec<Merchant> {
        self.merchants.clone()
    }

    pub(super) fn merchant(&self, id: Option<&str>) -> Result<&Merchant, Refused> {
        let mut merchants = self.merchants.iter();
        match id {
            None => merchants.next().ok_or_else(|| Refused("there are no merchants".to_owned())),
            Some(id) => merchants
                .find(|merchant| merchant.id == id)
                .ok_or_else(|| Refused(format!("there is no merchant {id}"))),
        }
    }

    /// Every shop with its merchant and its plan.
    pub(super) fn shops(&self) -> Vec<(&Merchant, &Location, &'static ShopPlan)> {
        self.merchants
            .iter()
            .flat_map(|merchant| {
                merchant.locations.iter().zip(&SHOPS).map(move |(location, plan)| (merchant, location, plan))
            })
            .collect()
    }
}

pub fn merchants(seed: Seed, options: &SandboxOptions) -> Vec<Merchant> {
    let businesses = BUSINESSES.iter().take(options.merchants);
    businesses
        .map(|name| Merchant {
            id: seed.draws(&format!("merchant/{name}")).capitals(13),
            name: (*name).to_owned(),
            locations: SHOPS
                .iter()
                .take(options.shops)
                .map(|shop| Location {
                    id: seed.draws(&format!("location/{name}/{}", shop.name)).capitals(13),
                    name: shop.name.to_owned(),
                    time_zone: shop.time_zone.to_owned(),
                    currency: "USD".to_owned(),
                })
                .collect(),
        })
        .collect()
}
