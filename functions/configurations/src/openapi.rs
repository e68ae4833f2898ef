//! What the OpenAPI document says of these routes.
//!
//! Requests are read field by field, so that everything that is wrong is answered at once. The shapes below say the
//! same for a reader of the document; a test holds the two together.

use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::domain::{ConfigurationStatus, DayStart, Environment, LocationId, ProviderKind, RunId, SyncKind};
use shared::problem::Kind;
use shared::rest::Page;
use shared::rest::openapi::{Description, Shapes};
use shared::store::audit::{AuditRow, Verification};

use crate::Operation;
use crate::authorize::Authorization;
use crate::connect::{MAX_RESTAURANTS, MAX_TOKEN};
use crate::create::{MAX_BACKFILL_DAYS, MAX_INTERVAL_MINUTES, MAX_NAME};
use crate::list::DEFAULT_PAGE;
use crate::sync;
use crate::sync_view::{CancelledView, RunView, StatusView};
use crate::view::ConfigurationView;
use crate::webhook_secrets::{MAX_LABEL, MAX_OVERLAP_HOURS, MAX_URL};

/// One line: something visible, and no control character.
const LINE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";
/// A day, without a time of day.
const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";
/// Visible ASCII characters.
const TOKEN: &str = "^[!-~]+$";

/// A new configuration. Without credentials it waits for somebody to authorize it.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the shape of what `create` reads")]
enum NewConfiguration {
    Tokens(New<TokenProvider, Tokens>),
    Login(New<LoginProvider, Login>),
}

/// A new configuration at a provider of one kind.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "New{P}Configuration")]
#[expect(dead_code, reason = "the shape of what `create` reads")]
struct New<P, C> {
    provider: P,
    environment: Environment,
    /// What the tenant calls it.
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = LINE))]
    name: String,
    /// When the accounting day of its shops starts.
    day_start: Option<DayStart>,
    /// Shops whose day starts at another time.
    locations: Option<Vec<LocationDayStart>>,
    sync: Option<NewSyncSettings>,
    /// Whether the sales domain may say at the till what is sold out; not, if absent.
    sold_out_enabled: Option<bool>,
    credentials: Option<C>,
}

/// A provider that a person has tokens of.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum TokenProvider {
    Square,
    Lightspeed,
}

/// A provider that a person has a login at.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum LoginProvider {
    Toast,
}

/// What a tenant decides about a configuration, as a whole. What is absent returns to its default; credentials stay.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what `replace` reads")]
struct ReplacedConfiguration {
    /// What the tenant calls it.
    #[schemars(length(min = 1, max = MAX_NAME), regex(pattern = LINE))]
    name: String,
    /// When the accounting day of its shops starts.
    day_start: Option<DayStart>,
    /// Shops whose day starts at another time.
    locations: Option<Vec<LocationDayStart>>,
    sync: Option<NewSyncSettings>,
    /// Whether the sales domain may say at the till what is sold out; not, if absent.
    sold_out_enabled: Option<bool>,
    credentials: Option<NewCredentials>,
}

/// How often it is read, and how far back.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what `create` reads")]
struct NewSyncSettings {
    /// Minutes between two incremental runs while webhooks are neither complete nor missed; 15 if absent.
    #[schemars(range(min = 1, max = MAX_INTERVAL_MINUTES))]
    interval_minutes: Option<u16>,
    /// Days that are read back when the merchant is connected; 90 if absent. A connection that is there already asks for
    /// a backfill instead.
    #[schemars(range(min = 0, max = MAX_BACKFILL_DAYS))]
    backfill_days: Option<u16>,
}

/// A run to begin.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the shape of what `sync` reads")]
enum NewRun {
    Incremental(NewIncremental),
    Backfill(NewBackfill),
    Repair(NewRepair),
    Catalog(NewCatalog),
}

/// What has changed since the last one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what `sync` reads")]
struct NewIncremental {
    kind: IncrementalKind,
    /// All shops, if absent.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    locations: Option<Vec<LocationId>>,
}

/// Accounting days of the past, newest first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what `sync` reads")]
struct NewBackfill {
    kind: BackfillKind,
    /// The oldest day, 1825 days before `to` at most.
    #[schemars(extend("format" = "date", "pattern" = DATE))]
    from: String,
    /// The newest day, included. Not in the future.
    #[schemars(extend("format" = "date", "pattern" = DATE))]
    to: String,
    /// All shops, if absent.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    locations: Option<Vec<LocationId>>,
}

