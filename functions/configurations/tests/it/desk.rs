//! The function's own handler, over the tables of the local stack and a queue that nobody reads.

use configurations::{App, handle};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use local::Stack;
use serde_json::{Value, json};
use shared::app::{ConnectionSettings, Connections};
use shared::domain::{
    Configuration, ConfigurationId, LocationId, Run, SyncKind, SyncRange, SyncRequest, TenantScope, Trigger,
};
use shared::queue::SqsMessage;
use shared::queue::sync_jobs::{SyncJobs, decode};
use shared::secrets::Secret;
use shared::settings::Reader;
use shared::store::audit::Actor;
use shared::store::configurations::Change;
use shared::store::sync_logs::Held;

/// One tenant with one configuration of two shops, L1 and L2.
pub struct Desk {
    app: App,
    pub connections: Connections,
    pub scope: TenantScope,
    pub id: ConfigurationId,
}

/// An answer that has arrived in full.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{self:?}");
        self.body["detail"].as_str().unwrap().to_owned()
    }

    /// The problem's places, sorted.
    pub fn pointers(&self) -> Vec<String> {
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        let mut pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect();
        pointers.sort_unstable();
        pointers
    }

    pub fn id(&self) -> &str {
        self.body["id"].as_str().unwrap()
    }
}

fn connections() -> Connections {
    let stack = Stack::shared().unwrap();
    let lookup = |name: &str| stack.variable("configurations", name).map(str::to_owned);
    let config = stack.config();
    let settings = Reader::read(lookup, |r| ConnectionSettings::read(r, &config)).unwrap();
    Connections::new(&config, settings)
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

impl Desk {
    /// A tenant of its own for each test. `change`: how its configuration differs from a connected one.
    pub async fn open(change: impl FnOnce(&mut Value)) -> Self {
        let stack = Stack::shared().unwrap();
        let config = stack.config();
        let id = ConfigurationId::generate();
        let queue = stack.output("SyncJobsDeadLetterQueueUrl").unwrap().to_owned();
        let cursors = stack.variable("configurations", "CURSOR_SECRET_ID").unwrap().to_owned();
        let app = App::new(
            connections(),
            SyncJobs::new(aws_sdk_sqs::Client::new(&config), queue),
            Secret::new(aws_sdk_secretsmanager::Client::new(&config), cursors),
            None,
        );
        let desk = Self { app, connections: connections(), scope: scope(&format!("desk-{id}")), id };
        let shop = |id: &str| json!({ "id": id, "name": format!("Shop {id}"), "time_zone": "Europe/Berlin", "currency": "EUR", "day_start": "04:00" });
        let mut configuration = json!({
            "id": id, "provider": "square", "environment": "sandbox", "name": "Bakery", "day_start": "04:00",
            "sync": { "interval_minutes": 30, "backfill_days": 0 },
            "merchant": { "id": format!("M-{id}"), "name": "Bakery" }, "locations": [shop("L1"), shop("L2")],
            "status": "active", "deletion": null, "credentials": null, "epoch": 0, "version": 0,
            "created_at": "2026-02-14T08:00:00Z", "updated_at": "2026-02-14T08:00:00Z",
            "health": { "last_webhook_at": null, "last_sync_at": null, "last_signature_failure_at": null },
        });
        change(&mut configuration);
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
        // Whoever connects a merchant begins to read its catalogue: here that is done.
        for run in desk.connections.changes.commit(&desk.scope, &change).await.unwrap() {
            let held = desk.take(&run).await;
            desk.end(&held, &run).await;
        }
        desk
    }

    pub async fn ask(&self, method: &str, suffix: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> Answer {
        let (path, query) = suffix.split_once('?').unwrap_or((suffix, ""));
        let mut event: Value =
            serde_json::from_str(include_str!("../../../../events/configurations-create.json")).unwrap();
        let route = format!("/api/v1/tenants/{{tenant_id}}/pos/configurations/{{configuration_id}}{path}");
        let tenant = self.scope.tenant_id().as_str();
        let path = route.replace("{tenant_id}", tenant).replace("{configuration_id}", &self.id.to_string());
        event["httpMethod"] = json!(method);
        event["resource"] = json!(route);
        event["path"] = json!(path);
        event["pathParameters"] = json!({ "tenant_id": tenant, "configuration_id": self.id });
        event["requestContext"]["resourcePath"] = json!(route);
        event["requestContext"]["path"] = json!(format!("/live{path}"));
        event["requestContext"]["authorizer"] =
            json!({ "principalId": "ann", "subject": "ann", "tenant_id": tenant, "roles": "pos:read pos:write" });
        event["body"] = body.map_or(Value::Null, |body| json!(body.to_string()));
        if body.is_none() {
            event["headers"] = json!({});
            event["multiValueHeaders"] = json!({});
        }
        for (name, value) in headers {
            event["headers"][name] = json!(value);
            event["multiValueHeaders"][name] = json!([value]);
        }
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            if event["queryStringParameters"].is_null() {
                event["queryStringParameters"] = json!({});
                event["multiValueQueryStringParameters"] = json!({});
            }
            event["queryStringParameters"][name] = json!(value);
            event["multiValueQueryStringParameters"][name] = json!([value]);
        }
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        let response = handle(&self.app, request).await.unwrap();
        let text: &[u8] = response.body();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: serde_json::from_slice(text).unwrap(),
        }
    }

    pub async fn begin(&self, body: &Value) -> Answer {
        self.ask("POST", "/sync", Some(body), &[]).await
    }

    /// Begins a run, which must not be refused.
    pub async fn begun(&self, body: &Value) -> Answer {
        let answer = self.begin(body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer
    }

    pub async fn status(&self, query: &str) -> Answer {
        self.ask("GET", &format!("/sync/status{query}"), None, &[]).await
    }

    pub async fn cancel(&self, body: Option<&Value>) -> Answer {
        self.ask("POST", "/sync/cancel", body, &[]).await
    }

    /// What stands in a lane, as its worker sees it.
    pub async fn running(&self, kind: SyncKind) -> Run {
        let lane = self.connections.sync_logs.find_lane(&self.scope, self.id, kind).await.unwrap().unwrap();
        lane.run.unwrap()
    }

    pub async fn take(&self, run: &Run) -> Held {
        let which = (run.request.kind(), run.id);
        let taken = self.connections.sync_logs.take(&self.scope, self.id, which, SignedDuration::from_secs(60)).await;
        taken.unwrap().unwrap()
    }

    pub async fn end(&self, held: &Held, run: &Run) {
        let marks = &held.lane.watermarks;
        assert!(self.connections.sync_logs.end(held, run, (None, None), marks).await.unwrap());
    }

    /// A run of the schedule, begun by nobody in particular.
    pub async fn scheduled(&self, range: SyncRange) -> Run {
        let run = Run::new(SyncRequest::of(range), Trigger::Schedule, 0, Timestamp::now());
        assert!(self.connections.sync_logs.begin(&self.scope, self.id, &run, None).await.unwrap());
        run
    }

    /// What the audit log says of runs, oldest first.
    pub async fn audited(&self) -> Vec<(String, Vec<String>)> {
        let rows = self.connections.audit.list(&self.scope, 100, None).await.unwrap().items;
        let rows = rows.into_iter().rev().filter(|row| row.action.starts_with("sync."));
        rows.inspect(|row| assert_eq!(row.actor, "ann")).map(|row| (row.action, row.fields)).collect()
    }
}

pub fn shop(id: &str) -> LocationId {
    id.parse().unwrap()
}
