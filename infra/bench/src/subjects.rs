//! What is measured: every function of ours, what stands beside it for comparison, and what each must do to count.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};
use shared::settings::VARIABLES;

use crate::bootstrap;
use crate::events::{self, Identity, NOTIFICATION_URL, SIGNATURE_KEY};
use crate::harness::aws::Aws;

/// The one that all are compared with.
pub const REFERENCE: &str = "empty";
/// As large as most notifications are.
const DELIVERY_BYTES: usize = 2_000;

/// A program that answers events.
pub struct Subject {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub folder: Option<PathBuf>,
    /// Ours, with a package of its own on AWS.
    pub is_function: bool,
    /// What stands in every answer, or else it does not count.
    pub answers: String,
    /// What stands in the answer to a forged delivery, where one can be made.
    pub refuses: Option<String>,
    event: Event,
    more_environment: Vec<(String, String)>,
}

enum Event {
    Delivery(usize),
    Always(Vec<u8>),
}

/// What our functions are given, in an empty house: nothing is found there, so this is the shortest way through each of them.
struct Door {
    function: &'static str,
    /// Recorded.
    event: &'static str,
    /// Asked for something else than the recorded one.
    route: Option<(&'static str, &'static str)>,
    answers: &'static str,
}

const fn door(function: &'static str, event: &'static str, answers: &'static str) -> Door {
    Door { function, event, route: None, answers }
}

const OK: &str = r#""statusCode":200"#;
const ALL_TAKEN: &str = r#""batchItemFailures":[]"#;

const DOORS: [Door; 12] = [
    door("authorizer", "authorizer", r#""Effect":"Allow""#),
    Door {
        route: Some(("GET", "/api/v1/tenants/{tenant_id}/pos/configurations")),
        ..door("configurations", "transactions-list", OK)
    },
    Door {
        route: Some(("POST", "/api/v1/tenants/{tenant_id}/pos/configurations/{configuration_id}/test")),
        ..door("connections", "transactions-list", r#""statusCode":404"#)
    },
    door("dead-letters", "dead-letters", "null"),
    door("normalizer", "normalizer", ALL_TAKEN),
    Door { route: Some(("GET", "/api/v1/health")), ..door("operations", "operations", OK) },
    door("outbox-sweeper", "outbox-sweeper", "null"),
    door("sales-replies", "sales-replies", ALL_TAKEN),
    door("sync-scheduler", "sync-scheduler", "null"),
    door("sync-worker", "sync-worker", ALL_TAKEN),
    door("transactions", "transactions-list", OK),
    door("upkeep", "dead-letters", ""),
];

impl Subject {
    fn new(name: &str, program: PathBuf, event: Event, answers: &str) -> Self {
        Self {
            name: name.to_owned(),
            program,
            arguments: Vec::new(),
            folder: None,
            is_function: false,
            answers: answers.to_owned(),
            refuses: None,
            event,
            more_environment: Vec::new(),
        }
    }

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
        let template = VARIABLES.iter().filter_map(|(name, _)| Some(((*name).to_owned(), value_of(name, &aws.url)?)));
        lambda.into_iter().chain(template).chain(self.more_environment.iter().cloned()).collect()
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
        _ if ends(&["_SECONDS", "_DAYS", "_ATTEMPTS", "_PERCENT"]) => "30".to_owned(),
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
pub fn all(target: &Path, aws: &Aws, identity: &Identity) -> anyhow::Result<(Vec<Subject>, Vec<String>)> {
    let mut subjects = Vec::new();
    let mut missing = Vec::new();
    let mut add =
        |name: &str, package: &str, make: &dyn Fn(PathBuf) -> anyhow::Result<Subject>| -> anyhow::Result<()> {
            match bootstrap::find(target, package) {
                Some(program) => subjects.push(make(bootstrap::trusting(&program, &aws.authority, target)?)?),
                None => missing.push(name.to_owned()),
            }
            Ok(())
        };
    let ingress = |name: &'static str, refuses: Option<&'static str>| {
        move |program| {
            let mut subject = Subject::new(name, program, Event::Delivery(DELIVERY_BYTES), OK);
            subject.refuses = refuses.map(str::to_owned);
            subject.is_function = name == "webhooks";
            Ok(subject)
        }
    };
    add(REFERENCE, "reference-empty", &ingress(REFERENCE, None))?;
    add("webhooks", "webhooks", &ingress("webhooks", Some(r#""statusCode":401"#)))?;
    for door in DOORS {
        add(door.function, door.function, &|program| {
            let event = Event::Always(serde_json::to_vec(&door.event(identity)?)?);
            let mut subject = Subject::new(door.function, program, event, door.answers);
            subject.is_function = true;
            Ok(subject)
        })
        .with_context(|| format!("failed to prepare {}", door.function))?;
    }
    Ok((subjects, missing))
}

impl Door {
    fn event(&self, identity: &Identity) -> anyhow::Result<Value> {
        let mut event = events::recorded(self.event)?;
        if let Some(authorization) = event.pointer_mut("/headers/Authorization") {
            *authorization = format!("Bearer {}", identity.token()?).into();
        }
        if let Some((method, route)) = self.route
            && let Some(context) = event.get_mut("requestContext").and_then(Value::as_object_mut)
        {
            context.insert("httpMethod".to_owned(), method.into());
            context.insert("resourcePath".to_owned(), route.into());
        }
        if let (Some((method, route)), Some(event)) = (self.route, event.as_object_mut()) {
            let configuration = "01938d5e-0000-7000-8000-000000000001";
            let path = route.replace("{tenant_id}", "t_1").replace("{configuration_id}", configuration);
            let parts = [
                ("httpMethod", method.into()),
                ("resource", route.into()),
                ("path", path.into()),
                ("pathParameters", json!({ "tenant_id": "t_1", "configuration_id": configuration })),
                ("queryStringParameters", Value::Null),
                ("multiValueQueryStringParameters", Value::Null),
            ];
            event.extend(parts.map(|(name, value)| (name.to_owned(), value)));
        }
        Ok(event)
    }
}
