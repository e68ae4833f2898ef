//! Who may import whom (DESIGN, "The house"): read from the `use` lines and paths, so that nobody has to remember.

use std::path::{Path, PathBuf};

/// What a room may name of the crate, besides itself.
const MAY_IMPORT: [(&str, &[&str]); 15] = [
    ("auth", &[]),
    ("domain", &[]),
    ("problem", &[]),
    ("settings", &[]),
    ("telemetry", &["domain"]),
    ("providers", &["domain", "telemetry"]),
    ("aws", &["settings", "telemetry"]),
    ("secrets", &["aws", "domain", "providers", "settings"]),
    ("vault", &["aws", "domain"]),
    ("store", &["aws", "domain", "telemetry"]),
    ("archive", &["domain", "providers", "store", "vault"]),
    ("pace", &["domain", "providers", "store", "telemetry"]),
    ("access", &["aws", "domain", "providers", "secrets", "store", "telemetry", "vault"]),
    ("invocation", &["aws", "settings", "store", "telemetry"]),
    ("queue", &["aws", "domain", "providers", "store", "telemetry"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(sources(&entry.path()));
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            found.push(entry.path());
        }
    }
    found
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The first word of every `crate::word` in the code, comments left out.
fn imported(source: &str) -> impl Iterator<Item = &str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
}

#[test]
fn no_room_imports_more_than_it_may() {
    let folder = source_folder();
    let mut read = 0;
    for file in sources(&folder) {
        let room = file.strip_prefix(&folder).unwrap().components().next().unwrap();
        let room = Path::new(room.as_os_str()).file_stem().unwrap().to_str().unwrap().to_owned();
        if room == "lib" || room == "rest" || room == "app" {
            continue;
        }
        let (_, allowed) =
            MAY_IMPORT.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("new room {room}"));
        read += 1;
        for word in imported(&std::fs::read_to_string(&file).unwrap()) {
            assert!(word == room || allowed.contains(&word), "{} imports `{word}`", file.display());
        }
    }
    assert!(read > 20);
}

#[test]
fn a_providers_words_stay_in_its_room() {
    let folder = source_folder();
    for file in sources(&folder) {
        let name = file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let source = std::fs::read_to_string(&file).unwrap();
        for (provider, words) in [
            ("square", ["tenders", "total_money", "catalog_object_id", "x-square", "connect.squareup"]),
            ("toast", ["selections", "modified_date", "restaurant_guid", "toast-restaurant", "ws-api.toasttab"]),
            ("lightspeed", ["sales_lines", "fisc_id", "business_location", "ikentoo", "api.lsk.lightspeed"]),
        ] {
            if name.starts_with(&format!("providers/{provider}")) {
                continue;
            }
            for word in words {
                assert!(!source.contains(word), "{name} says `{word}`");
            }
        }
    }
}

/// What turns an order into transactions reads it once, into types, digit by digit.
#[test]
fn no_order_passes_through_a_json_value_or_a_float() {
    let mut read = 0;
    for file in sources(&source_folder().join("providers")) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        if !["wire", "normalize", "refund", "lines", "words", "decimal", "text"].contains(&name) {
            continue;
        }
        read += 1;
        let source = std::fs::read_to_string(&file).unwrap();
        // (What a visitor makes is called its `Value`.)
        let code = source
            .lines()
            .map(str::trim_start)
            .filter(|line| !["//", "type Value ="].iter().any(|t| line.starts_with(t)));
        for word in code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_')) {
            assert!(!["Value", "f32", "f64"].contains(&word), "{} says `{word}`", file.display());
        }
    }
    assert_eq!(read, 11);
}

#[test]
fn only_problem_knows_status_codes_of_refusals() {
    let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
    for file in sources(&functions) {
        let source = std::fs::read_to_string(&file).unwrap();
        for word in ["StatusCode::BAD", "StatusCode::NOT", "StatusCode::UNPROCESSABLE", "StatusCode::INTERNAL"] {
            assert!(!source.contains(word), "{} says `{word}`", file.display());
        }
    }
}

#[test]
fn every_dependency_comes_with_its_reason() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml")).unwrap();
    let table = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let lines: Vec<&str> = table.lines().filter(|line| line.contains('=') && !line.contains("path = ")).collect();
    assert!(lines.len() > 40, "{lines:?}");
    for line in lines {
        assert!(line.split_once(" # ").is_some_and(|(_, reason)| !reason.trim().is_empty()), "{line}");
    }
}

/// Several threads cost a function 0.4 ms of every cold start, and 1.6 times the CPU of every event.
#[test]
fn every_function_runs_on_one_thread() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut mains = 0;
    for folder in ["functions", "infra/bench/references"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap().map(Result::unwrap) {
            let main = std::fs::read_to_string(entry.path().join("src/main.rs")).unwrap();
            let is_on_one = main.contains("#[tokio::main(flavor = \"current_thread\")]") || !main.contains("tokio");
            assert!(is_on_one, "{}", entry.path().display());
            mains += 1;
        }
    }
    assert!(mains > 12);
    for file in sources(&root.join("functions")).into_iter().chain(sources(&source_folder())) {
        let is_test = file.components().any(|part| part.as_os_str() == "tests");
        let source = std::fs::read_to_string(&file).unwrap();
        assert!(is_test || !source.contains("multi_thread"), "{}", file.display());
    }
}
