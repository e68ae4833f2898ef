//! What each function's role may do with secrets and with the audit log, read from the template; and who may say what to
//! the queues of the sales domain.

use std::collections::BTreeMap;

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use local::{Stack, workspace};
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
            // What says nothing of what is sealed.
            action if action.starts_with("kms:ReEncrypt") || action == "kms:DescribeKey" => continue,
            action => {
                assert!(!action.starts_with("kms:") && !action.contains('*'), "{}: {action}", grant.function);
                continue;
            }
        };
        let purposes =
            ["bodies", "credentials", "webhook"].into_iter().filter(|purpose| grant.condition.contains(purpose));
        let purposes: Vec<_> = purposes.collect();
        assert!(!purposes.is_empty(), "{} may {may} everything", grant.function);
        found.entry((grant.function, may)).or_insert_with(Vec::new).extend(purposes);
    }
    let wanted = [
        ("ConfigurationsFunction", "seal", vec!["credentials", "webhook"]),
        ("ConnectionsFunction", "open", vec!["credentials"]),
        ("ConnectionsFunction", "seal", vec!["credentials"]),
        ("DayCloserFunction", "open", vec!["credentials"]),
        ("DayCloserFunction", "seal", vec!["credentials"]),
        ("DeadLettersFunction", "seal", vec!["bodies"]),
        ("NormalizerFunction", "open", vec!["credentials", "bodies"]),
        ("NormalizerFunction", "seal", vec!["credentials", "bodies"]),
        ("SalesRepliesFunction", "open", vec!["credentials"]),
        ("SalesRepliesFunction", "seal", vec!["credentials"]),
        ("SyncWorkerFunction", "open", vec!["credentials"]),
        ("SyncWorkerFunction", "seal", vec!["credentials"]),
        ("TransactionsFunction", "open", vec!["bodies"]),
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
        let is_harmless = matches!(grant.action.as_str(), "dynamodb:PutItem" | "dynamodb:Query" | "dynamodb:GetItem");
        assert!(is_harmless, "{} may {} the audit log", grant.function, grant.action);
        writers += u32::from(grant.action == "dynamodb:PutItem");
    }
    assert_eq!(writers, 8);
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
            assert!(
                counters.iter().all(|it| *it == format!("metrics#{package}#*")),
                "{}: {counters:?}",
                grant.function
            );
            counting += counters.len();
        }
    }
    assert_eq!(counting, 14);
}

/// Asks IAM or STS, as the account's root.
async fn ask(stack: &Stack, service: &str, parameters: &[(&str, &str)]) -> String {
    let credential = format!("Credential=test/20260101/us-east-1/{service}/aws4_request");
    let request = local::api::client()
        .unwrap()
        .post(stack.endpoint())
        .header("authorization", format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"));
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{text}");
    text
}

/// A client of a role that is made here: with a policy that allows everything of SQS, or with none.
async fn as_role(stack: &Stack, name: &str, may_all: bool) -> aws_sdk_sqs::Client {
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}"#;
    ask(stack, "iam", &[("Action", "CreateRole"), ("RoleName", name), ("AssumeRolePolicyDocument", trust)]).await;
    if may_all {
        let all = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sqs:*","Resource":"*"}]}"#;
        let put = [("Action", "PutRolePolicy"), ("RoleName", name), ("PolicyName", "all"), ("PolicyDocument", all)];
        ask(stack, "iam", &put).await;
    }
    let arn = format!("arn:aws:iam::{}:role/{name}", stack.account());
    let session = ask(stack, "sts", &[("Action", "AssumeRole"), ("RoleArn", &arn), ("RoleSessionName", "test")]).await;
    let part = |tag: &str| {
        let (_, rest) = session.split_once(&format!("<{tag}>")).unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    let credentials = Credentials::new(
        part("AccessKeyId"),
        part("SecretAccessKey"),
        Some(part("SessionToken")),
        None,
        "a role of this test",
    );
    let config = stack.config().into_builder().credentials_provider(SharedCredentialsProvider::new(credentials));
    aws_sdk_sqs::Client::new(&config.build())
}

#[tokio::test]
async fn nobody_but_the_sales_domain_can_say_that_it_has_a_sale() {
    let stack = Stack::shared().unwrap();
    let queue = |output: &str| stack.output(output).unwrap().to_owned();
    let (stranger, sales) = (as_role(stack, "stranger", true).await, as_role(stack, "sales-domain", false).await);
    let says = async |client: &aws_sdk_sqs::Client, output: &str| {
        let sent = client.send_message().queue_url(queue(output)).message_body("not a reply").send().await;
        sent.map_err(|error| format!("{error:?}"))
    };
    // It may send wherever only identities decide, so what stops it below is the queue's policy.
    assert!(says(&stranger, "SyncJobsDeadLetterQueueUrl").await.is_ok());
    for output in ["SalesRepliesQueueUrl", "SalesRepliesDeadLetterQueueUrl", "SoldOutEndingsQueueUrl"] {
        let refused = says(&stranger, output).await.unwrap_err();
        assert!(refused.contains("explicit deny"), "{output}: {refused}");
    }
    assert!(says(&sales, "SalesRepliesQueueUrl").await.is_ok());
    assert!(says(&sales, "SoldOutEndingsQueueUrl").await.is_err());
    assert!(says(&sales, "SalesQueueUrl").await.is_err(), "it takes events and makes none");
}
