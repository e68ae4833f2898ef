//! What the OpenAPI document says of deliveries.
//!
//! This function does not dispatch by a table, because all that its routes differ in is whether the path names a
//! configuration.

use http::StatusCode;
use schemars::JsonSchema;
use serde_json::json;
use shared::problem::Kind;
use shared::rest::Route;
use shared::rest::openapi::{Description, Shapes};

/// Which door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The one that all merchants of a provider share.
    Receive,
    /// A configuration's own.
    ReceiveAtOwnUrl,
    /// The same, as Lightspeed calls a provider of its hotel interface: it appends `/charge` to the URL that was registered.
    ReceiveCharge,
}

/// All routes.
pub const ROUTES: &[Route<Operation>] = &[
    Route { method: "POST", path: "/api/v1/webhooks/{pos_system}", role: None, operation: Operation::Receive },
    Route {
        method: "POST",
        path: "/api/v1/webhooks/{pos_system}/{configuration_id}",
        role: None,
        operation: Operation::ReceiveAtOwnUrl,
    },
    Route {
        method: "POST",
        path: "/api/v1/webhooks/{pos_system}/{configuration_id}/charge",
        role: None,
        operation: Operation::ReceiveCharge,
    },
];

/// A delivery is on the queue.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the answer is a constant text; this is its shape")]
struct Accepted {
    /// Always `accepted`.
    status: String,
}

/// Describes one operation.
pub fn describe(operation: Operation, shapes: &mut Shapes) -> Description {
    let (id, summary) = match operation {
        Operation::Receive => ("receive_delivery", "Takes a provider's webhook, proven by its signature"),
        Operation::ReceiveAtOwnUrl => {
            ("receive_delivery_at_own_url", "Takes a webhook proven by a secret of the configuration")
        }
        Operation::ReceiveCharge => {
            ("receive_charge", "Takes a receipt that Lightspeed mirrors, proven by the key in its body; it only rings")
        }
    };
    // What the body looks like is the provider's business.
    Description::new(id, summary)
        .takes(json!({}))
        .answers(StatusCode::OK, "The delivery is on the queue", shapes.answered::<Accepted>())
        .may([Kind::Unauthorized, Kind::Unavailable])
}
