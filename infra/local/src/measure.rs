//! What a backfill costs, and what it does to the sales of others: `make measure-backfill`.
//!
//! Two stacks, one after the other. In the first, a proxy counts the AWS calls of a small backfill and of the same one
//! again, when nothing has changed. The second has no proxy, because that costs time: a small tenant sells at a steady
//! pace, and then a large one is connected, whose past is read meanwhile.

mod costs;
mod live;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use local::{
    Answers, Bakery, SalesDomain, StackOptions, TENANT,
    api::{Api, Run},
};
use sandbox::{Merchant, Sandbox, SandboxOptions, Vendor};
use serde_json::json;

use crate::demo::Screen;
use live::Live;

/// The tenant whose past is read.
const CHAIN: &str = "chain";
/// Functions start cold, and what they do first is not what they do.
const WARM_UP: Duration = Duration::from_secs(10);
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
    /// Minutes that the backfill may take; then it is cancelled, and what it has done is what was measured.
    pub minutes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { orders: 50_000, counted: 1_000, rate: 2, quiet: 60, minutes: 12 }
    }
}

/// Prints the figures.
pub async fn run(options: &Options, screen: &mut Screen) -> anyhow::Result<()> {
    let costs = costs::count(options.counted, screen).await?;
    let town = Town::open("measure", None, options.orders, screen).await?;
    let sales = SalesDomain::start_for(&town.bakery.stack, Answers::AtOnce, TENANT);
    let mut live = Live::new(&town.bakery.sandbox, &sales, options.rate)?;
    for (what, length) in [("warming up", WARM_UP), ("quiet", Duration::from_secs(options.quiet))] {
        live.begin();
        let end = Instant::now() + length;
        while Instant::now() < end {
            live.go_on(screen, || format!("{what}, {} s to go", (end - Instant::now()).as_secs())).await?;
        }
    }
    let quiet = live.finish(screen).await?;

    live.begin();
    let api = town.bakery.api_of(CHAIN, &["pos:read", "pos:write"])?;
    let connected = Instant::now();
    let id = town.connect(&api, town.days + 2).await?;
    let mut run = first_backfill(&api, &id).await?;
    let longest = Duration::from_secs(60 * options.minutes);
    let mut is_cancelled = false;
    while !run.has_ended() {
        let took = connected.elapsed();
        live.go_on(screen, || format!("backfill, {} s: {}", took.as_secs(), shown(&run))).await?;
        if live.is_time_to_look() {
            run = api.run(&id, &run.id).await?;
        }
        if took > longest && !is_cancelled {
            is_cancelled = true;
            let path = format!("/configurations/{id}/sync/cancel");
            api.request(reqwest::Method::POST, &path).send().await.context("failed to cancel the backfill")?;
        }
        if took > longest + Duration::from_secs(120) {
            bail!("the backfill has not ended: {}", shown(&run));
        }
    }
    let during = live.finish(screen).await?;
    screen.line("");
    let run = api.run(&id, &run.id).await?;
    screen.line(&throughput(&run)?);
    screen.line(&format!("\n{:<24}{}", "till to sales domain", live::Figures::HEAD));
    screen.line(&format!("{:<24}{}", "without a backfill", quiet.line()));
    screen.line(&format!("{:<24}{}", "during the backfill", during.line()));
    screen.line(&format!("p99 ratio {:.2} (goal: at most 2)\n", during.p99() / quiet.p99()));
    for line in costs.table() {
        screen.line(&line);
    }
    Ok(())
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

/// A simulator with two merchants, of which the second has a past, and our service with the first connected.
struct Town {
    bakery: Bakery,
    chain: Merchant,
    /// That the past is long.
    days: u16,
}

impl Town {
    async fn open(
        name: &str,
        endpoint: Option<(u16, String)>,
        orders: usize,
        screen: &mut Screen,
    ) -> anyhow::Result<Self> {
        let manners = SandboxOptions { duplicates_percent: 0, disorder_percent: 0, ..SandboxOptions::default() };
        let sandbox =
            Sandbox::start(SandboxOptions { merchants: 2, ..manners }).context("failed to start the simulator")?;
        let chain = sandbox.merchants().pop().context("the simulator has no merchants")?;
        let days: u16 = if orders > 5_000 { 60 } else { 5 };
        let customers = orders.div_ceil(usize::from(days) * chain.locations.len());
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        for ago in (1..=days).rev() {
            screen.status(&format!("{name}: the past is written, {ago} days to go"));
            let desk = sandbox.at(Vendor::Square);
            desk.stock_days_of(&chain.id, today.saturating_sub(i64::from(ago).days()), 1, customers)?;
        }
        screen.keep_status();
        let (port, function_endpoint) = endpoint.unzip();
        let options = StackOptions {
            name: name.to_owned(),
            port: Some(port.unwrap_or(0)),
            function_endpoint,
            shows_progress: true,
            ..StackOptions::default()
        };
        Ok(Self { bakery: Bakery::open(sandbox, options).await?, chain, days })
    }

    /// Connects the merchant with a past, of which so many days are read at once.
    async fn connect(&self, api: &Api, backfill_days: u16) -> anyhow::Result<String> {
        let grant = self.bakery.sandbox.grant(Some(&self.chain.id), &[])?;
        let configuration = json!({
            "provider": "square", "environment": "sandbox", "name": "Chain", "day_start": "04:00",
            "credentials": { "access_token": grant.access_token },
            // No run but the one that is measured.
            "sync": { "backfill_days": backfill_days, "interval_minutes": 1440 },
        });
        api.create_configuration(&configuration).await
    }
}
