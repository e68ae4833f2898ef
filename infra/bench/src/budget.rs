//! What a function may cost in what is stable on any machine: `infra/bench/budget.json`.
//!
//! Instructions are ratios to the empty handler's in the same run, so a newer compiler or `lambda_runtime` moves both. Times
//! are no part of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::events::workspace;
use crate::harness::aws::Calls;

/// What everything may grow by.
const SLACK: f64 = 1.02;

/// By function.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Budget(BTreeMap<String, Line>);

/// Of one function.
#[derive(Clone, Serialize, Deserialize)]
struct Line {
    /// User instructions of an event, in those of the empty handler.
    instructions: f64,
    /// User instructions from the start of the process to the first answer, likewise.
    cold_instructions: f64,
    /// Bytes.
    zip: usize,
    /// Requests to AWS for each event.
    calls: Calls,
}

/// What was measured.
pub struct Found {
    /// `None`: nobody has counted them.
    pub instructions: Option<f64>,
    pub cold_instructions: Option<f64>,
    pub zipped: usize,
    pub calls: Calls,
}

impl Budget {
    fn path() -> PathBuf {
        workspace().join("infra/bench/budget.json")
    }

    pub fn read() -> anyhow::Result<Self> {
        let text = std::fs::read(Self::path()).context("failed to read the budget")?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Fails above the budget; or writes what was found as the new one.
    pub fn compare(
        mut self,
        found: BTreeMap<String, Found>,
        accepts: bool,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let mut broken = Vec::new();
        for (name, found) in found {
            if accepts {
                let rounded = |ratio: Option<f64>| ratio.map(|ratio| (ratio * 1000.0).round() / 1000.0);
                let counts = "a budget is made where valgrind counts instructions";
                let line = Line {
                    instructions: rounded(found.instructions).context(counts)?,
                    cold_instructions: rounded(found.cold_instructions).context(counts)?,
                    zip: found.zipped,
                    calls: found.calls,
                };
                self.0.insert(name, line);
                continue;
            }
            match self.0.get(&name) {
                Some(line) => broken.extend(line.broken(&found).into_iter().map(|what| format!("{name}: {what}"))),
                None => broken.push(format!("{name} has no budget")),
            }
        }
        if accepts {
            std::fs::write(Self::path(), serde_json::to_string_pretty(&self)? + "\n")?;
        } else {
            ensure!(broken.is_empty(), "above the budget:\n  {}", broken.join("\n  "));
            writeln!(out, "within the budget")?;
        }
        Ok(())
    }
}

impl Line {
    fn broken(&self, found: &Found) -> Vec<String> {
        let mut broken = Vec::new();
        let counted = [
            ("instructions of an event", self.instructions, found.instructions),
            ("instructions to the first answer", self.cold_instructions, found.cold_instructions),
            ("zipped bytes", float(self.zip), Some(float(found.zipped))),
        ];
        for (what, budget, found) in counted {
            if let Some(found) = found.filter(|found| *found > budget * SLACK) {
                broken.push(format!("{what}: {found:.3}, budget {budget:.3}"));
            }
        }
        for (operation, count) in &found.calls {
            let budget = self.calls.get(operation).copied().unwrap_or_default();
            if *count > budget {
                broken.push(format!("{operation} for an event: {count}, budget {budget}"));
            }
        }
        broken
    }
}

fn float(bytes: usize) -> f64 {
    u32::try_from(bytes).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_beyond_its_slack_is_named() {
        let calls = |count| Calls::from([("SendMessage".to_owned(), count)]);
        let line = Line { instructions: 1.5, cold_instructions: 3.0, zip: 1_000_000, calls: calls(1) };
        let found = |instructions, cold_instructions, zipped, count| {
            let (instructions, cold_instructions) = (Some(instructions), Some(cold_instructions));
            line.broken(&Found { instructions, cold_instructions, zipped, calls: calls(count) }).len()
        };
        assert_eq!(found(1.52, 3.05, 1_019_000, 1), 0);
        assert_eq!(found(1.0, 2.0, 900_000, 0), 0);
        assert_eq!(found(1.54, 3.05, 1_019_000, 1), 1);
        assert_eq!(found(1.54, 3.1, 1_021_000, 2), 4);
        let uncounted = Found { instructions: None, cold_instructions: None, zipped: 1, calls: calls(1) };
        assert!(line.broken(&uncounted).is_empty());
    }
}
