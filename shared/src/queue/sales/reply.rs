//! What the sales domain says. Unknown fields are allowed: it may say more than
//! we need.

use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::{UnreadableMessage, postpone};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, LocationId, ProductId, Quantity, TenantId, TenantScope, TransactionId};
use crate::providers::error::read_json;
use crate::store::transactions::TransactionKey;
use crate::telemetry::TraceParent;

const ACCEPTED: &str = "sales.transaction.accepted.v1";
const REJECTED: &str = "sales.transaction.rejected.v1";
const SOLD_OUT: &str = "sales.product.sold_out.v1";
const AVAILABLE: &str = "sales.product.available.v1";

/// A reason that is longer is cut: it is for people.
const MAX_REASON: usize = 500;
/// Nobody knows today what there will be after that, and what is held back comes by every quarter of an hour.
const LONGEST_UNTIL: SignedDuration = SignedDuration::from_hours(24 * 31);
/// What the sales domain may call something.
const MAX_NAME: usize = 256;

/// The parts of a CloudEvent that we read.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplyEvent<D> {
    /// Which kind of reply.
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "a part of the schema; it has been read before the rest")]
    reply_type: String,
    /// Whose.
    tenantid: TenantId,
    /// Which one: a repeat has the same.
    #[serde(default)]
    id: Option<String>,
    data: D,
}

/// The parts of a command's CloudEvent that we read.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CommandEvent<D> {
    /// Which kind of command.
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "a part of the schema; it has been read before the rest")]
    command_type: String,
    /// Whose.
    tenantid: TenantId,
    /// Which one: a repeat has the same.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NAME)))]
    id: String,
    /// When it was given: the newest counts.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    time: Timestamp,
    /// W3C trace context; goes on in the answer.
    #[serde(default)]
    traceparent: Option<String>,
    data: D,
}

/// As `sales.transaction.accepted.v1` arrives.
pub type AcceptedReply = ReplyEvent<AcceptedData>;
/// As `sales.transaction.rejected.v1` arrives.
pub type RejectedReply = ReplyEvent<RejectedData>;
/// As `sales.product.sold_out.v1` and `sales.product.available.v1` arrive.
pub type AvailabilityReply = CommandEvent<AvailabilityData>;

/// As `sales.transaction.accepted.v1` carries it.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AcceptedData {
    configuration_id: ConfigurationId,
    transaction_id: TransactionId,
    /// As in the event.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    revision: u64,
    /// What the sales domain calls it.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NAME)))]
    sales_record_id: String,
}

/// As `sales.transaction.rejected.v1` carries it.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RejectedData {
    configuration_id: ConfigurationId,
    transaction_id: TransactionId,
    /// As in the event.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    revision: u64,
    /// Stable word, for programs.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NAME)))]
    code: String,
    /// For people.
    reason: String,
}

/// As `sales.product.sold_out.v1` and `sales.product.available.v1` carry it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AvailabilityData {
    /// At which till.
    pub configuration_id: ConfigurationId,
    /// Of what: the product that items of the till are mapped to.
    pub product_id: ProductId,
    /// In which shops; empty or absent: in all of them.
    #[serde(default)]
    pub location_ids: Vec<LocationId>,
    /// Sold out until then, within 31 days; absent: until it is said to be available.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub until: Option<Timestamp>,
    /// Available again: how many there are, more than nothing. Tills that count cannot be told without, unless we have
    /// taken the count away ourselves: then it is put back.
    #[serde(default)]
    pub quantity: Option<Quantity>,
    /// For people.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A message of the replies queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// "I have this revision."
    Accepted(Acceptance),
    /// "I cannot take this revision."
    Rejected(Rejection),
    /// "Tell the till what there is."
    Availability(AvailabilityCommand),
}

/// "The sales domain has this revision."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// Of which transaction.
    pub key: TransactionKey,
    /// Which one.
    pub revision: u64,
    /// What the sales domain calls it.
    pub sales_record_id: String,
}

