//! What a consumer says about a transaction: a CloudEvent on the replies queue.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// The answer to one revision. It repeats what the event has said, and adds a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// As in the event.
    pub tenant: String,
    /// As in the event.
    pub configuration_id: String,
    /// As in the event.
    pub transaction_id: String,
    /// As in the event, whatever newer one is known.
    pub revision: u64,
    /// What is said.
    pub word: Word,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// "I have it."
    Accepted {
        /// What the consumer calls the transaction, whatever the revision; 1 to 256 characters.
        sales_record_id: String,
    },
    /// "I cannot take it." It is not sent again until it changes.
    Rejected {
        /// Stable word, for programs; 1 to 256 characters.
        code: String,
        /// For people.
        reason: String,
    },
}

impl Reply {
    /// The message: `schemas/sales.transaction.accepted.v1.json`, `schemas/sales.transaction.rejected.v1.json`.
    #[must_use]
    pub fn body(&self) -> Value {
        let (reply_type, mut data) = match &self.word {
            Word::Accepted { sales_record_id } => {
                ("sales.transaction.accepted.v1", json!({ "sales_record_id": sales_record_id }))
            }
            Word::Rejected { code, reason } => {
                ("sales.transaction.rejected.v1", json!({ "code": code, "reason": reason }))
            }
        };
        if let Some(data) = data.as_object_mut() {
            data.insert("configuration_id".to_owned(), json!(self.configuration_id));
            data.insert("transaction_id".to_owned(), json!(self.transaction_id));
            data.insert("revision".to_owned(), json!(self.revision));
        }
        json!({
            "specversion": "1.0",
            "id": Uuid::new_v4(),
            "source": "/sales",
            "type": reply_type,
            "subject": self.transaction_id,
            "time": Timestamp::now().to_string(),
            "datacontenttype": "application/json",
            "tenantid": self.tenant,
            "data": data,
        })
    }
}
