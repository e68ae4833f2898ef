//! From the sales domain to the till and back: commands on the queue of the replies, carried out by the deployed function.

use std::time::Instant;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use local::{Bakery, StackOptions, TENANT};
use reqwest::Method;
use sandbox::{Failure, Faults, Sandbox, SandboxOptions, Vendor};
use serde_json::{Value, json};

use crate::town::{Answer, Tables, eventually, owner, text};

/// A bakery of which the test itself is the sales domain, and a Square till with a counted item.
struct Counter {
    bakery: Bakery,
    shop: String,
    item: String,
    /// Somebody at the till.
    staff: String,
    queues: aws_sdk_sqs::Client,
}

impl Counter {
    async fn open() -> Self {
        let options = StackOptions { name: "local-counter".into(), ..StackOptions::default() };
        let bakery = Bakery::open(Sandbox::start(SandboxOptions::default()).unwrap(), options).await.unwrap();
        let scopes = ["ITEMS_READ", "INVENTORY_READ", "INVENTORY_WRITE"];
        let staff = bakery.sandbox.grant(None, &scopes).unwrap().access_token;
        let shop = bakery.sandbox.merchants()[0].locations[0].id.clone();
        let queues = aws_sdk_sqs::Client::new(&bakery.stack.config());
        let mut counter = Self { bakery, shop, item: String::new(), staff, queues };
        let found = counter.square("/v2/catalog/search", &json!({ "object_types": ["ITEM"] })).await;
        let items = found["objects"].as_array().unwrap();
        let baguette = items.iter().find(|item| item["item_data"]["name"] == "Baguette").unwrap();
        counter.item = baguette["item_data"]["variations"][0]["id"].as_str().unwrap().to_owned();
        counter
    }

    async fn square(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.bakery.sandbox.square_url());
        let request = local::api::client().unwrap().post(url).bearer_auth(&self.staff).json(body);
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn count(&self) -> String {
        let wanted = json!({ "catalog_object_ids": [self.item], "location_ids": [self.shop] });
        let counts = self.square("/v2/inventory/counts/batch-retrieve", &wanted).await;
        counts["counts"][0]["quantity"].as_str().unwrap().to_owned()
    }

    /// The tenant calls the item `baguette`.
    async fn map(&self) {
        let key = owner(&self.bakery);
        let mut update = aws_sdk_dynamodb::Client::new(&self.bakery.stack.config())
            .update_item()
            .table_name(self.bakery.stack.output("ProductMappingsTable").unwrap())
            .key("configuration_key", AttributeValue::S(key.clone()))
            .key("item_id", AttributeValue::S(self.item.clone()))
            .update_expression(
                "SET #format = :format, product_id = :product, product_key = :key, mapped_at = :at, mapped_by = :by",
            )
            .expression_attribute_names("#format", "format")
            .expression_attribute_values(":format", AttributeValue::N("1".into()));
        let product_key = format!("{key}#baguette");
        for (name, value) in
            [(":product", "baguette"), (":key", &product_key), (":at", "2026-02-14T08:00:00.000Z"), (":by", "u_1")]
        {
            update = update.expression_attribute_values(name, AttributeValue::S(value.to_owned()));
        }
        update.send().await.unwrap();
    }

    async fn configure(&self, is_enabled: bool) {
        let (api, path) = (self.bakery.api().unwrap(), format!("/configurations/{}", self.bakery.configuration_id));
        let before = Answer::to(api.request(Method::GET, &path)).await;
        let wanted = json!({ "name": "Bakery", "sold_out_enabled": is_enabled });
        let request = api.request(Method::PUT, &path).header("if-match", before.header("etag")).json(&wanted);
        let after = Answer::to(request).await;
        assert_eq!((after.status, &after.json()["sold_out_enabled"]), (200, &json!(is_enabled)), "{after:?}");
    }

