//! What holds for everything of its kind in template.yaml: nothing new comes without its alarm, its log or its protection.

use std::collections::{BTreeMap, BTreeSet};

use local::workspace;
use shared::telemetry::metrics::CATALOGUE;
use yaml_rust2::{Yaml, YamlLoader};

struct Template {
    text: String,
    yaml: Yaml,
}

impl Template {
    fn read() -> Self {
        let text = std::fs::read_to_string(workspace().join("template.yaml")).unwrap();
        let yaml = YamlLoader::load_from_str(&text).unwrap().remove(0);
        Self { text, yaml }
    }

    /// Logical id -> properties and resource, of one type, outside of loops.
    fn resources(&self, kind: &str) -> BTreeMap<&str, &Yaml> {
        let all = self.yaml["Resources"].as_hash().unwrap().iter();
        all.filter(|(_, it)| it["Type"].as_str() == Some(kind)).map(|(name, it)| (name.as_str().unwrap(), it)).collect()
    }

    /// What a loop goes through.
    fn items(&self, name: &str) -> BTreeSet<&str> {
        let items = self.yaml["Resources"][format!("Fn::ForEach::{name}").as_str()][1].as_vec().unwrap();
        items.iter().map(|item| item.as_str().unwrap()).collect()
    }

    /// Every alarm, under its name in the list: `{Function}Errors` stands for one of each function.
    fn alarms(&self) -> BTreeMap<String, &Yaml> {
        let mut alarms = BTreeMap::new();
        for (name, resource) in self.yaml["Resources"].as_hash().unwrap() {
            let of_loop = resource[2].as_hash().into_iter().flatten();
            for (name, it) in of_loop.chain([(name, resource)]) {
                if it["Type"].as_str() == Some("AWS::CloudWatch::Alarm") {
                    alarms.insert(name.as_str().unwrap().replace('$', ""), it);
                }
            }
        }
        alarms
    }
}

fn without<'a>(names: impl IntoIterator<Item = &'a &'a str>, suffix: &str) -> BTreeSet<&'a str> {
    names.into_iter().filter_map(|name| name.strip_suffix(suffix)).collect()
}

#[test]
fn every_alarm_has_a_runbook_that_is_listed() {
    let template = Template::read();
    let mut said = BTreeSet::new();
    for (name, alarm) in template.alarms() {
        let properties = &alarm["Properties"];
        let description = &properties["AlarmDescription"];
        let description = description.as_str().or(description["Fn::Sub"].as_str()).unwrap();
        let runbook = description.rsplit_once("${RunbookBaseUrl}/").and_then(|(_, file)| file.strip_suffix(".md"));
        said.insert((name.clone(), runbook.unwrap_or_else(|| panic!("{name} names no runbook")).to_owned()));
        for actions in ["AlarmActions", "OKActions"] {
            assert_eq!(properties[actions][0].as_str(), Some("AlarmsTopic"), "{name}: {actions}");
        }
    }
    let folder = workspace().join("infra/alarms");
    let list = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let rows = list.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.split_once('`')?;
        let (label, file) = rest.rsplit_once('[')?.1.split_once("](")?;
        assert_eq!(Some(label), file.split(".md)").next(), "{line}");
        Some((name.to_owned(), label.to_owned()))
    });
    assert_eq!(rows.collect::<BTreeSet<_>>(), said);
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<_> = files.filter_map(|file| Some(file.strip_suffix(".md")?.to_owned())).collect();
    let said = said.into_iter().map(|(_, runbook)| runbook).chain(["README".to_owned()]);
    assert_eq!(files, said.collect());
}

#[test]
fn every_function_is_watched_logged_and_deployed_with_care() {
    let template = Template::read();
    let functions = template.resources("AWS::Serverless::Function");
    assert_eq!(template.items("Functions"), without(functions.keys(), "Function"));
    for (name, function) in functions {
        let (name, properties) = (name.strip_suffix("Function").unwrap(), &function["Properties"]);
        assert_eq!(properties["LoggingConfig"]["LogGroup"].as_str(), Some(format!("{name}Logs").as_str()), "{name}");
        let preference = &properties["DeploymentPreference"]["Alarms"][0];
        assert_eq!(preference.as_str(), Some(format!("{name}Errors").as_str()));
        // Without it a change of a variable would not come into use.
        assert_eq!(properties["AutoPublishAliasAllProperties"].as_bool(), Some(true), "{name}");
        let timeout = &properties["Timeout"];
        let mapped = || template.yaml["Mappings"][timeout[0].as_str()?]["aws"][timeout[2].as_str()?].as_i64();
        let default = template.yaml["Globals"]["Function"]["Timeout"].as_i64();
        let seconds = timeout.as_i64().or_else(mapped).or(default).unwrap();
        let wanted = match name {
            // Toast waits two seconds.
            "Webhooks" => 1_600,
            // Uses its time up to fifteen seconds before the end, and goes on in another invocation.
            "SyncWorker" => (seconds - 5) * 1_000,
            _ => seconds * 800,
        };
        let slow = template.yaml["Mappings"]["Slow"][name]["Milliseconds"].as_i64();
        assert_eq!(slow, Some(wanted), "{name}");
    }
}

