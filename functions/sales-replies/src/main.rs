//! SQS: what the sales domain answers.

use lambda_runtime::{Error, run, service_fn};
use sales_replies::{App, handle_batch};
use shared::queue::sales::ParkedReplies;
use shared::settings::Reader;
use shared::store::transactions::Transactions;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    let config = shared::aws::config_from_env()?;
    let (table, parked) =
        Reader::from_env(|r| (r.text("TRANSACTIONS_TABLE"), r.text("SALES_REPLIES_DEAD_LETTER_QUEUE_URL")))?;
    let app = &App {
        transactions: Transactions::new(aws_sdk_dynamodb::Client::new(&config), table),
        parked: ParkedReplies::new(aws_sdk_sqs::Client::new(&config), parked),
    };
    run(service_fn(async |event| handle_batch(app, event).await.map_err(Error::from))).await
}
