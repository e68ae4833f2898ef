//! The REST doors: who calls, what they ask, and the answer.

mod cursor;

use std::collections::BTreeSet;
use std::future::Future;

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use cursor::{CursorKey, Cursors};

use crate::domain::{TenantId, TenantScope};
use crate::problem::{FieldError, Problem, is_json};

/// The longest page of a listing: DynamoDB's own limit for one read of many items.
const MAX_PAGE: i32 = 100;
/// The largest body that an API request may have.
const MAX_BODY: usize = 64 * 1024;

/// What a caller may do. Each role contains those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Read,
    /// Change.
    Write,
    /// Everything.
    Admin,
}

impl Role {
    /// The word in tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "pos:read",
            Self::Write => "pos:write",
            Self::Admin => "pos:admin",
        }
    }
}

/// A request whose caller has been authenticated and whose path is the caller's own.
pub struct Call {
    /// Whose data, proven by the authorizer and equal to the path's tenant.
    pub scope: TenantScope,
    /// The route as the template has it, such as `/api/v1/tenants/{tenant_id}/pos/configurations`.
    pub route: String,
    /// The id of the request, in answers and logs.
    pub request_id: String,
    path: String,
    roles: BTreeSet<Role>,
    request: Request,
}

impl Call {
    /// Takes the tenant from the authorizer's context, and only if the path names the same one. Another tenant's path
    /// is answered like one that does not exist.
    fn new(request: Request, request_id: String) -> Result<Self, Problem> {
        let RequestContext::ApiGatewayV1(context) = request.request_context() else { return Err(Problem::internal()) };
        let granted = |name: &str| context.authorizer.fields.get(name).and_then(serde_json::Value::as_str);
        let tenant = granted("tenant_id").and_then(|id| TenantId::new(id).ok());
        let tenant = tenant.ok_or_else(|| Problem::unauthorized("the token names no tenant"))?;
        if request.path_parameters().first("tenant_id") != Some(tenant.as_str()) {
            return Err(Problem::not_found("resource"));
        }
        let held: BTreeSet<&str> = granted("roles").unwrap_or_default().split(' ').collect();
        let highest = [Role::Admin, Role::Write, Role::Read].into_iter().find(|role| held.contains(role.as_str()));
        let roles = [Role::Read, Role::Write, Role::Admin].into_iter().filter(|role| Some(*role) <= highest).collect();
        let route = context.resource_path.clone().unwrap_or_default();
        let path = context.path.clone().unwrap_or_default();
        Ok(Self { scope: TenantScope::new(tenant), route, request_id, path, roles, request })
    }

    /// Refuses a caller without this role.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        if self.roles.contains(&role) { Ok(()) } else { Err(Problem::forbidden(role.as_str())) }
    }

    /// `GET`, `POST` ...
    pub fn method(&self) -> &str {
        self.request.method().as_str()
    }

    /// The path as the caller sent it, stage included, for `Location`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// An id in the path; one that is none is one that does not exist.
    pub fn path_id<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T, Problem> {
        let parameters = self.request.path_parameters();
        parameters.first(name).and_then(|id| id.parse().ok()).ok_or_else(|| Problem::not_found(what))
    }

    /// A query parameter.
    pub fn query<T: std::str::FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, FieldError> {
        let parameters = self.request.query_string_parameters();
        let value = parameters.first(name).filter(|value| !value.is_empty());
        value.map(str::parse).transpose().map_err(|_| FieldError::new(name, format!("must be {expected}")))
    }

    /// How many items a page shall have.
    pub fn limit(&self, default: i32) -> Result<i32, FieldError> {
        let limit = self.query("limit", "a number from 1 to 100")?.unwrap_or(default);
        let is_allowed = (1..=MAX_PAGE).contains(&limit);
        if is_allowed { Ok(limit) } else { Err(FieldError::new("limit", "must be a number from 1 to 100")) }
    }

    /// The body as JSON of type `T`, unknown fields refused by `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let media_type = self.request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !media_type.is_some_and(is_json) {
            return Err(Problem::unsupported_media_type());
        }
        let body: &[u8] = self.request.body();
        if body.len() > MAX_BODY {
            return Err(Problem::body_too_large(MAX_BODY));
        }
        let value: serde_json::Value = serde_json::from_slice(body).map_err(|_| Problem::malformed_json())?;
        serde_path_to_error::deserialize(value).map_err(|error| {
            let pointer = pointer(error.path());
            // serde's messages name types and fields; the caller's own values in them go back to the caller only.
            Problem::invalid_fields(vec![FieldError::new(pointer, error.into_inner())])
        })
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}

/// An answer to a call.
pub struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: String,
}

impl Answer {
    /// JSON with this status.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_string(body).map_err(|_| Problem::internal())?;
        Ok(Self { status, headers: Vec::new(), body })
    }

    /// With one more header.
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Takes a request through authentication to its handler and turns what comes back into an answer. One log line each.
pub async fn answer<F>(request: Request, handle: impl FnOnce(Call) -> F) -> Result<Response<Body>, lambda_http::Error>
where
    F: Future<Output = Result<Answer, Problem>>,
{
    let started = std::time::Instant::now();
    let request_id = match request.request_context() {
        RequestContext::ApiGatewayV1(context) => context.request_id.clone().unwrap_or_default(),
        _ => String::new(),
    };
    let method = request.method().to_string();
    let (mut route, mut tenant) = (String::new(), String::new());
    let result = match Call::new(request, request_id.clone()) {
        Ok(call) => {
            route.clone_from(&call.route);
            tenant = call.scope.tenant_id().to_string();
            handle(call).await
        }
        Err(problem) => Err(problem),
    };
    let (status, code) = match &result {
        Ok(answer) => (answer.status.as_u16(), "ok"),
        Err(problem) => (problem.status(), problem.code()),
    };
    tracing::info!(
        request.id = request_id,
        tenant.id = tenant,
        http.method = method,
        http.route = route,
        http.status = status,
        code,
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "answered a request"
    );
    let mut response = Response::builder().header(CACHE_CONTROL, "no-store").header("x-request-id", &request_id);
    let response = match result {
        Ok(answer) => {
            for (name, value) in answer.headers {
                response = response.header(name, value);
            }
            response.status(answer.status).header(CONTENT_TYPE, "application/json").body(answer.body.into())
        }
        Err(problem) => response
            .status(problem.status())
            .header(CONTENT_TYPE, "application/problem+json")
            .body(problem.body(&request_id).into()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::Value;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        name: String,
        #[expect(dead_code, reason = "only its shape is looked at")]
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only its shape is looked at")]
        count: u8,
    }

    fn event(change: impl FnOnce(&mut Value)) -> Request {
        let mut event = serde_json::from_str(include_str!("../../events/configurations-create.json")).unwrap();
        change(&mut event);
        lambda_http::request::from_str(&event.to_string()).unwrap()
    }

    async fn ask(request: Request, role: Role) -> (u16, Value) {
        let response = answer(request, async |call: Call| {
            call.require(role)?;
            let input: Input = call.json()?;
            Answer::json(StatusCode::OK, &serde_json::json!({ "tenant": call.scope.tenant_id(), "name": input.name }))
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
            (r#"{"name":"n"}"#, 422, Some("")),
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
}
