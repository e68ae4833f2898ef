//! REST: the configurations of a tenant.

use configurations::{App, handle};
use lambda_http::{Error, service_fn};
use shared::app::{ConnectionSettings, Connections};
use shared::invocation::{counters, run_rest};
use shared::queue::sync_jobs::SyncJobs;
use shared::secrets::Secret;
use shared::settings::Reader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("configurations");
    let config = shared::aws::config_from_env()?;
    let (settings, jobs, (signing_secret, public_url), counters) = Reader::from_env(|r| {
        let settings = ConnectionSettings::read(r, &config);
        let signing = (r.text("CURSOR_SECRET_ID"), r.optional("PUBLIC_URL"));
        (settings, r.text("SYNC_JOBS_QUEUE_URL"), signing, counters(&config, r))
    })?;
    let signing_key = Secret::new(aws_sdk_secretsmanager::Client::new(&config), signing_secret);
    let jobs = SyncJobs::new(aws_sdk_sqs::Client::new(&config), jobs);
    let app = &App::new(Connections::new(&config, settings), jobs, signing_key, public_url);
    run_rest(service_fn(move |request| handle(app, request)), counters).await
}
