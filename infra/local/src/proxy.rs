//! A reverse proxy in front of the emulator that counts AWS calls and breaks the ones it is told to break.
//!
//! A crash hurts between two calls: after the database took the write and before the queue took the message. Tests
//! walk through those points by number (`the 3rd call`), with the functions or an SDK client pointed at the proxy.
//! Bodies, headers and the `Host` header pass unchanged, so signatures stay valid.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap},
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection closes and the call was never executed.
    DropBefore,
    /// The call is executed and the connection closes before the answer.
    DropAfter,
    /// The caller gets a 500 and the call was never executed.
    Status500,
    /// The call is executed, but only after this long.
    Delay(Duration),
    /// Of a batch of messages every second one is refused.
    HalfBatch,
}

/// One call that went through the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `dynamodb`, `sqs`, `kms`, `secretsmanager`, …
    pub service: String,
    /// `PutItem`, `SendMessage`, … or method and path where a protocol has no operation names. `AddToCounters` is the
    /// `UpdateItem` with which a function adds up what it has counted.
    pub operation: String,
    /// Name of the table or queue that it is about, the first of several; empty for anything else.
    pub resource: String,
    /// What was done to it.
    pub fault: Option<Fault>,
    /// The emulator's answer; nothing if the call was not executed.
    pub status: Option<u16>,
}

impl Call {
    /// `sqs:SendMessage`
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.service, self.operation)
    }
}

struct Rule {
    /// `None` matches every call.
    name: Option<String>,
    /// How many matching calls pass before the one that is hit.
    remaining: u32,
    fault: Fault,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    upstream: String,
    calls: Vec<Call>,
    rules: Vec<Rule>,
    on_drop: Option<Hook>,
}

/// The running proxy. It stops when dropped.
pub struct Proxy {
    url: String,
    state: Arc<Mutex<State>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proxy").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts on a free port, on a thread of its own. Without an upstream yet, because functions that shall call
    /// through the proxy must know its address before the stack exists: see [`Proxy::forward_to`].
    ///
    /// # Errors
    /// When no port can be opened.
    pub fn start() -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn({
            let state = Arc::clone(&state);
            move || runtime.block_on(serve(listener, state, stopped))
        });
        Ok(Self { url, state, stop, thread: Some(thread) })
    }

    /// Where to send the calls: `StackOptions::function_endpoint`, or `Stack::config_at`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the calls go: `stack.endpoint()`.
    pub fn forward_to(&self, endpoint: &str) {
        endpoint.clone_into(&mut lock(&self.state).upstream);
    }

    /// The calls so far, in the order of their arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.state).calls.clone()
    }

    /// How many calls of this name (`sqs:SendMessage`) there were.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        lock(&self.state).calls.iter().filter(|call| call.name() == name).count()
    }

    /// Forgets calls and faults that have not happened.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        state.calls.clear();
        state.rules.clear();
        state.on_drop = None;
    }

    /// Hits the `nth` call from now (the first is 1), whatever it is.
    pub fn hit(&self, nth: u32, fault: Fault) {
        lock(&self.state).rules.push(Rule { name: None, remaining: nth, fault });
    }

    /// Hits the `nth` call from now of one name (`dynamodb:PutItem`).
    pub fn hit_named(&self, name: &str, nth: u32, fault: Fault) {
        lock(&self.state).rules.push(Rule { name: Some(name.to_owned()), remaining: nth, fault });
    }

    /// Runs whenever a fault drops a connection, before it does: kill the caller there, and the drop is a crash.
    pub fn on_drop(&self, hook: impl Fn() + Send + Sync + 'static) {
        lock(&self.state).on_drop = Some(Arc::new(hook));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<Mutex<State>>, mut stopped: watch::Receiver<bool>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let (state, client) = (Arc::clone(&state), client.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| pass(request, Arc::clone(&state), client.clone()));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .preserve_header_case(true)
                .serve_connection(TokioIo::new(stream), service);
            // An error here is a dropped call: it was asked for, or the caller has gone.
            let _ = connection.await;
        });
    }
}

/// An `Err` closes the connection without an answer.
async fn pass(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    client: Client<HttpConnector, Full<Bytes>>,
) -> Result<Response<Full<Bytes>>, Failure> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let (service, operation) = name_of(&head.headers, head.method.as_str(), head.uri.path(), &body);
    let resource = resource_of(&body);
    let (index, fault, upstream) = {
        let mut state = lock(&state);
        let call = Call { service, operation, resource, fault: None, status: None };
        let fault = state.next_fault(&call.name());
        state.calls.push(Call { fault, ..call });
        (state.calls.len() - 1, fault, state.upstream.clone())
    };
    match fault {
        Some(Fault::DropBefore) => return Err(dropped(&state)),
        Some(Fault::Status500) => {
            let mut response = Response::new(Full::from("{\"__type\":\"InternalServerError\"}"));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return Ok(response);
        }
        Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::DropAfter | Fault::HalfBatch) | None => {}
    }
    let (body, refused) = if fault == Some(Fault::HalfBatch) { halve(&body) } else { (body, Vec::new()) };
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    head.uri = format!("{upstream}{target}").parse::<Uri>()?;
    let response = client.request(Request::from_parts(head, Full::new(body))).await?;
    let (mut head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let body = if refused.is_empty() { body } else { with_failures(&body, &refused) };
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    if let Some(call) = lock(&state).calls.get_mut(index) {
        call.status = Some(head.status.as_u16());
    }
    if fault == Some(Fault::DropAfter) {
        return Err(dropped(&state));
    }
    Ok(Response::from_parts(head, Full::new(body)))
}

