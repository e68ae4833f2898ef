//! Errors that a caller sees: RFC 9457 with a stable `code`. The only room that knows status codes of answers.

use serde::Serialize;

/// Where the problem types are explained.
const TYPES: &str = "https://pos-integration.dev/problems/";

/// An answer that says what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
}

/// One field that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FieldError {
    /// JSON Pointer into the request's body, or the name of a query parameter.
    pub pointer: String,
    /// For people.
    pub message: String,
}

/// What can be wrong. The gateway's own refusals (`template.yaml`) are among them: to a caller they are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The gateway could not read the request.
    BadRequest,
    /// The body is no JSON.
    MalformedJson,
    /// Fields or parameters are wrong, every one of them named.
    InvalidFields,
    /// Nobody we know.
    Unauthorized,
    /// Known, but without the role.
    Forbidden,
    /// Not there, or not the caller's.
    NotFound,
    /// The state of things forbids it.
    Conflict,
    /// The same request was carried out a moment ago.
    Repeated,
    /// The provider has no such thing.
    NotSupported,
    /// A call-back with a state that we did not issue, that has ended, or that was used.
    InvalidState,
    /// The thing is not at the version that the caller has seen.
    PreconditionFailed,
    /// The caller does not say which version it has seen.
    PreconditionRequired,
    /// The key was used for another payload.
    IdempotencyKeyReused,
    /// More than we read.
    BodyTooLarge,
    /// The body is something other than JSON.
    UnsupportedMediaType,
    /// The gateway's limit, or the account's.
    TooManyRequests,
    /// The provider does not take the credentials.
    ProviderRefused,
    /// The token is good, but too narrow.
    PermissionMissing,
    /// The provider is down or speaks gibberish.
    ProviderFailed,
    /// One of our own dependencies is away.
    Unavailable,
    /// The gateway has waited long enough.
    TimedOut,
    /// Our mistake.
    Internal,
}

impl Kind {
    /// All of them: the closed list of codes.
    pub const ALL: [Self; 22] = [
        Self::BadRequest,
        Self::MalformedJson,
        Self::InvalidFields,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::Repeated,
        Self::NotSupported,
        Self::InvalidState,
        Self::PreconditionFailed,
        Self::PreconditionRequired,
        Self::IdempotencyKeyReused,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::TooManyRequests,
        Self::ProviderRefused,
        Self::PermissionMissing,
        Self::ProviderFailed,
        Self::Unavailable,
        Self::TimedOut,
        Self::Internal,
    ];

