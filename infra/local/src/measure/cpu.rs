//! What our functions use of a CPU, as the kernel counts it: their own part of what a stack is busy with.

use std::{collections::BTreeMap, time::Duration};

use local::Stack;
use nix::{time::clock_getcpuclockid, unistd::Pid};

/// By process, with the function that it is of.
#[derive(Debug, Default)]
pub struct Used(BTreeMap<u32, (String, Duration)>);

impl Used {
    /// Until now, by those execution environments of a stack that still run.
    pub fn by_functions_of(stack: &Stack) -> Self {
        let used = stack.function_processes().into_iter().filter_map(|process| {
            let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(process.pid).ok()?)).ok()?;
            // pos-SyncWorkerFunction-18E54C8B59A6E
            let name =
                process.function_name.split('-').nth(1).unwrap_or_default().trim_end_matches("Function").to_owned();
            Some((process.pid, (name, Duration::from(clock.now().ok()?))))
        });
        Self(used.collect())
    }

    /// One line for each function that has worked since `before`: its time for an order, and how many orders that is in a second
    /// of one core.
    pub fn table(&self, before: &Self, orders: u64) -> Vec<String> {
        let orders = f64::from(u32::try_from(orders).unwrap_or(u32::MAX).max(1));
        let mut functions = BTreeMap::<&str, Duration>::new();
        for (pid, (name, used)) in &self.0 {
            let then = before.0.get(pid).map_or(Duration::ZERO, |(_, then)| *then);
            *functions.entry(name).or_default() += used.saturating_sub(then);
        }
        let mut lines =
            vec![format!("{:<26}{:>14}{:>22}", "CPU of our functions", "us an order", "orders/s on one core")];
        for (name, used) in functions {
            let each = used.as_secs_f64() / orders;
            if each >= 1e-6 {
                lines.push(format!("{name:<26}{:>14.0}{:>22.0}", each * 1e6, 1.0 / each));
            }
        }
        let ended = before.0.keys().filter(|pid| !self.0.contains_key(pid)).count();
        if ended > 0 {
            lines.push(format!("without {ended} execution environments that have ended meanwhile"));
        }
        lines
    }
}
