//! A tenant's transactions, connection by connection, newest first in each: pages for people, and tables for programs.
//!
//! A page is full, or as long as an answer can be, or what there is among so many entries: then it is short, or empty,
//! and yet there is a next one.

use http::header::ACCEPT;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::{DeserializeOwned, IntoDeserializer, value};
use serde::{Deserialize, Serialize};
use shared::domain::{ConfigurationId, ExternalOrderId, LocationId, ProviderKind};
use shared::problem::Problem;
use shared::rest::{Answer, Call, Cursors, Parameters, unavailable};
use shared::store::transactions::{Position, Search, Stored, TransactionKey};

use crate::export::{Form, Sheet};
use crate::{App, asked_configurations};

pub(crate) const DEFAULT_PAGE: i32 = 50;
/// The longest page: what a table takes as long as nothing else is said.
pub(crate) const MAX_PAGE: i32 = 1000;
/// Entries that a page looks at for each transaction that it may have: what it costs has an end.
const EXAMINED: usize = 4;
/// So many at least.
const LEAST_EXAMINED: usize = 1000;
/// Of those, so many at first: mostly that is enough.
const FIRST_EXAMINED: usize = 100;
/// What a connection without anything counts as: a tenant may have many.
const EMPTY: usize = 25;

/// After which transaction the next page starts.
#[derive(Serialize, Deserialize)]
struct Place {
    configuration: ConfigurationId,
    after: Option<Position>,
}

/// What is asked for.
#[derive(Debug)]
struct Asked {
    configuration_id: Option<ConfigurationId>,
    provider: Option<ProviderKind>,
    order_id: Option<ExternalOrderId>,
    search: Search,
}

/// A word of ours, as JSON has it.
struct Word<T>(T);

impl<T: DeserializeOwned> std::str::FromStr for Word<T> {
    type Err = value::Error;
    fn from_str(word: &str) -> Result<Self, value::Error> {
        T::deserialize(word.into_deserializer()).map(Self)
    }
}

fn word<T: DeserializeOwned>(parameters: &mut Parameters, name: &str, expected: &str) -> Option<T> {
    parameters.get::<Word<T>>(name, expected).map(|Word(word)| word)
}

impl Asked {
    /// Filters that contradict each other are refused: nothing can be both.
    fn read(parameters: &mut Parameters) -> Self {
        const DATE: &str = "a date, YYYY-MM-DD";
        const TIME: &str = "a time, RFC 3339";
        let configuration_id = parameters.get("configuration_id", "a UUID");
        let provider = parameters.get("provider", "`square`, `toast` or `lightspeed`");
        let order_id = parameters.get("order_id", "the till's id of an order");
        let business_date = parameters.get::<Date>("business_date", DATE);
        let (from_date, to_date) = (parameters.get("from_date", DATE), parameters.get("to_date", DATE));
        let search = Search {
            location_id: parameters.get::<LocationId>("location_id", "the till's id of a shop"),
            from_date: business_date.or(from_date),
            to_date: business_date.or(to_date),
            from: parameters.get::<Timestamp>("from", TIME),
            to: parameters.get::<Timestamp>("to", TIME),
            kind: word(parameters, "kind", "`sale` or `refund`"),
            status: word(parameters, "status", "`open`, `completed` or `voided`"),
            sales: word(parameters, "sales", "`waiting`, `overdue`, `accepted`, `rejected` or `sent`"),
            is_flagged: parameters.get::<bool>("flagged", "`true` or `false`"),
        };
        if business_date.is_some() && (from_date.is_some() || to_date.is_some()) {
            parameters.refuse("business_date", "goes without `from_date` and `to_date`");
        }
        if search.from_date.zip(search.to_date).is_some_and(|(from, to)| from > to) {
            parameters.refuse("to_date", "must not be before `from_date`");
        }
        if search.from.zip(search.to).is_some_and(|(from, to)| from > to) {
            parameters.refuse("to", "must not be before `from`");
        }
        if order_id.is_some() && search != Search::default() {
            parameters.refuse("order_id", "goes with `configuration_id` and `provider` only");
        }
        Self { configuration_id, provider, order_id, search }
    }
}

/// One page.
pub async fn list(app: &App, call: &Call) -> Result<Answer, Problem> {
    let form = Form::of(call.header(ACCEPT));
    let mut parameters = call.parameters();
    let asked = Asked::read(&mut parameters);
    let limit = parameters.limit_to(if form == Form::Page { DEFAULT_PAGE } else { MAX_PAGE }, MAX_PAGE);
    let limit = usize::try_from(limit).unwrap_or(0);
    let key = app.cursor_key.get().await.map_err(|error| unavailable(&error))?;
    let cursors = Cursors::new(key, &call.scope, format!("transactions {asked:?}"));
    let mut position = parameters.cursor::<Place>(&cursors);
    parameters.finish()?;

    let mut open = asked_configurations(app, call, asked.configuration_id, asked.provider).await?;
    let mut sheet = Sheet::new(form, position.is_none())?;
    if let Some(order) = &asked.order_id {
        for stored in find_order(app, call, &open, order).await? {
            sheet.add(&stored)?;
        }
        return sheet.answer(call, None);
    }
    if let Some(position) = &position {
        open.retain(|id| *id >= position.configuration);
    }
    let mut left = LEAST_EXAMINED.max(EXAMINED * limit);
    for configuration in open {
        let mut after = position.take().filter(|at| at.configuration == configuration).and_then(|at| at.after);
        let mut step = FIRST_EXAMINED.max(limit);
        loop {
            let wanted = limit - sheet.rows();
            if wanted == 0 || left == 0 {
                return sheet.answer(call, Some(cursors.write(&Place { configuration, after })?));
            }
            // A sheet may be full long before its last row: what it has no room for would be read for nothing.
            let bounds = (wanted.min(FIRST_EXAMINED), step.min(left));
            let page = app.transactions.search(&call.scope, configuration, &asked.search, bounds, after.clone()).await;
            let page = page.map_err(|error| unavailable(&error))?;
            (left, step) = (left.saturating_sub(page.examined.max(EMPTY)), left);
            for (place, stored) in page.found {
                if sheet.rows() == limit || !sheet.add(&stored)? {
                    return sheet.answer(call, Some(cursors.write(&Place { configuration, after })?));
                }
                after = Some(place);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    sheet.answer(call, None)
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
