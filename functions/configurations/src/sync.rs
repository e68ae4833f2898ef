//! Runs that a caller asks for, looks at, or does not want any more. The worker does them; this function never reads a
//! till.

use std::collections::BTreeSet;

use http::StatusCode;
use http::header::LOCATION;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use shared::domain::{
    Configuration, ConfigurationId, LocationId, Run, RunId, SyncKind, SyncRange, SyncRequest, TenantScope, Trigger,
};
use shared::problem::Problem;
use shared::queue::sync_jobs::SyncJob;
use shared::rest::{Answer, Call, Cursors, Fields, refused_change, require_readable, unavailable};
use shared::store::configurations::CommitError;
use shared::store::sync_logs::{Lane, PageRow};
use shared::telemetry::TraceParent;

use crate::sync_view::{CancelledView, LocationView, RunView, StatusView};
use crate::{App, Repeat, find, find_to_change};

pub(crate) const DEFAULT_PAGE: i32 = 20;
/// The most days that one run reads: five years.
pub(crate) const MAX_DAYS: i32 = 1825;
/// The most pages of a running run that are counted here; the worker counts all of them as it goes on.
const MAX_PAGES: i32 = 1000;
/// How often a lane may become free or taken while we look at it.
const ATTEMPTS: u32 = 3;

/// Which run is wanted.
pub struct Wanted {
    range: Option<SyncRange>,
    locations: Option<Vec<LocationId>>,
}

/// Reads the whole request. `today` is the latest date that there is anywhere.
pub fn read(fields: &mut Fields, today: Date) -> Wanted {
    match fields.required::<SyncKind>("kind") {
        Some(kind) => read_kind(fields, kind, today),
        None => {
            // Not to be called unknown beside a kind that is.
            let _: [Option<serde::de::IgnoredAny>; 4] =
                ["from", "to", "day", "locations"].map(|name| fields.optional(name));
            Wanted { range: None, locations: None }
        }
    }
}

pub(crate) fn read_kind(fields: &mut Fields, kind: SyncKind, today: Date) -> Wanted {
    let range = match kind {
        SyncKind::Incremental => Some(SyncRange::Incremental),
        SyncKind::Backfill => {
            let days = (read_day(fields, "from", today), read_day(fields, "to", today));
            if let (Some(from), Some(to)) = days {
                if from > to {
                    fields.refuse("from", "is after `to`");
                } else if (to - from).get_days() > MAX_DAYS {
                    fields.refuse("from", format!("is more than {MAX_DAYS} days before `to`: ask for less at a time"));
                }
            }
            days.0.zip(days.1).map(|(from, to)| SyncRange::Backfill { from, to })
        }
        SyncKind::Repair => read_day(fields, "day", today).map(|day| SyncRange::Repair { day }),
        SyncKind::Catalog => Some(SyncRange::Catalog),
    };
    // A catalogue is the merchant's, not a shop's.
    let locations = if kind == SyncKind::Catalog { None } else { fields.optional("locations") };
    Wanted { range, locations }
}

fn read_day(fields: &mut Fields, name: &str, today: Date) -> Option<Date> {
    let text = fields.required::<String>(name)?;
    // The parser takes a time of day, too, and forgets it.
    let day = text.parse::<Date>().ok().filter(|_| text.len() == "2026-11-28".len());
    if day.is_none() {
        fields.refuse(name, "must be a date, YYYY-MM-DD");
    }
    let day = day?;
    if day > today {
        fields.refuse(name, "is in the future");
    }
    Some(day)
}

/// Notes shops that the merchant does not have, and those that are named twice.
fn check_locations(fields: &mut Fields, locations: &[LocationId], configuration: &Configuration) {
    if locations.is_empty() {
        fields.refuse("locations", "names no shop: leave it out for all of them");
    }
    let mut seen = BTreeSet::new();
    for (index, location) in locations.iter().enumerate() {
        if !seen.insert(location) {
            fields.refuse_element("locations", index, "is named already");
        } else if configuration.merchant.is_some() && configuration.location(location).is_none() {
            fields.refuse_element("locations", index, "is no shop of this merchant");
        }
    }
}

