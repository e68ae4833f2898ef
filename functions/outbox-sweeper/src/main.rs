//! EventBridge Scheduler, every minute: sends again what the sales domain never acknowledged.

use jiff::SignedDuration;
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use outbox_sweeper::{App, Ways, sweep};
use shared::invocation::{counters, run};
use shared::queue::sales::SalesQueue;
use shared::settings::Reader;
use shared::store::transactions::Transactions;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("outbox-sweeper");
    let config = shared::aws::config_from_env()?;
    let (table, (queue, replies, is_answered), first_resend_after, counters) = Reader::from_env(|r| {
        let seconds = r.number("OUTBOX_FIRST_RESEND_SECONDS");
        let queues = (r.text("SALES_QUEUE_URL"), r.text("SALES_REPLIES_QUEUE_URL"), r.flag("SALES_DOMAIN_ANSWERS"));
        (r.text("TRANSACTIONS_TABLE"), queues, SignedDuration::from_secs(seconds), counters(&config, r))
    })?;
    let sqs = aws_sdk_sqs::Client::new(&config);
    let app = &App {
        transactions: Transactions::new(aws_sdk_dynamodb::Client::new(&config), table),
        ways: Ways { client: sqs.clone(), urls: [queue.clone(), replies] },
        sales: SalesQueue::new(sqs, queue).answered(is_answered),
        first_resend_after,
    };
    let handler = service_fn(async |event: LambdaEvent<serde_json::Value>| {
        sweep(app, &event.context).await.map(drop).map_err(Error::from)
    });
    run(Runtime::new(handler), counters).await
}
