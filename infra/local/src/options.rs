//! What to start and where, with defaults that suit a test binary of this workspace.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    time::Duration,
};

/// What to start, and where. [`StackOptions::default`] suits a test binary of this workspace.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Name of the stack's folder below `.local/stacks`, where its logs are.
    pub name: String,
    /// Port of the emulator on 127.0.0.1. `None`: 4566, or a free one when that is taken. `Some(0)`: a free one.
    pub port: Option<u16>,
    /// Folder with one executable per function.
    pub binaries: PathBuf,
    /// The template to deploy.
    pub template: PathBuf,
    /// Parameters of the template. `Env`, `Architecture` and `JwtIssuer` are set anyway.
    pub parameters: BTreeMap<String, String>,
    /// Where the functions send their AWS calls, if not straight to the emulator: a [`Proxy`](crate::Proxy).
    pub function_endpoint: Option<String>,
    /// How long to wait for the deployed stack.
    pub deadline: Duration,
    /// Repeat the emulator's progress lines on standard error.
    pub shows_progress: bool,
}

impl Default for StackOptions {
    fn default() -> Self {
        let executable = env::current_exe().unwrap_or_default();
        Self {
            name: name_of(&executable),
            port: Some(0),
            binaries: binaries_beside(&executable),
            template: workspace().join("template.yaml"),
            parameters: BTreeMap::new(),
            function_endpoint: None,
            deadline: Duration::from_secs(90),
            shows_progress: false,
        }
    }
}

/// Root of the workspace, which this crate is two folders below.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// `…/deps/it-0123456789abcdef` -> `it`, with the package's name in front when cargo says it.
fn name_of(executable: &Path) -> String {
    let stem = executable.file_stem().and_then(|stem| stem.to_str()).unwrap_or("stack");
    let target = stem.rsplit_once('-').map_or(stem, |(name, _)| name);
    match env::var("CARGO_PKG_NAME") {
        Ok(package) if package != target => format!("{package}-{target}"),
        Ok(_) | Err(_) => target.to_owned(),
    }
}

/// Cargo puts test binaries into `deps`, beside the programs of the same profile.
fn binaries_beside(executable: &Path) -> PathBuf {
    let folder = executable.parent().unwrap_or(Path::new("."));
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    folder.to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_looked_for_beside_the_test_binary() {
        assert_eq!(binaries_beside(Path::new("/t/debug/deps/it-0a1b")), Path::new("/t/debug"));
        assert_eq!(binaries_beside(Path::new("/t/debug/local")), Path::new("/t/debug"));
    }
}
