//! Work on past days: first a look at what would change, then exactly that. A remapping brings the mapping of today to what
//! was sold before; a rebuild, what this release makes of the raw orders that are kept.

use http::StatusCode;
use http::header::LOCATION;
use jiff::civil::Date;
use serde::Serialize;
use shared::domain::{ConfigurationId, JobId, PastDay, PastJob, PastState, RebuiltDay, RemappedDay};
use shared::problem::Problem;
use shared::queue::intake::Job;
use shared::rest::{Answer, Call, Cursors, Page, unavailable};
use shared::store::sync_logs::Seen;

use crate::App;
use crate::products::{configuration_id, start};

/// A year, and a day more.
const MAX_DAYS: u32 = 367;
pub(crate) const DEFAULT_PAGE: i32 = 7;

/// What is wanted.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "DaysRequest")]
#[expect(dead_code, reason = "only its shape is wanted")]
pub struct DaysBody {
    /// The first business day.
    #[schemars(with = "String", extend("format" = "date"))]
    from: Date,
    /// The last one.
    #[schemars(with = "String", extend("format" = "date"))]
    to: Date,
}

/// A kind of work on the past, as a path has it.
pub trait Kind: PastDay {
    /// What a person calls it.
    const NOUN: &'static str;
    /// Its id in a path.
    const PARAMETER: &'static str;
    /// The work that finds out what would change.
    const PREVIEW: fn(JobId) -> Job;
    /// The work that does it.
    const APPLY: fn(JobId) -> Job;
}

impl Kind for RemappedDay {
    const NOUN: &'static str = "remapping";
    const PARAMETER: &'static str = "remapping_id";
    const PREVIEW: fn(JobId) -> Job = Job::Preview;
    const APPLY: fn(JobId) -> Job = Job::Apply;
}

impl Kind for RebuiltDay {
    const NOUN: &'static str = "rebuild";
    const PARAMETER: &'static str = "rebuild_id";
    const PREVIEW: fn(JobId) -> Job = Job::PreviewRebuild;
    const APPLY: fn(JobId) -> Job = Job::ApplyRebuild;
}

/// Asks for a preview. The same `Idempotency-Key` and range: the same one.
pub async fn begin<K: Kind>(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let mut fields = call.fields()?;
    let (from, to) = (fields.required::<Date>("from"), fields.required::<Date>("to"));
    let job = call.idempotency_key()?.map_or_else(JobId::generate, |key| JobId::of_key(&call.scope, id, key));
    let wanted = from.zip(to).map(|range| PastJob::new(job, call.subject.clone(), range));
    match &wanted {
        Some(wanted) if wanted.from > wanted.to => fields.refuse("from", "is after `to`"),
        Some(wanted) if wanted.days() > MAX_DAYS => {
            fields.refuse("from", format!("is more than {MAX_DAYS} days before `to`: ask for less at a time"));
        }
        _ => {}
    }
    fields.finish()?;
    let mut wanted = wanted.ok_or_else(Problem::internal)?;
    let is_new = app.sync_logs.save_past_job::<K>(&call.scope, id, &wanted, None).await;
    if !is_new.map_err(|error| unavailable(&error))? {
        let seen = find::<K>(app, call, id, job).await?.job;
        if (seen.from, seen.to) != (wanted.from, wanted.to) {
            return Err(Problem::idempotency_key_reused());
        }
        wanted = seen;
    }
    if wanted.state == PastState::Previewing {
        start(app, call, id, K::PREVIEW(job)).await?;
    }
    let location = format!("{}/{job}", call.path());
    Ok(Answer::json(StatusCode::ACCEPTED, &wanted)?.header(LOCATION, location))
}

/// Shows how far one is.
pub async fn get<K: Kind>(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let job = call.path_id(K::PARAMETER, K::NOUN)?;
    Answer::json(StatusCode::OK, &find::<K>(app, call, id, job).await?.job)
}

/// Shows what it changes, day by day.
pub async fn list_days<K: Kind + Serialize>(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let job: JobId = call.path_id(K::PARAMETER, K::NOUN)?;
    find::<K>(app, call, id, job).await?;
    let key = app.cursor_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, format!("{} {id} {job}", K::NOUN));
    let mut parameters = call.parameters();
    let (limit, start_after) = (parameters.limit(DEFAULT_PAGE), parameters.cursor(&cursors));
    parameters.finish()?;
    let found = app.sync_logs.list_past_days::<K>(&call.scope, id, job, limit, start_after).await;
    let found = found.map_err(|error| unavailable(&error))?;
    let next_cursor = found.next.map(|last| cursors.write(&last)).transpose()?;
    Answer::json(StatusCode::OK, &Page { items: found.items, next_cursor })
}

/// Agrees to what was shown. Saying so again does nothing more.
pub async fn apply<K: Kind>(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let job: JobId = call.path_id(K::PARAMETER, K::NOUN)?;
    let seen = find::<K>(app, call, id, job).await?;
    let agreed = match seen.job.state {
        PastState::Previewing => {
            return Err(Problem::conflict("it is still being found out what would change: look at it first"));
        }
        PastState::Previewed => {
            let agreed = PastJob { state: PastState::Applying, ..seen.job.clone() };
            let saved = app.sync_logs.save_past_job::<K>(&call.scope, id, &agreed, Some(&seen)).await;
            if !saved.map_err(|error| unavailable(&error))? {
                return Err(Problem::conflict("somebody has said the same at the same moment: look at it again"));
            }
            agreed
        }
        PastState::Applying | PastState::Applied => seen.job,
    };
    if agreed.state == PastState::Applying {
        start(app, call, id, K::APPLY(job)).await?;
    }
    let location = call.path().trim_end_matches("/apply").to_owned();
    Ok(Answer::json(StatusCode::ACCEPTED, &agreed)?.header(LOCATION, location))
}

async fn find<K: Kind>(app: &App, call: &Call, id: ConfigurationId, job: JobId) -> Result<Seen<PastJob>, Problem> {
    let found = app.sync_logs.find_past_job::<K>(&call.scope, id, job).await.map_err(|error| unavailable(&error))?;
    found.ok_or_else(|| Problem::not_found(K::NOUN))
}
