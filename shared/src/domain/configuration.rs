//! A tenant's connection to one merchant at one provider.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ConfigurationId, DayStart, Location, LocationId, MerchantId, SyncSettings};

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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Square, Self::Toast, Self::Lightspeed];

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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConfigurationStatus {
    /// Sales flow.
    Active,
    /// The tenant wants none at the moment.
    Paused,
    /// Sales flow, but something wants a person's attention.
    Degraded,
    /// No credentials that the provider takes: a person must connect (again).
    ReauthRequired,
    /// It is being removed with all that belongs to it.
    Deleting,
}

impl ConfigurationStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Active, Self::Paused, Self::Degraded, Self::ReauthRequired, Self::Deleting];

    /// The word in the table and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Degraded => "degraded",
            Self::ReauthRequired => "reauth_required",
            Self::Deleting => "deleting",
        }
    }
}

/// A word that is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a status")]
pub struct UnknownStatus;

impl FromStr for ConfigurationStatus {
    type Err = UnknownStatus;
    fn from_str(name: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == name).ok_or(UnknownStatus)
    }
}

/// Why a configuration is not simply active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// Nobody has connected it yet.
    NotConnected,
    /// The provider refuses the credentials, and they could not be renewed.
    CredentialsRefused,
    /// The merchant has not granted all that we need.
    PermissionMissing,
    /// The provider does not renew the credentials at the moment; those that we have still work.
    RefreshFailing,
    /// Deliveries to its own webhook URL are not proven by any of its secrets.
    SignaturesFailing,
    /// Deliveries came, and come no more, while its tills go on selling.
    WebhooksSilent,
}

impl ReasonCode {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NotConnected,
        Self::CredentialsRefused,
        Self::PermissionMissing,
        Self::RefreshFailing,
        Self::SignaturesFailing,
        Self::WebhooksSilent,
    ];

    /// Whether nothing can be read until a person has connected again.
    pub fn needs_reauth(self) -> bool {
        match self {
            Self::NotConnected | Self::CredentialsRefused | Self::PermissionMissing => true,
            Self::RefreshFailing | Self::SignaturesFailing | Self::WebhooksSilent => false,
        }
    }

    /// Whether there is nothing that could be renewed.
    pub fn stops_renewal(self) -> bool {
        matches!(self, Self::NotConnected | Self::CredentialsRefused)
    }

    /// What a person can do about it.
    pub fn action(self) -> &'static str {
        match self {
            Self::NotConnected => {
                "call `authorize` and open the URL in the merchant's browser, or replace the credentials"
            }
            Self::CredentialsRefused => {
                "call `authorize` and let the merchant agree again, or replace the credentials; then call `test`"
            }
            Self::PermissionMissing => {
                "let the merchant grant what `test` names as missing (`authorize`, or the provider's own page), then call `test`"
            }
            Self::RefreshFailing => "nothing yet: we try again; if it stays, look at the provider's status page",
            Self::SignaturesFailing => {
                "compare the secret at the provider with those of this configuration; add the current one"
            }
            Self::WebhooksSilent => {
                "nothing is lost, syncs find the sales; let the provider's webhooks be started again, as `detail` says"
            }
        }
    }
}

/// One reason, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusReason {
    /// Which.
    pub code: ReasonCode,
    /// What happened, in words; no secret.
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
}

/// The provider's customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Merchant {
    /// The provider's id.
    pub id: MerchantId,
    /// The name of the business.
    pub name: String,
}

/// What may be known of sealed credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsSummary {
    /// A new one for each set of credentials: whoever wants to replace a set names the one it has seen.
    pub generation: Uuid,
    /// Since when we have them.
    pub set_at: Timestamp,
    /// When the access token ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// When we want to have renewed them, if they can be.
    pub refresh_due_at: Option<Timestamp>,
}

/// What may be known of a secret that proves deliveries to the configuration's own webhook URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WebhookSecretSummary {
    /// Names it in the webhook log.
    pub id: Uuid,
    /// What the tenant calls it.
    pub label: Option<String>,
    /// From when it counts.
    pub not_before: Timestamp,
    /// Until when it counts.
    pub not_after: Option<Timestamp>,
}

