//! The REST doors: who calls, what they ask, and the answer.

mod cursor;
mod input;
#[cfg(feature = "schema")]
pub mod openapi;
mod platform;
#[cfg(feature = "store")]
mod repeat;
mod route;

use std::collections::BTreeSet;
use std::ops::Deref;

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, IF_MATCH};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;

pub use cursor::{CursorKey, Cursors, Seal};
pub use input::{Fields, Parameters, is_line, is_token};
pub use platform::Operator;
#[cfg(feature = "store")]
pub use repeat::refused_change;
pub use route::{Route, find_route};

pub use crate::auth::Role;
use crate::domain::{Configuration, ConfigurationStatus, TenantId, TenantScope};
use crate::problem::{Problem, is_json};
use crate::providers::{ProviderError, ProviderErrorKind};
use crate::telemetry::{Line, TraceParent, metrics};

/// The longest page of a listing: DynamoDB's own limit for one read of many items.
pub const MAX_PAGE: i32 = 100;
/// The largest body that an API request may have.
const MAX_BODY: usize = 64 * 1024;

/// `lambda_http` would hand over a media type that it does not know in base64, which the gateway does not undo.
const IS_TEXT: HeaderName = HeaderName::from_static("x-lambda-http-content-encoding");

/// What is asked, whoever asks.
pub struct Question {
    /// The id of the request, in answers and logs.
    pub request_id: String,
    route: String,
    path: String,
    host: String,
    trace: TraceParent,
    request: Request,
}

/// A question whose caller has been authenticated and whose path is the caller's own.
pub struct Call {
    /// Whose data, proven by the authorizer and equal to the path's tenant.
    pub scope: TenantScope,
    /// Who calls.
    pub subject: String,
    roles: BTreeSet<Role>,
    question: Question,
}

impl Deref for Call {
    type Target = Question;
    fn deref(&self) -> &Question {
        &self.question
    }
}

impl Question {
    fn new(request: Request) -> Self {
        let context = match request.request_context() {
            RequestContext::ApiGatewayV1(context) => context,
            _ => Default::default(),
        };
        let caller = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        Self {
            trace: TraceParent::from_header(caller),
            request_id: context.request_id.unwrap_or_default(),
            route: context.resource_path.unwrap_or_default(),
            path: context.path.unwrap_or_default(),
            host: context.domain_name.unwrap_or_default(),
            request,
        }
    }

    /// `GET`, `POST` ...
    pub fn method(&self) -> &str {
        self.request.method().as_str()
    }

    /// The route as the template has it, such as `/api/v1/tenants/{tenant_id}/pos/configurations`.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The path as the caller sent it, stage included, for `Location`.
    pub fn path(&self) -> &str {
        self.path.trim_end_matches('/')
    }

    /// Where this API is, without `/api/v1`: as the gateway says, not as the caller does.
    pub fn base_url(&self) -> String {
        let stage = self.path.split("/api/v1").next().unwrap_or_default();
        format!("https://{}{stage}", self.host)
    }

    /// An id in the path; one that is none is one that does not exist.
    pub fn path_id<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T, Problem> {
        let parameters = self.request.path_parameters();
        parameters.first(name).and_then(|id| id.parse().ok()).ok_or_else(|| Problem::not_found(what))
    }

    /// The query's parameters.
    pub fn parameters(&self) -> Parameters {
        Parameters::new(self.request.query_string_parameters())
    }

    /// The fields of the body, a JSON object.
    pub fn fields(&self) -> Result<Fields, Problem> {
        self.fields_of(MAX_BODY)
    }

    /// The fields of the body, a JSON object of at most so many bytes.
    pub fn fields_of(&self, most: usize) -> Result<Fields, Problem> {
        let media_type = self.header(CONTENT_TYPE);
        if !media_type.is_some_and(is_json) {
            return Err(Problem::unsupported_media_type());
        }
        let body = self.body();
        if body.len() > most {
            return Err(Problem::body_too_large(most));
        }
        Fields::new(serde_json::from_slice(body).map_err(|_| Problem::malformed_json())?)
    }

    /// As it came.
    pub fn body(&self) -> &[u8] {
        self.request.body()
    }

