//! A look at one configuration that is due.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use shared::access::TokenError;
use shared::domain::{Configuration, ConfigurationId, ReasonCode, TenantScope};

use crate::{App, UpkeepError, removal};

/// Unproven deliveries count when none was proven for so long before.
const SILENCE: SignedDuration = SignedDuration::from_mins(10);

/// Does what it needs now, and sees to it that it is due again when it needs something else.
pub async fn after(app: &App, scope: &TenantScope, id: ConfigurationId, deadline: Instant) -> Result<(), UpkeepError> {
    let configurations = &app.connections.configurations;
    let Some(found) = configurations.load(scope, id).await? else { return Ok(()) };
    if found.configuration.deletion.is_some() {
        return removal::go_on(app, &found, deadline).await;
    }
    judge_signatures(app, scope, &found.configuration).await?;
    let is_due = found.configuration.due_at().is_some_and(|due_at| due_at <= Timestamp::now());
    if !is_due {
        // The index was ahead: somebody wanted a look, or the credentials were renewed meanwhile.
        return Ok(configurations.correct_due(scope, &found.configuration).await?);
    }
    match app.tokens.current(&found).await {
        Ok(_) => Ok(()),
        // Said on the configuration by now; nothing is due until a person has connected again.
        Err(TokenError::ReauthRequired) => match configurations.find(scope, id).await? {
            Some(now) => Ok(configurations.correct_due(scope, &now).await?),
            None => Ok(()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Deliveries that nothing proves, and none that was proven since: the secret at the provider is another one.
async fn judge_signatures(app: &App, scope: &TenantScope, configuration: &Configuration) -> Result<(), UpkeepError> {
    let health = &configuration.health;
    let is_failing = health.last_signature_failure_at.is_some_and(|failed_at| {
        let is_answered = configuration.webhook_secrets.iter().any(|secret| secret.not_before > failed_at);
        // One stray delivery to a URL that works says nothing.
        health.last_webhook_at.is_none_or(|worked_at| worked_at + SILENCE < failed_at) && !is_answered
    });
    let is_stated = configuration.reasons.iter().any(|reason| reason.code == ReasonCode::SignaturesFailing);
    if is_failing == is_stated {
        return Ok(());
    }
    let action = if is_failing { "configuration.reason_stated" } else { "configuration.reason_dropped" };
    let amended = app.tokens.amend(scope, configuration.id, (None, action), |configuration| {
        let count = configuration.health.signature_failures;
        if is_failing {
            let detail = format!("{count} deliveries to its own webhook URL were not proven by any of its secrets");
            configuration.state_reason(ReasonCode::SignaturesFailing, detail, Timestamp::now());
        } else {
            configuration.reasons.retain(|reason| reason.code != ReasonCode::SignaturesFailing);
        }
        true
    });
    Ok(amended.await.map(drop)?)
}
