//! Answers clear the outbox mark of the revision that they are for; a rejection says why the sales domain cannot take it.
//! Commands say what is sold out, and are carried out at the till.
//!
//! What cannot be taken (unreadable, for a revision that we never sent, for a till that is none of the tenant's) is parked
//! with its reason: it means that one of the two sides is wrong, and a person must see it.

mod availability;
mod rule;
mod till;

use std::time::{Duration, Instant, SystemTime};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use jiff::Timestamp;
use lambda_runtime::LambdaEvent;
use shared::access::Tokens;
use shared::app::{ConnectionSettings, Connections};
use shared::aws::SdkConfig;
use shared::domain::Code;
use shared::queue::dead_letters::DeadLetters;
use shared::queue::sales::{
    Acceptance, Ending, EndingsQueue, Rejection, RepliesQueue, Reply, SalesQueue, read_ending, read_reply,
};
use shared::queue::{Later, MissingMessageId, UnreadableMessage, attempt, catch_panic, deliver_again};
use shared::settings::Reader;
use shared::store::product_mappings::ProductMappings;
use shared::store::transactions::{Answered, Rejected, RejectedBy, TransactionKey, Transactions};
use shared::telemetry::{Line, metrics};

use availability::{Attempt, Ended};

/// What is left of the time for telling SQS which messages to deliver again.
const RESERVE: Duration = Duration::from_millis(700);

/// What the deployment says.
pub struct Settings {
    connections: ConnectionSettings,
    transactions_table: String,
    product_mappings_table: String,
    sales_queue_url: String,
    replies_queue_url: String,
    endings_queue_url: String,
    dead_letter_queue_url: String,
    attempts: u32,
}

impl Settings {
    /// Reads the function's environment variables.
    pub fn read(r: &Reader<'_>, config: &SdkConfig) -> Self {
        Self {
            connections: ConnectionSettings::read(r, config),
            transactions_table: r.text("TRANSACTIONS_TABLE"),
            product_mappings_table: r.text("PRODUCT_MAPPINGS_TABLE"),
            sales_queue_url: r.text("SALES_QUEUE_URL"),
            replies_queue_url: r.text("SALES_REPLIES_QUEUE_URL"),
            endings_queue_url: r.text("SOLD_OUT_ENDINGS_QUEUE_URL"),
            dead_letter_queue_url: r.text("SALES_REPLIES_DEAD_LETTER_QUEUE_URL"),
            attempts: r.number("SALES_REPLIES_ATTEMPTS"),
        }
    }
}

/// What a reply needs, made once per execution environment.
pub struct App {
    connections: Connections,
    tokens: Tokens,
    transactions: Transactions,
    mappings: ProductMappings,
    sales: SalesQueue,
    replies: RepliesQueue,
    endings: EndingsQueue,
    parked: DeadLetters,
    /// After so many the queue gives a message up.
    attempts: u32,
}

impl App {
    /// Opens nothing yet.
    pub fn new(config: &SdkConfig, settings: Settings) -> Self {
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        let sqs = aws_sdk_sqs::Client::new(config);
        let connections = Connections::new(config, settings.connections);
        Self {
            tokens: connections.tokens("sales-replies"),
            connections,
            transactions: Transactions::new(dynamodb.clone(), settings.transactions_table),
            mappings: ProductMappings::new(dynamodb, settings.product_mappings_table),
            sales: SalesQueue::new(sqs.clone(), settings.sales_queue_url),
            replies: RepliesQueue::new(sqs.clone(), settings.replies_queue_url),
            endings: EndingsQueue::new(sqs.clone(), settings.endings_queue_url),
            parked: DeadLetters::new(sqs, settings.dead_letter_queue_url, Vec::new()),
            attempts: settings.attempts,
        }
    }
}

/// What comes from one of the two queues.
enum Message {
    /// The sales domain says it.
    Reply(Reply),
    /// We have said it to ourselves.
    Ending(Ending),
}

impl App {
    /// Each queue has messages of its own kind: what the sales domain sends is never taken for ours.
    fn read(&self, message: &SqsMessage) -> Result<Message, UnreadableMessage> {
        if self.is_ours(message) {
            read_ending(message).map(Message::Ending)
        } else {
            read_reply(message).map(Message::Reply)
        }
    }

    fn is_ours(&self, message: &SqsMessage) -> bool {
        message.event_source_arn.as_deref().is_some_and(|arn| self.endings.is_called(arn))
    }
}

