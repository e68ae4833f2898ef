//! What went wrong with a provider, and what becomes of the work.

use std::fmt;
use std::time::Duration;

use crate::domain::{Code, ProviderKind};

/// No valid secret proves this delivery. Says no more, so that a caller learns no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature mismatch")]
pub struct SignatureMismatch;

/// A failed call to a provider.
#[derive(Debug, thiserror::Error)]
#[error("{provider} {operation}: {kind}")]
pub struct ProviderError {
    /// Which one.
    pub provider: ProviderKind,
    /// Our word for the call, such as `fetch_order`.
    pub operation: &'static str,
    /// What happened.
    pub kind: ProviderErrorKind,
    /// Why, for the log.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What happened to a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderErrorKind {
    /// 401, or a revoked grant. A refreshed token may help once; after that a person must connect again.
    #[error("access token refused")]
    Unauthorized,
    /// 403: the token is good, the permission was never granted.
    #[error("permission not granted by the merchant")]
    Forbidden,
    /// 404.
    #[error("not found")]
    NotFound,
    /// 429, or a provider's own way of saying it.
    #[error("rate limited")]
    RateLimited {
        /// How long the provider asks us to wait.
        retry_after: Option<Duration>,
    },
    /// 5xx, a time-out, a dropped connection.
    #[error("provider unavailable")]
    Unavailable,
    /// Any other 4xx: the same request will be refused again.
    #[error("request refused with status {status}")]
    Rejected {
        /// As answered.
        status: u16,
    },
    /// The answer arrived and we could not read it.
    #[error("unreadable answer")]
    Malformed,
    /// A page's cursor is no longer good: the window must be read from its start.
    #[error("cursor expired")]
    CursorExpired,
    /// The credentials reach more than one merchant: which one is meant, we do not guess.
    #[error("the credentials reach more than one merchant")]
    SeveralMerchants,
    /// The provider has no such call, or cannot make it of what it was given.
    #[error("not supported by the provider")]
    Unsupported,
}

/// What becomes of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Deliver it again, after the provider's wish if it has one.
    Retry {
        /// The provider's wish.
        after: Option<Duration>,
    },
    /// Mark the configuration as refused and give up until a person has connected again.
    Disconnect,
    /// Give up visibly.
    Fail,
}

impl ProviderErrorKind {
    /// What becomes of the work. No wildcard arm: a new kind must choose here.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::RateLimited { retry_after } => Disposition::Retry { after: *retry_after },
            // A just-announced order can lag behind its notification. If it stays missing, the queue's receive limit
            // parks it.
            Self::Unavailable | Self::NotFound | Self::CursorExpired => Disposition::Retry { after: None },
            Self::Unauthorized | Self::Forbidden => Disposition::Disconnect,
            Self::Rejected { .. } | Self::Malformed | Self::SeveralMerchants | Self::Unsupported => Disposition::Fail,
        }
    }

    /// The stable word in log rows and API answers.
    pub fn code(&self) -> Code {
        match self {
            Self::Unauthorized => Code::CredentialsRefused,
            Self::Forbidden => Code::PermissionMissing,
            Self::NotFound => Code::OrderNotFound,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::Unavailable => Code::ProviderUnavailable,
            Self::Rejected { .. } => Code::RequestRefused,
            Self::Malformed => Code::UnreadableAnswer,
            Self::CursorExpired => Code::CursorExpired,
            Self::SeveralMerchants => Code::SeveralMerchants,
            Self::Unsupported => Code::Unsupported,
        }
    }
}

/// A payload that we cannot take, with the place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadError {
    /// Where, such as `line_items[2].quantity`; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub problem: PayloadProblem,
}

/// What is wrong with a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadProblem {
    /// No JSON, or not of the documented shape.
    #[error("unreadable")]
    Unreadable,
    /// A field that we cannot do without.
    #[error("missing")]
    Missing,
    /// A state, id, currency or number that is none.
    #[error("invalid value")]
    Invalid,
    /// An amount in another currency than the order's.
    #[error("other currency than the order")]
    MixedCurrencies,
    /// A shop that the configuration does not have.
    #[error("unknown location")]
    UnknownLocation,
    /// Amounts that no till rings up.
    #[error("amount out of range")]
    AmountOutOfRange,
    /// A shape that we know of and do not take.
    #[error("not supported")]
    Unsupported,
}

