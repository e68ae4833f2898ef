//! A merchant as the provider describes it.

use std::collections::BTreeSet;

use super::required_scopes;
use crate::domain::{Currency, LocationId, Merchant, ProviderKind, TimeZoneName};

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
