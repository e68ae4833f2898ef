//! What meets every call before a provider hears of it: faults, and somebody who counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::faults::{Failure, FaultBox};
use crate::seed::Seed;

/// Nobody sends more.
const LARGEST: usize = 1 << 20;

/// How often a provider was called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Requests for a token, whatever became of them.
    pub token_requests: u64,
    /// Those that were answered with a token.
    pub tokens_given: u64,
    /// All other calls of the API.
    pub api_calls: u64,
    /// Calls answered 429, by a fault or by the provider's own limits.
    pub rate_limited: u64,
}

/// A call as it comes in.
#[derive(Debug)]
pub struct Call {
    pub path: String,
    is_api: bool,
    /// Everything in which it may name a shop.
    said: String,
}

impl Call {
    /// Whether it is below this path; any call of the API is when there is none.
    pub fn is_at(&self, path: Option<&str>) -> bool {
        path.map_or(self.is_api, |prefix| self.path.starts_with(prefix))
    }

    pub fn names(&self, shop: &str) -> bool {
        self.said.contains(shop)
    }
}

#[derive(Debug)]
pub struct Door {
    pub faults: Arc<FaultBox>,
    calls: Mutex<Calls>,
    /// Paths below this are about access, not part of the API.
    access_paths: &'static str,
    token_path: &'static str,
}

impl Door {
    pub fn new(access_paths: &'static str, token_path: &'static str, seed: Seed) -> Self {
        Self { faults: Arc::new(FaultBox::new(seed)), calls: Mutex::default(), access_paths, token_path }
    }

    fn count(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn calls(&self) -> Calls {
        *self.count()
    }

    /// Reads a call to its end, and counts it.
    async fn open(&self, request: Request) -> (Call, Request) {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, LARGEST).await.unwrap_or_default();
        let shop = parts.headers.get("toast-restaurant-external-id").and_then(|shop| shop.to_str().ok());
        let path = parts.uri.path().to_owned();
        let is_api = !path.starts_with(self.access_paths);
        {
            let mut calls = self.count();
            calls.token_requests += u64::from(path == self.token_path);
            calls.api_calls += u64::from(is_api);
        }
        let said = format!("{} {} {}", parts.uri, shop.unwrap_or_default(), String::from_utf8_lossy(&body));
        (Call { path, is_api, said }, Request::from_parts(parts, body.into()))
    }

    /// Lets a call pass that is admitted and meets no failure, unless its answer gets lost.
    pub async fn pass<E: IntoResponse>(
        &self,
        request: Request,
        next: Next,
        admit: impl FnOnce(&Call, &mut Request) -> Result<(), E>,
        staged: impl Fn(&Failure, &str) -> E,
    ) -> Response {
        let (call, mut request) = self.open(request).await;
        let admitted = match self.faults.take_failure(&call) {
            Some(failure) => Err(staged(&failure, &call.path)),
            None => admit(&call, &mut request),
        };
        let response = match admitted {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        };
        match self.leave(&call, response.status().as_u16()).await {
            Some(lost) => staged(&lost, &call.path).into_response(),
            None => response,
        }
    }

    /// Notes what became of a call, keeps the answer back as long as it has to
    /// be, and says what the caller sees instead if the answer gets lost.
    async fn leave(&self, call: &Call, status: u16) -> Option<Failure> {
        {
            let mut calls = self.count();
            calls.tokens_given += u64::from(call.path == self.token_path && status == 200);
            calls.rate_limited += u64::from(status == 429);
        }
        let wait = self.faults.slowness(&call.path);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        self.faults.take_lost_answer(call)
    }
}
