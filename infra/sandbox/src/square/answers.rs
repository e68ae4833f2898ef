//! What every call has in common: who may ask, faults, and Square's errors.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{API_VERSION, Square};
use crate::door::Call;
use crate::faults::Failure;
use crate::json::Build;

/// The application, asking with the token of one merchant.
#[derive(Debug, Clone)]
pub struct Asker {
    pub square: Arc<Square>,
    pub merchant_id: String,
}

/// An error in Square's words.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    category: &'static str,
    code: &'static str,
    detail: String,
    field: Option<&'static str>,
    retry_after: Option<u32>,
}

impl ApiError {
    fn new(status: StatusCode, category: &'static str, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, category, code, detail: detail.into(), field: None, retry_after: None }
    }

    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST_ERROR", code, detail)
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::invalid("BAD_REQUEST", detail)
    }

    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "AUTHENTICATION_ERROR", "UNAUTHORIZED", detail)
    }

    pub fn token(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "AUTHENTICATION_ERROR", code, detail)
    }

    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AUTHENTICATION_ERROR", code, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "INVALID_REQUEST_ERROR", "NOT_FOUND", detail)
    }

    pub fn field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    fn staged(failure: &Failure) -> Self {
        let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (category, code, detail) = match failure.status {
            401 => ("AUTHENTICATION_ERROR", "ACCESS_TOKEN_EXPIRED", "The access token expired."),
            403 => (
                "AUTHENTICATION_ERROR",
                "INSUFFICIENT_SCOPES",
                "The merchant has not given your application sufficient permissions to do that.",
            ),
            429 => ("RATE_LIMIT_ERROR", "RATE_LIMITED", "Rate limited"),
            503 => ("API_ERROR", "SERVICE_UNAVAILABLE", "The service is unavailable."),
            504 => ("API_ERROR", "GATEWAY_TIMEOUT", "The request timed out."),
            400..=499 => ("INVALID_REQUEST_ERROR", "BAD_REQUEST", "The request was refused."),
            _ => ("API_ERROR", "INTERNAL_SERVER_ERROR", "An internal error has occurred."),
        };
        Self { retry_after: failure.retry_after, ..Self::new(status, category, code, detail) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error =
            json!({"category": self.category, "code": self.code, "detail": self.detail}).with_some("field", self.field);
        let mut response = (self.status, axum::Json(json!({"errors": [error]}))).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Reads a JSON body and says in a sentence what is wrong with it.
///
/// Unknown fields are refused where the request type says so: a misspelt
/// filter that is silently ignored would be a bug we exist to find.
pub fn read_json<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("the body was not understood: {error}")))
}

/// Reads a query string in the same way.
pub fn read_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    axum::extract::Query::try_from_uri(uri)
        .map(|axum::extract::Query(query)| query)
        .map_err(|error| ApiError::bad_request(format!("the query was not understood: {error}")))
}

pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Stands before every route.
pub async fn guard(State(square): State<Arc<Square>>, request: Request, next: Next) -> Response {
    let spoken = HeaderValue::from_static(API_VERSION);
    let version = request.headers().get("square-version").cloned().unwrap_or(spoken);
    let admit = |call: &Call, request: &mut Request| admit(&square, &call.path, request);
    let mut response = square.door.pass(request, next, admit, |failure, _| ApiError::staged(failure)).await;
    response.headers_mut().insert("square-version", version);
    response
}

fn admit(square: &Arc<Square>, path: &str, request: &mut Request) -> Result<(), ApiError> {
    let Some(resource) = path.strip_prefix("/v2/").and_then(|rest| rest.split('/').next()) else {
        return Ok(());
    };
    let refused = || ApiError::unauthorized("This request could not be authorized.");
    let token = bearer(request.headers()).ok_or_else(refused)?;
    let scope = match resource {
        "webhooks" => {
            return if token == square.application().access_token { Ok(()) } else { Err(refused()) };
        }
        "orders" => "ORDERS_READ",
        "payments" | "refunds" => "PAYMENTS_READ",
        "catalog" => "ITEMS_READ",
        "inventory" if path.contains("/changes/") => "INVENTORY_WRITE",
        "inventory" => "INVENTORY_READ",
        _ => "MERCHANT_PROFILE_READ",
    };
    let merchant_id = square.admit_token(token, scope)?;
    request.extensions_mut().insert(Asker { square: Arc::clone(square), merchant_id });
    Ok(())
}

pub async fn no_such_route(uri: Uri) -> ApiError {
    ApiError::not_found(format!("The simulator has no {}.", uri.path()))
}

pub async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    let detail = format!("{} cannot be asked for with {method}.", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "INVALID_REQUEST_ERROR", "METHOD_NOT_ALLOWED", detail)
}
