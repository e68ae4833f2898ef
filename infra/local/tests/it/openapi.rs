//! The OpenAPI document: made of the code, published as `schemas/openapi.json`, and the same as `template.yaml` says.

use std::collections::{BTreeMap, BTreeSet};

use local::workspace;
use serde_json::Value;
use shared::problem::Kind;
use shared::rest::openapi::Document;
use yaml_rust2::{Yaml, YamlLoader};

/// The document, as the code has it.
pub fn document() -> Value {
    let mut document = Document::new();
    document.add("configurations", configurations::ROUTES, configurations::openapi::describe).unwrap();
    document.add("configurations", connections::ROUTES, connections::openapi::describe).unwrap();
    document.add("transactions", transactions::ROUTES, transactions::openapi::describe).unwrap();
    document.add("operations", operations::ROUTES, operations::openapi::describe).unwrap();
    document.add("webhooks", webhooks::openapi::ROUTES, webhooks::openapi::describe).unwrap();
    document.finish().unwrap()
}

/// Every operation: method, path, and what is said of it.
fn operations(document: &Value) -> impl Iterator<Item = (String, &String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, it)| (method.to_uppercase(), path, it))
    })
}

fn template() -> Yaml {
    let text = std::fs::read_to_string(workspace().join("template.yaml")).unwrap();
    YamlLoader::load_from_str(&text).unwrap().remove(0)
}

#[test]
fn the_published_document_is_that_of_the_code() {
    let path = workspace().join("schemas/openapi.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    // Not `assert_eq`: the two would fill some thousand lines.
    assert!(published == text, "schemas/openapi.json is stale: UPDATE_SCHEMAS=1 cargo test -p local openapi");
}

#[test]
fn the_routes_are_those_of_the_template() {
    let template = template();
    let mut deployed = BTreeSet::new();
    for (_, resource) in template["Resources"].as_hash().unwrap() {
        for (_, event) in resource["Properties"]["Events"].as_hash().into_iter().flatten() {
            if event["Type"].as_str() == Some("Api") {
                let of = |name: &str| event["Properties"][name].as_str().unwrap().to_owned();
                let is_public = event["Properties"]["Auth"]["Authorizer"].as_str() == Some("NONE");
                assert!(deployed.insert((of("Method"), of("Path"), is_public)), "{event:?} stands there twice");
            }
        }
    }
    let document = document();
    let described: BTreeSet<_> = operations(&document)
        .map(|(method, path, it)| (method, path.clone(), it["security"].as_array().unwrap().is_empty()))
        .collect();
    assert_eq!(deployed, described);
}

#[test]
fn the_gateways_own_refusals_are_problems_like_ours() {
    let template = template();
    let refusals = template["Resources"]["Api"]["Properties"]["GatewayResponses"].as_hash().unwrap();
    assert!(refusals.len() > 5);
    for (name, refusal) in refusals {
        let text = refusal["ResponseTemplates"]["application/json"].as_str().unwrap();
        let problem: Value = serde_json::from_str(text).unwrap();
        let fits = |kind: &&Kind| {
            let (status, code, title) = kind.parts();
            problem["code"] == code
                && problem["title"] == title
                && problem["type"].as_str().unwrap().ends_with(&format!("/{}", code.replace('_', "-")))
                // The two catch-alls do not know theirs.
                && problem["status"].as_u64().is_none_or(|it| it == u64::from(status))
        };
        assert!(Kind::ALL.iter().any(|kind| fits(&kind)), "{name:?}: {problem}");
    }
}

#[test]
fn everything_in_the_document_leads_somewhere() {
    let document = document();
    let mut references = Vec::new();
    collect(&document, "$ref", &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let ids: BTreeMap<_, _> =
        operations(&document).map(|(_, path, it)| (it["operationId"].as_str().unwrap(), path)).collect();
    let mut targets = Vec::new();
    collect(&document, "operationId", &mut targets);
    for target in targets {
        assert!(ids.contains_key(target.as_str().unwrap()), "{target}");
    }
    for (method, path, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().unwrap();
        let in_path: BTreeSet<_> =
            parameters.iter().filter(|it| it["in"] == "path").map(|it| it["name"].as_str().unwrap()).collect();
        let named: BTreeSet<_> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(in_path, named, "{method} {path}");
        let statuses: Vec<_> = operation["responses"].as_object().unwrap().keys().collect();
        assert!(statuses.iter().any(|status| status.starts_with('2')), "{method} {path}");
    }
}

#[test]
fn every_shape_is_a_schema() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert!(schemas.len() > 20);
    for (name, schema) in schemas {
        jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        // With the others at hand, because they refer to each other.
        let whole =
            serde_json::json!({ "$ref": format!("#/components/schemas/{name}"), "components": document["components"] });
        assert!(jsonschema::draft202012::new(&whole).is_ok(), "{name}");
    }
}

fn collect<'d>(value: &'d Value, name: &str, found: &mut Vec<&'d Value>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(name));
            members.values().for_each(|member| collect(member, name, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, name, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
