//! The identity provider's keys: out of our own secret, or from where it publishes them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use reqwest::Url;
use serde::Deserialize;
use shared::aws::AwsError;
use shared::secrets::Secret;

/// How long published keys are used before they are read again.
const FRESH_FOR: Duration = Duration::from_secs(300);
/// How soon they may be read again: a token with an unknown key, or a provider that is away, must not buy anybody a
/// call for each request.
const ASK_AFTER: Duration = Duration::from_secs(20);
/// The gateway's caller is waiting.
const DEADLINE: Duration = Duration::from_secs(3);
/// Identity providers publish some kilobytes.
const MAX_ANSWER: usize = 64 * 1024;

/// A JSON Web Key Set, without the keys that are none to us.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Published")]
pub struct KeySet(Vec<Jwk>);

#[derive(Deserialize)]
struct Published {
    keys: Vec<serde_json::Value>,
}

impl From<Published> for KeySet {
    /// A key of a kind that we do not know must not hide the others; one for encryption signs nothing.
    fn from(published: Published) -> Self {
        let keys = published.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let signs = |key: &Jwk| {
            let intended = key.common.public_key_use.as_ref();
            intended.is_none_or(|intended| *intended == PublicKeyUse::Signature)
        };
        Self(keys.filter(signs).collect())
    }
}