/// "The sales domain cannot take this revision."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Of which transaction.
    pub key: TransactionKey,
    /// Which one.
    pub revision: u64,
    /// Stable word, for programs.
    pub code: String,
    /// For people, in one line.
    pub reason: String,
    /// The reply's own id, if it has one.
    pub reply_id: Option<String>,
}

/// "Tell the till what there is."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailabilityCommand {
    /// Whose till.
    pub scope: TenantScope,
    /// The same for every repeat of the command.
    pub id: String,
    /// When it was given: the newest counts.
    pub given_at: Timestamp,
    /// What the till shall show.
    pub wanted: Wanted,
    /// The trace that it belongs to.
    pub trace: TraceParent,
    /// Of what and where.
    pub data: AvailabilityData,
}

/// What a till shall show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// No more of it.
    SoldOut,
    /// There is some again.
    Available,
}

/// Reads a message of the replies queue, to which only the sales domain may send.
pub fn read_reply(message: &SqsMessage) -> Result<Reply, UnreadableMessage> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        reply_type: String,
    }
    let body = message.body.as_deref().unwrap_or_default().as_bytes();
    match read::<Kind>(body)?.reply_type.as_str() {
        ACCEPTED => accepted(read(body)?).map(Reply::Accepted),
        REJECTED => rejected(read(body)?).map(Reply::Rejected),
        SOLD_OUT => command(read(body)?, Wanted::SoldOut).map(Reply::Availability),
        AVAILABLE => command(read(body)?, Wanted::Available).map(Reply::Availability),
        other => Err(UnreadableMessage(format!("unknown type `{other}`"))),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, UnreadableMessage> {
    read_json(body).map_err(|error| UnreadableMessage(error.to_string()))
}

fn accepted(reply: AcceptedReply) -> Result<Acceptance, UnreadableMessage> {
    let AcceptedData { configuration_id, transaction_id, revision, sales_record_id } = reply.data;
    let (scope, revision) = (TenantScope::new(reply.tenantid), counted(revision)?);
    let sales_record_id = name(sales_record_id, "data.sales_record_id")?;
    Ok(Acceptance { key: TransactionKey { scope, configuration_id, transaction_id }, revision, sales_record_id })
}

fn rejected(reply: RejectedReply) -> Result<Rejection, UnreadableMessage> {
    let RejectedData { configuration_id, transaction_id, revision, code, reason } = reply.data;
    let (scope, revision) = (TenantScope::new(reply.tenantid), counted(revision)?);
    let key = TransactionKey { scope, configuration_id, transaction_id };
    let reply_id = reply.id.map(|id| name(id, "id")).transpose()?;
    Ok(Rejection { key, revision, code: name(code, "data.code")?, reason: line(&reason), reply_id })
}

fn command(command: AvailabilityReply, wanted: Wanted) -> Result<AvailabilityCommand, UnreadableMessage> {
    let CommandEvent { tenantid, id, time: given_at, traceparent, mut data, .. } = command;
    data.reason = data.reason.as_deref().map(line);
    if data.quantity.is_some_and(|quantity| quantity.value() <= Decimal::ZERO) {
        return Err(UnreadableMessage("`data.quantity` is not more than nothing".to_owned()));
    }
    if data.until.is_some_and(|until| until.duration_since(given_at) > LONGEST_UNTIL) {
        return Err(UnreadableMessage("`data.until` is more than 31 days away".to_owned()));
    }
    let (scope, trace) = (TenantScope::new(tenantid), TraceParent::from_header(traceparent.as_deref()));
    Ok(AvailabilityCommand { scope, id: name(id, "id")?, given_at, wanted, trace, data })
}

/// Revisions count from 1.
fn counted(revision: u64) -> Result<u64, UnreadableMessage> {
    if revision > 0 { Ok(revision) } else { Err(UnreadableMessage("`data.revision` counts from 1".to_owned())) }
}

fn name(text: String, place: &str) -> Result<String, UnreadableMessage> {
    let fits = (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits { Ok(text) } else { Err(UnreadableMessage(format!("`{place}` is not 1 to {MAX_NAME} plain characters"))) }
}

/// What a person can be shown: one line, no longer than a person reads.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect()
}

/// The queue of the replies, from which we only take.
pub struct RepliesQueue {
    client: Client,
    url: String,
}

impl RepliesQueue {
    /// `url`: the queue's.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Lets a message come again after `after` instead of after the queue's own time.
    pub async fn postpone(&self, receipt_handle: &str, after: Duration) -> Result<(), AwsError> {
        postpone(&self.client, &self.url, receipt_handle, after).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(body: &str) -> Result<Reply, String> {
        let mut message = SqsMessage::default();
        message.body = Some(body.to_owned());
        read_reply(&message).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        let accepted = reply(include_str!("../../../../schemas/samples/sales.transaction.accepted.v1/full.json"));
        assert!(matches!(accepted, Ok(Reply::Accepted(it)) if it.revision == 1 && it.sales_record_id == "S-1001"));
        let rejected = reply(include_str!("../../../../schemas/samples/sales.transaction.rejected.v1/full.json"));
        assert!(matches!(rejected, Ok(Reply::Rejected(it)) if it.code == "unknown_location" && it.revision == 1));
        for (body, wanted) in [
            (include_str!("../../../../schemas/samples/sales.product.availability.v1/sold-out.json"), Wanted::SoldOut),
            (
                include_str!("../../../../schemas/samples/sales.product.availability.v1/available.json"),
                Wanted::Available,
            ),
        ] {
            let Ok(Reply::Availability(command)) = reply(body) else { panic!("{:?}", reply(body)) };
            assert_eq!((command.wanted, command.data.product_id.as_str()), (wanted, "croissant"));
        }
    }

    #[test]
    fn what_is_no_reply_says_where() {
        let good = include_str!("../../../../schemas/samples/sales.transaction.rejected.v1/full.json");
        for (body, complaint) in [
            (String::new(), "unreadable message: unreadable"),
            (good.replace(".rejected.", ".eaten."), "unreadable message: unknown type `sales.transaction.eaten.v1`"),
            (good.replace("\"revision\": 1", "\"revision\": -1"), "unreadable message: unreadable at `data.revision`"),
            (good.replace("\"revision\": 1", "\"revision\": 0"), "unreadable message: `data.revision` counts from 1"),
            (good.replace("t_1", "t#1"), "unreadable message: unreadable at `tenantid`"),
            (good.replace("unknown_location", ""), "unreadable message: `data.code` is not 1 to 256 plain characters"),
        ] {
            assert_eq!(reply(&body), Err(complaint.to_owned()));
        }
        let good = include_str!("../../../../schemas/samples/sales.product.availability.v1/available.json");
        for quantity in ["0", "-1"] {
            let complaint = "unreadable message: `data.quantity` is not more than nothing";
            assert_eq!(reply(&good.replace("24", quantity)), Err(complaint.to_owned()), "{quantity}");
        }
    }

    #[test]
    fn a_command_says_which_and_when_and_not_for_ever() {
        let good = include_str!("../../../../schemas/samples/sales.product.availability.v1/sold-out.json");
        let Ok(Reply::Availability(command)) = reply(good) else { panic!("{:?}", reply(good)) };
        assert!(command.data.until.is_some());
        for (from, to, complaint) in [
            (
                "2026-02-15T04:00:00Z",
                "9999-01-01T00:00:00Z",
                "unreadable message: `data.until` is more than 31 days away",
            ),
            ("\"time\"", "\"tame\"", "unreadable message: unreadable"),
            ("\"id\"", "\"di\"", "unreadable message: unreadable"),
            ("\"cmd-1\"", "\"\"", "unreadable message: `id` is not 1 to 256 plain characters"),
        ] {
            assert_eq!(reply(&good.replace(from, to)), Err(complaint.to_owned()), "{to}");
        }
    }

    #[test]
    fn a_reason_is_one_line_that_a_person_can_read() {
        assert_eq!(line("no such\nshop"), "no such shop");
        assert_eq!(line(&"x".repeat(2000)).len(), MAX_REASON);
    }
}
