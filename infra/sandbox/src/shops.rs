//! Who sells, and where, with the ids they have at their provider.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Refused;
use crate::catalogue::ShopPlan;

/// One of the simulated providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    /// Square.
    Square,
    /// Toast.
    Toast,
    /// Lightspeed Restaurant, K-Series.
    Lightspeed,
}

impl Vendor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Square, Self::Toast, Self::Lightspeed];
}

/// A seller: Square's merchant, Toast's management group, Lightspeed's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merchant {
    /// The provider's id.
    pub id: String,
    /// Business name.
    pub name: String,
    /// The first one is the main location.
    pub locations: Vec<Location>,
}

/// A shop: Toast's restaurant, Lightspeed's business location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The provider's id.
    pub id: String,
    /// Shop name.
    pub name: String,
    /// IANA zone.
    pub time_zone: String,
    /// ISO 4217.
    pub currency: String,
    /// The hour at which a new business day begins; 0 where the provider knows no such thing.
    #[serde(default)]
    pub day_starts: u8,
}

/// What an application is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Toast's `clientId`, OAuth's `client_id`.
    pub id: String,
    /// What proves it.
    pub secret: String,
}

/// A merchant's shops, each with the plan it was built from.
#[derive(Debug)]
pub struct Business {
    pub merchant: Merchant,
    pub plans: Vec<&'static ShopPlan>,
}

impl Business {
    /// The ids are the provider's affair.
    pub fn new(
        id: String,
        name: &str,
        plans: Vec<&'static ShopPlan>,
        location_id: impl Fn(&ShopPlan) -> String,
    ) -> Self {
        let locations = plans
            .iter()
            .map(|plan| Location {
                id: location_id(plan),
                name: plan.name.to_owned(),
                time_zone: plan.time_zone.to_owned(),
                currency: plan.currency.to_owned(),
                day_starts: plan.day_starts,
            })
            .collect();
        Self { merchant: Merchant { id, name: name.to_owned(), locations }, plans }
    }
}

impl Shop<'_> {
    fn zone(&self) -> TimeZone {
        // The zones of the catalogue are in every time zone database.
        TimeZone::get(self.plan.time_zone).unwrap_or(TimeZone::UTC)
    }

    /// The accounting day a moment belongs to.
    pub fn business_date(&self, at: Timestamp) -> Date {
        let local = at.to_zoned(self.zone()).datetime();
        let start = SignedDuration::from_hours(self.plan.day_starts.into());
        local.saturating_sub(start).date()
    }

    /// This second of a local day; a second that the clocks leave out is the one after it.
    pub fn local(&self, day: Date, second: i64) -> Timestamp {
        let second = SignedDuration::from_secs(second);
        let local = day.at(0, 0, 0, 0).saturating_add(second);
        local.to_zoned(self.zone()).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }

    /// When an accounting day is over and the next one begins.
    pub fn day_ends(&self, day: Date) -> Timestamp {
        let hour = i8::try_from(self.plan.day_starts).unwrap_or(0);
        let next = day.tomorrow().unwrap_or(day).at(hour, 0, 0, 0);
        next.to_zoned(self.zone()).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }
}

/// Everybody who sells with one provider.
#[derive(Debug)]
pub struct Businesses(pub Vec<Business>);

/// One shop, with everything that is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Shop<'a> {
    pub merchant: &'a Merchant,
    pub location: &'a Location,
    pub plan: &'static ShopPlan,
}

impl Businesses {
    pub fn merchants(&self) -> Vec<Merchant> {
        self.0.iter().map(|business| business.merchant.clone()).collect()
    }

    /// The one of this id, or the first.
    pub fn merchant(&self, id: Option<&str>) -> Result<&Merchant, Refused> {
        let mut merchants = self.0.iter().map(|business| &business.merchant);
        match id {
            None => merchants.next().ok_or_else(|| Refused("there are no merchants".to_owned())),
            Some(id) => merchants
                .find(|merchant| merchant.id == id)
                .ok_or_else(|| Refused(format!("there is no merchant {id}"))),
        }
    }

    pub fn shops(&self) -> impl Iterator<Item = Shop<'_>> {
        self.0.iter().flat_map(|Business { merchant, plans }| {
            merchant.locations.iter().zip(plans).map(move |(location, plan)| Shop { merchant, location, plan })
        })
    }

    pub fn shop(&self, location_id: &str) -> Option<Shop<'_>> {
        self.shops().find(|shop| shop.location.id == location_id)
    }
}
