//! The catalogue of errors is made of the codes: `UPDATE_SCHEMAS=1 cargo test --workspace --test it errors` writes it.

use std::{fmt::Write as _, path::Path};

use shared::domain::ReasonCode;
use shared::problem::Kind;

fn problems() -> String {
    let mut rows = String::new();
    for kind in Kind::ALL {
        let (status, code, title) = kind.parts();
        let again = kind.retry_after().map_or("", |_| "yes");
        let _ = writeln!(rows, "| {status} | `{code}` | {title} | {} | {again} |", kind.action());
    }
    rows
}

fn reasons() -> String {
    let mut rows = String::new();
    for code in ReasonCode::ALL {
        let word = serde_json::to_value(code).unwrap();
        let status = if code.needs_reauth() { "reauth_required" } else { "degraded" };
        let _ = writeln!(rows, "| `{}` | `{status}` | {} |", word.as_str().unwrap(), code.action());
    }
    rows
}

#[test]
fn the_catalogue_of_errors_is_that_of_the_codes() {
    let page = format!(
        "# Errors\n\n\
         Made of `Kind` (`shared/src/problem.rs`) and `ReasonCode` (`shared/src/domain/configuration.rs`); a test compares.\n\n\
         ## What the API answers\n\n\
         `application/problem+json` (RFC 9457). `code` is stable and for programs, `detail` is for people, `errors` names every\n\
         wrong place, `instance` is the request's id in our logs. \"Again\": the same request may go better after `Retry-After`.\n\n\
         | status | code | title | what to do | again |\n|---|---|---|---|---|\n{}\n\
         ## Why a connection is not simply active\n\n\
         `status_reasons` of a configuration.\n\n| code | status | what to do |\n|---|---|---|\n{}",
        problems(),
        reasons()
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/ERRORS.md");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(published, page, "stale: UPDATE_SCHEMAS=1 cargo test --workspace --test it errors");
}
