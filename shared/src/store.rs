//! The tables. One struct for each, and the only code that names its attributes.

mod item;

pub mod audit;
pub mod budget;
pub mod configurations;
pub mod coordination;
pub mod counters;
pub mod days;
pub mod product_mappings;
pub mod raw_log;
pub mod sync_logs;
pub mod transactions;
pub mod webhook_logs;

use sha2::{Digest, Sha256};

use crate::aws::AwsError;
use crate::domain::{ConfigurationId, TenantScope};

/// A table did not do what we asked, or holds what we cannot read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB refused or did not answer.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// An item that this code cannot have written.
    #[error("{table} holds an unreadable item: {why}")]
    Unreadable {
        /// Which table.
        table: &'static str,
        /// Which attribute.
        why: String,
    },
    /// Others kept changing the item while we tried to.
    #[error("the item kept changing")]
    Contended,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, Position> {
    /// What is on it.
    pub items: Vec<T>,
    /// After what the next one starts, if there is more.
    pub next: Option<Position>,
}

/// What a purge has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// Items that are gone.
    pub removed: u64,
    /// Whether nothing is left.
    pub is_done: bool,
}

/// The partition of everything that belongs to a configuration.
fn configuration_key(scope: &TenantScope, configuration: ConfigurationId) -> String {
    format!("{}#{configuration}", scope.tenant_id())
}

/// Whose partition it is. A tenant's id holds no `#`.
fn parse_configuration_key(key: &str) -> Option<(TenantScope, ConfigurationId)> {
    let (tenant, configuration) = key.split_once('#')?;
    Some((TenantScope::new(tenant.parse().ok()?), configuration.parse().ok()?))
}

/// How long to give way to others: longer each time, and never as long as they do.
pub(crate) fn jitter(attempt: u32) -> std::time::Duration {
    let most = 20_u64.saturating_mul(1 << attempt.min(4));
    let random = uuid::Uuid::new_v4().as_u64_pair().0 % most;
    std::time::Duration::from_millis(5 + random)
}

/// SHA-256 in hexadecimal digits, each part with its length before it: no two lists of parts hash alike.
fn hash_of(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    format!("{:x}", hash.finalize())
}
