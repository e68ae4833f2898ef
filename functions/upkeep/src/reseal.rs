//! Every sealed secret wrapped with the key that the deployment names now, page by page, with a checkpoint after each.

use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::store::configurations::{SealedPosition, SealedSecret};
use shared::vault::{Purpose, SealContext, VaultError};

use crate::{App, UpkeepError};

/// The name of the checkpoint.
const CHECKPOINT: &str = "reseal";
/// Items of one page.
const PAGE: i32 = 25;

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The key that everything is being wrapped with.
    pub key_id: String,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When the last page was done.
    pub as_of: Timestamp,
    /// Whether every page is done.
    pub is_done: bool,
    /// Secrets that are wrapped with the key now, because of this.
    pub resealed: u64,
    /// Secrets that were already.
    pub current: u64,
    /// Secrets that could not be wrapped; asking again tries them again.
    pub failed: u64,
    /// Secrets that somebody changed at the same moment: the next pass looks at them again.
    moved: u64,
    /// Where the next page starts.
    position: Option<SealedPosition>,
}

/// Begins anew with the key that the deployment names now.
pub async fn begin(app: &App) -> Result<(), UpkeepError> {
    let now = Timestamp::now();
    let report = Report {
        key_id: app.connections.vault.key_id().to_owned(),
        begun_at: now,
        as_of: now,
        is_done: false,
        resealed: 0,
        current: 0,
        failed: 0,
        moved: 0,
        position: None,
    };
    Ok(app.connections.coordination.put_checkpoint(CHECKPOINT, &report).await?)
}

/// How far it is, if it was ever begun.
pub async fn status(app: &App) -> Result<Option<Report>, UpkeepError> {
    Ok(app.connections.coordination.find_checkpoint(CHECKPOINT).await?)
}

/// Goes on with it, if it was begun and is not done.
pub async fn go_on(app: &App, deadline: Instant) -> Result<Option<Report>, UpkeepError> {
    let Some(mut report) = status(app).await? else { return Ok(None) };
    while !report.is_done && Instant::now() < deadline {
        let page = app.connections.configurations.list_sealed(PAGE, report.position.take()).await?;
        for secret in &page.items {
            match reseal(app, secret).await? {
                Outcome::Resealed => report.resealed += 1,
                Outcome::Current => report.current += 1,
                Outcome::Failed => report.failed += 1,
                Outcome::Moved => report.moved += 1,
            }
        }
        report.is_done = page.next.is_none() && report.moved == 0;
        if page.next.is_none() {
            report.moved = 0;
        }
        report.position = page.next;
        report.as_of = Timestamp::now();
        app.connections.coordination.put_checkpoint(CHECKPOINT, &report).await?;
    }
    Ok(Some(report))
}

enum Outcome {
    Resealed,
    Current,
    Failed,
    Moved,
}

/// One secret. Somebody who replaces it meanwhile seals it with the newest key anyway.
async fn reseal(app: &App, secret: &SealedSecret) -> Result<Outcome, UpkeepError> {
    let context = SealContext {
        scope: &secret.scope,
        configuration_id: secret.configuration_id,
        provider: secret.provider,
        purpose: if secret.is_webhook_secret { Purpose::Webhook } else { Purpose::Credentials },
    };
    match app.connections.vault.reseal(context, &secret.sealed).await {
        Ok(None) => Ok(Outcome::Current),
        Ok(Some(resealed)) => {
            let is_replaced = app.connections.configurations.replace_seal(secret, resealed).await?;
            Ok(if is_replaced { Outcome::Resealed } else { Outcome::Moved })
        }
        // It will not open either; the others go on.
        Err(VaultError::NotAuthentic) => {
            tracing::error!(tenant.id = %secret.scope.tenant_id(), configuration.id = %secret.configuration_id, "a secret could not be wrapped with the newest key");
            Ok(Outcome::Failed)
        }
        Err(error) => Err(error.into()),
    }
}
