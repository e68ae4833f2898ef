//! The queue of sync jobs: "go on with this run". What the run is stands in the table, so a job may come twice, late or
//! never; the scheduler sends another for a run that nobody works on.

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use serde::{Deserialize, Serialize};

use super::UnreadableMessage;
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, Run, RunId, SyncKind, TenantId, TenantScope};
use crate::telemetry::TraceParent;

/// The version of the message.
const VERSION: u8 = 1;
/// SQS takes so many at once.
const BATCH: usize = 10;
/// SQS holds a message back for no longer.
const LONGEST_DELAY: i32 = 900;

/// The queue.
#[derive(Clone)]
pub struct SyncJobs {
    client: Client,
    url: String,
}

/// A run to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncJob {
    /// Whose.
    pub scope: TenantScope,
    /// Through which connection.
    pub configuration_id: ConfigurationId,
    /// In which lane.
    pub kind: SyncKind,
    /// Which run; another one in its place is none of this job's business.
    pub run_id: RunId,
    /// The trace that it belongs to: of whoever has asked for the run, or a new one.
    pub trace: TraceParent,
}

impl SyncJob {
    /// For this run of a configuration.
    pub fn of(scope: &TenantScope, configuration_id: ConfigurationId, run: &Run, trace: &TraceParent) -> Self {
        let (scope, kind, trace) = (scope.clone(), run.request.kind(), trace.clone());
        Self { scope, configuration_id, kind, run_id: run.id, trace }
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    version: u8,
    tenant_id: TenantId,
    configuration_id: ConfigurationId,
    kind: SyncKind,
    run_id: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

impl SyncJobs {
    /// `url`: the queue's.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Asks for a run to be gone on with, `delay` seconds from now, 900 at most.
    pub async fn send(&self, job: &SyncJob, delay: i32) -> Result<(), AwsError> {
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(body_of(job)?)
            .message_group_id(job.scope.tenant_id().as_str())
            .delay_seconds(delay.clamp(0, LONGEST_DELAY))
            .send()
            .await
            .map(drop)
            .map_err(|error| AwsError::new("enqueue a sync job", error))
    }

    /// Asks for many at once. Those that the queue refuses are not told apart: the scheduler finds their runs again.
    pub async fn send_many(&self, jobs: &[SyncJob]) -> Result<(), AwsError> {
        const OPERATION: &str = "enqueue sync jobs";
        for batch in jobs.chunks(BATCH) {
            let mut request = self.client.send_message_batch().queue_url(&self.url);
            for (index, job) in batch.iter().enumerate() {
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .message_body(body_of(job)?)
                    .message_group_id(job.scope.tenant_id().as_str());
                request = request.entries(entry.build().map_err(|error| AwsError::new(OPERATION, error))?);
            }
            let answer = request.send().await.map_err(|error| AwsError::new(OPERATION, error))?;
            for failed in answer.failed() {
                tracing::warn!(code = failed.code(), "a sync job was not enqueued; it is due again in a minute");
            }
        }
        Ok(())
    }
}

fn body_of(job: &SyncJob) -> Result<String, AwsError> {
    let SyncJob { scope, configuration_id, kind, run_id, trace } = job;
    let (configuration_id, kind, run_id) = (*configuration_id, *kind, *run_id);
    let (tenant_id, traceparent) = (scope.tenant_id().clone(), Some(trace.to_string()));
    let body = Body { version: VERSION, tenant_id, configuration_id, kind, run_id, traceparent };
    serde_json::to_string(&body).map_err(|error| AwsError::new("build a sync job", error))
}

/// Reads a message of the queue.
pub fn decode(message: &SqsMessage) -> Result<SyncJob, UnreadableMessage> {
    let body = message.body.as_deref().unwrap_or_default();
    let body: Body = serde_json::from_str(body).map_err(|error| UnreadableMessage(format!("a sync job: {error}")))?;
    if body.version != VERSION {
        return Err(UnreadableMessage(format!("a sync job of version {}", body.version)));
    }
    Ok(SyncJob {
        scope: TenantScope::new(body.tenant_id),
        configuration_id: body.configuration_id,
        kind: body.kind,
        run_id: body.run_id,
        trace: TraceParent::from_header(body.traceparent.as_deref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_of_the_first_version_is_read_for_ever() {
        let message = |body: &str| {
            let mut message = SqsMessage::default();
            message.body = Some(body.to_owned());
            decode(&message)
        };
        let sample = include_str!("../../../events/messages/sync-job.json");
        let job = message(sample).unwrap();
        assert_eq!((job.scope.tenant_id().as_str(), job.kind), ("t_1", SyncKind::Backfill));
        // It had no trace: one begins.
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let mut written = json(&body_of(&job).unwrap());
        assert_eq!(written["traceparent"].take(), job.trace.as_str());
        let mut first = json(sample);
        first["traceparent"].take();
        assert_eq!(written, first);
        assert!(message(&sample.replace("\"version\": 1", "\"version\": 2")).is_err());
        assert!(message("{}").is_err());
    }
}
