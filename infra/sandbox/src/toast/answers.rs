//! What every call has in common: who may ask for which restaurant, and Toast's errors.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Toast;
use super::limits::Left;
use crate::clock::later;
use crate::door::Call;
use crate::faults::Failure;
use crate::square::bearer;

/// A client, asking about one of its restaurants.
#[derive(Debug, Clone)]
pub struct Asker {
    pub toast: Arc<Toast>,
    pub group: String,
    /// Empty where Toast wants no restaurant.
    pub restaurant: String,
}

/// An error in Toast's words.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
    headers: Vec<(&'static str, String)>,
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), headers: Vec::new() }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Full authentication is required to access this resource")
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 429 by one of the limits, free again at that time.
    pub fn too_many(by: &str, now: Timestamp, free: Timestamp) -> Self {
        let seconds = free.duration_since(now).as_secs().max(1);
        let headers = vec![
            ("x-toast-ratelimit-by", by.to_owned()),
            ("x-toast-ratelimit-remaining", "0".to_owned()),
            ("x-toast-ratelimit-reset", free.as_second().to_string()),
            ("retry-after", seconds.to_string()),
        ];
        Self { headers, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests") }
    }

    fn staged(failure: &Failure, now: Timestamp) -> Self {
        let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match failure.status {
            401 => Self::unauthorized(),
            429 => {
                let seconds = failure.retry_after.unwrap_or(1).into();
                Self::too_many("GLOBAL", now, later(now, jiff::SignedDuration::from_secs(seconds)))
            }
            _ => Self::new(status, status.canonical_reason().unwrap_or("Error")),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({
            "status": self.status.as_u16(),
            "code": null,
            "message": self.message,
            "messageKey": null,
            "fieldName": null,
            "link": null,
            // The one thing here that is chance: nothing may depend on it.
            "requestId": uuid::Uuid::new_v4(),
            "developerMessage": null,
            "errors": [],
            "canRetry": null,
        });
        let mut response = (self.status, axum::Json(body)).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

pub fn read_json<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("the body was not understood: {error}")))
}

pub fn read_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    axum::extract::Query::try_from_uri(uri)
        .map(|axum::extract::Query(query)| query)
        .map_err(|error| ApiError::bad_request(format!("the query was not understood: {error}")))
}

/// Stands before every route.
pub async fn guard(State(toast): State<Arc<Toast>>, request: Request, next: Next) -> Response {
    let mut left = None;
    let admit = |call: &Call, request: &mut Request| {
        left = admit(&toast, &call.path, request)?;
        Ok(())
    };
    let staged = |failure: &Failure, _: &str| ApiError::staged(failure, toast.clock.now());
    let mut response = toast.door.pass(request, next, admit, staged).await;
    if let Some(Left { by, calls, free }) = left {
        let headers = response.headers_mut();
        headers.entry("x-toast-ratelimit-by").or_insert(HeaderValue::from_static(by));
        headers.entry("x-toast-ratelimit-remaining").or_insert(calls.into());
        headers.entry("x-toast-ratelimit-reset").or_insert(free.as_second().into());
    }
    response
}

fn scope_of(resource: &str, method: &Method) -> &'static str {
    match resource {
        "restaurants" => "restaurants:read",
        "orders" => "orders:read",
        "menus" => "menus:read",
        "config" => "config:read",
        "stock" if *method == Method::PUT => "stock:write",
        "stock" => "stock:read",
        _ => "",
    }
}

fn admit(toast: &Arc<Toast>, path: &str, request: &mut Request) -> Result<Option<Left>, ApiError> {
    let resource = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    if resource == "authentication" {
        return Ok(None);
    }
    let token = bearer(request.headers()).ok_or_else(ApiError::unauthorized)?;
    let group = toast.admit_token(token, scope_of(resource, request.method()))?;
    let restaurant = match resource {
        "partners" => String::new(),
        _ => toast.restaurant_meant(&group, request.headers())?,
    };
    let left = toast.count_call(&group, &restaurant, path)?;
    request.extensions_mut().insert(Asker { toast: Arc::clone(toast), group, restaurant });
    Ok(left)
}

impl Toast {
    fn restaurant_meant(&self, group: &str, headers: &HeaderMap) -> Result<String, ApiError> {
        let named = headers.get("toast-restaurant-external-id").and_then(|value| value.to_str().ok());
        let named = named.ok_or_else(|| ApiError::bad_request("The header Toast-Restaurant-External-ID is missing"))?;
        let shop = self.businesses.shop(named).filter(|shop| shop.merchant.id == group);
        let shop = shop.ok_or_else(|| ApiError::forbidden("The client has no access to this restaurant"))?;
        Ok(shop.location.id.clone())
    }
}

pub async fn no_such_route(uri: Uri) -> ApiError {
    ApiError::not_found(format!("The simulator has no {}", uri.path()))
}

pub async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} cannot be asked for with {method}", uri.path()))
}
