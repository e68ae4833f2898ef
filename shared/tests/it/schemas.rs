//! The published schemas are generated from the types; `UPDATE_SCHEMAS=1 cargo test -p shared schemas` writes them.

use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use serde_json::Value;
use shared::queue::sales::{Reply, TransactionEvent};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas")
}

fn schema<T: schemars::JsonSchema>(title: &str) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
    schema["title"] = title.into();
    schema
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    for (file, schema) in [
        ("pos.transaction.v1.json", schema::<TransactionEvent>("A transaction, recorded or voided")),
        ("sales.transaction.accepted.v1.json", schema::<Reply>("The sales domain has a transaction")),
    ] {
        let path = folder().join(file);
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(published, text, "{file} is stale: UPDATE_SCHEMAS=1 cargo test -p shared schemas");
    }
}

#[test]
fn the_sample_messages_satisfy_their_schemas() {
    for (schema, sample) in [
        ("pos.transaction.v1.json", "messages/transaction-recorded.json"),
        ("sales.transaction.accepted.v1.json", "messages/accepted.json"),
    ] {
        let read = |path: PathBuf| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap();
        let validator = jsonschema::draft202012::new(&read(folder().join(schema))).unwrap();
        let sample = read(folder().join("../events").join(sample));
        let errors: Vec<String> = validator.iter_errors(&sample).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}