    /// Our hop in the trace that it belongs to: the caller's, or a new one.
    pub fn trace(&self) -> TraceParent {
        self.trace.clone()
    }

    /// Whether a header is there, text or not.
    pub fn has_header(&self, name: HeaderName) -> bool {
        self.request.headers().contains_key(name)
    }

    /// The first value of a header, if it is text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }
}

impl Call {
    /// Takes the tenant from the authorizer's context, and only if the path names the same one. Another tenant's path
    /// is answered like one that does not exist.
    pub fn new(question: Question) -> Result<Self, Problem> {
        let RequestContext::ApiGatewayV1(context) = question.request.request_context() else {
            return Err(Problem::internal());
        };
        let granted = |name: &str| context.authorizer.fields.get(name).and_then(serde_json::Value::as_str);
        let tenant = granted("tenant_id").and_then(|id| TenantId::new(id).ok());
        let tenant = tenant.ok_or_else(|| Problem::unauthorized("the token names no tenant"))?;
        if question.request.path_parameters().first("tenant_id") != Some(tenant.as_str()) {
            metrics::denied("other_tenant");
            return Err(Problem::not_found("resource"));
        }
        let held: BTreeSet<&str> = granted("roles").unwrap_or_default().split(' ').collect();
        let highest = [Role::Admin, Role::Write, Role::Read].into_iter().find(|role| held.contains(role.as_str()));
        let roles = [Role::Read, Role::Write, Role::Admin].into_iter().filter(|role| Some(*role) <= highest).collect();
        let subject = granted("subject").unwrap_or_default().to_owned();
        Ok(Self { scope: TenantScope::new(tenant), subject, roles, question })
    }

    /// Refuses a caller without this role.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        if self.roles.contains(&role) { Ok(()) } else { Err(Problem::forbidden(role.as_str())) }
    }

    /// What the caller asks for, by the table of routes, if its roles permit it.
    pub fn operation<O: Copy>(&self, routes: &[Route<O>]) -> Result<O, Problem> {
        let route = find_route(routes, self.method(), self.route()).ok_or_else(|| Problem::not_found("route"))?;
        route.role.map_or(Ok(()), |role| self.require(role))?;
        Ok(route.operation)
    }

    /// The words of the caller's roles.
    pub fn roles(&self) -> String {
        self.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Refuses a change of anything but the version that the caller has seen (428 without `If-Match`, 412 with
    /// another).
    pub fn require_match(&self, version: u64) -> Result<(), Problem> {
        let seen = self.header(IF_MATCH).ok_or_else(Problem::precondition_required)?;
        let current = etag(version);
        let matches = seen.split(',').map(str::trim).any(|tag| tag == "*" || tag == current);
        if matches { Ok(()) } else { Err(Problem::precondition_failed()) }
    }
}

/// The strong entity tag of a version.
pub fn etag(version: u64) -> String {
    format!("\"v{version}\"")
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}

/// An answer to a question.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    media_type: &'static str,
    body: String,
}

impl Answer {
    /// JSON with this status.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_string(body).map_err(|_| Problem::internal())?;
        Ok(Self { status: status.as_u16(), headers: Vec::new(), media_type: "application/json", body })
    }

    /// A table for a spreadsheet.
    pub fn csv(body: String) -> Self {
        Self::text("text/csv; charset=utf-8", body)
    }

    /// Text of any kind.
    pub fn text(media_type: &'static str, body: String) -> Self {
        let answer = Self { status: 200, headers: Vec::new(), media_type, body };
        answer.header(IS_TEXT, "text")
    }

    /// JSON as somebody else has written it. What is no JSON is shown as a text, and never as a page.
    pub fn raw_json(body: String) -> Self {
        Self { status: 200, headers: Vec::new(), media_type: "application/json", body }
    }

    /// A page for a person's browser. `text` is ours: nothing of a request may be in it.
    pub fn page(text: &'static str) -> Self {
        let body = format!("<!doctype html><meta charset=utf-8><title>{text}</title><p>{text}</p>");
        Self { status: 200, headers: Vec::new(), media_type: "text/html; charset=utf-8", body }
    }

    /// With one more header.
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name.to_string(), value.into()));
        self
    }
}

