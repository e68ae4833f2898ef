//! The OpenAPI document, made of the tables that requests are dispatched by.
//!
//! Each function describes its operations beside the code that answers them; what all of them have in common (tokens,
//! problems, path parameters) is said here once.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{MAX_PAGE, Route};
use crate::domain::{
    ConfigurationId, DeadLetterQueue, EventId, JobId, ProviderKind, RedriveId, ReplayId, RunId, TenantId, TransactionId,
};
use crate::problem::{Body, Kind};

/// What every route can be answered before it is looked at.
const OF_THE_GATEWAY: [Kind; 4] = [Kind::BadRequest, Kind::TooManyRequests, Kind::Internal, Kind::TimedOut];
/// What every route can be answered that wants a token.
const OF_A_TOKEN: [Kind; 3] = [Kind::Unauthorized, Kind::Forbidden, Kind::NotFound];
/// What can be wrong with a body.
const OF_A_BODY: [Kind; 4] = [Kind::MalformedJson, Kind::InvalidFields, Kind::BodyTooLarge, Kind::UnsupportedMediaType];

/// What a parameter `cursor` is.
pub const CURSOR: &str = "`next_cursor` of the page before, with the same filters";

/// Something that the document cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unclear(String);

/// The shapes that operations take and answer, each defined once.
pub struct Shapes {
    asked: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Shapes {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            asked: settings().for_deserialize().into_generator(),
            answered: settings().for_serialize().into_generator(),
        }
    }

    /// What a caller sends.
    pub fn asked<T: JsonSchema>(&mut self) -> Value {
        self.asked.subschema_for::<T>().to_value()
    }

    /// What a caller gets.
    pub fn answered<T: JsonSchema>(&mut self) -> Value {
        self.answered.subschema_for::<T>().to_value()
    }

    /// All of them. A name that means one thing in a request and another in an answer is refused.
    fn finish(mut self) -> Result<Map<String, Value>, Unclear> {
        let mut all = self.answered.take_definitions(true);
        for (name, schema) in self.asked.take_definitions(true) {
            if all.get(&name).is_some_and(|known| *known != schema) {
                return Err(Unclear(format!("`{name}` is asked for in another shape than it is answered in")));
            }
            all.insert(name, schema);
        }
        Ok(all)
    }
}

/// What the document says of one operation.
#[derive(Debug, Clone)]
pub struct Description {
    id: &'static str,
    summary: &'static str,
    parameters: Vec<Value>,
    request: Option<Value>,
    answers: BTreeMap<u16, Value>,
    problems: BTreeSet<Kind>,
}

