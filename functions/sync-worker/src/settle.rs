//! The end of a run: every page that was sent has its row, and the watermarks move.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::domain::{Code, Configuration, LocationProgress, ReasonCode, Run, RunState, SyncKind, Unannounced};
use shared::store::sync_logs::Watermarks;
use shared::telemetry::metrics;

use crate::work::{Step, Work, WorkError};

/// Rows of one query.
const ROWS: i32 = 200;
/// A first look at what was sent last; then less and less often.
const FIRST_LOOK: Duration = Duration::from_millis(500);
const LAST_LOOK: Duration = Duration::from_secs(60);
/// How often it is noted on the configuration that its syncs work.
const NOTE_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// The catalogue changes less often than what is sold.
const CATALOG_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// An interval is at most so many times shorter or longer than the tenant has set it, and never shorter than a minute.
const ADAPTS_BY: i64 = 4;
const SHORTEST_INTERVAL: i64 = 60;

impl Work<'_> {
    /// Ends the run when all of its pages have their rows, or says when to look again.
    pub async fn settle(&mut self) -> Result<Step, WorkError> {
        self.count_pages().await?;
        let waited = self.run.read_at.map(|read_at| Timestamp::now().duration_since(read_at)).unwrap_or_default();
        let missing = self.run.pages - self.run.counted_pages;
        if missing > 0 && waited < self.app.page_patience {
            let wait = Duration::try_from(waited / 2).unwrap_or_default().clamp(FIRST_LOOK, LAST_LOOK);
            self.keep(false).await?;
            return Ok(Step::Later(wait));
        }
        if missing > 0 {
            let detail = format!("{missing} of {} pages were not worked on in time", self.run.pages);
            self.run.note(None, Code::PagesMissing, detail);
        }
        let (state, code) = outcome(&self.run);
        self.run.code = code;
        self.end(state).await?;
        Ok(Step::Ended)
    }

    /// Adds the rows that have come since the last time, without a gap.
    pub async fn count_pages(&mut self) -> Result<(), WorkError> {
        let logs = &self.app.connections.sync_logs;
        while self.run.counted_pages < self.run.pages {
            let (scope, id, after) = (&self.held.scope, self.held.configuration_id, self.run.counted_pages);
            let rows = logs.list_pages(scope, id, self.run.id, after, ROWS).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                self.run.counted_pages += 1;
                self.run.counts.add(&row.counts);
                self.run.unannounced.add(&row.unannounced);
                let room = Run::MOST_NOTES.saturating_sub(self.run.failed_orders.len());
                self.run.failed_orders.extend(row.failed_orders.into_iter().take(room));
            }
        }
        Ok(())
    }

    /// Ends the run in this state.
    pub async fn end(&mut self, state: RunState) -> Result<(), WorkError> {
        let now = Timestamp::now();
        let (scope, configuration) = (&self.held.scope, &self.found.configuration);
        self.run.state = state;
        self.run.ended_at = Some(now);
        let kind = self.held.lane.kind;
        let watermarks = moved(&self.held.lane.watermarks, &self.run);
        let base = i64::from(configuration.sync.interval_minutes) * 60;
        let interval = (kind == SyncKind::Incremental).then(|| {
            adapted(self.held.lane.interval_seconds.unwrap_or(base), base, &self.run, is_silent(configuration))
        });
        let next_at = match kind {
            SyncKind::Incremental => interval.map(SignedDuration::from_secs),
            SyncKind::Catalog => Some(CATALOG_EVERY),
            SyncKind::Backfill | SyncKind::Repair => None,
        };
        let next_at = next_at.map(|after| now + jitter(after, &self.run));
        let ended = self.app.connections.sync_logs.end(&self.held, &self.run, (next_at, interval), &watermarks).await?;
        if !ended {
            return Err(WorkError::Lost);
        }
        metrics::sync_run_ended(configuration.provider, kind, state);
        self.note_unannounced().await?;
        let configuration = &self.found.configuration;
        let last = configuration.health.last_sync_at;
        if state == RunState::Completed
            && kind == SyncKind::Incremental
            && last.is_none_or(|last| now.duration_since(last) >= NOTE_EVERY)
        {
            self.app.connections.configurations.note_sync(scope, configuration.id, now).await?;
        }
        Ok(())
    }

    /// Says on the configuration which sales nobody had announced: after several of them its doorbell is silent.
    async fn note_unannounced(&self) -> Result<(), WorkError> {
        let Unannounced { sales, first_at: Some(first_at) } = self.run.unannounced else { return Ok(()) };
        let (scope, configuration) = (&self.held.scope, &self.found.configuration);
        let noted = self.app.connections.configurations.note_unannounced(scope, configuration.id, (sales, first_at));
        if noted.await? {
            metrics::unannounced(configuration.provider, sales);
            tracing::warn!(tenant.id = %scope.tenant_id(), configuration.id = %configuration.id, run.id = %self.run.id, sales, %first_at, "sales were found that no delivery had announced");
        }
        Ok(())
    }
}