/// A page of a listing.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "{T}Page"))]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// For the next one; null on the last.
    pub next_cursor: Option<String>,
}

/// Takes a request through authentication to its handler and turns what comes back into an answer. One log line each.
pub async fn answer(
    request: Request,
    handle: impl AsyncFnOnce(Call) -> Result<Answer, Problem>,
) -> Result<Response<Body>, lambda_http::Error> {
    answer_public(request, async |question| handle(Call::new(question)?).await).await
}

/// As [`answer`], for a route without authentication.
pub async fn answer_public(
    request: Request,
    handle: impl AsyncFnOnce(Question) -> Result<Answer, Problem>,
) -> Result<Response<Body>, lambda_http::Error> {
    let started = std::time::Instant::now();
    let question = Question::new(request);
    let request_id = question.request_id.clone();
    let path = question.request.path_parameters();
    let mut line =
        Line::begin("request").of_tenant(path.first("tenant_id").unwrap_or_default()).traced(&question.trace);
    line.configuration(path.first("configuration_id"));
    line.request_id = Some(request_id.clone());
    (line.method, line.route) = (Some(question.method().to_owned()), Some(question.route.clone()));
    let result = handle(question).await;
    let (status, code) = match &result {
        Ok(answer) => (answer.status, "ok"),
        Err(problem) => (problem.status(), problem.code()),
    };
    metrics::request_answered(status, started.elapsed());
    if status == 403 {
        metrics::denied("forbidden");
    }
    line.status = Some(status);
    let (outcome, reason) = if result.is_ok() { ("done", "") } else { ("refused", code) };
    line.ended(outcome, reason).end("answered a request");
    let mut response = Response::builder().header(CACHE_CONTROL, "no-store").header("x-request-id", &request_id);
    let response = match result {
        Ok(answer) => {
            for (name, value) in answer.headers {
                response = response.header(name, value);
            }
            response.status(answer.status).header(CONTENT_TYPE, answer.media_type).body(answer.body.into())
        }
        Err(problem) => {
            if let Some(seconds) = problem.retry_after() {
                response = response.header("retry-after", seconds);
            }
            response
                .status(problem.status())
                .header(CONTENT_TYPE, "application/problem+json")
                .body(problem.body(&request_id).into())
        }
    };
    response.map_err(lambda_http::Error::from)
}

/// Logs a failure of something that we depend on, and answers that it is away.
pub fn unavailable(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    tracing::error!(error = causes.join(": "), "a dependency failed");
    Problem::unavailable()
}

/// Logs what a provider said to credentials, and answers it.
pub fn refused_by_provider(error: &ProviderError) -> Problem {
    tracing::warn!(error = ?error, "a provider did not take credentials");
    match error.kind {
        ProviderErrorKind::Unauthorized => Problem::provider_refused("the provider refuses the credentials"),
        ProviderErrorKind::Forbidden => {
            Problem::permission_missing("the credentials do not permit to read the merchant's profile")
        }
        ProviderErrorKind::NotFound => Problem::provider_refused("the credentials reach no such shop"),
        ProviderErrorKind::SeveralMerchants => {
            Problem::provider_refused("the credentials reach several businesses: authorize for one of them")
        }
        ProviderErrorKind::Unsupported => Problem::not_supported("the provider does not offer this"),
        ProviderErrorKind::RateLimited { .. } => Problem::unavailable(),
        ProviderErrorKind::Unavailable
        | ProviderErrorKind::CursorExpired
        | ProviderErrorKind::Rejected { .. }
        | ProviderErrorKind::Malformed => Problem::provider_failed(),
    }
}

