//! Measures what the service costs, against what it could not do without.

mod normalize;
mod orders;

use anyhow::bail;

const USAGE: &str = "usage: bench normalize [--quick]";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["normalize"] => normalize::run(normalize::Effort::Thorough),
        ["normalize", "--quick"] => normalize::run(normalize::Effort::Quick),
        _ => bail!("{USAGE}"),
    }
}
