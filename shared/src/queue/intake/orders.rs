//! Orders that a sync has read, on their way to the normalizer: a page, or a part of one.

use aws_lambda_events::sqs::SqsMessage;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{IntakeQueue, ORDERS, encode, owner_of, unpack};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, LocationId, RunId, SyncKind, TenantScope};
use crate::providers::RawOrder;
use crate::queue::{MAX_MESSAGE, ROOM_FOR_ATTRIBUTES, SendError, UnreadableMessage, attribute, attribute_of};
use crate::telemetry::TraceParent;

/// A page of orders as it comes off the queue.
#[derive(Debug, Clone)]
pub struct OrdersMessage {
    /// Whose.
    pub scope: TenantScope,
    /// Through which connection.
    pub configuration_id: ConfigurationId,
    /// Of which page.
    pub page: PageRef,
    /// Whole, as the provider showed them.
    pub orders: Vec<RawOrder>,
    /// The trace that it belongs to.
    pub trace: TraceParent,
}

/// Which page of which run: its row is written once under this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRef {
    /// The run.
    pub run_id: RunId,
    /// What the run is for.
    pub kind: SyncKind,
    /// Counts from 1, without gaps.
    pub number: u32,
    /// The configuration's epoch when the run was asked for.
    pub epoch: u64,
}

/// What is common to the orders of a page, and the orders.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    page: PageRef,
    location: Option<LocationId>,
    observed_at: Timestamp,
    #[serde(borrow)]
    orders: Vec<Entry<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    order: &'a RawValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paid_offline_at: Option<Timestamp>,
}

impl IntakeQueue {
    /// Puts a page of one shop's orders on the queue, all of them in one message. `TooLarge`: they must be divided.
    pub async fn send_orders(
        &self,
        scope: &TenantScope,
        configuration_id: ConfigurationId,
        page: &PageRef,
        orders: &[RawOrder],
        trace: &TraceParent,
    ) -> Result<(), SendError> {
        let built = |error: serde_json::Error| AwsError::new("build a page of orders", error);
        let mut entries = Vec::with_capacity(orders.len());
        for order in orders {
            let raw = serde_json::from_slice(&order.body).map_err(built)?;
            entries.push(Entry { order: raw, paid_offline_at: order.paid_offline_at });
        }
        let first = orders.first();
        let envelope = Envelope {
            page: page.clone(),
            location: first.and_then(|order| order.location.clone()),
            observed_at: first.map_or_else(Timestamp::now, |order| order.observed_at),
            orders: entries,
        };
        let json = serde_json::to_vec(&envelope).map_err(built)?;
        let (encoding, body) = encode(&json)?;
        if body.len() > MAX_MESSAGE - ROOM_FOR_ATTRIBUTES || json.len() > super::MAX_BODY {
            return Err(SendError::TooLarge);
        }
        let owner = format!("{}#{configuration_id}", scope.tenant_id());
        let attributes =
            [("kind", ORDERS), ("encoding", encoding), ("configuration", &owner), ("traceparent", trace.as_str())];
        let mut request = self.client.send_message().queue_url(&self.url).message_body(body);
        for (name, value) in attributes {
            request = request.message_attributes(name, attribute(value)?);
        }
        let sent = request.message_group_id(scope.tenant_id().as_str()).send().await;
        sent.map(drop).map_err(|error| AwsError::new("enqueue a page of orders", error).into())
    }
}

pub(super) fn decode(message: &SqsMessage) -> Result<OrdersMessage, UnreadableMessage> {
    let body = message.body.as_deref().unwrap_or_default();
    let unreadable = |what: &str| UnreadableMessage(what.to_owned());
    let json = unpack(attribute_of(message, "encoding")?, body).ok_or_else(|| unreadable("body"))?;
    let Envelope { page, location, observed_at, orders } =
        serde_json::from_slice(&json).map_err(|error| UnreadableMessage(format!("a page: {error}")))?;
    let (scope, configuration_id) = owner_of(attribute_of(message, "configuration")?)?;
    let orders = orders.into_iter().map(|entry| RawOrder {
        body: entry.order.get().as_bytes().to_vec(),
        location: location.clone(),
        paid_offline_at: entry.paid_offline_at,
        observed_at,
    });
    Ok(OrdersMessage {
        scope,
        configuration_id,
        page,
        orders: orders.collect(),
        trace: TraceParent::from_header(attribute_of(message, "traceparent").ok()),
    })
}
