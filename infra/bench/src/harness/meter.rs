//! What a process has used so far, as the kernel counts it.

use std::process::Child;
use std::time::Duration;

use anyhow::Context;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// Of one process and all of its threads.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    pid: u32,
    clock: ClockId,
}

impl Meter {
    pub fn of(child: &Child) -> anyhow::Result<Self> {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(child.id())?));
        Ok(Self { pid: child.id(), clock: clock.context("failed to find the process's clock")? })
    }

    /// Time on a CPU.
    pub fn cpu(&self) -> Duration {
        self.clock.now().map(Duration::from).unwrap_or_default()
    }

    /// The most memory that it has held, in bytes.
    pub fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or_default() * 1024
    }
}

/// Lets this thread, and what it starts from now on, run on one CPU. A machine that has no such CPU is used as it is.
pub fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    if set.set(cpu).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}
