//! Many mappings at once, and work on the past: what a mapping changes of it, and what this release makes of it.
//!
//! One message is one job. It comes again until the job is done: after a crash, or when no time is left. Each part can be
//! done twice, and the job's own row says how far it is.

mod rebuild;
mod remap;

use std::time::{Duration, Instant};

use jiff::civil::Date;
use shared::domain::{Code, ConfigurationStatus, Import, JobId, PastDay, PastJob, PastState};
use shared::queue::SqsMessage;
use shared::queue::intake::{Job, JobMessage};
use shared::store::configurations::SealedConfiguration;
use shared::telemetry::Line;

use crate::App;
use crate::batch::{Batch, Lead};
use crate::work::{Later, attempt};
use rebuild::Rebuild;
use remap::Remap;

/// The largest part of a job that is not cut: a look at a day, or a shop's, or a thousand mappings.
const ROOM: Duration = Duration::from_secs(5);
/// The queue gives a message up after a hundred attempts. A job that has taken so many goes on in a new one.
const MOST_ATTEMPTS: u32 = 50;

impl Batch<'_> {
    /// Takes a job to its end, or as far as there is time. One log line each time.
    pub(crate) async fn take_job(&mut self, message: &JobMessage, carrier: &SqsMessage) -> Result<(), Later> {
        let JobMessage { scope, configuration_id, job, trace } = message;
        let attempt = attempt(carrier);
        let mut line = Line::begin("job").of(scope.tenant_id(), *configuration_id).traced(trace);
        (line.attempt, line.message_id) = (Some(attempt), carrier.message_id.clone());
        line.kind = Some(match job {
            Job::Import(_) => "import",
            Job::Preview(_) => "preview",
            Job::Apply(_) => "apply",
            Job::PreviewRebuild(_) => "preview_rebuild",
            Job::ApplyRebuild(_) => "apply_rebuild",
        });
        let found = self.configuration(Lead::Owner(scope.clone(), *configuration_id)).await?;
        let found = found.filter(|found| found.configuration.status != ConfigurationStatus::Deleting);
        let Some(found) = found else {
            line.ended("dropped", "").end("worked on a job");
            return Ok(());
        };
        let work = Work { app: self.app, found: &found, deadline: self.deadline(), message, attempt };
        let ended = match job {
            Job::Import(id) => work.import(*id).await?,
            Job::Preview(id) => work.past(Remap::default(), *id, PastState::Previewing).await?,
            Job::Apply(id) => work.past(Remap::default(), *id, PastState::Applying).await?,
            Job::PreviewRebuild(id) => work.past(Rebuild, *id, PastState::Previewing).await?,
            Job::ApplyRebuild(id) => work.past(Rebuild, *id, PastState::Applying).await?,
        };
        let (outcome, reason) = match ended {
            Ended::Done => ("done", ""),
            Ended::Gone => ("dropped", ""),
            Ended::OutOfTime => ("later", Code::OutOfTime.as_str()),
        };
        line.ended(outcome, reason).end("worked on a job");
        match ended {
            Ended::Done | Ended::Gone => Ok(()),
            Ended::OutOfTime if attempt < MOST_ATTEMPTS => Err(Later::at_once(Code::OutOfTime)),
            Ended::OutOfTime => {
                let sent = self.app.intake_backfill.send_job(scope, *configuration_id, *job, trace).await;
                sent.map_err(|error| {
                    tracing::error!(error = ?error, "a job could not be sent on");
                    Later::unexpected(Code::QueueUnavailable)
                })
            }
        }
    }
}

/// How far the work on a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Nothing is left to do.
    Done,
    /// There is no such job any more.
    Gone,
    /// It goes on when the message comes again.
    OutOfTime,
}

struct Work<'w> {
    app: &'w App,
    found: &'w SealedConfiguration,
    deadline: Instant,
    message: &'w JobMessage,
    attempt: u32,
}

impl Work<'_> {
    fn has_time(&self) -> bool {
        self.deadline.saturating_duration_since(Instant::now()) > ROOM
    }

    async fn import(&self, id: JobId) -> Result<Ended, Later> {
        let (scope, configuration) = (&self.found.scope, self.found.configuration.id);
        let logs = &self.app.connections.sync_logs;
        loop {
            let Some(seen) = logs.find_import(scope, configuration, id).await? else { return Ok(Ended::Gone) };
            if seen.job.is_done() {
                return Ok(Ended::Done);
            }
            if !self.has_time() {
                return Ok(Ended::OutOfTime);
            }
            let part = logs.load_import_part(scope, configuration, (id, seen.job.parts_done)).await?;
            let said = (seen.job.by.as_str(), seen.job.at);
            let changed = self.app.products.mappings().map(scope, configuration, &part, said).await?;
            let next = Import {
                rows_done: seen.job.rows_done + u64::try_from(part.len()).unwrap_or(0),
                changed: seen.job.changed + changed,
                parts_done: seen.job.parts_done + 1,
                ..seen.job.clone()
            };
            logs.save_import(scope, configuration, &next, Some(&seen)).await?;
        }
    }

    async fn past<P: Past>(&self, mut kind: P, id: JobId, wanted: PastState) -> Result<Ended, Later> {
        let (scope, configuration) = (&self.found.scope, self.found.configuration.id);
        let logs = &self.app.connections.sync_logs;
        loop {
            let seen = logs.find_past_job::<P::Day>(scope, configuration, id).await?;
            let Some(seen) = seen else { return Ok(Ended::Gone) };
            let job = &seen.job;
            if job.state != wanted {
                return Ok(Ended::Done);
            }
            if !self.has_time() {
                return Ok(Ended::OutOfTime);
            }
            let next = match (job.next_day(), wanted) {
                (Some(day), PastState::Applying) => match kind.apply(self, job, day).await? {
                    Some(next) => next,
                    None => return Ok(Ended::OutOfTime),
                },
                (Some(day), _) => kind.preview(self, job, day).await?,
                (None, PastState::Applying) => PastJob { state: PastState::Applied, ..job.clone() },
                (None, _) => PastJob { state: PastState::Previewed, ..job.clone() },
            };
            logs.save_past_job::<P::Day>(scope, configuration, &next, Some(&seen)).await?;
        }
    }
}

/// A kind of work on the past: a step of it is a day, or a shop's day, and can be done again.
trait Past {
    /// What it keeps of a day.
    type Day: PastDay;

    /// Finds out what would change, and writes it down. Answers how far the job is then.
    async fn preview(&mut self, work: &Work<'_>, job: &PastJob, day: Date) -> Result<PastJob, Later>;

    /// Does what was shown, or nothing. `None`: there was no time for all of it.
    async fn apply(&mut self, work: &Work<'_>, job: &PastJob, day: Date) -> Result<Option<PastJob>, Later>;
}
