//! What can be seen at this moment. The age of a queue's oldest message is none of it: SQS tells that to CloudWatch alone.

use std::collections::BTreeMap;

use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;
use shared::domain::{ConfigurationStatus, ProviderKind};
use shared::queue::depth::depth;
use shared::rest::unavailable;
use shared::store::StoreError;
use shared::store::budget::BreakerView;
use shared::store::sync_logs::SyncLogs;
use shared::store::transactions::Transactions;

use crate::App;
use crate::health::DEAD_LETTER_QUEUES;

/// Something that goes up and down.
#[derive(Debug, PartialEq, Eq)]
pub struct Gauge {
    /// As it is shown.
    pub name: &'static str,
    /// For people.
    pub help: &'static str,
    /// What its labels are called. What they say is a closed set, and never a tenant's.
    pub labels: &'static [&'static str],
}

/// All of them, in the order in which they are shown.
pub static GAUGES: &[&Gauge] = &[&SOURCES, &QUEUES, &DEAD, &OUTBOX, &SYNC, &CONFIGURATIONS, &BREAKERS];

static SOURCES: Gauge = Gauge {
    name: "pos_scrape_source_up",
    help: "Whether the scrape could ask; what it could not ask is left out",
    labels: &["source"],
};
static QUEUES: Gauge = Gauge {
    name: "pos_queue_messages",
    help: "Messages on a queue: to be taken, being worked on, or held back; approximately",
    labels: &["queue", "state"],
};
static DEAD: Gauge =
    Gauge { name: "pos_dead_letter_messages", help: "Messages that were given up", labels: &["queue"] };
static OUTBOX: Gauge = Gauge {
    name: "pos_outbox_overdue_seconds",
    help: "How long ago the transaction should have been sent again that waits longest for its acknowledgement",
    labels: &[],
};
static SYNC: Gauge = Gauge {
    name: "pos_sync_overdue_seconds",
    help: "How long ago somebody should have looked at the run that is most overdue",
    labels: &[],
};
static CONFIGURATIONS: Gauge = Gauge {
    name: "pos_configurations",
    help: "Connections by their status; those that are reauth_required have no token that the provider takes",
    labels: &["provider", "status"],
};
static BREAKERS: Gauge = Gauge {
    name: "pos_provider_breaker_open",
    help: "Whether a provider is left alone because it has failed too often",
    labels: &["provider", "environment"],
};

/// One value of a gauge.
pub struct Reading {
    pub(super) gauge: &'static Gauge,
    pub(super) values: Vec<&'static str>,
    pub(super) value: i64,
}

impl Reading {
    fn new(gauge: &'static Gauge, values: &[&'static str], value: i64) -> Self {
        debug_assert_eq!(gauge.labels.len(), values.len(), "{}", gauge.name);
        Self { gauge, values: values.to_vec(), value }
    }
}

/// Whether a source has answered.
pub(super) fn source(name: &'static str, is_up: bool) -> Reading {
    Reading::new(&SOURCES, &[name], i64::from(is_up))
}

/// Asks everybody at once.
pub(super) async fn look(app: &App) -> Vec<Reading> {
    let mut seen = Vec::new();
    let (queues, outbox, sync, configurations, breakers) =
        tokio::join!(queues(app), outbox(app), sync(app), configurations(app), breakers(app));
    let sources = [
        ("queues", queues),
        ("outbox", outbox),
        ("sync", sync),
        ("configurations", configurations),
        ("breakers", breakers),
    ];
    for (source, found) in sources {
        seen.push(self::source(source, found.is_some()));
        seen.extend(found.unwrap_or_default());
    }
    seen
}

/// Logs why there is nothing to be seen.
fn or_log<T, E: std::error::Error + 'static>(result: Result<T, E>) -> Option<T> {
    result.map_err(|error| unavailable(&error)).ok()
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

async fn queues(app: &App) -> Option<Vec<Reading>> {
    let all = &app.dependencies;
    let depths = all.queues.iter().map(async |(name, url)| depth(&all.sqs, url).await.map(|depth| (*name, depth)));
    let mut seen = Vec::new();
    for (name, depth) in or_log(try_join_all(depths).await)? {
        if DEAD_LETTER_QUEUES.iter().any(|(dead, _)| *dead == name) {
            let queue = name.strip_suffix("-dead-letters").unwrap_or(name);
            seen.push(Reading::new(&DEAD, &[queue], whole(depth.visible + depth.in_flight)));
        } else {
            let states = [("visible", depth.visible), ("in_flight", depth.in_flight), ("delayed", depth.delayed)];
            seen.extend(states.map(|(state, count)| Reading::new(&QUEUES, &[name, state], whole(count))));
        }
    }
    Some(seen)
}

async fn outbox(app: &App) -> Option<Vec<Reading>> {
    let due = join_all(Transactions::outbox_shards().map(|shard| app.transactions.find_first_due(shard))).await;
    overdue(&OUTBOX, due)
}

async fn sync(app: &App) -> Option<Vec<Reading>> {
    let due = join_all(SyncLogs::due_shards().map(|shard| app.sync_logs.find_first_due(shard))).await;
    overdue(&SYNC, due)
}

fn overdue(gauge: &'static Gauge, due: Vec<Result<Option<Timestamp>, StoreError>>) -> Option<Vec<Reading>> {
    let due: Vec<Option<Timestamp>> = or_log(due.into_iter().collect())?;
    let first = due.into_iter().flatten().min();
    let since = first.map_or(0, |first| Timestamp::now().duration_since(first).as_secs().max(0));
    Some(vec![Reading::new(gauge, &[], since)])
}

async fn configurations(app: &App) -> Option<Vec<Reading>> {
    let counts = ConfigurationStatus::ALL
        .map(async |status| app.configurations.count(status).await.map(|counts| (status, counts)));
    let mut seen = Vec::new();
    for (status, counts) in or_log(try_join_all(counts).await)? {
        let counts: BTreeMap<&str, u64> = counts;
        for provider in ProviderKind::ALL.map(ProviderKind::as_str) {
            let count = counts.get(provider).copied().unwrap_or_default();
            seen.push(Reading::new(&CONFIGURATIONS, &[provider, status.as_str()], whole(count)));
        }
    }
    Some(seen)
}

async fn breakers(app: &App) -> Option<Vec<Reading>> {
    let breakers = or_log(app.budgets.list_breakers().await)?.into_iter();
    let reading = |BreakerView { provider, environment, is_open }: BreakerView| {
        Reading::new(&BREAKERS, &[provider.as_str(), environment.as_str()], i64::from(is_open))
    };
    Some(breakers.map(reading).collect())
}
