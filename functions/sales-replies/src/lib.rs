//! Acknowledgements clear the outbox mark of the revision that they are for.
//!
//! What cannot be taken (unreadable, or for a revision that we never sent) is parked with its reason: it means that
//! one of the two sides is wrong, and a person must see it.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::LambdaEvent;
use shared::queue::sales::{ParkedReplies, read_reply};
use shared::queue::{MissingMessageId, catch_panic, deliver_again};
use shared::store::transactions::{Acknowledged, Transactions};

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
    let accepted = match read_reply(message) {
        Ok(accepted) => accepted,
        Err(unreadable) => return park(app, message, &unreadable.to_string()).await,
    };
    let result = app.transactions.acknowledge(&accepted.key, accepted.revision, &accepted.sales_record_id).await;
    let outcome = result.map_err(|error| {
        tracing::error!(message.id = message.message_id, error = ?error, "a reply could not be noted");
        Again
    })?;
    tracing::info!(
        tenant.id = %accepted.key.scope.tenant_id(),
        transaction.id = %accepted.key.transaction_id,
        revision = accepted.revision,
        outcome = ?outcome,
        "took a reply"
    );
    match outcome {
        Acknowledged::Current | Acknowledged::Superseded => Ok(()),
        Acknowledged::Unknown => park(app, message, "no such revision was ever sent").await,
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
        let accepted = read_reply(&event.records[0]).unwrap();
        assert_eq!((accepted.revision, accepted.sales_record_id.as_str()), (1, "S-1001"));
        assert_eq!(accepted.key.scope.tenant_id().as_str(), "t_1");
    }

    #[test]
    fn a_reply_of_another_kind_or_shape_is_unreadable() {
        let reply = |body: &str| {
            let mut message = SqsMessage::default();
            message.body = Some(body.to_owned());
            read_reply(&message).map(drop).map_err(|error| error.to_string())
        };
        let good = include_str!("../../../events/messages/accepted.json");
        assert_eq!(reply(good), Ok(()));
        for (body, complaint) in [
            (String::new(), "unreadable message: unreadable"),
            (good.replace(".accepted.", ".eaten."), "unreadable message: unknown type `sales.transaction.eaten.v1`"),
            (good.replace("\"revision\": 1", "\"revision\": -1"), "unreadable message: unreadable at `data.revision`"),
            (good.replace("t_1", "t#1"), "unreadable message: unreadable at `tenantid`"),
        ] {
            assert_eq!(reply(&body), Err(complaint.to_owned()));
        }
    }
}
