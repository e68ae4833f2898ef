//! Toast's deliveries carry the order: nobody is asked for it, unless two copies disagree.

use std::time::Duration;

use jiff::Timestamp;
use local::{Proxy, TENANT};
use sandbox::{SaleKind, Vendor};
use serde_json::{Value, json};
use shared::domain::ReplayId;

use crate::bench::{Bench, PATIENCE, event, record, work};

const NOTHING: [String; 0] = [];

struct Branch {
    bench: Bench,
    configuration_id: String,
    /// In front of AWS.
    aws: Proxy,
    /// In front of Toast.
    toast: Proxy,
}

impl Branch {
    async fn open(name: &str) -> Self {
        let bench = Bench::open(name);
        let connections = bench.bakery.connect_branches().await.unwrap();
        bench.forget_runs().await;
        let (_, configuration_id) = connections.into_iter().find(|(vendor, _)| *vendor == Vendor::Toast).unwrap();
        let toast = Proxy::start().unwrap();
        toast.forward_to(&bench.bakery.sandbox.toast_url());
        Self { bench, configuration_id, aws: Proxy::start().unwrap(), toast }
    }

    /// The last message about a sale that is over.
    async fn message(&self) -> Value {
        let desk = self.bench.bakery.sandbox.at(Vendor::Toast);
        let order = desk.ring_up(SaleKind::Simple, None).unwrap().order_id;
        desk.wait_until_quiet(PATIENCE).await.unwrap();
        let last = desk.events().into_iter().rfind(|event| event.order_id == order).unwrap();
        serde_json::from_str(&last.body).unwrap()
    }

    /// Works on it in a fresh execution environment. Answers how often Toast was asked for an order.
    async fn deliver(&self, message: &Value) -> usize {
        let mut record = record(0, &message.to_string(), 1);
        let attributes = record["messageAttributes"].as_object_mut().unwrap();
        let owner = format!("{TENANT}#{}", self.configuration_id);
        for (name, value) in [("provider", "toast"), ("environment", "production"), ("configuration", &owner)] {
            attributes.insert(name.to_owned(), json!({ "stringValue": value, "dataType": "String" }));
        }
        self.work_on(record).await
    }

    /// The same for one that stands in the log.
    async fn replay(&self, message: &Value) -> usize {
        let order = json!({
            "replay_id": ReplayId::generate(), "event_id": message["guid"], "by": "somebody", "at": Timestamp::now(),
        });
        let mut record = record(0, &order.to_string(), 1);
        let owner = format!("{TENANT}#{}", self.configuration_id);
        record["messageAttributes"] = json!({
            "kind": { "stringValue": "replay.v1", "dataType": "String" },
            "configuration": { "stringValue": owner, "dataType": "String" },
        });
        self.work_on(record).await
    }

    async fn work_on(&self, record: Value) -> usize {
        let app = self.bench.app_with(&self.aws, &[("TOAST_BASE_URL", self.toast.url())]);
        // What would wait longer than a second for Toast's limit (`paced`) comes again, as from the queue.
        for _ in 0..20 {
            self.aws.reset();
            let before = self.toast.calls().len();
            if Box::pin(work(&app, event(json!({ "Records": [record] })))).await == NOTHING {
                let asked = self.toast.calls().split_off(before);
                return asked.iter().filter(|call| call.operation.starts_with("GET /orders/")).count();
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("it is never done");
    }

    async fn stored(&self, message: &Value) -> Value {
        let api = self.bench.bakery.api().unwrap();
        let found: Vec<Value> = api.transactions(&self.configuration_id).await.unwrap();
        let order = &message["details"]["order"]["guid"];
        found.into_iter().find(|transaction| transaction["external_order_id"] == *order).unwrap()
    }
}

/// The same state of the order, told by another message.
fn told_again(message: &Value, guid: &str) -> Value {
    let mut message = message.clone();
    message["guid"] = guid.into();
    message
}

#[tokio::test]
async fn a_pushed_order_asks_nobody_until_two_copies_disagree() {
    let branch = Branch::open("normalizer-toast").await;
    let message = branch.message().await;

    // Neither Toast nor the key: the message holds it all. Written are the data key, the raw order, the sale and the log's row.
    assert_eq!(branch.deliver(&message).await, 0);
    assert_eq!(branch.toast.calls(), []);
    let counts = ["kms:Decrypt", "dynamodb:PutItem", "sqs:SendMessage"].map(|name| branch.aws.count(name));
    assert_eq!(counts, [0, 4, 1]);
    let stored = branch.stored(&message).await;
    assert_eq!((&stored["revision"], &stored["observed_at"]), (&json!(1), &Value::Null));

    // The same once more costs its row.
    assert_eq!(branch.deliver(&told_again(&message, "again")).await, 0);
    assert_eq!((branch.aws.count("dynamodb:PutItem"), branch.aws.count("sqs:SendMessage")), (1, 0));

    // Other content under the same time of change: Toast decides.
    let mut other = told_again(&message, "other");
    other["details"]["order"]["checks"][0]["selections"][0]["displayName"] = "Something else".into();
    assert_eq!(branch.deliver(&other).await, 1);
    // Its row, and the order that has decided, though it changes nothing: a rebuild must know as well. Its data key.
    assert_eq!(branch.aws.count("dynamodb:PutItem"), 3);
    assert_eq!(branch.stored(&message).await["line_items"], stored["line_items"]);

    // What was pushed first may be what is wrong.
    let message = branch.message().await;
    let mut wrong = told_again(&message, "wrong");
    wrong["details"]["order"]["checks"][0]["selections"][0]["displayName"] = "Something else".into();
    assert_eq!(branch.deliver(&wrong).await, 0);
    assert_eq!(branch.stored(&message).await["line_items"][0]["name"], "Something else");
    assert_eq!(branch.deliver(&message).await, 1);
    let stored = branch.stored(&message).await;
    assert_eq!((&stored["revision"], stored["observed_at"].is_string()), (&json!(2), true));
    assert_ne!(stored["line_items"][0]["name"], "Something else");

    // A replay asks Toast, whatever the delivery brought.
    assert_eq!(branch.replay(&wrong).await, 1);
    assert_eq!(branch.stored(&message).await, stored);

    // What we cannot take is read.
    let message = branch.message().await;
    let mut broken = told_again(&message, "broken");
    broken["details"]["order"]["checks"] = "none".into();
    assert_eq!(branch.deliver(&broken).await, 1);
    assert!(branch.stored(&message).await["observed_at"].is_string());
}