    /// Status, code and title.
    pub const fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BadRequest => (400, "bad_request", "Bad request"),
            Self::MalformedJson => (400, "malformed_json", "Malformed JSON"),
            Self::InvalidFields => (422, "invalid_fields", "Invalid fields"),
            Self::Unauthorized => (401, "unauthorized", "Unauthorized"),
            Self::Forbidden => (403, "forbidden", "Forbidden"),
            Self::NotFound => (404, "not_found", "Not found"),
            Self::Conflict => (409, "conflict", "Conflict"),
            Self::Repeated => (409, "repeated", "Repeated request"),
            Self::NotSupported => (409, "not_supported", "Not supported by the provider"),
            Self::InvalidState => (400, "invalid_state", "Invalid state"),
            Self::PreconditionFailed => (412, "precondition_failed", "Precondition failed"),
            Self::PreconditionRequired => (428, "precondition_required", "Precondition required"),
            Self::IdempotencyKeyReused => (422, "idempotency_key_reused", "Idempotency key reused"),
            Self::BodyTooLarge => (413, "body_too_large", "Body too large"),
            Self::UnsupportedMediaType => (415, "unsupported_media_type", "Unsupported media type"),
            Self::TooManyRequests => (429, "too_many_requests", "Too many requests"),
            Self::ProviderRefused => (409, "credentials_refused", "The provider refused the credentials"),
            Self::PermissionMissing => (409, "permission_missing", "The merchant has not granted all that is needed"),
            Self::ProviderFailed => (502, "provider_unavailable", "The provider did not answer as it should"),
            Self::Unavailable => (503, "unavailable", "Temporarily unavailable"),
            Self::TimedOut => (504, "unavailable", "Temporarily unavailable"),
            Self::Internal => (500, "internal", "Internal error"),
        }
    }

    /// What the caller does about it, for the catalogue.
    #[cfg(feature = "schema")]
    pub fn action(self) -> &'static str {
        match self {
            Self::BadRequest => "send a request of the shape that `openapi.json` gives",
            Self::MalformedJson => "send JSON; a file's byte order mark and comments are none",
            Self::InvalidFields => "correct every place that `errors` names; nothing was changed",
            Self::Unauthorized => {
                "get a new token, for this issuer and audience; a webhook: compare the secret and the URL"
            }
            Self::Forbidden => "use a token with the role that `detail` names",
            Self::NotFound => "compare the path; what belongs to somebody else is answered so, too",
            Self::Conflict => "read the thing again: `detail` says what stands in the way",
            Self::Repeated => "send it once more, with the same key, to see the first one's answer",
            Self::NotSupported => "nothing: this provider cannot do it",
            Self::InvalidState => "call `authorize` again and open the new URL within a quarter of an hour",
            Self::PreconditionFailed => "read it again, decide again, and send its new `ETag` as `If-Match`",
            Self::PreconditionRequired => "send the `ETag` of what you have read as `If-Match`",
            Self::IdempotencyKeyReused => "take a new key for each new request",
            Self::BodyTooLarge => "send less at once; `detail` says how much is taken",
            Self::UnsupportedMediaType => "say what the body is in `Content-Type`",
            Self::TooManyRequests => "wait for `Retry-After`, and ask less often",
            Self::ProviderRefused => "call `authorize`, or replace the credentials; then call `test`",
            Self::PermissionMissing => "let the merchant grant what `detail` names, then call `test`",
            Self::ProviderFailed => "try again after `Retry-After`; if it stays, look at the provider's status page",
            Self::Unavailable => "try again after `Retry-After`, with the same `Idempotency-Key`",
            Self::TimedOut => "try again in a few seconds, with the same `Idempotency-Key`: it may have been done",
            Self::Internal => "tell us the `instance`",
        }
    }

    /// After how many seconds it may go better.
    pub fn retry_after(self) -> Option<u32> {
        match self {
            Self::Unavailable | Self::ProviderFailed => Some(5),
            Self::Repeated | Self::TooManyRequests => Some(1),
            Self::BadRequest
            | Self::MalformedJson
            | Self::InvalidFields
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::Conflict
            | Self::NotSupported
            | Self::InvalidState
            | Self::PreconditionFailed
            | Self::PreconditionRequired
            | Self::IdempotencyKeyReused
            | Self::BodyTooLarge
            | Self::UnsupportedMediaType
            | Self::ProviderRefused
            | Self::PermissionMissing
            | Self::TimedOut
            | Self::Internal => None,
        }
    }
}

/// What was wrong (RFC 9457).
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Problem"))]
pub(crate) struct Body<'a> {
    /// Where this kind of problem is explained.
    r#type: String,
    /// The kind of problem, for people.
    title: &'a str,
    /// The status of the answer.
    status: u16,
    /// The kind of problem, for programs. Stable.
    #[cfg_attr(feature = "schema", schemars(schema_with = "codes"))]
    code: &'a str,
    /// What was wrong this time.
    detail: &'a str,
    /// The id of the request.
    instance: &'a str,
    /// Every field or parameter that was wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

#[cfg(feature = "schema")]
fn codes(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let codes: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.parts().1).collect();
    schemars::json_schema!({ "description": "The kind of problem, for programs. Stable.", "type": "string", "enum": codes })
}

