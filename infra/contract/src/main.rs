//! `contract run` tries a consumer; `contract consume` is one.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use contract::consumer::Consumer;
use contract::event::Event;
use contract::evidence::Verdict;
use contract::ledger::Ledger;
use contract::runner::{self, Report};
use contract::{books, queue};
use uuid::Uuid;

const USAGE: &str = "\
usage: contract run --sales-queue-url URL --replies-queue-url URL [options]
       contract consume --sales-queue-url URL --replies-queue-url URL [options]

run sends made-up events to a consumer's queue, reads what it says, and prints a verdict for each rule. Exit code 1 if a
rule is broken. The two queues are for this alone: nobody else may read the replies. Six messages that cannot be read stay
on the sales queue, until its redrive policy moves them to the dead letters.
  --books COMMAND        prints the consumer's totals, one JSON object for each:
                         {\"tenant\", \"business_date\", \"currency\", \"kind\", \"count\", \"total_minor\"}, kind being `sale`,
                         `refund`, `day_sale` or `day_refund`; without it, what replies do not show is not observable
  --timeout-seconds N    that an answer may take (default 30)
  --tenant NAME          whose events these are, and whose replies are taken (default contract-…, a new one)
  --location NAME        the shop that they name (default CONTRACT1)

consume is the reference consumer, with its books in memory.
  --books-file PATH      where it writes its totals after each change
  --refuse-location NAME a shop of which it takes nothing; may be repeated

both:
  --endpoint-url URL     instead of AWS's own
  --region NAME          (default AWS_REGION, or us-east-1)
Credentials are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; for a local emulator `test` and `test`.";

/// Between two lines of progress in a file; a terminal's line is rewritten.
const PAUSE: Duration = Duration::from_secs(2);
/// How long to wait for messages at a time, and after a failure.
const WAIT: Duration = Duration::from_secs(5);

/// What is wanted.
#[derive(Debug)]
struct Wanted {
    what: What,
    endpoint: Option<String>,
    region: String,
}

#[derive(Debug)]
enum What {
    Run(runner::Options),
    Consume { sales: String, replies: String, books: Option<PathBuf>, refused: Vec<String> },
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1), std::env::var("AWS_REGION").ok()) {
        Ok(Some(wanted)) => wanted,
        Ok(None) => {
            say(USAGE);
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("failed to start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(work(&wanted)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(3)
        }
    }
}

/// Says whether all is well.
async fn work(wanted: &Wanted) -> anyhow::Result<bool> {
    let config = queue::config(wanted.endpoint.as_deref(), &wanted.region)?;
    match &wanted.what {
        What::Run(options) => {
            let mut progress = Progress::new();
            let report = runner::run(&config, options, |text| progress.show(text)).await?;
            progress.end();
            print(&report);
            Ok(!report.is_broken())
        }
        What::Consume { sales, replies, books, refused } => {
            let consumer = Consumer::new(&config, sales, replies);
            consume(&consumer, Ledger::refusing(refused.iter().cloned()), books.as_deref()).await
        }
    }
}

/// Until it is ended from outside, which loses nothing but the books in memory.
async fn consume(consumer: &Consumer, mut ledger: Ledger, file: Option<&Path>) -> anyhow::Result<bool> {
    eprintln!("consuming; Ctrl-C ends it");
    loop {
        let turn = consumer.turn(WAIT, |body| Ok(ledger.take(Event::read(body)?).reply.into_iter().collect())).await;
        match turn {
            Ok(turn) if turn.unreadable > 0 => eprintln!("{} messages cannot be read, and stay", turn.unreadable),
            Ok(_) => {}
            Err(error) => {
                eprintln!("error: {error:#}; going on in {} s", WAIT.as_secs());
                tokio::time::sleep(WAIT).await;
            }
        }
        if let Some(file) = file {
            books::write(&ledger, file)?;
        }
    }
}

fn print(report: &Report) {
    for (rule, verdict) in &report.verdicts {
        let (word, why) = match verdict {
            Verdict::Kept => ("kept", None),
            Verdict::Broken(why) => ("BROKEN", Some(why)),
            Verdict::NotObservable(why) => ("not observable", Some(why)),
        };
        say(&format!("{word:<16}{:<22}{}", rule.name, rule.sentence));
        if let Some(why) = why {
            say(&format!("{:<16}{:<22}=> {why}", "", ""));
        }
    }
    if report.strangers > 0 {
        say(&format!("\n{} replies were not for this run; they are on the queue again", report.strangers));
    }
    let count = |is: fn(&Verdict) -> bool| report.verdicts.iter().filter(|(_, verdict)| is(verdict)).count();
    say(&format!(
        "\nVERDICT: {} rules kept, {} broken, {} not observable",
        count(|it| matches!(it, Verdict::Kept)),
        count(|it| matches!(it, Verdict::Broken(_))),
        count(|it| matches!(it, Verdict::NotObservable(_))),
    ));
}