impl Description {
    /// `id` names it in generated clients.
    pub fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            parameters: Vec::new(),
            request: None,
            answers: BTreeMap::new(),
            problems: BTreeSet::from(OF_THE_GATEWAY),
        }
    }

    /// Takes a parameter of the query.
    pub fn query(mut self, name: &str, description: &str, schema: Value) -> Self {
        self.parameters.push(json!({ "name": name, "in": "query", "description": description, "schema": schema }));
        self.problems.insert(Kind::InvalidFields);
        self
    }

    /// Answers pages.
    pub fn paged(self, default: i32) -> Self {
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": default });
        self.query("limit", "How many items a page has at most", limit).query(
            "cursor",
            CURSOR,
            json!({ "type": "string", "minLength": 1 }),
        )
    }

    /// Takes `Idempotency-Key`.
    pub fn repeatable(mut self) -> Self {
        self.parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "A new one (a UUID, say) for each thing to be done: a repeat with the same key and body is \
                            answered as the first was, and not done again",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
        }));
        self.may([Kind::InvalidFields, Kind::Repeated, Kind::IdempotencyKeyReused, Kind::Unavailable])
    }

    /// Wants `If-Match`.
    pub fn matched(mut self) -> Self {
        self.parameters.push(json!({
            "name": "If-Match",
            "in": "header",
            "required": true,
            "description": "The `ETag` of what the caller has seen",
            "schema": { "type": "string", "examples": ["\"v1\""] },
        }));
        self.may([Kind::PreconditionRequired, Kind::PreconditionFailed])
    }

    /// Wants a JSON body.
    pub fn takes(self, schema: Value) -> Self {
        self.with_body(schema, true)
    }

    /// Takes a JSON body, and does without.
    pub fn may_take(self, schema: Value) -> Self {
        self.with_body(schema, false)
    }

    /// Takes a body of another media type as well.
    pub fn takes_also(mut self, media_type: &str, schema: Value) -> Self {
        if let Some(request) = &mut self.request {
            put(request, &["content", media_type], json!({ "schema": schema }));
        }
        self
    }

    fn with_body(mut self, schema: Value, is_required: bool) -> Self {
        let content = json!({ "application/json": { "schema": schema } });
        self.request = Some(json!({ "required": is_required, "content": content }));
        self.may(OF_A_BODY)
    }

    /// Answers JSON.
    pub fn answers(self, status: StatusCode, description: &str, schema: Value) -> Self {
        self.shows(status, description, "application/json", schema)
    }

    /// Answers in any media type.
    pub fn shows(mut self, status: StatusCode, description: &str, media_type: &str, schema: Value) -> Self {
        let answer = self.answers.entry(status.as_u16()).or_insert_with(|| json!({ "description": description }));
        put(answer, &["content", media_type], json!({ "schema": schema }));
        self
    }

    /// Its good answers have this header, all of those that have been described so far.
    pub fn with_header(self, name: &str, description: &str) -> Self {
        self.header(name, description, true)
    }

    /// Its good answers may have this header, all of those that have been described so far.
    pub fn may_have_header(self, name: &str, description: &str) -> Self {
        self.header(name, description, false)
    }

    fn header(mut self, name: &str, description: &str, is_required: bool) -> Self {
        let header = json!({ "description": description, "required": is_required, "schema": { "type": "string" } });
        for answer in self.answers.values_mut() {
            put(answer, &["headers", name], header.clone());
        }
        self
    }

    /// Its good answers say how `operation` can be called next.
    pub fn leads_to(mut self, operation: &str, parameters: Value) -> Self {
        for answer in self.answers.values_mut() {
            let link = json!({ "operationId": operation, "parameters": parameters });
            put(answer, &["links", operation], link);
        }
        self
    }

    /// Can end in these problems, too.
    pub fn may(mut self, problems: impl IntoIterator<Item = Kind>) -> Self {
        self.problems.extend(problems);
        self
    }
}

/// The document while it is being written.
pub struct Document {
    shapes: Shapes,
    paths: BTreeMap<String, Map<String, Value>>,
    ids: BTreeSet<&'static str>,
    /// Answers that several operations have.
    problems: Map<String, Value>,
}

impl Default for Document {
    fn default() -> Self {
        Self::new()
    }
}

impl Document {
    /// Without a route yet.
    pub fn new() -> Self {
        Self { shapes: Shapes::new(), paths: BTreeMap::new(), ids: BTreeSet::new(), problems: Map::new() }
    }

    /// Adds the routes of one function.
    pub fn add<O: Copy>(
        &mut self,
        tag: &str,
        routes: &[Route<O>],
        describe: impl Fn(O, &mut Shapes) -> Description,
    ) -> Result<(), Unclear> {
        for route in routes {
            let description = describe(route.operation, &mut self.shapes);
            if !self.ids.insert(description.id) {
                return Err(Unclear(format!("two operations are called `{}`", description.id)));
            }
            let operation = self.operation(tag, route, description)?;
            let methods = self.paths.entry(route.path.to_owned()).or_default();
            if methods.insert(route.method.to_lowercase(), operation).is_some() {
                return Err(Unclear(format!("{} {} stands twice in the tables", route.method, route.path)));
            }
        }
        Ok(())
    }

    fn operation<O>(&mut self, tag: &str, route: &Route<O>, mut description: Description) -> Result<Value, Unclear> {
        let mut parameters = Vec::new();
        for name in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            parameters.push(self.path_parameter(name)?);
            description.problems.insert(Kind::NotFound);
        }
        parameters.append(&mut description.parameters);
        if route.role.is_some() {
            description.problems.extend(OF_A_TOKEN);
        }
        let mut answers = description.answers;
        answers.extend(self.problems(&description.problems));
        let answers: Map<_, _> = answers.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect();