    /// Sends a command, and returns its id.
    async fn command(&self, kind: &str, until: Option<Timestamp>) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        let mut command = json!({
            "specversion": "1.0", "id": id, "source": "/sales", "type": format!("sales.product.{kind}.v1"),
            "subject": "baguette", "time": Timestamp::now(), "tenantid": TENANT,
            "data": {
                "configuration_id": self.bakery.configuration_id, "product_id": "baguette",
                "location_ids": [self.shop], "reason": "the oven is cold",
            },
        });
        if let Some(until) = until {
            command["data"]["until"] = json!(until);
        }
        let queue = self.bakery.stack.output("SalesRepliesQueueUrl").unwrap();
        self.queues.send_message().queue_url(queue).message_body(command.to_string()).send().await.unwrap();
        id
    }

    /// The event with this id, from the sales queue.
    async fn answer(&self, id: &str) -> Value {
        let queue = self.bakery.stack.output("SalesQueueUrl").unwrap();
        eventually(&format!("the answer {id}"), async || {
            let receive = self.queues.receive_message().queue_url(queue).message_attribute_names("All");
            let received = receive.send().await.unwrap().messages.unwrap_or_default();
            let message = received.first()?;
            let event: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            let handle = message.receipt_handle().unwrap();
            self.queues.delete_message().queue_url(queue).receipt_handle(handle).send().await.unwrap();
            let attributes = message.message_attributes().unwrap();
            assert_eq!(attributes["type"].string_value(), event["type"].as_str());
            (event["id"] == id).then_some(event)
        })
        .await
    }

    async fn verdict(&self, id: &str) -> Value {
        let answer = self.answer(id).await;
        assert_eq!(answer["type"], "pos.availability.answered.v1");
        assert_eq!(answer["source"], format!("/pos/square/{}", self.bakery.configuration_id));
        assert_eq!((&answer["tenantid"], &answer["data"]["product_id"]), (&json!(TENANT), &json!("baguette")));
        match answer["data"]["reason"].as_str() {
            Some(reason) => json!(reason),
            None => {
                let result = &answer["data"]["results"][0];
                assert_eq!((&result["location_id"], &result["item_id"]), (&json!(self.shop), &json!(self.item)));
                result["verdict"].clone()
            }
        }
    }

    fn log(&self) -> String {
        self.bakery.stack.function_log("sales-replies")
    }
}

#[tokio::test]
async fn a_command_reaches_the_till_and_its_answer_comes_back() {
    let counter = Counter::open().await;
    counter.map().await;
    let id = counter.command("sold_out", None).await;
    assert_eq!(counter.verdict(&format!("{id}:1")).await, "not_enabled");
    counter.configure(true).await;
    let rows = Tables::of(&counter.bakery).audit_rows(TENANT).await;
    let fields: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    assert!(fields.last().unwrap().contains("sold_out_enabled"), "{fields:?}");

    // Square is away for a moment: the message comes again when we want it to, and not when the queue does.
    let failure = Failure { status: 503, times: 1, path: Some("/v2/inventory".to_owned()), ..Failure::default() };
    counter.bakery.sandbox.set_faults(Faults { failures: vec![failure], ..Faults::default() });
    let started = Instant::now();
    let id = counter.command("sold_out", Some(Timestamp::now() + SignedDuration::from_secs(10))).await;
    assert_eq!(counter.verdict(&format!("{id}:1")).await, "applied");
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    assert_eq!(counter.count().await, "0");
    assert!(counter.log().lines().any(|line| line.contains("told a till what there is") && line.contains(&id)));
    assert!(counter.log().lines().any(|line| line.contains("carried out a command") && line.contains(&id)));

    // And by itself it is there again.
    assert_eq!(counter.verdict(&format!("{id}:2")).await, "applied");
    assert_eq!(counter.count().await, "24");

    // A token that has ended is renewed on the way.
    counter.bakery.sandbox.expire_tokens(Vendor::Square);
    let staff = counter.bakery.sandbox.grant(None, &["ITEMS_READ", "INVENTORY_READ", "INVENTORY_WRITE"]).unwrap();
    let counter = Counter { staff: staff.access_token, ..counter };
    let id = counter.command("sold_out", None).await;
    assert_eq!(counter.verdict(&format!("{id}:1")).await, "applied");
    assert_eq!(counter.count().await, "0");

    // The merchant has had enough of us.
    let merchant = counter.bakery.sandbox.merchants()[0].id.clone();
    counter.bakery.sandbox.revoke_of(Vendor::Square, &merchant).unwrap();
    let id = counter.command("available", None).await;
    assert_eq!(counter.verdict(&format!("{id}:1")).await, "not_connected");
    let configuration = Tables::of(&counter.bakery).configuration(TENANT, &counter.bakery.configuration_id).await;
    assert_eq!(text(&configuration.unwrap(), "status"), "reauth_required");
    assert!(!counter.log().contains("could not be postponed"), "{}", counter.log());
}
