//! User instructions, as valgrind counts them: the same in every run, on every machine.
//!
//! It knows no SHA instructions, so hashing counts for more than it takes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

/// A program whose instructions are counted until it ends.
pub struct Counting {
    /// It, with room for its arguments.
    pub command: Command,
    /// What `callgrind_annotate` reads, beside the program; names are in it if the build was not stripped.
    pub out: PathBuf,
}

impl Counting {
    /// `None`: there is no valgrind.
    pub fn of(program: &Path) -> Option<Self> {
        Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().ok()?;
        let out = program.with_extension("callgrind");
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", out.display()));
        command.arg(program);
        Some(Self { command, out })
    }
}

/// What was counted, when it has ended.
pub fn total(out: &Path) -> anyhow::Result<u64> {
    let counted = std::fs::read_to_string(out)?;
    let total = counted.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.and_then(|total| total.trim().parse().ok()).context("it has counted nothing")
}
