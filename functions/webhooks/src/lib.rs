//! One delivery: limits, proof of origin, one durable write, answer.
//!
//! The one write (to SQS) stands before the answer and nothing else does, so there is no half-done state: either the
//! delivery is on the queue, or the provider hears an error and comes again.

mod doors;
mod event;
#[cfg(feature = "schema")]
pub mod openapi;

use std::sync::Arc;
use std::time::Instant;

use doors::OpenDoor;
use jiff::Timestamp;
use shared::domain::{ConfigurationId, Environment, ProviderKind, TenantScope};
use shared::problem::{Problem, is_json};
use shared::providers::{Application, Doorbell, Providers, VerifiedDelivery, WebhookDelivery, WebhookSecret};
use shared::queue::SendError;
use shared::queue::intake::IntakeQueue;
use shared::secrets::Applications;
use shared::telemetry::{Line, TraceParent, metrics};
use zeroize::Zeroizing;

pub use doors::{Desk, Doors};
pub use event::{Request, Response};

/// Larger than any order we have heard of (Toast's exceed 600 KB), smaller than what Lambda takes as an event.
const MAX_BODY: usize = 5 * 1024 * 1024;

/// What a delivery needs, made once per execution environment.
pub struct App {
    /// Who can prove and read a delivery.
    pub providers: Providers,
    /// Our application at each provider: its subscriptions' keys prove what comes to the URL that all share.
    pub applications: Applications,
    /// What proves the rest.
    pub doors: Doors,
    /// Where deliveries go.
    pub intake: IntakeQueue,
}

/// Answers one delivery. One log line each.
pub async fn receive(app: &App, request: Request) -> Response {
    let started = Instant::now();
    let trace = TraceParent::from_header(request.headers.get("traceparent"));
    let mut line = Line::begin("webhook").traced(&trace);
    let result = take(app, &request, &trace).await;
    let (status, code) =
        result.as_ref().map_or_else(|problem| (problem.status(), problem.code()), |_| (200, "accepted"));
    metrics::webhook_received(request.provider_name(), code);
    metrics::request_answered(status, started.elapsed());
    line.request_id = Some(request.request_id().to_owned());
    line.provider = request.provider_name().parse().ok().map(ProviderKind::as_str);
    (line.status, line.bytes) = (Some(status), Some(request.body_len()));
    if let Ok(taken) = &result {
        (line.event_id, line.merchant_id) = (Some(taken.event_id.clone()), Some(taken.merchant_id.clone()));
    }
    let outcome = if result.is_ok() { "accepted" } else { "refused" };
    line.ended(outcome, if result.is_ok() { "" } else { code }).end("answered a delivery");
    match result {
        Ok(_) => Response::accepted(),
        Err(problem) => Response::problem(&problem, request.request_id()),
    }
}

/// What is known of a delivery that was taken; both empty for one that is authentic and not to be read.
#[derive(Default)]
struct Taken {
    event_id: String,
    merchant_id: String,
}

async fn take(app: &App, request: &Request, trace: &TraceParent) -> Result<Taken, Problem> {
    let kind: ProviderKind = request.provider_name().parse().map_err(|_| Problem::not_found("provider"))?;
    if request.body_len() > MAX_BODY {
        return Err(Problem::body_too_large(MAX_BODY));
    }
    if !request.headers.get("content-type").is_some_and(is_json) {
        return Err(Problem::unsupported_media_type());
    }
    let body = request.body().ok_or_else(Problem::malformed_json)?;
    let delivery = WebhookDelivery {
        headers: &request.headers,
        body: &body,
        received_at: Timestamp::now(),
        environment: Environment::Production,
    };
    let started = Instant::now();
    let proven = match request.configuration_id() {
        None => verify(app, kind, delivery).await.map(|verified| (verified, None)),
        Some(id) => verify_at_door(app, kind, id, delivery).await.map(|(verified, scope)| (verified, Some(scope))),
    };
    metrics::webhook_verified(kind, started.elapsed());
    let (verified, owner) = proven?;
    let owner = owner.as_ref().zip(request.configuration_id().and_then(|id| id.parse().ok()));
    // An authentic delivery that cannot be read is taken all the same and shown as failed: a refusal would only make
    // the provider repeat it, and some then stop the whole subscription.
    let taken = match app.providers.doorbell(kind).parse_notification(&verified) {
        Ok(notification) => {
            Taken { event_id: notification.event_id.to_string(), merchant_id: notification.origin.as_str().to_owned() }
        }
        Err(error) => {
            tracing::warn!(provider = %kind, error = %error, "took a delivery that cannot be read");
            Taken::default()
        }
    };
    let fairness_key = fairness_key(kind, &taken.merchant_id);
    match app.intake.send_delivery(&verified, owner, &fairness_key, trace).await {
        Ok(()) => Ok(taken),
        Err(SendError::TooLarge) => {
            tracing::error!(provider = %kind, bytes = body.len(), "a delivery is larger than the queue carries");
            Err(Problem::body_too_large(MAX_BODY))
        }
        Err(SendError::Aws(error)) => {
            tracing::error!(error = ?error, "a delivery could not be enqueued");
            Err(Problem::unavailable())
        }
    }
}

