//! What each function's role may do with secrets and with the audit log, read from the template.

use std::collections::BTreeMap;

use local::workspace;
use yaml_rust2::{Yaml, YamlLoader};

/// One allowed action on one resource, and under which condition.
struct Grant {
    function: String,
    action: String,
    resource: String,
    condition: String,
}

fn grants() -> Vec<Grant> {
    let text = std::fs::read_to_string(workspace().join("template.yaml")).unwrap();
    let template = YamlLoader::load_from_str(&text).unwrap().remove(0);
    let mut grants = Vec::new();
    for (name, resource) in template["Resources"].as_hash().unwrap() {
        for policy in resource["Properties"]["Policies"].as_vec().into_iter().flatten() {
            for statement in policy["Statement"].as_vec().into_iter().flatten() {
                for action in many(&statement["Action"]) {
                    grants.push(Grant {
                        function: name.as_str().unwrap().to_owned(),
                        action: action.as_str().unwrap().to_owned(),
                        resource: format!("{:?}", statement["Resource"]),
                        condition: format!("{:?}", statement["Condition"]),
                    });
                }
            }
        }
    }
    grants
}

fn many(value: &Yaml) -> Vec<Yaml> {
    value.as_vec().cloned().unwrap_or_else(|| vec![value.clone()])
}

#[test]
fn who_seals_who_opens_and_what_for() {
    let mut found = BTreeMap::new();
    for grant in grants() {
        let may = match grant.action.as_str() {
            "kms:GenerateDataKey" => "seal",
            "kms:Decrypt" => "open",
            action if action.starts_with("kms:ReEncrypt") => continue,
            action => {
                assert!(!action.starts_with("kms:") && !action.contains('*'), "{}: {action}", grant.function);
                continue;
            }
        };
        let purposes = ["credentials", "webhook"].into_iter().filter(|purpose| grant.condition.contains(purpose));
        let purposes: Vec<_> = purposes.collect();
        assert!(!purposes.is_empty(), "{} may {may} everything", grant.function);
        found.entry((grant.function, may)).or_insert_with(Vec::new).extend(purposes);
    }
    let wanted = [
        ("ConfigurationsFunction", "seal", vec!["credentials", "webhook"]),
        ("ConnectionsFunction", "open", vec!["credentials"]),
        ("ConnectionsFunction", "seal", vec!["credentials"]),
        ("NormalizerFunction", "open", vec!["credentials"]),
        ("NormalizerFunction", "seal", vec!["credentials"]),
        ("SalesRepliesFunction", "open", vec!["credentials"]),
        ("SalesRepliesFunction", "seal", vec!["credentials"]),
        ("SyncWorkerFunction", "open", vec!["credentials"]),
        ("SyncWorkerFunction", "seal", vec!["credentials"]),
        ("UpkeepFunction", "open", vec!["credentials"]),
        ("UpkeepFunction", "seal", vec!["credentials"]),
        ("WebhooksFunction", "open", vec!["webhook"]),
    ];
    let wanted = wanted.map(|(function, may, purposes)| ((function.to_owned(), may), purposes));
    assert_eq!(found, BTreeMap::from(wanted));
}

#[test]
fn the_audit_log_is_only_ever_appended_to_and_read() {
    let mut writers = 0;
    for grant in grants().iter().filter(|grant| grant.resource.contains("AuditLogTable")) {
        let is_harmless = matches!(grant.action.as_str(), "dynamodb:PutItem" | "dynamodb:Query");
        assert!(is_harmless, "{} may {} the audit log", grant.function, grant.action);
        writers += u32::from(grant.action == "dynamodb:PutItem");
    }
    assert_eq!(writers, 7);
}

#[test]
fn each_function_adds_to_its_own_counters_and_to_nobody_elses() {
    let mut counting = 0;
    for grant in grants().iter().filter(|grant| grant.resource.contains("CoordinationTable")) {
        let name = grant.function.strip_suffix("Function").unwrap();
        let package = name.char_indices().fold(String::new(), |package, (at, letter)| {
            let dash = if at > 0 && letter.is_uppercase() { "-" } else { "" };
            package + dash + &letter.to_lowercase().to_string()
        });
        let counters: Vec<_> = grant.condition.split('"').filter(|part| part.starts_with("metrics#")).collect();
        if grant.action == "dynamodb:UpdateItem" {
            assert!(grant.condition.contains("dynamodb:LeadingKeys"), "{} may change every item", grant.function);
            assert_eq!(counters, [format!("metrics#{package}#*")], "{}", grant.function);
            counting += 1;
        }
    }
    assert_eq!(counting, 11);
}
