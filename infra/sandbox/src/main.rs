//! Keeps a sandbox open until Ctrl-C, for a person with curl.

use std::io::Write;

use anyhow::{Context, bail};
use sandbox::{Sandbox, SandboxOptions};

const USAGE: &str =
    "usage: sandbox [--seed N] [--port N] [--speed N] [--shops N] [--merchants N] [--abroad yes] [--clock runs]";

fn main() -> anyhow::Result<()> {
    let Some(options) = options(std::env::args().skip(1))? else {
        writeln!(std::io::stdout(), "{USAGE}")?;
        return Ok(());
    };
    let sandbox = Sandbox::start(options.clone()).context("failed to start the sandbox")?;
    let (url, application) = (sandbox.square_url(), sandbox.application());
    let mut out = std::io::stdout();
    writeln!(
        out,
        "Square        {url}\nToast         {}\nLightspeed    {}",
        sandbox.toast_url(),
        sandbox.lightspeed_url()
    )?;
    writeln!(out, "control desk  {url}/_admin")?;
    writeln!(out, "application   {} (secret {})", application.id, application.secret)?;
    for merchant in sandbox.merchants() {
        writeln!(out, "merchant      {} {} ({} shops)", merchant.id, merchant.name, merchant.locations.len())?;
    }
    writeln!(
        out,
        "\n  curl -X POST {url}/_admin/play -d '{{\"sales\": 40}}'\n\nseed {}; Ctrl-C ends it",
        options.seed
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::signal::ctrl_c())?;
    sandbox.stop();
    Ok(())
}

/// `None` when only the usage is wanted.
fn options(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<SandboxOptions>> {
    let mut options = SandboxOptions::default();
    while let Some(name) = arguments.next() {
        if name == "--help" || name == "-h" {
            return Ok(None);
        }
        let value = arguments.next().with_context(|| format!("{name} needs a value\n{USAGE}"))?;
        let wrong = || format!("{name} does not take `{value}`\n{USAGE}");
        match name.as_str() {
            "--seed" => options.seed = value.parse().with_context(wrong)?,
            "--port" => options.port = Some(value.parse().with_context(wrong)?),
            "--speed" => options.speed = value.parse().with_context(wrong)?,
            "--shops" => options.shops = value.parse().with_context(wrong)?,
            "--abroad" => options.abroad = value == "yes",
            "--clock" => options.clock_runs = value == "runs",
            "--merchants" => options.merchants = value.parse().with_context(wrong)?,
            _ => bail!("there is no option {name}\n{USAGE}"),
        }
    }
    Ok(Some(options))
}
