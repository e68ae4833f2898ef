//! One emulator with the repository's template in it, as a child process.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_types::{SdkConfig, region::Region};
use serde::Deserialize;

use crate::{
    identity::ISSUER,
    options::{StackOptions, workspace},
    processes::{self, FunctionProcess},
    proxy::Proxy,
};

const LINES_KEPT_FOR_ERRORS: usize = 30;

/// Why there is no stack, in a sentence for the person who started the tests.
#[derive(thiserror::Error)]
pub enum StartError {
    /// The Python environment has not been prepared.
    #[error("the local stack's tools are missing ({0}): run `make test` or `make tools`")]
    ToolsMissing(PathBuf),
    /// The functions have not been built.
    #[error("the functions are not built ({0} is missing): run `make test` or `make build`")]
    FunctionsMissing(PathBuf),
    /// The emulator ended, or stayed silent until the deadline.
    #[error("the local stack did not start within {waited:?} ({log})\n{tail}")]
    NotReady {
        /// How long we waited.
        waited: Duration,
        /// Where the whole log is.
        log: PathBuf,
        /// The end of that log.
        tail: String,
    },
    /// Something around the process failed.
    #[error("failed to {action} the local stack: {source}")]
    Process {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

// Tests `unwrap` this, and `unwrap` prints `Debug`: the sentence is worth more there than the structure.
impl fmt::Debug for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What the emulator's process says once, when everything is deployed.
#[derive(Debug, Deserialize)]
struct Announcement {
    endpoint: String,
    region: String,
    account: String,
    api_url: Option<String>,
    outputs: BTreeMap<String, String>,
    functions: BTreeMap<String, String>,
    environments: BTreeMap<String, BTreeMap<String, String>>,
    credentials: BTreeMap<String, Session>,
}

/// Credentials of a role, as STS gives them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Session {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// A running local stack. It ends when this value is dropped, and also when this process dies in any way.
#[derive(Debug)]
pub struct Stack {
    announcement: Announcement,
    folder: PathBuf,
    emulator: Child,
    /// The emulator lives as long as this pipe is open.
    leash: Option<ChildStdin>,
}

impl Stack {
    /// Starts an emulator and deploys the template into it. Blocks until the stack is ready.
    ///
    /// # Errors
    /// When tools or functions are missing, or the deployment fails.
    pub fn start(options: &StackOptions) -> Result<Self, StartError> {
        let python = workspace().join(".local/venv/bin/python");
        if !python.exists() {
            return Err(StartError::ToolsMissing(python));
        }
        if !options.binaries.is_dir() {
            return Err(StartError::FunctionsMissing(options.binaries.clone()));
        }
        let folder =
            fresh_folder(&options.name).map_err(|source| StartError::Process { action: "make room for", source })?;
        let mut emulator = command(&python, options, &folder)
            .spawn()
            .map_err(|source| StartError::Process { action: "start", source })?;
        let leash = emulator.stdin.take();
        let started = Instant::now();
        let tail = follow_log(&mut emulator, folder.join("emulator.log"), options.shows_progress);
        match announcement_of(&mut emulator, options.deadline) {
            Some(announcement) => Ok(Self { announcement, folder, emulator, leash }),
            None => {
                drop(leash);
                end(&mut emulator);
                // The log's reader sees the end of the pipe only now; the last lines are the ones that explain.
                std::thread::sleep(Duration::from_millis(100));
                let lines = tail.lock().unwrap_or_else(PoisonError::into_inner);
                let text = lines.iter().cloned().collect::<Vec<_>>().join("\n");
                if let Some(missing) = missing_binary(&text) {
                    return Err(StartError::FunctionsMissing(missing));
                }
                Err(StartError::NotReady { waited: started.elapsed(), log: folder.join("emulator.log"), tail: text })
            }
        }
    }

    /// The stack that all tests of one test binary share. It is started by the first that asks.
    ///
    /// # Errors
    /// As [`Stack::start`]; every later caller gets the same error.
    pub fn shared() -> Result<&'static Self, &'static StartError> {
        static SHARED: OnceLock<Result<Stack, StartError>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&StackOptions::default())).as_ref()
    }