/// Whether sales come by syncs alone, until a delivery comes.
fn is_silent(configuration: &Configuration) -> bool {
    configuration.reasons.iter().any(|reason| reason.code == ReasonCode::WebhooksSilent)
}

/// How a run that was read to its end has ended.
fn outcome(run: &Run) -> (RunState, Option<String>) {
    let failed: Vec<&str> = run.locations.iter().filter_map(|progress| progress.failed.as_deref()).collect();
    if !failed.is_empty() && failed.len() == run.locations.len() {
        return (RunState::Failed, failed.first().map(|code| (*code).to_owned()));
    }
    let is_partial = !failed.is_empty()
        || run.counts.failed > 0
        || run.counted_pages < run.pages
        || run.locations.iter().any(|progress| progress.disagrees);
    (if is_partial { RunState::Partial } else { RunState::Completed }, None)
}

/// The watermarks after a run: forward only, and only of shops that were read to their end and whose pages are all worked
/// on.
fn moved(before: &Watermarks, run: &Run) -> Watermarks {
    let mut after = before.clone();
    let is_complete = |progress: &&LocationProgress| {
        progress.failed.is_none() && progress.is_read() && progress.last_page <= run.counted_pages
    };
    for progress in run.locations.iter().filter(is_complete) {
        let mark = after.entry(progress.location_id.clone()).or_insert(progress.span.to);
        *mark = progress.span.to.max(*mark);
    }
    after
}

/// Shorter while the doorbell misses sales, longer while it misses none, and as short as it may be while it is silent.
fn adapted(seconds: i64, base: i64, run: &Run, is_silent: bool) -> i64 {
    let has_missed = run.counts.created + run.counts.updated > 0;
    let next = match run.state {
        RunState::Completed | RunState::Partial if is_silent => 0,
        RunState::Completed if !has_missed => seconds * 3 / 2,
        RunState::Completed | RunState::Partial if has_missed => seconds / 2,
        RunState::Completed | RunState::Partial | RunState::Failed | RunState::Cancelled => seconds,
        RunState::Queued | RunState::Reading | RunState::Settling => seconds,
    };
    let shortest = (base / ADAPTS_BY).max(SHORTEST_INTERVAL);
    next.clamp(shortest, (base * ADAPTS_BY).max(shortest))
}

