//! Shops' business days: what they come to, how sure we are, and what was believed of them earlier.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use shared::domain::{
    Certificate, Configuration, Currency, DayState, Figures, Location, LocationId, Minor, Transaction,
};
use shared::problem::Problem;
use shared::rest::{Answer, Call, unavailable};
use shared::store::days::{Day, DayKey, Said};

use crate::App;
use crate::webhooks::configuration;

/// A calendar shows a quarter at most.
pub(crate) const MOST_DAYS: i32 = 92;

/// Shops of a chain whose days are read side by side.
const SHOPS_AT_ONCE: usize = 8;

/// A business date of some shops.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "BusinessDate"))]
pub struct DateView {
    /// The date.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    date: Date,
    /// The moment whose belief this is, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Timestamp>,
    /// Shop by shop.
    shops: Vec<DayView>,
}

/// A shop's business day.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ShopDay"))]
pub struct DayView {
    /// The shop.
    location_id: LocationId,
    /// Counts what was said of it, from 1, without gaps. 0: it was not closed by then, and its figures are those of the
    /// transactions.
    revision: u64,
    /// When that was said.
    said_at: Option<Timestamp>,
    /// How sure we are that nothing is missing.
    state: DayState,
    /// How that was found out; absent if nobody has looked yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Certificate>,
    /// When something of it was changed that nobody has looked at yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_at: Option<Timestamp>,
    /// Sales less refunds, all included.
    net_minor: Minor,
    #[serde(flatten)]
    figures: Figures,
}

/// Days of some shops, in short.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Calendar {
    /// In the order of their dates; days of which nothing was said are left out.
    items: Vec<CalendarDay>,
}

/// A shop's business day in short.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct CalendarDay {
    /// The date.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    date: Date,
    /// The shop.
    location_id: LocationId,
    /// Counts what was said of it.
    revision: u64,
    /// How sure we are.
    state: DayState,
    /// When something of it was changed that nobody has looked at yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_at: Option<Timestamp>,
    /// Completed sales.
    sale_count: u64,
    /// Completed refunds.
    refund_count: u64,
    /// Sales less refunds, all included.
    net_minor: Minor,
    /// Of `net_minor`.
    currency: Currency,
}

/// Days that are looked at soon.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CertificatesAsked {
    /// The date.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    date: Date,
    /// In these shops.
    locations: Vec<LocationId>,
}

/// Shows a business date, as it is or as it was believed to be.
pub async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = configuration(app, call).await?;
    let date = call.path_id::<Date>("date", "business date")?;
    let mut parameters = call.parameters();
    let location = parameters.get::<LocationId>("location_id", "a location id");
    let as_of = parameters.get::<Timestamp>("as_of", "a time, RFC 3339");
    parameters.finish()?;
    let wanted = shops_of(&configuration, location.as_ref())?;
    let mut known = known_days(app, call, &configuration, (date, location.as_ref())).await?;
    let mut views = Vec::with_capacity(wanted.len());
    for shop in wanted {
        let (scope, location_id) = (call.scope.clone(), shop.id.clone());
        let known = known.remove(&shop.id).and_then(|day| Some((day.revision, day.changed_at, day.said?)));
        let key = DayKey { scope, configuration_id: configuration.id, location_id, date };
        views.push(view(app, key, shop, known, as_of));
    }
    let shops = stream::iter(views).buffered(SHOPS_AT_ONCE).try_collect().await?;
    Answer::json(StatusCode::OK, &DateView { date, as_of, shops })
}

/// A shop's day, as it is or as it was believed to be.
async fn view(
    app: &App,
    key: DayKey,
    shop: &Location,
    known: Option<(u64, Option<Timestamp>, Said)>,
    as_of: Option<Timestamp>,
) -> Result<DayView, Problem> {
    let (known, at) = match (known, as_of) {
        (Some((revision, changed_at, said)), None) => return Ok(DayView::said(shop, revision, said, changed_at)),
        (None, None) => return Ok(DayView::live(shop, key.date, now(app, &key, shop).await?, Timestamp::now())),
        (known, Some(at)) => (known, at),
    };
    let believed = believed_at(app, &key, shop, at).await?;
    let mut said = match &known {
        Some(_) => app.days.list_revisions(&key).await.map_err(|error| unavailable(&error))?,
        None => Vec::new(),
    };
    said.extend(known.map(|(revision, _, said)| (revision, said)));
    let Some((revision, said)) = said.into_iter().rfind(|(_, said)| said.at <= at) else {
        return Ok(DayView::live(shop, key.date, believed, at));
    };
    // The figures are what the transactions said then, which may have changed since the day was closed.
    let certificate = said.certificate.clone();
    let changed = (said.figures != believed).then_some(at);
    let mut view = DayView::said(shop, revision, Said { figures: believed, ..said }, changed);
    view.certificate = Some(certificate).filter(|certificate| certificate.taken_at <= at);
    Ok(view)
}