impl PayloadProblem {
    /// The stable word in log rows.
    pub fn code(self) -> Code {
        match self {
            Self::Unreadable => Code::UnreadablePayload,
            Self::Missing => Code::MissingField,
            Self::Invalid => Code::InvalidValue,
            Self::MixedCurrencies => Code::MixedCurrencies,
            Self::UnknownLocation => Code::UnknownLocation,
            Self::AmountOutOfRange => Code::AmountOutOfRange,
            Self::Unsupported => Code::Unsupported,
        }
    }
}

impl PayloadError {
    /// At this place, that problem.
    pub fn new(path: impl Into<String>, problem: PayloadProblem) -> Self {
        Self { path: path.into(), problem }
    }

    pub(super) fn missing(path: impl Into<String>) -> Self {
        Self::new(path, PayloadProblem::Missing)
    }

    pub(super) fn invalid(path: impl Into<String>) -> Self {
        Self::new(path, PayloadProblem::Invalid)
    }

    pub(super) fn out_of_range(path: impl Into<String>) -> Self {
        Self::new(path, PayloadProblem::AmountOutOfRange)
    }

    /// The same, seen from where that place is. So a path is put together only when there is something to say.
    pub(super) fn inside(self, place: impl fmt::Display) -> Self {
        let path = match self.path.as_str() {
            "" => place.to_string(),
            path => format!("{place}.{path}"),
        };
        Self { path, ..self }
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => self.problem.fmt(f),
            path => write!(f, "{} at `{path}`", self.problem),
        }
    }
}

impl std::error::Error for PayloadError {}

/// Reads the elements of a list; what is wrong with one is wrong at its place.
pub(super) fn each<'w, W, T>(
    list: &str,
    elements: &'w [W],
    mut read: impl FnMut(usize, &'w W) -> Result<T, PayloadError>,
) -> Result<Vec<T>, PayloadError> {
    let mut found = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        found.push(read(index, element).map_err(|error| error.inside(format_args!("{list}[{index}]")))?);
    }
    Ok(found)
}

/// Reads JSON and, where it fails, says at which field. The text of the payload never enters the error.
///
/// Keeping the path costs as much again as reading, so only what is unreadable is read once more for it.
pub(crate) fn read_json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, PayloadError> {
    serde_json::from_slice(body).map_err(|_| unreadable::<T>(body))
}

fn unreadable<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> PayloadError {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let path = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) => error.path().to_string(),
        // More than one value.
        Ok(_) => String::new(),
    };
    // What is no JSON at all has no place: the crate then answers `.` or `?`.
    let path = if matches!(path.as_str(), "." | "?") { String::new() } else { path };
    PayloadError::new(path, PayloadProblem::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unreadable_is_named_and_what_is_no_json_has_no_place() {
        #[derive(Debug, serde::Deserialize)]
        struct Order {
            #[expect(dead_code, reason = "only read")]
            lines: Vec<u32>,
        }
        for (body, path) in [
            (r#"{"lines": [1, "2"]}"#, "lines[1]"),
            (r#"{}"#, ""),
            (r#"{"lines": []} {}"#, ""),
            (r#"{"lines": []"#, ""),
            ("", ""),
        ] {
            let error = read_json::<Order>(body.as_bytes()).unwrap_err();
            assert_eq!(error, PayloadError::new(path, PayloadProblem::Unreadable), "{body}");
        }
        assert!(read_json::<Order>(br#" {"lines": [1]} "#).is_ok());
    }

    #[test]
    fn a_place_is_seen_from_further_out() {
        let read =
            |_: usize, number: &u32| Err::<(), _>(PayloadError::invalid(if *number == 0 { "" } else { "price" }));
        for (number, path) in [(0, "checks[1].lines[0]"), (1, "checks[1].lines[0].price")] {
            let error = each("lines", &[number], read).unwrap_err();
            assert_eq!(error.inside("checks[1]").path, path);
        }
    }
}
