//! The AWS calls of a backfill, for each hundred orders.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use local::{
    Answers, Call, Proxy, SalesDomain, Stack, StackOptions,
    api::{Api, Run},
};
use serde_json::json;

use super::{CHAIN, LONGEST_CATALOGUE, Screen, Town, shown, stack};

const LONGEST: Duration = Duration::from_secs(300);
/// What is answered late is answered by then.
const QUIET: Duration = Duration::from_secs(3);

/// What two backfills of the same past called for.
pub struct Costs {
    /// The one to which everything is new, and the same again.
    orders: [u64; 2],
    calls: BTreeMap<String, [usize; 2]>,
}

/// Reads the same past twice, with a proxy between our functions and AWS.
pub async fn count(orders: usize, screen: &mut Screen) -> anyhow::Result<Costs> {
    let (proxy, stack) = proxy("measure-calls")?;
    let town = Town::open(stack, &[orders], screen).await?;
    let sales = SalesDomain::start(&town.bakery.stack, Answers::AtOnce);
    let api = town.bakery.api_of(CHAIN, &["pos:read", "pos:write"])?;
    let past = town.pasts.first().context("one merchant has a past")?;
    let id = town.connect(&api, past, 0).await?;
    ended_catalogue(&api, &id, screen).await?;
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let from = today.saturating_sub(i64::from(past.days + 1).days());
    let request = json!({ "kind": "backfill", "from": from, "to": today });
    let mut costs = Costs { orders: [0; 2], calls: BTreeMap::new() };
    for (turn, what) in ["new orders", "the same again"].into_iter().enumerate() {
        quiet(&sales, screen).await?;
        proxy.reset();
        let run = backfill(&api, &id, &request, what, screen).await?;
        quiet(&sales, screen).await?;
        costs.add(turn, &run, &proxy, &town.bakery.stack);
    }
    Ok(costs)
}

/// A proxy for the calls of our functions, and the stack that it stands before.
pub fn proxy(name: &str) -> anyhow::Result<(Proxy, StackOptions)> {
    let proxy = Proxy::start().context("failed to start the proxy")?;
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).context("no port is free")?.port();
    // While the bakery opens, functions are called already, so the proxy must know its way before.
    proxy.forward_to(&format!("http://127.0.0.1:{port}"));
    let function_endpoint = Some(proxy.url().to_owned());
    Ok((proxy, StackOptions { port: Some(port), function_endpoint, ..stack(name) }))
}

/// Waits until what a connection begins by itself is over.
pub async fn ended_catalogue(api: &Api, id: &str, screen: &mut Screen) -> anyhow::Result<()> {
    let deadline = Instant::now() + LONGEST_CATALOGUE;
    loop {
        let runs = api.runs(id).await?;
        if !runs.is_empty() && runs.iter().all(Run::has_ended) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the catalogue was not read within {} s", LONGEST_CATALOGUE.as_secs());
        }
        screen.status("the catalogue is read");
        tokio::time::sleep(screen.pause()).await;
    }
}

async fn backfill(
    api: &Api,
    id: &str,
    request: &serde_json::Value,
    what: &str,
    screen: &mut Screen,
) -> anyhow::Result<Run> {
    let mut run = api.begin_sync(id, request).await?;
    let deadline = Instant::now() + LONGEST;
    while !run.has_ended() {
        if Instant::now() > deadline {
            bail!("a backfill has not ended within {} s: {}", LONGEST.as_secs(), shown(&run));
        }
        screen.status(&format!("counting calls, {what}: {}", shown(&run)));
        tokio::time::sleep(screen.pause()).await;
        run = api.run(id, &run.id).await?;
    }
    screen.keep_status();
    if !run.is_complete() {
        bail!("a backfill did not complete: {}", shown(&run));
    }
    Ok(run)
}

/// Waits until no event has come for a while.
pub async fn quiet(sales: &SalesDomain, screen: &mut Screen) -> anyhow::Result<()> {
    let (mut last, mut moved) = (sales.counts(), Instant::now());
    while moved.elapsed() < QUIET {
        screen.status("waiting for the last answers");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = sales.counts();
        if now != last {
            (last, moved) = (now, Instant::now());
        }
    }
    Ok(())
}

/// The template's name of the table or queue that a call is about; empty for anything else.
pub fn place<'s>(call: &Call, stack: &'s Stack) -> &'s str {
    let of = stack.outputs().iter().find(|(_, value)| {
        value.rsplit('/').next().is_some_and(|name| !call.resource.is_empty() && name == call.resource)
    });
    of.map_or("", |(output, _)| output.trim_end_matches("Url"))
}

impl Costs {
    fn add(&mut self, turn: usize, run: &Run, proxy: &Proxy, stack: &Stack) {
        if let Some(orders) = self.orders.get_mut(turn) {
            *orders = run.progress.orders.seen;
        }
        for call in proxy.calls() {
            let place = place(&call, stack);
            let turns = self.calls.entry(format!("{:<28}{place}", call.name())).or_default();
            if let Some(count) = turns.get_mut(turn) {
                *count += 1;
            }
        }
    }

    /// The calls for each order: of the new ones, and of the same again.
    pub fn for_each_order(&self) -> [BTreeMap<String, f64>; 2] {
        [0, 1].map(|turn| {
            let orders = self.orders.get(turn).copied().unwrap_or_default().max(1);
            let mut calls = BTreeMap::new();
            for (name, turns) in &self.calls {
                let count = turns.get(turn).copied().unwrap_or_default();
                let each = float(count) / float(orders);
                *calls.entry(name.split_whitespace().next().unwrap_or_default().to_owned()).or_default() += each;
            }
            calls
        })
    }

    /// One line for each kind of call.
    pub fn table(&self) -> Vec<String> {
        let per_hundred = |calls: usize, turn: usize| {
            let orders = self.orders.get(turn).copied().unwrap_or_default().max(1);
            100.0 * float(calls) / float(orders)
        };
        let [new, again] = self.orders;
        let heading = format!("AWS calls per 100 orders ({new} new, {again} the same again)");
        let mut lines = vec![format!("{heading:<56}{:>8}{:>8}", "new", "again")];
        let mut sums = [0, 0];
        for (name, [new, again]) in &self.calls {
            lines.push(format!("{name:<56}{:>8.1}{:>8.1}", per_hundred(*new, 0), per_hundred(*again, 1)));
            sums = [sums[0] + new, sums[1] + again];
        }
        lines.push(format!("{:<56}{:>8.1}{:>8.1}", "together", per_hundred(sums[0], 0), per_hundred(sums[1], 1)));
        lines
    }
}

fn float(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().unwrap_or(u32::MAX))
}
