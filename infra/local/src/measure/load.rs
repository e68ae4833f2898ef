//! Sales at a steady pace, whatever becomes of those before, and how long each takes from the till to the sales domain:
//! `make measure-load`. And what a neighbour's crowd does to that: `make measure-noisy`.
//!
//! Every sale is announced by its vendor's signed webhooks, through the API, as on AWS; what is measured besides our functions
//! is the local AWS, one process, and a row says what one call of it took.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use local::{Answers, SalesDomain, TENANT};
use sandbox::SaleKind;

use super::live::{Figures, Live, Phase};
use super::{CHAIN, Screen, Town, WARM_UP, costs, stack};

/// For the last sale of a crowd.
const LONGEST_CROWD: Duration = Duration::from_secs(600);

/// How hard, and for how long.
#[derive(Debug, Clone)]
pub struct Load {
    /// Sales in a second, one pace after the other.
    pub rates: Vec<u32>,
    /// Of each.
    pub seconds: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self { rates: vec![1, 2, 4], seconds: 60 }
    }
}

/// One tenant's crowd, and another tenant who sells on.
#[derive(Debug, Clone)]
pub struct Noise {
    /// Sales of the neighbour's, all at once.
    pub crowd: usize,
    /// Sales in a second of the tenant that is measured.
    pub rate: u32,
    /// Without a crowd.
    pub quiet: u64,
}

impl Default for Noise {
    fn default() -> Self {
        Self { crowd: 300, rate: 1, quiet: 60 }
    }
}

/// Prints a histogram for each pace.
pub async fn run(load: &Load, screen: &mut Screen) -> anyhow::Result<()> {
    let town = Town::open(stack("measure-load"), &[], screen).await?;
    let sales = SalesDomain::start_for(&town.bakery.stack, Answers::AtOnce, TENANT);
    let mut phases = Vec::new();
    for (nth, rate) in load.rates.iter().enumerate() {
        let mut live = Live::new(&town.bakery, &sales, *rate)?;
        if nth == 0 {
            sell(&mut live, WARM_UP, "warming up", screen).await?;
        }
        let phase = sell(&mut live, Duration::from_secs(load.seconds), &format!("{rate} sales/s"), screen).await?;
        phases.push((format!("{rate} sales/s"), phase));
    }
    table(&phases, screen);
    for (what, phase) in &phases {
        screen.line(&format!("\n{what}, from the till to the sales domain"));
        for line in phase.sales.histogram() {
            screen.line(&line);
        }
    }
    Ok(())
}

/// Prints what a tenant's sales took without and with a crowd at the neighbour's.
pub async fn run_noisy(noise: &Noise, screen: &mut Screen) -> anyhow::Result<()> {
    let town = Town::open(stack("measure-noisy"), &[1], screen).await?;
    let sales = SalesDomain::start(&town.bakery.stack, Answers::AtOnce);
    let api = town.bakery.api_of(CHAIN, &["pos:read", "pos:write"])?;
    let neighbour = town.pasts.first().context("there is a neighbour")?;
    let id = town.connect(&api, neighbour, 0).await?;
    costs::ended_catalogue(&api, &id, screen).await?;
    let mut live = Live::new(&town.bakery, &sales, noise.rate)?;
    sell(&mut live, WARM_UP, "warming up", screen).await?;
    let quiet = sell(&mut live, Duration::from_secs(noise.quiet), "quiet", screen).await?;

    let sandbox = &town.bakery.sandbox;
    let merchants = sandbox.merchants();
    let merchant = merchants.iter().find(|it| it.id == neighbour.merchant_id).context("there is a neighbour")?;
    live.begin();
    let started = Instant::now();
    let shops = merchant.locations.iter().cycle().take(noise.crowd);
    let rung_up = shops.map(|shop| sandbox.ring_up_at(SaleKind::Simple, &shop.id).map(|sale| sale.order_id));
    let crowd = rung_up.collect::<Result<Vec<_>, _>>()?;
    let mut served = 0;
    while served < crowd.len() && started.elapsed() < LONGEST_CROWD {
        let shown = || format!("{served} of a crowd of {}, {} s", crowd.len(), started.elapsed().as_secs());
        if live.go_on(screen, shown).await? {
            let arrived = live.arrivals();
            served = crowd.iter().filter(|order| arrived.contains_key(*order)).count();
        }
    }
    ensure!(served == crowd.len(), "{served} of a crowd of {} within {LONGEST_CROWD:?}", crowd.len());
    let took = started.elapsed();
    let during = live.finish(screen).await?;
    let overtaken = live.overtaken_by(&crowd);
    let ratio = during.sales.p99() / quiet.sales.p99();
    table(&[("quiet".to_owned(), quiet), (format!("beside a crowd of {}", noise.crowd), during)], screen);
    screen.line(&format!("p99 ratio {ratio:.2}; the crowd was served within {:.0} s", took.as_secs_f64()));
    let of_sale = |place: usize| overtaken.get(place).copied().unwrap_or_default();
    screen.line(&format!(
        "while a sale was on its way, {} of the crowd of {} arrived (median), {} at most",
        of_sale(overtaken.len() / 2),
        noise.crowd,
        of_sale(overtaken.len().saturating_sub(1))
    ));
    Ok(())
}

/// Sells for so long, and waits for the last sale.
pub(super) async fn sell(
    live: &mut Live<'_>,
    length: Duration,
    what: &str,
    screen: &mut Screen,
) -> anyhow::Result<Phase> {
    live.begin();
    let end = Instant::now() + length;
    while Instant::now() < end {
        live.go_on(screen, || format!("{what}, {} s to go", (end - Instant::now()).as_secs())).await?;
    }
    live.finish(screen).await
}

/// One line for each part of the way and each phase.
pub(super) fn table(phases: &[(String, Phase)], screen: &mut Screen) {
    type Part = fn(&Phase) -> &Figures;
    let rows: [(&str, Part); 3] = [
        ("till to sales domain", |phase| &phase.sales),
        ("of that, till to stored", |phase| &phase.stored),
        ("one call of the local AWS", |phase| &phase.call),
    ];
    screen.line(&format!("\n{:<54}{}", "", Figures::HEAD));
    for (name, of) in rows {
        for (nth, (what, phase)) in phases.iter().enumerate() {
            screen.line(&format!("{:<26}{what:<28}{}", if nth == 0 { name } else { "" }, of(phase).line()));
        }
    }
}
