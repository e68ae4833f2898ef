//! Answers clear the outbox mark of the revision that they are for; a rejection says why the sales domain cannot take it.
//!
//! What cannot be taken (unreadable, or for a revision that we never sent) is parked with its reason: it means that
//! one of the two sides is wrong, and a person must see it.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use jiff::Timestamp;
use lambda_runtime::LambdaEvent;
use shared::queue::sales::{Acceptance, ParkedReplies, Rejection, Reply, read_reply};
use shared::queue::{MissingMessageId, catch_panic, deliver_again};
use shared::store::transactions::{Answered, Rejected, Transactions};

/// What a reply needs, made once per execution environment.
pub struct App {
    /// Where the marks are.
    pub transactions: Transactions,
    /// Where replies go that cannot be taken.
    pub parked: ParkedReplies,
}

/// The reply must come again.
struct Again;

/// Takes every reply of the batch and names the ones to deliver again.
pub async fn handle_batch(app: &App, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, MissingMessageId> {
    let records = &event.payload.records;
    if records.iter().any(|message| message.message_id.as_deref().is_none_or(str::is_empty)) {
        return Err(MissingMessageId);
    }
    let mut response = SqsBatchResponse::default();
    for message in records {
        let result = catch_panic(take(app, message)).await.unwrap_or_else(|panicked| {
            tracing::error!(message.id = message.message_id, error = %panicked, "a reply made us panic");
            Err(Again)
        });
        if let Err(Again) = result {
            deliver_again(&mut response, message.message_id.as_deref().unwrap_or_default());
        }
    }
    Ok(response)
}

async fn take(app: &App, message: &SqsMessage) -> Result<(), Again> {
    let (key, revision, answered, word) = match read_reply(message) {
        Ok(Reply::Accepted(Acceptance { key, revision, sales_record_id })) => {
            let answered = app.transactions.accept(&key, revision, &sales_record_id).await;
            (key, revision, answered, "accepted".to_owned())
        }
        Ok(Reply::Rejected(Rejection { key, revision, code, reason })) => {
            let why = Rejected { code, reason, at: Timestamp::now() };
            let answered = app.transactions.reject(&key, revision, &why).await;
            (key, revision, answered, why.code)
        }
        Ok(Reply::Availability(_)) => return park(app, message, "not taken yet").await,
        Err(unreadable) => return park(app, message, &unreadable.to_string()).await,
    };
    let answered = answered.map_err(|error| {
        tracing::error!(message.id = message.message_id, error = ?error, "a reply could not be noted");
        Again
    })?;
    tracing::info!(
        tenant.id = %key.scope.tenant_id(),
        transaction.id = %key.transaction_id,
        revision,
        answer = word,
        outcome = ?answered,
        "took a reply"
    );
    match answered {
        Answered::Current | Answered::Repeat | Answered::Superseded => Ok(()),
        Answered::Unknown => park(app, message, "no such revision was ever sent").await,
    }
}

async fn park(app: &App, message: &SqsMessage, reason: &str) -> Result<(), Again> {
    tracing::error!(message.id = message.message_id, reason, "parked a reply");
    app.parked.park(message, reason).await.map_err(|error| {
        tracing::error!(message.id = message.message_id, error = ?error, "a reply could not be parked");
        Again
    })
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
