//! The demo, step by step.

mod books;
mod command;
mod screen;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use local::{Answers, Bakery, SalesDomain, StackOptions, TENANT, api};
use sandbox::{Progress, Sandbox, SandboxOptions, Vendor};

use api::Api;
use books::{Books, Order, Summary, Transaction};
pub use screen::Screen;

/// A message that failed comes back after the local visibility timeout, several times; longer than that nothing moves.
const PATIENCE: Duration = Duration::from_secs(60);
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
    /// Port of the emulator.
    pub port: Option<u16>,
    /// What to run against the API after the morning.
    pub command: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { once: false, seed: 7, sales: 40, port: None, command: Vec::new() }
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
    screen.line(&format!("a morning of {} sales begins at each", options.sales));
    for vendor in Vendor::ALL {
        town.bakery.sandbox.at(vendor).play(options.sales);
    }
    watch_until_quiet(&town, screen).await?;
    if let Some((program, arguments)) = options.command.split_first() {
        let mut running = command::Running::start(program, arguments, &town.variables())?;
        return running.wait().await;
    }
    let agree = compare(&town, screen).await?;
    if options.once {
        return Ok(agree);
    }
    invite(&town, screen);
    stay_open(&town, screen).await
}

async fn open(options: &Options, screen: &mut Screen) -> anyhow::Result<Town> {
    let sandbox = Sandbox::start(SandboxOptions { seed: options.seed, ..SandboxOptions::default() })
        .context("failed to start the simulator")?;
    for vendor in Vendor::ALL {
        screen.line(&format!("simulator: {} at {}", books::word(vendor), sandbox.url(vendor)));
    }
    let options =
        StackOptions { name: "demo".to_owned(), port: options.port, shows_progress: true, ..StackOptions::default() };
    let bakery = Bakery::open(sandbox, options).await?;
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

/// Shows the three counts until they agree and nothing moves any more, or until nothing has moved for a long time.
async fn watch_until_quiet(town: &Town, screen: &mut Screen) -> anyhow::Result<()> {
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
        } else if moved.elapsed() > PATIENCE {
            screen.keep_status();
            screen.line(&format!("nothing has moved for {} s", PATIENCE.as_secs()));
            return Ok(());
        }
        tokio::time::sleep(screen.pause()).await;
    }
}

fn line_of(books: &Books) -> String {
    let [till, stored, received] = [&books.ledger, &books.stored, &books.received].map(books::sum);
    format!("till {till}  stored {stored}  received {received}")
}

async fn compare(town: &Town, screen: &mut Screen) -> anyhow::Result<bool> {
    let books = town.books().await?;
    let merchants = town.bakery.sandbox.merchants();
    let grant = town.bakery.sandbox.grant(None, &[]).context("the simulator refuses a token")?;
    let searched: Vec<Order> =
        api::search_orders(&town.bakery.sandbox.square_url(), &grant.access_token, &merchants).await?;
    let searched = books::of_orders(&searched);
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
    let counts = town.sales_domain.counts();
    screen.line(&format!(
        "\nnotifications delivered {} (duplicates included), events received by the sales domain {} ({} repeated)",
        town.progress().iter().map(|it| it.delivered).sum::<usize>(),
        counts.received,
        counts.duplicates
    ));
    screen.line(if agree {
        "VERDICT: equal. What the tills sold is stored and received, once, to the cent."
    } else {
        "VERDICT: the books differ."
    });
    if !agree {
        screen.line(&format!("logs of the functions: {}", town.bakery.stack.folder().join("logs").display()));
    }
    Ok(agree)
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
