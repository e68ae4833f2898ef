//! What transactions come to, as they are and as they were.

use jiff::Timestamp;
use shared::domain::{Figures, Location, Transaction};
use shared::problem::Problem;
use shared::rest::unavailable;
use shared::store::days::DayKey;
use shared::store::transactions::{Stored, TransactionKey, Wanted};

use crate::App;

/// Transactions that are read together: what DynamoDB reads at once.
const AT_ONCE: usize = 100;

/// What they come to now.
pub(super) async fn now(app: &App, day: &DayKey, shop: &Location) -> Result<Figures, Problem> {
    let stored = all(app, day).await?;
    add_up(shop, stored.iter().map(|stored| &stored.transaction))
}

/// What they came to at a moment, as it was believed then: the revision of each that was in force. Those that have left the
/// day since are found by what was noted before they left.
pub(super) async fn as_of(app: &App, day: &DayKey, shop: &Location, at: Timestamp) -> Result<Figures, Problem> {
    let mut stored = all(app, day).await?;
    let moved = app.days.list_moved(day).await.map_err(|error| unavailable(&error))?;
    let key = |transaction_id| TransactionKey {
        scope: day.scope.clone(),
        configuration_id: day.configuration_id,
        transaction_id,
    };
    let is_new = |id: &_| stored.iter().all(|stored: &Stored| stored.transaction.id != *id);
    let keys: Vec<TransactionKey> = moved.into_iter().filter(is_new).map(key).collect();
    for keys in keys.chunks(AT_ONCE) {
        stored.extend(app.transactions.find_many(keys).await.map_err(|error| unavailable(&error))?);
    }
    let believed = stored.iter().filter_map(|stored| stored.believed_at(at));
    let is_of_day = |it: &&Transaction| it.business_date == day.date && it.location_id == day.location_id;
    add_up(shop, believed.filter(is_of_day))
}

async fn all(app: &App, day: &DayKey) -> Result<Vec<Stored>, Problem> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let wanted = Wanted::ShopDay(day.date, &day.location_id);
        let limit = i32::try_from(AT_ONCE).unwrap_or(i32::MAX);
        let page = app.transactions.list(&day.scope, day.configuration_id, wanted, limit, after).await;
        let page = page.map_err(|error| unavailable(&error))?;
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

fn add_up<'t>(shop: &Location, transactions: impl IntoIterator<Item = &'t Transaction>) -> Result<Figures, Problem> {
    Figures::of(shop.currency, transactions).map_err(|error| {
        tracing::error!(location.id = %shop.id, error = %error, "a day comes to no amount of money");
        Problem::internal()
    })
}