/// Refuses to begin what could not be read.
pub fn require_readable(configuration: &Configuration) -> Result<(), Problem> {
    match configuration.status {
        ConfigurationStatus::Active | ConfigurationStatus::Degraded => Ok(()),
        ConfigurationStatus::Paused => Err(Problem::conflict("the configuration is paused: resume it first")),
        ConfigurationStatus::ReauthRequired => Err(Problem::provider_refused(
            "there are no credentials that the provider takes: authorize or replace them",
        )),
        ConfigurationStatus::Deleting => Err(Problem::conflict("the configuration is being removed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn event(change: impl FnOnce(&mut Value)) -> Request {
        let mut event = serde_json::from_str(include_str!("../../events/configurations-create.json")).unwrap();
        change(&mut event);
        lambda_http::request::from_str(&event.to_string()).unwrap()
    }

    async fn ask(request: Request, role: Role) -> (u16, Value) {
        let response = answer(request, async |call: Call| {
            call.require(role)?;
            let mut fields = call.fields()?;
            let name = fields.required::<String>("name");
            fields.section("inner", |inner| inner.required::<u8>("count"));
            fields.finish()?;
            Answer::json(StatusCode::OK, &serde_json::json!({ "tenant": call.scope.tenant_id(), "name": name }))
        });
        let response = response.await.unwrap();
        let body: &[u8] = response.body();
        (response.status().as_u16(), serde_json::from_slice(body).unwrap())
    }

    fn with_body(body: &str) -> Request {
        let body = body.to_owned();
        event(|event| event["body"] = body.into())
    }

    #[tokio::test]
    async fn a_caller_reaches_its_own_tenant_and_no_other() {
        let good = || with_body(r#"{"name":"n","inner":{"count":1}}"#);
        assert_eq!(ask(good(), Role::Write).await, (200, serde_json::json!({ "tenant": "t_1", "name": "n" })));
        assert_eq!(ask(good(), Role::Admin).await.0, 403);
        let changes: [fn(&mut Value); 2] = [
            |event| event["pathParameters"]["tenant_id"] = "t_2".into(),
            |event| event["pathParameters"] = Value::Null,
        ];
        for change in changes {
            let (status, body) = ask(event(change), Role::Read).await;
            assert_eq!((status, &body["code"]), (404, &"not_found".into()));
        }
        let nobody = event(|event| event["requestContext"]["authorizer"] = serde_json::json!({ "tenant_id": "t#1" }));
        assert_eq!(ask(nobody, Role::Read).await.0, 401);
        let no_role = event(|event| event["requestContext"]["authorizer"]["roles"] = "pos:readers".into());
        assert_eq!(ask(no_role, Role::Read).await.0, 403);
    }

    #[tokio::test]
    async fn a_body_that_does_not_fit_is_answered_with_the_place() {
        for (body, status, pointer) in [
            ("", 400, None),
            ("{", 400, None),
            ("[]", 422, Some("")),
            (r#"{"inner":{"count":1}}"#, 422, Some("/name")),
            (r#"{"name":7,"inner":{"count":1}}"#, 422, Some("/name")),
            (r#"{"name":"n","inner":{"count":1000}}"#, 422, Some("/inner/count")),
            (r#"{"name":"n","inner":{"count":1,"more":1}}"#, 422, Some("/inner/more")),
        ] {
            let (found, answer) = ask(with_body(body), Role::Read).await;
            assert_eq!(found, status, "{body}");
            assert_eq!(answer["errors"][0]["pointer"].as_str(), pointer, "{body}");
            assert_eq!(answer["instance"], "6f1f4a1e-2b7c-4a55-9f3e-0d2f5b9a7c11");
        }
        assert_eq!(ask(with_body(&"x".repeat(MAX_BODY + 1)), Role::Read).await.0, 413);
        let other = event(|event| event["headers"]["Content-Type"] = "text/plain".into());
        assert_eq!(ask(other, Role::Read).await.0, 415);
    }

    #[tokio::test]
    async fn a_change_must_name_the_version_it_is_made_for() {
        for (if_match, expected) in [
            (None, 428),
            (Some("\"v3\""), 200),
            (Some("\"v1\", \"v3\""), 200),
            (Some("*"), 200),
            (Some("\"v2\""), 412),
            (Some("W/\"v3\""), 412),
            (Some("v3"), 412),
            (Some(""), 412),
        ] {
            let request = event(|event| {
                if let Some(tag) = if_match {
                    event["headers"]["If-Match"] = tag.into();
                }
            });
            let response = answer(request, async |call: Call| {
                call.require_match(3)?;
                Answer::json(StatusCode::OK, &())
            });
            assert_eq!(response.await.unwrap().status().as_u16(), expected, "{if_match:?}");
        }
    }
}
