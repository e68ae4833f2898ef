//! What is generated for people who deploy: `UPDATE_SCHEMAS=1 cargo test --workspace --test it documents` writes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use local::workspace;
use shared::settings::VARIABLES;
use yaml_rust2::{Yaml, YamlLoader};

/// A value of the template, in one word.
#[expect(clippy::wildcard_enum_match_arm, reason = "no other kind is a value here")]
fn value(yaml: &Yaml) -> String {
    match yaml {
        Yaml::String(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Boolean(is_true) => is_true.to_string(),
        Yaml::Array(several) => several.iter().map(value).collect::<Vec<_>>().join(", "),
        other => panic!("what is {other:?}?"),
    }
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn parameters(template: &Yaml) -> String {
    let mut rows = String::new();
    for (name, parameter) in template["Parameters"].as_hash().unwrap() {
        let limits = ["AllowedValues", "AllowedPattern", "MinValue", "MaxValue", "MinLength", "MaxLength"]
            .into_iter()
            .filter(|limit| !parameter[*limit].is_badvalue())
            .map(|limit| format!("{limit} `{}`", cell(&value(&parameter[limit]))))
            .collect::<Vec<_>>();
        let default = &parameter["Default"];
        let default = if default.is_badvalue() {
            "**required**".to_owned()
        } else if value(default).is_empty() {
            "empty".to_owned()
        } else {
            format!("`{}`", value(default))
        };
        let description = cell(parameter["Description"].as_str().unwrap());
        let _ = writeln!(rows, "| `{}` | {description} | {default} | {} |", value(name), limits.join(", "));
    }
    rows
}

/// Which functions the template gives each variable to.
fn given(template: &Yaml) -> BTreeMap<String, BTreeSet<String>> {
    let mut given: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let all = &template["Globals"]["Function"]["Environment"]["Variables"];
    for (name, _) in all.as_hash().unwrap() {
        given.entry(value(name)).or_default().insert("all".to_owned());
    }
    // What stands in a loop is no map, and has no environment.
    for (function, resource) in template["Resources"].as_hash().unwrap() {
        let variables = &resource["Properties"]["Environment"]["Variables"];
        for (name, _) in variables.as_hash().into_iter().flatten() {
            let function = value(function);
            given.entry(value(name)).or_default().insert(function.trim_end_matches("Function").to_owned());
        }
    }
    given
}

fn variables(given: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut rows = String::new();
    for (name, meaning) in VARIABLES {
        let functions: Vec<_> = given[*name].iter().map(String::as_str).collect();
        let _ = writeln!(rows, "| `{name}` | {meaning} | {} |", functions.join(", "));
    }
    rows
}

#[test]
fn the_settings_are_those_of_the_template_and_of_the_code() {
    let text = std::fs::read_to_string(workspace().join("template.yaml")).unwrap();
    let template = YamlLoader::load_from_str(&text).unwrap().remove(0);
    let given = given(&template);
    let documented: BTreeSet<_> = VARIABLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(documented, given.keys().cloned().collect(), "`VARIABLES` and what the template sets");
    let page = format!(
        "# Settings\n\n\
         Made of `template.yaml` and of `VARIABLES` (`shared/src/settings.rs`); a test compares.\n\n\
         ## Parameters of the stack\n\n| parameter | | default | limits |\n|---|---|---|---|\n{}\n\
         ## Environment variables of the functions\n\n\
         The template sets them; a function that lacks one says so when it starts, and names all that are missing.\n\n\
         | variable | | functions |\n|---|---|---|\n{}",
        parameters(&template),
        variables(&given),
    );
    let path = workspace().join("infra/SETTINGS.md");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == page,
        "{} is stale: UPDATE_SCHEMAS=1 cargo test --workspace --test it documents",
        path.display()
    );
}

/// A variable that nobody reads would be a promise that nobody keeps.
#[test]
fn every_variable_is_read() {
    let sources = ["functions", "shared/src"].map(|folder| read_all(&workspace().join(folder)));
    for (name, _) in VARIABLES.iter().filter(|(name, _)| *name != "RUST_LOG") {
        let quoted = format!("\"{name}\"");
        // Once in the list itself.
        let times: usize = sources.iter().map(|text| text.matches(&quoted).count()).sum();
        assert!(times > 1, "{name} is read by nobody");
    }
}

fn read_all(folder: &std::path::Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            text.push_str(&read_all(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(entry).unwrap());
        }
    }
    text
}
