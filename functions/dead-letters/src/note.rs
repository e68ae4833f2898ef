//! Rows for deliveries that were given up: every delivery that was answered 2xx ends in its tenant's log.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use shared::domain::{Code, ConfigurationStatus, EventId};
use shared::providers::Origin;
use shared::queue::dead_letters::{DeadLetter, DeadLetters};
use shared::queue::intake::{self, IntakeMessage};
use shared::store::webhook_logs::{LogOwner, LogRow, Outcome, Steps};
use shared::telemetry::metrics;

use crate::{App, TickError};

/// Messages whose rows are written in one tick.
const MOST: usize = 1_000;
/// More ids than this are not remembered.
const MOST_NOTED: usize = 20_000;

/// Writes the rows that are missing, of so many messages. How many those were.
pub async fn note(app: &App, letters: &DeadLetters, visible: u64, deadline: Instant) -> Result<u64, TickError> {
    let known = |id: &str| app.noted.lock().unwrap_or_else(PoisonError::into_inner).contains(id);
    let mut room = MOST;
    let found = letters.look(visible, deadline, |letter| {
        let is_new = room > 0 && !known(letter.id());
        room -= usize::from(is_new);
        is_new.then_some(letter)
    });
    let mut written = 0;
    for letter in found.await? {
        written += u64::from(note_one(app, &letter).await?);
        remember(app, letter.id());
    }
    Ok(written)
}

fn remember(app: &App, id: &str) {
    let mut noted = app.noted.lock().unwrap_or_else(PoisonError::into_inner);
    if noted.len() >= MOST_NOTED {
        noted.clear();
    }
    noted.insert(id.to_owned());
}

async fn note_one(app: &App, letter: &DeadLetter) -> Result<bool, TickError> {
    // Pages belong to a run, which says itself what is missing; jobs wait. What cannot be read is only counted.
    let Ok(IntakeMessage::Delivery(message)) = intake::decode(&letter.message) else { return Ok(false) };
    let delivery = &message.delivery;
    let parsed = app.providers.doorbell(delivery.provider()).parse_notification(delivery).ok();
    let unmatched = LogOwner::Unmatched(delivery.provider());
    let owner = match (message.owner, parsed.as_ref().map(|notification| &notification.origin)) {
        (Some((scope, id)), Some(_)) => match app.configurations.find(&scope, id).await? {
            Some(found) if found.status != ConfigurationStatus::Deleting => LogOwner::Configuration(scope, id),
            // A log that is purged, or was, gets no row.
            Some(_) | None => return Ok(false),
        },
        (None, Some(origin @ (Origin::Merchant(_) | Origin::Location(_)))) => {
            let (provider, environment) = (delivery.provider(), delivery.environment());
            let found = app.configurations.find_by_account(provider, environment, origin.as_str()).await?;
            match found {
                Some(found) if found.configuration.status == ConfigurationStatus::Deleting => return Ok(false),
                Some(found) => LogOwner::Configuration(found.scope, found.configuration.id),
                None => unmatched,
            }
        }
        (_, None) | (None, Some(Origin::Url)) => unmatched,
    };
    let event_id = parsed.as_ref().map_or_else(|| EventId::hash_of(delivery.body()), |read| read.event_id.clone());
    let outcome = Outcome::Dead { code: Code::GivenUp, detail: letter.reason.clone() };
    let sealed = app.bodies.seal([&owner.key(), event_id.as_str()], delivery.body()).await?;
    let row = LogRow {
        owner: &owner,
        event_id: &event_id,
        event_type: parsed.as_ref().map(|notification| notification.event_type.as_str()),
        received_at: delivery.received_at(),
        worked_for: Duration::ZERO,
        attempt: shared::queue::attempt(&letter.message),
        secret_id: delivery.secret_id(),
        sealed_body: &sealed,
        body_bytes: delivery.body().len(),
        outcome: &outcome,
        caused: &[],
        steps: &Steps::default(),
    };
    let is_new = app.logs.record_dead(&row).await?;
    if is_new {
        metrics::delivery_ended(delivery.provider(), "dead", "");
    }
    Ok(is_new)
}
