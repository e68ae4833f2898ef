//! The one way in.

use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

use super::decide::{Decision, content_hash, decide};
use super::rebuild::short;
use super::row::{key, read_refusal, to_item};
use super::{Candidate, Item, OutboxMark, PutOutcome, Revision, StoreError, Stored, TransactionKey, Transactions};
use crate::domain::{EventId, ProductId, TenantScope};
use crate::store::item::{number, refused_with, time};

/// Attempts before somebody has changed the item each time is no longer bad luck.
const MAX_ATTEMPTS: usize = 6;
/// Earlier revisions that are kept whole; of those before, it is known when, why and what they came to.
const WHOLE_REVISIONS: usize = 50;

impl Transactions {
    /// Stores a copy if it is newer than what the table has, as the next revision, marked as unacknowledged.
    ///
    /// The newer (source version, observed at) wins; the same content is written only if its version has grown, and
    /// then as no revision of its own. `known`, what was read of it, may be outdated: the write is conditional on it, and
    /// a refused write answers with what is there.
    pub async fn put_if_newer(
        &self,
        mut known: Option<Stored>,
        scope: &TenantScope,
        candidate: Candidate<'_>,
        first_resend_after: SignedDuration,
    ) -> Result<PutOutcome, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            known = match (decide(known.as_ref(), &candidate), known) {
                (Decision::Stale, Some(stored)) => return Ok(PutOutcome::Stale(Box::new(stored))),
                (Decision::Unchanged, Some(stored)) => return Ok(unchanged(stored)),
                (Decision::Touch, Some(stored)) => match self.touch(&stored, &candidate).await? {
                    Ok(()) => return Ok(unchanged(stored)),
                    Err(there) => read_refusal(&there)?,
                },
                (Decision::Revise, known) | (Decision::Stale | Decision::Unchanged | Decision::Touch, known @ None) => {
                    let next = next_revision(candidate.key(scope), known.as_ref(), &candidate);
                    match self.write(&next, known.as_ref(), first_resend_after).await? {
                        Ok(()) => return Ok(PutOutcome::Recorded(Box::new(next))),
                        Err(there) => match read_refusal(&there)? {
                            // The answer to our own write was lost, and the client has repeated the write.
                            Some(stored) if is_written_by(&stored, &next) => {
                                return Ok(PutOutcome::Recorded(Box::new(stored)));
                            }
                            there => there,
                        },
                    }
                }
            };
        }
        Err(StoreError::Contended)
    }

    /// Says what the items of a transaction count as, as its next revision. Nothing else of it changes.
    pub async fn remap(
        &self,
        mut known: Stored,
        products: &HashMap<String, Option<ProductId>>,
        cause: &EventId,
        first_resend_after: SignedDuration,
    ) -> Result<PutOutcome, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let mut transaction = known.transaction.clone();
            transaction.remap_products(products);
            if transaction == known.transaction {
                return Ok(unchanged(known));
            }
            let candidate = Candidate { transaction, observed_at: known.observed_at, cause };
            let mut next = next_revision(known.key.clone(), Some(&known), &candidate);
            (next.transaction, next.copy_version) = (candidate.transaction, known.copy_version);
            let Err(there) = self.write(&next, Some(&known), first_resend_after).await? else {
                return Ok(PutOutcome::Recorded(Box::new(next)));
            };
            known = match read_refusal(&there)? {
                Some(stored) if is_written_by(&stored, &next) => return Ok(PutOutcome::Recorded(Box::new(stored))),
                Some(stored) => stored,
                // Its configuration is being removed.
                None => return Ok(unchanged(known)),
            };
        }
        Err(StoreError::Contended)
    }

    /// The next revision in one write, if the table still has what we read. Else what it has.
    pub(super) async fn write(
        &self,
        next: &Stored,
        seen: Option<&Stored>,
        first_resend_after: SignedDuration,
    ) -> Result<Result<(), Item>, StoreError> {
        if let (Some(seen), Some(days)) = (seen, &self.days)
            && seen.day_of(&seen.transaction) != seen.day_of(&next.transaction)
        {
            days.note_move(&seen.day_of(&seen.transaction), seen.key.transaction_id).await?;
        }
        let due_at = Timestamp::now() + first_resend_after;
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(next, due_at)?))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match seen {
            // A touch changes the version and leaves the revision; an answer leaves both, and must not be lost.
            Some(seen) => request
                .condition_expression(format!(
                    "revision = :seen AND source_version = :seen_version AND {}",
                    match seen.acknowledged_revision {
                        Some(_) => "acknowledged_revision = :answered",
                        None => "attribute_not_exists(acknowledged_revision)",
                    }
                ))
                .set_expression_attribute_values(
                    seen.acknowledged_revision.map(|answered| Item::from([(":answered".into(), number(answered))])),
                )
                .expression_attribute_values(":seen", number(seen.revision))
                .expression_attribute_values(":seen_version", number(seen.source_version.0)),
            None => request.condition_expression("attribute_not_exists(transaction_id)"),
        };
        Ok(refused_with(request.send().await, "write a transaction")?.map(drop))
    }

    /// The same content with a newer version: noted, so that an older copy that arrives late is known to be older.
    async fn touch(&self, stored: &Stored, candidate: &Candidate<'_>) -> Result<Result<(), Item>, StoreError> {
        let update = match candidate.observed_at {
            Some(_) => "SET source_version = :version, observed_at = :observed",
            None => "SET source_version = :version REMOVE observed_at",
        };
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(&stored.key)))
            .update_expression(update)
            .condition_expression("revision = :seen AND source_version < :version")
            .expression_attribute_values(":version", number(candidate.transaction.source_version.0))
            .expression_attribute_values(":seen", number(stored.revision))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match candidate.observed_at {
            Some(at) => request.expression_attribute_values(":observed", time(at)),
            None => request,
        };
        Ok(refused_with(request.send().await, "touch a transaction")?.map(drop))
    }
}

