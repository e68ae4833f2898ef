//! The coordination table: what is remembered for a while. Answers to requests that may be repeated, one-time words,
//! the heads of audit chains, checkpoints, redrives.

mod redrives;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use redrives::Redrives;

use super::item::{Attributes, Item, number, text, unreadable};
use super::{StoreError, hash_of};
use crate::aws::AwsError;
use crate::domain::TenantScope;

const TABLE: &str = "coordination";
/// How long an answer is kept for whoever repeats the request.
const REMEMBERED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The table.
#[derive(Clone)]
pub struct Coordination {
    client: Client,
    table: String,
}

/// A request that may be repeated, told by its `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeatable {
    key: String,
    payload_hash: String,
}

/// What a repeated request is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The item's key.
    pub(super) key: String,
    payload_hash: String,
    /// HTTP.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// JSON.
    pub body: String,
    pub(super) expires_at: i64,
}

/// Whether a request is a repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recall {
    /// It is the first of its kind.
    New,
    /// It was carried out and answered like this.
    Repeat(Remembered),
    /// Its key was used for another payload.
    OtherPayload,
}

impl Repeatable {
    /// `operation`: method and path. `key`: what the caller chose.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::coordination::*};
    /// # async fn of(all: &Coordination) {
    /// let _ = all.recall(&Repeatable::new("POST /", "key", b"{}")).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::coordination::*};
    /// # async fn of(all: &Coordination, scope: TenantScope) {
    /// let _ = all.recall(&Repeatable::new(&scope, "POST /", "key", b"{}")).await;
    /// # }
    /// ```
    pub fn new(scope: &TenantScope, operation: &str, key: &str, payload: &[u8]) -> Self {
        Self {
            key: format!("idempotency#{}#{}", scope.tenant_id(), hash_of([operation.as_bytes(), key.as_bytes()])),
            payload_hash: hash_of([payload]),
        }
    }

    /// Keeps this answer for whoever repeats it.
    pub fn answered(&self, status: u16, headers: Vec<(String, String)>, body: String) -> Remembered {
        Remembered {
            key: self.key.clone(),
            payload_hash: self.payload_hash.clone(),
            status,
            headers,
            body,
            expires_at: (Timestamp::now() + REMEMBERED_FOR).as_second(),
        }
    }
}

impl Coordination {
    /// `table`: its name.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Whether this request was carried out before.
    pub async fn recall(&self, request: &Repeatable) -> Result<Recall, StoreError> {
        let Some(item) = self.get(&request.key).await? else { return Ok(Recall::New) };
        let known: Remembered = serde_dynamo::from_item(item).map_err(|error| unreadable(TABLE, error))?;
        // DynamoDB removes expired items when it finds the time.
        if known.expires_at <= Timestamp::now().as_second() {
            return Ok(Recall::New);
        }
        Ok(if known.payload_hash == request.payload_hash { Recall::Repeat(known) } else { Recall::OtherPayload })
    }

    /// Issues a one-time word that ends at `until`.
    pub async fn issue(&self, word: &str, until: Timestamp) -> Result<(), StoreError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .item("key", text(word_key(word)))
            .item("expires_at", number(until.as_second()))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::new("issue a one-time word", error).into())
    }

    /// Whether a one-time word is still unused.
    pub async fn is_unused(&self, word: &str) -> Result<bool, StoreError> {
        Ok(self.get(&word_key(word)).await?.is_some())
    }

    /// Forgets answers and the like, when what they told of is removed.
    pub async fn forget(&self, keys: &[String]) -> Result<(), StoreError> {
        for key in keys {
            let request = self.client.delete_item().table_name(&self.table).key("key", text(key));
            request.send().await.map_err(|error| AwsError::new("forget an answer", error))?;
        }
        Ok(())
    }

    /// Keeps how far a long piece of work is.
    pub async fn put_checkpoint(&self, name: &str, checkpoint: &impl Serialize) -> Result<(), StoreError> {
        let json = serde_json::to_string(checkpoint).map_err(|error| unreadable(TABLE, error))?;
        self.client
            .put_item()
            .table_name(&self.table)
            .item("key", text(checkpoint_key(name)))
            .item("checkpoint", text(json))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::new("keep a checkpoint", error).into())
    }

    /// How far a long piece of work is, if it was begun.
    pub async fn find_checkpoint<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let Some(item) = self.get(&checkpoint_key(name)).await? else { return Ok(None) };
        let json = Attributes { table: TABLE, item: &item };
        serde_json::from_str(json.text("checkpoint")?).map(Some).map_err(|error| unreadable(TABLE, error))
    }

    pub(super) fn write_memory(&self, remembered: &Remembered) -> Result<TransactWriteItem, StoreError> {
        let item: Item = serde_dynamo::to_item(remembered).map_err(|error| unreadable(TABLE, error))?;
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#key) OR expires_at < :now")
            .expression_attribute_names("#key", "key")
            .expression_attribute_values(":now", number(Timestamp::now().as_second()))
            .build()
            .map_err(|error| AwsError::new("remember an answer", error))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    pub(super) fn use_up(&self, word: &str) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .key("key", text(word_key(word)))
            .condition_expression("attribute_exists(#key)")
            .expression_attribute_names("#key", "key")
            .build()
            .map_err(|error| AwsError::new("use a one-time word", error))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    async fn get(&self, key: &str) -> Result<Option<Item>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("key", text(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| AwsError::new("read the coordination table", error))?;
        Ok(answer.item)
    }
}

fn checkpoint_key(name: &str) -> String {
    format!("checkpoint#{name}")
}

fn word_key(word: &str) -> String {
    format!("word#{word}")
}
