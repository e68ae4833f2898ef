//! One incremental sync of each connection, asked for as a customer would, and what came of it.

use std::time::{Duration, Instant};

use anyhow::bail;
use jiff::Timestamp;
use local::api::{Api, Run};
use sandbox::Vendor;
use serde::Deserialize;
use serde_json::json;

use super::{Screen, books};

/// A morning is read in seconds; a vendor that fails rests for some of them.
const LONGEST: Duration = Duration::from_secs(180);

/// How a sale or refund came to be known.
#[derive(Deserialize)]
struct Known {
    history: Vec<Revision>,
}

#[derive(Deserialize)]
struct Revision {
    /// The event, or `sync:{run}:{page}`.
    cause: String,
}

/// A connection after its sync.
#[derive(Debug)]
pub struct Synced {
    vendor: Vendor,
    run: Run,
    /// Sales and refunds of which the doorbell has told all.
    announced: usize,
    /// Of which it has told nothing.
    found: usize,
    /// Of which it has told, but not the last change.
    changed: usize,
}

impl Synced {
    fn new(vendor: Vendor, run: Run, known: &[Known]) -> Self {
        let is_found = |revision: Option<&Revision>| revision.is_some_and(|it| it.cause.starts_with("sync:"));
        let found = known.iter().filter(|it| is_found(it.history.first())).count();
        let last_found = known.iter().filter(|it| it.history.iter().any(|it| is_found(Some(it)))).count();
        Self { vendor, run, announced: known.len() - last_found, found, changed: last_found - found }
    }

    /// Whether the sync has read everything, and every order was taken.
    pub fn is_complete(&self) -> bool {
        self.run.is_complete()
    }

    /// For a person.
    pub fn line(&self) -> String {
        let Run { state, code, notes, failed_orders, progress, .. } = &self.run;
        let mut line = format!(
            "{:<12}the doorbell announced {} in time; a sync found {} more and {} changes  ({state}: {} orders read, {} new, {} changed)",
            books::word(self.vendor),
            self.announced,
            self.found,
            self.changed,
            progress.orders.seen,
            progress.orders.created,
            progress.orders.updated,
        );
        if !self.is_complete() {
            let code = code.as_deref().unwrap_or("no code");
            line += &format!("\n            {code}; notes {}; failed orders {}", json!(notes), json!(failed_orders));
        }
        line
    }
}

/// Begins one run for each connection and shows them until all have ended.
pub async fn sync_all(api: &Api, connections: &[(Vendor, String)], screen: &mut Screen) -> anyhow::Result<Vec<Synced>> {
    let request = json!({ "kind": "incremental" });
    let asked_at = Timestamp::now();
    let deadline = Instant::now() + LONGEST;
    let mut runs = Vec::new();
    for (vendor, id) in connections {
        runs.push((*vendor, id, api.begin_sync(id, &request).await?));
    }
    loop {
        for (_, id, run) in &mut runs {
            if !run.has_ended() {
                *run = api.run(id, &run.id).await?;
            }
            // The schedule came first, before the last sale: that run was answered, and ours comes after it.
            if run.has_ended() && run.requested_at < asked_at {
                *run = api.begin_sync(id, &request).await?;
            }
        }
        let shown = runs.iter().map(|(vendor, _, run)| {
            let (seen, created) = (run.progress.orders.seen, run.progress.orders.created);
            format!("{} {}: {seen} orders, {created} new", books::word(*vendor), run.state)
        });
        screen.status(&format!("syncs  {}", shown.collect::<Vec<_>>().join("  ")));
        if runs.iter().all(|(.., run)| run.has_ended()) {
            break;
        }
        if Instant::now() > deadline {
            bail!("the syncs have not ended within {} s", LONGEST.as_secs());
        }
        tokio::time::sleep(screen.pause()).await;
    }
    screen.keep_status();
    let mut all = Vec::new();
    for (vendor, id, run) in runs {
        all.push(Synced::new(vendor, run, &api.transactions(id).await?));
    }
    Ok(all)
}
