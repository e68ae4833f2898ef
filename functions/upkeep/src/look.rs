//! A look at one configuration that is due.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use shared::access::TokenError;
use shared::domain::{Configuration, ConfigurationId, Health, ReasonCode, TenantScope, Unannounced};
use shared::providers::silence_advice;

use crate::{App, UpkeepError, removal};

/// Unproven deliveries count when none was proven for so long before.
const SILENCE: SignedDuration = SignedDuration::from_mins(10);

/// Why it holds, in words; `None` if it does not.
type Judge = fn(&Configuration) -> Option<String>;

/// What is judged by what was noted of a configuration's health.
const REASONS: [(ReasonCode, Judge); 2] =
    [(ReasonCode::SignaturesFailing, failing_signatures), (ReasonCode::WebhooksSilent, silent_webhooks)];

/// Does what it needs now, and sees to it that it is due again when it needs something else.
pub async fn after(app: &App, scope: &TenantScope, id: ConfigurationId, deadline: Instant) -> Result<(), UpkeepError> {
    let configurations = &app.connections.configurations;
    let Some(found) = configurations.load(scope, id).await? else { return Ok(()) };
    if found.configuration.deletion.is_some() {
        return removal::go_on(app, &found, deadline).await;
    }
    for reason in REASONS {
        judge(app, scope, &found.configuration, reason).await?;
    }
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
fn failing_signatures(configuration: &Configuration) -> Option<String> {
    let health = &configuration.health;
    let failed_at = health.last_signature_failure_at?;
    let is_answered = configuration.webhook_secrets.iter().any(|secret| secret.not_before > failed_at);
    // One stray delivery to a URL that works says nothing.
    let is_failing = health.last_webhook_at.is_none_or(|worked_at| worked_at + SILENCE < failed_at) && !is_answered;
    let count = health.signature_failures;
    is_failing.then(|| format!("{count} deliveries to its own webhook URL were not proven by any of its secrets"))
}

/// Several sales that only a sync has found, and no delivery since: the provider rings no more.
fn silent_webhooks(configuration: &Configuration) -> Option<String> {
    let Health { unannounced_sales: sales, last_webhook_at, .. } = &configuration.health;
    let last = (*last_webhook_at).filter(|_| *sales >= Unannounced::SEVERAL)?;
    let advice = silence_advice(configuration.provider);
    Some(format!("syncs have found {sales} sales since the last delivery came, about {last}. {advice}"))
}

/// States a reason for as long as there is something to say.
async fn judge(
    app: &App,
    scope: &TenantScope,
    configuration: &Configuration,
    (code, verdict): (ReasonCode, fn(&Configuration) -> Option<String>),
) -> Result<(), UpkeepError> {
    let is_stated = configuration.reasons.iter().any(|reason| reason.code == code);
    if verdict(configuration).is_some() == is_stated {
        return Ok(());
    }
    let action = if is_stated { "configuration.reason_dropped" } else { "configuration.reason_stated" };
    let amended = app.tokens.amend(scope, configuration.id, (None, action), |configuration| {
        match verdict(configuration) {
            Some(detail) => configuration.state_reason(code, detail, Timestamp::now()),
            None => configuration.reasons.retain(|reason| reason.code != code),
        }
        true
    });
    Ok(amended.await.map(drop)?)
}
