//! API Gateway's REQUEST authorizer: a bearer token becomes a policy for its tenant's paths, or for the platform's.
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
use shared::auth::Role;
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
    resource: Vec<String>,
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
            let (speaks_for, paths) = reach(&claims);
            if paths.is_empty() {
                metrics::denied("unauthorized");
                line.ended("denied", "for no tenant, and without a role of the platform").end("refused a token");
                return Err(Error::from(UNAUTHORIZED));
            }
            line.of_tenant(speaks_for).end("authorized a token");
            policy(&request.method_arn, claims, &paths).ok_or_else(|| Error::from("unexpected method ARN"))
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

/// Whom a token speaks for, and where it leads: methods and paths. A token for a tenant leads to that tenant, whatever its
/// roles; only one for no tenant at all can lead to the platform's routes, and then role by role.
fn reach(claims: &Claims) -> (&str, Vec<String>) {
    if let Some(tenant) = &claims.tenant_id {
        return (tenant.as_str(), vec![format!("*/api/v1/tenants/{tenant}/*")]);
    }
    let has = |role: Role| claims.roles.iter().any(|held| held == role.as_str());
    let mut paths = Vec::new();
    if has(Role::PlatformMetrics) || has(Role::PlatformOperate) {
        paths.push("GET/api/v1/metrics".to_owned());
    }
    if has(Role::PlatformOperate) {
        let more = ["GET/api/v1/health/ready", "GET/api/v1/operations/*", "POST/api/v1/operations/*"];
        paths.extend(more.map(str::to_owned));
    }
    ("", paths)
}

/// Allows these paths in this stage of this API, and nothing else.
fn policy(method_arn: &str, claims: Claims, paths: &[String]) -> Option<Policy> {
    // arn:aws:execute-api:{region}:{account}:{api}/{stage}/{method}/{path}
    let mut parts = method_arn.splitn(3, '/');
    let (api, stage) = (parts.next()?, parts.next()?);
    let mut context = HashMap::from([("roles", claims.roles.join(" ")), ("subject", claims.sub.clone())]);
    context.extend(claims.tenant_id.map(|tenant| ("tenant_id", tenant.to_string())));
    Some(Policy {
        policy_document: Document {
            version: "2012-10-17",
            statement: [Statement {
                effect: "Allow",
                action: "execute-api:Invoke",
                resource: paths.iter().map(|path| format!("{api}/{stage}/{path}")).collect(),
            }],
        },
        context,
        principal_id: claims.sub,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resources and context of the policy for a token, if there is one.
    fn policy_for(tenant: Option<&str>, roles: &[&str]) -> Option<(Vec<String>, serde_json::Value)> {
        let claims = Claims {
            sub: "user-1".into(),
            tenant_id: tenant.map(|id| id.parse().unwrap()),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        };
        let arn = "arn:aws:execute-api:eu-central-1:123456789012:abc/live/GET/api/v1/tenants/t_2/pos/transactions";
        let (_, paths) = reach(&claims);
        let policy = serde_json::to_value(policy(arn, claims, &paths).unwrap()).unwrap();
        let resources = policy["policyDocument"]["Statement"][0]["Resource"].as_array().unwrap();
        let resource = |it: &serde_json::Value| {
            let start = "arn:aws:execute-api:eu-central-1:123456789012:abc/live/";
            it.as_str().unwrap().strip_prefix(start).unwrap().to_owned()
        };
        let resources: Vec<_> = resources.iter().map(resource).collect();
        (!resources.is_empty()).then(|| (resources, policy["context"].clone()))
    }

    #[test]
    fn the_policy_of_a_tenants_token_reaches_no_other_tenant_and_nothing_of_the_platform() {
        for roles in [&["pos:read", "pos:write"][..], &["platform:operate", "platform:metrics"], &[]] {
            let (resources, context) = policy_for(Some("t_1"), roles).unwrap();
            assert_eq!(resources, ["*/api/v1/tenants/t_1/*"]);
            assert_eq!(context["roles"], roles.join(" "));
            assert_eq!(context["tenant_id"], "t_1");
        }
    }

    #[test]
    fn the_policy_of_the_platforms_tokens_reaches_no_tenant_and_only_what_the_role_is_for() {
        let (resources, context) = policy_for(None, &["platform:metrics"]).unwrap();
        assert_eq!(resources, ["GET/api/v1/metrics"]);
        assert!(context.get("tenant_id").is_none());
        let (resources, _) = policy_for(None, &["platform:operate"]).unwrap();
        let (get, post) = ("GET/api/v1/operations/*", "POST/api/v1/operations/*");
        assert_eq!(resources, ["GET/api/v1/metrics", "GET/api/v1/health/ready", get, post]);
        for roles in [&[][..], &["pos:admin"], &["platform"], &["platform:*"]] {
            assert_eq!(policy_for(None, roles), None, "{roles:?}");
        }
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