/// A batch without every second entry, and the ids of those.
fn halve(body: &[u8]) -> (Bytes, Vec<Value>) {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut refused = Vec::new();
    if let Some(entries) = body.get_mut("Entries").and_then(Value::as_array_mut) {
        let mut index = 0..;
        entries.retain(|entry| {
            let is_kept = index.next().is_some_and(|index| index % 2 == 0);
            if !is_kept {
                refused.push(entry.get("Id").cloned().unwrap_or_default());
            }
            is_kept
        });
    }
    (body.to_string().into(), refused)
}

fn with_failures(answer: &[u8], refused: &[Value]) -> Bytes {
    let mut answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let failed = refused.iter().map(|id| json!({ "Id": id, "Code": "InternalError", "SenderFault": false }));
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("Failed".into(), failed.collect());
    }
    answer.to_string().into()
}

fn dropped(state: &Mutex<State>) -> Failure {
    let hook = lock(state).on_drop.clone();
    if let Some(hook) = hook {
        hook();
    }
    "the test asked for this connection to be dropped".into()
}

impl State {
    /// Counts the call against every rule; the first rule that is due decides, and is used up.
    fn next_fault(&mut self, name: &str) -> Option<Fault> {
        let mut due = None;
        self.rules.retain_mut(|rule| {
            if rule.name.as_deref().is_some_and(|wanted| wanted != name) {
                return true;
            }
            rule.remaining = rule.remaining.saturating_sub(1);
            if rule.remaining > 0 {
                return true;
            }
            due = due.or(Some(rule.fault));
            false
        });
        due
    }
}

/// The service stands in the signature's scope; the operation in a header, in a form field, or nowhere.
fn name_of(headers: &HeaderMap, method: &str, path: &str, body: &[u8]) -> (String, String) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // Credential=<key>/<date>/<region>/<service>/aws4_request
    let service = text(AUTHORIZATION.as_str())
        .and_then(|header| header.split("Credential=").nth(1)?.split('/').nth(3))
        .unwrap_or("unsigned");
    let in_header = text("x-amz-target").and_then(|target| target.rsplit('.').next()).map(str::to_owned);
    let in_form = || {
        let form = std::str::from_utf8(body).ok()?;
        form.split('&').find_map(|field| field.strip_prefix("Action=")).map(str::to_owned)
    };
    // What a function adds to the counters after an answer is no part of the work, and comes by the clock.
    let adds_counts =
        in_header.as_deref() == Some("UpdateItem") && body.windows(11).any(|part| part == b"\"S\":\"metric");
    let in_header = if adds_counts { Some("AddToCounters".to_owned()) } else { in_header };
    let operation = in_header.or_else(in_form).unwrap_or_else(|| format!("{method} {path}"));
    (service.to_owned(), operation)
}

/// Tables are named, of queues the URL is.
fn resource_of(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let in_batch = || body.get("RequestItems")?.as_object()?.keys().next().cloned();
    let in_transaction = || {
        let action = body.get("TransactItems")?.get(0)?.as_object()?.values().next()?;
        action.get("TableName")?.as_str().map(str::to_owned)
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let queue = || text("QueueUrl").and_then(|url| url.rsplit('/').next()).map(str::to_owned);
    let table = text("TableName").map(str::to_owned);
    table.or_else(queue).or_else(in_batch).or_else(in_transaction).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_hits_the_call_it_counts_to_and_only_once() {
        let mut state = State::default();
        state.rules.push(Rule { name: Some("sqs:SendMessage".into()), remaining: 2, fault: Fault::DropAfter });
        state.rules.push(Rule { name: None, remaining: 3, fault: Fault::Status500 });
        let names = ["sqs:SendMessage", "kms:Decrypt", "kms:Decrypt", "sqs:SendMessage", "sqs:SendMessage"];
        let faults: Vec<_> = names.iter().map(|name| state.next_fault(name)).collect();
        assert_eq!(faults, [None, None, Some(Fault::Status500), Some(Fault::DropAfter), None]);
    }

    #[test]
    fn calls_are_named_in_every_protocol() {
        let mut headers = HeaderMap::new();
        let scope = "AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/dynamodb/aws4_request, SignedHeaders=host";
        headers.insert(AUTHORIZATION, scope.parse().unwrap());
        headers.insert("x-amz-target", "DynamoDB_20120810.PutItem".parse().unwrap());
        assert_eq!(name_of(&headers, "POST", "/", b"{}"), ("dynamodb".into(), "PutItem".into()));
        headers.remove("x-amz-target");
        let form = b"Version=2011-06-15&Action=GetCallerIdentity";
        assert_eq!(name_of(&headers, "POST", "/", form).1, "GetCallerIdentity");
        assert_eq!(name_of(&headers, "PUT", "/bucket/key", b"").1, "PUT /bucket/key");
        assert_eq!(name_of(&HeaderMap::new(), "GET", "/", b"").0, "unsigned");
    }

    #[test]
    fn calls_name_their_table_or_queue() {
        for (body, name) in [
            (r#"{"TableName": "orders", "Item": {}}"#, "orders"),
            (r#"{"QueueUrl": "http://127.0.0.1/1/intake", "Entries": []}"#, "intake"),
            (r#"{"RequestItems": {"orders": {"Keys": []}}}"#, "orders"),
            (r#"{"TransactItems": [{"Put": {"TableName": "orders"}}]}"#, "orders"),
            ("Action=GetCallerIdentity", ""),
        ] {
            assert_eq!(resource_of(body.as_bytes()), name, "{body}");
        }
    }
}
