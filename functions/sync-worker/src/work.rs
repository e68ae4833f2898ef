//! One worker's turn with one run.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use shared::access::TokenError;
use shared::aws::AwsError;
use shared::domain::{
    Code, ConfigurationStatus, LocationId, LocationProgress, Run, RunState, SyncCounts, SyncKind, Trigger,
};
use shared::pace::{BudgetKey, NotNow, Priority};
use shared::providers::{Listing, PosProvider};
use shared::queue::SendError;
use shared::queue::sync_jobs::SyncJob;
use shared::store::StoreError;
use shared::store::configurations::SealedConfiguration;
use shared::store::sync_logs::{Checkpoint, Held};
use shared::telemetry::{Line, TraceParent};

use crate::{App, plan};

/// How long a run belongs to its worker after its last checkpoint: far longer than a page takes.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
/// A run that sends no page is kept no less often than this.
const KEEP_EVERY: Duration = Duration::from_secs(20);
/// How often the configuration is looked at again: it may have been paused, or its credentials renewed. Whoever pauses
/// waits for it.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What is waited for here; a longer wait is another job's.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Turns in which nothing was kept, before it is the run that its workers die of. They are 75 seconds apart at least, so an
/// outage of an hour ends nothing.
const MOST_TURNS: u32 = 48;
/// Pages whose rows nobody has counted yet, before that is done on the way.
const UNCOUNTED: u32 = 50;

/// A run in the hands of a worker.
pub struct Work<'a> {
    pub app: &'a App,
    /// Its lane without the run, which is below.
    pub held: Held,
    pub run: Run,
    pub found: SealedConfiguration,
    pub trace: TraceParent,
    /// Shops whose provider failed a moment ago, and until when they rest: they do not hold up the others.
    resting: HashMap<LocationId, Instant>,
    looked_at: Instant,
    kept_at: Instant,
    is_cancelled: bool,
}

/// Why a turn ended early. The run is due again when its lease has ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// A table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A queue failed, or a key or secret could not be read.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// There is no token, for a reason of our own.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A page could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The run cannot be gone on with: it ends with this word.
    #[error("the run ends: {1}")]
    End(RunState, Code),
    /// Somebody else has the lease now: nothing more must be written.
    #[error("somebody else goes on with the run")]
    Lost,
}

/// How a step ended.
pub enum Step {
    /// On with the next.
    On,
    /// The next is in vain for so long.
    Later(Duration),
    /// The run has ended.
    Ended,
}

/// Takes a run and goes on with it as far as it goes. One log line.
pub async fn go_on(app: &App, job: &SyncJob, deadline: Instant) {
    let mut line = Line::begin("run").of(job.scope.tenant_id(), job.configuration_id).traced(&job.trace);
    (line.run_id, line.kind) = (Some(job.run_id.to_string()), Some(job.kind.as_str()));
    let taken = app.connections.sync_logs.take(&job.scope, job.configuration_id, (job.kind, job.run_id), LEASE).await;
    let (outcome, run) = match taken {
        Ok(None) => ("not_mine", None),
        Ok(Some(held)) => turn(app, held, job, deadline).await,
        Err(error) => {
            tracing::error!(error = ?error, "a run could not be taken");
            ("store_unavailable", None)
        }
    };
    if let Some(run) = &run {
        let SyncCounts { seen, created, updated, unchanged, failed } = run.counts;
        line.state = Some(format!("{:?}", run.state).to_lowercase());
        line.counts = vec![
            ("pages", run.pages.into()),
            ("requests", run.requests),
            ("seen", seen),
            ("created", created),
            ("updated", updated),
            ("unchanged", unchanged),
            ("failed", failed),
        ];
    }
    let reason = run.and_then(|run| run.code).unwrap_or_default();
    line.ended(outcome, reason).end("worked on a run");
}

async fn turn(app: &App, mut held: Held, job: &SyncJob, deadline: Instant) -> (&'static str, Option<Run>) {
    let Some(run) = held.lane.run.take() else { return ("not_mine", None) };
    let found = match app.connections.configurations.load(&held.scope, held.configuration_id).await {
        Ok(Some(found)) => found,
        // Its sync log is being purged: nothing must be written.
        Ok(None) => return ("gone", Some(run)),
        Err(error) => {
            tracing::error!(error = ?error, "a configuration could not be read");
            return ("store_unavailable", Some(run));
        }
    };
    let now = Instant::now();
    let mut work = Work {
        app,
        held,
        run,
        found,
        trace: job.trace.clone(),
        resting: HashMap::new(),
        looked_at: now,
        kept_at: now,
        is_cancelled: false,
    };
    let outcome = match work.until(deadline).await {
        Ok(outcome) => outcome,
        Err(WorkError::Lost) => "lost",
        Err(error) => {
            tracing::error!(run.id = %work.run.id, error = ?error, "a run stopped; it is due again when its lease has ended");
            "stopped"
        }
    };
    (outcome, Some(work.run))
}

