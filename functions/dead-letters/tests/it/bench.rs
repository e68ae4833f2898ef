//! A stack whose queues belong to one test at a time.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use dead_letters::{App, TickError, tick};
use jiff::Timestamp;
use local::api::Api;
use local::{Identity, Proxy, Stack, StackOptions};
use serde_json::json;
use shared::domain::{DeadLetterQueue, Redrive, RedriveId, RedriveScope, RedriveState};
use shared::settings::Reader;
use shared::store::coordination::Coordination;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

pub type Item = HashMap<String, AttributeValue>;

pub struct Bench {
    pub stack: Stack,
}

/// The whole stack, for one test. The queues that tests send to are read by nobody else.
pub async fn bench() -> MutexGuard<'static, Bench> {
    static BENCH: OnceCell<Mutex<Bench>> = OnceCell::const_new();
    let open = || async {
        let options = StackOptions { name: "dead-letters".into(), ..StackOptions::default() };
        Mutex::new(Bench { stack: Stack::start(&options).unwrap() })
    };
    let bench = BENCH.get_or_init(open).await.lock().await;
    for queue in ["SalesQueueUrl", "SalesDeadLetterQueueUrl", "IntakeDeadLetterQueueUrl"] {
        bench.sqs().purge_queue().queue_url(bench.url(queue)).send().await.unwrap();
    }
    bench
}

impl Bench {
    /// The function's work in this process, through a proxy if there is one.
    pub fn app(&self, proxy: Option<&Proxy>) -> App {
        // One attempt for each call: a repeat would hide what the proxy did.
        let config = self.stack.config_of("dead-letters", proxy).into_builder();
        let config = config.retry_config(aws_sdk_sqs::config::retry::RetryConfig::disabled()).build();
        let variable = |name: &str| self.stack.variable("dead-letters", name).map(str::to_owned);
        Reader::read(variable, |r| App::new(&config, r)).unwrap()
    }

    pub async fn tick(&self, app: &App) -> Result<(), TickError> {
        tick(app, SystemTime::now() + Duration::from_secs(50)).await
    }

    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.stack.config())
    }

    pub fn url(&self, output: &str) -> &str {
        self.stack.output(output).unwrap()
    }

    /// Puts a message on a queue.
    pub async fn send(&self, output: &str, body: &str, attributes: &[(&str, &str)]) {
        let mut request = self.sqs().send_message().queue_url(self.url(output)).message_body(body);
        for (name, value) in attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(*value).build().unwrap();
            request = request.message_attributes(*name, value);
        }
        request.send().await.unwrap();
    }

    /// Everything that lies on a queue and could be taken, body and attributes; it is taken away.
    pub async fn drain(&self, output: &str) -> Vec<(String, Vec<(String, String)>)> {
        let (sqs, url) = (self.sqs(), self.url(output));
        let mut found = Vec::new();
        loop {
            let received =
                sqs.receive_message().queue_url(url).max_number_of_messages(10).message_attribute_names("All");
            let messages = received.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                found.sort();
                return found;
            }
            for message in messages {
                let attributes = message.message_attributes.unwrap_or_default();
                let mut attributes: Vec<_> =
                    attributes.into_iter().map(|(name, value)| (name, value.string_value.unwrap())).collect();
                attributes.sort();
                found.push((message.body.unwrap(), attributes));
                sqs.delete_message()
                    .queue_url(url)
                    .receipt_handle(message.receipt_handle.unwrap())
                    .send()
                    .await
                    .unwrap();
            }
        }
    }

    /// How many messages could be taken from a queue, and how many are hidden.
    pub async fn depth(&self, output: &str) -> (u32, u32) {
        let answer = self.sqs().get_queue_attributes().queue_url(self.url(output));
        let answer = answer.attribute_names(QueueAttributeName::All).send().await.unwrap().attributes.unwrap();
        let count = |name| answer[&name].parse().unwrap();
        (
            count(QueueAttributeName::ApproximateNumberOfMessages),
            count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        )
    }

    pub fn coordination(&self) -> Coordination {
        let client = aws_sdk_dynamodb::Client::new(&self.stack.config());
        Coordination::new(client, self.url("CoordinationTable").to_owned())
    }

    /// Asks for a redrive, as the API does.
    pub async fn ask(&self, queue: DeadLetterQueue, scope: RedriveScope) -> RedriveId {
        let coordination = self.coordination();
        let seen = coordination.load_redrives(queue).await.unwrap();
        let (id, at) = (RedriveId::generate(), Timestamp::now());
        let state = RedriveState::Running;
        let new = Redrive { id, queue, scope, by: "ops-1".into(), at, state, moved: 0, failed: 0, ended_at: None };
        coordination.save_redrive(&seen, &new).await.unwrap().unwrap();
        id
    }

    pub async fn redrive(&self, queue: DeadLetterQueue, id: RedriveId) -> Redrive {
        let seen = self.coordination().load_redrives(queue).await.unwrap();
        seen.all().iter().find(|known| known.id == id).unwrap().clone()
    }

    /// A connection that nobody has connected yet.
    pub async fn configuration(&self, tenant: &str) -> String {
        let identity = Identity::new().unwrap();
        self.stack.put_secret("JwksSecretId", &identity.jwks()).await.unwrap();
        let token = identity.token(tenant, &["pos:write"], Duration::from_secs(600)).unwrap();
        let api = Api::new(self.stack.api_url(), tenant, token).unwrap();
        let configuration =
            json!({ "provider": "square", "environment": "production", "name": "Corner", "day_start": "04:00" });
        api.create_configuration(&configuration).await.unwrap()
    }

    /// A delivery's row.
    pub async fn row(&self, owner: &str, event_id: &str) -> Option<Item> {
        let request = aws_sdk_dynamodb::Client::new(&self.stack.config()).get_item();
        let request = request.table_name(self.url("WebhookLogsTable")).consistent_read(true);
        let request = request.key("log_key", AttributeValue::S(owner.into()));
        request.key("event_id", AttributeValue::S(event_id.into())).send().await.unwrap().item
    }
}