fn say(line: &str) {
    // Nobody is reading any more; that is their choice and no reason to stop.
    let _ = writeln!(stdout(), "{line}");
}

/// How it goes, on standard error, so that the report can be kept apart.
struct Progress {
    is_terminal: bool,
    shown: Option<Instant>,
}

impl Progress {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, text: &str) {
        if self.is_terminal {
            eprint!("\r{text}\x1b[K");
        } else if self.shown.is_none_or(|at| at.elapsed() >= PAUSE) {
            eprintln!("{text}");
        } else {
            return;
        }
        self.shown = Some(Instant::now());
    }

    fn end(&self) {
        if self.is_terminal && self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

/// `None` when only the usage is wanted.
fn wanted(mut arguments: impl Iterator<Item = String>, region: Option<String>) -> Result<Option<Wanted>, String> {
    let command = arguments.next().unwrap_or_default();
    let is_run = match command.as_str() {
        "run" => true,
        "consume" => false,
        "--help" | "-h" => return Ok(None),
        "" => return Err("run or consume?".to_owned()),
        other => return Err(format!("there is no command {other}")),
    };
    let (mut sales, mut replies, mut endpoint) = (None, None, None);
    let mut region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let (mut books, mut seconds, mut location) = (None, 30_u64, "CONTRACT1".to_owned());
    let mut tenant = format!("contract-{}", Uuid::new_v4().simple());
    let (mut file, mut refused) = (None, Vec::new());
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        match (name.as_str(), is_run) {
            ("--help" | "-h", _) => return Ok(None),
            ("--sales-queue-url", _) => sales = Some(value()?),
            ("--replies-queue-url", _) => replies = Some(value()?),
            ("--endpoint-url", _) => endpoint = Some(value()?),
            ("--region", _) => region = value()?,
            ("--books", true) => books = Some(value()?),
            ("--tenant", true) => tenant = value()?,
            ("--location", true) => location = value()?,
            ("--timeout-seconds", true) => {
                let given = value()?;
                seconds = given.parse().map_err(|_| format!("{name} does not take `{given}`"))?;
            }
            ("--books-file", false) => file = Some(PathBuf::from(value()?)),
            ("--refuse-location", false) => refused.push(value()?),
            _ => return Err(format!("{command} has no option {name}")),
        }
    }
    let sales = sales.ok_or("--sales-queue-url is missing")?;
    let replies = replies.ok_or("--replies-queue-url is missing")?;
    let what = if is_run {
        let (sales_queue_url, replies_queue_url, limit) = (sales, replies, Duration::from_secs(seconds));
        What::Run(runner::Options { sales_queue_url, replies_queue_url, tenant, location_id: location, books, limit })
    } else {
        What::Consume { sales, replies, books: file, refused }
    };
    Ok(Some(Wanted { what, endpoint, region }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Wanted>, String> {
        wanted(line.split_whitespace().map(str::to_owned), None)
    }

    #[test]
    fn options_are_read_and_mistakes_are_named() {
        let queues = "--sales-queue-url s --replies-queue-url r";
        let run = parsed(&format!("run {queues} --timeout-seconds 3 --endpoint-url e")).unwrap().unwrap();
        assert_eq!((run.endpoint.as_deref(), run.region.as_str()), (Some("e"), "us-east-1"));
        let What::Run(options) = run.what else { panic!("{run:?}") };
        assert_eq!((options.limit.as_secs(), options.books), (3, None));
        assert!(options.tenant.starts_with("contract-"));
        let consume = parsed(&format!("consume {queues} --refuse-location a --refuse-location b")).unwrap().unwrap();
        assert!(matches!(consume.what, What::Consume { refused, .. } if refused == ["a", "b"]));
        assert!(parsed("run --help").unwrap().is_none());
        for (line, mistake) in [
            ("", "run or consume?"),
            ("jump", "there is no command jump"),
            ("run", "--sales-queue-url is missing"),
            ("run --sales-queue-url", "--sales-queue-url needs a value"),
            ("consume --books x", "consume has no option --books"),
            ("run --timeout-seconds soon", "--timeout-seconds does not take `soon`"),
        ] {
            assert_eq!(parsed(line).unwrap_err(), mistake, "{line}");
        }
    }
}
