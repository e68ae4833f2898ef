//! Carries notifications to the receivers, as stubbornly as a provider does.
//!
//! Every notification is a task of its own that sleeps until it is due, so
//! late, doubled and overtaking notifications are nothing special: they are
//! only due at other times. A few are under way at once, and a receiver that
//! does not answer 2xx in time sees the same bytes again until the window ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
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

/// A notification ready to be sent: nothing in it changes between attempts but the retry headers.
#[derive(Debug, Clone)]
pub struct Parcel {
    pub body: String,
    pub headers: Vec<(&'static str, String)>,
    pub signature_header: &'static str,
    pub signature: String,
    /// What is sent instead while that fault is on: well-formed, by another key.
    pub wrong_signature: String,
    pub retry_number_header: &'static str,
    pub retry_reason_header: &'static str,
    /// How long to wait before the retry of this number (1 is the first), in shop time.
    pub pause: fn(u32) -> Duration,
}

/// How the receiver is treated.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub speed: f64,
    pub retry_window: Duration,
    pub answer_within: Duration,
}

#[derive(Debug)]
pub struct PostOffice {
    log: Mutex<Vec<Delivery>>,
    http: reqwest::Client,
    under_way: Semaphore,
    terms: Terms,
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
        Ok(Self { log: Mutex::default(), http, under_way, terms, faults, runtime })
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
        let Some(url) = self.log().get(place).map(|delivery| delivery.url.clone()) else {
            return;
        };
        let mut waited = Duration::ZERO;
        let mut last_failure: Option<String> = None;
        for retry in 0_u32.. {
            tokio::time::sleep_until(due.into()).await;
            let attempt = self.attempt(&url, &parcel, retry, last_failure.as_deref()).await;
            last_failure.clone_from(&attempt.failure);
            let pause = (parcel.pause)(retry + 1);
            waited = waited.saturating_add(pause);
            due = Instant::now() + pause.div_f64(self.terms.speed);
            let state = match &attempt.failure {
                None => DeliveryState::Delivered,
                Some(_) if waited > self.terms.retry_window => DeliveryState::GivenUp,
                Some(_) => DeliveryState::Pending,
            };
            if let Some(delivery) = self.log().get_mut(place) {
                delivery.attempts.push(attempt);
                delivery.state = state;
            }
            if state != DeliveryState::Pending {
                return;
            }
        }
    }

    /// Sends it once; the log does not hear of it.
    pub async fn attempt(&self, url: &str, parcel: &Parcel, retry: u32, reason: Option<&str>) -> Attempt {
        let _permit = self.under_way.acquire().await;
        let wrong = self.faults.take(|faults| &mut faults.wrong_signatures);
        let signature = if wrong { &parcel.wrong_signature } else { &parcel.signature };
        let mut request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header(parcel.signature_header, signature)
            .body(parcel.body.clone());
        for (name, value) in &parcel.headers {
            request = request.header(*name, value);
        }
        if let Some(reason) = reason {
            request = request
                .header(parcel.retry_number_header, retry.to_string())
                .header(parcel.retry_reason_header, reason);
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
