//! What the OpenAPI document says of these routes.

use http::StatusCode;
use serde_json::{Value, json};
use shared::domain::{
    ConfigurationId, DeliveryOutcome, ExternalOrderId, Import, LocationId, PastJob, ProviderKind, RebuiltDay,
    RemappedDay, TransactionKind, TransactionStatus,
};
use shared::problem::Kind;
use shared::rest::openapi::{Description, Shapes};
use shared::rest::{self, Page};
use shared::store::transactions::SalesState;

use crate::Operation;
use crate::days;
use crate::lineage::LineageView;
use crate::list::{DEFAULT_PAGE, MAX_PAGE};
use crate::past;
use crate::products::unmapped::{self, Unmapped};
use crate::products::{self, ItemBody, ProductView, import, suggest};
use crate::resend::{Resend, ResendBody};
use crate::sync_page::SyncPageView;
use crate::view::TransactionView;
use crate::webhooks::detail::DeliveryView;
use crate::webhooks::replay::{self, ReplayBody, ReplayCount, ReplayView};
use crate::webhooks::scoreboard::Scoreboard;
use crate::webhooks::{self, DeliverySummary};

const SHORT_PAGE: &str = "A page; where few of many are wanted it may be short and yet have a next one";

/// Describes one operation.
pub fn describe(operation: Operation, shapes: &mut Shapes) -> Description {
    let described = describe_alone(operation, shapes);
    described.may([Kind::Unavailable]).with_header("X-Request-Id", "The id of the request, for questions about it")
}

