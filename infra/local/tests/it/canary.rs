//! What a vendor tells of people, and every secret, has a mark (`sandbox::PERSONAL`, `sandbox::SECRET`). Here a bakery sells
//! for a while, by webhook and by sync, with things going wrong; then the marks are looked for everywhere.
//!
//! Two places may have them: the intake queues, on which deliveries and pages travel as they came (encrypted by SQS), and
//! what is sealed.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use local::{Bakery, StackOptions};
use reqwest::Method;
use sandbox::{Faults, PERSONAL, RandomFailure, SECRET, SaleKind, Sandbox, SandboxOptions, Vendor};
use serde_json::json;
use shared::domain::ProviderKind;
use shared::providers::{DICTIONARY, dictionary};

use crate::sync_town::{PATIENCE, idle, patiently};
use crate::town::Answer;

/// Marks, and whatever else must not be found, by what they are.
struct Marks {
    texts: Vec<(&'static str, String)>,
    looked_at: BTreeMap<&'static str, usize>,
    found: BTreeSet<String>,
    raw_orders: usize,
}

impl Marks {
    fn look(&mut self, kind: &'static str, place: &str, bytes: &[u8]) {
        *self.looked_at.entry(kind).or_default() += 1;
        for (name, text) in &self.texts {
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                self.found.insert(format!("{name} in {kind} {place}"));
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the type can grow")]
    fn look_at_value(&mut self, place: &str, value: &AttributeValue) {
        match value {
            AttributeValue::S(text) | AttributeValue::N(text) => self.look("item", place, text.as_bytes()),
            AttributeValue::B(bytes) => {
                self.look("item", place, bytes.as_ref());
                // What is only packed is not sealed.
                if let Ok(unpacked) = zstd::bulk::decompress(bytes.as_ref(), 16 << 20) {
                    self.look("item", place, &unpacked);
                }
                for kind in ProviderKind::ALL {
                    let dictionary = dictionary(kind, DICTIONARY).unwrap();
                    let mut unpacking = zstd::bulk::Decompressor::with_dictionary(dictionary).unwrap();
                    if let Ok(unpacked) = unpacking.decompress(bytes.as_ref(), 16 << 20) {
                        self.look("item", place, &unpacked);
                    }
                }
            }
            AttributeValue::Ss(texts) => texts.iter().for_each(|text| self.look("item", place, text.as_bytes())),
            AttributeValue::L(values) => values.iter().for_each(|value| self.look_at_value(place, value)),
            AttributeValue::M(values) => {
                values.iter().for_each(|(name, value)| self.look_at_value(&format!("{place}.{name}"), value));
            }
            // Flags, and what nothing of ours is made of.
            _ => assert!(value.is_bool() || value.is_null(), "{place}: {value:?}"),
        }
    }

    async fn look_at_tables(&mut self, bakery: &Bakery) {
        let client = aws_sdk_dynamodb::Client::new(&bakery.stack.config());
        for table in client.list_tables().send().await.unwrap().table_names() {
            let mut pages = client.scan().table_name(table).into_paginator().send();
            while let Some(page) = pages.next().await {
                for (name, value) in page.unwrap().items().iter().flatten() {
                    if bakery.stack.output("RawLogTable") == Some(table.as_str()) && name == "body" {
                        self.raw_orders += 1;
                    }
                    self.look_at_value(&format!("{table}.{name}"), value);
                }
            }
        }
    }

    /// Takes what is on every queue but those of the intake.
    async fn look_at_queues(&mut self, bakery: &Bakery) {
        let client = aws_sdk_sqs::Client::new(&bakery.stack.config());
        for queue in client.list_queues().send().await.unwrap().queue_urls() {
            if queue.contains("Intake") && !queue.contains("DeadLetter") {
                continue;
            }
            loop {
                let receive = client.receive_message().queue_url(queue).max_number_of_messages(10);
                let answer = receive.message_attribute_names("All").send().await.unwrap();
                if answer.messages().is_empty() {
                    break;
                }
                for message in answer.messages() {
                    self.look("message", queue, message.body().unwrap_or_default().as_bytes());
                    self.look("message", queue, format!("{:?}", message.message_attributes()).as_bytes());
                }
            }
        }
    }

    /// Logs are what metrics are made of, too.
    fn look_at_logs(&mut self, bakery: &Bakery) {
        for log in std::fs::read_dir(bakery.stack.folder().join("logs")).unwrap().map(|log| log.unwrap().path()) {
            for line in std::fs::read(&log).unwrap().split(|byte| *byte == b'\n') {
                self.look("line of", &log.file_name().unwrap().to_string_lossy(), line);
            }
        }
    }

    async fn look_at_answers(&mut self, bakery: &Bakery, connections: &[String]) {
        let api = bakery.api().unwrap();
        let first = async |path: &str, name: &str| {
            let page = Answer::to(api.request(Method::GET, path)).await.json();
            page["items"][0][name].as_str().unwrap().to_owned()
        };
        let sale = first("/transactions?limit=1", "id").await;
        let mut paths: Vec<String> =
            ["/configurations", "/transactions?limit=100", "/audit-log"].map(str::to_owned).into();
        paths.extend([format!("/transactions/{sale}"), format!("/transactions/{sale}/lineage")]);
        let today = Timestamp::now().to_string();
        for id in connections {
            let delivery = first(&format!("/configurations/{id}/webhooks?limit=1"), "event_id").await;
            for path in [
                "",
                "/sync/status?limit=100",
                "/webhooks?limit=100",
                "/webhooks/scoreboard",
                "/product-mappings?limit=100",
                "/days",
                &format!("/days/{}", &today[..10]),
                &format!("/webhooks/{delivery}"),
            ] {
                paths.push(format!("/configurations/{id}{path}"));
            }
        }
        let asked = paths.into_iter().map(|path| (path, "application/json"));
        let exports = ["text/csv", "application/x-ndjson"].map(|form| ("/transactions".to_owned(), form));
        for (path, form) in asked.chain(exports) {
            let answer = Answer::to(api.request(Method::GET, &path).header("accept", form)).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            self.look("answer of", &path, answer.text.as_bytes());
            self.look("answer of", &path, format!("{:?}", answer.headers).as_bytes());
        }
    }
}

#[tokio::test]
async fn no_secret_and_nothing_about_a_person_is_where_it_does_not_belong() {
    let sandbox = SandboxOptions { shops: 2, speed: 1_200.0, ..SandboxOptions::default() };
    let options = StackOptions {
        name: "local-canary".into(),
        // Who looks for a mistake at night may log everything.
        parameters: BTreeMap::from([("LogLevel".to_owned(), "debug".to_owned())]),
        ..StackOptions::default()
    };
    let bakery = Bakery::open(Sandbox::start(sandbox).unwrap(), options).await.unwrap();
    let connections = bakery.connect_branches().await.unwrap();
    let api = bakery.api().unwrap();
    let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
    let since = yesterday.to_zoned(TimeZone::UTC).date() - 1.day();
    for (vendor, id) in &connections {
        idle(&api, id).await;
        let desk = bakery.sandbox.at(*vendor);
        desk.stock_history(10, yesterday);
        desk.play(12);
        for kind in [SaleKind::Api, SaleKind::Everything, SaleKind::FullRefund, SaleKind::Canceled] {
            desk.ring_up(kind, None).unwrap();
        }
        // What goes wrong is what logs and failed rows tell of.
        let failing = |percent| RandomFailure { percent, statuses: vec![500], path: None };
        let faults = Faults {
            random_failures: vec![failing(10)],
            random_lost_answers: vec![failing(5)],
            wrong_signatures: 2,
            ..Faults::default()
        };
        bakery.sandbox.set_faults_of(*vendor, faults);
    }
    for (vendor, id) in &connections {
        // What is still being sold would be sold without a witness.
        bakery.sandbox.at(*vendor).wait_until_quiet(PATIENCE).await.unwrap();
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        for request in [json!({ "kind": "incremental" }), json!({ "kind": "backfill", "from": since, "to": today })] {
            let run = api.begin_sync(id, &request).await.unwrap();
            patiently("the sync", async || api.run(id, &run.id).await.unwrap().has_ended().then_some(())).await;
        }
        bakery.sandbox.set_faults_of(*vendor, Faults::default());
        let transactions: Vec<serde_json::Value> = api.transactions(id).await.unwrap();
        assert!(transactions.len() > 20, "{vendor:?}: {}", transactions.len());
    }
    // A mistake of the caller's, with a secret in it.
    let request = api.request(Method::POST, &format!("/configurations/{}/webhook-secrets", connections[1].1));
    let answer = Answer::to(request.json(&json!({ "secret": format!("{SECRET}-typed"), "labell": "x" }))).await;
    assert_eq!(answer.status, 422, "{answer:?}");

    let seeded: usize = Vendor::ALL
        .iter()
        .flat_map(|vendor| bakery.sandbox.at(*vendor).events())
        .map(|event| event.body.matches(PERSONAL).count())
        .sum();
    assert!(seeded > 100, "{seeded}: nothing to find");
    let token = api.token().rsplit('.').next().unwrap().to_owned();
    let texts = vec![("a person", PERSONAL.to_owned()), ("a secret", SECRET.to_owned()), ("a bearer token", token)];
    let mut marks = Marks { texts, looked_at: BTreeMap::new(), found: BTreeSet::new(), raw_orders: 0 };
    let ids: Vec<String> = connections.iter().map(|(_, id)| id.clone()).collect();
    marks.look_at_answers(&bakery, &ids).await;
    marks.look_at_queues(&bakery).await;
    marks.look_at_tables(&bakery).await;
    marks.look_at_logs(&bakery);
    println!(
        "canary: {seeded} texts about people in webhooks alone, {} places looked at, found {}",
        marks.looked_at.values().sum::<usize>(),
        marks.found.len()
    );
    for kind in ["item", "message", "line of", "answer of"] {
        assert!(marks.looked_at.get(kind).is_some_and(|looks| *looks > 10), "{kind}: {:?}", marks.looked_at);
    }
    assert!(marks.raw_orders > 30, "{} raw orders", marks.raw_orders);
    assert!(marks.found.is_empty(), "{:#?}", marks.found);
}

/// A look that finds nothing must be able to find something.
#[test]
fn a_mark_is_found_wherever_it_is() {
    let texts = vec![("a person", PERSONAL.to_owned())];
    let mut marks = Marks { texts, looked_at: BTreeMap::new(), found: BTreeSet::new(), raw_orders: 0 };
    let packed = zstd::bulk::compress(format!("to {PERSONAL}-name").as_bytes(), 3).unwrap();
    let dictionary = dictionary(ProviderKind::Toast, DICTIONARY).unwrap();
    let mut small = zstd::bulk::Compressor::with_dictionary(3, dictionary).unwrap();
    let small = small.compress(format!(r#"{{"firstName":"{PERSONAL}-name"}}"#).as_bytes()).unwrap();
    for (place, value) in [
        ("small", AttributeValue::B(small.into())),
        ("text", AttributeValue::S(format!("for {PERSONAL}"))),
        ("packed", AttributeValue::B(packed.into())),
        (
            "inside",
            AttributeValue::M([("of".to_owned(), AttributeValue::L(vec![AttributeValue::S(PERSONAL.into())]))].into()),
        ),
        ("nothing", AttributeValue::S("zq7".into())),
    ] {
        marks.look_at_value(place, &value);
    }
    let found: Vec<_> = marks.found.iter().map(|found| found.rsplit(' ').next().unwrap()).collect();
    assert_eq!(found, ["inside.of", "packed", "small", "text"]);
}
