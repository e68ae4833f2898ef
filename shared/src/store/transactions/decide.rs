//! Which of two copies of a transaction is the truth. Pure: what the table does is decided here and only done there.

use sha2::{Digest, Sha256};

use super::{Candidate, Stored};
use crate::domain::{SourceVersion, Transaction};

/// What to do with a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Write it as the next revision.
    Revise,
    /// Note its newer version; its content is known.
    Touch,
    /// Nothing to do.
    Unchanged,
    /// The table has a newer one.
    Stale,
}

/// The newer (source version, observed at) wins.
pub(super) fn decide(stored: Option<&Stored>, candidate: &Candidate<'_>) -> Decision {
    let Some(stored) = stored else { return Decision::Revise };
    let is_same = stored.content_hash == content_hash(&candidate.transaction);
    match candidate.transaction.source_version.cmp(&stored.source_version) {
        std::cmp::Ordering::Less => Decision::Stale,
        std::cmp::Ordering::Equal if is_same => Decision::Unchanged,
        // Two contents under one version: the copy that was read later counts, not the one that arrived later.
        std::cmp::Ordering::Equal if candidate.observed_at > stored.observed_at => Decision::Revise,
        std::cmp::Ordering::Equal => Decision::Stale,
        std::cmp::Ordering::Greater if is_same => Decision::Touch,
        std::cmp::Ordering::Greater => Decision::Revise,
    }
}

/// Whether a copy would be a new revision of what the table is known to have.
pub fn is_news(known: Option<&Stored>, candidate: &Candidate<'_>) -> bool {
    decide(known, candidate) == Decision::Revise
}

/// How a copy that was read just now compares with what the table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Both say the same.
    Same,
    /// The table's is older: it lacks a change.
    Outdated,
    /// The table's is newer: it was read from a replica that lags.
    Ahead,
}

impl Stored {
    /// Compares with what the provider has just said.
    pub fn agrees_with(&self, copy: &Transaction) -> Agreement {
        if self.content_hash == content_hash(copy) {
            Agreement::Same
        } else if self.source_version > copy.source_version {
            Agreement::Ahead
        } else {
            Agreement::Outdated
        }
    }
}

/// A hash over what the till says, without its version: providers count versions for changes that are none to us (a fee).
/// What the tenant calls the things is no part of it: a copy that is read again does not bring in a new mapping.
pub(super) fn content_hash(transaction: &Transaction) -> Vec<u8> {
    let mut content = Transaction { source_version: SourceVersion(0), ..transaction.clone() };
    content.assign_products(|_| None);
    // Serializing our own plain structs cannot fail; if it did, the empty text would differ from every content.
    Sha256::digest(serde_json::to_vec(&content).unwrap_or_default()).to_vec()
}