/// What is not common to all.
fn describe_alone(operation: Operation, shapes: &mut Shapes) -> Description {
    match operation {
        Operation::List => {
            let date = || json!({ "type": "string", "format": "date" });
            let time = || json!({ "type": "string", "format": "date-time" });
            let limit = json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE });
            let how_many =
                format!("How many a page has at most; {DEFAULT_PAGE} as JSON, {MAX_PAGE} as a table or as lines");
            Description::new(
                "list_transactions",
                "Lists transactions: newest first, or, where a date or a shop is asked for, by date and shop",
            )
            .query("configuration_id", "Of this configuration only", shapes.asked::<ConfigurationId>())
            .query("provider", "Of this provider only", shapes.asked::<ProviderKind>())
            .query("location_id", "Of this shop only, by the till's id", shapes.asked::<LocationId>())
            .query("business_date", "Of this accounting day only", date())
            .query("from_date", "Of this accounting day or a later one", date())
            .query("to_date", "Of this accounting day or an earlier one", date())
            .query("from", "Opened at the till then or later, to the millisecond", time())
            .query("to", "Opened at the till then or earlier, to the millisecond", time())
            .query("kind", "Of this kind only", shapes.asked::<TransactionKind>())
            .query("status", "Of this status only", shapes.asked::<TransactionStatus>())
            .query("sales", "Only where the sales domain and we are so far", shapes.asked::<SalesState>())
            .query("flagged", "Whether its sums do not add up", json!({ "type": "boolean" }))
            .query(
                "order_id",
                "Of this order only, by the till's id; goes with `configuration_id` and `provider` only",
                shapes.asked::<ExternalOrderId>(),
            )
            .query("limit", &how_many, limit)
            .query("cursor", rest::openapi::CURSOR, json!({ "type": "string", "minLength": 1 }))
            .answers(StatusCode::OK, SHORT_PAGE, shapes.answered::<Page<TransactionView<'_>>>())
            .leads_to(
                "get_transaction",
                json!({
                    "tenant_id": "$request.path.tenant_id", "transaction_id": "$response.body#/items/0/id",
                }),
            )
            .leads_to(
                "get_lineage",
                json!({
                    "tenant_id": "$request.path.tenant_id", "transaction_id": "$response.body#/items/0/id",
                }),
            )
            .shows(StatusCode::OK, "", "text/csv", json!({ "type": "string" }))
            .shows(StatusCode::OK, "", "application/x-ndjson", json!({ "type": "string" }))
            .may_have_header("Link", "Where the next part of a table, or of lines, is (RFC 8288)")
        }
        Operation::Get => Description::new("get_transaction", "Shows a transaction and what became of it").answers(
            StatusCode::OK,
            "The transaction",
            shapes.answered::<TransactionView<'_>>(),
        ),
        Operation::GetLineage => {
            Description::new("get_lineage", "Shows what has led to each revision of a transaction, and what came of it")
                .answers(StatusCode::OK, "Its way", shapes.answered::<LineageView<'_>>())
        }
        Operation::GetSyncPage => Description::new("get_sync_page", "Shows what a page of a sync has led to").answers(
            StatusCode::OK,
            "The page",
            shapes.answered::<SyncPageView<'_>>(),
        ),
        Operation::ResendOne => {
            Description::new("resend_transaction", "Sends a transaction again that the sales domain has rejected")
                .answers(StatusCode::ACCEPTED, "It is sent within a minute", shapes.answered::<Resend>())
                .may([Kind::Conflict])
        }
        Operation::ResendMany => {
            Description::new("resend_rejected", "Counts what the sales domain has rejected, or sends it again")
                .takes(shapes.asked::<ResendBody>())
                .answers(StatusCode::OK, "So many match", shapes.answered::<Resend>())
                .answers(StatusCode::ACCEPTED, "They are sent within a minute", shapes.answered::<Resend>())
                .may([Kind::Conflict])
        }
        Operation::ListProductMappings => {
            Description::new("list_product_mappings", "Lists what a till sells, and what the tenant calls it")
                .paged(products::DEFAULT_PAGE)
                .answers(StatusCode::OK, "A page; all of it as a table with `Accept: text/csv`", {
                    shapes.answered::<Page<ProductView<'_>>>()
                })
                .shows(StatusCode::OK, "", "text/csv", json!({ "type": "string" }))
                .may([Kind::Conflict])
        }
        Operation::ImportProductMappings => {
            let table =
                "A first line with at least `item_id` and `product_id`, in any order; commas, semicolons or tabs";
            Description::new(
                "import_product_mappings",
                "Says what many items are: all of them, or none if one is wrong",
            )
            .takes(shapes.asked::<import::MappingsBody>())
            .takes_also("text/csv", json!({ "type": "string", "description": table }))
            .answers(StatusCode::ACCEPTED, "They are being written", shapes.answered::<Import>())
            .with_header("Location", "Where to see how far it is")
        }
        Operation::GetImport => Description::new("get_mapping_import", "Shows how far an import is").answers(
            StatusCode::OK,
            "The import",
            shapes.answered::<Import>(),
        ),
        Operation::GetProductMapping => Description::new("get_product_mapping", "Shows one item of a till").answers(
            StatusCode::OK,
            "The item",
            shapes.answered::<ProductView<'_>>(),
        ),
        Operation::PutProductMapping => {
            Description::new("put_product_mapping", "Says what one item is; used for new sales within half a minute")
                .takes(shapes.asked::<ItemBody>())
                .answers(StatusCode::OK, "The item", shapes.answered::<ProductView<'_>>())
        }
        Operation::ListUnmapped => {
            let limit = json!({
                "type": "integer", "minimum": 1, "maximum": rest::MAX_PAGE, "default": unmapped::DEFAULT_PAGE,
            });
            Description::new("list_unmapped", "Lists what is sold and not mapped, by the money at stake")
                .query("days", "Of the last so many days", days())
                .query("limit", "How many items at most", limit)
                .answers(StatusCode::OK, "The dearest first", shapes.answered::<Unmapped>())
        }
        Operation::ListSuggestions => {
            Description::new("list_suggestions", "Lists what items that are not mapped may be, and why")
                .paged(suggest::DEFAULT_PAGE)
                .takes(shapes.asked::<suggest::SuggestionBody>())
                .answers(StatusCode::OK, "A page", shapes.answered::<Page<suggest::Suggestion>>())
        }
        Operation::BeginRemapping => {
            Description::new("begin_remapping", "Finds out what today's mapping would change of what was sold before")
                .repeatable()
                .takes(shapes.asked::<past::DaysBody>())
                .answers(StatusCode::ACCEPTED, "It is being found out", shapes.answered::<PastJob>())
                .with_header("Location", "Where to see how far it is")
        }
        Operation::GetRemapping => Description::new("get_remapping", "Shows how far a remapping is").answers(
            StatusCode::OK,
            "The remapping",
            shapes.answered::<PastJob>(),
        ),
        Operation::ListRemappedDays => {
            Description::new("list_remapped_days", "Shows what a remapping changes, by business day and item")
                .paged(past::DEFAULT_PAGE)
                .answers(StatusCode::OK, "A page, the first day first", shapes.answered::<Page<RemappedDay>>())
        }
        Operation::ApplyRemapping => {
            Description::new("apply_remapping", "Does exactly what was shown, as new revisions of the transactions")
                .answers(StatusCode::ACCEPTED, "It is being done", shapes.answered::<PastJob>())
                .with_header("Location", "Where to see how far it is")
                .may([Kind::Conflict])
        }
        Operation::BeginRebuild => {
            Description::new("begin_rebuild", "Finds out what this release makes of the raw orders that are kept")
                .repeatable()
                .takes(shapes.asked::<past::DaysBody>())
                .answers(StatusCode::ACCEPTED, "It is being found out", shapes.answered::<PastJob>())
                .with_header("Location", "Where to see how far it is")
        }
        Operation::GetRebuild => Description::new("get_rebuild", "Shows how far a rebuild is").answers(
            StatusCode::OK,
            "The rebuild",
            shapes.answered::<PastJob>(),
        ),
        Operation::ListRebuiltDays => {
            Description::new("list_rebuilt_days", "Shows what a rebuild changes, by business day and shop")
                .paged(past::DEFAULT_PAGE)
                .answers(StatusCode::OK, "A page, the first day first", shapes.answered::<Page<RebuiltDay>>())
        }
        Operation::ApplyRebuild => {
            Description::new("apply_rebuild", "Does exactly what was shown, as new revisions of the transactions")
                .answers(StatusCode::ACCEPTED, "It is being done", shapes.answered::<PastJob>())
                .with_header("Location", "Where to see how far it is")
                .may([Kind::Conflict])
        }
        Operation::ListDeliveries => {
            let (text, time) = (json!({ "type": "string" }), json!({ "type": "string", "format": "date-time" }));
            Description::new("list_webhook_deliveries", "Lists what has come by webhook, newest first")
                .query("outcome", "Ended like this only", shapes.asked::<DeliveryOutcome>())
                .query("code", "For this reason only", text.clone())
                .query("event_type", "Of this type only, in the provider's words", text)
                .query("from", "Arrived then or later", time.clone())
                .query("to", "Arrived then or earlier", time)
                .paged(webhooks::DEFAULT_PAGE)
                .answers(StatusCode::OK, SHORT_PAGE, shapes.answered::<Page<DeliverySummary<'_>>>())
        }
        Operation::GetScoreboard => Description::new(
            "get_webhook_scoreboard",
            "Shows which sales webhooks announced, and how late they were known",
        )
        .query("days", "Of the last so many business dates", days())
        .answers(StatusCode::OK, "Shop by shop and day by day", shapes.answered::<Scoreboard>()),
        Operation::GetDelivery => Description::new("get_webhook_delivery", "Shows a delivery, step by step").answers(
            StatusCode::OK,
            "The delivery",
            shapes.answered::<DeliveryView<'_>>(),
        ),
        Operation::GetDeliveryBody => {
            let as_it_came = json!({ "description": "What the provider has sent; it may name people" });
            Description::new("get_webhook_delivery_body", "Shows a delivery as it came; who does is written down")
                .answers(StatusCode::OK, "The body", as_it_came)
                .may([Kind::Conflict])
        }
        Operation::ReplayOne => {
            Description::new("replay_webhook_delivery", "Works on a delivery once more: its order is read again")
                .repeatable()
                .answers(StatusCode::ACCEPTED, "It is being worked on", shapes.answered::<ReplayView<'_>>())
                .with_header("Location", "Where to see how far it is")
                .may([Kind::Conflict, Kind::ProviderRefused])
        }
        Operation::ReplayMany => {
            let summary = "Counts deliveries that have ended in one way, or works on them once more";
            let accepted = format!("They are being worked on, {} at most", replay::MOST);
            Description::new("replay_webhook_deliveries", summary)
                .repeatable()
                .takes(shapes.asked::<ReplayBody>())
                .answers(StatusCode::ACCEPTED, &accepted, shapes.answered::<ReplayView<'_>>())
                .with_header("Location", "Where to see how far it is")
                .answers(StatusCode::OK, "So many match", shapes.answered::<ReplayCount>())
                .may([Kind::Conflict, Kind::ProviderRefused])
        }
        Operation::ListDays => {
            let date = || json!({ "type": "string", "format": "date" });
            Description::new("list_days", "Lists what was said of shops' business days, in short")
                .query("from", "From this date on; thirty days before `to` if absent", date())
                .query("to", "Up to this date; today if absent", date())
                .query("location_id", "Of this shop only", shapes.asked::<LocationId>())
                .answers(StatusCode::OK, "The days", shapes.answered::<days::Calendar>())
        }
        Operation::GetDay => {
            let at = json!({ "type": "string", "format": "date-time" });
            Description::new("get_day", "Shows what a business date comes to, and how sure we are")
                .query("location_id", "Of this shop only", shapes.asked::<LocationId>())
                .query("as_of", "As it was believed at this moment", at)
                .answers(StatusCode::OK, "The date, shop by shop", shapes.answered::<days::DateView>())
        }
        Operation::CertifyDay => {
            Description::new("certify_day", "Has a business date compared with what the provider says, soon")
                .query("location_id", "Of this shop only", shapes.asked::<LocationId>())
                .answers(StatusCode::ACCEPTED, "It is looked at soon", shapes.answered::<days::CertificatesAsked>())
                .with_header("Location", "Where to see what came of it")
                .may([Kind::Conflict])
        }
        Operation::GetReplay => Description::new("get_webhook_replay", "Shows how far a replay is").answers(
            StatusCode::OK,
            "The replay",
            shapes.answered::<ReplayView<'_>>(),
        ),
    }
}

fn days() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": unmapped::MAX_DAYS, "default": unmapped::DEFAULT_DAYS })
}
