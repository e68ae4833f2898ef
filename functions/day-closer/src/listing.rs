//! What the provider has of a day, by a list of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use shared::app::Answer;
use shared::domain::{Code, Configuration, Location, Transaction, TransactionId};
use shared::pace::{BudgetKey, Priority};
use shared::providers::{Access, DayQuery, OrderRef, PosProvider, ProviderError, ProviderErrorKind};
use shared::store::configurations::SealedConfiguration;
use shared::store::days::DayKey;

use crate::{App, CloserError};

/// How long a look waits for its turn at the provider.
const PATIENCE: Duration = Duration::from_secs(5);
/// A cursor that expires so often will do so for ever.
const MOST_RESTARTS: u32 = 3;
/// More pages than a shop can fill in a day.
const MOST_PAGES: u32 = 1_000;

/// Why a provider's list of a day was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Not now; the same again later.
    Later(Duration),
    /// It cannot be read, and why.
    Because(Code),
}

/// What the provider has of a day.
#[derive(Debug, Default)]
pub struct Theirs {
    /// Its transactions, each in its newest copy. Of this day and shop only.
    pub copies: BTreeMap<TransactionId, Transaction>,
    /// Whether it has everything of that day by now.
    pub is_final: bool,
    /// Whether it looks as if not all were shown.
    pub is_capped: bool,
}

/// A look at one day of a shop.
pub struct Look<'a> {
    pub app: &'a App,
    pub found: &'a SealedConfiguration,
    pub shop: &'a Location,
    pub day: &'a DayKey,
    /// When it must be over.
    pub deadline: Instant,
}

impl Look<'_> {
    /// What the provider has.
    pub async fn theirs(&self) -> Result<Result<Theirs, Unread>, CloserError> {
        let until = Timestamp::now();
        let (location, payments) = (self.shop.clone(), BTreeSet::new());
        let first = DayQuery { location, date: self.day.date, until, payments, cursor: None };
        let (mut query, mut restarts, mut pages) = (first.clone(), 0, 0);
        let mut theirs = Theirs { is_final: true, ..Theirs::default() };
        loop {
            let asked = self.ask(async |provider, access| provider.list_day(&access, &query).await).await?;
            let page = match asked {
                Ok(page) => page,
                Err(Failure::Unread(unread)) => return Ok(Err(unread)),
                Err(Failure::Provider(ProviderErrorKind::CursorExpired)) if restarts < MOST_RESTARTS => {
                    restarts += 1;
                    query = first.clone();
                    continue;
                }
                Err(Failure::Provider(kind)) => return Ok(Err(Unread::Because(kind.code()))),
            };
            pages += 1;
            theirs.is_final &= page.is_final;
            theirs.is_capped |= page.is_capped;
            for order in &page.orders {
                match self.provider().normalize_order(order, self.configuration()) {
                    Ok(copies) => {
                        let payments = copies.iter().flat_map(|copy| &copy.payments);
                        query.payments.extend(payments.map(|payment| payment.id.clone()));
                        copies.into_iter().for_each(|copy| self.keep_newer(&mut theirs.copies, copy));
                    }
                    Err(error) => {
                        tracing::warn!(configuration.id = %self.day.configuration_id, error = %error, "an order of a day cannot be read");
                        return Ok(Err(Unread::Because(error.problem.code())));
                    }
                }
            }
            self.charge(page.requests).await;
            match page.next {
                None => return Ok(Ok(theirs)),
                Some(next) if query.cursor.as_ref() == Some(&next) => {
                    return Ok(Err(Unread::Because(Code::CursorLoop)));
                }
                Some(_) if pages >= MOST_PAGES => return Ok(Err(Unread::Because(Code::PageCap))),
                Some(_) if Instant::now() >= self.deadline => return Ok(Err(Unread::Later(Duration::ZERO))),
                next => query.cursor = next,
            }
        }
    }

    /// What the provider has of one transaction, when it is asked for nothing else. `None`: it does not have it.
    pub async fn read_again(&self, ours: &Transaction) -> Result<Result<Option<Transaction>, Unread>, CloserError> {
        // A refund that is part of another order is called by its payment, and read with that order.
        for id in [Some(&ours.external_order_id), ours.original_order_id.as_ref()].into_iter().flatten() {
            let order = OrderRef {
                id: id.clone(),
                location: Some(ours.location_id.clone()),
                changed_at: Some(ours.occurred_at),
            };
            let asked = self.ask(async |provider, access| provider.fetch_order(&access, &order).await).await?;
            let order = match asked {
                Ok(order) => order,
                Err(Failure::Unread(unread)) => return Ok(Err(unread)),
                Err(Failure::Provider(ProviderErrorKind::NotFound)) => continue,
                Err(Failure::Provider(kind)) => return Ok(Err(Unread::Because(kind.code()))),
            };
            let copies = match self.provider().normalize_order(&order, self.configuration()) {
                Ok(copies) => copies,
                Err(error) => return Ok(Err(Unread::Because(error.problem.code()))),
            };
            if let Some(copy) = copies.into_iter().find(|copy| copy.id == ours.id) {
                return Ok(Ok(Some(copy)));
            }
        }
        Ok(Ok(None))
    }

    fn keep_newer(&self, copies: &mut BTreeMap<TransactionId, Transaction>, copy: Transaction) {
        if copy.business_date != self.day.date || copy.location_id != self.day.location_id {
            return;
        }
        match copies.get(&copy.id) {
            Some(known) if known.source_version >= copy.source_version => {}
            _ => drop(copies.insert(copy.id, copy)),
        }
    }

    fn configuration(&self) -> &Configuration {
        &self.found.configuration
    }

    pub fn provider(&self) -> &dyn PosProvider {
        self.app.connections.providers.get(self.configuration().provider)
    }

    async fn ask<T>(
        &self,
        call: impl AsyncFn(&dyn PosProvider, Access<'_>) -> Result<T, ProviderError>,
    ) -> Result<Result<T, Failure>, CloserError> {
        let (connections, turn) = (&self.app.connections, (Priority::Backfill, PATIENCE));
        let call = async |access: Access<'_>| call(self.provider(), access).await;
        let asked = connections.ask(&self.app.tokens, self.found, turn, call).await?;
        Ok(match asked.answer {
            Ok(Answer::Given(given)) => Ok(given),
            Ok(Answer::Later(wait)) => Err(Failure::Unread(Unread::Later(wait))),
            Ok(Answer::Failed(kind)) => Err(Failure::Provider(kind)),
            Err(Code::ReauthRequired) => Err(Failure::Unread(Unread::Because(Code::CredentialsRefused))),
            Err(code) => Err(Failure::Unread(Unread::Because(code))),
        })
    }

    /// Some pages take more than one request: the budget pays for those afterwards.
    async fn charge(&self, requests: u32) {
        let budget = BudgetKey::of(self.configuration());
        for _ in 1..requests {
            if self.app.connections.pace.acquire_within(&budget, Priority::Backfill, PATIENCE).await.is_err() {
                break;
            }
        }
    }
}

/// Why a question was not answered.
enum Failure {
    Unread(Unread),
    Provider(ProviderErrorKind),
}