    /// A value of the template's `Outputs`, or nothing if the template has no such output.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&str> {
        self.announcement.outputs.get(name).map(String::as_str)
    }

    /// Every output of the template.
    #[must_use]
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.announcement.outputs
    }

    /// A variable that the template gives a function, for who runs its code outside of it.
    #[must_use]
    pub fn variable(&self, function: &str, name: &str) -> Option<&str> {
        self.announcement.environments.get(function)?.get(name).map(String::as_str)
    }

    /// URL of the emulator.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.announcement.endpoint
    }

    /// Base URL of the REST API, with its stage and without a slash at the end.
    #[must_use]
    pub fn api_url(&self) -> &str {
        self.announcement.api_url.as_deref().unwrap_or_default()
    }

    /// Region of the stack.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.announcement.region
    }

    /// Account of the stack.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.announcement.account
    }

    /// Folder with `emulator.log` and `logs/<function>.log`. It stays after the stack has gone.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a function (named as its binary) has printed so far.
    #[must_use]
    pub fn function_log(&self, function: &str) -> String {
        fs::read_to_string(self.folder.join("logs").join(format!("{function}.log"))).unwrap_or_default()
    }

    /// SDK configuration of the account's root, which may do anything. Meant to be made anew in each test: its
    /// connections belong to the runtime that first uses them.
    #[must_use]
    pub fn config(&self) -> SdkConfig {
        self.config_at(self.endpoint())
    }

    /// The same, through another address of the emulator: a [`Proxy`](crate::Proxy).
    #[must_use]
    pub fn config_at(&self, endpoint: &str) -> SdkConfig {
        self.config_with(Credentials::new("test", "test", None, None, "local stack"), endpoint)
    }

    /// SDK configuration of a function (named as its binary), for who runs its code outside of it: its role decides what
    /// it may do. Through a [`Proxy`](crate::Proxy), if there is one.
    #[must_use]
    pub fn config_of(&self, function: &str, proxy: Option<&Proxy>) -> SdkConfig {
        let session = self.announcement.credentials.get(function);
        let part = |of: fn(&Session) -> &String| session.map(of).cloned().unwrap_or_default();
        let (id, secret) = (part(|it| &it.access_key_id), part(|it| &it.secret_access_key));
        let credentials = Credentials::new(id, secret, Some(part(|it| &it.session_token)), None, "local stack");
        let endpoint = proxy.map_or(self.endpoint(), |proxy| {
            proxy.forward_to(self.endpoint());
            proxy.url()
        });
        self.config_with(credentials, endpoint)
    }

    fn config_with(&self, credentials: Credentials, endpoint: &str) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(aws_sdk_secretsmanager::config::BehaviorVersion::latest())
            .region(Region::new(self.region().to_owned()))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    }

    /// Replaces the JSON of the secret behind an output, as an operator would (`"JwksSecretId"`).
    ///
    /// # Errors
    /// When there is no such output or the emulator refuses.
    pub async fn put_secret(
        &self,
        output: &str,
        secret: &serde_json::Value,
    ) -> Result<(), aws_sdk_secretsmanager::Error> {
        let client = aws_sdk_secretsmanager::Client::new(&self.config());
        let id = self.output(output).unwrap_or(output);
        client.put_secret_value().secret_id(id).secret_string(secret.to_string()).send().await?;
        Ok(())
    }

    /// The function's name in the emulator, from the name of its binary.
    #[must_use]
    pub fn function_name(&self, function: &str) -> Option<&str> {
        self.announcement.functions.get(function).map(String::as_str)
    }

    /// The execution environments that run right now, of all functions.
    #[must_use]
    pub fn function_processes(&self) -> Vec<FunctionProcess> {
        processes::functions_of(self.emulator.id())
    }

    /// Kills every execution environment of one function (named as its binary), as a crash would, and says how many
    /// there were.
    ///
    /// # Errors
    /// When no signal could be sent.
    pub fn kill_function(&self, function: &str) -> std::io::Result<usize> {
        let name = self.function_name(function).unwrap_or(function);
        let running = self.function_processes();
        let doomed: Vec<u32> =
            running.iter().filter(|process| process.function_name == name).map(|it| it.pid).collect();
        processes::kill(&doomed)?;
        Ok(doomed.len())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.leash = None;
        end(&mut self.emulator);
    }
}

