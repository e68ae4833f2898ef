//! A tenant with a connection, and this function in the test's own process before it.

use std::sync::Arc;

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use local::{Proxy, Stack};
use serde_json::{Value, json};
use shared::domain::{Configuration, ConfigurationId, EventId, TenantScope, Transaction};
use shared::queue::SqsMessage;
use shared::queue::intake::IntakeQueue;
use shared::queue::sync_jobs::decode;
use shared::secrets::Secret;
use shared::store::audit::{Actor, AuditLog};
use shared::store::configurations::{Change, Changes, Configurations};
use shared::store::coordination::Coordination;
use shared::store::days::Days;
use shared::store::product_mappings::ProductMappings;
use shared::store::sync_logs::SyncLogs;
use shared::store::transactions::{Candidate, Stored, TransactionKey, Transactions};
use shared::store::webhook_logs::WebhookLogs;
use shared::vault::{Bodies, Vault};
use transactions::{App, handle};

/// Nothing is due behind a test's back.
const MUCH_LATER: SignedDuration = SignedDuration::from_hours(24);

/// One tenant with one configuration of two shops, L1 and L2.
pub struct Desk {
    app: App,
    pub proxy: Proxy,
    pub scope: TenantScope,
    pub id: ConfigurationId,
    /// The table, as other functions have it.
    pub table: Transactions,
    pub logs: WebhookLogs,
    pub sync_logs: SyncLogs,
}

/// An answer that has arrived in full.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.text).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The places that a refusal names, sorted.
    #[track_caller]
    pub fn refused(&self) -> Vec<String> {
        let problem: Value = serde_json::from_str(&self.text).unwrap();
        assert_eq!((self.status, &problem["code"]), (422, &json!("invalid_fields")), "{self:?}");
        let errors = problem["errors"].as_array().unwrap().iter();
        let mut pointers: Vec<_> = errors.map(|error| error["pointer"].as_str().unwrap().to_owned()).collect();
        pointers.sort_unstable();
        pointers
    }

    /// The query of the next part.
    pub fn next(&self) -> Option<&str> {
        self.header("link").strip_prefix('<')?.strip_suffix(">; rel=\"next\"")
    }
}

/// A scope comes only from somewhere that proves it; here from a sync job.
fn scope(tenant: &str) -> TenantScope {
    let body = json!({
        "version": 1, "tenant_id": tenant, "configuration_id": ConfigurationId::generate(), "kind": "catalog",
        "run_id": "01938d5e-0000-7000-8000-000000000001",
    });
    let message: SqsMessage = serde_json::from_value(json!({ "body": body.to_string() })).unwrap();
    decode(&message).unwrap().scope
}

fn app(stack: &Stack, proxy: &Proxy) -> App {
    let config = stack.config_of("transactions", Some(proxy));
    let variable = |name: &str| stack.variable("transactions", name).unwrap().to_owned();
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let coordination = variable("COORDINATION_TABLE");
    let vault = Vault::new(aws_sdk_kms::Client::new(&config), variable("KMS_KEY_ID"));
    App::new(
        (
            Configurations::new(dynamodb.clone(), variable("CONFIGURATIONS_TABLE")),
            AuditLog::new(dynamodb.clone(), variable("AUDIT_LOG_TABLE"), coordination.clone()),
            Coordination::new(dynamodb.clone(), coordination),
        ),
        (
            Transactions::new(dynamodb.clone(), variable("TRANSACTIONS_TABLE")),
            Days::new(dynamodb.clone(), variable("DAYS_TABLE")),
            WebhookLogs::new(dynamodb.clone(), variable("WEBHOOK_LOGS_TABLE"), 0),
            Bodies::new(Arc::new(vault)),
        ),
        (
            ProductMappings::new(dynamodb.clone(), variable("PRODUCT_MAPPINGS_TABLE")),
            SyncLogs::new(dynamodb, variable("SYNC_LOGS_TABLE")),
            IntakeQueue::new(aws_sdk_sqs::Client::new(&config), variable("INTAKE_BACKFILL_QUEUE_URL")),
        ),
        Secret::new(aws_sdk_secretsmanager::Client::new(&config), variable("CURSOR_SECRET_ID")),
    )
}

impl Desk {
    /// A tenant of its own for each test.
    pub async fn open() -> Self {
        let (stack, proxy, id) = (Stack::shared().unwrap(), Proxy::start().unwrap(), ConfigurationId::generate());
        let variable = |name: &str| stack.variable("transactions", name).unwrap().to_owned();
        let dynamodb = aws_sdk_dynamodb::Client::new(&stack.config());
        let desk = Self {
            app: app(stack, &proxy),
            proxy,
            scope: scope(&format!("desk-{id}")),
            id,
            table: Transactions::new(dynamodb.clone(), variable("TRANSACTIONS_TABLE")),
            logs: WebhookLogs::new(dynamodb.clone(), variable("WEBHOOK_LOGS_TABLE"), 30),
            sync_logs: SyncLogs::new(dynamodb, variable("SYNC_LOGS_TABLE")),
        };
        desk.connect(id).await;
        desk
    }

