//! What the tests on the local stack share.

use aws_lambda_events::sqs::SqsMessage;
use local::Stack;
use serde_json::json;
use shared::domain::{ConfigurationId, TenantScope};
use shared::queue::sales::{Acceptance, Reply, read_reply};

pub fn stack() -> &'static Stack {
    Stack::shared().unwrap()
}

/// A scope comes only from somewhere that proves it; here from a reply of the sales domain.
pub fn scope(tenant: &str) -> TenantScope {
    acceptance(tenant, "01938d5e-0000-8000-8000-000000000001", 1).key.scope
}

pub fn acceptance(tenant: &str, transaction: &str, revision: u64) -> Acceptance {
    let body = json!({
        "type": "sales.transaction.accepted.v1",
        "tenantid": tenant,
        "data": {
            "configuration_id": ConfigurationId::generate(),
            "transaction_id": transaction,
            "revision": revision,
            "sales_record_id": "S-1",
        },
    });
    let message: SqsMessage = serde_json::from_value(json!({ "body": body.to_string() })).unwrap();
    let Reply::Accepted(acceptance) = read_reply(&message).unwrap() else { panic!("no acceptance") };
    acceptance
}
