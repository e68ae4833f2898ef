//! What is measured: every function of ours, what stands beside it for comparison, and what each must do to count.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};
use shared::settings::VARIABLES;

use crate::bootstrap;
use crate::events::{self, Identity, NOTIFICATION_URL, SIGNATURE_KEY, workspace};
use crate::harness::aws::{Aws, STOCKED};

/// The one that all are compared with.
pub const REFERENCE: &str = "empty";
/// The one that is given deliveries.
const INGRESS: &str = "webhooks";
/// What the ingress does, with nothing between the sockets and the work.
const FLOOR: &str = "floor";
/// As large as most notifications are.
const DELIVERY_BYTES: usize = 2_000;

/// A program that answers events.
pub struct Subject {
    pub name: &'static str,
    pub program: PathBuf,
    pub arguments: &'static [&'static str],
    pub kind: Kind,
    /// What stands in every answer, or else it does not count.
    pub answers: &'static str,
    /// What stands in the answer to a forged delivery, where one can be made.
    pub refuses: Option<&'static str>,
    event: Event,
    /// Its tables have something in them.
    is_stocked: bool,
}

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours, with a package of its own on AWS.
    Function,
    /// A release build that stands beside them for comparison.
    Reference,
    /// In another language, likewise.
    Peer,
}

enum Event {
    Delivery(usize),
    Always(Vec<u8>),
}

/// What our functions are given, in an empty house: nothing is found there, so this is the shortest way through each of them.
struct Door {
    name: &'static str,
    function: &'static str,
    /// Recorded.
    event: &'static str,
    /// Asked for something else than the recorded one.
    route: Option<(&'static str, &'static str)>,
    answers: &'static str,
    /// The house has transactions in it.
    is_stocked: bool,
}

const fn door(function: &'static str, event: &'static str, answers: &'static str) -> Door {
    Door { name: function, function, event, route: None, answers, is_stocked: false }
}

/// A caller's look at transactions, of which the house has as many as are asked for.
const fn look(name: &'static str, path: &'static str) -> Door {
    let door = door("transactions", "transactions-list", STORED);
    Door { name, route: Some(("GET", path)), is_stocked: true, ..door }
}

const OK: &str = r#""statusCode":200"#;
/// As Python writes it.
const OK_SPACED: &str = r#""statusCode": 200"#;
const REFUSED: &str = r#""statusCode":401"#;
const REFUSED_SPACED: &str = r#""statusCode": 401"#;
/// A transaction of the shelf, in an answer's body.
const STORED: &str = r#"\"source_version\""#;
const ALL_TAKEN: &str = r#""batchItemFailures":[]"#;

/// Any id will do: the shelf's is handed out.
const TRANSACTION: &str = "01938d5e-0000-7000-8000-000000000002";

const PYTHON_SOURCES: &str = "infra/bench/peers";
const PYTHON: &str = ".local/peers/bin/python";
const NODE_BUNDLE: &str = ".local/node/bundle.mjs";

/// What others would have written instead of the ingress.
struct Peer {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    answers: &'static str,
    refuses: &'static str,
}