/// Lists what was said of days.
pub async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = configuration(app, call).await?;
    let mut parameters = call.parameters();
    let from = parameters.get::<Date>("from", "a date, YYYY-MM-DD");
    let to = parameters.get::<Date>("to", "a date, YYYY-MM-DD");
    let location = parameters.get::<LocationId>("location_id", "a location id");
    let to = to.unwrap_or_else(|| Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date());
    let from = from.unwrap_or_else(|| to.saturating_sub(30.days()));
    let days = from.until(to).map_or(0, |span| span.get_days());
    if !(0..MOST_DAYS).contains(&days) {
        parameters.refuse("from", format!("not later than `to`, and less than {MOST_DAYS} days before it"));
    }
    parameters.finish()?;
    let found = app.days.list(&call.scope, configuration.id, (from, to)).await.map_err(|error| unavailable(&error))?;
    let found =
        found.into_iter().filter(|day| location.as_ref().is_none_or(|location| *location == day.key.location_id));
    let in_short = |day: Day| {
        let Said { figures, certificate, .. } = day.said?;
        Some(CalendarDay {
            date: day.key.date,
            location_id: day.key.location_id,
            revision: day.revision,
            state: certificate.state,
            changed_at: day.changed_at,
            sale_count: figures.sale_count,
            refund_count: figures.refund_count,
            net_minor: figures.net(),
            currency: figures.currency,
        })
    };
    Answer::json(StatusCode::OK, &Calendar { items: found.filter_map(in_short).collect() })
}

/// Has somebody look at a day soon, one before the connection was watched, too.
pub async fn certify(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = configuration(app, call).await?;
    let date = call.path_id::<Date>("date", "business date")?;
    let mut parameters = call.parameters();
    let location = parameters.get::<LocationId>("location_id", "a location id");
    parameters.finish()?;
    let now = Timestamp::now();
    let wanted = shops_of(&configuration, location.as_ref())?;
    if wanted.iter().any(|shop| shop.day_starts_at(date) > now) {
        return Err(Problem::conflict("the day has not begun"));
    }
    for shop in &wanted {
        let (scope, location_id) = (call.scope.clone(), shop.id.clone());
        let key = DayKey { scope, configuration_id: configuration.id, location_id, date };
        app.days.ask(&key, now).await.map_err(|error| unavailable(&error))?;
    }
    let locations = wanted.into_iter().map(|shop| shop.id.clone()).collect();
    let answer = Answer::json(StatusCode::ACCEPTED, &CertificatesAsked { date, locations })?;
    let (tenant, id) = (call.scope.tenant_id(), configuration.id);
    let path = format!("/api/v1/tenants/{tenant}/pos/configurations/{id}/days/{date}");
    Ok(answer.header(http::header::LOCATION, path))
}

/// What is known of a date, by shop: one read.
async fn known_days(
    app: &App,
    call: &Call,
    configuration: &Configuration,
    (date, location): (Date, Option<&LocationId>),
) -> Result<BTreeMap<LocationId, Day>, Problem> {
    let found = match location {
        Some(location) => {
            let (scope, location_id) = (call.scope.clone(), location.clone());
            let key = DayKey { scope, configuration_id: configuration.id, location_id, date };
            app.days.find(&key).await.map(|day| day.into_iter().collect())
        }
        None => app.days.list(&call.scope, configuration.id, (date, date)).await,
    };
    let found: Vec<Day> = found.map_err(|error| unavailable(&error))?;
    Ok(found.into_iter().map(|day| (day.key.location_id.clone(), day)).collect())
}

/// What the transactions of a day come to now.
async fn now(app: &App, day: &DayKey, shop: &Location) -> Result<Figures, Problem> {
    let stored = app.transactions.of_shop_day(day).await.map_err(|error| unavailable(&error))?;
    add_up(shop, stored.iter().map(|stored| &stored.transaction))
}

/// What they were believed to come to at a moment.
async fn believed_at(app: &App, day: &DayKey, shop: &Location, at: Timestamp) -> Result<Figures, Problem> {
    let believed = app.transactions.believed(&app.days, day, at).await.map_err(|error| unavailable(&error))?;
    add_up(shop, &believed)
}

fn add_up<'t>(shop: &Location, transactions: impl IntoIterator<Item = &'t Transaction>) -> Result<Figures, Problem> {
    Figures::of(shop.currency, transactions).map_err(|error| {
        tracing::error!(location.id = %shop.id, error = %error, "a day comes to no amount of money");
        Problem::internal()
    })
}

fn shops_of<'c>(configuration: &'c Configuration, location: Option<&LocationId>) -> Result<Vec<&'c Location>, Problem> {
    let wanted = |shop: &&Location| location.is_none_or(|location| *location == shop.id);
    let shops: Vec<&Location> = configuration.locations.iter().filter(wanted).collect();
    if location.is_some() && shops.is_empty() { Err(Problem::not_found("location")) } else { Ok(shops) }
}

impl DayView {
    fn said(shop: &Location, revision: u64, said: Said, changed_at: Option<Timestamp>) -> Self {
        let Said { at, figures, certificate, .. } = said;
        Self {
            location_id: shop.id.clone(),
            revision,
            said_at: Some(at),
            state: certificate.state.clone(),
            certificate: Some(certificate),
            changed_at,
            net_minor: figures.net(),
            figures,
        }
    }

    /// A day of which nothing had been said at `at`: it was under way, or nobody watched.
    fn live(shop: &Location, date: Date, figures: Figures, at: Timestamp) -> Self {
        let until = shop.day_starts_at(date.tomorrow().unwrap_or(date)).max(at);
        Self {
            location_id: shop.id.clone(),
            revision: 0,
            said_at: None,
            state: DayState::Pending { until },
            certificate: None,
            changed_at: None,
            net_minor: figures.net(),
            figures,
        }
    }
}