/// A message group id has at most 128 characters, and no tenant is known here.
fn fairness_key(kind: ProviderKind, merchant_id: &str) -> String {
    format!("{kind}:{}", merchant_id.get(..100).unwrap_or(merchant_id))
}

/// Checks with the keys that we hold, once more with fresh ones, then with those before the last rotation: a key that
/// was just rotated is the usual reason for a signature that does not match.
async fn verify<'d>(
    app: &App,
    kind: ProviderKind,
    delivery: WebhookDelivery<'d>,
) -> Result<VerifiedDelivery<'d>, Problem> {
    let provider = app.providers.doorbell(kind);
    let unavailable = |error| {
        tracing::error!(error = ?error, "the webhook keys could not be read");
        Problem::unavailable()
    };
    let secret = app.applications.secret(kind);
    let check = |keys: &Arc<Application>| provider.verify_webhook(delivery, &keys.webhook_subscriptions).ok();
    let held = secret.get().await.map_err(unavailable)?;
    if let Some(verified) = check(&held) {
        return Ok(verified);
    }
    if let Some(fresh) = secret.reload(&held).await.map_err(unavailable)?
        && let Some(verified) = check(&fresh)
    {
        return Ok(verified);
    }
    let previous = secret.previous().await.map_err(unavailable)?;
    previous.as_ref().and_then(check).ok_or_else(unproven)
}

/// Checks with a configuration's own secrets. A door that does not exist is answered like a wrong signature, after the
/// same work.
async fn verify_at_door<'d>(
    app: &App,
    kind: ProviderKind,
    id: &str,
    delivery: WebhookDelivery<'d>,
) -> Result<(VerifiedDelivery<'d>, TenantScope), Problem> {
    let provider = app.providers.doorbell(kind);
    let Ok(id) = id.parse::<ConfigurationId>() else { return Err(refuse_nobodys(provider, delivery)) };
    let unavailable = |error| {
        tracing::error!(error = ?error, "a configuration's webhook secrets could not be read");
        Problem::unavailable()
    };
    let is_theirs = |door: &Arc<OpenDoor>| door.provider == kind;
    let check = |door: &Arc<OpenDoor>| {
        let delivery = WebhookDelivery { environment: door.environment, ..delivery };
        let verified = provider.verify_webhook(delivery, &door.secrets).ok()?;
        Some((verified, door.scope.clone()))
    };
    let door = app.doors.find(id).await.map_err(unavailable)?.filter(is_theirs);
    if let Some(proven) = door.as_ref().and_then(check) {
        return Ok(proven);
    }
    let door = app.doors.reload(id).await.map_err(unavailable)?.filter(is_theirs);
    if let Some(proven) = door.as_ref().and_then(check) {
        return Ok(proven);
    }
    match door {
        Some(door) => {
            app.doors.count_failure(&door, id).await;
            Err(unproven())
        }
        None => Err(refuse_nobodys(provider, delivery)),
    }
}

/// Compares with a key of nobody, so that the time does not tell whether there is a door.
fn refuse_nobodys(provider: &dyn Doorbell, delivery: WebhookDelivery<'_>) -> Problem {
    let decoy = WebhookSecret {
        id: String::new(),
        notification_url: "https://example.com".to_owned(),
        signature_key: Zeroizing::new("a key of nobody".to_owned()),
        not_before: None,
        not_after: Some(Timestamp::MIN),
    };
    let _ = provider.verify_webhook(delivery, &[decoy]);
    unproven()
}

fn unproven() -> Problem {
    Problem::unauthorized("the delivery is not signed as it should be")
}
