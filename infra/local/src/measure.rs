//! What a backfill costs, and what it does to the sales of others: `make measure-backfill`.
//!
//! Two stacks, one after the other. In the first, a proxy counts the AWS calls of a small backfill and of the same one
//! again, when nothing has changed. The second has no proxy, because that costs time: a small tenant sells at a steady
//! pace, and then a large one is connected, whose past is read meanwhile, from a vendor that takes its time for each page.
//! Before that, another one was connected, and its vendor answered at once: how fast it goes then is the throughput, and the
//! local AWS, one process, has no time left for anybody.

pub mod budget;
mod costs;
mod cpu;
mod live;
pub mod load;
pub mod sale;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use aws_sdk_sqs::types::QueueAttributeName;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use local::{
    Answers, Bakery, SalesDomain, StackOptions, TENANT,
    api::{Api, Run, answer_of},
};
use reqwest::{Method, StatusCode};
use sandbox::{Faults, Sandbox, SandboxOptions, Slowness, Vendor};
use serde_json::{Value, json};

use crate::demo::Screen;
use cpu::Used;
use live::Live;

/// The tenant whose past is read.
const CHAIN: &str = "chain";
/// So much of the past is read as fast as it goes.
const SPRINT: usize = 4_000;
/// Functions start cold, and what they do first is not what they do.
const WARM_UP: Duration = Duration::from_secs(10);
const LONGEST_DRAIN: Duration = Duration::from_secs(300);
const LONGEST_CATALOGUE: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Orders of the past, about.
    pub orders: usize,
    /// Orders whose AWS calls are counted, about.
    pub counted: usize,
    /// Live sales in a second.
    pub rate: u32,
    /// Seconds of live sales before the backfill.
    pub quiet: u64,
    /// Milliseconds that the vendor takes for a page.
    pub page_millis: u64,
    /// Minutes that the backfill may take; then it is cancelled, and what it has done is what was measured.
    pub minutes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { orders: 50_000, counted: 1_000, rate: 2, quiet: 60, page_millis: 1_000, minutes: 12 }
    }
}

/// Prints the figures.
pub async fn run(options: &Options, screen: &mut Screen) -> anyhow::Result<()> {
    let costs = costs::count(options.counted, screen).await?;
    let town = Town::open(stack("measure"), &[options.orders, options.orders.min(SPRINT)], screen).await?;
    let sales = SalesDomain::start_for(&town.bakery.stack, Answers::AtOnce, TENANT);
    let mut live = Live::new(&town.bakery, &sales, options.rate)?;
    load::sell(&mut live, WARM_UP, "warming up", screen).await?;
    let quiet = load::sell(&mut live, Duration::from_secs(options.quiet), "quiet", screen).await?;
    let longest = Duration::from_secs(60 * options.minutes);
    let [past, sprint] = town.pasts.as_slice() else { bail!("two merchants have a past") };
    let before = Used::by_functions_of(&town.bakery.stack);
    let (fast_run, fast) = backfill(&town, sprint, &mut live, longest, screen).await?;
    let used = Used::by_functions_of(&town.bakery.stack);
    town.drained(screen).await?;
    let slow = Slowness { path: "/v2/orders/search".to_owned(), millis: options.page_millis };
    town.bakery.sandbox.set_faults(Faults { slow: vec![slow], ..Faults::default() });
    let (run, during) = backfill(&town, past, &mut live, longest, screen).await?;

    screen.line("");
    screen.line(&format!("a vendor that takes {} ms for a page:\n  {}", options.page_millis, throughput(&run)?));
    screen.line(&format!("a vendor that answers at once:\n  {}", throughput(&fast_run)?));
    let ratio = |phase: &live::Phase| phase.sales.p99() / quiet.sales.p99();
    let ratios = format!("p99 ratio {:.2} (goal: at most 2); at full speed {:.2}\n", ratio(&during), ratio(&fast));
    let phases = [("quiet", quiet), ("at full speed", fast), ("during backfill", during)];
    load::table(&phases.map(|(what, phase)| (what.to_owned(), phase)), screen);
    screen.line(&ratios);
    for line in used.table(&before, fast_run.progress.orders.seen) {
        screen.line(&line);
    }
    screen.line("(debug builds, at full speed, live sales included)\n");
    for line in costs.table() {
        screen.line(&line);
    }
    Ok(())
}

/// Connects a merchant with a past and sells on until that is read. Returns the run, and what the sales took.
async fn backfill(
    town: &Town,
    past: &Past,
    live: &mut Live<'_>,
    longest: Duration,
    screen: &mut Screen,
) -> anyhow::Result<(Run, live::Phase)> {
    live.begin();
    let api = town.bakery.api_of(CHAIN, &["pos:read", "pos:write"])?;
    let connected = Instant::now();
    let id = town.connect(&api, past, past.days + 2).await?;
    let mut run = first_backfill(&api, &id).await?;
    let (mut is_cancelled, mut waiting) = (false, String::new());
    while !run.has_ended() {
        let took = connected.elapsed();
        let line = || format!("backfill, {} s: {}; {waiting}", took.as_secs(), shown(&run));
        if live.go_on(screen, line).await? {
            run = api.run(&id, &run.id).await?;
            waiting = town.waiting().await?.1;
        }
        if took > longest && !is_cancelled {
            is_cancelled = true;
            let path = format!("/configurations/{id}/sync/cancel");
            let _: Value =
                answer_of(api.request(Method::POST, &path), StatusCode::ACCEPTED, "cancel the backfill").await?;
        }
        if took > longest + Duration::from_secs(120) {
            bail!("the backfill has not ended: {}", shown(&run));
        }
    }
    Ok((run, live.finish(screen).await?))
}

