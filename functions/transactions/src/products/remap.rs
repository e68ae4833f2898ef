//! Bringing the mapping of today to what was sold before: first a look at what would change, then exactly that.

use http::StatusCode;
use http::header::LOCATION;
use jiff::Timestamp;
use jiff::civil::Date;
use shared::domain::{ConfigurationId, MappingJobId, Remapping, RemappingState};
use shared::problem::Problem;
use shared::queue::intake::MappingJob;
use shared::rest::{Answer, Call, Cursors, Page, unavailable};
use shared::store::sync_logs::Seen;

use super::{configuration_id, start};
use crate::App;

/// A year, and a day more.
const MAX_DAYS: u32 = 367;
pub(crate) const DEFAULT_PAGE: i32 = 7;

/// What is wanted.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "RemappingRequest")]
#[expect(dead_code, reason = "only its shape is wanted")]
pub struct RemappingBody {
    /// The first business day.
    #[schemars(with = "String", extend("format" = "date"))]
    from: Date,
    /// The last one.
    #[schemars(with = "String", extend("format" = "date"))]
    to: Date,
}

/// Asks for a preview. The same `Idempotency-Key` and range: the same one.
pub async fn begin(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let mut fields = call.fields()?;
    let (from, to) = (fields.required::<Date>("from"), fields.required::<Date>("to"));
    let job =
        call.idempotency_key()?.map_or_else(MappingJobId::generate, |key| MappingJobId::of_key(&call.scope, id, key));
    let remapping = from.zip(to).map(|(from, to)| Remapping {
        id: job,
        by: call.subject.clone(),
        at: Timestamp::now(),
        state: RemappingState::Previewing,
        from,
        to,
        days_previewed: 0,
        days_applied: 0,
        transactions: 0,
        transactions_applied: 0,
        days_skipped: 0,
    });
    match &remapping {
        Some(wanted) if wanted.from > wanted.to => fields.refuse("from", "is after `to`"),
        Some(wanted) if wanted.days() > MAX_DAYS => {
            fields.refuse("from", format!("is more than {MAX_DAYS} days before `to`: ask for less at a time"));
        }
        _ => {}
    }
    fields.finish()?;
    let mut remapping = remapping.ok_or_else(Problem::internal)?;
    let logs = &app.sync_logs;
    let is_new = logs.save_remapping(&call.scope, id, &remapping, None).await.map_err(|error| unavailable(&error))?;
    if !is_new {
        let seen = find(app, call, id, job).await?.job;
        if (seen.from, seen.to) != (remapping.from, remapping.to) {
            return Err(Problem::idempotency_key_reused());
        }
        remapping = seen;
    }
    if remapping.state == RemappingState::Previewing {
        start(app, call, id, MappingJob::Preview(job)).await?;
    }
    let location = format!("{}/{job}", call.path());
    Ok(Answer::json(StatusCode::ACCEPTED, &remapping)?.header(LOCATION, location))
}

/// Shows how far one is.
pub async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let job = call.path_id("remapping_id", "remapping")?;
    Answer::json(StatusCode::OK, &find(app, call, id, job).await?.job)
}

/// Shows what it changes, day by day.
pub async fn list_days(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let job: MappingJobId = call.path_id("remapping_id", "remapping")?;
    find(app, call, id, job).await?;
    let key = app.cursor_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, format!("remapping {id} {job}"));
    let mut parameters = call.parameters();
    let (limit, start_after) = (parameters.limit(DEFAULT_PAGE), parameters.cursor(&cursors));
    parameters.finish()?;
    let found = app.sync_logs.list_remapped_days(&call.scope, id, job, limit, start_after).await;
    let found = found.map_err(|error| unavailable(&error))?;
    let next_cursor = found.next.map(|last| cursors.write(&last)).transpose()?;
    Answer::json(StatusCode::OK, &Page { items: found.items, next_cursor })
}

/// Agrees to what was shown. Saying so again does nothing more.
pub async fn apply(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let job: MappingJobId = call.path_id("remapping_id", "remapping")?;
    let seen = find(app, call, id, job).await?;
    let remapping = match seen.job.state {
        RemappingState::Previewing => {
            return Err(Problem::conflict("it is still being found out what would change: look at it first"));
        }
        RemappingState::Previewed => {
            let agreed = Remapping { state: RemappingState::Applying, ..seen.job.clone() };
            let saved = app.sync_logs.save_remapping(&call.scope, id, &agreed, Some(&seen)).await;
            if !saved.map_err(|error| unavailable(&error))? {
                return Err(Problem::conflict("somebody has said the same at the same moment: look at it again"));
            }
            agreed
        }
        RemappingState::Applying | RemappingState::Applied => seen.job,
    };
    if remapping.state == RemappingState::Applying {
        start(app, call, id, MappingJob::Apply(job)).await?;
    }
    let location = call.path().trim_end_matches("/apply").to_owned();
    Ok(Answer::json(StatusCode::ACCEPTED, &remapping)?.header(LOCATION, location))
}

async fn find(app: &App, call: &Call, id: ConfigurationId, job: MappingJobId) -> Result<Seen<Remapping>, Problem> {
    let found = app.sync_logs.find_remapping(&call.scope, id, job).await.map_err(|error| unavailable(&error))?;
    found.ok_or_else(|| Problem::not_found("remapping"))
}