/// Begins a run. While one of its kind is under way, the same request is answered with that one.
pub async fn begin(app: &App, call: &Call, repeat: Repeat<'_>) -> Result<Answer, Problem> {
    let configuration = find_to_change(app, call).await?;
    let now = Timestamp::now();
    let mut fields = call.fields()?;
    // No zone is further ahead than a day.
    let Wanted { range, locations } = read(&mut fields, now.to_zoned(TimeZone::UTC).date().saturating_add(1.day()));
    if let Some(locations) = &locations {
        check_locations(&mut fields, locations, &configuration);
    }
    fields.finish()?;
    require_readable(&configuration)?;
    let range = range.ok_or_else(Problem::internal)?;
    let request = SyncRequest { range, locations: locations.unwrap_or_default().into_iter().collect() };

    let actor = call.actor();
    for _ in 0..ATTEMPTS {
        let trigger = Trigger::Request { subject: call.subject.clone() };
        let run = Run::new(request.clone(), trigger, configuration.epoch, now);
        let answer = accepted(call, &RunView::new(&run, false, &[], now))?;
        let remembered = answer.remembered(repeat);
        match app.changes.begin_run(&call.scope, &actor, &configuration, &run, remembered).await {
            Ok(()) => {
                call_workers(app, (&call.scope, &call.trace()), configuration.id, [&run]).await;
                return Ok(answer);
            }
            Err(CommitError::Busy) => {}
            Err(error) => return Err(refused_change(error)),
        }
        let lane = app.sync_logs.find_lane(&call.scope, configuration.id, request.kind()).await;
        let Some(lane) = lane.map_err(|error| unavailable(&error))? else { continue };
        let Some(running) = &lane.run else { continue };
        if running.request != request {
            return Err(Problem::conflict(&format!(
                "the {} run {} is under way with another request: wait for it, or cancel it",
                request.kind(),
                running.id
            )));
        }
        let pages = pages_of(app, call, &configuration, running).await?;
        let answer = accepted(call, &RunView::new(running, lane.is_cancelled, &pages, now))?;
        let remembered = answer.remembered(repeat);
        let kept = app.changes.remember_answer(&call.scope, &configuration, remembered).await;
        return kept.map(|()| answer).map_err(refused_change);
    }
    Err(refused_change(CommitError::Busy))
}

fn accepted(call: &Call, run: &RunView<'_>) -> Result<Answer, Problem> {
    let location = format!("{}/status?run_id={}", call.path(), run.id());
    Ok(Answer::json(StatusCode::ACCEPTED, run)?.header(LOCATION, location))
}

/// Lets these runs be worked on at once. If the queue is away, the schedule finds them in a minute or two.
pub async fn call_workers<'a>(
    app: &App,
    (scope, trace): (&TenantScope, &TraceParent),
    id: ConfigurationId,
    runs: impl IntoIterator<Item = &'a Run>,
) {
    let jobs: Vec<SyncJob> = runs.into_iter().map(|run| SyncJob::of(scope, id, run, trace)).collect();
    if let Err(error) = app.jobs.send_many(&jobs).await {
        tracing::warn!(configuration.id = %id, error = ?error, "runs wait for the schedule");
    }
}

/// Lets the next incremental run begin no later than a shorter interval says. If this fails, the old one ends first.
pub async fn hurry(app: &App, call: &Call, configuration: &Configuration) {
    let latest = Timestamp::now() + SignedDuration::from_mins(i64::from(configuration.sync.interval_minutes));
    let moved = async {
        let lane = app.sync_logs.find_lane(&call.scope, configuration.id, SyncKind::Incremental).await?;
        match lane.filter(|lane| lane.run.is_none() && lane.due_at.is_some_and(|due_at| due_at > latest)) {
            Some(lane) => app.sync_logs.move_due(&call.scope, configuration.id, &lane, latest).await,
            None => Ok(false),
        }
    };
    if let Err(error) = moved.await {
        tracing::warn!(configuration.id = %configuration.id, error = ?error, "the next run keeps its old time");
    }
}

/// A run under way.
struct Running<'a> {
    run: &'a Run,
    is_cancelled: bool,
    /// Rows that the run itself does not count yet.
    pages: Vec<PageRow>,
}

impl Running<'_> {
    fn show(&self, now: Timestamp) -> RunView<'_> {
        RunView::new(self.run, self.is_cancelled, &self.pages, now)
    }
}

/// The runs that stand in these lanes.
async fn running<'a>(
    app: &App,
    call: &Call,
    configuration: &Configuration,
    lanes: impl Iterator<Item = &'a Lane>,
) -> Result<Vec<Running<'a>>, Problem> {
    let mut found = Vec::new();
    for (lane, run) in lanes.filter_map(|lane| Some((lane, lane.run.as_ref()?))) {
        let pages = pages_of(app, call, configuration, run).await?;
        found.push(Running { run, is_cancelled: lane.is_cancelled, pages });
    }
    Ok(found)
}