impl KeySet {
    /// The key with this id.
    pub fn find(&self, id: &str) -> Option<&Jwk> {
        self.0.iter().find(|key| key.common.key_id.as_deref() == Some(id))
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The secret could not be read.
    #[error(transparent)]
    Secret(#[from] AwsError),
    /// The URL is none that keys may come from.
    #[error("the keys' URL must be https, or http on 127.0.0.1")]
    Url,
    /// They could not be fetched.
    #[error("the published keys could not be read")]
    Fetch(#[source] Option<reqwest::Error>),
    /// What was fetched is too large, or no key set.
    #[error("what was published is no key set of at most {MAX_ANSWER} bytes")]
    Unreadable,
}

/// Where the keys come from.
pub enum Keys {
    /// Somebody has put them there.
    Secret(Secret<KeySet>),
    /// The identity provider publishes them.
    Url(PublishedKeys),
}

impl Keys {
    /// The keys, at most five minutes old if they are within reach.
    pub async fn get(&self) -> Result<Arc<KeySet>, KeysError> {
        match self {
            Self::Secret(secret) => Ok(secret.get().await?),
            Self::Url(published) => published.not_older_than(published.pace.fresh_for).await,
        }
    }

    /// The keys, read again because one was not among them. `None` when that was done only just now.
    pub async fn reload(&self, held: &Arc<KeySet>) -> Result<Option<Arc<KeySet>>, KeysError> {
        match self {
            Self::Secret(secret) => Ok(secret.reload(held).await?),
            Self::Url(published) => {
                let fresh = published.not_older_than(published.pace.ask_after).await?;
                Ok(Some(fresh).filter(|fresh| !Arc::ptr_eq(fresh, held)))
            }
        }
    }
}

/// Keys behind a URL.
pub struct PublishedKeys {
    client: reqwest::Client,
    url: Url,
    pace: Pace,
    held: Mutex<Held>,
}

#[derive(Debug, Clone, Copy)]
struct Pace {
    fresh_for: Duration,
    ask_after: Duration,
}

#[derive(Default, Clone)]
struct Held {
    asked_at: Option<Instant>,
    keys: Option<(Instant, Arc<KeySet>)>,
}

impl PublishedKeys {
    /// Fetches nothing yet.
    pub fn new(url: &str) -> Result<Self, KeysError> {
        Self::with_pace(url, DEADLINE, Pace { fresh_for: FRESH_FOR, ask_after: ASK_AFTER })
    }

    fn with_pace(url: &str, deadline: Duration, pace: Pace) -> Result<Self, KeysError> {
        let url = Url::parse(url).map_err(|_| KeysError::Url)?;
        if url.scheme() != "https" && !(url.scheme() == "http" && url.host_str() == Some("127.0.0.1")) {
            return Err(KeysError::Url);
        }
        // Fails only if a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(deadline)
            // A frozen execution environment wakes up with a dead connection, and the next call is minutes away.
            .pool_max_idle_per_host(0)
            // Whom we trust is in the template, not in an answer.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| KeysError::Fetch(Some(error)))?;
        Ok(Self { client, url, pace, held: Mutex::default() })
    }

    async fn not_older_than(&self, age: Duration) -> Result<Arc<KeySet>, KeysError> {
        let held = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((read_at, keys)) = &held.keys {
                let asked_just_now = held.asked_at.is_some_and(|asked_at| asked_at.elapsed() < self.pace.ask_after);
                if read_at.elapsed() < age || asked_just_now {
                    return Ok(Arc::clone(keys));
                }
            }
            held.asked_at = Some(Instant::now());
            held.keys.clone()
        };
        match self.fetch().await {
            Ok(keys) => {
                let keys = Arc::new(keys);
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                held.keys = Some((Instant::now(), Arc::clone(&keys)));
                Ok(keys)
            }
            // Outdated keys still prove most tokens; an error proves none.
            Err(error) => match held {
                Some((_, keys)) => {
                    tracing::warn!(url = %self.url, error = ?error, "kept outdated keys");
                    Ok(keys)
                }
                None => Err(error),
            },
        }
    }

    async fn fetch(&self) -> Result<KeySet, KeysError> {
        let failed = |error| KeysError::Fetch(Some(error));
        let mut answer = self.client.get(self.url.clone()).send().await.map_err(failed)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(KeysError::Fetch(answer.error_for_status().err()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(KeysError::Unreadable);
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|_| KeysError::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};
    use serde_json::{Value, json};

    use super::*;

    /// An identity provider that answers what the test wants next, and counts how often it is asked.
    #[derive(Default)]
    struct Provider {
        asked: AtomicUsize,
        answer: Mutex<Option<(u16, String)>>,
    }

    impl Provider {
        async fn start() -> (Arc<Self>, String) {
            let provider = Arc::new(Self::default());
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
            let asked = Arc::clone(&provider);
            let router = Router::new().fallback(async move || asked.answer().await);
            tokio::spawn(async move { axum::serve(listener, router).await });
            (provider, url)
        }

        async fn answer(&self) -> Response {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = self.answer.lock().unwrap().clone();
            match answer {
                Some((302, target)) => (StatusCode::FOUND, [("location", target)]).into_response(),
                Some((status, body)) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
                // Never.
                None => std::future::pending().await,
            }
        }

        fn will(&self, status: u16, body: impl ToString) {
            *self.answer.lock().unwrap() = Some((status, body.to_string()));
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    fn keys(ids: &[&str]) -> Value {
        let key = |id: &&str| {
            json!({
                "kty": "EC", "crv": "P-256", "use": "sig", "kid": id,
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            })
        };
        json!({ "keys": ids.iter().map(key).collect::<Vec<_>>() })
    }

    fn published(url: &str, fresh_for: u64, ask_after: u64) -> Keys {
        let pace = Pace { fresh_for: Duration::from_millis(fresh_for), ask_after: Duration::from_millis(ask_after) };
        Keys::Url(PublishedKeys::with_pace(url, Duration::from_millis(300), pace).unwrap())
    }

    #[tokio::test]
    async fn keys_are_fetched_once_and_an_unknown_one_asks_again_but_not_at_once() {
        let (provider, url) = Provider::start().await;
        provider.will(200, keys(&["old"]));
        let source = published(&url, 60_000, 100);
        let held = source.get().await.unwrap();
        assert!(held.find("old").is_some() && held.find("new").is_none());
        provider.will(200, keys(&["old", "new"]));
        for _ in 0..50 {
            assert!(source.get().await.unwrap().find("old").is_some());
            assert!(source.reload(&held).await.unwrap().is_none());
        }
        assert_eq!(provider.asked(), 1);
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert!(source.reload(&held).await.unwrap().unwrap().find("new").is_some());
        assert_eq!(provider.asked(), 2);
    }

    #[tokio::test]
    async fn while_the_provider_is_away_the_old_keys_serve_and_it_is_not_asked_all_the_time() {
        let (provider, url) = Provider::start().await;
        provider.will(200, keys(&["old"]));
        let source = published(&url, 0, 100);
        source.get().await.unwrap();
        for answer in [(503, String::new()), (200, "nonsense".into()), (200, "x".repeat(MAX_ANSWER + 1))] {
            tokio::time::sleep(Duration::from_millis(120)).await;
            let before = provider.asked();
            provider.will(answer.0, answer.1);
            for _ in 0..20 {
                assert!(source.get().await.unwrap().find("old").is_some());
            }
            assert_eq!(provider.asked(), before + 1);
        }
    }

    #[tokio::test]
    async fn without_keys_there_is_an_error_in_time_and_the_next_request_tries_again() {
        let (provider, url) = Provider::start().await;
        let source = published(&url, 60_000, 60_000);
        let started = Instant::now();
        assert!(matches!(source.get().await, Err(KeysError::Fetch(Some(_)))));
        assert!(started.elapsed() < Duration::from_secs(2));
        for (status, body) in [(500, String::new()), (302, format!("{url}/elsewhere")), (204, String::new())] {
            provider.will(status, body);
            assert!(matches!(source.get().await, Err(KeysError::Fetch(_))), "{status}");
        }
        for body in ["", "[]", "{}", &" ".repeat(MAX_ANSWER + 1)] {
            provider.will(200, body);
            assert!(matches!(source.get().await, Err(KeysError::Unreadable)));
        }
        provider.will(200, keys(&["one"]));
        assert!(source.get().await.unwrap().find("one").is_some());
    }

    #[test]
    fn a_key_that_is_none_to_us_does_not_hide_the_others() {
        let mut all = keys(&["encrypts", "signs"]);
        all["keys"][0]["use"] = "enc".into();
        let strange = [json!({ "kty": "XYZ", "kid": "tomorrow" }), json!(7)];
        all["keys"].as_array_mut().unwrap().splice(0..0, strange);
        let set: KeySet = serde_json::from_value(all).unwrap();
        assert!(set.find("signs").is_some());
        assert!(set.find("encrypts").is_none());
    }

    #[test]
    fn keys_come_from_nowhere_but_https_and_this_machine() {
        for url in ["https://id.example.com/jwks", "http://127.0.0.1:8080/jwks"] {
            assert!(PublishedKeys::new(url).is_ok(), "{url}");
        }
        for url in ["", "id.example.com", "http://id.example.com/", "http://127.0.0.1.example.com/", "file:///etc/keys"]
        {
            assert!(matches!(PublishedKeys::new(url), Err(KeysError::Url)), "{url}");
        }
    }
}
