//! What the OpenAPI document says of these routes.

use http::StatusCode;
use serde_json::json;
use shared::domain::Redrive;
use shared::problem::Kind;
use shared::rest::openapi::{Description, Shapes};

use crate::Operation;
use crate::dead_letters::{Overview, RedriveBody};
use crate::health::{Alive, Readiness};
use crate::webhooks::ReceiverStatus;

/// Describes one operation.
pub fn describe(operation: Operation, shapes: &mut Shapes) -> Description {
    let described = match operation {
        Operation::Health => {
            let alive = shapes.answered::<Alive>();
            Description::new("health", "Says that somebody is there").answers(StatusCode::OK, "Somebody is", alive)
        }
        Operation::Ready => {
            let readiness = shapes.answered::<Readiness>();
            Description::new("health_ready", "Looks at everything that the service depends on, for two seconds at most")
                .answers(StatusCode::OK, "It can work, though a provider may be left alone", readiness.clone())
                .answers(StatusCode::SERVICE_UNAVAILABLE, "It cannot work, and why", readiness)
        }
        Operation::Metrics => {
            let text = json!({ "type": "string" });
            Description::new("metrics", "Shows what is counted and seen, to Prometheus; at most ten seconds old")
                .shows(StatusCode::OK, "As asked for with `Accept`", "text/plain", text.clone())
                .shows(StatusCode::OK, "", "application/openmetrics-text", text)
        }
        Operation::WebhookStatus => Description::new("webhook_status", "Shows the receiver of a provider's webhooks")
            .answers(StatusCode::OK, "It is up", shapes.answered::<ReceiverStatus>())
            .may([Kind::Unavailable]),
        Operation::ListDeadLetters => {
            Description::new("list_dead_letters", "Shows what was given up, by queue and reason")
                .answers(
                    StatusCode::OK,
                    "All of it, or as much as there is time to look at",
                    shapes.answered::<Overview>(),
                )
                .may([Kind::Unavailable])
        }
        Operation::Redrive => Description::new("redrive", "Sends messages once more to where they were given up")
            .repeatable()
            .takes(shapes.asked::<RedriveBody>())
            .answers(StatusCode::ACCEPTED, "It begins within a minute", shapes.answered::<Redrive>())
            .with_header("Location", "Where to see how far it is")
            .leads_to(
                "get_redrive",
                json!({
                    "queue": "$request.path.queue", "redrive_id": "$response.body#/id",
                }),
            )
            .may([Kind::Conflict]),
        Operation::GetRedrive => Description::new("get_redrive", "Shows how far a redrive is")
            .answers(StatusCode::OK, "The redrive", shapes.answered::<Redrive>())
            .may([Kind::Unavailable]),
    };
    described.with_header("X-Request-Id", "The id of the request, for questions about it")
}
