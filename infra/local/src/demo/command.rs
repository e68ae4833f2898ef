//! Somebody else's program, run against our API.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;

const GLANCE: Duration = Duration::from_millis(200);

/// A program that ends with this value at the latest.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it with these variables in its environment.
    pub fn start(program: &str, arguments: &[String], variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("failed to start {program}"))?))
    }

    /// Says whether it ended well. Our own servers go on meanwhile.
    pub async fn wait(&mut self) -> anyhow::Result<bool> {
        loop {
            if let Some(status) = self.0.try_wait().context("failed to wait for the program")? {
                return Ok(status.success());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or nobody waits for it any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