/// Waits for an emulator whose leash is cut. It has its Lambda processes to end, so it is only killed if it hangs.
fn end(emulator: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if !matches!(emulator.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = emulator.kill();
    let _ = emulator.wait();
}

fn command(python: &Path, options: &StackOptions, folder: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .arg(workspace().join("infra/local/emulator/launch.py"))
        .arg("--template")
        .arg(&options.template)
        .arg("--binaries")
        .arg(&options.binaries)
        .arg("--folder")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C goes to the whole group of a terminal; we end first, and the leash ends the emulator after us.
        .process_group(0);
    if let Some(port) = options.port {
        command.args(["--port", &port.to_string()]);
    }
    if let Some(endpoint) = &options.function_endpoint {
        command.args(["--function-endpoint", endpoint]);
    }
    let mut parameters = BTreeMap::from([
        ("JwtIssuer".to_owned(), ISSUER.to_owned()),
        // The stand-in for the sales domain is the emulator's root.
        ("SalesDomainRoleArn".to_owned(), "arn:aws:iam::000000000000:role/sales-domain".to_owned()),
    ]);
    parameters.extend(options.parameters.clone());
    for (name, value) in parameters {
        command.args(["--parameter", &format!("{name}={value}")]);
    }
    command
}

/// Waits for the one line of standard output. `None`: the process ended first, or the deadline passed.
fn announcement_of(emulator: &mut Child, deadline: Duration) -> Option<Announcement> {
    let output = emulator.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(output).read_line(&mut line);
        let _ = sender.send(line);
    });
    let line = receiver.recv_timeout(deadline).ok()?;
    serde_json::from_str(&line).ok()
}

/// Writes the emulator's standard error to a file and keeps its end for an error message.
fn follow_log(emulator: &mut Child, path: PathBuf, shows_progress: bool) -> Arc<Mutex<VecDeque<String>>> {
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    if let Some(stderr) = emulator.stderr.take() {
        let tail = Arc::clone(&tail);
        std::thread::spawn(move || {
            let mut file = fs::File::create(path).ok();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(file) = &mut file {
                    let _ = writeln!(file, "{line}");
                }
                if shows_progress && (line.starts_with("emulator: ") || line.starts_with("deploy: ")) {
                    eprintln!("{line}");
                }
                let mut lines = tail.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == LINES_KEPT_FOR_ERRORS {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        });
    }
    tail
}

/// The deployer's own words, turned back into our error so that the sentence is the same wherever it is noticed.
fn missing_binary(log: &str) -> Option<PathBuf> {
    let line = log.lines().find(|line| line.contains(" is missing: build the functions first"))?;
    let path = line.strip_prefix("deployment failed: ")?.split(" is missing: ").next()?;
    Some(PathBuf::from(path))
}

/// A new folder for this stack; those of stacks that are gone are removed.
fn fresh_folder(name: &str) -> std::io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let stacks = workspace().join(".local/stacks");
    fs::create_dir_all(&stacks)?;
    for entry in fs::read_dir(&stacks)?.flatten() {
        let file_name = entry.file_name();
        let owner = file_name.to_str().and_then(|it| it.strip_prefix(name)).and_then(owner_of);
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = stacks.join(format!("{name}-{}-{count}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// `-1234-0` -> 1234
fn owner_of(suffix: &str) -> Option<u32> {
    let (pid, count) = suffix.strip_prefix('-')?.split_once('-')?;
    count.parse::<u32>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_which_process_owns_it() {
        assert_eq!(owner_of("-123-0"), Some(123));
        assert_eq!(owner_of("-other-123-0"), None);
        assert_eq!(owner_of("-123"), None);
    }

    #[test]
    fn a_missing_function_is_named() {
        let log = "x\ndeployment failed: /t/webhooks is missing: build the functions first (`make test` does)\ny";
        assert_eq!(missing_binary(log), Some(PathBuf::from("/t/webhooks")));
    }
}
