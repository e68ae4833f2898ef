//! Every function's release build beside the empty one: cold, warm, in instructions and in bytes.
//!
//! All subjects take turns in an order that changes each round: a program that starts right after itself is faster. Figures
//! are shown as ratios to the empty handler of the same run, because milliseconds are a machine's.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::bootstrap;
use crate::budget::{Budget, Found};
use crate::chart;
use crate::events::Identity;
use crate::figures::{MEASURES, Series, float};
use crate::harness::aws::{Aws, Calls};
use crate::harness::{Deliveries, instructions, run};
use crate::subjects::{self, Kind, REFERENCE, Subject};

/// How much, and what for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Rounds of cold starts, of warm runs, and events in each of those.
    pub rounds: (usize, usize, usize),
    /// Only these, and the reference; empty for all.
    pub only: Vec<String>,
    /// What is stable is compared with the budget, and times are not taken seriously.
    pub gates: bool,
    /// What was found becomes the budget.
    pub accepts: bool,
    /// Where the builds are.
    pub target: PathBuf,
    /// Where the figures go.
    pub out: PathBuf,
}

struct Measured {
    subject: Subject,
    /// What is uploaded; of a peer, nobody knows.
    zipped: Option<usize>,
    calls: Calls,
    instructions: Option<Instructions>,
    series: Series,
}

/// As valgrind counts them.
#[derive(Debug, Clone, Copy)]
struct Instructions {
    /// From the start of the process to the first answer.
    cold: f64,
    /// Of an event.
    each: f64,
}

/// Prints the table, writes figures and chart, and fails if the budget does not hold.
pub fn run_all(options: &Options) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let identity = Identity::new()?;
    let aws = Aws::start(&subjects::secret(&identity), &options.out)?;
    let (subjects, missing) = subjects::all(&options.target, &aws, &identity)?;
    let wanted = |name: &str| options.only.is_empty() || name == REFERENCE || options.only.iter().any(|it| it == name);
    let missing: Vec<_> = missing.into_iter().filter(|name| wanted(name)).collect();
    if !missing.is_empty() {
        writeln!(out, "NOT MEASURED, because not built: {}", missing.join(", "))?;
    }
    let mut all = Vec::new();
    for subject in subjects.into_iter().filter(|subject| wanted(subject.name)) {
        let is_built = subject.kind != Kind::Peer;
        let zipped = is_built.then(|| bootstrap::zipped_size(&subject.program)).transpose()?;
        let calls = check(&subject, &aws)?;
        let instructions = count(&subject, &aws)?;
        all.push(Measured { subject, zipped, calls, instructions, series: Series::default() });
    }
    let (cold, warm, events) = options.rounds;
    let mut order = Shuffled::new(all.len());
    for round in 0..cold + warm {
        for place in order.next() {
            let Some(Measured { subject, series, .. }) = all.get_mut(place) else { continue };
            if round < cold {
                series.cold.push(run(subject, &aws, Deliveries::Cold)?);
            } else {
                series.warm.push(run(subject, &aws, Deliveries::Warm(events))?);
            }
        }
        write!(out, "\rround {} of {}", round + 1, cold + warm)?;
        out.flush()?;
    }
    writeln!(out, "\n")?;
    let reference = all.iter().find(|it| it.subject.name == REFERENCE).context("the empty handler is not built")?;
    for line in table(&all, reference) {
        writeln!(out, "{line}")?;
    }
    save(&all, &reference.series, &options.out)?;
    if reference.instructions.is_none() {
        writeln!(out, "SKIPPED: instructions. There is no valgrind to count them.")?;
    }
    if options.gates || options.accepts {
        let functions = all.iter().filter(|it| it.subject.kind == Kind::Function);
        let found = functions.map(|it| (it.subject.name.to_owned(), found(it, reference)));
        Budget::read()?.compare(found.collect(), options.accepts, &mut out)?;
    }
    Ok(())
}

/// Does it do its work, each time, and refuse what is forged? Returns what it calls AWS for, for one event.
fn check(subject: &Subject, aws: &Aws) -> anyhow::Result<Calls> {
    let [once, more] = [Deliveries::Warm(10), Deliveries::Warm(20)].map(|deliveries| run(subject, aws, deliveries));
    let (once, more) = (once?.calls, more?.calls);
    let mut calls = Calls::new();
    for (operation, count) in &more {
        // Eleven and twenty-two events: what is called for once in a life falls out.
        let grown = count - once.get(operation).copied().unwrap_or_default();
        ensure!(grown % 11 == 0, "{} calls {operation} not for each event alike: {grown} for 11", subject.name);
        if grown > 0 {
            calls.insert(operation.clone(), grown / 11);
        }
    }
    if subject.refuses.is_some() {
        let refused = run(subject, aws, Deliveries::Forged)?;
        let sent = refused.calls.get("SendMessage").copied().unwrap_or_default();
        ensure!(sent == 0, "{} sends what is forged on", subject.name);
    }
    Ok(calls)
}

fn ratio(series: &Series, reference: &Series, measure: &str) -> Option<f64> {
    Some(series.named(measure)?.median / reference.named(measure)?.median)
}

