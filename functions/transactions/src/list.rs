//! A tenant's transactions, connection by connection, newest first in each.

use std::str::FromStr;

use http::StatusCode;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use shared::domain::{ConfigurationId, ExternalOrderId};
use shared::problem::Problem;
use shared::rest::{Answer, Call, Cursors, Page, unavailable};
use shared::store::transactions::{self, RejectedPosition, Stored, TransactionKey, Wanted};

use crate::view::TransactionView;
use crate::{App, asked_configurations};

pub(crate) const DEFAULT_PAGE: i32 = 50;

/// In which connection, and after which transaction of it, the next page starts.
#[derive(Serialize, Deserialize)]
struct Position {
    configuration: ConfigurationId,
    after: Option<After>,
}

#[derive(Serialize, Deserialize)]
enum After {
    Listed(transactions::Position),
    Rejected(RejectedPosition),
}

/// Those that the sales domain cannot take.
struct Rejected;

impl FromStr for Rejected {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "rejected" { Ok(Self) } else { Err(()) }
    }
}

/// One page.
pub async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let mut parameters = call.parameters();
    let configuration_id = parameters.get::<ConfigurationId>("configuration_id", "a UUID");
    let business_date = parameters.get::<Date>("business_date", "a date, YYYY-MM-DD");
    let order_id = parameters.get::<ExternalOrderId>("order_id", "the till's id of an order");
    let rejected = parameters.get::<Rejected>("sales", "`rejected`");
    if rejected.is_some() && (business_date.is_some() || order_id.is_some()) {
        parameters.refuse("sales", "goes with `configuration_id` only");
    }
    let limit = parameters.limit(DEFAULT_PAGE);
    let key = app.cursor_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, {
        format!("transactions {configuration_id:?} {business_date:?} {}", rejected.is_some())
    });
    let mut position = parameters.cursor::<Position>(&cursors);
    parameters.finish()?;

    let mut open = asked_configurations(app, call, configuration_id).await?;
    if let Some(order) = &order_id {
        let found = find_order(app, call, &open, order).await?;
        return answer(&found, None);
    }
    if let Some(position) = &position {
        open.retain(|id| *id >= position.configuration);
    }
    let mut found: Vec<Stored> = Vec::new();
    for configuration in open {
        let wanted = limit - i32::try_from(found.len()).unwrap_or(limit);
        if wanted == 0 {
            let next = cursors.write(&Position { configuration, after: None })?;
            return answer(&found, Some(next));
        }
        let after = position.take().filter(|at| at.configuration == configuration).and_then(|at| at.after);
        let (items, next) = if rejected.is_some() {
            let after = after.and_then(|after| if let After::Rejected(at) = after { Some(at) } else { None });
            let page = app.transactions.list_rejected(&call.scope, configuration, wanted, after).await;
            let page = page.map_err(|error| unavailable(&error))?;
            let keys: Vec<TransactionKey> = page.items.into_iter().map(|entry| entry.key).collect();
            let items = app.transactions.find_many(&keys).await.map_err(|error| unavailable(&error))?;
            (items, page.next.map(After::Rejected))
        } else {
            let after = after.and_then(|after| if let After::Listed(at) = after { Some(at) } else { None });
            let part = business_date.map_or(Wanted::All, Wanted::Day);
            let page = app.transactions.list(&call.scope, configuration, part, wanted, after).await;
            let page = page.map_err(|error| unavailable(&error))?;
            (page.items, page.next.map(After::Listed))
        };
        found.extend(items);
        if next.is_some() {
            let next = cursors.write(&Position { configuration, after: next })?;
            return answer(&found, Some(next));
        }
    }
    answer(&found, None)
}

/// What a person with a receipt asks for: the till's own order id.
async fn find_order(
    app: &App,
    call: &Call,
    configurations: &[ConfigurationId],
    order: &ExternalOrderId,
) -> Result<Vec<Stored>, Problem> {
    let mut keys = Vec::new();
    for configuration_id in configurations.iter().copied() {
        let copies = app.transactions.find_by_order(&call.scope, configuration_id, order).await;
        keys.extend(copies.map_err(|error| unavailable(&error))?.into_iter().map(|copy| TransactionKey {
            scope: call.scope.clone(),
            configuration_id,
            transaction_id: copy.transaction_id,
        }));
    }
    app.transactions.find_many(&keys).await.map_err(|error| unavailable(&error))
}

fn answer(found: &[Stored], next_cursor: Option<String>) -> Result<Answer, Problem> {
    let items = found.iter().map(TransactionView::new).collect();
    Answer::json(StatusCode::OK, &Page { items, next_cursor })
}
