//! Ids as types: a location's id does not fit where a merchant's is wanted.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::TransactionKind;

/// A text that cannot be the id it was offered as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {name} is 1 to {max} plain characters")]
pub struct InvalidId {
    name: &'static str,
    max: usize,
}

/// What can stand inside a table key: `#` separates the parts of one.
fn fits_a_key(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// What can stand inside a path and inside a policy: no wildcard, no separator.
fn fits_a_policy(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $words:literal, $max:literal, $fits:expr, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(
            feature = "schema",
            derive(schemars::JsonSchema),
            schemars(extend("minLength" = 1, "maxLength" = $max, "pattern" = $pattern))
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Refuses what could be mistaken for more than an id where ids are put together.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                if (1..=$max).contains(&text.len()) && text.bytes().all($fits) {
                    Ok(Self(text))
                } else {
                    Err(InvalidId { name: $words, max: $max })
                }
            }

            /// The id as it is written everywhere.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

text_id!(
    /// A customer of the platform.
    TenantId, "tenant id", 64, fits_a_policy, "^[A-Za-z0-9._-]+$"
);
text_id!(
    /// Who signed the contract with the provider, by the provider's id.
    MerchantId, "merchant id", 128, fits_a_key, "^[!\"$-~]+$"
);
text_id!(
    /// A shop, by the provider's id.
    LocationId, "location id", 128, fits_a_key, "^[!\"$-~]+$"
);
text_id!(
    /// The provider's id of an order.
    ExternalOrderId, "order id", 256, fits_a_key, "^[!\"$-~]+$"
);
text_id!(
    /// The provider's id of a notification, or the hash of its body where it has none.
    EventId, "event id", 256, fits_a_key, "^[!\"$-~]+$"
);

text_id!(
    /// Something that the tenant sells, by the tenant's own id: what items of its tills are mapped to.
    ProductId, "product id", 128, fits_a_key, "^[!\"$-~]+$"
);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// A tenant's connection to one merchant at one provider.
    ConfigurationId
);
uuid_id!(
    /// Our own record of a sale or a refund.
    ///
    /// A UUID of version 8: 48 bits of the order's creation time in milliseconds, then a hash of (configuration,
    /// provider's order id, kind). Whoever sees the order a second time computes the same id, so a repeat lands on the
    /// same item, and a range of times is a range of keys.
    TransactionId
);

uuid_id!(
    /// One run of a sync.
    RunId
);

uuid_id!(
    /// An import of mappings, or work on the past.
    JobId
);

uuid_id!(
    /// Deliveries that somebody wants to be worked on once more.
    ReplayId
);

uuid_id!(
    /// Messages that were given up and are sent once more.
    RedriveId
);

macro_rules! asked_for {
    ($name:ident) => {
        impl $name {
            /// A new id, sortable by its time of creation.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The one id of what a caller asks for under an `Idempotency-Key`.
            pub fn of_key(scope: &TenantScope, configuration: ConfigurationId, key: &str) -> Self {
                Self(hashed([scope.0.as_str().as_bytes(), configuration.0.as_bytes().as_slice(), key.as_bytes()]))
            }
        }
    };
}

asked_for!(JobId);
asked_for!(ReplayId);

impl RedriveId {
    /// A new id, sortable by its time of creation.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The one id of what somebody asks for under an `Idempotency-Key`.
    pub fn of_key(subject: &str, key: &str) -> Self {
        Self(hashed([subject.as_bytes(), key.as_bytes()]))
    }
}

/// A UUID of these parts, each with its length before it: no two lists of parts are alike.
fn hashed<const N: usize>(parts: [&[u8]; N]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(byte, from)| *byte = from);
    Uuid::new_v8(bytes)
}

impl RunId {
    /// A new id, sortable by its time of creation.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl ConfigurationId {
    /// A new id, sortable by its time of creation.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl EventId {
    /// For a notification without an id of its own: repeats of the same bytes keep it.
    pub fn hash_of(body: &[u8]) -> Self {
        let hash = format!("{:x}", Sha256::digest(body));
        Self(format!("sha256:{hash}"))
    }

    /// For what a remapping has changed.
    pub fn of_remapping(remapping: JobId) -> Self {
        Self(format!("{REMAPPING}{remapping}"))
    }

    /// For what a rebuild has changed.
    pub fn of_rebuild(rebuild: JobId) -> Self {
        Self(format!("{REBUILD}{rebuild}"))
    }

    /// For what a sync has found: the page names the cause, so that a page can tell its own work from a neighbour's.
    pub fn of_page(run: RunId, page: u32) -> Self {
        Self(format!("{SYNC}{run}:{page}"))
    }
}

/// How causes begin that are no deliveries.
const SYNC: &str = "sync:";
const REMAPPING: &str = "remapping:";
const REBUILD: &str = "rebuild:";

/// What has led to a revision of a transaction, read from the id that its history keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A delivery, when it came or when it was replayed.
    Delivery(EventId),
    /// A page that a sync has read.
    Page {
        /// Of which run.
        run: RunId,
        /// Its number in it, from 1.
        page: u32,
    },
    /// What a tenant says of its items, brought to what was sold before.
    Remapping(JobId),
    /// What a release of ours makes of the raw orders that are kept.
    Rebuild(JobId),
}

