//! What the doorbell is worth: shop by shop and day by day, which sales a webhook announced and how late we knew of them.
//!
//! It is counted when somebody asks, from the first revisions of what was sold: no delivery pays for a counter, and a
//! delivery that never came can be counted only so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use shared::domain::{Configuration, Doorbell, LocationId, Sighting, SyncKind, doorbell_of, permille};
use shared::problem::Problem;
use shared::rest::{Answer, Call, unavailable};
use shared::store::transactions::Wanted;

use crate::App;
use crate::products::unmapped::Days;

/// Transactions that are read together.
const READ: i32 = 100;
/// The gateway waits 29 seconds, the function 25; days that were counted until then are answered.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the doorbell of a configuration is worth.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "WebhookScoreboard"))]
pub struct Scoreboard {
    /// Sales that happened before are not counted: nobody could announce them.
    connected_at: Timestamp,
    /// About when the last delivery was worked on, whatever it was about.
    last_delivery_at: Option<Timestamp>,
    /// Whether all days that were asked for are counted; else there was no time for the oldest.
    complete: bool,
    /// Of all shops and days together.
    total: Share,
    /// The shops that have sold, or are read.
    shops: Vec<Shop>,
}

/// How many sales were announced.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "AnnouncedShare"))]
struct Share {
    /// Sales that a delivery told us of first.
    announced: u32,
    /// Sales that a sync had to find.
    found: u32,
    /// Announced ones of a thousand; null without sales.
    announced_permille: Option<u32>,
}

/// One shop.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ShopScore"))]
struct Shop {
    location_id: LocationId,
    /// Up to then a sync has proven that nothing is missing, whatever the doorbell says.
    proven_until: Option<Timestamp>,
    #[serde(flatten)]
    total: Share,
    /// Its days with sales, the newest first.
    days: Vec<Day>,
}

/// One shop on one business date.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ShopDayScore"))]
struct Day {
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    date: Date,
    /// Announced ones of a thousand; null without sales.
    announced_permille: Option<u32>,
    #[serde(flatten)]
    doorbell: Doorbell,
}

impl Share {
    fn add(&mut self, doorbell: &Doorbell) {
        self.announced = self.announced.saturating_add(doorbell.announced.sales);
        self.found = self.found.saturating_add(doorbell.found.sales);
        self.announced_permille = permille(self.announced, self.found);
    }
}

/// Answers what the doorbell is worth.
pub async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    let configuration = super::configuration(app, call).await?;
    let mut parameters = call.parameters();
    let Days(days) = parameters.get("days", Days::EXPECTED).unwrap_or_default();
    parameters.finish()?;
    let lane = app.sync_logs.find_lane(&call.scope, configuration.id, SyncKind::Incremental).await;
    let proven = lane.map_err(|error| unavailable(&error))?.map(|lane| lane.watermarks).unwrap_or_default();
    let (deadline, newest) = (Instant::now() + PATIENCE, newest_day(&configuration));
    let mut shops: BTreeMap<LocationId, Vec<Day>> =
        configuration.locations.iter().map(|shop| (shop.id.clone(), Vec::new())).collect();
    let mut complete = true;
    for back in 0..i64::from(days) {
        let date = newest.saturating_sub(back.days());
        let Some(sightings) = sightings(app, call, &configuration, date, deadline).await? else {
            complete = false;
            break;
        };
        for (shop, sightings) in sightings {
            let doorbell = doorbell_of(sightings, configuration.created_at);
            if let Some(announced_permille) = doorbell.announced_permille() {
                let day = Day { date, announced_permille: Some(announced_permille), doorbell };
                shops.entry(shop).or_default().push(day);
            }
        }
    }
    let mut total = Share::default();
    let shops = shops.into_iter().map(|(location_id, days)| {
        let mut of_shop = Share::default();
        for day in &days {
            of_shop.add(&day.doorbell);
            total.add(&day.doorbell);
        }
        Shop { proven_until: proven.get(&location_id).copied(), location_id, total: of_shop, days }
    });
    let shops = shops.collect();
    Answer::json(
        StatusCode::OK,
        &Scoreboard {
            connected_at: configuration.created_at,
            last_delivery_at: configuration.health.last_webhook_at,
            complete,
            total,
            shops,
        },
    )
}

/// The business date that has begun last, somewhere.
fn newest_day(configuration: &Configuration) -> Date {
    let now = Timestamp::now();
    let days = configuration.locations.iter().map(|shop| shop.business_date(now));
    days.max().unwrap_or_else(|| now.to_zoned(jiff::tz::TimeZone::UTC).date())
}

/// How we came to know of a day's sales, shop by shop. `None`: there was no time for all of them.
async fn sightings(
    app: &App,
    call: &Call,
    configuration: &Configuration,
    date: Date,
    deadline: Instant,
) -> Result<Option<BTreeMap<LocationId, Vec<Sighting>>>, Problem> {
    let (mut found, mut after) = (BTreeMap::<LocationId, Vec<Sighting>>::new(), None);
    loop {
        if Instant::now() >= deadline {
            return Ok(None);
        }
        let page = app.transactions.list(&call.scope, configuration.id, Wanted::Day(date), READ, after).await;
        let page = page.map_err(|error| unavailable(&error))?;
        for stored in &page.items {
            let first = stored.history.first();
            let seen = first.and_then(|first| Sighting::of(&stored.transaction, &first.cause, first.at));
            if let Some(sighting) = seen {
                found.entry(stored.transaction.location_id.clone()).or_default().push(sighting);
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(Some(found));
        }
    }
}
