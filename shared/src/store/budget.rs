//! Request budgets, in the coordination table: an item for each credential, and one for each provider's breaker.
//!
//! Every credential is a partition of its own, so a busy one takes nothing from the others. What the numbers mean is
//! [`pace`](crate::pace)'s business; here they are compared and moved, in one conditional write each.

use std::fmt;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;

use super::StoreError;
use super::item::{Attributes, Item, batch_get, is_made, number, refused_with, text};
use crate::aws::AwsError;
use crate::domain::{Configuration, ConfigurationId, Environment, ProviderKind};

const TABLE: &str = "coordination";
/// How long an item is kept that nobody moves any more: longer than anything in it lies ahead.
const KEPT_FOR: Micros = 24 * 3600 * 1_000_000;

/// Whether a provider is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerView {
    /// Who.
    pub provider: ProviderKind,
    /// In which of its worlds.
    pub environment: Environment,
    /// Whether nobody asks it for now.
    pub is_open: bool,
}

/// Microseconds since 1970.
pub type Micros = i64;

/// Whose budget: one credential at one provider. A configuration has one set of credentials at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BudgetKey {
    /// Who is asked.
    pub provider: ProviderKind,
    /// In which of its worlds.
    pub environment: Environment,
    /// With whose credentials.
    pub configuration: ConfigurationId,
}

impl BudgetKey {
    /// The budget of this configuration's credentials.
    pub fn of(configuration: &Configuration) -> Self {
        let Configuration { id, provider, environment, .. } = *configuration;
        Self { provider, environment, configuration: id }
    }
}

impl fmt::Display for BudgetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pace#{}#{}#{}", self.provider, self.environment.as_str(), self.configuration)
    }
}

/// A series of slots that are handed out one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Everybody's.
    Shared,
    /// Of the syncs that follow the clock.
    Incremental,
    /// Of the syncs that read the past.
    Backfill,
    /// Of the syncs that a person asked for.
    Manual,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Shared, Self::Incremental, Self::Backfill, Self::Manual];

    /// Where its next free slot stands.
    fn attribute(self) -> &'static str {
        match self {
            Self::Shared => "tat",
            Self::Incremental => "tat_incremental",
            Self::Backfill => "tat_backfill",
            Self::Manual => "tat_manual",
        }
    }
}

/// Slots to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Take {
    /// From where.
    pub lane: Lane,
    /// The time.
    pub now: Micros,
    /// The first slot if the lane is idle.
    pub start: Micros,
    /// The latest first slot that may be had.
    pub latest: Micros,
    /// What all slots take together.
    pub cost: Micros,
    /// Whether the lane is believed to be busy beyond `start`. DynamoDB has no `max()`, so there are two conditions.
    pub is_busy: bool,
}

/// What stands in a budget.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The next free slot of each lane, as in [`Lane::ALL`].
    pub next: [Option<Micros>; 4],
    /// Until when the provider wants no request.
    pub blocked_until: Option<Micros>,
}

impl Standing {
    /// The next free slot of a lane.
    pub fn next(&self, lane: Lane) -> Option<Micros> {
        Lane::ALL.iter().zip(self.next).find(|(of, _)| **of == lane).and_then(|(_, next)| next)
    }

    /// Takes in what is known of another time: times only move forward.
    pub fn advance(&mut self, other: &Self) {
        for (mine, theirs) in self.next.iter_mut().zip(other.next) {
            *mine = (*mine).max(theirs);
        }
        self.blocked_until = self.blocked_until.max(other.blocked_until);
    }

    /// Takes in what was taken.
    pub fn advance_lane(&mut self, lane: Lane, next: Micros) {
        for (_, mine) in Lane::ALL.iter().zip(&mut self.next).filter(|(of, _)| **of == lane) {
            *mine = (*mine).max(Some(next));
        }
    }
}

/// An open breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// From then on one request may try.
    pub until: Micros,
    /// How many tries have failed.
    pub failed_probes: u32,
}

/// The budgets in the table.
#[derive(Clone)]
pub struct Budgets {
    client: Client,
    table: String,
}

impl Budgets {
    /// `table`: the coordination table's name.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Takes slots and says which is the first; or what stands against it, in which case nothing is changed.
    pub async fn take(&self, key: &BudgetKey, take: &Take) -> Result<Result<Micros, Standing>, StoreError> {
        const OPERATION: &str = "take from a request budget";
        let lane = take.lane.attribute();
        let (update, condition) = if take.is_busy {
            (format!("SET {lane} = {lane} + :cost"), format!("{lane} > :start AND {lane} <= :latest"))
        } else {
            (format!("SET {lane} = :next"), format!("(attribute_not_exists({lane}) OR {lane} <= :start)"))
        };
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("key", text(key))
            .update_expression(format!("{update}, expires_at = :expires"))
            .condition_expression(format!(
                "{condition} AND (attribute_not_exists(blocked_until) OR blocked_until <= :now)"
            ))
            .expression_attribute_values(":start", number(take.start))
            .expression_attribute_values(":now", number(take.now))
            .expression_attribute_values(":expires", expires_at(take.now));
        let request = if take.is_busy {
            request
                .expression_attribute_values(":latest", number(take.latest))
                .expression_attribute_values(":cost", number(take.cost))
        } else {
            request.expression_attribute_values(":next", number(take.start.saturating_add(take.cost)))
        };
        let result = request
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match refused_with(result, OPERATION)? {
            Ok(taken) => {
                let item = taken.attributes.unwrap_or_default();
                let next: Micros = Attributes { table: TABLE, item: &item }.number(lane)?;
                Ok(Ok(next.saturating_sub(take.cost)))
            }
            Err(item) => {
                let item = Attributes { table: TABLE, item: &item };
                let mut standing = Standing { blocked_until: item.optional_number("blocked_until")?, next: [None; 4] };
                for (lane, next) in Lane::ALL.iter().zip(&mut standing.next) {
                    *next = item.optional_number(lane.attribute())?;
                }
                Ok(Err(standing))
            }
        }
    }

