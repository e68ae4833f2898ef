//! One life of one process: started, given its events, measured, ended.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::aws::{Aws, Calls};
use super::counting::{Counting, total};
use super::meter::{Meter, pin};
use super::runtime_api::{Seen, Session};
use crate::events::workspace;
use crate::subjects::{Kind, Subject};

/// The function has a CPU of its own, and so has whoever watches it.
const OURS: usize = 0;
const THEIRS: usize = 1;
/// A function that has not answered by then will not.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it is given.
#[derive(Debug, Clone, Copy)]
pub enum Deliveries {
    /// One, and its answer is the end of a cold start.
    Cold,
    /// So many, of which the first tenth is not measured.
    Warm(usize),
    /// One that it must refuse.
    Forged,
}

/// What one life has shown.
#[derive(Debug, Clone)]
pub struct Sample {
    /// From the start of the process until it asked for its first event.
    pub init: Duration,
    /// From the start of the process to its first answer.
    pub cold: Duration,
    /// From the first event to its answer.
    pub first: Duration,
    /// The most memory, in bytes.
    pub memory: u64,
    /// Of the warm part.
    pub warm: Option<Warm>,
    /// What AWS was called for, from the beginning.
    pub calls: Calls,
}

/// Of events that came one after the other.
#[derive(Debug, Clone)]
pub struct Warm {
    /// From each event to its answer, sorted.
    pub took: Vec<Duration>,
    /// Time on a CPU for all of them.
    pub cpu: Duration,
    /// How long all of them took.
    pub length: Duration,
}

/// Starts it, gives it its events, and ends it.
pub fn run(subject: &Subject, aws: &Aws, deliveries: Deliveries) -> anyhow::Result<Sample> {
    let mut command = Command::new(&subject.program);
    command.args(subject.arguments);
    live(subject, aws, deliveries, command, |child| Ok(child.kill()?)).with_context(|| subject.name)
}

/// User instructions from the start of the process until all events are answered. `None`: nobody can count them here.
pub fn instructions(subject: &Subject, aws: &Aws, events: usize) -> anyhow::Result<Option<u64>> {
    // An interpreter's are its own.
    let counting = Some(&subject.program).filter(|_| subject.kind != Kind::Peer).and_then(|it| Counting::of(it));
    let Some(counting) = counting else { return Ok(None) };
    // It writes what it has counted when it is asked to end.
    let terminate = |child: &mut Child| Ok(kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?);
    let Counting { command, out } = counting;
    let counted = live(subject, aws, Deliveries::Warm(events), command, terminate).and_then(|_| total(&out));
    counted.map(Some).with_context(|| format!("{} under valgrind", subject.name))
}

fn live(
    subject: &Subject,
    aws: &Aws,
    deliveries: Deliveries,
    mut command: Command,
    end: impl FnOnce(&mut Child) -> anyhow::Result<()>,
) -> anyhow::Result<Sample> {
    let (warm_from, count) = match deliveries {
        Deliveries::Cold | Deliveries::Forged => (0, 1),
        Deliveries::Warm(count) => (count / 10, count / 10 + count),
    };
    let is_forged = matches!(deliveries, Deliveries::Forged);
    let events = (0..count).map(|number| subject.event(number, is_forged)).collect::<anyhow::Result<_>>()?;
    let (sender, all_answered) = channel();
    let session = Arc::new(Session::new(events, warm_from, sender));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    pin(OURS);
    let serving = Arc::clone(&session);
    std::thread::spawn(move || serving.serve(&listener));
    let _ = aws.take_calls();

    command.env_clear().envs(subject.environment(aws, &address));
    command.current_dir(workspace()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The child inherits where we may run.
    pin(THEIRS);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("failed to start {}", subject.program.display()))?;
    let meter = Meter::of(&child)?;
    pin(OURS);
    let _ = session.meter.set(meter);
    let answered = wait_for_the_end(&all_answered, &mut child);
    let memory = meter.most_memory();
    if answered.is_ok() {
        end(&mut child)?;
    } else {
        child.kill()?;
    }
    child.wait()?;

    let seen = session.seen();
    check(subject, &seen, is_forged)?;
    answered?;
    let ready = seen.ready.context("it was never ready")?;
    let (first, delivered) = seen.answered.first().zip(seen.delivered.first()).context("it has answered nothing")?;
    Ok(Sample {
        init: ready - started,
        cold: *first - started,
        first: *first - *delivered,
        memory,
        warm: warm(&seen, warm_from),
        calls: aws.take_calls(),
    })
}

/// Until everything is answered.
fn wait_for_the_end(all_answered: &Receiver<()>, child: &mut Child) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if all_answered.recv_timeout(Duration::from_millis(250)).is_ok() {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            bail!("it has ended by itself: {status}");
        }
    }
    bail!("it has not answered within {PATIENCE:?}");
}

/// Whether every answer is what it must be.
fn check(subject: &Subject, seen: &Seen, is_forged: bool) -> anyhow::Result<()> {
    if let Some(error) = &seen.error {
        bail!("it has failed: {error}");
    }
    let expected = if is_forged { subject.refuses.unwrap_or_default() } else { subject.answers };
    for answer in &seen.answers {
        let answer = String::from_utf8_lossy(answer);
        ensure!(answer.contains(expected), "it answered `{answer}`, which is not `{expected}`");
    }
    Ok(())
}

fn warm(seen: &Seen, from: usize) -> Option<Warm> {
    let both = seen.answered.iter().zip(&seen.delivered).skip(from);
    let mut took: Vec<_> = both.map(|(answered, delivered)| *answered - *delivered).collect();
    took.sort();
    let length = *seen.answered.last()? - *seen.delivered.get(from)?;
    Some(Warm { took, cpu: seen.end?.checked_sub(seen.warm?)?, length })
}
