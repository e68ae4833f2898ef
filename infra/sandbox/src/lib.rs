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
mod customer;
mod delivery;
mod faults;
mod ledger;
mod money;
mod receipt;
mod seed;
mod square;
mod till;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use customer::SaleKind;
pub use delivery::{Attempt, Delivery, DeliveryState};
pub use faults::{Failure, Faults};
pub use ledger::{EntryKind, EntryLine, EntryPayment, EntryState, LedgerEntry};
pub use receipt::RefundKind;
pub use square::{Application, EventRecord, Grant, Location, Merchant, Subscription};

use square::Square;

/// How a sandbox behaves; the default is a pleasant morning with some bad manners.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The same seed makes the same day.
    pub seed: u64,
    /// Port on 127.0.0.1; `None` takes a free one.
    pub port: Option<u16>,
    /// How many times faster than life the shops and the retries run.
    pub speed: f64,
    /// Shops of each merchant, at most 12.
    pub shops: usize,
    /// Merchants, at most 3.
    pub merchants: usize,
    /// `None` lives by the machine's clock; otherwise a clock that only the
    /// shops move, for runs that are the same to the byte.
    pub now: Option<Timestamp>,
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
    square: Arc<Square>,
    address: SocketAddr,
    shutdown: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sandbox {
    /// Opens the shops and listens on 127.0.0.1.
    pub fn start(options: SandboxOptions) -> std::io::Result<Self> {
        options.check().map_err(std::io::Error::other)?;
        // Another provider may have been installed by the program; either will do for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port.unwrap_or(0)))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let square = Square::open(options, runtime.handle().clone()).map_err(std::io::Error::other)?;
        let app = square::router(Arc::clone(&square)).merge(admin::router(Arc::clone(&square)));
        let (shutdown, ended) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("sandbox".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                    return;
                };
                tokio::select! {
                    _ = axum::serve(listener, app) => {}
                    _ = ended => {}
                }
            });
            // Sales and deliveries that are still under way end here.
            runtime.shutdown_background();
        })?;
        Ok(Self { square, address, shutdown: Some(shutdown), thread: Some(thread) })
    }

    /// Base URL of the Square API, without a slash at the end.
    pub fn square_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The application that is registered at the provider.
    pub fn application(&self) -> Application {
        self.square.application()
    }

    /// The merchants and their shops.
    pub fn merchants(&self) -> Vec<Merchant> {
        self.square.merchants()
    }

    /// Connects a merchant (the first one by default) the short way round OAuth.
    pub fn grant(&self, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused> {
        self.square.grant(merchant_id, scopes)
    }

    /// The merchant disconnects the application.
    pub fn revoke(&self, merchant_id: &str) -> Result<(), Refused> {
        self.square.revoke(merchant_id, "MERCHANT")
    }

    /// Subscribes a URL to all events of sales.
    pub fn subscribe(&self, notification_url: &str) -> Subscription {
        self.square.subscribe_to_sales(notification_url)
    }

    /// Plays a morning of so many sales over all shops; returns at once.
    pub fn play(&self, sales: usize) {
        self.square.play(sales);
    }

    /// Puts a morning of the past on the shelf: all sales are there at once,
    /// dated from `opens_at` on, and nobody is notified.
    pub fn stock_history(&self, sales: usize, opens_at: Timestamp) {
        self.square.stock_history(sales, opens_at);
    }

    /// Rings up one sale at a seeded shop.
    pub fn ring_up(&self, kind: SaleKind) -> Result<RungUp, Refused> {
        self.square.ring_up(kind, None)
    }

    /// Rings up one sale at this shop.
    pub fn ring_up_at(&self, kind: SaleKind, location_id: &str) -> Result<RungUp, Refused> {
        self.square.ring_up(kind, Some(location_id))
    }

    /// Gives money back for a sale that was rung up before.
    pub fn refund(&self, order_id: &str, kind: RefundKind) -> Result<RungUp, Refused> {
        self.square.refund(order_id, kind)
    }

    /// Replaces all faults.
    pub fn set_faults(&self, faults: Faults) {
        self.square.faults.set(faults);
    }

    /// The faults in force, with what is left of them.
    pub fn faults(&self) -> Faults {
        self.square.faults.get()
    }

    /// Turns the clock forward: tokens expire, nothing else happens.
    pub fn advance_clock(&self, by: Duration) {
        self.square.advance_clock(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX));
    }

    /// How far everything is.
    pub fn progress(&self) -> Progress {
        self.square.progress()
    }

    /// The log of all notifications, in the order in which they came to be.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.square.post.deliveries()
    }

    /// Everything that happened, with the exact bytes of its notification.
    pub fn events(&self) -> Vec<EventRecord> {
        self.square.events()
    }

    /// What really was sold.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.square.ledger()
    }

    /// Waits until no sale is under way and every notification has its end.
    pub async fn wait_until_quiet(&self, timeout: Duration) -> Result<(), StillBusy> {
        self.square.wait_until_quiet(timeout).await
    }

    /// Closes the shops; dropping does the same.
    pub fn stop(self) {}
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
        if !(1..=catalogue::BUSINESSES.len()).contains(&self.merchants) {
            let most = catalogue::BUSINESSES.len();
            return Err(Refused(format!("there can be 1 to {most} merchants, not {}", self.merchants)));
        }
        Ok(())
    }
}