impl Candidate<'_> {
    /// Where it belongs.
    pub fn key(&self, scope: &TenantScope) -> TransactionKey {
        TransactionKey {
            scope: scope.clone(),
            configuration_id: self.transaction.configuration_id,
            transaction_id: self.transaction.id,
        }
    }
}

pub(super) fn unchanged(stored: Stored) -> PutOutcome {
    if stored.outbox.is_some() {
        PutOutcome::Unanswered(Box::new(stored))
    } else {
        PutOutcome::Unchanged(Box::new(stored))
    }
}

/// Whether what lies there is what we wanted to write. Somebody else who wrote the same for the same cause had the same
/// message, and was given up.
pub(super) fn is_written_by(stored: &Stored, next: &Stored) -> bool {
    let cause = |of: &Stored| of.history.last().map(|revision| revision.cause.clone());
    stored.revision == next.revision && stored.content_hash == next.content_hash && cause(stored) == cause(next)
}

pub(super) fn next_revision(key: TransactionKey, known: Option<&Stored>, candidate: &Candidate<'_>) -> Stored {
    let revision = known.map_or(0, |known| known.revision) + 1;
    let hash = content_hash(&candidate.transaction);
    let mut history = known.map(|known| known.history.clone()).unwrap_or_default();
    if let (Some(last), Some(known)) = (history.last_mut(), known) {
        last.content = Some(Box::new(known.transaction.clone()));
    }
    let in_short = history.len().saturating_sub(WHOLE_REVISIONS);
    history.iter_mut().take(in_short).for_each(|old| old.content = None);
    // The clocks of two machines may disagree, the order of revisions must not.
    let at = history.last().map_or(Timestamp::now(), |last| last.at.max(Timestamp::now()));
    history.push(Revision {
        revision,
        at,
        cause: candidate.cause.clone(),
        total: candidate.transaction.amounts.total,
        hash: short(&hash),
        normalizer: Some(env!("CARGO_PKG_VERSION").to_owned()),
        content: None,
    });
    let mut transaction = candidate.transaction.clone();
    if let Some(known) = known {
        transaction.keep_products(&known.transaction);
    }
    Stored {
        key,
        transaction,
        revision,
        observed_at: candidate.observed_at,
        history,
        outbox: Some(OutboxMark { attempts: 0 }),
        resend_trace: None,
        acknowledged_revision: known.and_then(|known| known.acknowledged_revision),
        sales_record_id: known.and_then(|known| known.sales_record_id.clone()),
        accepted: known.map(|known| known.accepted.clone()).unwrap_or_default(),
        // Whatever was said of an earlier one: this one has not been judged.
        rejected: None,
        source_version: candidate.transaction.source_version,
        copy_version: candidate.transaction.source_version,
        content_hash: hash,
    }
}