/// A tenth earlier or later, by the run's own random digits: what began together does not stay together.
fn jitter(after: SignedDuration, run: &Run) -> SignedDuration {
    let id = run.id.to_string();
    let random = id.get(34..).and_then(|digits| i32::from_str_radix(digits, 16).ok()).unwrap_or(128);
    after + after / 1280 * (random - 128)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::domain::{RunNote, Span, SyncRange, SyncRequest, Trigger};

    fn run() -> Run {
        let now = "2026-02-14T09:00:00Z".parse().unwrap();
        let mut run = Run::new(SyncRequest::of(SyncRange::Incremental), Trigger::Schedule, 0, now);
        run.locations = ["A", "B"]
            .map(|id| {
                let span = Span { from: "2026-02-14T08:00:00Z".parse().unwrap(), to: now };
                LocationProgress { reached: span.from, ..LocationProgress::new(id.parse().unwrap(), span) }
            })
            .to_vec();
        run
    }

    #[test]
    fn only_a_shop_that_is_complete_moves_its_watermark_and_only_forward() {
        let mut run = run();
        run.pages = 3;
        run.counted_pages = 2;
        run.locations[0].last_page = 2;
        run.locations[1].last_page = 3;
        let (a, b) = (run.locations[0].location_id.clone(), run.locations[1].location_id.clone());
        let end = run.locations[0].span.to;
        assert_eq!(moved(&Watermarks::new(), &run), Watermarks::from([(a.clone(), end)]), "B's page has no row");
        run.counted_pages = 3;
        let later = end + SignedDuration::from_hours(1);
        let before = Watermarks::from([(a.clone(), later)]);
        assert_eq!(moved(&before, &run), Watermarks::from([(a.clone(), later), (b.clone(), end)]));
        run.locations[0].failed = Some("cursor_loop".into());
        assert_eq!(moved(&Watermarks::new(), &run), Watermarks::from([(b.clone(), end)]));
        run.locations[1].reached = end;
        assert_eq!(moved(&Watermarks::new(), &run), Watermarks::new(), "a cancelled run had not come to its end");
    }

    #[test]
    fn a_run_ends_as_what_it_was() {
        let ends = |change: fn(&mut Run)| {
            let mut run = run();
            change(&mut run);
            outcome(&run)
        };
        assert_eq!(ends(|_| {}), (RunState::Completed, None));
        assert_eq!(ends(|run| run.counts.failed = 1), (RunState::Partial, None));
        assert_eq!(ends(|run| run.locations[0].failed = Some("x".into())), (RunState::Partial, None));
        let all = |run: &mut Run| run.locations.iter_mut().for_each(|it| it.failed = Some("page_cap".into()));
        assert_eq!(ends(all), (RunState::Failed, Some("page_cap".into())));
        assert_eq!(ends(|run| run.pages = 1), (RunState::Partial, None), "its page has no row");
        assert_eq!(ends(|run| run.locations[1].disagrees = true), (RunState::Partial, None));
        // Notes are for people, and bounded: nothing hangs on them.
        let note = RunNote { location_id: None, code: "silent_cap".into(), detail: String::new() };
        assert_eq!(outcome(&Run { notes: vec![note], ..run() }).0, RunState::Completed);
    }

    #[test]
    fn the_interval_follows_what_the_doorbell_misses() {
        let mut run = run();
        run.state = RunState::Completed;
        let mut seconds = 900;
        let mut after = |run: &Run, times: usize| {
            for _ in 0..times {
                seconds = adapted(seconds, 900, run, false);
            }
            seconds
        };
        assert_eq!(after(&run, 1), 1350);
        assert_eq!(after(&run, 9), 3600);
        run.counts.created = 1;
        assert_eq!(after(&run, 1), 1800);
        assert_eq!(after(&run, 9), 225);
        run.state = RunState::Failed;
        assert_eq!(after(&run, 1), 225);
        assert_eq!(
            adapted(60, 60, &Run { state: RunState::Completed, ..run.clone() }, false),
            60,
            "never below a minute"
        );
        run.state = RunState::Completed;
        run.counts.created = 0;
        assert_eq!(adapted(3600, 900, &run, true), 225, "nothing is sold, and nothing is announced");
    }

    #[test]
    fn runs_do_not_stay_together() {
        for _ in 0..100 {
            let after = jitter(SignedDuration::from_secs(900), &run()).as_secs();
            assert!((809..=991).contains(&after), "{after}");
        }
    }
}
