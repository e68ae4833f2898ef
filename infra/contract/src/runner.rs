//! Plays the rules to a consumer and listens to what it says.
//!
//! It needs a pair of queues of which the consumer is the only reader of one and nobody but us reads the other. What it
//! reads of others on the replies queue is put back when it ends; it purges nothing.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use aws_sdk_sqs::types::Message;
use aws_types::SdkConfig;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use crate::books::Books;
use crate::evidence::{Evidence, Heard, Sent, Verdict};
use crate::letters::{Letter, Scene};
use crate::queue::{BATCH, Outgoing, Queue};
use crate::rules::{RULES, Rule, Step};

/// SQS counts in seconds; so long we listen at a time.
const LISTEN: Duration = Duration::from_secs(1);
/// Between two looks into the books that are not as they should be yet.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Whom to try, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The consumer reads it.
    pub sales_queue_url: String,
    /// The consumer writes to it.
    pub replies_queue_url: String,
    /// Whose events these are; replies to it are taken off the queue.
    pub tenant: String,
    /// In which shop.
    pub location_id: String,
    /// A shell command that prints the consumer's [books](crate::books).
    pub books: Option<String>,
    /// How long an answer may take.
    pub limit: Duration,
}

/// What was found out.
#[derive(Debug, Clone)]
pub struct Report {
    /// Of each rule.
    pub verdicts: Vec<(&'static Rule, Verdict)>,
    /// Messages of others that were on the replies queue. They are there again.
    pub strangers: usize,
}

impl Report {
    /// Whether a rule is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Broken(_)))
    }
}

/// Tries a consumer. `progress` hears how it goes, about once a second.
///
/// # Errors
/// When a queue fails or the books cannot be read. What the consumer does wrong is no error.
pub async fn run(config: &SdkConfig, options: &Options, mut progress: impl FnMut(&str)) -> anyhow::Result<Report> {
    let mut run = Run {
        sales: Queue::new(config, &options.sales_queue_url),
        replies: Queue::new(config, &options.replies_queue_url),
        options,
        began: Instant::now(),
        scenes: scenes(options),
        sent: Vec::new(),
        heard: Vec::new(),
        strangers: BTreeMap::new(),
    };
    let outcome = run.play(&mut progress).await;
    // Also when it has failed: they are not ours.
    let strangers: Vec<Message> = run.strangers.into_values().collect();
    let mut is_back = Ok(());
    for some in strangers.chunks(BATCH) {
        is_back = is_back.and(run.replies.put_back(some).await);
    }
    let verdicts = outcome?;
    is_back?;
    Ok(Report { verdicts, strangers: strangers.len() })
}

/// One for each rule: a configuration of its own, and a day of its own, so that books can be told apart.
fn scenes(options: &Options) -> Vec<Scene> {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let scene = |(_, ago): (&Rule, i64)| {
        Scene::new(&options.tenant, &options.location_id, &today.saturating_sub(ago.days()).to_string())
    };
    RULES.iter().zip(1..).map(scene).collect()
}

struct Run<'o> {
    sales: Queue,
    replies: Queue,
    options: &'o Options,
    began: Instant,
    scenes: Vec<Scene>,
    sent: Vec<Sent>,
    heard: Vec<Heard>,
    /// By their ids: one that comes again is still one, and its newest handle counts.
    strangers: BTreeMap<String, Message>,
}