/// How far a removal is. Each step can be done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeletionStep {
    /// The provider is told that we need no access any more.
    Revoke,
    /// What is stored is removed.
    Purge,
    /// Work that had begun before may still write: until it cannot, we wait.
    Wait,
    /// What was written meanwhile is removed too, then the configuration itself.
    PurgeAgain,
}

/// A removal under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Deletion {
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// What is being done.
    pub step: DeletionStep,
    /// When that is done next.
    pub due_at: Timestamp,
    /// How often that was tried in vain.
    pub attempts: u32,
    /// Whether the provider has withdrawn our access; absent until tried, and where it cannot be asked to.
    pub revoked: Option<bool>,
    /// Removed so far.
    pub transactions: u64,
    /// Removed so far.
    pub deliveries: u64,
}

/// What is noted beside a configuration without changing it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Health {
    /// About when the last delivery was worked on.
    pub last_webhook_at: Option<Timestamp>,
    /// When the last sync was completed.
    pub last_sync_at: Option<Timestamp>,
    /// How many deliveries to its own webhook URL were not proven, ever.
    #[serde(default)]
    pub signature_failures: u64,
    /// About when the last of them came.
    pub last_signature_failure_at: Option<Timestamp>,
    /// How many sales syncs had to find that happened since the last delivery, of those that one should have announced.
    #[serde(default)]
    pub unannounced_sales: u64,
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
    /// When the accounting day of its shops starts.
    #[serde(default)]
    pub day_start: DayStart,
    /// Shops whose day starts at another time.
    #[serde(default)]
    pub day_starts: BTreeMap<LocationId, DayStart>,
    /// How often it is read, and how far back.
    #[serde(default)]
    pub sync: SyncSettings,
    /// Whether the sales domain may say at the till what is sold out.
    #[serde(default)]
    pub sold_out_enabled: bool,
    /// Whose tills; unknown until somebody has connected.
    pub merchant: Option<Merchant>,
    /// The shops, as the provider described them.
    pub locations: Vec<Location>,
    /// Whether it works: always [`Configuration::derived_status`], kept for the filter of a listing.
    pub status: ConfigurationStatus,
    /// Why not, if not.
    #[serde(default)]
    pub reasons: Vec<StatusReason>,
    /// Whether the tenant wants no sales at the moment.
    #[serde(default)]
    pub is_paused: bool,
    /// If it is being removed.
    #[serde(default)]
    pub deletion: Option<Deletion>,
    /// What is sealed beside it, if anything.
    #[serde(default)]
    pub credentials: Option<CredentialsSummary>,
    /// What proves deliveries to its own webhook URL.
    #[serde(default)]
    pub webhook_secrets: Vec<WebhookSecretSummary>,
    /// Grows when what is under way for it must come to nothing.
    #[serde(default)]
    pub epoch: u64,
    /// Counts changes; the API's entity tag. Notes about its health and renewed tokens are no changes.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// How it fares.
    #[serde(default)]
    pub health: Health,
}

impl Configuration {
    /// The shop with this id, if the merchant has it.
    pub fn location(&self, id: &LocationId) -> Option<&Location> {
        self.locations.iter().find(|location| &location.id == id)
    }

    /// Makes it the next version, as of now.
    pub fn touch(&mut self) {
        self.version += 1;
        self.updated_at = Timestamp::now();
        self.status = self.derived_status();
    }

    /// The status that follows from everything else. What stops sales for good outweighs what only disturbs them.
    pub fn derived_status(&self) -> ConfigurationStatus {
        if self.deletion.is_some() {
            ConfigurationStatus::Deleting
        } else if self.is_paused {
            ConfigurationStatus::Paused
        } else if self.reasons.iter().any(|reason| reason.code.needs_reauth()) {
            ConfigurationStatus::ReauthRequired
        } else if self.reasons.is_empty() {
            ConfigurationStatus::Active
        } else {
            ConfigurationStatus::Degraded
        }
    }

