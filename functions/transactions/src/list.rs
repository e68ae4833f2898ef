//! A tenant's transactions, connection by connection, newest first in each.

use http::StatusCode;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use shared::domain::{ConfigurationId, ExternalOrderId, TransactionId};
use shared::problem::{FieldError, Problem};
use shared::rest::{Answer, Call, Cursors, Role, unavailable};
use shared::store::transactions::{Stored, TransactionKey};

use crate::view::{Page, TransactionView};
use crate::{App, configurations};

const DEFAULT_PAGE: i32 = 50;

struct Filter {
    configuration_id: Option<ConfigurationId>,
    business_date: Option<Date>,
    order_id: Option<ExternalOrderId>,
    limit: i32,
    cursor: Option<String>,
}

/// After which transaction the next page starts.
#[derive(Serialize, Deserialize)]
struct Position {
    configuration: ConfigurationId,
    after: Option<TransactionId>,
}

/// One page.
pub async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    call.require(Role::Read)?;
    let filter = filter(call)?;
    let mut open = configurations(app, &call.scope).await?;
    open.retain(|id| filter.configuration_id.is_none_or(|wanted| wanted == *id));
    if filter.configuration_id.is_some() && open.is_empty() {
        return Err(Problem::not_found("configuration"));
    }
    if let Some(order) = &filter.order_id {
        let found = find_order(app, call, &open, order).await?;
        return answer(&found, None);
    }

    let key = app.cursor_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, format!("{:?} {:?}", filter.configuration_id, filter.business_date));
    let position = filter.cursor.as_deref().map(|cursor| cursors.read::<Position>(cursor)).transpose();
    let mut position = position.map_err(|error| Problem::invalid_fields(vec![error]))?;
    if let Some(position) = &position {
        open.retain(|id| *id >= position.configuration);
    }
    let mut found: Vec<Stored> = Vec::new();
    for configuration in open {
        let wanted = filter.limit - i32::try_from(found.len()).unwrap_or(filter.limit);
        if wanted == 0 {
            let next = cursors.write(&Position { configuration, after: None })?;
            return answer(&found, Some(next));
        }
        let after = position.take().filter(|at| at.configuration == configuration).and_then(|at| at.after);
        let page = app.transactions.list(&call.scope, configuration, filter.business_date, wanted, after).await;
        let page = page.map_err(|error| unavailable(&error))?;
        found.extend(page.items);
        if page.next.is_some() {
            let next = cursors.write(&Position { configuration, after: page.next })?;
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

/// Every wrong parameter at once.
fn filter(call: &Call) -> Result<Filter, Problem> {
    let mut errors = Vec::new();
    fn keep<T>(value: Result<Option<T>, FieldError>, errors: &mut Vec<FieldError>) -> Option<T> {
        value.unwrap_or_else(|error| {
            errors.push(error);
            None
        })
    }
    let filter = Filter {
        configuration_id: keep(call.query("configuration_id", "a UUID"), &mut errors),
        business_date: keep(call.query("business_date", "a date, YYYY-MM-DD"), &mut errors),
        order_id: keep(call.query("order_id", "the till's id of an order"), &mut errors),
        limit: keep(call.limit(DEFAULT_PAGE).map(Some), &mut errors).unwrap_or(DEFAULT_PAGE),
        cursor: keep(call.query("cursor", "a cursor"), &mut errors),
    };
    if errors.is_empty() { Ok(filter) } else { Err(Problem::invalid_fields(errors)) }
}