/// One accounting day once more, and what was changed of it later.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what `sync` reads")]
struct NewRepair {
    kind: RepairKind,
    /// Which. Not in the future.
    #[schemars(extend("format" = "date", "pattern" = DATE))]
    day: String,
    /// All shops, if absent.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    locations: Option<Vec<LocationId>>,
}

/// What is sold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what `sync` reads")]
struct NewCatalog {
    kind: CatalogKind,
}

macro_rules! only_word {
    ($name:ident, $word:ident) => {
        #[derive(Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        enum $name {
            $word,
        }
    };
}

only_word!(IncrementalKind, Incremental);
only_word!(BackfillKind, Backfill);
only_word!(RepairKind, Repair);
only_word!(CatalogKind, Catalog);

/// Which runs are not wanted any more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what `sync` reads")]
struct UnwantedRuns {
    /// All that are under way, if absent.
    kind: Option<SyncKind>,
}

/// A shop whose day starts at another time than the others'.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what `create` reads")]
struct LocationDayStart {
    id: LocationId,
    day_start: DayStart,
}

/// What a person brings: tokens for Square and Lightspeed, a login for Toast.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the shape of what `connect` reads")]
enum NewCredentials {
    Tokens(Tokens),
    Login(Login),
}

/// Tokens that a person has, for Square and Lightspeed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what `connect` reads")]
struct Tokens {
    #[schemars(length(min = 1, max = MAX_TOKEN), regex(pattern = TOKEN), extend("writeOnly" = true))]
    access_token: String,
    /// With it we renew the access token in time.
    #[schemars(length(min = 1, max = MAX_TOKEN), regex(pattern = TOKEN), extend("writeOnly" = true))]
    refresh_token: Option<String>,
    /// When the access token ends.
    expires_at: Option<Timestamp>,
}

/// A login at Toast.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what `connect` reads")]
struct Login {
    #[schemars(length(min = 1, max = MAX_TOKEN), regex(pattern = TOKEN))]
    client_id: String,
    #[schemars(length(min = 1, max = MAX_TOKEN), regex(pattern = TOKEN), extend("writeOnly" = true))]
    client_secret: String,
    /// The GUIDs of the restaurants, which Toast does not list.
    #[schemars(length(max = MAX_RESTAURANTS))]
    restaurants: Vec<LocationId>,
}

/// A secret that proves deliveries to the configuration's own webhook URL.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what `webhook_secrets` reads")]
struct NewWebhookSecret {
    #[schemars(length(min = 1, max = MAX_TOKEN), regex(pattern = TOKEN), extend("writeOnly" = true))]
    secret: String,
    /// What the tenant calls it.
    #[schemars(length(min = 1, max = MAX_LABEL), regex(pattern = LINE))]
    label: Option<String>,
    /// From when it counts; at once, if absent.
    not_before: Option<Timestamp>,
    /// The URL as the provider signs it, if not the configuration's own.
    #[schemars(length(max = MAX_URL), regex(pattern = "^https://[!-~]*$"))]
    notification_url: Option<String>,
    /// After how many hours the older secrets end; they stay, if absent.
    #[schemars(range(max = MAX_OVERLAP_HOURS))]
    overlap_hours: Option<u32>,
}