    /// States a reason; one that is known already keeps its time.
    pub fn state_reason(&mut self, code: ReasonCode, detail: impl Into<String>, at: Timestamp) {
        match self.reasons.iter_mut().find(|reason| reason.code == code) {
            Some(known) => known.detail = detail.into(),
            None => self.reasons.push(StatusReason { code, detail: detail.into(), since: at }),
        }
    }

    /// Drops the reasons that new credentials answer.
    pub fn drop_credential_reasons(&mut self) {
        self.reasons.retain(|reason| match reason.code {
            ReasonCode::NotConnected
            | ReasonCode::CredentialsRefused
            | ReasonCode::PermissionMissing
            | ReasonCode::RefreshFailing => false,
            ReasonCode::SignaturesFailing | ReasonCode::WebhooksSilent => true,
        });
    }

    /// Gives every shop the start of day that the tenant has chosen for it.
    pub fn apply_day_starts(&mut self) {
        for location in &mut self.locations {
            location.day_start = self.day_starts.get(&location.id).copied().unwrap_or(self.day_start);
        }
    }

    /// The accounts that a provider's webhooks name: a till connected twice would count its sales twice, so each of
    /// them can be claimed by one configuration only.
    pub fn accounts(&self) -> BTreeSet<&str> {
        match self.provider {
            ProviderKind::Square => self.merchant.iter().map(|merchant| merchant.id.as_str()).collect(),
            ProviderKind::Toast | ProviderKind::Lightspeed => {
                self.locations.iter().map(|location| location.id.as_str()).collect()
            }
        }
    }

    /// When somebody must look after it: a removal goes on, or credentials want to be renewed.
    pub fn due_at(&self) -> Option<Timestamp> {
        match &self.deletion {
            Some(deletion) => Some(deletion.due_at),
            None if self.reasons.iter().any(|reason| reason.code.stops_renewal()) => None,
            None => self.credentials.as_ref().and_then(|credentials| credentials.refresh_due_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_follows_from_the_facts_and_the_gravest_wins() {
        let now = Timestamp::UNIX_EPOCH;
        let mut it = sample();
        type Step = (fn(&mut Configuration), ConfigurationStatus);
        let steps: [Step; 5] = [
            (|_| {}, ConfigurationStatus::Active),
            (
                |it| it.state_reason(ReasonCode::RefreshFailing, "503", Timestamp::UNIX_EPOCH),
                ConfigurationStatus::Degraded,
            ),
            (
                |it| it.state_reason(ReasonCode::CredentialsRefused, "401", Timestamp::UNIX_EPOCH),
                ConfigurationStatus::ReauthRequired,
            ),
            (|it| it.is_paused = true, ConfigurationStatus::Paused),
            (
                |it| {
                    it.deletion = Some(Deletion {
                        requested_at: Timestamp::UNIX_EPOCH,
                        step: DeletionStep::Revoke,
                        due_at: Timestamp::UNIX_EPOCH,
                        attempts: 0,
                        revoked: None,
                        transactions: 0,
                        deliveries: 0,
                    });
                },
                ConfigurationStatus::Deleting,
            ),
        ];
        for (change, status) in steps {
            change(&mut it);
            assert_eq!(it.derived_status(), status);
        }
        let (is_paused, deletion) = (false, None);
        it = Configuration { is_paused, deletion, ..it };
        it.state_reason(ReasonCode::SignaturesFailing, "x", now);
        it.drop_credential_reasons();
        assert_eq!(it.derived_status(), ConfigurationStatus::Degraded);
    }

    fn sample() -> Configuration {
        serde_json::from_value(serde_json::json!({
            "id": "01938d5e-0000-7000-8000-000000000001", "provider": "square", "environment": "sandbox",
            "name": "Bakery", "day_start": "04:00", "merchant": null, "locations": [], "status": "active",
            "deletion": null, "credentials": null, "epoch": 0, "version": 1,
            "created_at": "2026-02-14T08:00:00Z", "updated_at": "2026-02-14T08:00:00Z",
        }))
        .unwrap()
    }
}