#[test]
fn every_queue_is_watched_encrypted_and_asks_for_tls() {
    let template = Template::read();
    let queues = template.resources("AWS::SQS::Queue");
    let (dead, live): (Vec<&str>, Vec<&str>) = queues.keys().partition(|name| name.ends_with("DeadLetterQueue"));
    assert_eq!(template.items("DeadLetterQueues"), without(&dead, "DeadLetterQueue"));
    assert_eq!(template.items("Queues"), without(&live, "Queue"));
    let policies = template.resources("AWS::SQS::QueuePolicy");
    for (name, queue) in &queues {
        assert_eq!(queue["Properties"]["KmsMasterKeyId"].as_str(), Some("Key.Arn"), "{name}");
        assert_eq!(queue["DeletionPolicy"].as_str(), Some("Retain"), "{name}");
        let own = policies.get(format!("{name}Policy").as_str());
        let asks = own.is_some_and(|policy| format!("{policy:?}").contains("OverTlsOnly"));
        assert!(asks ^ template.items("QueuesOverTls").contains(name), "{name}");
    }
}

#[test]
fn every_table_can_be_restored_and_is_not_deleted_by_mistake() {
    let template = Template::read();
    let tables = template.resources("AWS::DynamoDB::Table");
    assert!(tables.len() >= 7);
    for (name, table) in tables {
        let properties = &table["Properties"];
        assert_eq!(properties["DeletionProtectionEnabled"][0].as_str(), Some("IsProtected"), "{name}");
        let recovery = &properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"];
        assert_eq!(recovery.as_bool(), Some(true), "{name}");
        assert_eq!(properties["SSESpecification"]["KMSMasterKeyId"].as_str(), Some("Key.Arn"), "{name}");
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            assert_eq!(table[policy].as_str(), Some("Retain"), "{name}");
        }
    }
}

#[test]
fn the_dashboard_is_json() {
    let template = Template::read();
    let dashboard = &template.resources("AWS::CloudWatch::Dashboard")["Dashboard"]["Properties"]["DashboardBody"];
    let body: serde_json::Value = serde_json::from_str(dashboard[0].as_str().unwrap()).unwrap();
    assert!(body["widgets"].as_array().unwrap().len() > 15);
}

/// Alarms and the dashboard look at nothing that nobody counts.
#[test]
fn every_metric_of_ours_is_one_that_is_counted() {
    let template = Template::read();
    let known: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
    let words = template.text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let is_metric = |word: &&str| word.starts_with("pos_") && (word.ends_with("_total") || word.ends_with("_seconds"));
    let named: BTreeSet<_> = words.filter(is_metric).collect();
    assert!(named.len() > 8 && named.is_subset(&known), "{named:?}");
    // `WHERE outcome = 'overdue'`: a label of that metric, and one of its values.
    for query in template.text.split("SELECT SUM(").skip(1) {
        let query = query.split(['\n', '"']).next().unwrap();
        let metric = CATALOGUE.iter().find(|metric| query.starts_with(metric.name)).unwrap();
        for condition in query.split(" WHERE ").skip(1).flat_map(|it| it.split(" AND ")) {
            let condition = condition.split(" GROUP BY ").next().unwrap();
            let (label, value) = condition.split_once('=').unwrap();
            let (label, value) = (label.trim_end_matches('!').trim(), value.trim().trim_matches('\''));
            let label = metric.labels.iter().find(|it| it.name == label).unwrap_or_else(|| panic!("{query}"));
            assert!(label.values.contains(&value), "{query}");
        }
        for label in query.split(" GROUP BY ").skip(1).flat_map(|it| it.split(", ")) {
            assert!(metric.labels.iter().any(|it| it.name == label), "{query}");
        }
    }
}
