//! API Gateway's REQUEST authorizer: a bearer token becomes a policy for its tenant's paths.
//!
//! The gateway keeps the policy for minutes and uses it for every path that is asked for with the same token. It is
//! therefore made of the token alone, never of the path at hand.

mod keys;
mod ring_crypto;
mod token;

use std::collections::HashMap;

use aws_sdk_secretsmanager::Client;
use keys::{Keys, PublishedKeys};
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};
use serde::{Deserialize, Serialize};
use shared::invocation::{counters, run};
use shared::secrets::Secret;
use shared::settings::Reader;
use shared::telemetry::{Line, metrics};
use token::{Claims, Verifier};

/// The gateway answers 401 to this message and 500 to any other.
const UNAUTHORIZED: &str = "Unauthorized";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method_arn: String,
    #[serde(default)]
    headers: HashMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    principal_id: String,
    policy_document: Document,
    context: HashMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    version: &'static str,
    statement: [Statement; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: &'static str,
    action: &'static str,
    resource: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init("authorizer");
    ring_crypto::install();
    let config = shared::aws::config_from_env()?;
    let (secret_id, url, (issuer, audience), counters) = Reader::from_env(|r| {
        let claims = (r.text("JWT_ISSUER"), r.text("JWT_AUDIENCE"));
        (r.text("JWKS_SECRET_ID"), r.optional("JWKS_URL"), claims, counters(&config, r))
    })?;
    let keys = match url {
        Some(url) => Keys::Url(PublishedKeys::new(&url)?),
        None => Keys::Secret(Secret::new(Client::new(&config), secret_id)),
    };
    let verifier = &Verifier::new(keys, &issuer, &audience);
    let handler = service_fn(move |event: LambdaEvent<Request>| authorize(verifier, event.payload));
    run(Runtime::new(handler), counters).await
}

async fn authorize(verifier: &Verifier, request: Request) -> Result<Policy, Error> {
    let line = Line::begin("token");
    match verifier.verify(bearer(&request.headers)).await {
        Ok(claims) => {
            line.of_tenant(&claims.tenant_id).end("authorized a token");
            policy(&request.method_arn, claims).ok_or_else(|| Error::from("unexpected method ARN"))
        }
        Err(token::Refusal::Token(reason)) => {
            metrics::denied("unauthorized");
            line.ended("denied", reason.to_string()).end("refused a token");
            Err(Error::from(UNAUTHORIZED))
        }
        Err(token::Refusal::Keys(error)) => {
            tracing::error!(error = ?error, "the verification keys could not be read");
            Err(Error::from("verification keys unavailable"))
        }
    }
}

fn bearer(headers: &HashMap<String, String>) -> Option<&str> {
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Allows every method of every route below the tenant, in this stage of this API, and nothing else.
fn policy(method_arn: &str, claims: Claims) -> Option<Policy> {
    // arn:aws:execute-api:{region}:{account}:{api}/{stage}/{method}/{path}
    let mut parts = method_arn.splitn(3, '/');
    let (api, stage) = (parts.next()?, parts.next()?);
    Some(Policy {
        policy_document: Document {
            version: "2012-10-17",
            statement: [Statement {
                effect: "Allow",
                action: "execute-api:Invoke",
                resource: format!("{api}/{stage}/*/api/v1/tenants/{}/*", claims.tenant_id),
            }],
        },
        context: HashMap::from([
            ("tenant_id", claims.tenant_id.to_string()),
            ("roles", claims.roles.join(" ")),
            ("subject", claims.sub.clone()),
        ]),
        principal_id: claims.sub,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_reaches_no_other_tenant() {
        let claims = Claims {
            sub: "user-1".into(),
            tenant_id: "t_1".parse().unwrap(),
            roles: vec!["pos:read".into(), "pos:write".into()],
        };
        let arn = "arn:aws:execute-api:eu-central-1:123456789012:abc/live/GET/api/v1/tenants/t_2/pos/transactions";
        let policy = serde_json::to_value(policy(arn, claims).unwrap()).unwrap();
        assert_eq!(
            policy["policyDocument"]["Statement"][0]["Resource"],
            "arn:aws:execute-api:eu-central-1:123456789012:abc/live/*/api/v1/tenants/t_1/*"
        );
        assert_eq!(policy["context"]["roles"], "pos:read pos:write");
    }

    #[test]
    fn the_recorded_event_is_read() {
        let request: Request = serde_json::from_str(include_str!("../../../events/authorizer.json")).unwrap();
        assert_eq!(bearer(&request.headers), Some("header.claims.signature"));
        assert!(request.method_arn.ends_with("/live/GET/api/v1/tenants/t_1/pos/transactions"));
    }

    #[test]
    fn only_a_bearer_token_is_taken() {
        let headers = |value: &str| HashMap::from([("authorization".to_owned(), value.to_owned())]);
        assert_eq!(bearer(&headers("Bearer abc")), Some("abc"));
        assert_eq!(bearer(&headers("bearer  abc ")), Some("abc"));
        for value in ["", "abc", "Basic abc"] {
            assert_eq!(bearer(&headers(value)), None);
        }
    }
}
