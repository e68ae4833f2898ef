//! A new configuration: everything is checked before anything is written.

use std::collections::BTreeMap;

use http::StatusCode;
use http::header::LOCATION;
use jiff::Timestamp;
use shared::domain::{
    Configuration, ConfigurationId, ConfigurationStatus, DayStart, Environment, Health, LocationId, ProviderKind,
    ReasonCode, SyncSettings,
};
use shared::problem::Problem;
use shared::rest::{Answer, Call, Fields, is_line, refused_change};
use shared::store::configurations::Change;

use crate::{App, Repeat, connect, show, sync};

pub(crate) const MAX_NAME: usize = 100;
/// A day: whoever wants it rarer can pause.
pub(crate) const MAX_INTERVAL_MINUTES: u16 = 1440;
/// Five years.
pub(crate) const MAX_BACKFILL_DAYS: u16 = 1825;

/// What a tenant decides about a configuration. Shops are not typed in: the provider knows their zones and currencies.
pub struct Decisions {
    pub name: Option<String>,
    pub day_start: DayStart,
    pub day_starts: BTreeMap<LocationId, DayStart>,
    pub sync: SyncSettings,
    pub sold_out_enabled: bool,
}

/// Reads what [`create`] and a replacement have in common.
pub fn read_decisions(fields: &mut Fields) -> Decisions {
    let name = fields.required::<String>("name").filter(|name| {
        let is_name = is_line(name, MAX_NAME);
        if !is_name {
            fields.refuse("name", format!("is 1 to {MAX_NAME} characters without control characters"));
        }
        is_name
    });
    let day_start = fields.optional("day_start").unwrap_or_default();
    let mut day_starts = BTreeMap::new();
    if let Some(locations) = fields.optional::<Vec<LocationInput>>("locations") {
        day_starts.extend(locations.into_iter().map(|location| (location.id, location.day_start)));
    }
    let sync = fields.section("sync", read_sync).unwrap_or_default();
    // It changes what guests can order: off unless somebody wants it.
    let sold_out_enabled = fields.optional("sold_out_enabled").unwrap_or_default();
    Decisions { name, day_start, day_starts, sync, sold_out_enabled }
}

fn read_sync(fields: &mut Fields) -> SyncSettings {
    let default = SyncSettings::default();
    let mut number = |name: &str, range: std::ops::RangeInclusive<u16>, default: u16| {
        let Some(number) = fields.optional::<u16>(name) else { return default };
        if !range.contains(&number) {
            fields.refuse(name, format!("is {} to {}", range.start(), range.end()));
        }
        number
    };
    SyncSettings {
        interval_minutes: number("interval_minutes", 1..=MAX_INTERVAL_MINUTES, default.interval_minutes),
        backfill_days: number("backfill_days", 0..=MAX_BACKFILL_DAYS, default.backfill_days),
    }
}

/// A shop whose day starts at another time than the others'.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LocationInput {
    id: LocationId,
    day_start: DayStart,
}

/// What a new configuration begins with.
pub struct Wanted {
    provider: Option<ProviderKind>,
    environment: Option<Environment>,
    decisions: Decisions,
    brought: Option<Option<connect::Brought>>,
}

/// Reads the whole request.
pub fn read(fields: &mut Fields) -> Wanted {
    let provider = fields.required::<ProviderKind>("provider");
    let environment = fields.required::<Environment>("environment");
    let decisions = read_decisions(fields);
    // Their form depends on the provider; with an unknown one, any form is looked at.
    let brought = connect::read(fields, provider.unwrap_or(ProviderKind::Square));
    Wanted { provider, environment, decisions, brought }
}

/// Checks the input, asks the provider whose credentials it holds, seals them, stores the rest. Without credentials the
/// configuration waits for somebody to authorize it.
pub async fn create(app: &App, call: &Call, repeat: Repeat<'_>) -> Result<Answer, Problem> {
    let mut fields = call.fields()?;
    let Wanted { provider, environment, decisions, brought } = read(&mut fields);
    fields.finish()?;
    let (Some(provider), Some(environment), Some(name)) = (provider, environment, decisions.name) else {
        return Err(Problem::internal());
    };

    let now = Timestamp::now();
    let mut configuration = Configuration {
        id: ConfigurationId::generate(),
        provider,
        environment,
        name,
        day_start: decisions.day_start,
        day_starts: decisions.day_starts,
        sync: decisions.sync,
        sold_out_enabled: decisions.sold_out_enabled,
        merchant: None,
        locations: Vec::new(),
        status: ConfigurationStatus::Active,
        reasons: Vec::new(),
        is_paused: false,
        deletion: None,
        credentials: None,
        webhook_secrets: Vec::new(),
        epoch: 0,
        version: 0,
        created_at: now,
        updated_at: now,
        health: Health::default(),
    };
    let sealed = match brought.flatten() {
        Some(brought) => {
            let credentials = connect::connect(app, &mut configuration, brought).await?;
            connect::check_day_starts(&configuration)?;
            Some(connect::seal(app, &call.scope, &mut configuration, &credentials).await?)
        }
        None => {
            configuration.state_reason(ReasonCode::NotConnected, "nobody has connected it yet", now);
            None
        }
    };
    configuration.touch();
    configuration.created_at = configuration.updated_at;
    let location = format!("{}/{}", call.path(), configuration.id);
    let answer = show(StatusCode::CREATED, &configuration)?.header(LOCATION, location);
    let actor = call.actor();
    let change = Change {
        actor: &actor,
        action: "configuration.created",
        before: None,
        after: &configuration,
        credentials: sealed,
        webhook_secrets: None,
        generation: None,
        remember: answer.remembered(repeat),
        uses_up: None,
    };
    let begun = app.changes.commit(&call.scope, &change).await.map_err(refused_change)?;
    sync::call_workers(app, (&call.scope, &call.trace()), configuration.id, &begun).await;
    Ok(answer)
}
