//! The published schemas are generated from the types (`UPDATE_SCHEMAS=1 cargo test --workspace --test it schemas` writes
//! them), and every message that a consumer was ever promised satisfies them.

use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use shared::queue::SqsMessage;
use shared::queue::sales::{
    AcceptedReply, AvailabilityEvent, AvailabilityReply, DayEvent, ErasedEvent, EventType, RejectedReply,
    TransactionEvent, read_reply,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas")
}

/// `types`: what can stand in `type`.
fn schema<T: schemars::JsonSchema>(title: &str, types: &[&str]) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
    schema["title"] = title.into();
    schema["properties"]["type"]["enum"] = json!(types);
    schema
}

fn schemas() -> Vec<(&'static str, Value)> {
    let of = |file: &str| {
        let types = EventType::ALL.into_iter().filter(|event_type| event_type.schema() == file);
        types.map(EventType::as_str).collect::<Vec<_>>()
    };
    let event = |file, make: fn(&str, &[&str]) -> Value, title| (file, make(title, &of(file)));
    vec![
        event("pos.transaction.v1.json", schema::<TransactionEvent>, "A transaction, recorded or voided"),
        event("pos.day.v1.json", schema::<DayEvent>, "A shop's business day, closed or restated"),
        event("pos.configuration.erased.v1.json", schema::<ErasedEvent>, "A connection is gone with all it brought"),
        event(
            "pos.availability.answered.v1.json",
            schema::<AvailabilityEvent>,
            "What became of a command about what is sold out",
        ),
        (
            "sales.transaction.accepted.v1.json",
            schema::<AcceptedReply>("The sales domain has a transaction", &["sales.transaction.accepted.v1"]),
        ),
        (
            "sales.transaction.rejected.v1.json",
            schema::<RejectedReply>("The sales domain cannot take a transaction", &["sales.transaction.rejected.v1"]),
        ),
        (
            "sales.product.availability.v1.json",
            schema::<AvailabilityReply>(
                "The till shall show what there is",
                &["sales.product.sold_out.v1", "sales.product.available.v1"],
            ),
        ),
    ]
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    for (file, schema) in schemas() {
        let path = folder().join(file);
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(published, text, "{file} is stale: UPDATE_SCHEMAS=1 cargo test --workspace --test it schemas");
    }
}

/// Samples are added and never changed: each is what a consumer has been promised once.
#[test]
fn every_sample_satisfies_its_schema_for_ever() {
    let mut types = std::collections::BTreeSet::new();
    for (file, schema) in schemas() {
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let samples = folder().join("samples").join(file.trim_end_matches(".json"));
        for path in std::fs::read_dir(samples).unwrap().map(|entry| entry.unwrap().path()) {
            let text = std::fs::read_to_string(&path).unwrap();
            let sample: Value = serde_json::from_str(&text).unwrap();
            let errors: Vec<String> = validator.iter_errors(&sample).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", path.display());
            if file.starts_with("sales.") {
                let mut message = SqsMessage::default();
                message.body = Some(text);
                read_reply(&message).unwrap();
            }
            types.insert(sample["type"].as_str().unwrap().to_owned());
        }
    }
    for event_type in EventType::ALL {
        assert!(types.contains(event_type.as_str()), "no sample of {event_type:?}");
    }
}

#[test]
fn an_event_of_a_wrong_shape_does_not_satisfy_the_schema() {
    let (_, schema) = schemas().remove(0);
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let good = std::fs::read_to_string(folder().join("samples/pos.transaction.v1/full.json")).unwrap();
    for (from, to) in [
        ("pos.transaction.voided.v1", "pos.day.closed.v1"),
        ("\"total_minor\": 700", "\"total_minor\": 7.5"),
        ("\"kind\": \"refund\"", "\"kind\": \"gift\""),
        ("\"tenantid\"", "\"tenant\""),
    ] {
        let wrong: Value = serde_json::from_str(&good.replace(from, to)).unwrap();
        assert!(!validator.is_valid(&wrong), "{from} -> {to}");
    }
}
