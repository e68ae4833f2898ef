//! Requests that may be repeated: `Idempotency-Key`.

use http::HeaderName;

use super::{Answer, Call, Question, is_token, unavailable};
use crate::problem::{FieldError, Problem};
use crate::store::audit::Actor;
use crate::store::configurations::CommitError;
use crate::store::coordination::{Coordination, Recall, Remembered, Repeatable};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longer than any UUID.
const MAX_KEY: usize = 255;

impl Call {
    /// Does the work once for each `Idempotency-Key`: a repeat with the same payload is answered as the first was, one
    /// with another payload is refused. The work must hand what it was given to the change that it makes, so that
    /// change and answer are stored together.
    pub async fn once(
        &self,
        coordination: &Coordination,
        work: impl AsyncFnOnce(Option<&Repeatable>) -> Result<Answer, Problem>,
    ) -> Result<Answer, Problem> {
        let Some(key) = self.idempotency_key()? else { return work(None).await };
        let operation = format!("{} {}", self.method(), self.path());
        let request = Repeatable::new(&self.scope, &operation, key, self.body());
        if let Some(answer) = recalled(coordination, &request).await? {
            return Ok(answer);
        }
        match work(Some(&request)).await {
            // Another did the same in the meantime.
            Err(problem) if problem.is_repeated() => recalled(coordination, &request).await?.ok_or(problem),
            result => result,
        }
    }

    /// Who calls, for the audit log.
    pub fn actor(&self) -> Actor {
        Actor { subject: self.subject.clone(), roles: self.roles(), request_id: self.request_id.clone() }
    }
}

impl Question {
    /// Under which key this request may be repeated. One that is no text must not pass for none: the work would be done
    /// twice.
    pub fn idempotency_key(&self) -> Result<Option<&str>, Problem> {
        if !self.has_header(KEY) {
            return Ok(None);
        }
        self.header(KEY).filter(|key| is_token(key, MAX_KEY)).map(Some).ok_or_else(|| {
            let message = format!("must be 1 to {MAX_KEY} visible ASCII characters");
            Problem::invalid_fields(vec![FieldError::new("Idempotency-Key", message)])
        })
    }
}

impl Answer {
    /// Kept for whoever repeats the request.
    pub fn remembered(&self, request: Option<&Repeatable>) -> Option<Remembered> {
        Some(request?.answered(self.status, self.headers.clone(), self.body.clone()))
    }
}

/// What a refused change of a configuration is answered.
pub fn refused_change(error: CommitError) -> Problem {
    match error {
        CommitError::Moved => Problem::conflict("the configuration was changed at the same moment: read it again"),
        CommitError::AccountTaken => Problem::conflict("this merchant is connected already"),
        CommitError::TooManyAccounts => Problem::conflict("more shops than one configuration can have: divide them"),
        CommitError::Repeated => Problem::repeated(),
        CommitError::UsedUp => Problem::invalid_state("this link was used already: ask for another one"),
        CommitError::Busy => Problem::conflict("a run has begun or ended at the same moment: ask again"),
        CommitError::Store(error) => unavailable(&error),
    }
}

async fn recalled(coordination: &Coordination, request: &Repeatable) -> Result<Option<Answer>, Problem> {
    match coordination.recall(request).await.map_err(|error| unavailable(&error))? {
        Recall::New => Ok(None),
        Recall::OtherPayload => Err(Problem::idempotency_key_reused()),
        Recall::Repeat(Remembered { status, headers, body, .. }) => {
            let answer = Answer { status, headers, media_type: "application/json", body };
            Ok(Some(answer.header(REPLAYED, "true")))
        }
    }
}

#[cfg(test)]
mod tests {
    use lambda_http::Request;
    use serde_json::Value;

    use super::*;

    fn request(key: &str) -> Request {
        let mut event: Value =
            serde_json::from_str(include_str!("../../../events/configurations-create.json")).unwrap();
        event["headers"]["Idempotency-Key"] = key.into();
        event["multiValueHeaders"]["Idempotency-Key"] = serde_json::json!([key]);
        lambda_http::request::from_str(&event.to_string()).unwrap()
    }

    #[tokio::test]
    async fn a_key_that_is_none_does_not_pass_for_an_absent_one() {
        let credentials = aws_credential_types::Credentials::new("key", "secret", None, None, "test");
        let region = aws_types::region::Region::from_static("eu-central-1");
        let config = crate::aws::config(region, credentials, Some("http://127.0.0.1:9".into())).unwrap();
        let nowhere = Coordination::new(aws_sdk_dynamodb::Client::new(&config), "coordination".into());
        for key in ["é", "two words", " ", &"x".repeat(MAX_KEY + 1)] {
            let call = Call::new(Question::new(request(key))).unwrap();
            let answer = call.once(&nowhere, async |_| panic!("worked without a key: {key:?}")).await;
            assert_eq!(answer.unwrap_err().code(), "invalid_fields", "{key:?}");
        }
    }
}
