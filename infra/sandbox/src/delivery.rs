//! Carries notifications to the receivers, as stubbornly as a provider does.
//!
//! Every notification is a task of its own that sleeps until it is due, so
//! late, doubled and overtaking notifications are nothing special: they are
//! only due at other times. A few are under way at once, and a receiver that
//! does not answer 2xx in time sees the same bytes again until the window ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::sync::Semaphore;

use crate::faults::FaultBox;

/// What has become of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Not answered 2xx yet; will be sent or sent again.
    Pending,
    /// Answered 2xx.
    Delivered,
    /// Never sent, on purpose.
    Lost,
    /// Discarded at the end of the retry window.
    GivenUp,
}

/// One request to the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The receiver's answer, if it gave one in time.
    pub status: Option<u16>,
    /// Why the attempt counts as failed.
    pub failure: Option<String>,
    /// How long the receiver took.
    pub millis: u64,
}

/// The log of one notification to one subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The event it tells of; a duplicate has the same.
    pub event_id: String,
    /// Such as `payment.updated`.
    pub event_type: String,
    /// The provider's id of the object inside.
    pub object_id: String,
    /// The subscription it belongs to.
    pub subscription_id: String,
    /// Where it goes.
    pub url: String,
    /// Whether it is a second copy.
    pub duplicate: bool,
    /// What has become of it.
    pub state: DeliveryState,
    /// What was tried.
    pub attempts: Vec<Attempt>,
}

/// One sending of a notification.
#[derive(Debug, Clone)]
pub struct Sending {
    /// 0 is the first.
    pub retry: u32,
    pub last_failure: Option<String>,
    /// Whether the proof of origin has to be by another key.
    pub wrong: bool,
}

/// What goes over the wire.
#[derive(Debug)]
pub struct Letter {
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// A notification ready to be sent.
#[derive(Clone)]
pub struct Parcel {
    pub letter: Arc<dyn Fn(&Sending) -> Letter + Send + Sync>,
    /// How long to wait before the retry of this number (1 is the first), in
    /// shop time, after this answer; `None` gives up.
    pub pause: fn(u32, Option<u16>) -> Option<Duration>,
    /// When a notification is discarded whatever the schedule says, in shop time.
    pub window: Option<Duration>,
}

/// base64( HMAC-SHA256( key as the text it is, first part followed by the second ) )
pub fn signature(key: &str, first: &str, second: &str) -> String {
    // An HMAC takes a key of any length, so this never is `Err`.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        return String::new();
    };
    mac.update(first.as_bytes());
    mac.update(second.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// How the receiver is treated.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub speed: f64,
    /// How long a receiver may take, in real time.
    pub answer_within: Duration,
    /// Whether a subscription with many errors is paused and stopped, as Toast does.
    pub brakes: bool,
}

#[derive(Debug)]
pub struct PostOffice {
    log: Mutex<Vec<Delivery>>,
    http: reqwest::Client,
    under_way: Semaphore,
    terms: Terms,
    brakes: Mutex<BTreeMap<String, Brake>>,
    faults: Arc<FaultBox>,
    runtime: tokio::runtime::Handle,
}

impl PostOffice {
    pub fn new(
        runtime: tokio::runtime::Handle,
        faults: Arc<FaultBox>,
        at_once: usize,
        terms: Terms,
    ) -> Result<Self, reqwest::Error> {
        // A provider never follows a redirect: a 3xx is a failed delivery.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(terms.answer_within)
            .no_proxy()
            .build()?;
        let under_way = Semaphore::new(at_once.max(1));
        Ok(Self { log: Mutex::default(), http, under_way, terms, brakes: Mutex::default(), faults, runtime })
    }

    fn log(&self) -> MutexGuard<'_, Vec<Delivery>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn deliveries(&self) -> Vec<Delivery> {
        self.log().clone()
    }

    pub fn count(&self, state: DeliveryState) -> usize {
        self.log().iter().filter(|delivery| delivery.state == state).count()
    }

    /// Takes a notification; `after` is shop time from now.
    pub fn post(self: &Arc<Self>, delivery: Delivery, parcel: Parcel, after: Duration) {
        let waits = delivery.state == DeliveryState::Pending;
        let place = {
            let mut log = self.log();
            log.push(delivery);
            log.len() - 1
        };
        if waits {
            let due = Instant::now() + after.div_f64(self.terms.speed);
            self.runtime.spawn(Arc::clone(self).carry(place, parcel, due));
        }
    }

