//! A removal, step by step. Each can be done again, and each says on the configuration when it has been done: a crash
//! between two steps repeats one.
//!
//! What dies where: before `Revoke` has moved on, the provider is asked again; within a purge, what is left is purged;
//! work that had begun before the removal may write after the first purge, so there is a second one after it can have
//! ended; and what was asked twice at once is done by whoever has moved the step first.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use shared::access::TokenError;
use shared::domain::{Configuration, Deletion, DeletionStep};
use shared::providers::{ProviderError, Revocation};
use shared::queue::sales::{ConfigurationErased, ErasedEvent};
use shared::store::audit::Actor;
use shared::store::configurations::SealedConfiguration;
use shared::telemetry::TraceParent;
use shared::vault::VaultError;

use crate::{App, UpkeepError};

/// For so long a step belongs to whoever has begun it.
const TURN: SignedDuration = SignedDuration::from_secs(60);
/// A provider that is away is asked so often, further and further apart; then its merchant must take our access back.
const REVOCATIONS: u32 = 8;

/// Goes on as far as there is time.
pub async fn go_on(app: &App, found: &SealedConfiguration, deadline: Instant) -> Result<(), UpkeepError> {
    let Some(mut seen) = found.configuration.deletion.clone() else { return Ok(()) };
    while seen.due_at <= Timestamp::now() && Instant::now() < deadline {
        let mine = Deletion { due_at: Timestamp::now() + TURN, ..seen.clone() };
        if !advance(app, found, &seen, &mine).await? {
            return Ok(());
        }
        let next = match mine.step {
            DeletionStep::Revoke => revoke(app, found, &mine).await?,
            DeletionStep::Purge => {
                let (purged, is_done) = purge(app, found, &mine, deadline).await?;
                let settled_at = Timestamp::now() + app.settle;
                if is_done { Deletion { step: DeletionStep::Wait, due_at: settled_at, ..purged } } else { purged }
            }
            DeletionStep::Wait => Deletion { step: DeletionStep::PurgeAgain, due_at: Timestamp::now(), ..mine.clone() },
            DeletionStep::PurgeAgain => {
                let (purged, is_done) = purge(app, found, &mine, deadline).await?;
                if is_done {
                    return bury(app, found, &purged).await;
                }
                purged
            }
        };
        if !advance(app, found, &mine, &next).await? {
            return Ok(());
        }
        seen = next;
    }
    Ok(())
}

async fn advance(
    app: &App,
    found: &SealedConfiguration,
    seen: &Deletion,
    next: &Deletion,
) -> Result<bool, UpkeepError> {
    let moved = app.connections.configurations.advance_removal(&found.scope, found.configuration.id, (seen, next));
    Ok(moved.await?)
}

/// Tells the provider, then forgets the secrets. Whatever stays away must not keep a merchant's data with us.
async fn revoke(app: &App, found: &SealedConfiguration, mine: &Deletion) -> Result<Deletion, UpkeepError> {
    let configuration = &found.configuration;
    let revoked = match withdraw(app, found).await {
        Ok(Some(Revocation::Revoked)) => Some(true),
        Ok(Some(Revocation::Unsupported)) => None,
        // Nobody had connected it, or a cut-off attempt has forgotten what was sealed.
        Ok(None) => mine.revoked,
        Err(error) if error.is_for_good() || mine.attempts + 1 >= REVOCATIONS => {
            tracing::error!(configuration.id = %configuration.id, error = %error, "access could not be withdrawn");
            Some(false)
        }
        Err(error) => {
            tracing::warn!(configuration.id = %configuration.id, error = %error, "access was not withdrawn yet");
            let due_at = Timestamp::now() + SignedDuration::from_secs(15 << mine.attempts.min(6));
            return Ok(Deletion { attempts: mine.attempts + 1, due_at, ..mine.clone() });
        }
    };
    app.connections.configurations.drop_secrets(&found.scope, configuration.id).await?;
    Ok(Deletion { step: DeletionStep::Purge, due_at: Timestamp::now(), revoked, ..mine.clone() })
}

#[derive(Debug, thiserror::Error)]
enum NotWithdrawn {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

impl NotWithdrawn {
    fn is_for_good(&self) -> bool {
        matches!(self, Self::Token(TokenError::Vault(VaultError::NotAuthentic)))
    }
}

/// `None`: there is nothing to withdraw.
async fn withdraw(app: &App, found: &SealedConfiguration) -> Result<Option<Revocation>, NotWithdrawn> {
    let Configuration { provider, environment, .. } = found.configuration;
    let credentials = match app.tokens.credentials(found).await {
        Err(TokenError::ReauthRequired) => return Ok(None),
        credentials => credentials?,
    };
    let application = app.connections.applications.get(provider).await.map_err(TokenError::from)?;
    let provider = app.connections.providers.get(provider);
    Ok(Some(provider.revoke_credentials(&application, environment, &credentials).await?))
}

/// Removes what is stored, or as much as there is time for. Whether nothing is left.
async fn purge(
    app: &App,
    found: &SealedConfiguration,
    mine: &Deletion,
    deadline: Instant,
) -> Result<(Deletion, bool), UpkeepError> {
    let id = found.configuration.id;
    let transactions = app.transactions.purge(&found.scope, id, deadline).await?;
    let days = app.days.purge(&found.scope, id, deadline).await?;
    let deliveries = app.logs.purge(&found.scope, id, deadline).await?;
    let raw = app.raw_log.purge(&found.scope, id, deadline).await?;
    let products = app.product_mappings.purge(&found.scope, id, deadline).await?;
    // Which answers tell of its runs stands among what is purged next.
    let answers = app.connections.sync_logs.list_answers(&found.scope, id).await?;
    app.connections.coordination.forget(&answers).await?;
    let runs = app.connections.sync_logs.purge(&found.scope, id, deadline).await?;
    let purged = Deletion {
        due_at: Timestamp::now(),
        transactions: mine.transactions + transactions.removed,
        deliveries: mine.deliveries + deliveries.removed,
        ..mine.clone()
    };
    let is_done = [transactions, days, deliveries, raw, products, runs].iter().all(|purged| purged.is_done);
    Ok((purged, is_done))
}

/// Tells the sales domain, then leaves the tombstone: a crash between the two tells it once more.
async fn bury(app: &App, found: &SealedConfiguration, purged: &Deletion) -> Result<(), UpkeepError> {
    let (scope, configuration) = (&found.scope, &found.configuration);
    let erased = ConfigurationErased { configuration_id: configuration.id, transactions: purged.transactions };
    let event = ErasedEvent::of(scope, configuration.provider, erased, &TraceParent::generate());
    app.sales.send_event(&event).await?;
    app.connections.changes.bury(scope, configuration, purged, &Actor::service("upkeep")).await?;
    tracing::info!(
        tenant.id = %scope.tenant_id(),
        configuration.id = %configuration.id,
        transactions = purged.transactions,
        deliveries = purged.deliveries,
        "removed a configuration"
    );
    Ok(())
}