/// Takes every reply of the batch and names the ones to deliver again.
pub async fn handle_batch(app: &App, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, MissingMessageId> {
    let records = &event.payload.records;
    if records.iter().any(|message| message.message_id.as_deref().is_none_or(str::is_empty)) {
        return Err(MissingMessageId);
    }
    let mut response = SqsBatchResponse::default();
    let time_left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    app.tokens.begin(Instant::now() + time_left);
    let deadline = Instant::now() + time_left.saturating_sub(RESERVE);
    let mut replies: Vec<_> = records.iter().map(|message| (message, app.read(message))).collect();
    // Whoever asks a provider takes its time: what only notes something does not wait for it.
    replies.sort_by_key(|(_, reply)| matches!(reply, Ok(Message::Reply(Reply::Availability(_)) | Message::Ending(_))));
    for (message, reply) in replies {
        if let Err(later) = take_until(app, deadline, (message, &reply)).await {
            metrics::postponed(later.code.as_str());
            let mut line = Line::begin("reply");
            (line.message_id, line.attempt) = (message.message_id.clone(), Some(attempt(message)));
            line.ended("later", later.code.as_str()).end("a reply must come again");
            postpone(app, message, &later).await;
            deliver_again(&mut response, message.message_id.as_deref().unwrap_or_default());
        }
    }
    Ok(response)
}

type Read<'m> = (&'m SqsMessage, &'m Result<Message, UnreadableMessage>);

async fn take_until(app: &App, deadline: Instant, (message, reply): Read<'_>) -> Result<(), Later> {
    let attempt = Attempt { number: attempt(message), deadline };
    let work = catch_panic(async {
        match reply {
            Ok(Message::Reply(Reply::Accepted(acceptance))) => accept(app, message, acceptance).await,
            Ok(Message::Reply(Reply::Rejected(rejection))) => reject(app, message, rejection).await,
            // On the heap: these are large, and rare among the others.
            Ok(Message::Reply(Reply::Availability(command))) => {
                close(app, message, Box::pin(availability::take(app, command, attempt)).await?).await
            }
            Ok(Message::Ending(ending)) => {
                close(app, message, Box::pin(availability::end(app, ending, attempt)).await?).await
            }
            Err(unreadable) => park(app, message, &unreadable.to_string()).await,
        }
    });
    match tokio::time::timeout_at(deadline.into(), work).await {
        Ok(Ok(result)) => result,
        Ok(Err(panicked)) => {
            tracing::error!(message.id = message.message_id, error = %panicked, "a reply made us panic");
            Err(Later::unexpected(Code::Panicked))
        }
        Err(_elapsed) => Err(Later::at_once(Code::OutOfTime)),
    }
}

async fn accept(app: &App, message: &SqsMessage, acceptance: &Acceptance) -> Result<(), Later> {
    let Acceptance { key, revision, sales_record_id } = acceptance;
    let line = Line::begin("reply");
    let (answered, waited_since) = app.transactions.accept(key, *revision, sales_record_id).await?;
    if let Some(waited_since) = waited_since {
        metrics::accepted(waited_since);
    }
    note(app, message, (key, *revision, "accepted", ""), (answered, line)).await
}

async fn reject(app: &App, message: &SqsMessage, rejection: &Rejection) -> Result<(), Later> {
    let Rejection { key, revision, code, reason, reply_id } = rejection;
    let line = Line::begin("reply");
    let why = Rejected { code: code.clone(), reason: reason.clone(), at: Timestamp::now() };
    let by = RejectedBy { why: &why, reply_id: reply_id.as_deref() };
    let answered = app.transactions.reject(key, *revision, by).await?;
    note(app, message, (key, *revision, "rejected", code), (answered, line)).await
}

async fn note(
    app: &App,
    message: &SqsMessage,
    (key, revision, answer, code): (&TransactionKey, u64, &'static str, &str),
    (answered, line): (Answered, Line),
) -> Result<(), Later> {
    let outcome = match answered {
        Answered::Current => "current",
        Answered::Repeat => "repeat",
        Answered::Superseded => "superseded",
        Answered::Unknown => "unknown",
    };
    metrics::answered(answer, outcome);
    let mut line = line.of(key.scope.tenant_id(), key.configuration_id).ended(outcome, code);
    (line.transaction_id, line.revision) = (Some(key.transaction_id.to_string()), Some(revision));
    (line.kind, line.message_id, line.attempt) = (Some(answer), message.message_id.clone(), Some(attempt(message)));
    line.end("took a reply");
    match answered {
        Answered::Current | Answered::Repeat | Answered::Superseded => Ok(()),
        // It was sent once, and has been removed since.
        Answered::Unknown if app.connections.configurations.is_removed(&key.scope, key.configuration_id).await? => {
            Ok(())
        }
        Answered::Unknown => park(app, message, "no such revision was ever sent").await,
    }
}

async fn close(app: &App, message: &SqsMessage, ended: Ended) -> Result<(), Later> {
    match ended {
        Ended::Done => Ok(()),
        Ended::Park(reason) => park(app, message, reason).await,
    }
}

async fn park(app: &App, message: &SqsMessage, reason: &str) -> Result<(), Later> {
    tracing::error!(message.id = message.message_id, reason, "parked a reply");
    app.parked.park(message, reason).await?;
    metrics::reply_parked();
    Ok(())
}

/// Lets the message come again when it may help. If that fails, it comes again after the queue's own time.
async fn postpone(app: &App, message: &SqsMessage, later: &Later) {
    let Some(handle) = message.receipt_handle.as_deref() else { return };
    let after = later.delay(attempt(message));
    // A handle is good for the queue that it came from.
    let postponed = if app.is_ours(message) {
        app.endings.postpone(handle, after).await
    } else {
        app.replies.postpone(handle, after).await
    };
    if let Err(error) = postponed {
        tracing::warn!(message.id = message.message_id, error = ?error, "a message could not be postponed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_event_is_read() {
        let event: SqsEvent = serde_json::from_str(include_str!("../../../events/sales-replies.json")).unwrap();
        let Reply::Accepted(accepted) = read_reply(&event.records[0]).unwrap() else { panic!("no acceptance") };
        assert_eq!((accepted.revision, accepted.sales_record_id.as_str()), (1, "S-1001"));
        assert_eq!(accepted.key.scope.tenant_id().as_str(), "t_1");
    }
}
