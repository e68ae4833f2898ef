//! Who sells, and where, with the ids they have at their provider.

use std::collections::BTreeMap;

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
    zones: Vec<TimeZone>,
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
        // The zones of the catalogue are in every time zone database.
        let zones = plans.iter().map(|plan| TimeZone::get(plan.time_zone).unwrap_or(TimeZone::UTC)).collect();
        Self { merchant: Merchant { id, name: name.to_owned(), locations }, plans, zones }
    }
}

impl Shop<'_> {
    /// The accounting day a moment belongs to.
    pub fn business_date(&self, at: Timestamp) -> Date {
        let local = self.zone.to_datetime(at);
        let start = SignedDuration::from_hours(self.plan.day_starts.into());
        local.saturating_sub(start).date()
    }

    /// This second of a local day; a second that the clocks leave out is the one after it.
    pub fn local(&self, day: Date, second: i64) -> Timestamp {
        let second = SignedDuration::from_secs(second);
        let local = day.at(0, 0, 0, 0).saturating_add(second);
        self.zone.to_timestamp(local).unwrap_or(Timestamp::MAX)
    }

    /// When an accounting day is over and the next one begins.
    pub fn day_ends(&self, day: Date) -> Timestamp {
        let hour = i8::try_from(self.plan.day_starts).unwrap_or(0);
        let next = day.tomorrow().unwrap_or(day).at(hour, 0, 0, 0);
        self.zone.to_timestamp(next).unwrap_or(Timestamp::MAX)
    }
}

/// Everybody who sells with one provider.
#[derive(Debug)]
pub struct Businesses {
    pub all: Vec<Business>,
    /// Which shop of which business each location is.
    places: BTreeMap<String, (usize, usize)>,
}

/// One shop, with everything that is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Shop<'a> {
    pub merchant: &'a Merchant,
    pub location: &'a Location,
    pub plan: &'static ShopPlan,
    zone: &'a TimeZone,
}

impl Business {
    fn shop(&self, place: usize) -> Option<Shop<'_>> {
        let (location, plan, zone) =
            (self.merchant.locations.get(place)?, self.plans.get(place)?, self.zones.get(place)?);
        Some(Shop { merchant: &self.merchant, location, plan, zone })
    }
}

impl Businesses {
    pub fn new(all: Vec<Business>) -> Self {
        let mut places = BTreeMap::new();
        for (number, business) in all.iter().enumerate() {
            let locations = business.merchant.locations.iter().enumerate();
            places.extend(locations.map(|(place, location)| (location.id.clone(), (number, place))));
        }
        Self { all, places }
    }

    pub fn merchants(&self) -> Vec<Merchant> {
        self.all.iter().map(|business| business.merchant.clone()).collect()
    }

    /// The one of this id, or the first.
    pub fn merchant(&self, id: Option<&str>) -> Result<&Merchant, Refused> {
        let mut merchants = self.all.iter().map(|business| &business.merchant);
        match id {
            None => merchants.next().ok_or_else(|| Refused("there are no merchants".to_owned())),
            Some(id) => merchants
                .find(|merchant| merchant.id == id)
                .ok_or_else(|| Refused(format!("there is no merchant {id}"))),
        }
    }

    pub fn shops(&self) -> impl Iterator<Item = Shop<'_>> {
        self.all.iter().flat_map(|business| (0..business.plans.len()).filter_map(|place| business.shop(place)))
    }

    pub fn shop(&self, location_id: &str) -> Option<Shop<'_>> {
        let (number, place) = *self.places.get(location_id)?;
        self.all.get(number)?.shop(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{SQUARE_ABROAD, TOAST_SHOPS};

    #[test]
    fn a_business_day_begins_at_its_hour_in_the_nights_of_the_clock_change_too() {
        let plans = vec![&TOAST_SHOPS[0], &SQUARE_ABROAD[0]];
        let business = Business::new("M".to_owned(), "Bakery", plans, |plan| plan.name.to_owned());
        let businesses = Businesses::new(vec![business]);
        let (boston, tokyo) = (businesses.shop("Fenway").unwrap(), businesses.shop("Nakameguro").unwrap());
        for (shop, at, day) in [
            // Four in the morning is at nine by UTC in winter, and at eight in summer.
            (boston, "2026-03-07T08:59:59Z", "2026-03-06"),
            (boston, "2026-03-07T09:00:00Z", "2026-03-07"),
            (boston, "2026-03-08T07:59:59Z", "2026-03-07"),
            (boston, "2026-03-08T08:00:00Z", "2026-03-08"),
            (boston, "2026-11-01T08:59:59Z", "2026-10-31"),
            (boston, "2026-11-01T09:00:00Z", "2026-11-01"),
            (tokyo, "2026-03-07T14:59:59Z", "2026-03-07"),
            (tokyo, "2026-03-07T15:00:00Z", "2026-03-08"),
        ] {
            let at: Timestamp = at.parse().unwrap();
            let date = shop.business_date(at);
            assert_eq!(date.to_string(), day, "{at} in {}", shop.plan.city);
            assert!(at < shop.day_ends(date) && shop.day_ends(date.yesterday().unwrap()) <= at, "{at}");
        }
    }
}
