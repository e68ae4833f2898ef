//! The other side of the protocol: a stand-in for the point-of-sale providers.
//!
//! Written from the providers' documentation and never from our own parser, so
//! that a misunderstanding shows up as a difference. It sells a seeded
//! bakery's day, answers the provider's API, sends its webhooks with all their
//! bad manners, and keeps a [ledger](LedgerEntry) of what really was sold.
//!
//! A sandbox runs on a thread and a runtime of its own: tests may block, and
//! may share one sandbox between runtimes that come and go.

mod admin;
mod catalogue;
mod clock;
mod consent;
mod customer;
mod day;
mod delivery;
mod desk;
mod door;
mod faults;
mod json;
mod ledger;
mod lightspeed;
mod money;
mod people;
mod provider;
mod receipt;
mod seed;
mod shelf;
mod shops;
mod square;
mod stage;
mod till;
mod toast;
mod town;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use customer::SaleKind;
pub use delivery::{Attempt, Delivery, DeliveryState};
pub use desk::Desk;
pub use door::Calls;
pub use faults::{Failure, Faults, RandomFailure, Slowness};
pub use ledger::{DayTotal, EntryKind, EntryLine, EntryPayment, EntryState, LedgerEntry};
pub use people::{PERSONAL, SECRET};
pub use receipt::RefundKind;
pub use shops::{Client, Location, Merchant, Vendor};
pub use square::{Application, Grant, Subscription};
pub use stage::EventRecord;

use town::Town;

/// How a sandbox behaves; the default is a pleasant morning with some bad manners.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The same seed makes the same day.
    pub seed: u64,
    /// Square's port on 127.0.0.1, Toast's and Lightspeed's are the next two; `None` takes free ones.
    pub port: Option<u16>,
    /// How many times faster than life the shops and the retries run.
    pub speed: f64,
    /// Shops of each merchant, at most 12; some providers have fewer.
    pub shops: usize,
    /// Merchants, at most 50; the first three are the same however many there are.
    pub merchants: usize,
    /// `None` lives by the machine's clock; otherwise a clock that only the
    /// shops move, for runs that are the same to the byte.
    pub now: Option<Timestamp>,
    /// Whether the clock itself runs as fast as the shops, from `now` on; whole days pass then.
    pub clock_runs: bool,
    /// Square also has shops in Tokyo, London and Dublin, beyond the number of `shops`.
    pub abroad: bool,
    /// Notifications sent twice, of a hundred.
    pub duplicates_percent: u8,
    /// Notifications held back until later ones have overtaken them, of a hundred.
    pub disorder_percent: u8,
    /// Notifications never sent, of a hundred.
    pub loss_percent: u8,
    /// When a notification is discarded, in shop time.
    pub retry_window: Duration,
    /// How long a receiver may take, in real time.
    pub answer_within: Duration,
    /// Notifications under way at once.
    pub concurrent_deliveries: usize,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            seed: 7,
            port: None,
            speed: 600.0,
            shops: 3,
            merchants: 1,
            now: None,
            clock_runs: false,
            abroad: false,
            duplicates_percent: 5,
            disorder_percent: 10,
            loss_percent: 0,
            retry_window: Duration::from_secs(24 * 3600),
            answer_within: Duration::from_secs(10),
            concurrent_deliveries: 4,
        }
    }
}

/// Something was asked that cannot be done, in a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// There was still something to do when the time was up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox is still busy: {0:?}")]
pub struct StillBusy(pub Progress);

/// One chosen sale or refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungUp {
    /// The order; for a refund the return's order.
    pub order_id: String,
    /// The return's order, when the chosen sale includes its refund.
    pub refund_order_id: Option<String>,
    /// Whose sale it is.
    pub merchant_id: String,
    /// The shop.
    pub location_id: String,
    /// ISO 4217.
    pub currency: String,
    /// The total of `order_id`, tip included.
    pub total_minor: i64,
}

impl RungUp {
    /// A refund, as its ledger entry tells it.
    pub(crate) fn of(entry: &LedgerEntry) -> Self {
        Self {
            order_id: entry.order_id.clone(),
            refund_order_id: None,
            merchant_id: entry.merchant_id.clone(),
            location_id: entry.location_id.clone(),
            currency: entry.currency.clone(),
            total_minor: entry.total_minor,
        }
    }
}

