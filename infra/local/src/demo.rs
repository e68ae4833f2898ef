//! The demo, step by step.

mod books;
mod command;
mod screen;
mod syncs;

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use local::{Answers, Bakery, SalesDomain, StackOptions, TENANT, api};
use sandbox::{Faults, Progress, Sandbox, SandboxOptions, Vendor};

use api::Api;
use books::{Books, Order, Summary, Transaction};
pub use screen::Screen;
use syncs::Synced;

/// A message that failed comes back after the local visibility timeout, several times; longer than that nothing moves.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the doorbell has not brought so long after everything else comes by a sync, or late. Longer than a first retry.
const DOORBELL_PATIENCE: Duration = Duration::from_secs(8);
/// Of the sales of the morning: while these are rung up, no notification is sent.
const SILENT_PERCENT: Range<usize> = 45..60;
const GLANCE: Duration = Duration::from_millis(20);
/// Between two customers once the morning is over.
const SLOW_PACE: Duration = Duration::from_secs(6);

/// What to show.
#[derive(Debug, Clone)]
pub struct Options {
    /// End after the morning.
    pub once: bool,
    /// The same seed sells the same.
    pub seed: u64,
    /// Sales of the morning.
    pub sales: usize,
    /// The vendors behave.
    pub calm: bool,
    /// Port of the emulator.
    pub port: Option<u16>,
    /// What to run against the API after the morning.
    pub command: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { once: false, seed: 7, sales: 40, calm: false, port: None, command: Vec::new() }
    }
}

/// Everything that runs. Fields are dropped in this order: whoever calls others goes first.
struct Town {
    sales_domain: SalesDomain,
    bakery: Bakery,
    /// One for each provider.
    connections: Vec<(Vendor, String)>,
    api: Api,
}

/// Says whether all books agree.
pub async fn run(options: &Options, screen: &mut Screen) -> anyhow::Result<bool> {
    let town = open(options, screen).await?;
    let manners = if options.calm { "well-behaved vendors" } else { "all disorder switched on" };
    screen.line(&format!("a morning of {} sales begins at each, with {manners}", options.sales));
    for vendor in Vendor::ALL {
        if !options.calm {
            town.bakery.sandbox.set_faults_of(vendor, Faults::disorder());
        }
        town.bakery.sandbox.at(vendor).play(options.sales);
    }
    if options.calm {
        watch_until_quiet(&town, screen, PATIENCE).await?;
    } else {
        let watched = watch_until_quiet(&town, screen, DOORBELL_PATIENCE);
        tokio::join!(fall_silent(&town.bakery.sandbox), watched).1?;
    }
    if let Some((program, arguments)) = options.command.split_first() {
        let mut running = command::Running::start(program, arguments, &town.variables())?;
        return running.wait().await;
    }
    screen.line("what was announced has arrived; one sync of each connection finds the rest");
    let synced = syncs::sync_all(&town.api, &town.connections, screen).await?;
    watch_until_quiet(&town, screen, PATIENCE).await?;
    let agree = compare(&town, &synced, screen).await?;
    if options.once {
        return Ok(agree);
    }
    invite(&town, screen);
    stay_open(&town, screen).await
}

async fn open(options: &Options, screen: &mut Screen) -> anyhow::Result<Town> {
    let manners = SandboxOptions { duplicates_percent: 0, disorder_percent: 0, ..SandboxOptions::default() };
    let sandbox =
        Sandbox::start(SandboxOptions { seed: options.seed, ..manners }).context("failed to start the simulator")?;
    for vendor in Vendor::ALL {
        screen.line(&format!("simulator: {} at {}", books::word(vendor), sandbox.url(vendor)));
    }
    let options =
        StackOptions { name: "demo".to_owned(), port: options.port, shows_progress: true, ..StackOptions::default() };
    let bakery = Bakery::open(sandbox, options).await?;
    screen.line("the bakery connects its branches");
    let connections = bakery.connect_branches().await?;
    for (vendor, id) in &connections {
        screen.line(&format!("configuration: {id} of tenant {TENANT} is connected to {}", books::word(*vendor)));
    }
    let sales_domain = SalesDomain::start(&bakery.stack, Answers::AtOnce);
    let api = bakery.api()?;
    Ok(Town { sales_domain, bakery, connections, api })
}

