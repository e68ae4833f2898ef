//! When days end. Each shop that is connected has a clock, which says what day of it is closed next.

use std::time::Instant;

use futures_util::{StreamExt, stream};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use shared::domain::{Configuration, ConfigurationId, ConfigurationStatus, Location, TenantScope};
use shared::store::days::{Clock, DayKey};
use shared::telemetry::Line;

use crate::{AT_ONCE, App, CloserError};

/// When a day of a shop is closed. Days have 23 or 25 hours where clocks are changed, and that is no matter here.
pub(crate) fn closes_at(shop: &Location, date: Date, after: SignedDuration) -> Timestamp {
    shop.day_starts_at(date.tomorrow().unwrap_or(date)) + after
}

/// Winds up a clock for each shop that has none, from the day on that is under way. A configuration that is switched on
/// later gets its clocks then; what was sold before is a matter of whoever asks for it. One that fails does not hold up the
/// others: it has its turn in the next hour.
pub(crate) async fn wind_up(app: &App, deadline: Instant) -> Result<(), CloserError> {
    let (mut line, mut wound, mut looked_at, mut failed) = (Line::begin("tick"), 0, 0, 0);
    for status in [ConfigurationStatus::Active, ConfigurationStatus::Degraded] {
        let mut after = None;
        loop {
            if Instant::now() >= deadline {
                tracing::warn!(looked_at, "no time was left to wind up all clocks");
                return Ok(());
            }
            let page = app.connections.configurations.list_by_status(status, after).await?;
            let mut looks = Vec::with_capacity(page.items.len());
            for (scope, id) in &page.items {
                looks.push(wind_up_all_of(app, scope, *id));
            }
            let outcomes: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
            for outcome in outcomes {
                looked_at += 1;
                match outcome {
                    Ok(count) => wound += count,
                    Err(error) => {
                        failed += 1;
                        tracing::error!(error = ?error, "the clocks of a configuration could not be wound up");
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    line.counts = vec![("configurations", looked_at), ("wound_up", wound), ("failed", failed)];
    line.end("wound up clocks");
    Ok(())
}

/// Winds up the clocks that a configuration lacks, and says how many those were.
async fn wind_up_all_of(app: &App, scope: &TenantScope, id: ConfigurationId) -> Result<u64, CloserError> {
    let Some(configuration) = app.connections.configurations.find(scope, id).await? else { return Ok(0) };
    let (known, mut wound) = (app.days.list_clocks(scope, id).await?, 0);
    let has_none = |shop: &&Location| known.iter().all(|clock| clock.location_id != shop.id);
    for shop in configuration.locations.iter().filter(has_none) {
        let date = shop.business_date(Timestamp::now());
        let due_at = closes_at(shop, date, app.close_after);
        let (scope, location_id) = (scope.clone(), shop.id.clone());
        let clock = Clock { scope, configuration_id: id, location_id, date, due_at };
        wound += u64::from(app.days.wind_up(&clock).await?);
    }
    Ok(wound)
}

/// Asks for a look at the day that is over, then moves the clock on: a crash between the two asks once more.
pub(crate) async fn strike(app: &App, clock: &Clock) -> Result<(), CloserError> {
    let Clock { scope, configuration_id, location_id, date, .. } = clock;
    let found = app.connections.configurations.find(scope, *configuration_id).await?;
    let is_open = |configuration: &Configuration| configuration.status != ConfigurationStatus::Deleting;
    let found = found.filter(is_open);
    let Some(shop) = found.as_ref().and_then(|configuration| configuration.location(location_id)) else {
        return Ok(app.days.take_away(clock).await?);
    };
    let (scope, configuration_id, location_id) = (scope.clone(), *configuration_id, location_id.clone());
    app.days.ask(&DayKey { scope, configuration_id, location_id, date: *date }, Timestamp::now()).await?;
    let date = date.tomorrow().unwrap_or(*date);
    let next = Clock { date, due_at: closes_at(shop, date, app.close_after), ..clock.clone() };
    app.days.move_on(clock, &next).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_in_which_clocks_are_changed_is_closed_when_the_next_begins() {
        let shop: Location = serde_json::from_value(serde_json::json!({
            "id": "L1", "name": "Shop", "time_zone": "Europe/Berlin", "currency": "EUR", "day_start": "04:00",
        }))
        .unwrap();
        for (date, expected) in [
            // Of 24 hours, of 23 and of 25.
            ("2026-03-27", "2026-03-28T03:30:00Z"),
            ("2026-03-28", "2026-03-29T02:30:00Z"),
            ("2026-10-24", "2026-10-25T03:30:00Z"),
        ] {
            let at = closes_at(&shop, date.parse().unwrap(), SignedDuration::from_mins(30));
            assert_eq!(at.to_string(), expected, "{date}");
        }
    }
}