/// How far the shops and the deliveries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Sales asked for so far.
    pub planned: usize,
    /// Sales (also canceled ones) that have reached their final state.
    pub rung_up: usize,
    /// Refunds given.
    pub refunded: usize,
    /// Things that happened and would be notified.
    pub events: usize,
    /// Notifications of them, duplicates included.
    pub deliveries: usize,
    /// Not yet answered 2xx.
    pub pending: usize,
    /// Answered 2xx.
    pub delivered: usize,
    /// Never sent, on purpose.
    pub lost: usize,
    /// Discarded at the end of the retry window.
    pub given_up: usize,
    /// No sale is under way and nothing is pending.
    pub idle: bool,
}

/// A running simulator; it ends when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    town: Arc<Town>,
    /// In the order of [`Vendor::ALL`], as the addresses.
    desks: [Desk; 3],
    addresses: [SocketAddr; 3],
    shutdown: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sandbox {
    /// Opens the shops and listens on 127.0.0.1.
    pub fn start(options: SandboxOptions) -> std::io::Result<Self> {
        options.check().map_err(std::io::Error::other)?;
        // Another provider may have been installed by the program; either will do for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let [square, toast, lightspeed] = [0, 1, 2].map(|offset| {
            let port = options.port.map_or(0, |port| port.saturating_add(offset));
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
            listener.set_nonblocking(true)?;
            std::io::Result::Ok(listener)
        });
        let listeners = [square?, toast?, lightspeed?];
        let [square, toast, lightspeed] = &listeners;
        let addresses = [square.local_addr()?, toast.local_addr()?, lightspeed.local_addr()?];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let town = Town::open(&options, runtime.handle()).map_err(std::io::Error::other)?;
        let apps = [
            square::router(Arc::clone(&town.square)),
            toast::router(Arc::clone(&town.toast)),
            lightspeed::router(Arc::clone(&town.lightspeed)),
        ]
        .map(|app| app.merge(admin::router(Arc::clone(&town))));
        let (shutdown, ended) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("sandbox".to_owned()).spawn(move || {
            runtime.block_on(async move {
                for (listener, app) in listeners.into_iter().zip(apps) {
                    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                        return;
                    };
                    tokio::spawn(async move { axum::serve(listener, app).await });
                }
                let _ = ended.await;
            });
            // Sales and deliveries that are still under way end here.
            runtime.shutdown_background();
        })?;
        let desks = Vendor::ALL.map(|vendor| Desk { town: Arc::clone(&town), vendor });
        Ok(Self { town, desks, addresses, shutdown: Some(shutdown), thread: Some(thread) })
    }

    /// Base URL of the Square API, without a slash at the end.
    pub fn square_url(&self) -> String {
        self.url(Vendor::Square)
    }

    /// Base URL of the Toast API, without a slash at the end.
    pub fn toast_url(&self) -> String {
        self.url(Vendor::Toast)
    }

    /// Base URL of the Lightspeed API, without a slash at the end.
    pub fn lightspeed_url(&self) -> String {
        self.url(Vendor::Lightspeed)
    }

    /// Base URL of a provider's API, without a slash at the end.
    pub fn url(&self, vendor: Vendor) -> String {
        let [square, toast, lightspeed] = self.addresses;
        let address = of(vendor, square, toast, lightspeed);
        format!("http://{address}")
    }

    /// One of the providers, with everything that can be done there.
    pub fn at(&self, vendor: Vendor) -> &Desk {
        let [square, toast, lightspeed] = &self.desks;
        of(vendor, square, toast, lightspeed)
    }

    /// The credentials a group of restaurants (the first one by default) has handed out at Toast.
    pub fn toast_client(&self, group: Option<&str>) -> Result<Client, Refused> {
        self.town.toast.client(group)
    }

    /// Subscribes a URL to what is sold out and what is there again at Toast.
    pub fn subscribe_to_stock(&self, notification_url: &str) -> Subscription {
        self.town.toast.register("stock", notification_url)
    }

    /// Shows the receipts of a business at Lightspeed (of all without one) to whoever answers below this endpoint, by
    /// `POST {endpoint}/charge` when they are closed: once, with this key in the body.
    pub fn subscribe_mirroring(
        &self,
        merchant_id: Option<&str>,
        endpoint: &str,
        api_key: &str,
    ) -> Result<Subscription, Refused> {
        self.town.lightspeed.mirror(merchant_id, endpoint, api_key)
    }

    /// Somebody at Toast starts subscriptions again that were stopped for their errors.
    pub fn restart_subscriptions(&self) {
        self.town.toast.post.restart();
    }

    /// The application that is registered at Lightspeed.
    pub fn lightspeed_client(&self) -> Client {
        self.town.lightspeed.client()
    }

    /// The application that is registered at Square.
    pub fn application(&self) -> Application {
        self.town.square.application()
    }

    /// Turns the clock forward: tokens expire, nothing else happens.
    pub fn advance_clock(&self, by: Duration) {
        self.town.advance_clock(by);
    }

    /// What time it is at all providers.
    pub fn now(&self) -> Timestamp {
        self.town.clock.now()
    }

    /// Who sells with this provider, and where.
    pub fn merchants_of(&self, vendor: Vendor) -> Vec<Merchant> {
        self.at(vendor).merchants()
    }

    /// Connects a merchant (the first one by default) the short way round OAuth
    /// or the login. No scopes are all scopes; Toast has no refresh token.
    pub fn grant_of(&self, vendor: Vendor, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused> {
        self.at(vendor).grant(merchant_id, scopes)
    }

    /// The merchant disconnects the application; at Toast he deletes the credentials.
    pub fn revoke_of(&self, vendor: Vendor, merchant_id: &str) -> Result<(), Refused> {
        self.at(vendor).revoke(merchant_id)
    }

    /// Ends all access tokens of a provider now; refresh tokens and credentials stay good.
    pub fn expire_tokens(&self, vendor: Vendor) {
        self.town.at(vendor).expire_tokens();
    }

    /// How often a provider was called, and for how many tokens.
    pub fn calls(&self, vendor: Vendor) -> Calls {
        self.town.door(vendor).calls()
    }

    /// Replaces all faults of a provider.
    pub fn set_faults_of(&self, vendor: Vendor, faults: Faults) {
        self.at(vendor).set_faults(faults);
    }

    /// A provider's faults in force, with what is left of them.
    pub fn faults_of(&self, vendor: Vendor) -> Faults {
        self.at(vendor).faults()
    }

    /// Waits until all providers are quiet.
    pub async fn wait_until_all_quiet(&self, timeout: Duration) -> Result<(), StillBusy> {
        let deadline = std::time::Instant::now() + timeout;
        for vendor in Vendor::ALL {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            self.at(vendor).wait_until_quiet(left).await?;
        }
        Ok(())
    }
}