    /// Makes another connection of the tenant.
    pub async fn connect(&self, id: ConfigurationId) {
        let stack = Stack::shared().unwrap();
        let variable = |name: &str| stack.variable("transactions", name).unwrap().to_owned();
        let dynamodb = aws_sdk_dynamodb::Client::new(&stack.config());
        let coordination = variable("COORDINATION_TABLE");
        let changes = Changes::new(
            Configurations::new(dynamodb.clone(), variable("CONFIGURATIONS_TABLE")),
            AuditLog::new(dynamodb.clone(), variable("AUDIT_LOG_TABLE"), coordination.clone()),
            Coordination::new(dynamodb, coordination),
            self.sync_logs.clone(),
        );
        let shop = |id: &str| json!({ "id": id, "name": format!("Shop {id}"), "time_zone": "Europe/Berlin", "currency": "EUR", "day_start": "04:00" });
        let configuration = json!({
            "id": id, "provider": "square", "environment": "sandbox", "name": "Bakery", "day_start": "04:00",
            "sync": { "interval_minutes": 30, "backfill_days": 0 },
            "merchant": { "id": format!("M-{id}"), "name": "Bakery" }, "locations": [shop("L1"), shop("L2")],
            "status": "active", "deletion": null, "credentials": null, "epoch": 0, "version": 0,
            "created_at": "2026-02-14T08:00:00Z", "updated_at": "2026-02-14T08:00:00Z",
            "health": { "last_webhook_at": null, "last_sync_at": null, "last_signature_failure_at": null },
        });
        let mut configuration: Configuration = serde_json::from_value(configuration).unwrap();
        configuration.touch();
        let change = Change {
            actor: &Actor::service("test"),
            action: "configuration.created",
            before: None,
            after: &configuration,
            credentials: None,
            webhook_secrets: None,
            generation: None,
            remember: None,
            uses_up: None,
        };
        changes.commit(&self.scope, &change).await.unwrap();
    }

    /// Where a transaction lies.
    pub fn key(&self, transaction: &Transaction) -> TransactionKey {
        TransactionKey {
            scope: self.scope.clone(),
            configuration_id: transaction.configuration_id,
            transaction_id: transaction.id,
        }
    }

    /// Stores a transaction, or what has become of it, because of something.
    pub async fn put(&self, transaction: &Transaction, cause: &EventId) -> Stored {
        let key = self.key(transaction);
        let known = self.table.find(&key).await.unwrap();
        let candidate = Candidate { transaction: transaction.clone(), observed_at: Some(Timestamp::now()), cause };
        let put = self.table.put_if_newer(known, &self.scope, candidate, MUCH_LATER).await.unwrap();
        put.stored().clone()
    }

    /// Asks for what lies below the tenant's path, `/transactions?limit=1` say.
    pub async fn get(&self, path: &str) -> Answer {
        self.get_as(path, "application/json").await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        let tenant = self.scope.tenant_id().as_str();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parameters = json!({ "tenant_id": tenant });
        // The names of the path's parts, as the template has them.
        let mut route = "/api/v1/tenants/{tenant_id}/pos".to_owned();
        let mut before = "";
        for part in path.split('/').skip(1) {
            let name = match before {
                "transactions" => "transaction_id",
                "configurations" => "configuration_id",
                "webhooks" => "event_id",
                "runs" => "run_id",
                "pages" => "page",
                _ => "",
            };
            if name.is_empty() {
                route = route + "/" + part;
            } else {
                parameters[name] = json!(part);
                route = route + "/{" + name + "}";
            }
            before = part;
        }
        let path = format!("/live/api/v1/tenants/{tenant}/pos{path}");
        let mut event: Value = serde_json::from_str(include_str!("../../../../events/transactions-list.json")).unwrap();
        event["resource"] = json!(route);
        event["requestContext"]["resourcePath"] = json!(route);
        event["path"] = json!(path);
        event["requestContext"]["path"] = json!(path);
        event["pathParameters"] = parameters;
        event["requestContext"]["authorizer"]["tenant_id"] = json!(tenant);
        event["headers"]["Accept"] = json!(accept);
        event["multiValueHeaders"]["Accept"] = json!([accept]);
        event["queryStringParameters"] = json!({});
        event["multiValueQueryStringParameters"] = json!({});
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = value.replace("%3A", ":");
            event["queryStringParameters"][name] = json!(value);
            event["multiValueQueryStringParameters"][name] = json!([value]);
        }
        let response = handle(&self.app, lambda_http::request::from_str(&event.to_string()).unwrap()).await.unwrap();
        let text: &[u8] = response.body();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: String::from_utf8(text.to_vec()).unwrap(),
        }
    }

    /// What the last questions have asked of a table: queries, batched reads, and anything else. Forgets it.
    pub fn reads(&self, table: &str) -> [usize; 3] {
        let table = Stack::shared().unwrap().variable("transactions", table).unwrap();
        let calls: Vec<_> = self.proxy.calls().into_iter().filter(|call| call.resource == table).collect();
        let count = |name: &str| calls.iter().filter(|call| call.operation == name).count();
        let (queries, batches) = (count("Query"), count("BatchGetItem"));
        [queries, batches, calls.len() - queries - batches]
    }
}
