//! What the OpenAPI document says of these routes.

use http::StatusCode;
use serde_json::json;
use shared::domain::{ConfigurationId, ExternalOrderId};
use shared::problem::Kind;
use shared::rest::Page;
use shared::rest::openapi::{Description, Shapes};

use crate::Operation;
use crate::list::DEFAULT_PAGE;
use crate::products::{self, ProductView};
use crate::view::TransactionView;

/// Describes one operation.
pub fn describe(operation: Operation, shapes: &mut Shapes) -> Description {
    let described = match operation {
        Operation::List => {
            Description::new("list_transactions", "Lists transactions, newest first for each configuration")
                .query("configuration_id", "Of this configuration only", shapes.asked::<ConfigurationId>())
                .query("business_date", "Of this accounting day only", json!({ "type": "string", "format": "date" }))
                .query("order_id", "Of this order only, by the till's id", shapes.asked::<ExternalOrderId>())
                .paged(DEFAULT_PAGE)
                .answers(StatusCode::OK, "A page", shapes.answered::<Page<TransactionView<'_>>>())
                .leads_to(
                    "get_transaction",
                    json!({
                        "tenant_id": "$request.path.tenant_id", "transaction_id": "$response.body#/items/0/id",
                    }),
                )
        }
        Operation::Get => Description::new("get_transaction", "Shows a transaction and what became of it").answers(
            StatusCode::OK,
            "The transaction",
            shapes.answered::<TransactionView<'_>>(),
        ),
        Operation::ListProductMappings => {
            Description::new("list_product_mappings", "Lists what a till sells, as its catalogue says")
                .paged(products::DEFAULT_PAGE)
                .answers(StatusCode::OK, "A page", shapes.answered::<Page<ProductView<'_>>>())
        }
    };
    described.may([Kind::Unavailable]).with_header("X-Request-Id", "The id of the request, for questions about it")
}
