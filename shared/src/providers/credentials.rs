//! What a provider gave us to act for a merchant, and what it knows us by.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

#[cfg(feature = "client")]
use crate::domain::Environment;
use crate::providers::WebhookSecret;

/// What lets us act for a merchant, as it lies under seal. Never printed: there is no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// For the Authorization header. Empty before a first login.
    pub access_token: Zeroizing<String>,
    /// When the provider gave it.
    pub obtained_at: Timestamp,
    /// When it ends, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What buys the next one.
    pub renewal: Renewal,
}

/// What buys the next access token.
///
/// Tagged from outside: for a tag inside, serde keeps a copy of the secrets that nothing wipes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Renewal {
    /// Nothing: typed in by a person, or made to last.
    Never,
    /// A token of its own.
    RefreshToken {
        /// The token.
        refresh_token: Zeroizing<String>,
        /// Whether it is spent by using it, so that its successor must be saved before anything else is done.
        single_use: bool,
    },
    /// Another login with the same name and secret.
    Login {
        /// The name.
        client_id: String,
        /// The secret.
        client_secret: Zeroizing<String>,
    },
}

impl Credentials {
    /// Before the first login: no token yet, and due at once.
    pub fn for_login(client_id: impl Into<String>, client_secret: Zeroizing<String>) -> Self {
        Self {
            access_token: Zeroizing::default(),
            obtained_at: Timestamp::UNIX_EPOCH,
            expires_at: Some(Timestamp::UNIX_EPOCH),
            renewal: Renewal::Login { client_id: client_id.into(), client_secret },
        }
    }

    /// When three quarters of the token's life are over, if it ends at all.
    pub(super) fn at_three_quarters(&self) -> Option<Timestamp> {
        let life = self.expires_at?.duration_since(self.obtained_at);
        Some(self.after(life.checked_mul(3)? / 4))
    }

    /// This long after the token was given.
    pub(super) fn after(&self, time: SignedDuration) -> Timestamp {
        self.obtained_at.checked_add(time).unwrap_or(Timestamp::MAX)
    }
}

/// Our application at a provider, from its secret. Never printed either.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Application {
    /// What the provider knows us by; empty where there is no OAuth.
    pub application_id: String,
    /// Proves that it is us.
    pub application_secret: Zeroizing<String>,
    /// What proves the provider's webhooks.
    pub webhook_subscriptions: Vec<WebhookSecret>,
}

/// What became of a grant that is no longer wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// The provider has forgotten it.
    Revoked,
    /// The provider has no such call: the merchant takes it back by hand, or the tokens run out.
    Unsupported,
}

/// An access token, opened and ready to be sent to its provider.
#[cfg(feature = "client")]
#[derive(Clone)]
pub struct AccessToken(Zeroizing<String>);

#[cfg(feature = "client")]
impl AccessToken {
    /// Takes the plain token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(Zeroizing::new(token.into()))
    }

    /// For the Authorization header, and nothing else.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

/// What a call to a provider goes out with.
#[cfg(feature = "client")]
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// To which of its worlds.
    pub environment: Environment,
    /// In whose name.
    pub token: &'a AccessToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_back_as_they_were_sealed() {
        for (credentials, written) in [
            (
                Credentials {
                    access_token: Zeroizing::new("a".into()),
                    obtained_at: "2026-02-14T08:00:00Z".parse().unwrap(),
                    expires_at: Some("2026-02-14T09:00:00Z".parse().unwrap()),
                    renewal: Renewal::RefreshToken { refresh_token: Zeroizing::new("r".into()), single_use: true },
                },
                r#"{"access_token":"a","obtained_at":"2026-02-14T08:00:00Z","expires_at":"2026-02-14T09:00:00Z","renewal":{"refresh_token":{"refresh_token":"r","single_use":true}}}"#,
            ),
            (
                Credentials::for_login("me", Zeroizing::new("s".into())),
                r#"{"access_token":"","obtained_at":"1970-01-01T00:00:00Z","expires_at":"1970-01-01T00:00:00Z","renewal":{"login":{"client_id":"me","client_secret":"s"}}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&credentials).unwrap(), written);
            let read: Credentials = serde_json::from_str(written).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }
        let lasting = r#"{"access_token":"a","obtained_at":"2026-02-14T08:00:00Z","renewal":"never"}"#;
        assert!(serde_json::from_str::<Credentials>(lasting).unwrap().at_three_quarters().is_none());
    }

    #[test]
    fn an_application_may_lack_what_its_provider_has_not() {
        let application: Application = serde_json::from_str("{}").unwrap();
        assert!(application.application_id.is_empty() && application.webhook_subscriptions.is_empty());
    }
}