impl Town {
    /// What a program needs to call our API.
    fn variables(&self) -> [(&'static str, &str); 4] {
        [
            ("API_URL", self.bakery.stack.api_url()),
            ("TENANT", TENANT),
            ("CONFIGURATION_ID", &self.bakery.configuration_id),
            ("TOKEN", self.api.token()),
        ]
    }

    async fn stored(&self) -> anyhow::Result<Vec<Transaction>> {
        let mut stored = Vec::new();
        for (_, id) in &self.connections {
            stored.extend(self.api.transactions(id).await?);
        }
        Ok(stored)
    }

    /// How far the three simulators are.
    fn progress(&self) -> [Progress; 3] {
        Vendor::ALL.map(|vendor| self.bakery.sandbox.at(vendor).progress())
    }

    async fn books(&self) -> anyhow::Result<Books> {
        Ok(Books {
            ledger: books::of_ledgers(&self.bakery.sandbox),
            stored: books::of_transactions(&self.stored().await?),
            received: books::of_sales_domain(&self.sales_domain.totals()),
        })
    }
}

/// Lets nobody's doorbell ring for a part of the morning, as when a vendor's deliveries stand still. One notification of
/// ten that is lost is covered by the others of its sale; so whole sales go unheard.
async fn fall_silent(sandbox: &Sandbox) {
    loop {
        let mut all_over = true;
        for vendor in Vendor::ALL {
            let progress = sandbox.at(vendor).progress();
            let percent = progress.rung_up * 100 / progress.planned.max(1);
            let faults = sandbox.faults_of(vendor);
            let usual = Faults::disorder().loss_percent;
            let loss_percent = if SILENT_PERCENT.contains(&percent) { Some(100) } else { usual };
            if faults.loss_percent != loss_percent {
                sandbox.set_faults_of(vendor, Faults { loss_percent, ..faults });
            }
            all_over &= percent >= SILENT_PERCENT.end;
        }
        if all_over {
            return;
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// Shows the three counts until they agree and nothing moves any more, or until nothing has moved for so long.
async fn watch_until_quiet(town: &Town, screen: &mut Screen, patience: Duration) -> anyhow::Result<()> {
    let mut last: Option<(Books, [Progress; 3])> = None;
    let mut moved = Instant::now();
    loop {
        let now = (town.books().await?, town.progress());
        let (books, progress) = &now;
        let pending: usize = progress.iter().map(|it| it.pending).sum();
        screen.status(&format!("{}  notifications pending {pending}", line_of(books)));
        let all_sold = progress.iter().all(|it| it.idle && it.rung_up >= it.planned);
        if all_sold && books.agree() {
            screen.keep_status();
            return Ok(());
        }
        if last.as_ref() != Some(&now) {
            moved = Instant::now();
            last = Some(now);
        } else if moved.elapsed() > if all_sold { patience } else { PATIENCE } {
            screen.keep_status();
            if !all_sold || patience == PATIENCE {
                screen.line(&format!("nothing has moved for {} s", PATIENCE.as_secs()));
            }
            return Ok(());
        }
        tokio::time::sleep(screen.pause()).await;
    }
}

fn line_of(books: &Books) -> String {
    let [till, stored, received] = [&books.ledger, &books.stored, &books.received].map(books::sum);
    format!("till {till}  stored {stored}  received {received}")
}

async fn compare(town: &Town, synced: &[Synced], screen: &mut Screen) -> anyhow::Result<bool> {
    screen.status("comparing the books");
    let books = town.books().await?;
    let searched = searched(&town.bakery.sandbox).await?;
    let columns: [(&str, &Summary); 4] = [
        ("sold at the till", &books.ledger),
        ("SearchOrders", &searched),
        ("stored", &books.stored),
        ("received", &books.received),
    ];
    screen.line("");
    for line in books::table(&columns) {
        screen.line(&line);
    }
    let of_square: Summary =
        books.ledger.clone().into_iter().filter(|([provider, ..], _)| provider == "square").collect();
    let agree = books.agree() && searched == of_square && Vendor::ALL.iter().all(|it| books.has_sold(books::word(*it)));
    screen.line("");
    for synced in synced {
        screen.line(&synced.line());
    }
    let counts = town.sales_domain.counts();
    let sum = |of: fn(&Progress) -> usize| town.progress().iter().map(of).sum::<usize>();
    screen.line(&format!(
        "\nnotifications: {} delivered (duplicates included), {} lost, {} given up; events received by the sales domain: \
         {} ({} repeated)",
        sum(|it| it.delivered),
        sum(|it| it.lost),
        sum(|it| it.given_up),
        counts.received,
        counts.duplicates
    ));
    let all_complete = synced.iter().all(Synced::is_complete);
    screen.line(match (agree, all_complete) {
        (true, true) => "VERDICT: equal. What the tills sold is stored and received, once, to the cent.",
        (true, false) => "VERDICT: the books are equal, but a sync did not complete.",
        (false, _) => "VERDICT: the books differ.",
    });
    let agree = agree && all_complete;
    if !agree {
        screen.line(&format!("logs of the functions: {}", town.bakery.stack.folder().join("logs").display()));
    }
    Ok(agree)
}

/// What Square itself answers. Whoever checks the books is spared the faults, which are in force again afterwards.
async fn searched(sandbox: &Sandbox) -> anyhow::Result<Summary> {
    let merchants = sandbox.merchants();
    let grant = sandbox.grant(None, &[]).context("the simulator refuses a token")?;
    let faults = sandbox.faults();
    sandbox.set_faults(Faults::default());
    let orders = api::search_orders::<Order>(&sandbox.square_url(), &grant.access_token, &merchants).await;
    sandbox.set_faults(faults);
    Ok(books::of_orders(&orders?))
}

fn invite(town: &Town, screen: &mut Screen) {
    let (api, square) = (town.bakery.stack.api_url(), town.bakery.sandbox.square_url());
    let base = format!("{api}/api/v1/tenants/{TENANT}/pos");
    screen.line(&format!("\nAPI            {api}/api/v1"));
    screen.line(&format!("simulator      {square}/_admin"));
    screen.line(&format!("local AWS      {} (region {})", town.bakery.stack.endpoint(), town.bakery.stack.region()));
    screen.line(&format!("function logs  {}", town.bakery.stack.folder().join("logs").display()));
    screen.line("\nTry, in another terminal:\n");
    screen.line(&format!("TOKEN={}\n", town.api.token()));
    screen.line(&format!("curl -s -H \"Authorization: Bearer $TOKEN\" '{base}/transactions?limit=3'"));
    screen.line(&format!("curl -s -H \"Authorization: Bearer $TOKEN\" {base}/configurations"));
    let sync = format!("{base}/configurations/{}/sync", town.bakery.configuration_id);
    screen.line(&format!("curl -s -H \"Authorization: Bearer $TOKEN\" '{sync}/status?limit=3'"));
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let week_ago = today.saturating_sub(jiff::ToSpan::days(7));
    screen.line(&format!(
        "curl -s -H \"Authorization: Bearer $TOKEN\" -H 'content-type: application/json' {sync} \\\n  \
         -d '{{\"kind\": \"backfill\", \"from\": \"{week_ago}\", \"to\": \"{today}\"}}'"
    ));
    screen.line(&format!("curl -s -X POST {square}/_admin/sales -d '{{\"kind\": \"everything\"}}'"));
    screen.line("\nThe shops stay open; Ctrl-C closes them.\n");
}

/// Sells on until somebody presses Ctrl-C.
async fn stay_open(town: &Town, screen: &mut Screen) -> anyhow::Result<bool> {
    let mut next_customer = Instant::now();
    loop {
        if Instant::now() >= next_customer {
            for vendor in Vendor::ALL {
                town.bakery.sandbox.at(vendor).play(1);
            }
            next_customer = Instant::now() + SLOW_PACE;
        }
        let books = town.books().await?;
        let mark = if books.agree() { "equal" } else { "on the way" };
        screen.status(&format!("{}  {mark}", line_of(&books)));
        tokio::time::sleep(screen.pause()).await;
    }
}
