//! Work on many mappings, or on what a mapping changes of the past. The job itself stands in the sync-logs table.

use aws_lambda_events::sqs::SqsMessage;
use serde::{Deserialize, Serialize};

use super::{IntakeQueue, JOB, owner_of};
use crate::aws::AwsError;
use crate::domain::{ConfigurationId, JobId, TenantScope};
use crate::queue::{SendError, UnreadableMessage, attribute, attribute_of};
use crate::telemetry::TraceParent;

/// A job as it comes off the queue. It comes again until the job is done.
#[derive(Debug, Clone)]
pub struct JobMessage {
    /// Whose.
    pub scope: TenantScope,
    /// Of which connection.
    pub configuration_id: ConfigurationId,
    /// What is to be done.
    pub job: Job,
    /// The trace that it belongs to.
    pub trace: TraceParent,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", content = "id", rename_all = "snake_case")]
pub enum Job {
    /// Take mappings that were sent together.
    Import(JobId),
    /// Find out what a mapping changes of the past.
    Preview(JobId),
    /// Do what was shown.
    Apply(JobId),
    /// Find out what this release makes of the raw orders that are kept.
    PreviewRebuild(JobId),
    /// Make it so.
    ApplyRebuild(JobId),
}

impl IntakeQueue {
    /// Calls for work on a job, which must be written before.
    pub async fn send_job(
        &self,
        scope: &TenantScope,
        configuration_id: ConfigurationId,
        job: Job,
        trace: &TraceParent,
    ) -> Result<(), SendError> {
        let body = serde_json::to_string(&job).map_err(|error| AwsError::new("build a mapping job", error))?;
        let owner = format!("{}#{configuration_id}", scope.tenant_id());
        let mut request = self.client.send_message().queue_url(&self.url).message_body(body);
        for (name, value) in [("kind", JOB), ("configuration", &owner), ("traceparent", trace.as_str())] {
            request = request.message_attributes(name, attribute(value)?);
        }
        let sent = request.message_group_id(scope.tenant_id().as_str()).send().await;
        sent.map(drop).map_err(|error| AwsError::new("enqueue a mapping job", error).into())
    }
}

pub(super) fn decode(message: &SqsMessage) -> Result<JobMessage, UnreadableMessage> {
    let body = message.body.as_deref().unwrap_or_default();
    let job = serde_json::from_str(body).map_err(|error| UnreadableMessage(format!("a mapping job: {error}")))?;
    let (scope, configuration_id) = owner_of(attribute_of(message, "configuration")?)?;
    let trace = TraceParent::from_header(attribute_of(message, "traceparent").ok());
    Ok(JobMessage { scope, configuration_id, job, trace })
}