const fn python(name: &'static str, arguments: &'static [&'static str]) -> Peer {
    Peer { name, program: PYTHON, arguments, answers: OK_SPACED, refuses: REFUSED_SPACED }
}

const PEERS: [Peer; 3] = [
    python("python", &["-m", "awslambdaric", "plain.handler"]),
    python("fastapi", &["-m", "awslambdaric", "framework.handler"]),
    Peer { name: "node", program: "node", arguments: &[NODE_BUNDLE], answers: OK, refuses: REFUSED },
];

const DOORS: [Door; 15] = [
    door("authorizer", "authorizer", r#""Effect":"Allow""#),
    Door {
        route: Some(("GET", "/api/v1/tenants/{tenant_id}/pos/configurations")),
        ..door("configurations", "transactions-list", OK)
    },
    Door {
        route: Some(("POST", "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/test")),
        ..door("connections", "transactions-list", r#""statusCode":404"#)
    },
    door("day-closer", "outbox-sweeper", "null"),
    door("dead-letters", "dead-letters", "null"),
    door("normalizer", "normalizer", ALL_TAKEN),
    Door { route: Some(("GET", "/api/v1/health")), ..door("operations", "operations", OK) },
    door("outbox-sweeper", "outbox-sweeper", "null"),
    door("sales-replies", "sales-replies", ALL_TAKEN),
    door("sync-scheduler", "sync-scheduler", "null"),
    door("sync-worker", "sync-worker", ALL_TAKEN),
    door("transactions", "transactions-list", OK),
    look("transactions-get", "/api/v1/tenants/{tenant_id}/pos/transactions/{transaction_id}"),
    look("transactions-list", "/api/v1/tenants/{tenant_id}/pos/transactions"),
    door("upkeep", "dead-letters", ""),
];

impl Subject {
    /// The event with this number.
    pub fn event(&self, number: usize, is_forged: bool) -> anyhow::Result<Vec<u8>> {
        match &self.event {
            Event::Delivery(bytes) => events::delivery(number, *bytes, is_forged),
            Event::Always(event) => Ok(event.clone()),
        }
    }

    /// What Lambda and the template would set.
    pub fn environment(&self, aws: &Aws, runtime_api: &str) -> Vec<(String, String)> {
        let lambda = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("AWS_LAMBDA_RUNTIME_API", runtime_api),
            ("AWS_LAMBDA_FUNCTION_NAME", "measured"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            // As long as the ones that Lambda gives.
            ("AWS_SESSION_TOKEN", &"IQoJb3JpZ2luX2VjEXAMPLE".repeat(30)),
            ("AWS_ENDPOINT_URL", &aws.url),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let shelf = if self.is_stocked { STOCKED } else { "" };
        let template = VARIABLES.iter().filter_map(|(name, _)| {
            let value = value_of(name, &aws.url)?;
            Some(((*name).to_owned(), if name.ends_with("_TABLE") { format!("{shelf}{value}") } else { value }))
        });
        // What is not ours has settings of its own, which are fewer, and trusts whom it is told to.
        let queue = format!("{}/123456789012/queue", aws.url);
        let authority = aws.authority_file.display().to_string();
        let comparison = [
            ("SQUARE_KEY", SIGNATURE_KEY),
            ("SQUARE_URL", NOTIFICATION_URL),
            ("QUEUE_URL", &queue),
            ("AWS_CA_BUNDLE", &authority),
            ("NODE_EXTRA_CA_CERTS", &authority),
            ("PYTHONPATH", PYTHON_SOURCES),
            ("PYTHONPYCACHEPREFIX", ".local/peers/pycache"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        match self.kind {
            Kind::Function => lambda.into_iter().chain(template).collect(),
            Kind::Reference | Kind::Peer => lambda.into_iter().chain(comparison).collect(),
        }
    }
}

/// A variable of the template; `None` for one that is empty on AWS.
fn value_of(name: &str, aws: &str) -> Option<String> {
    if ["JWKS_URL", "PUBLIC_URL"].contains(&name) || name.ends_with("_BASE_URL") {
        return None;
    }
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    Some(match name {
        "RUST_LOG" => "info".to_owned(),
        "SALES_DOMAIN_ANSWERS" => "true".to_owned(),
        _ if ends(&["_SECONDS", "_MINUTES", "_DAYS", "_ATTEMPTS", "_PERCENT"]) => "30".to_owned(),
        _ if ends(&["_URL"]) => format!("{aws}/123456789012/{name}"),
        _ => name.to_owned(),
    })
}

/// What stands in every secret of the measured AWS.
pub fn secret(identity: &Identity) -> Value {
    let subscription = json!({ "id": "wbhk_1", "notification_url": NOTIFICATION_URL, "signature_key": SIGNATURE_KEY });
    json!({
        "application_id": "app", "application_secret": "secret", "webhook_subscriptions": [subscription],
        "keys": [identity.public_key()], "key": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    })
}

/// Everything that has been built, and the names of what has not.
pub fn all(target: &Path, aws: &Aws, identity: &Identity) -> anyhow::Result<(Vec<Subject>, Vec<&'static str>)> {
    let mut wanted = vec![
        (REFERENCE, "reference-empty", Kind::Reference, OK, None, Event::Delivery(DELIVERY_BYTES), false),
        (FLOOR, "reference-floor", Kind::Reference, OK, Some(REFUSED), Event::Delivery(DELIVERY_BYTES), false),
        (INGRESS, INGRESS, Kind::Function, OK, Some(REFUSED), Event::Delivery(DELIVERY_BYTES), false),
    ];
    for door in DOORS {
        let event = Event::Always(door.event(identity)?);
        wanted.push((door.name, door.function, Kind::Function, door.answers, None, event, door.is_stocked));
    }
    let (mut subjects, mut missing) = (Vec::new(), Vec::new());
    for (name, package, kind, answers, refuses, event, is_stocked) in wanted {
        let Some(program) = bootstrap::find(target, package) else {
            missing.push(name);
            continue;
        };
        let program = bootstrap::trusting(&program, &aws.authority, target)?;
        subjects.push(Subject { name, program, arguments: &[], kind, answers, refuses, event, is_stocked });
    }
    for Peer { name, program, arguments, answers, refuses } in PEERS {
        let Some(program) = runtime(program) else {
            missing.push(name);
            continue;
        };
        let (kind, refuses, event) = (Kind::Peer, Some(refuses), Event::Delivery(DELIVERY_BYTES));
        subjects.push(Subject { name, program, arguments, kind, answers, refuses, event, is_stocked: false });
    }
    Ok((subjects, missing))
}

/// What runs a peer, if it was prepared (`make peers`).
fn runtime(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(workspace().join(program)).filter(|program| program.is_file());
    }
    workspace().join(NODE_BUNDLE).is_file().then(|| program.into())
}

impl Door {
    fn event(&self, identity: &Identity) -> anyhow::Result<Vec<u8>> {
        let mut event = events::recorded(self.event)?;
        if let Some(authorization) = event.pointer_mut("/headers/Authorization") {
            *authorization = format!("Bearer {}", identity.token()?).into();
        }
        if let Some((method, route)) = self.route {
            let configuration = "01938d5e-0000-7000-8000-000000000001";
            let path = [("tenant_id", "t_1"), ("configuration_id", configuration), ("transaction_id", TRANSACTION)]
                .iter()
                .fold(route.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
            for (place, value) in [
                ("/httpMethod", method.into()),
                ("/path", path.into()),
                ("/resource", route.into()),
                (
                    "/pathParameters",
                    json!({ "tenant_id": "t_1", "configuration_id": configuration, "transaction_id": TRANSACTION }),
                ),
                ("/queryStringParameters", Value::Null),
                ("/multiValueQueryStringParameters", Value::Null),
                ("/requestContext/httpMethod", method.into()),
                ("/requestContext/resourcePath", route.into()),
            ] {
                *event.pointer_mut(place).with_context(|| format!("{} has no {place}", self.event))? = value;
            }
        }
        Ok(serde_json::to_vec(&event)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_function_is_measured() {
        let folder = events::workspace().join("functions");
        let functions =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let measured = DOORS.iter().map(|door| door.function).chain([INGRESS]).map(str::to_owned);
        assert_eq!(measured.collect::<BTreeSet<_>>(), functions.collect::<BTreeSet<_>>());
    }
}
