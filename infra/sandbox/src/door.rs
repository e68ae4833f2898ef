//! What meets every call before a provider hears of it: faults, and somebody who counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::faults::{Failure, FaultBox};

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

#[derive(Debug)]
pub struct Door {
    pub faults: Arc<FaultBox>,
    calls: Mutex<Calls>,
    /// Paths below this are about access, not part of the API.
    access_paths: &'static str,
    token_path: &'static str,
}

impl Door {
    pub fn new(access_paths: &'static str, token_path: &'static str) -> Self {
        Self { faults: Arc::default(), calls: Mutex::default(), access_paths, token_path }
    }

    fn count(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn calls(&self) -> Calls {
        *self.count()
    }

    /// Counts a call and answers with the failure it has to meet, if any.
    pub fn meet(&self, path: &str) -> Option<Failure> {
        let is_api = !path.starts_with(self.access_paths);
        {
            let mut calls = self.count();
            calls.token_requests += u64::from(path == self.token_path);
            calls.api_calls += u64::from(is_api);
        }
        self.faults.take_failure(path, is_api)
    }

    /// Notes what became of a call, and keeps the answer back as long as it has to be.
    pub async fn leave(&self, path: &str, status: u16) {
        {
            let mut calls = self.count();
            calls.tokens_given += u64::from(path == self.token_path && status == 200);
            calls.rate_limited += u64::from(status == 429);
        }
        let wait = self.faults.slowness(path);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}
