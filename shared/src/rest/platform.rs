//! Callers who belong to the platform and to no tenant.
//!
//! A token speaks either for a tenant or for the platform. The authorizer's policy keeps the two on their own paths; here
//! it is checked once more, so that neither depends on the other.

use lambda_http::RequestExt;
use lambda_http::request::RequestContext;

use super::{Question, Role};
use crate::problem::Problem;
use crate::telemetry::metrics;

/// A caller of the platform's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Who calls.
    pub subject: String,
}

impl Operator {
    /// Who asks this, if it is one of the platform's with this role. Anybody else is answered like on a path that does not
    /// exist.
    pub fn of(question: &Question, role: Role) -> Result<Self, Problem> {
        let RequestContext::ApiGatewayV1(context) = question.request.request_context() else {
            return Err(Problem::internal());
        };
        let granted = |name: &str| context.authorizer.fields.get(name).and_then(serde_json::Value::as_str);
        if granted("tenant_id").is_some() {
            metrics::denied("other_tenant");
            return Err(Problem::not_found("resource"));
        }
        let held: Vec<&str> = granted("roles").unwrap_or_default().split(' ').collect();
        let ladder = [Role::PlatformMetrics, Role::PlatformOperate];
        let suffices = |known: &Role| *known >= role && held.contains(&known.as_str());
        if !ladder.contains(&role) || !ladder.iter().any(suffices) {
            return Err(Problem::forbidden(role.as_str()));
        }
        Ok(Self { subject: granted("subject").unwrap_or_default().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_the_platforms_own_pass_and_each_as_far_as_its_role_goes() {
        let of = |authorizer: Value, role| {
            let mut event: Value = serde_json::from_str(include_str!("../../../events/operations.json")).unwrap();
            event["requestContext"]["authorizer"] = authorizer;
            let request = lambda_http::request::from_str(&event.to_string()).unwrap();
            Operator::of(&Question::new(request), role).map_err(|problem| problem.status())
        };
        let (metrics, operate) = (Role::PlatformMetrics, Role::PlatformOperate);
        let operator = Operator { subject: "ops-1".into() };
        let with = |roles: &str| json!({ "subject": "ops-1", "roles": roles });
        assert_eq!(of(with("platform:operate"), operate), Ok(operator.clone()));
        assert_eq!(of(with("platform:operate"), metrics), Ok(operator.clone()));
        assert_eq!(of(with("platform:metrics"), metrics), Ok(operator));
        assert_eq!(of(with("platform:metrics"), operate), Err(403));
        for roles in ["", "pos:admin", "platform", "platform:operate2"] {
            assert_eq!(of(with(roles), metrics), Err(403), "{roles}");
        }
        // No role of a tenant's is one of the platform's, whoever holds it.
        assert_eq!(of(with("pos:admin platform:operate"), Role::Admin), Err(403));
        let tenant = json!({ "subject": "user-1", "roles": "platform:operate", "tenant_id": "t_1" });
        assert_eq!(of(tenant, metrics), Err(404));
    }
}
