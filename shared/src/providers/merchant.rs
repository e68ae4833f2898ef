//! A merchant as the provider describes it.

use std::collections::BTreeSet;

use super::required_scopes;
use crate::domain::{Configuration, Currency, Location, LocationId, Merchant, ProviderKind, TimeZoneName};

/// Whose token it is and which shops it reaches.
#[derive(Debug, Clone)]
pub struct MerchantDescription {
    /// Who says so.
    pub provider: ProviderKind,
    /// Whose.
    pub merchant: Merchant,
    /// Which shops.
    pub locations: Vec<DescribedLocation>,
    /// What the token may do. `None`: the provider does not tell.
    pub granted_scopes: Option<BTreeSet<String>>,
}

impl MerchantDescription {
    /// What we need and were not given. Nothing where the provider does not tell.
    pub fn missing_scopes(&self) -> Vec<&'static str> {
        let Some(granted) = &self.granted_scopes else { return Vec::new() };
        let required = required_scopes(self.provider).iter().copied();
        required.filter(|scope| !granted.contains(*scope)).collect()
    }
}

impl MerchantDescription {
    /// Takes over what the provider says of its customer. When a shop's day starts stays the tenant's to say.
    pub fn apply_to(&self, configuration: &mut Configuration) {
        configuration.merchant = Some(self.merchant.clone());
        let locations = self.locations.iter().map(|found| Location {
            id: found.id.clone(),
            name: found.name.clone(),
            time_zone: found.time_zone.clone(),
            currency: found.currency,
            day_start: configuration.day_start,
        });
        configuration.locations = locations.collect();
        configuration.apply_day_starts();
    }
}

/// A shop as the provider describes it; when its day starts is the tenant's to say.
#[derive(Debug, Clone)]
pub struct DescribedLocation {
    /// The provider's id.
    pub id: LocationId,
    /// As the merchant calls it.
    pub name: String,
    /// Where its clock hangs.
    pub time_zone: TimeZoneName,
    /// What its till is kept in.
    pub currency: Currency,
}
