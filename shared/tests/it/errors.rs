//! The catalogue of errors is made of the codes: `UPDATE_SCHEMAS=1 cargo test --workspace --test it errors` writes it.

use std::{fmt::Write as _, path::Path};

use shared::domain::{Code, ReasonCode};
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

fn codes() -> String {
    let mut rows = String::new();
    for code in Code::ALL {
        let places: Vec<_> = code.places().iter().map(|place| place.as_str()).collect();
        let _ = writeln!(rows, "| `{code}` | {} | {} |", places.join(", "), code.about());
    }
    rows
}

#[test]
fn the_catalogue_of_errors_is_that_of_the_codes() {
    let page = format!(
        "# Errors\n\n\
         Made of `Kind` (`shared/src/problem.rs`), `ReasonCode` and `Code` (`shared/src/domain`); a test compares.\n\n\
         ## What the API answers\n\n\
         `application/problem+json` (RFC 9457). `code` is stable and for programs, `detail` is for people, `errors` names every\n\
         wrong place, `instance` is the request's id in our logs. \"Again\": the same request may go better after `Retry-After`.\n\n\
         | status | code | title | what to do | again |\n|---|---|---|---|---|\n{}\n\
         ## Why a connection is not simply active\n\n\
         `status_reasons` of a configuration.\n\n| code | status | what to do |\n|---|---|---|\n{}\n\
         ## Why a delivery, an order or a run came to another end\n\n\
         `code` of a delivery that was `ignored`, has `failed` or is `dead`; of an `order` that a sync could not take; of a `run`, a\n\
         shop that it has not read to its end (`failed`), or a note. `again`: a message comes again, and nobody but the log and\n\
         `pos_messages_postponed_total` says so; a replay that comes again for hours ends as `failed` with it.\n\n\
         | code | seen in | what it means, and what to do |\n|---|---|---|\n{}",
        problems(),
        reasons(),
        codes()
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/ERRORS.md");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(published, page, "stale: UPDATE_SCHEMAS=1 cargo test --workspace --test it errors");
}