impl Work<'_> {
    async fn until(&mut self, deadline: Instant) -> Result<&'static str, WorkError> {
        self.is_cancelled = self.held.lane.is_cancelled;
        loop {
            let step = match self.step().await {
                Err(WorkError::End(state, code)) => {
                    self.run.code = Some(code.into());
                    self.end(state).await?;
                    Step::Ended
                }
                step => step?,
            };
            let wait = match step {
                Step::Ended => return Ok("ended"),
                Step::On => Duration::ZERO,
                Step::Later(wait) => wait,
            };
            if Instant::now() + wait >= deadline || wait > PATIENCE {
                return self.hand_on(wait).await;
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn step(&mut self) -> Result<Step, WorkError> {
        self.look().await?;
        if self.is_cancelled {
            return Err(WorkError::End(RunState::Cancelled, Code::Requested));
        }
        if self.held.lane.turns > MOST_TURNS {
            return Err(WorkError::End(RunState::Failed, Code::NoProgress));
        }
        if self.run.state == RunState::Queued {
            let now = Timestamp::now();
            let listing = self.listing();
            let edges = (self.app.edges, now);
            let watermarks = self.held.lane.watermarks.clone();
            plan::plan(&mut self.run, &self.found.configuration, &listing, &watermarks, edges);
        }
        if self.run.state == RunState::Settling {
            return self.settle().await;
        }
        if self.run.pages.saturating_sub(self.run.counted_pages) >= UNCOUNTED {
            self.count_pages().await?;
        }
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let awake = |progress: &LocationProgress| !self.resting.contains_key(&progress.location_id);
        if let Some(index) = plan::next(&self.run, awake) {
            return match self.held.lane.kind {
                SyncKind::Catalog => self.read_catalog(index).await,
                SyncKind::Incremental | SyncKind::Backfill | SyncKind::Repair => self.read_page(index).await,
            };
        }
        if let Some(until) = self.resting.values().min() {
            return Ok(Step::Later(until.saturating_duration_since(now)));
        }
        self.run.state = RunState::Settling;
        self.run.read_at = Some(Timestamp::now());
        Ok(Step::On)
    }

    /// Whether the run may go on at all.
    async fn look(&mut self) -> Result<(), WorkError> {
        if self.looked_at.elapsed() >= LOOK_EVERY {
            let found = self.app.connections.configurations.load(&self.held.scope, self.held.configuration_id).await?;
            self.found = found.ok_or(WorkError::Lost)?;
            self.looked_at = Instant::now();
        }
        let configuration = &self.found.configuration;
        match configuration.status {
            // Its sync log is being purged: nothing must be written.
            ConfigurationStatus::Deleting => Err(WorkError::Lost),
            _ if configuration.epoch != self.run.epoch => Err(WorkError::Lost),
            ConfigurationStatus::Paused => Err(WorkError::End(RunState::Cancelled, Code::Paused)),
            ConfigurationStatus::ReauthRequired => Err(WorkError::End(RunState::Failed, Code::ReauthRequired)),
            ConfigurationStatus::Active | ConfigurationStatus::Degraded => Ok(()),
        }
    }

    /// Lets another look at the configuration come first: its credentials have changed.
    pub fn look_again(&mut self) {
        self.looked_at = self.looked_at.checked_sub(LOOK_EVERY).unwrap_or(self.looked_at);
    }

    pub fn provider(&self) -> &dyn PosProvider {
        self.app.connections.providers.get(self.found.configuration.provider)
    }

    pub fn listing(&self) -> Listing {
        self.provider().listing()
    }

    /// Whose turn it is before whose.
    pub fn priority(&self) -> Priority {
        match (&self.run.trigger, self.held.lane.kind) {
            (Trigger::Request { .. }, _) => Priority::Manual,
            (_, SyncKind::Incremental) => Priority::Incremental,
            (_, SyncKind::Backfill | SyncKind::Repair | SyncKind::Catalog) => Priority::Backfill,
        }
    }

    /// Waits for the budget of the credential, as long as that is worth it.
    pub async fn permit(&mut self) -> Result<Result<(), Duration>, WorkError> {
        let (key, priority) = (BudgetKey::of(&self.found.configuration), self.priority());
        let (waited, permit) = match self.app.connections.pace.acquire_within(&key, priority, PATIENCE).await {
            Ok(waited) => (waited, Ok(())),
            Err(NotNow { retry_after, .. }) => (retry_after, Err(retry_after)),
        };
        if !waited.is_zero() {
            self.run.waits += 1;
            self.run.waited_ms += u64::try_from(waited.as_millis()).unwrap_or(0);
        }
        Ok(permit)
    }

    /// Lets a shop rest.
    pub fn rest(&mut self, location: &LocationId, wait: Duration) {
        self.resting.insert(location.clone(), Instant::now() + wait);
    }

    /// Keeps how far the run is, if it is time for that or `is_needed`.
    pub async fn keep(&mut self, is_needed: bool) -> Result<(), WorkError> {
        if !is_needed && self.kept_at.elapsed() < KEEP_EVERY {
            return Ok(());
        }
        let kept = self.app.connections.sync_logs.checkpoint(&self.held, &self.run, LEASE).await?;
        self.kept_at = Instant::now();
        self.heed(kept)
    }

    fn heed(&mut self, kept: Checkpoint) -> Result<(), WorkError> {
        match kept {
            Checkpoint::Kept => Ok(()),
            Checkpoint::Cancelled => {
                self.is_cancelled = true;
                Ok(())
            }
            Checkpoint::Lost => Err(WorkError::Lost),
        }
    }

    /// Gives the run to another worker, `wait` from now. If the job is lost, the scheduler sends another.
    async fn hand_on(&mut self, wait: Duration) -> Result<&'static str, WorkError> {
        let delay = i32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(i32::MAX).min(900);
        let kept = self.app.connections.sync_logs.release(&self.held, &self.run, delay).await?;
        self.heed(kept)?;
        let job = SyncJob::of(&self.held.scope, self.held.configuration_id, &self.run, &self.trace);
        self.app.jobs.send(&job, delay).await?;
        Ok("continued")
    }
}
