//! Measures what the service costs, against what it could not do without.

mod bootstrap;
mod budget;
mod chart;
mod events;
mod figures;
mod functions;
mod harness;
mod normalize;
mod orders;
mod replay;
mod subjects;

use std::path::PathBuf;

use anyhow::{Context, bail};

use normalize::Effort;

const USAGE: &str = "\
usage: bench normalize [--quick]
       bench functions [--quick] [--gates | --accept] [--only NAME,NAME...] [--target FOLDER] [--out FOLDER]

  --quick          fewer rounds: figures to look at, not to quote
  --gates          compare what is stable with infra/bench/budget.json, and fail above it
  --accept         write what is found into it
  --target FOLDER  where the release builds are (default target)
  --out FOLDER     where bench.json and bench.svg go (default .local/bench)";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("normalize") => {
            let effort = match arguments.next().as_deref() {
                None => Effort::Thorough,
                Some("--quick") => Effort::Quick,
                Some(_) => bail!("{USAGE}"),
            };
            normalize::run(effort).and_then(|()| replay::run(effort.rounds()))
        }
        Some("once") => normalize::once(&arguments.collect::<Vec<_>>()),
        Some("functions") => functions::run_all(&options(arguments)?),
        _ => bail!("{USAGE}"),
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<functions::Options> {
    let mut options = functions::Options {
        rounds: (21, 7, 2_000),
        only: Vec::new(),
        gates: false,
        accepts: false,
        target: PathBuf::from("target"),
        out: PathBuf::from(".local/bench"),
    };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{name} needs a value"));
        match name.as_str() {
            "--quick" => options.rounds = (5, 3, 500),
            "--gates" => (options.gates, options.rounds) = (true, (5, 3, 500)),
            "--accept" => options.accepts = true,
            "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
            "--target" => options.target = value()?.into(),
            "--out" => options.out = value()?.into(),
            _ => bail!("{USAGE}"),
        }
    }
    Ok(options)
}
