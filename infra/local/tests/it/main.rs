//! The deployed service, driven from outside as a stranger would; and, in this file, the local stack itself: other
//! tests stand on it, so what it promises is checked first.
//!
//! Needs the built functions and the tools (`make test`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test without its stack, its socket or its answer has nothing else to say"
)]

mod api;
mod availability;
mod canary;
mod control;
mod days;
mod documents;
mod doorbell;
mod doors;
mod infrastructure;
mod lineage;
mod mappings;
mod openapi;
mod outages;
mod platform;
mod published_keys;
mod roles;
mod sales;
mod sales_chaos;
mod silence;
mod sync;
mod sync_api;
mod sync_runs;
mod sync_scale;
mod sync_town;
mod telemetry;
mod town;
mod webhook_log;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use aws_sdk_sqs::{Client, config::retry::RetryConfig};
use contract::letters::{Scene, Spec};
use local::{Answers, Fault, Proxy, SalesDomain, Stack, StackOptions, wait_for};

/// Posts to the public route, which starts at least one function, and returns the status line.
fn ring_the_doorbell(stack: &Stack) -> String {
    let rest = stack.api_url().trim_start_matches("http://");
    let (host, path) = rest.split_once('/').unwrap();
    let body = "{}";
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "POST /{path}/api/v1/webhooks/square HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// One attempt per call: a retry would hide what the proxy did.
fn queue_client(stack: &Stack, endpoint: &str) -> Client {
    let config = aws_sdk_sqs::config::Builder::from(&stack.config_at(endpoint));
    Client::from_conf(config.retry_config(RetryConfig::disabled()).build())
}

#[test]
fn a_stack_takes_its_processes_with_it() {
    let stack = Stack::start(&StackOptions { name: "local-ends".into(), ..StackOptions::default() }).unwrap();
    ring_the_doorbell(&stack);
    let processes = stack.function_processes();
    assert!(!processes.is_empty());
    let endpoint = stack.endpoint().trim_start_matches("http://").to_owned();
    drop(stack);
    let all_gone = || processes.iter().all(|process| !is_alive(process.pid));
    assert!(wait_for(Duration::from_secs(5), all_gone).is_some());
    assert!(TcpStream::connect(endpoint).is_err());
}

#[test]
fn a_killed_function_is_started_again_by_the_next_call() {
    let stack = Stack::shared().unwrap();
    ring_the_doorbell(stack);
    assert!(stack.kill_function("webhooks").unwrap() >= 1);
    let name = stack.function_name("webhooks").unwrap();
    let killed = || stack.function_processes().iter().all(|process| process.function_name != name);
    assert!(wait_for(Duration::from_secs(5), killed).is_some());
    ring_the_doorbell(stack);
    assert!(!killed());
}

#[tokio::test]
async fn a_dropped_answer_was_executed_and_a_dropped_call_was_not() {
    let stack = Stack::shared().unwrap();
    let proxy = Proxy::start().unwrap();
    proxy.forward_to(stack.endpoint());
    let client = queue_client(stack, proxy.url());
    let queue = stack.output("SalesRepliesDeadLetterQueueUrl").unwrap();
    let send = |text: &str| client.send_message().queue_url(queue).message_body(text).send();

    proxy.hit_named("sqs:SendMessage", 1, Fault::DropBefore);
    proxy.hit_named("sqs:SendMessage", 2, Fault::DropAfter);
    proxy.hit_named("sqs:SendMessage", 3, Fault::Status500);
    assert!(send("dropped before").await.is_err());
    assert!(send("dropped after").await.is_err());
    assert!(send("refused").await.is_err());
    assert!(send("passed").await.is_ok());

    let received = client.receive_message().queue_url(queue).max_number_of_messages(10).send().await.unwrap();
    let mut bodies: Vec<_> = received.messages().iter().filter_map(|message| message.body()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["dropped after", "passed"]);
    assert_eq!(proxy.count("sqs:SendMessage"), 4);
    let statuses: Vec<_> = proxy.calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [None, Some(200), None, Some(200), Some(200)]);
}

#[test]
fn the_calls_of_deployed_functions_can_be_watched() {
    let proxy = Proxy::start().unwrap();
    let stack = Stack::start(&StackOptions {
        name: "local-watched".into(),
        function_endpoint: Some(proxy.url().to_owned()),
        ..StackOptions::default()
    })
    .unwrap();
    proxy.forward_to(stack.endpoint());
    ring_the_doorbell(&stack);
    let calls = proxy.calls();
    let secret = calls.iter().find(|call| call.name() == "secretsmanager:GetSecretValue");
    // 200 also says that the role's signature was still valid behind the proxy.
    assert_eq!(secret.and_then(|call| call.status), Some(200), "{calls:?}");
}

#[tokio::test]
async fn the_sales_domain_takes_answers_and_adds_up() {
    let stack = Stack::shared().unwrap();
    let sales = SalesDomain::start(stack, Answers::AtOnce);
    let client = Client::new(&stack.config());
    let queue = stack.output("SalesQueueUrl").unwrap();
    let (scene, sale) = (Scene::new("counter", "SHOP1", "2026-11-22"), Spec::sale(700));
    for (revision, total) in [(2, 700), (1, 500), (2, 700)] {
        let event = scene.event(&sale.revised(revision, total)).body;
        client.send_message().queue_url(queue).message_body(event).send().await.unwrap();
    }
    let answered = |sales: &SalesDomain| sales.counts().answered == 3;
    assert!(sales.wait_until(Duration::from_secs(10), answered));
    let totals: Vec<_> = sales.totals().into_values().collect();
    assert_eq!(totals, [local::Total { count: 1, total_minor: 700 }]);
}