        let who = route.role.map_or_else(|| "Public.".to_owned(), |role| format!("Role: `{}`.", role.as_str()));
        let mut operation = json!({
            "operationId": description.id,
            "summary": description.summary,
            "description": who,
            "tags": [tag],
            "parameters": parameters,
            "responses": answers,
            "security": [],
        });
        if let Some(role) = route.role {
            put(&mut operation, &["x-required-role"], role.as_str().into());
            put(&mut operation, &["security"], json!([{ "bearer": [] }]));
        }
        if let Some(request) = description.request {
            put(&mut operation, &["requestBody"], request);
        }
        Ok(operation)
    }

    fn path_parameter(&mut self, name: &str) -> Result<Value, Unclear> {
        let shapes = &mut self.shapes;
        let (description, schema) = match name {
            "tenant_id" => ("The tenant that the token is for", shapes.asked::<TenantId>()),
            "configuration_id" => ("The configuration", shapes.asked::<ConfigurationId>()),
            "import_id" => ("The import", shapes.asked::<JobId>()),
            "remapping_id" => ("The remapping", shapes.asked::<JobId>()),
            "rebuild_id" => ("The rebuild", shapes.asked::<JobId>()),
            "item_id" => ("The till's id of the item", json!({ "type": "string", "minLength": 1, "maxLength": 1024 })),
            "event_id" => ("The delivery, by the provider's id", shapes.asked::<EventId>()),
            "run_id" => ("The run of a sync", shapes.asked::<RunId>()),
            "page" => ("The number of the page in it", json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX })),
            "replay_id" => ("The replay", shapes.asked::<ReplayId>()),
            "date" => ("The business date", json!({ "type": "string", "format": "date" })),
            "queue" => ("The queue whose messages were given up", shapes.asked::<DeadLetterQueue>()),
            "redrive_id" => ("The redrive", shapes.asked::<RedriveId>()),
            "secret_id" => ("The webhook secret", shapes.asked::<uuid::Uuid>()),
            "transaction_id" => ("The transaction", shapes.asked::<TransactionId>()),
            "pos_system" => ("The provider", shapes.asked::<ProviderKind>()),
            _ => return Err(Unclear(format!("`{name}` in a path has no description"))),
        };
        Ok(json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema }))
    }

    /// One answer for each status, with the codes that it can have here.
    fn problems(&mut self, kinds: &BTreeSet<Kind>) -> BTreeMap<u16, Value> {
        let problem = self.shapes.answered::<Body<'_>>();
        let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
        for kind in kinds {
            by_status.entry(kind.parts().0).or_default().push(*kind);
        }
        let problems = &mut self.problems;
        let answer = |(status, kinds): (u16, Vec<Kind>)| {
            let codes: BTreeSet<_> = kinds.iter().map(|kind| kind.parts().1).collect();
            let titles: BTreeSet<_> = kinds.iter().map(|kind| kind.parts().2).collect();
            let name = codes.iter().fold(status.to_string(), |name, code| format!("{name}_{code}"));
            let reference = json!({ "$ref": format!("#/components/responses/{name}") });
            let schema = json!({
                "allOf": [problem],
                "properties": { "status": { "const": status }, "code": { "enum": codes } },
            });
            let mut answer = json!({
                "description": titles.into_iter().collect::<Vec<_>>().join("; "),
                "content": { "application/problem+json": { "schema": schema } },
            });
            if kinds.iter().any(|kind| kind.retry_after().is_some()) {
                let seconds = json!({ "description": "Seconds", "schema": { "type": "integer", "minimum": 1 } });
                put(&mut answer, &["headers", "Retry-After"], seconds);
            }
            problems.insert(name, answer);
            (status, reference)
        };
        by_status.into_iter().map(answer).collect()
    }

    /// The whole document.
    pub fn finish(self) -> Result<Value, Unclear> {
        Ok(json!({
            "openapi": "3.1.0",
            "info": {
                "title": "POS integration",
                "version": "1",
                "description": "Every sale of every till, once. Errors are RFC 9457 with a stable `code`; another \
                                tenant's path is answered like one that does not exist. Amounts are integers of the \
                                currency's smallest unit, times are RFC 3339.",
            },
            "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
            "servers": [{
                "url": "https://{host}/{stage}",
                "variables": { "host": { "default": "localhost" }, "stage": { "default": "live" } },
            }],
            "paths": self.paths,
            "components": {
                "schemas": self.shapes.finish()?,
                "responses": self.problems,
                "securitySchemes": { "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Claims `iss`, `aud`, `exp`, `nbf`, `sub`, `roles` and, but for the platform's own, \
                                    `tenant_id`. Roles for a tenant: `pos:read`, `pos:write`, `pos:admin`; for the \
                                    platform: `platform:metrics`, `platform:operate`. Each contains those before it",
                } },
            },
        }))
    }
}

/// Puts a value at a path of names into an object, making the objects on the way.
fn put(object: &mut Value, path: &[&str], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    if let Some(members) = object.as_object_mut() {
        put(members.entry(*name).or_insert_with(|| json!({})), rest, value);
    }
}
