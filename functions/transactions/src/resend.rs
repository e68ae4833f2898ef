//! What the sales domain has rejected, once more: it may have learned what it did not know.
//!
//! The sweeper sends it within a minute. Whoever asks for many says how many they are: so that nobody sends a year again
//! who has meant a day.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use jiff::civil::Date;
use serde::Serialize;
use shared::domain::{ConfigurationId, TransactionId};
use shared::problem::Problem;
use shared::rest::{Answer, Call, unavailable};
use shared::store::transactions::{RejectedEntry, TransactionKey};

use crate::{App, asked_configurations};

/// Entries that are read at once.
const READ: i32 = 1000;
/// More are sent by asking again: the rest is counted then.
const MOST: usize = 10_000;
/// Each mark waits for the table some milliseconds.
const WRITES_AT_ONCE: usize = 16;

/// What shall be sent again.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "ResendRequest")]
#[expect(dead_code, reason = "only its shape is wanted")]
pub struct ResendBody {
    /// Of this configuration only.
    configuration_id: Option<ConfigurationId>,
    /// Rejected with this code only.
    code: Option<String>,
    /// Of this accounting day only.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    business_date: Option<Date>,
    /// How many that are. Without it they are counted, and nothing is sent.
    expected: Option<u64>,
}

/// What is rejected, or was sent again.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Resend {
    /// How many match.
    matching: u64,
    /// How many of them by code.
    codes: BTreeMap<String, u64>,
    /// How many are being sent again.
    sent_again: u64,
}

/// Counts what matches, or sends it again.
pub async fn many(app: &App, call: &Call) -> Result<Answer, Problem> {
    let mut fields = call.fields()?;
    let configuration_id = fields.optional::<ConfigurationId>("configuration_id");
    let code = fields.optional::<String>("code");
    let business_date = fields.optional::<Date>("business_date");
    let expected = fields.optional::<u64>("expected");
    fields.finish()?;
    let open = asked_configurations(app, call, configuration_id, None).await?;
    let matches = |entry: &RejectedEntry| {
        code.as_ref().is_none_or(|code| *code == entry.code)
            && business_date.is_none_or(|date| date == entry.business_date)
    };
    let (mut found, mut matching, mut codes) = (Vec::<RejectedEntry>::new(), 0_u64, BTreeMap::<String, u64>::new());
    for id in open {
        let mut after = None;
        loop {
            let page = app.transactions.list_rejected(&call.scope, id, READ, after).await;
            let page = page.map_err(|error| unavailable(&error))?;
            for entry in page.items.into_iter().filter(&matches) {
                matching += 1;
                *codes.entry(entry.code.clone()).or_default() += 1;
                if found.len() < MOST {
                    found.push(entry);
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    let Some(expected) = expected else {
        return Answer::json(StatusCode::OK, &Resend { matching, codes, sent_again: 0 });
    };
    if expected != matching {
        return Err(Problem::conflict(&format!("{matching} match, and {expected} were expected: count again")));
    }
    let trace = call.trace();
    let mut writes = Vec::with_capacity(found.len());
    for entry in &found {
        writes.push(app.transactions.send_again(&entry.key, &trace));
    }
    let marked: Vec<bool> = stream::iter(writes)
        .buffer_unordered(WRITES_AT_ONCE)
        .try_collect()
        .await
        .map_err(|error| unavailable(&error))?;
    let sent_again = u64::try_from(marked.into_iter().filter(|is_marked| *is_marked).count()).unwrap_or(u64::MAX);
    tracing::info!(tenant.id = %call.scope.tenant_id(), subject = call.subject, sent_again, "sends rejected transactions again");
    Answer::json(StatusCode::ACCEPTED, &Resend { matching, codes, sent_again })
}

/// Sends one again.
pub async fn one(app: &App, call: &Call) -> Result<Answer, Problem> {
    let transaction_id: TransactionId = call.path_id("transaction_id", "transaction")?;
    let found = crate::find(app, call, transaction_id).await?;
    let key: &TransactionKey = &found.key;
    if !app.transactions.send_again(key, &call.trace()).await.map_err(|error| unavailable(&error))? {
        return Err(Problem::conflict("the sales domain has not rejected it"));
    }
    let code = found.rejected.map(|why| why.code).unwrap_or_default();
    Answer::json(StatusCode::ACCEPTED, &Resend { matching: 1, codes: BTreeMap::from([(code, 1)]), sent_again: 1 })
}