impl From<&EventId> for Cause {
    fn from(id: &EventId) -> Self {
        let page = |rest: &str| {
            let (run, page) = rest.split_once(':')?;
            Some(Self::Page { run: run.parse().ok()?, page: page.parse().ok()? })
        };
        let job = |kind: &str, of: fn(JobId) -> Self| id.0.strip_prefix(kind)?.parse().ok().map(of);
        let ours = id.0.strip_prefix(SYNC).and_then(page);
        let ours = ours.or_else(|| job(REMAPPING, Self::Remapping)).or_else(|| job(REBUILD, Self::Rebuild));
        ours.unwrap_or_else(|| Self::Delivery(id.clone()))
    }
}

impl TransactionId {
    /// The one id that this order of this configuration can have.
    pub fn derive(
        created_at: Timestamp,
        configuration_id: ConfigurationId,
        order_id: &ExternalOrderId,
        kind: TransactionKind,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in [configuration_id.0.as_bytes().as_slice(), order_id.0.as_bytes(), kind.as_str().as_bytes()] {
            // Length-framed, so that no two lists of parts hash alike. Ids are far shorter than 2^32 bytes.
            hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(part);
        }
        let millis = u64::try_from(created_at.as_millisecond()).unwrap_or(0).to_be_bytes();
        let mut bytes = [0; 16];
        let source = millis.iter().skip(2).chain(hash.finalize().as_slice()).copied().collect::<Vec<u8>>();
        bytes.iter_mut().zip(source).for_each(|(byte, from)| *byte = from);
        Self(Uuid::new_v8(bytes))
    }

    /// No id of an order that was opened in this millisecond, or later, sorts before it.
    pub fn first_of(at: Timestamp) -> Self {
        Self::at(at, 0)
    }

    /// No id of an order that was opened in this millisecond, or earlier, sorts after it.
    pub fn last_of(at: Timestamp) -> Self {
        Self::at(at, u128::MAX)
    }

    /// The bound that has this time, and these bits in the place of a hash.
    fn at(at: Timestamp, rest: u128) -> Self {
        let millis = u128::try_from(at.as_millisecond()).unwrap_or(0);
        Self(Uuid::from_u128((millis << 80) | (rest >> 48)))
    }
}

/// Proof that somebody was allowed to act for a tenant.
///
/// Every key of every table is built from one, so a query without a tenant does not compile. It comes from the
/// authorizer's context, from a configuration found in the table, or from a message on one of our own queues; a
/// function cannot make one:
///
/// ```compile_fail
/// let scope = shared::domain::TenantScope::new("t_1".parse().unwrap());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TenantScope(TenantId);

impl TenantScope {
    #[cfg(any(feature = "store", feature = "rest", feature = "queue"))]
    pub(crate) fn new(tenant: TenantId) -> Self {
        Self(tenant)
    }

    /// The tenant.
    pub fn tenant_id(&self) -> &TenantId {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_break_a_key_is_refused() {
        for text in ["", "a#b", "a b", "a\n", "ä", "*", "t?", "a/b", "${x}", &"x".repeat(65)] {
            assert!(TenantId::new(text).is_err(), "{text:?}");
        }
        assert!(TenantId::new("t_42-a.b").is_ok());
    }

    #[test]
    fn a_cause_is_read_as_it_was_written() {
        let (run, job) = (RunId::generate(), JobId::generate());
        let cause = |id: &EventId| Cause::from(id);
        assert_eq!(cause(&EventId::of_page(run, 7)), Cause::Page { run, page: 7 });
        assert_eq!(cause(&EventId::of_remapping(job)), Cause::Remapping(job));
        assert_eq!(cause(&EventId::of_rebuild(job)), Cause::Rebuild(job));
        for text in ["6a8f5f28-54a1-4eb0-a98a-3111513fd4fc", "sha256:00", "sync:", "sync:x:1", "remapping:x"] {
            let id = EventId::new(text).unwrap();
            assert_eq!(cause(&id), Cause::Delivery(id.clone()));
        }
    }

    #[test]
    fn a_transaction_id_is_decided_by_the_order_and_sorts_by_time() {
        let configuration: ConfigurationId = "01938d5e-0000-7000-8000-000000000001".parse().unwrap();
        let order = ExternalOrderId::new("ORDER1").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let id =
            |time: &str, order: &ExternalOrderId, kind| TransactionId::derive(at(time), configuration, order, kind);
        let sale = id("2026-02-14T08:00:00.120Z", &order, TransactionKind::Sale);
        assert_eq!(sale, id("2026-02-14T08:00:00.120Z", &order, TransactionKind::Sale));
        assert_ne!(sale, id("2026-02-14T08:00:00.120Z", &order, TransactionKind::Refund));
        let other = ExternalOrderId::new("ORDER2").unwrap();
        assert_ne!(sale, id("2026-02-14T08:00:00.120Z", &other, TransactionKind::Sale));
        let later = id("2026-02-14T08:00:00.121Z", &order, TransactionKind::Sale);
        assert!(sale.to_string() < later.to_string());
        let of = |bound: fn(Timestamp) -> TransactionId, time: &str| bound(at(time)).to_string();
        let (first, last) = (TransactionId::first_of, TransactionId::last_of);
        let opened = "2026-02-14T08:00:00.120Z";
        assert!(of(first, opened) < sale.to_string() && sale.to_string() < of(last, opened));
        assert!(of(last, opened) < later.to_string() && sale.to_string() < of(first, "2026-02-14T08:00:00.121Z"));
        assert!(of(last, "9999-12-30T22:00:00.999Z") > later.to_string());
        assert_eq!(sale.0.get_version_num(), 8);
    }
}