/// Two lives that differ in eleven events; the first of them begins with the first answer. What a busy machine disturbs (a
/// time-out, a flush that is due) only ever adds, so of a few lives the least counts.
fn count(subject: &Subject, aws: &Aws) -> anyhow::Result<Option<Instructions>> {
    let least = |events| {
        let lives = (0..3).map(|_| instructions(subject, aws, events)).collect::<anyhow::Result<Option<Vec<_>>>>()?;
        anyhow::Ok(lives.and_then(|lives| lives.into_iter().min()))
    };
    let Some((fewer, more)) = least(10)?.zip(least(20)?) else { return Ok(None) };
    let each = float(more.saturating_sub(fewer)) / 11.0;
    Ok(Some(Instructions { cold: float(fewer) - 10.0 * each, each }))
}

fn found(measured: &Measured, reference: &Measured) -> Found {
    let both = measured.instructions.zip(reference.instructions);
    Found {
        instructions: both.map(|(ours, theirs)| ours.each / theirs.each),
        cold_instructions: both.map(|(ours, theirs)| ours.cold / theirs.cold),
        zipped: measured.zipped.unwrap_or_default(),
        calls: measured.calls.clone(),
    }
}

fn table(all: &[Measured], reference: &Measured) -> Vec<String> {
    let titles: Vec<_> = MEASURES.iter().map(|measure| measure.title).collect();
    let more = "zip MB | cold Minstr | kinstr | x cold | x CPU | x MB | x cold instr | x instr |";
    let mut lines = vec![
        format!("| function | {} | {more}", titles.join(" | ")),
        format!("|---|{}", "---|".repeat(MEASURES.len() + 8)),
    ];
    let shown = |number: Option<f64>| number.map_or("-".to_owned(), |number| format!("{number:.2}"));
    for measured in all {
        let Measured { subject, zipped, series, instructions, .. } = measured;
        let cells = MEASURES.iter().map(|measure| {
            let (figure, d) = (series.figure(measure), measure.decimals);
            let shown = figure.map(|it| format!("{:.d$} ({:.d$}-{:.d$})", it.median, it.min, it.max));
            shown.unwrap_or("-".to_owned())
        });
        let counted = [instructions.map(|it| it.cold / 1e6), instructions.map(|it| it.each / 1e3)];
        let ratios = ["cold_ms", "warm_cpu_us", "memory_mb"].map(|it| ratio(series, &reference.series, it));
        let both = instructions.zip(reference.instructions);
        let instructions = [both.map(|(a, b)| a.cold / b.cold), both.map(|(a, b)| a.each / b.each)];
        let more = [zipped.map(megabytes)].into_iter().chain(counted).chain(ratios).chain(instructions);
        lines.push(format!("| {} | {} |", subject.name, cells.chain(more.map(shown)).collect::<Vec<_>>().join(" | ")));
    }
    lines
}

fn save(all: &[Measured], reference: &Series, folder: &Path) -> anyhow::Result<()> {
    let subjects: BTreeMap<_, Value> = all
        .iter()
        .map(|it| {
            let mut figures = it.series.json();
            if let Some(figures) = figures.as_object_mut() {
                figures.insert("zip_bytes".to_owned(), json!(it.zipped));
                let counted = it.instructions.map(|it| json!({ "to_first_answer": it.cold, "of_an_event": it.each }));
                figures.insert("instructions".to_owned(), json!(counted));
                figures.insert("calls".to_owned(), json!(it.calls));
            }
            (it.subject.name, figures)
        })
        .collect();
    let bars = |measure: &str| {
        let bars = all.iter().filter_map(|it| Some((it.subject.name, ratio(&it.series, reference, measure)?)));
        bars.collect::<Vec<_>>()
    };
    std::fs::create_dir_all(folder)?;
    let figures = json!({ "reference": REFERENCE, "median_min_max": subjects });
    std::fs::write(folder.join("bench.json"), serde_json::to_string_pretty(&figures)? + "\n")?;
    let charts = [("cold start", "cold_ms"), ("CPU of an event", "warm_cpu_us"), ("memory", "memory_mb")];
    let charts = charts.map(|(title, measure)| (title, bars(measure)));
    std::fs::write(folder.join("bench.svg"), chart::draw(&charts))?;
    Ok(())
}

fn megabytes(bytes: usize) -> f64 {
    u32::try_from(bytes).map_or(f64::NAN, f64::from) / 1e6
}

/// Everybody's turn, in another order each time, the same in every run of this program.
struct Shuffled(Vec<usize>, usize);

impl Shuffled {
    fn new(count: usize) -> Self {
        Self((0..count).collect(), 0x9e37_79b9)
    }

    fn next(&mut self) -> Vec<usize> {
        for last in (1..self.0.len()).rev() {
            // <https://www.jstatsoft.org/article/view/v008i14>
            self.1 ^= self.1 << 13;
            self.1 ^= self.1 >> 7;
            self.1 ^= self.1 << 17;
            self.0.swap(last, self.1 % (last + 1));
        }
        self.0.clone()
    }
}
