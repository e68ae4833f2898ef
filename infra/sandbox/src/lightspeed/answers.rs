//! What every call has in common: who may ask, and errors in the three dialects of Lightspeed.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Lightspeed;
use crate::clock::rfc3339;
use crate::door::Call;
use crate::faults::Failure;
use crate::square::bearer;

/// The application, asking with the token of one business.
#[derive(Debug, Clone)]
pub struct Asker {
    pub lightspeed: Arc<Lightspeed>,
    pub business: String,
}

#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: Value,
    retry_after: Option<u32>,
}

impl ApiError {
    fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, retry_after: None }
    }

    /// The Financial API says what is wrong, and nothing else.
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, json!({"error": text.into()}))
    }

    /// OAuth's own form (RFC 6749).
    pub fn oauth(status: StatusCode, error: &str, description: &str) -> Self {
        Self::new(status, json!({"error": error, "error_description": description}))
    }

    pub fn invalid_grant(description: &str) -> Self {
        Self::oauth(StatusCode::BAD_REQUEST, "invalid_grant", description)
    }

    pub fn unauthorized() -> Self {
        Self::oauth(StatusCode::UNAUTHORIZED, "invalid_token", "The access token is unknown, expired or revoked")
    }

    pub fn forbidden(scope: &str) -> Self {
        let description = format!("The token does not have the scope {scope}");
        Self::oauth(StatusCode::FORBIDDEN, "insufficient_scope", &description)
    }

    pub fn gateway(status: StatusCode, path: &str, timestamp: &str) -> Self {
        let reason = status.canonical_reason().unwrap_or("Error");
        let body = json!({
            "timestamp": timestamp,
            "path": path,
            "status": status.as_u16(),
            "error": reason,
            "requestId": "500123",
        });
        Self::new(status, body)
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, json!({"error": format!("{what} not found")}))
    }

    fn staged(failure: &Failure, path: &str, timestamp: &str) -> Self {
        let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = match failure.status {
            401 => Self::unauthorized(),
            403 => Self::forbidden("financial-api"),
            400 => Self::bad_request("Bad Request"),
            _ => Self::gateway(status, path, timestamp),
        };
        Self { retry_after: failure.retry_after, ..error }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub fn read_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    axum::extract::Query::try_from_uri(uri)
        .map(|axum::extract::Query(query)| query)
        .map_err(|error| ApiError::bad_request(format!("the query was not understood: {error}")))
}

/// Stands before every route.
pub async fn guard(State(lightspeed): State<Arc<Lightspeed>>, request: Request, next: Next) -> Response {
    let admit = |call: &Call, request: &mut Request| admit(&lightspeed, &call.path, request);
    let staged = |failure: &Failure, path: &str| ApiError::staged(failure, path, &rfc3339(lightspeed.clock.now()));
    lightspeed.door.pass(request, next, admit, staged).await
}

fn admit(lightspeed: &Arc<Lightspeed>, path: &str, request: &mut Request) -> Result<(), ApiError> {
    let scope = match path.trim_start_matches('/').split('/').next() {
        Some("oauth") => return Ok(()),
        Some("o") => "orders-api",
        Some("items") => "items",
        _ => "financial-api",
    };
    let token = bearer(request.headers()).ok_or_else(ApiError::unauthorized)?;
    let business = lightspeed.admit_token(token, scope)?;
    request.extensions_mut().insert(Asker { lightspeed: Arc::clone(lightspeed), business });
    Ok(())
}

pub async fn no_such_route(State(lightspeed): State<Arc<Lightspeed>>, uri: Uri) -> ApiError {
    ApiError::gateway(StatusCode::NOT_FOUND, uri.path(), &rfc3339(lightspeed.clock.now()))
}

pub async fn no_such_method(State(lightspeed): State<Arc<Lightspeed>>, _: Method, uri: Uri) -> ApiError {
    ApiError::gateway(StatusCode::METHOD_NOT_ALLOWED, uri.path(), &rfc3339(lightspeed.clock.now()))
}
