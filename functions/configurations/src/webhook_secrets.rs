//! Secrets that prove deliveries to a configuration's own webhook URL: several at a time, so that one can follow another
//! without a delivery being lost.

use http::StatusCode;
use http::header::LOCATION;
use jiff::{SignedDuration, Timestamp};
use shared::domain::WebhookSecretSummary;
use shared::problem::Problem;
use shared::providers::WebhookSecret;
use shared::rest::{Answer, Call, Fields, is_line, is_token, refused_change, unavailable};
use shared::store::configurations::{Change, SealedWebhookSecret};
use shared::vault::{Purpose, SealContext};
use uuid::Uuid;

use crate::connect::SecretText;
use crate::{App, Repeat, find_to_change, show};

/// More than two are a rotation that somebody forgot; each costs every delivery one more signature.
const MAX_ACTIVE: usize = 3;
pub(crate) const MAX_LABEL: usize = 100;
pub(crate) const MAX_URL: usize = 1000;
/// A week of overlap is enough for anybody who has begun a rotation.
pub(crate) const MAX_OVERLAP_HOURS: u32 = 168;

/// A secret as a person brings it.
pub struct Wanted {
    secret: Option<SecretText>,
    label: Option<String>,
    not_before: Option<Timestamp>,
    url: Option<String>,
    overlap: Option<u32>,
}

/// Reads the whole request.
pub fn read(fields: &mut Fields) -> Wanted {
    let secret = fields.required::<SecretText>("secret").and_then(|secret| secret.check(fields, "secret"));
    let label = fields.optional::<String>("label");
    if label.as_ref().is_some_and(|label| !is_line(label, MAX_LABEL)) {
        fields.refuse("label", format!("is 1 to {MAX_LABEL} characters without control characters"));
    }
    let not_before = fields.optional::<Timestamp>("not_before");
    let url = fields.optional::<String>("notification_url");
    if url.as_ref().is_some_and(|url| !is_token(url, MAX_URL) || !url.starts_with("https://")) {
        fields.refuse("notification_url", format!("is an https URL of at most {MAX_URL} characters"));
    }
    let overlap = fields.optional::<u32>("overlap_hours");
    if overlap.is_some_and(|hours| hours > MAX_OVERLAP_HOURS) {
        fields.refuse("overlap_hours", format!("are {MAX_OVERLAP_HOURS} at most"));
    }
    Wanted { secret, label, not_before, url, overlap }
}

/// Adds a secret. The older ones end after `overlap_hours`, if that is given; until then all of them count.
pub async fn add(app: &App, call: &Call, repeat: Repeat<'_>) -> Result<Answer, Problem> {
    let mut fields = call.fields()?;
    let Wanted { secret, label, not_before, url, overlap } = read(&mut fields);
    let now = Timestamp::now();
    let overlap_ends = overlap.map(|hours| now + SignedDuration::from_hours(i64::from(hours)));
    if let (Some(start), Some(end)) = (not_before, overlap_ends)
        && end < start
    {
        fields.refuse("overlap_hours", "must reach to `not_before`: no secret would count in between");
    }
    fields.finish()?;
    let Some(SecretText(secret)) = secret else { return Err(Problem::internal()) };

    let before = find_to_change(app, call).await?;
    let mut after = before.clone();
    after.webhook_secrets.retain(|known| known.not_after.is_none_or(|end| end > now));
    if let Some(end) = overlap_ends {
        for known in &mut after.webhook_secrets {
            known.not_after = Some(known.not_after.map_or(end, |earlier| earlier.min(end)));
        }
    }
    if after.webhook_secrets.len() >= MAX_ACTIVE {
        return Err(Problem::conflict("three secrets count already: remove one first"));
    }
    let id = Uuid::now_v7();
    let not_before = not_before.unwrap_or(now);
    after.webhook_secrets.push(WebhookSecretSummary { id, label, not_before, not_after: None });
    after.reasons.retain(|reason| reason.code != shared::domain::ReasonCode::SignaturesFailing);
    after.touch();

    let context = SealContext {
        scope: &call.scope,
        configuration_id: after.id,
        provider: after.provider,
        purpose: Purpose::Webhook,
    };
    let own_url = || format!("{}/api/v1/webhooks/{}/{}", app.base_url(call), after.provider, after.id);
    let secret = WebhookSecret {
        id: id.to_string(),
        notification_url: url.unwrap_or_else(own_url),
        signature_key: secret,
        not_before: Some(not_before),
        not_after: None,
    };
    let sealed = app.vault.seal(context, &secret).await.map_err(|error| unavailable(&error))?;
    let [read, mut all] = sealed_secrets(app, &after).await?;
    all.push(SealedWebhookSecret { id, sealed, not_before, not_after: None });
    let answer = show(StatusCode::CREATED, &after)?.header(LOCATION, format!("{}/{id}", call.path()));
    let actor = call.actor();
    let change = Change {
        webhook_secrets: Some([read, all]),
        remember: answer.remembered(repeat),
        ..Change::of(&actor, "configuration.webhook_secret_added", &before, &after)
    };
    app.changes.commit(&call.scope, &change).await.map_err(refused_change)?;
    Ok(answer)
}

/// Removes a secret: what it proves is refused a minute later at the latest.
pub async fn remove(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id: Uuid = call.path_id("secret_id", "webhook secret")?;
    let before = find_to_change(app, call).await?;
    let mut after = before.clone();
    after.webhook_secrets.retain(|known| known.id != id);
    if after.webhook_secrets.len() == before.webhook_secrets.len() {
        return Err(Problem::not_found("webhook secret"));
    }
    after.touch();
    let secrets = sealed_secrets(app, &after).await?;
    let actor = call.actor();
    let change = Change {
        webhook_secrets: Some(secrets),
        ..Change::of(&actor, "configuration.webhook_secret_removed", &before, &after)
    };
    app.changes.commit(&call.scope, &change).await.map_err(refused_change)?;
    show(StatusCode::OK, &after)
}

/// The sealed secrets as they are, and those of them that the configuration names, with their validity as it says.
async fn sealed_secrets(
    app: &App,
    configuration: &shared::domain::Configuration,
) -> Result<[Vec<SealedWebhookSecret>; 2], Problem> {
    let door = app.configurations.find_door(configuration.id).await.map_err(|error| unavailable(&error))?;
    let read = door.map(|door| door.secrets).unwrap_or_default();
    let mut secrets = read.clone();
    secrets.retain_mut(|secret| {
        let known = configuration.webhook_secrets.iter().find(|known| known.id == secret.id);
        secret.not_after = known.and_then(|known| known.not_after);
        known.is_some()
    });
    Ok([read, secrets])
}
