//! A delivery that was worked on once more: its row gets another end, and the replay stands in its history.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Caused, LogOwner, Outcome, Steps, TABLE, WebhookLogs, ended, key};
use crate::domain::{EventId, Replayed};
use crate::store::StoreError;
use crate::store::item::{is_made, text, unreadable};

/// What a delivery may have had from its end before, and may not have any more.
const UNSAID: [&str; 5] = ["code", "detail", "transactions", "revisions", "outcome_key"];

/// What a replay has come to.
#[derive(Debug, Clone)]
pub struct ReplayEnd<'a> {
    /// For the history.
    pub replayed: &'a Replayed,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// How long the final attempt worked on it.
    pub worked_for: Duration,
    /// What it led to.
    pub caused: &'a [Caused],
    /// When what was done.
    pub steps: &'a Steps,
}

impl WebhookLogs {
    /// Writes the end that a replay has given a delivery, once for each replay. A row that is gone stays so.
    pub async fn record_replay(
        &self,
        owner: &LogOwner,
        event: &EventId,
        end: &ReplayEnd<'_>,
    ) -> Result<(), StoreError> {
        let says = ended(owner, end.outcome, (end.worked_for, end.caused, end.steps))?;
        let removed: Vec<&str> = UNSAID.into_iter().filter(|name| !says.contains_key(*name)).collect();
        let replayed = serde_dynamo::to_attribute_value(end.replayed).map_err(|error| unreadable(TABLE, error))?;
        let id = end.replayed.replay_id.to_string();
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(owner, event)))
            .condition_expression("attribute_exists(event_id) AND NOT contains(replay_ids, :id)")
            .expression_attribute_values(":id", text(&id))
            .expression_attribute_values(":ids", AttributeValue::Ss(vec![id]))
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":replayed", AttributeValue::L(vec![replayed]));
        let mut set = "SET replays = list_append(if_not_exists(replays, :none), :replayed)".to_owned();
        for (name, value) in says {
            set.push_str(&format!(", #{name} = :{name}"));
            request = request
                .expression_attribute_names(format!("#{name}"), &name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        for name in &removed {
            request = request.expression_attribute_names(format!("#{name}"), *name);
        }
        let removed: Vec<String> = removed.iter().map(|name| format!("#{name}")).collect();
        let remove = if removed.is_empty() { String::new() } else { format!(" REMOVE {}", removed.join(", ")) };
        let request = request.update_expression(format!("{set}{remove} ADD replay_ids :ids"));
        is_made(request.send().await, "record a replay").map(drop)
    }
}