fn shown(run: &Run) -> String {
    let progress = &run.progress;
    format!("{} {} orders on {} of {} pages", run.state, progress.orders.seen, progress.pages_done, progress.pages)
}

fn throughput(run: &Run) -> anyhow::Result<String> {
    let (from, to) = run.started_at.zip(run.ended_at).context("a run that has ended was begun")?;
    let seconds = to.duration_since(from).as_secs_f64();
    let (orders, progress) = (run.progress.orders, &run.progress);
    // Exact in an f64 up to 2^53.
    let rate = f64::from(u32::try_from(orders.seen)?) / seconds;
    Ok(format!(
        "backfill {}: {} orders ({} new, {} failed) on {} pages in {seconds:.0} s: {rate:.0} orders/s; {} requests, {:.1} s waited \
         for the vendor's limit",
        run.state,
        orders.seen,
        orders.created,
        orders.failed,
        progress.pages,
        progress.requests,
        Duration::from_millis(progress.rate_limit_waited_ms).as_secs_f64(),
    ))
}

/// The run that begins by itself with the connection.
async fn first_backfill(api: &Api, configuration_id: &str) -> anyhow::Result<Run> {
    let runs = api.runs(configuration_id).await?;
    runs.into_iter().find(|run| run.kind == "backfill").context("the connection began no backfill")
}

fn stack(name: &str) -> StackOptions {
    StackOptions { name: name.to_owned(), ..StackOptions::default() }
}

/// A simulator with a merchant that sells now, which is connected to our service, and others with a past.
struct Town {
    bakery: Bakery,
    pasts: Vec<Past>,
}

/// Whose past can be read.
struct Past {
    merchant_id: String,
    /// So long it is.
    days: u16,
}

impl Town {
    /// With a past of about so many orders for each further merchant.
    async fn open(stack: StackOptions, orders: &[usize], screen: &mut Screen) -> anyhow::Result<Self> {
        let manners = SandboxOptions { duplicates_percent: 0, disorder_percent: 0, ..SandboxOptions::default() };
        // The vendor sends what is due in the order of its sales: with few at once, a tenant would wait there for the crowd.
        let options = SandboxOptions { merchants: 1 + orders.len(), concurrent_deliveries: 24, ..manners };
        let sandbox = Sandbox::start(options).context("failed to start the simulator")?;
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let mut pasts = Vec::new();
        for (merchant, orders) in sandbox.merchants().into_iter().skip(1).zip(orders) {
            let days: u16 = if *orders > 5_000 { 60 } else { 5 };
            let customers = orders.div_ceil(usize::from(days) * merchant.locations.len());
            for ago in (1..=days).rev() {
                screen.status(&format!("{}: the past of {} is written, {ago} days to go", stack.name, merchant.name));
                let day = today.saturating_sub(i64::from(ago).days());
                sandbox.at(Vendor::Square).stock_days_of(&merchant.id, day, 1, customers)?;
            }
            pasts.push(Past { merchant_id: merchant.id, days });
        }
        screen.keep_status();
        let stack = StackOptions { shows_progress: true, ..stack };
        Ok(Self { bakery: Bakery::open(sandbox, stack).await?, pasts })
    }

    /// Waits until nothing is left of what was sold.
    async fn drained(&self, screen: &mut Screen) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let (count, shown) = self.waiting().await?;
            if count == 0 {
                screen.keep_status();
                return Ok(());
            }
            if began.elapsed() > LONGEST_DRAIN {
                bail!("within {} s the queues were not empty: {shown}", LONGEST_DRAIN.as_secs());
            }
            screen.status(&shown);
            tokio::time::sleep(screen.pause()).await;
        }
    }

    /// Where work piles up: what lies on the queues on its way, together and one by one.
    async fn waiting(&self) -> anyhow::Result<(u64, String)> {
        use QueueAttributeName::{ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible};
        let stack = &self.bakery.stack;
        let client = aws_sdk_sqs::Client::new(&stack.config());
        let (mut all, mut shown) = (0, Vec::new());
        for (name, output) in [
            ("live", "IntakeQueueUrl"),
            ("backfill", "IntakeBackfillQueueUrl"),
            ("sales", "SalesQueueUrl"),
            ("replies", "SalesRepliesQueueUrl"),
        ] {
            let asked = client.get_queue_attributes().queue_url(stack.output(output).unwrap_or_default());
            let asked = asked.attribute_names(ApproximateNumberOfMessages);
            let asked = asked.attribute_names(ApproximateNumberOfMessagesNotVisible).send().await?;
            let counts = asked.attributes.unwrap_or_default();
            let count: u64 = counts.values().filter_map(|count| count.parse::<u64>().ok()).sum();
            all += count;
            shown.push(format!("{name} {count}"));
        }
        Ok((all, format!("waiting: {}", shown.join(", "))))
    }

    /// Connects the merchant with a past, of which so many days are read at once.
    async fn connect(&self, api: &Api, past: &Past, backfill_days: u16) -> anyhow::Result<String> {
        let grant = self.bakery.sandbox.grant(Some(&past.merchant_id), &[])?;
        let configuration = json!({
            "provider": "square", "environment": "sandbox", "name": "Chain", "day_start": "04:00",
            "credentials": { "access_token": grant.access_token },
            // No run but the one that is measured.
            "sync": { "backfill_days": backfill_days, "interval_minutes": 1440 },
        });
        api.create_configuration(&configuration).await
    }
}