/// Describes one operation.
pub fn describe(operation: Operation, shapes: &mut Shapes) -> Description {
    let described = match operation {
        Operation::List => Description::new("list_configurations", "Lists configurations, oldest first")
            .query("provider", "Of this provider only", shapes.asked::<ProviderKind>())
            .query("status", "With this status only", shapes.asked::<ConfigurationStatus>())
            .paged(DEFAULT_PAGE)
            .answers(StatusCode::OK, "A page", shapes.answered::<Page<ConfigurationView<'_>>>()),
        Operation::Create => {
            let described = Description::new("create_configuration", "Connects a till, now or later")
                .takes(shapes.asked::<NewConfiguration>())
                .repeatable()
                .may(OF_A_PROVIDER);
            let described = shown(described, StatusCode::CREATED, "The new configuration", shapes);
            let described = described.with_header("Location", "Where it is");
            let next = ["get_configuration", "replace_configuration", "delete_configuration", "pause_configuration"];
            let then = ["resume_configuration", "authorize_configuration", "add_webhook_secret", "test_configuration"];
            let reads = ["begin_sync", "get_sync_status", "cancel_sync", "list_product_mappings"];
            next.into_iter()
                .chain(then)
                .chain(reads)
                .fold(described, |described, next| described.leads_to(next, of_body(next)))
        }
        Operation::Get => shown(
            Description::new("get_configuration", "Shows a configuration and how it fares"),
            StatusCode::OK,
            "The configuration",
            shapes,
        ),
        Operation::Replace => {
            let described = Description::new("replace_configuration", "Replaces what a tenant decides")
                .takes(shapes.asked::<ReplacedConfiguration>())
                .matched()
                .may(OF_A_PROVIDER);
            shown(described, StatusCode::OK, "The configuration, changed", shapes)
        }
        Operation::Delete => {
            let summary = "Removes a configuration with all that belongs to it, step by step";
            let described = Description::new("delete_configuration", summary).matched();
            let described = shown(described, StatusCode::ACCEPTED, "The removal has begun", shapes);
            described.with_header("Location", "Where its progress is shown, until it is gone")
        }
        Operation::Pause => switched("pause_configuration", "Wants no sales until resumed", shapes),
        Operation::Resume => switched("resume_configuration", "Wants sales again", shapes),
        Operation::Authorize => {
            Description::new("authorize_configuration", "Asks for the URL at which the merchant agrees")
                .answers(StatusCode::OK, "Where the merchant agrees", shapes.answered::<Authorization>())
                .may([Kind::Conflict, Kind::NotSupported])
        }
        Operation::Callback => {
            Description::new("come_back", "Takes the merchant's browser back from the provider's page")
                .query("state", "What we have sent along", json!({ "type": "string" }))
                .query("code", "What the provider gives; absent if the merchant refused", json!({ "type": "string" }))
                .shows(StatusCode::OK, "A page for a person", "text/html", json!({ "type": "string" }))
                .may([Kind::InvalidState])
                .may(OF_A_PROVIDER)
        }
        Operation::AddWebhookSecret => {
            let described = Description::new("add_webhook_secret", "Adds a webhook secret; the older ones still count")
                .takes(shapes.asked::<NewWebhookSecret>())
                .repeatable()
                .may([Kind::Conflict]);
            let described = shown(described, StatusCode::CREATED, "The configuration, with the secret's id", shapes);
            described.with_header("Location", "The secret").leads_to(
                "remove_webhook_secret",
                json!({
                    "tenant_id": "$request.path.tenant_id",
                    "configuration_id": "$response.body#/id",
                    "secret_id": "$response.body#/webhook_secrets/0/id",
                }),
            )
        }
        Operation::RemoveWebhookSecret => {
            let described = Description::new("remove_webhook_secret", "Removes a webhook secret at once");
            shown(described, StatusCode::OK, "The configuration without it", shapes).may([Kind::Conflict])
        }
        Operation::BeginSync => {
            let summary = "Begins a run of the sync; while it is under way, the same request is answered with it";
            Description::new("begin_sync", summary)
                .takes(shapes.asked::<NewRun>())
                .repeatable()
                .may([Kind::Conflict, Kind::ProviderRefused])
                .answers(StatusCode::ACCEPTED, "The run", shapes.answered::<RunView<'_>>())
                .with_header("Location", "Where its progress is shown")
                .leads_to("get_sync_status", of_configuration())
                .leads_to("cancel_sync", of_configuration())
        }
        Operation::SyncStatus => {
            Description::new("get_sync_status", "Shows runs, the newest first, and how complete each shop is")
                .query("run_id", "This run only, under way or ended", shapes.asked::<RunId>())
                .paged(sync::DEFAULT_PAGE)
                .answers(StatusCode::OK, "How it is", shapes.answered::<StatusView<'_>>())
        }
        Operation::CancelSync => {
            Description::new("cancel_sync", "Ends runs after the page that they are reading; what was read stays")
                .may_take(shapes.asked::<UnwantedRuns>())
                .repeatable()
                .may([Kind::Conflict])
                .answers(StatusCode::ACCEPTED, "What is being ended", shapes.answered::<CancelledView<'_>>())
                .with_header("Location", "Where their end is shown")
                .leads_to("get_sync_status", of_configuration())
        }
        Operation::ListAudit => Description::new("list_audit_log", "Lists who changed what, newest first")
            .paged(DEFAULT_PAGE)
            .answers(StatusCode::OK, "A page", shapes.answered::<Page<AuditRow>>()),
        Operation::VerifyAudit => Description::new("verify_audit_log", "Checks the audit log's chain of hashes")
            .answers(StatusCode::OK, "Whether it holds", shapes.answered::<Verification>()),
    };
    described.may([Kind::Unavailable]).with_header("X-Request-Id", "The id of the request, for questions about it")
}

/// What becomes of asking a provider.
const OF_A_PROVIDER: [Kind; 5] =
    [Kind::Conflict, Kind::NotSupported, Kind::ProviderRefused, Kind::PermissionMissing, Kind::ProviderFailed];

fn shown(described: Description, status: StatusCode, description: &str, shapes: &mut Shapes) -> Description {
    described
        .answers(status, description, shapes.answered::<ConfigurationView<'_>>())
        .with_header("ETag", "The version, for `If-Match`")
}

fn switched(id: &'static str, summary: &'static str, shapes: &mut Shapes) -> Description {
    let described = Description::new(id, summary).repeatable().may([Kind::Conflict]);
    shown(described, StatusCode::OK, "The configuration", shapes)
}

/// How an answer leads to another operation on the same configuration.
fn of_configuration() -> Value {
    json!({ "tenant_id": "$request.path.tenant_id", "configuration_id": "$request.path.configuration_id" })
}

/// How the answer to `create_configuration` leads to another operation.
fn of_body(next: &str) -> Value {
    let (tenant, configuration) = ("$request.path.tenant_id", "$response.body#/id");
    if ["replace_configuration", "delete_configuration"].contains(&next) {
        let seen = "$response.header.ETag";
        json!({ "tenant_id": tenant, "configuration_id": configuration, "header.If-Match": seen })
    } else {
        json!({ "tenant_id": tenant, "configuration_id": configuration })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::rest::Fields;

    use super::*;
    use crate::{connect, create, webhook_secrets};

    /// Every field of an object's schema by its pointer, and whether it must be there.
    fn fields_of(schema: &Value, root: &Value, path: &str, found: &mut BTreeMap<String, bool>) {
        if let Some(name) = schema["$ref"].as_str() {
            return fields_of(root.pointer(&name[1..]).unwrap(), root, path, found);
        }
        // An optional object is `anyOf` it and null.
        for inner in schema["anyOf"].as_array().into_iter().flatten() {
            fields_of(inner, root, path, found);
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            assert_eq!(schema["additionalProperties"], false, "{path}");
            let pointer = format!("{path}/{name}");
            let is_required = schema["required"].as_array().is_some_and(|names| names.contains(&name.as_str().into()));
            fields_of(inner, root, &pointer, found);
            found.insert(pointer, is_required);
        }
    }

    fn documented<T: JsonSchema>() -> BTreeMap<String, bool> {
        let schema = schemars::schema_for!(T).to_value();
        let mut found = BTreeMap::new();
        fields_of(&schema, &schema, "", &mut found);
        found
    }

    #[test]
    fn the_document_names_the_fields_that_are_read() {
        let mut new = Fields::asked_by(|fields| {
            create::read(fields);
        });
        let mut replaced = Fields::asked_by(|fields| {
            create::read_decisions(fields);
            connect::read(fields, ProviderKind::Square);
        });
        // The login of another provider is read in the same place.
        let login = Fields::asked_by(|fields| {
            connect::read(fields, ProviderKind::Toast);
        });
        new.extend(login.clone());
        replaced.extend(login);
        assert_eq!(documented::<NewConfiguration>(), new);
        assert_eq!(documented::<ReplacedConfiguration>(), replaced);
        let secret = Fields::asked_by(|fields| {
            webhook_secrets::read(fields);
        });
        assert_eq!(documented::<NewWebhookSecret>(), secret);
        let run = Fields::asked_by(|fields| {
            let today = "2026-11-28".parse().unwrap();
            sync::read(fields, today);
            for kind in SyncKind::ALL {
                sync::read_kind(fields, kind, today);
            }
        });
        assert_eq!(documented::<NewRun>(), run);
        let unwanted = Fields::asked_by(|fields| {
            sync::read_cancel(fields);
        });
        assert_eq!(documented::<UnwantedRuns>(), unwanted);
    }
}