    /// Lets nobody take anything until then. An earlier end of an earlier wish gives way.
    pub async fn block(&self, key: &BudgetKey, until: Micros) -> Result<(), StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("key", text(key))
            .update_expression("SET blocked_until = :until, expires_at = :expires")
            .condition_expression("attribute_not_exists(blocked_until) OR blocked_until < :until")
            .expression_attribute_values(":until", number(until))
            .expression_attribute_values(":expires", expires_at(until))
            .send()
            .await;
        is_made(result, "block a request budget").map(drop)
    }

    /// Whether a provider's breaker is open. A reading that lags by a second is good enough.
    pub async fn find_opening(
        &self,
        provider: ProviderKind,
        environment: Environment,
    ) -> Result<Option<Opening>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("key", text(breaker_key(provider, environment)))
            .send()
            .await
            .map_err(|error| AwsError::new("read a breaker", error))?;
        read_opening(&answer.item.unwrap_or_default())
    }

    /// Every breaker as it is at this moment: one read for all.
    pub async fn list_breakers(&self) -> Result<Vec<BreakerView>, StoreError> {
        let now = Timestamp::now().as_microsecond();
        let worlds = [Environment::Production, Environment::Sandbox];
        let all = ProviderKind::ALL.into_iter().flat_map(|provider| worlds.map(|world| (provider, world)));
        let all: Vec<_> = all.map(|(provider, world)| (provider, world, text(breaker_key(provider, world)))).collect();
        let keys = all.iter().map(|(_, _, key)| Item::from([("key".into(), key.clone())])).collect();
        let items = batch_get(&self.client, &self.table, keys, false, "read breakers").await?;
        let mut breakers = Vec::with_capacity(all.len());
        for (provider, environment, key) in all {
            let found = items.iter().find(|item| item.get("key") == Some(&key));
            let opening = found.map(read_opening).transpose()?.flatten();
            let is_open = opening.is_some_and(|opening| now < opening.until);
            breakers.push(BreakerView { provider, environment, is_open });
        }
        Ok(breakers)
    }

    /// Opens a breaker, unless it is open for longer already: for any other reason than this claim.
    pub async fn open(
        &self,
        provider: ProviderKind,
        environment: Environment,
        (opening, claim): (Opening, Option<Micros>),
    ) -> Result<(), StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("key", text(breaker_key(provider, environment)))
            .update_expression("SET open_until = :until, failed_probes = :failed, expires_at = :expires")
            .condition_expression("attribute_not_exists(open_until) OR open_until < :until OR open_until = :claim")
            .expression_attribute_values(":claim", number(claim.unwrap_or_default()))
            .expression_attribute_values(":until", number(opening.until))
            .expression_attribute_values(":failed", number(opening.failed_probes))
            .expression_attribute_values(":expires", expires_at(opening.until))
            .send()
            .await;
        is_made(result, "open a breaker").map(drop)
    }

    /// Takes the right to try, for one: it stays open for the others until `until`. `Err`: somebody else has moved it, to
    /// that.
    pub async fn claim_probe(
        &self,
        provider: ProviderKind,
        environment: Environment,
        (seen, until): (Micros, Micros),
    ) -> Result<Result<(), Option<Opening>>, StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("key", text(breaker_key(provider, environment)))
            .update_expression("SET open_until = :until, expires_at = :expires")
            .condition_expression("open_until = :seen")
            .expression_attribute_values(":seen", number(seen))
            .expression_attribute_values(":until", number(until))
            .expression_attribute_values(":expires", expires_at(until))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match refused_with(result, "try an open breaker")? {
            Ok(_) => Ok(Ok(())),
            Err(item) => Ok(Err(read_opening(&item)?)),
        }
    }

    /// Closes a breaker, if it is still the one that was tried.
    pub async fn close(
        &self,
        provider: ProviderKind,
        environment: Environment,
        claimed: Micros,
    ) -> Result<(), StoreError> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("key", text(breaker_key(provider, environment)))
            .update_expression("REMOVE open_until, failed_probes")
            .condition_expression("open_until = :claimed")
            .expression_attribute_values(":claimed", number(claimed))
            .send()
            .await;
        is_made(result, "close a breaker").map(drop)
    }
}

fn breaker_key(provider: ProviderKind, environment: Environment) -> String {
    format!("pace#{provider}#{}#breaker", environment.as_str())
}

/// The TTL attribute, in seconds.
fn expires_at(from: Micros) -> aws_sdk_dynamodb::types::AttributeValue {
    number(from.saturating_add(KEPT_FOR) / 1_000_000)
}

fn read_opening(item: &Item) -> Result<Option<Opening>, StoreError> {
    let item = Attributes { table: TABLE, item };
    let Some(until) = item.optional_number("open_until")? else { return Ok(None) };
    Ok(Some(Opening { until, failed_probes: item.optional_number("failed_probes")?.unwrap_or_default() }))
}
