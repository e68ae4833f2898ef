//! The Lambda processes of a stack, found the way an operator would: below the emulator in `/proc`.

use std::{fs, process::Command};

/// One running execution environment of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionProcess {
    /// Process id on this machine.
    pub pid: u32,
    /// The function's name in the emulator, with the stack's prefix and suffix.
    pub function_name: String,
}

/// Every execution environment that `emulator` has started and that still runs.
pub(crate) fn functions_of(emulator: u32) -> Vec<FunctionProcess> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(emulator))
        .filter_map(|pid| Some(FunctionProcess { pid, function_name: function_name_of(pid)? }))
        .collect()
}

/// Ends processes at once and without a chance to tidy up, as a crash would.
pub(crate) fn kill(pids: &[u32]) -> std::io::Result<()> {
    if pids.is_empty() {
        return Ok(());
    }
    // The standard library can only signal its own children, and `unsafe` is forbidden here.
    let mut command = Command::new("sh");
    command.args(["-c", "kill -KILL \"$@\" 2>/dev/null || true", "sh"]);
    command.args(pids.iter().map(u32::to_string)).status().map(|_| ())
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold spaces and parentheses; the fields after the last one are plain.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

fn function_name_of(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(b"AWS_LAMBDA_FUNCTION_NAME="))
        .map(|name| String::from_utf8_lossy(name).into_owned())
}