/// What is under way, what was, and up to when each shop is complete.
pub async fn status(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = find(app, call).await?;
    let mut parameters = call.parameters();
    let run_id = parameters.get::<RunId>("run_id", "a UUID");
    let key = app.signing_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, format!("runs {} {run_id:?}", configuration.id));
    let (limit, start_after) = (parameters.limit(DEFAULT_PAGE), parameters.cursor::<RunId>(&cursors));
    parameters.finish()?;

    let now = Timestamp::now();
    // Lanes first: a run that ends meanwhile has its row before its lane is free.
    let lanes = app.sync_logs.lanes(&call.scope, configuration.id).await.map_err(|error| unavailable(&error))?;
    let running = running(app, call, &configuration, lanes.iter()).await?;
    let (mut ended, mut next_cursor) = (Vec::new(), None);
    let mut runs = Vec::new();
    match run_id {
        Some(wanted) => {
            runs.extend(running.iter().find(|it| it.run.id == wanted).map(|it| it.show(now)));
            if runs.is_empty() {
                let found = app.sync_logs.find_run(&call.scope, configuration.id, wanted).await;
                ended.push(found.map_err(|error| unavailable(&error))?.ok_or_else(|| Problem::not_found("run"))?);
            }
        }
        None => {
            let page = app.sync_logs.list_runs(&call.scope, configuration.id, limit, start_after).await;
            let page = page.map_err(|error| unavailable(&error))?;
            next_cursor = page.next.map(|last| cursors.write(&last)).transpose()?;
            ended = page.items;
        }
    }
    runs.extend(ended.iter().map(|run| RunView::new(run, false, &[], now)));
    let incremental = lanes.iter().find(|lane| lane.kind == SyncKind::Incremental);
    let status = StatusView {
        current: running.iter().map(|it| it.show(now)).collect(),
        runs,
        next_cursor,
        locations: LocationView::of(&configuration, incremental, now),
        next_incremental_at: incremental
            .filter(|lane| lane.run.is_none() && require_readable(&configuration).is_ok())
            .and_then(|lane| lane.due_at),
        interval_seconds: incremental
            .and_then(|lane| lane.interval_seconds)
            .unwrap_or_else(|| i64::from(configuration.sync.interval_minutes) * 60),
    };
    Answer::json(StatusCode::OK, &status)
}

/// The rows that the worker has not counted yet.
async fn pages_of(app: &App, call: &Call, configuration: &Configuration, run: &Run) -> Result<Vec<PageRow>, Problem> {
    if run.counted_pages >= run.pages {
        return Ok(Vec::new());
    }
    let rows = app.sync_logs.list_pages(&call.scope, configuration.id, run.id, run.counted_pages, MAX_PAGES).await;
    rows.map_err(|error| unavailable(&error))
}

/// Reads which runs are not wanted any more.
pub fn read_cancel(fields: &mut Fields) -> Option<SyncKind> {
    fields.optional("kind")
}

/// Ends what is under way. The worker ends it after the page that it reads; what was read stays.
pub async fn cancel(app: &App, call: &Call, repeat: Repeat<'_>) -> Result<Answer, Problem> {
    let configuration = find_to_change(app, call).await?;
    let mut kind = None;
    if !call.body().is_empty() {
        let mut fields = call.fields()?;
        kind = read_cancel(&mut fields);
        fields.finish()?;
    }
    let now = Timestamp::now();
    let actor = call.actor();
    for _ in 0..ATTEMPTS {
        let lanes = app.sync_logs.lanes(&call.scope, configuration.id).await.map_err(|error| unavailable(&error))?;
        let wanted = lanes.iter().filter(|lane| kind.is_none_or(|kind| kind == lane.kind));
        let mut running = running(app, call, &configuration, wanted).await?;
        if running.is_empty() {
            return Err(Problem::conflict("nothing is under way that could be cancelled"));
        }
        let unwanted: Vec<&Run> = running.iter().filter(|it| !it.is_cancelled).map(|it| it.run).collect();
        running.iter_mut().for_each(|it| it.is_cancelled = true);
        let body = CancelledView { cancelled: running.iter().map(|it| it.show(now)).collect() };
        let location = format!("{}/status", call.path().trim_end_matches("/cancel"));
        let answer = Answer::json(StatusCode::ACCEPTED, &body)?.header(LOCATION, location);
        let remembered = answer.remembered(repeat);
        let done = if unwanted.is_empty() {
            app.changes.remember_answer(&call.scope, &configuration, remembered).await
        } else {
            app.changes.cancel_runs(&call.scope, &actor, &configuration, &unwanted, remembered).await
        };
        match done {
            Ok(()) => {
                // One that waits for its turn, or for the provider's limit, need not wait any longer.
                call_workers(app, (&call.scope, &call.trace()), configuration.id, unwanted).await;
                return Ok(answer);
            }
            Err(CommitError::Busy) => {}
            Err(error) => return Err(refused_change(error)),
        }
    }
    Err(refused_change(CommitError::Busy))
}
