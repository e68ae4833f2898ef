//! A tenant's connection to one merchant at one provider.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ConfigurationId, Location, LocationId, MerchantId};

/// The point-of-sale systems that we speak with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// Square.
    Square,
    /// Toast.
    Toast,
    /// Lightspeed Restaurant, K-Series.
    Lightspeed,
}

/// A name that is none of our providers'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a provider that this service speaks with")]
pub struct UnknownProvider;

impl ProviderKind {
    /// The word in URLs, keys and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Square => "square",
            Self::Toast => "toast",
            Self::Lightspeed => "lightspeed",
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProviderKind {
    type Err = UnknownProvider;
    fn from_str(name: &str) -> Result<Self, UnknownProvider> {
        match name {
            "square" => Ok(Self::Square),
            "toast" => Ok(Self::Toast),
            "lightspeed" => Ok(Self::Lightspeed),
            _ => Err(UnknownProvider),
        }
    }
}

/// Which of a provider's worlds. They share nothing, not even ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Real tills.
    Production,
    /// The provider's playground.
    Sandbox,
}

impl Environment {
    /// The word in keys and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
        }
    }
}

/// Whether a configuration works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigurationStatus {
    /// Sales flow.
    Active,
    /// The provider refuses our credentials: a person must connect again.
    ReauthRequired,
}

impl ConfigurationStatus {
    /// The word in the table and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::ReauthRequired => "reauth_required",
        }
    }
}

/// The provider's customer and the shops it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merchant {
    /// The provider's id.
    pub id: MerchantId,
    /// The name of the business.
    pub name: String,
}

/// Everything about a connection but its secrets, which have no field here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Ours.
    pub id: ConfigurationId,
    /// Which provider.
    pub provider: ProviderKind,
    /// Which of its worlds.
    pub environment: Environment,
    /// What the tenant calls it.
    pub name: String,
    /// Whose tills.
    pub merchant: Merchant,
    /// The shops, as the provider described them.
    pub locations: Vec<Location>,
    /// Whether it works.
    pub status: ConfigurationStatus,
    /// When the sealed access token ends, if it does.
    pub credentials_expire_at: Option<Timestamp>,
    /// Counts changes; the API's entity tag.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Configuration {
    /// The shop with this id, if the merchant has it.
    pub fn location(&self, id: &LocationId) -> Option<&Location> {
        self.locations.iter().find(|location| &location.id == id)
    }
}
