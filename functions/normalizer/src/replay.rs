//! A delivery that has ended is worked on once more, because somebody has removed what stood in its way.
//!
//! Its body comes from the webhook log. What a replay has made of it stands in two places: the delivery's row, whose
//! outcome it becomes, and the replay's own, which tell how far it is. Each is written once for each replay, so a message
//! that comes again does nothing more.

use std::time::Instant;

use jiff::Timestamp;
use shared::domain::{Code, ConfigurationStatus, Replayed};
use shared::queue::SqsMessage;
use shared::queue::intake::ReplayMessage;
use shared::store::configurations::SealedConfiguration;
use shared::store::webhook_logs::{LogOwner, LoggedDelivery, Outcome, ReplayEnd};
use shared::telemetry::Line;

use crate::batch::{Batch, Ended, Lead};
use crate::work::{Later, Stop, Work, attempt};

/// Somebody waits for the answer: after so many attempts, some three hours, it is that it does not go.
const MOST_ATTEMPTS: u32 = 20;

impl Batch<'_> {
    /// Works on a delivery once more, or says that the message must come again. One log line.
    pub(crate) async fn take_replay(&mut self, message: &ReplayMessage, carrier: &SqsMessage) -> Result<(), Later> {
        let ReplayMessage { scope, configuration_id, order, trace } = message;
        let attempt = attempt(carrier);
        let mut line = Line::begin("replay").of(scope.tenant_id(), *configuration_id).traced(trace);
        (line.attempt, line.message_id) = (Some(attempt), carrier.message_id.clone());
        (line.event_id, line.run_id) = (Some(order.event_id.to_string()), Some(order.replay_id.to_string()));
        let found = self.configuration(Lead::Owner(scope.clone(), *configuration_id)).await?;
        let found = found.filter(|found| found.configuration.status != ConfigurationStatus::Deleting);
        let Some(found) = found else {
            line.ended("dropped", "").end("worked on a replay");
            return Ok(());
        };
        line.provider = Some(found.configuration.provider.as_str());
        let replayed = match self.replay_once(message, &found, attempt).await {
            Ok(replayed) => replayed,
            Err(later) => {
                line.ended("later", later.code.as_str()).end("a replay must come again");
                return Err(later);
            }
        };
        let logs = &self.app.connections.sync_logs;
        logs.put_replayed(scope, *configuration_id, &order.event_id, &replayed).await?;
        line.ended(replayed.outcome.as_str(), replayed.code.unwrap_or_default()).end("worked on a replay");
        Ok(())
    }

    /// What the replay has made of the delivery, now or when its message came before.
    async fn replay_once(
        &mut self,
        message: &ReplayMessage,
        found: &SealedConfiguration,
        attempt: u32,
    ) -> Result<Replayed, Later> {
        let (started, order) = (Instant::now(), &message.order);
        let replayed = |outcome: &Outcome| {
            let (outcome, code) = outcome.words();
            let (replay_id, by, code) = (order.replay_id, order.by.clone(), code.map(String::from));
            Replayed { replay_id, by, at: Timestamp::now(), outcome, code }
        };
        let owner = LogOwner::Configuration(message.scope.clone(), message.configuration_id);
        let Some(logged) = self.app.logs.find(&owner, &order.event_id).await? else {
            return Ok(replayed(&Outcome::Failed { code: Code::Expired, detail: String::new() }));
        };
        if let Some(done) = logged.replays.iter().find(|done| done.replay_id == order.replay_id) {
            return Ok(done.clone());
        }
        let mut work = Work::again(&logged, attempt);
        let outcome = match self.replay(message, found, &logged, &mut work).await {
            Ok(_) => Outcome::Done,
            Err(Stop::Final(outcome)) => outcome,
            Err(Stop::Later(later)) if attempt < MOST_ATTEMPTS => return Err(later),
            Err(Stop::Later(later)) => {
                Outcome::Failed { code: later.code, detail: "it was tried again and again, for hours".to_owned() }
            }
        };
        let replayed = replayed(&outcome);
        let (worked_for, caused, steps) = (started.elapsed(), &work.caused, &work.steps);
        let end = ReplayEnd { replayed: &replayed, outcome: &outcome, worked_for, caused, steps };
        self.app.logs.record_replay(&owner, &order.event_id, &end).await?;
        Ok(replayed)
    }

    async fn replay(
        &mut self,
        message: &ReplayMessage,
        found: &SealedConfiguration,
        logged: &LoggedDelivery,
        work: &mut Work,
    ) -> Result<Ended, Stop> {
        let Some(sealed) = logged.sealed_body() else {
            let detail = "the body was too large to be kept: let its day be read again by a repair".to_owned();
            return Err(Stop::Final(Outcome::Failed { code: Code::BodyNotKept, detail }));
        };
        let place = LogOwner::Configuration(message.scope.clone(), message.configuration_id).key();
        let body = self.app.connections.bodies.open([&place, message.order.event_id.as_str()], sealed).await?;
        let delivery = message.delivery(logged, body, &found.configuration);
        let provider = self.app.connections.providers.get(found.configuration.provider);
        let notification = provider.parse_notification(&delivery)?;
        self.work_on(found, &notification, &message.trace, work).await
    }
}
