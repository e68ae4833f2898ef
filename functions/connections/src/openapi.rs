//! What the OpenAPI document says of this route.

use http::StatusCode;
use shared::problem::Kind;
use shared::rest::openapi::{Description, Shapes};

use crate::{Operation, TestReport};

/// Describes one operation.
pub fn describe(operation: Operation, shapes: &mut Shapes) -> Description {
    match operation {
        Operation::Test => {
            Description::new("test_configuration", "Asks the provider, with the stored credentials, what they permit")
                .answers(StatusCode::OK, "What the provider said", shapes.answered::<TestReport>())
                .with_header("X-Request-Id", "The id of the request, for questions about it")
                .may([Kind::Conflict, Kind::NotSupported, Kind::ProviderRefused, Kind::PermissionMissing])
                .may([Kind::ProviderFailed, Kind::Unavailable])
        }
    }
}