/// Square's part, for those who need no other.
impl Sandbox {
    /// Rings up one sale at a seeded shop.
    pub fn ring_up(&self, kind: SaleKind) -> Result<RungUp, Refused> {
        self.at(Vendor::Square).ring_up(kind, None)
    }

    /// Rings up one sale at this shop.
    pub fn ring_up_at(&self, kind: SaleKind, location_id: &str) -> Result<RungUp, Refused> {
        self.at(Vendor::Square).ring_up(kind, Some(location_id))
    }

    /// Closes the shops; dropping does the same.
    pub fn stop(self) {}
}

impl Deref for Sandbox {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        self.at(Vendor::Square)
    }
}

fn of<T>(vendor: Vendor, square: T, toast: T, lightspeed: T) -> T {
    match vendor {
        Vendor::Square => square,
        Vendor::Toast => toast,
        Vendor::Lightspeed => lightspeed,
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl SandboxOptions {
    fn check(&self) -> Result<(), Refused> {
        if !(self.speed.is_finite() && self.speed > 0.0) {
            return Err(Refused(format!("speed must be a positive number, not {}", self.speed)));
        }
        if !(1..=catalogue::SHOPS.len()).contains(&self.shops) {
            return Err(Refused(format!("there can be 1 to {} shops, not {}", catalogue::SHOPS.len(), self.shops)));
        }
        let most = catalogue::MOST_BUSINESSES;
        if !(1..=most).contains(&self.merchants) {
            return Err(Refused(format!("there can be 1 to {most} merchants, not {}", self.merchants)));
        }
        Ok(())
    }
}