impl Run<'_> {
    async fn play(&mut self, progress: &mut impl FnMut(&str)) -> anyhow::Result<Vec<(&'static Rule, Verdict)>> {
        let mut scripts: Vec<_> =
            RULES.iter().zip(&self.scenes).map(|(rule, scene)| rule.script(scene).into_iter()).collect();
        let mut step = 0;
        loop {
            let letters = scripts.iter_mut().enumerate();
            let letters = letters.flat_map(|(rule, steps)| steps.next().map(|step| (rule, step)));
            let letters: Vec<(usize, Step)> = letters.collect();
            if letters.is_empty() {
                break;
            }
            step += 1;
            let letters: Vec<_> = letters
                .into_iter()
                .flat_map(|(rule, step)| step.into_iter().map(move |letter| (rule, letter)))
                .collect();
            self.send(letters).await?;
            self.hear_answers(step, progress).await?;
        }
        progress("listening to what else it says");
        // For a while: one that talks without end is heard enough.
        let enough = Instant::now() + self.options.limit;
        while self.listen().await? > 0 && Instant::now() < enough {}
        self.judge(progress).await
    }

    async fn send(&mut self, letters: Vec<(usize, Letter)>) -> anyhow::Result<()> {
        let tenant = self.options.tenant.as_str();
        for some in letters.chunks(BATCH) {
            let attributes: Vec<_> =
                some.iter().map(|(_, letter)| [("type", letter.event_type), ("tenantid", tenant)]).collect();
            let messages = some.iter().zip(&attributes).map(|((_, letter), attributes)| Outgoing {
                body: &letter.body,
                attributes,
                group: Some(tenant),
            });
            let messages: Vec<_> = messages.collect();
            if self.sales.send(&messages).await?.contains(&false) {
                bail!("the sales queue did not take every message");
            }
            let at = self.began.elapsed();
            self.sent.extend(some.iter().cloned().map(|(rule, letter)| Sent { rule, letter, at }));
        }
        Ok(())
    }

    /// Listens until everything that was sent in this step is answered, or has had its time.
    async fn hear_answers(&mut self, step: usize, progress: &mut impl FnMut(&str)) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.options.limit;
        loop {
            let missing = self.awaited();
            if missing == 0 || Instant::now() > deadline {
                return Ok(());
            }
            let seconds = deadline.saturating_duration_since(Instant::now()).as_secs();
            progress(&format!("step {step}: {missing} answers are missing, {seconds} s to go"));
            self.listen().await?;
        }
    }

    /// Answers that are missing and may still come in time.
    fn awaited(&self) -> usize {
        let now = self.began.elapsed();
        (0..RULES.len()).filter_map(|rule| Some(self.evidence(rule, None)?.awaited(now))).sum()
    }

    /// Reads the replies that are there, and says how many of them are ours.
    async fn listen(&mut self) -> anyhow::Result<usize> {
        let messages = self.replies.receive(LISTEN).await?;
        let at = self.began.elapsed();
        let (mut ours, mut heard) = (Vec::new(), 0);
        for message in messages {
            let reply = Heard::new(message.body().unwrap_or_default(), at);
            if reply.concerns(&self.options.tenant, &self.sent) {
                self.heard.push(reply);
                ours.push(message);
                heard += 1;
            } else {
                self.strangers.insert(message.message_id().unwrap_or_default().to_owned(), message);
            }
        }
        self.replies.delete(&ours.iter().collect::<Vec<_>>()).await?;
        Ok(heard)
    }

    fn evidence<'e>(&'e self, rule: usize, books: Option<&'e Books>) -> Option<Evidence<'e>> {
        let (scene, limit) = (self.scenes.get(rule)?, self.options.limit);
        Some(Evidence { scene, rule, all_sent: &self.sent, heard: &self.heard, books, limit })
    }

    fn verdicts(&self, books: Option<&Books>) -> Vec<(&'static Rule, Verdict)> {
        let judged = RULES.iter().enumerate();
        judged.filter_map(|(index, rule)| Some((rule, rule.judge(&self.evidence(index, books)?)))).collect()
    }

    /// Books may be behind: they are looked at again while they alone break a rule, for as long as an answer may take.
    async fn judge(&self, progress: &mut impl FnMut(&str)) -> anyhow::Result<Vec<(&'static Rule, Verdict)>> {
        let by_replies = self.verdicts(None);
        let Some(command) = &self.options.books else { return Ok(by_replies) };
        let deadline = Instant::now() + self.options.limit;
        let broken = |verdict: &Verdict| matches!(verdict, Verdict::Broken(_));
        loop {
            let verdicts = self.verdicts(Some(&books(command, &self.options.tenant)?));
            let behind =
                verdicts.iter().zip(&by_replies).filter(|((_, with), (_, without))| broken(with) && !broken(without));
            let behind = behind.count();
            if behind == 0 || Instant::now() > deadline {
                return Ok(verdicts);
            }
            progress(&format!("the books are not yet right for {behind} rules"));
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Asks the consumer.
fn books(command: &str, tenant: &str) -> anyhow::Result<Books> {
    let output = Command::new("sh").arg("-c").arg(command).output().context("failed to start the books' command")?;
    if !output.status.success() {
        bail!("`{command}` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout).with_context(|| format!("`{command}` prints no text"))?;
    Books::read(&text, tenant).with_context(|| format!("`{command}` was misunderstood"))
}
