//! What our functions use of a CPU, as the kernel counts it: their own part of what a stack is busy with.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use local::Stack;
use nix::{time::clock_getcpuclockid, unistd::Pid};

/// By function.
#[derive(Debug, Default)]
pub struct Used(BTreeMap<String, Duration>);

impl Used {
    /// Until now, by those execution environments of a stack that still run.
    pub fn by_functions_of(stack: &Stack) -> io::Result<Self> {
        let endpoint = format!("AWS_ENDPOINT_URL={}", stack.endpoint());
        let mut used = Self::default();
        for process in fs::read_dir("/proc")?.map_while(Result::ok) {
            // Those that are not ours to look at, or have just ended, are none of ours.
            let Ok(environment) = fs::read(process.path().join("environ")) else { continue };
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let mut variables = environment.split('\0');
            if !variables.clone().any(|variable| variable == endpoint) {
                continue;
            }
            let name = variables.find_map(|variable| variable.strip_prefix("AWS_LAMBDA_FUNCTION_NAME="));
            // pos-SyncWorkerFunction-18E54C8B59A6E
            let name = name.and_then(|name| name.split('-').nth(1)).unwrap_or_default().trim_end_matches("Function");
            let clock = process.file_name().to_string_lossy().parse().ok().map(Pid::from_raw).map(clock_getcpuclockid);
            if let Some(Ok(time)) = clock.and_then(Result::ok).map(nix::time::ClockId::now) {
                *used.0.entry(name.to_owned()).or_default() += Duration::from(time);
            }
        }
        Ok(used)
    }

    /// One line for each function that has worked since `before`: its time for an order, and how many orders that is in a second
    /// of one core.
    pub fn table(&self, before: &Self, orders: u64) -> Vec<String> {
        let orders = u32::try_from(orders).unwrap_or(u32::MAX).max(1);
        let mut lines =
            vec![format!("{:<26}{:>14}{:>22}", "CPU of our functions", "us an order", "orders/s on one core")];
        for (name, used) in &self.0 {
            let each =
                used.saturating_sub(before.0.get(name).copied().unwrap_or_default()).as_secs_f64() / f64::from(orders);
            if each >= 1e-6 {
                lines.push(format!("{name:<26}{:>14.0}{:>22.0}", each * 1e6, 1.0 / each));
            }
        }
        lines
    }
}

/// A folder in which every function stands as it is deployed: `make bootstraps` builds them.
pub fn release_builds(debug: &Path) -> anyhow::Result<PathBuf> {
    let target = debug.parent().context("builds have a folder")?;
    let folder = target.join("bench/functions");
    fs::create_dir_all(&folder)?;
    for function in fs::read_dir(local::workspace().join("functions"))?.map_while(Result::ok) {
        let built = ["release", "release-unwind"].map(|profile| target.join(profile).join(function.file_name()));
        let built = built.into_iter().find(|program| program.is_file());
        let name = function.file_name();
        let built = built.with_context(|| format!("{} is not built: make bootstraps", name.to_string_lossy()))?;
        let link = folder.join(&name);
        let _ = fs::remove_file(&link);
        symlink(fs::canonicalize(built)?, &link)?;
        ensure!(link.is_file(), "{} leads nowhere", link.display());
    }
    Ok(folder)
}