impl Problem {
    fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new() }
    }

    /// 400: the body is no JSON.
    pub fn malformed_json() -> Self {
        Self::new(Kind::MalformedJson, "the request body is not valid JSON")
    }

    /// 422: every field that is wrong.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(Kind::InvalidFields, "one or more fields are not acceptable") }
    }

    /// 422: rows of a table that are wrong, the first of them by their places; of a table nobody reads a longer list.
    pub fn invalid_rows(mut errors: Vec<FieldError>) -> Self {
        const NAMED: usize = 100;
        let more = errors.len().saturating_sub(NAMED);
        errors.truncate(NAMED);
        if more > 0 {
            errors.push(FieldError::new("", format!("and {more} more")));
        }
        Self { errors, ..Self::new(Kind::InvalidFields, "some rows are not acceptable: nothing was changed") }
    }

    /// 401: nobody we know.
    pub fn unauthorized(detail: &str) -> Self {
        Self::new(Kind::Unauthorized, detail)
    }

    /// 403: known, but without the role.
    pub fn forbidden(role: &str) -> Self {
        Self::new(Kind::Forbidden, format!("the token lacks the role `{role}`"))
    }

    /// 404: not there, or not yours; the two are not told apart.
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("no such {what}"))
    }

    /// 409: the state of things forbids it.
    pub fn conflict(detail: &str) -> Self {
        Self::new(Kind::Conflict, detail)
    }

    /// 409: the same request was carried out a moment ago.
    pub fn repeated() -> Self {
        Self::new(Kind::Repeated, "the same request was carried out a moment ago: repeat it to see its answer")
    }

    /// Whether it is [`Problem::repeated`].
    pub fn is_repeated(&self) -> bool {
        self.kind == Kind::Repeated
    }

    /// 409: the provider has no such thing.
    pub fn not_supported(detail: &str) -> Self {
        Self::new(Kind::NotSupported, detail)
    }

    /// 400: a call-back with a state that we did not issue, that has ended, or that was used.
    pub fn invalid_state(detail: &str) -> Self {
        Self::new(Kind::InvalidState, detail)
    }

    /// 412: the thing is not at the version that the caller has seen.
    pub fn precondition_failed() -> Self {
        Self::new(Kind::PreconditionFailed, "it has changed: read it again and send its `ETag` as `If-Match`")
    }

    /// 428: the caller does not say which version it has seen.
    pub fn precondition_required() -> Self {
        Self::new(Kind::PreconditionRequired, "send the `ETag` of what you have read as `If-Match`")
    }

    /// 422: the key was used for another payload.
    pub fn idempotency_key_reused() -> Self {
        Self::new(Kind::IdempotencyKeyReused, "this `Idempotency-Key` was used with another payload")
    }

    /// 413.
    pub fn body_too_large(limit: usize) -> Self {
        Self::new(Kind::BodyTooLarge, format!("the request body exceeds {limit} bytes"))
    }

    /// 415.
    pub fn unsupported_media_type() -> Self {
        Self::new(Kind::UnsupportedMediaType, "send a `Content-Type` that is taken here: `application/json` always is")
    }

    /// 409: the provider does not take the credentials.
    pub fn provider_refused(detail: &str) -> Self {
        Self::new(Kind::ProviderRefused, detail)
    }

    /// 409: the token is good, but too narrow.
    pub fn permission_missing(detail: impl Into<String>) -> Self {
        Self::new(Kind::PermissionMissing, detail)
    }

    /// 502: the provider is down or speaks gibberish.
    pub fn provider_failed() -> Self {
        Self::new(Kind::ProviderFailed, "try again; if it stays, look at the provider's status page")
    }

    /// 503: one of our own dependencies is away.
    pub fn unavailable() -> Self {
        Self::new(Kind::Unavailable, "try again in a few seconds")
    }

    /// 500: our mistake.
    pub fn internal() -> Self {
        Self::new(Kind::Internal, "something went wrong on our side")
    }

    /// The status of the answer.
    pub fn status(&self) -> u16 {
        self.kind.parts().0
    }

    /// After how many seconds it may go better.
    pub fn retry_after(&self) -> Option<u32> {
        self.kind.retry_after()
    }

    /// The stable word for programs.
    pub fn code(&self) -> &'static str {
        self.kind.parts().1
    }

    /// `application/problem+json`; `instance` is the id of the request.
    pub fn body(&self, instance: &str) -> String {
        let (status, code, title) = self.kind.parts();
        let body = Body {
            r#type: format!("{TYPES}{}", code.replace('_', "-")),
            title,
            status,
            code,
            detail: &self.detail,
            instance,
            errors: &self.errors,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl FieldError {
    /// At this place, that message.
    pub fn new(pointer: impl Into<String>, message: impl ToString) -> Self {
        Self { pointer: pointer.into(), message: message.to_string() }
    }
}

/// Whether a media type is JSON, parameters aside.
pub fn is_json(media_type: &str) -> bool {
    media_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_every_wrong_field() {
        let problem = Problem::invalid_fields(vec![FieldError::new("/name", "is empty")]);
        assert_eq!(
            problem.body("r-1"),
            r#"{"type":"https://pos-integration.dev/problems/invalid-fields","title":"Invalid fields","status":422,"code":"invalid_fields","detail":"one or more fields are not acceptable","instance":"r-1","errors":[{"pointer":"/name","message":"is empty"}]}"#
        );
    }
}