    async fn carry(self: Arc<Self>, place: usize, parcel: Parcel, mut due: Instant) {
        let Some(delivery) = self.log().get(place).cloned() else {
            return;
        };
        let mut waited = Duration::ZERO;
        let mut last_failure: Option<String> = None;
        for retry in 0_u32.. {
            tokio::time::sleep_until(due.into()).await;
            if self.is_braked(&delivery.subscription_id) {
                self.settle(place, None, DeliveryState::Lost);
                return;
            }
            let attempt = self.attempt(&delivery.url, &parcel, retry, last_failure.as_deref()).await;
            last_failure.clone_from(&attempt.failure);
            if last_failure.is_some() {
                self.brake(&delivery.subscription_id);
            }
            let pause = (parcel.pause)(retry + 1, attempt.status);
            waited = waited.saturating_add(pause.unwrap_or_default());
            let expired = parcel.window.is_some_and(|window| waited > window);
            let state = match (&attempt.failure, pause) {
                (None, _) => DeliveryState::Delivered,
                (Some(_), Some(_)) if !expired => DeliveryState::Pending,
                (Some(_), _) => DeliveryState::GivenUp,
            };
            due = Instant::now() + pause.unwrap_or_default().div_f64(self.terms.speed);
            self.settle(place, Some(attempt), state);
            if state != DeliveryState::Pending {
                return;
            }
        }
    }

    fn settle(&self, place: usize, attempt: Option<Attempt>, state: DeliveryState) {
        if let Some(delivery) = self.log().get_mut(place) {
            delivery.attempts.extend(attempt);
            delivery.state = state;
        }
    }

    /// Sends it once; the log does not hear of it.
    pub async fn attempt(&self, url: &str, parcel: &Parcel, retry: u32, reason: Option<&str>) -> Attempt {
        let _permit = self.under_way.acquire().await;
        let wrong = self.faults.take(|faults| &mut faults.wrong_signatures);
        let Letter { headers, body } =
            (parcel.letter)(&Sending { retry, last_failure: reason.map(str::to_owned), wrong });
        let mut request = self.http.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let began = Instant::now();
        let answer = request.send().await;
        let (status, failure) = match answer {
            Ok(answer) if answer.status().is_success() => (Some(answer.status().as_u16()), None),
            Ok(answer) => (Some(answer.status().as_u16()), Some("http_error")),
            Err(error) if error.is_timeout() => (None, Some("http_timeout")),
            Err(_) => (None, Some("other_error")),
        };
        Attempt {
            status,
            failure: failure.map(str::to_owned),
            millis: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Errors of one subscription, and what they have led to; moments are real ones.
#[derive(Debug, Default)]
struct Brake {
    errors: Vec<Instant>,
    pauses: Vec<Instant>,
    paused_until: Option<Instant>,
    stopped: bool,
}

/// 50 errors in 5 minutes pause a subscription for one; 9 pauses in 10 minutes
/// stop it until somebody starts it again. What comes meanwhile is lost (unverified).
const ERRORS: usize = 50;
const PAUSES: usize = 9;

impl PostOffice {
    fn brakes(&self) -> MutexGuard<'_, BTreeMap<String, Brake>> {
        self.brakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn minutes(&self, minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes).div_f64(self.terms.speed)
    }

    fn is_braked(&self, subscription_id: &str) -> bool {
        self.brakes()
            .get(subscription_id)
            .is_some_and(|brake| brake.stopped || brake.paused_until.is_some_and(|until| until > Instant::now()))
    }

    fn brake(&self, subscription_id: &str) {
        if !self.terms.brakes {
            return;
        }
        let (now, five, ten) = (Instant::now(), self.minutes(5), self.minutes(10));
        let mut brakes = self.brakes();
        let brake = brakes.entry(subscription_id.to_owned()).or_default();
        brake.errors.retain(|error| now.duration_since(*error) < five);
        brake.errors.push(now);
        if brake.errors.len() >= ERRORS {
            brake.errors.clear();
            brake.pauses.retain(|pause| now.duration_since(*pause) < ten);
            brake.pauses.push(now);
            brake.paused_until = Some(now + self.minutes(1));
            brake.stopped |= brake.pauses.len() >= PAUSES;
        }
    }

    /// Somebody at the provider starts all stopped subscriptions again.
    pub fn restart(&self) {
        self.brakes().clear();
    }
}

/// The vendor's signature vectors, if they lie beside the repository.
#[cfg(test)]
pub fn vectors(vendor: &str) -> Vec<serde_json::Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures");
    let Ok(text) = std::fs::read_to_string(format!("{folder}/{vendor}/signature-vectors.json")) else {
        // Past the test harness, which would keep it to itself.
        let said = format!("SKIPPED: no signature vectors of {vendor} are here\n");
        std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes()).unwrap();
        return Vec::new();
    };
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    read["vectors"].as_array().unwrap().clone()
}
