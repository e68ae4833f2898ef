//! The same copies of orders, made into transactions by another release.
//!
//! `decide` asks which of two copies is the newer. Here the copy is the one that the table has, or was the one before a
//! crash, and what is made of it differs; so this path is one of its own, and never takes an older copy for a newer.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

use super::decide::content_hash;
use super::put::{is_written_by, next_revision, unchanged};
use super::row::read_refusal;
use super::{Candidate, PutOutcome, StoreError, Stored, Transactions};
use crate::domain::{TenantScope, Transaction, TransactionId};
use crate::store::item::as_kept;

/// What a rebuild makes of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuilding {
    /// It is not stored, and would be.
    Create,
    /// It would have other content.
    Change,
    /// It comes out as it is stored.
    Same,
    /// What is stored is of a newer copy than the newest that was kept raw. It stays as it is.
    Uncovered,
}

/// Compares the newest copy that was kept with what the table has.
pub fn rebuilding(known: Option<&Stored>, candidate: &Candidate<'_>) -> Rebuilding {
    let Some(known) = known else { return Rebuilding::Create };
    if known.content_hash == content_hash(&candidate.transaction) {
        return Rebuilding::Same;
    }
    let version = candidate.transaction.source_version;
    // A touch notes a newer version of the same content, and with it when that was observed.
    let is_touched = known.source_version > known.copy_version;
    let is_read_before = candidate.observed_at.map(as_kept) < known.observed_at;
    if version < known.copy_version || (version == known.copy_version && !is_touched && is_read_before) {
        Rebuilding::Uncovered
    } else {
        Rebuilding::Change
    }
}

/// What identifies the content of a transaction, whatever version of the till's it is of and whatever the tenant calls its
/// products: sixteen hexadecimal digits, as they stand in a revision.
pub fn content_id(transaction: &Transaction) -> String {
    short(&content_hash(transaction))
}

pub(super) fn short(hash: &[u8]) -> String {
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// One hash over the contents of a shop's day, in whatever order they were read.
pub fn day_hash(contents: &BTreeMap<TransactionId, String>) -> String {
    let hash = contents.iter().fold(Sha256::new(), |hash, (id, content)| hash.chain_update(format!("{id}{content}")));
    format!("{:x}", hash.finalize())
}

impl Stored {
    /// What [`content_id`] says of it.
    pub fn content_id(&self) -> String {
        short(&self.content_hash)
    }
}

impl Transactions {
    /// Writes what the running release makes of a copy that the table has, as the next revision. `known`: what was shown
    /// to whoever has agreed. What has changed since is left alone and comes back as `Stale`.
    ///
    /// The revision keeps how new its copy is, so that whatever comes later is judged as it would have been.
    pub async fn rebuild(
        &self,
        known: Option<Stored>,
        scope: &TenantScope,
        candidate: Candidate<'_>,
        first_resend_after: SignedDuration,
    ) -> Result<PutOutcome, StoreError> {
        match (rebuilding(known.as_ref(), &candidate), &known) {
            (Rebuilding::Same, Some(stored)) => return Ok(unchanged(stored.clone())),
            (Rebuilding::Uncovered, Some(stored)) => return Ok(PutOutcome::Stale(Box::new(stored.clone()))),
            _ => {}
        }
        let mut next = next_revision(candidate.key(scope), known.as_ref(), &candidate);
        if let Some(known) = &known {
            let age = (known.source_version, known.observed_at);
            (next.source_version, next.observed_at) = age.max((next.source_version, next.observed_at));
            next.transaction.source_version = next.source_version;
        }
        let Err(there) = self.write(&next, known.as_ref(), first_resend_after).await? else {
            return Ok(PutOutcome::Recorded(Box::new(next)));
        };
        Ok(match (read_refusal(&there)?, known) {
            (Some(stored), _) if is_written_by(&stored, &next) => PutOutcome::Recorded(Box::new(stored)),
            (Some(stored), _) => PutOutcome::Stale(Box::new(stored)),
            // Its configuration is being removed.
            (None, known) => PutOutcome::Stale(Box::new(known.unwrap_or(next))),
        })
    }
}
