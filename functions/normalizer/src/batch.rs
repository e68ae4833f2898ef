//! Work on the messages of one batch.
//!
//! A burst of events for one sale mostly comes in one batch: the order is read once for all of them, and the
//! merchant's configuration is looked up once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::SqsMessage;
use jiff::{SignedDuration, Timestamp};
use shared::access::{Token, TokenError};
use shared::domain::{
    Code, Configuration, ConfigurationId, ConfigurationStatus, Environment, EventId, ExternalOrderId, ProviderKind,
    ReasonCode, StatusReason, TenantScope, Transaction, TransactionStatus,
};
use shared::pace::{BudgetKey, NotNow, Priority};
use shared::providers::{
    Access, Expectation, Notification, OrderRef, Origin, ProviderError, ProviderErrorKind, RawOrder, Subject,
    VerifiedDelivery,
};
use shared::queue::intake::{self, DeliveryMessage, IntakeMessage};
use shared::store::StoreError;
use shared::store::configurations::SealedConfiguration;
use shared::store::transactions::KnownCopy;
use shared::store::webhook_logs::{Caused, LogOwner, LogRow, OrderSource, Outcome};
use shared::telemetry::metrics::Way;
use shared::telemetry::{Line, TraceParent, metrics};

use crate::App;
use crate::put::Errand;
use crate::work::{Later, Stop, Work, attempt, not_sealed};

/// A copy that we began to read this long after a change shows the change: providers answer from replicas that lag by
/// seconds, and their clocks are not ours.
const SETTLE_MARGIN: SignedDuration = SignedDuration::from_secs(10);
/// After so many attempts an order is taken as it is, though a payment that was announced is not in it.
const PATIENCE: u32 = 4;

/// How long a message waits here for its turn at the provider, rather than on the queue.
const TURN: Duration = Duration::from_secs(1);
/// What the reading and the writing after it may take.
const ROOM: Duration = Duration::from_secs(6);

/// How often it is noted that a configuration's webhooks work.
pub(crate) const NOTE_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// What leads to a configuration: the account that a delivery names, or the configuration to whose URL it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Lead {
    Account(ProviderKind, Environment, String),
    Owner(TenantScope, ConfigurationId),
}

/// What one batch has found out so far.
pub struct Batch<'a> {
    pub(crate) app: &'a App,
    deadline: Instant,
    configurations: HashMap<Lead, Option<SealedConfiguration>>,
    orders: HashMap<(ConfigurationId, ExternalOrderId), (Vec<Transaction>, Vec<Caused>)>,
    noted: HashMap<ConfigurationId, Timestamp>,
}

impl<'a> Batch<'a> {
    /// A batch has found out nothing yet. `deadline`: when work on it is cut off.
    pub fn new(app: &'a App, deadline: Instant) -> Self {
        Self { app, deadline, configurations: HashMap::new(), orders: HashMap::new(), noted: HashMap::new() }
    }

    /// When work is cut off.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes one message to its end, or says that it must come again. One log line each.
    pub async fn work(&mut self, message: &SqsMessage) -> Result<(), Later> {
        let decoded = intake::decode(message).map_err(|error| {
            // Nobody but us writes to this queue. It comes again until the dead-letter queue keeps it.
            tracing::error!(message.id = message.message_id, error = %error, "a message of the intake queue is unreadable");
            Later::unexpected(Code::UnreadableMessage)
        })?;
        match decoded {
            IntakeMessage::Delivery(delivery) => self.take_delivery(delivery, message).await,
            // Rare, and deeper than the others: they need not have room for it.
            IntakeMessage::Replay(replay) => Box::pin(self.take_replay(&replay, message)).await,
            IntakeMessage::Job(job) => self.take_job(&job, message).await,
            IntakeMessage::Orders(page) => self.take_page(&page, message).await,
        }
    }

    async fn take_delivery(&mut self, delivered: DeliveryMessage, message: &SqsMessage) -> Result<(), Later> {
        let started = Instant::now();
        let DeliveryMessage { delivery, owner: proven_for, trace } = delivered;
        let mut line = Line::begin("delivery").traced(&trace);
        (line.provider, line.attempt) = (Some(delivery.provider().as_str()), Some(attempt(message)));
        line.message_id = message.message_id.clone();
        let parsed = self.app.connections.providers.get(delivery.provider()).parse_notification(&delivery);
        let mut owner = LogOwner::Unmatched(delivery.provider());
        let event_id = parsed.as_ref().map_or_else(|_| EventId::hash_of(delivery.body()), |n| n.event_id.clone());
        let mut work = Work::of(message, delivery.received_at());
        // What was given up and is sent again has been begun before, whatever its new message counts.
        if self.app.is_past(message) {
            work.attempt = work.attempt.max(2);
        }
        line.event_id = Some(event_id.to_string());
        let result = match &parsed {
            Ok(notification) => {
                let found = match lead(&delivery, proven_for, &notification.origin) {
                    Some(lead) => self.configuration(lead).await,
                    None => Ok(None),
                };
                match found.map_err(Stop::from) {
                    Ok(Some(found)) => {
                        owner = LogOwner::Configuration(found.scope.clone(), found.configuration.id);
                        line = line.of(found.scope.tenant_id(), found.configuration.id);
                        self.follow(&found, &owner, notification, &trace, &mut work).await
                    }
                    Ok(None) => Err(Stop::Final(Outcome::Ignored(Code::UnknownMerchant))),
                    Err(stop) => Err(stop),
                }
            }
            Err(error) => Err(error.clone().into()),
        };
        let outcome = match result {
            Ok(Ended::Repeat) => None,
            Ok(Ended::Done) => Some(Outcome::Done),
            Err(Stop::Final(outcome)) => Some(outcome),
            Err(Stop::Later(later)) => {
                line.ended("later", later.code.as_str()).end("a delivery must come again");
                return Err(later);
            }
        };
        if let Some(outcome) = &outcome {
            let recorded: Result<(), Later> = async {
                let bodies = &self.app.connections.bodies;
                let sealed = bodies.seal([&owner.key(), event_id.as_str()], delivery.body()).await;
                let row = LogRow {
                    owner: &owner,
                    event_id: &event_id,
                    event_type: parsed.as_ref().ok().map(|notification| notification.event_type.as_str()),
                    received_at: delivery.received_at(),
                    worked_for: started.elapsed(),
                    attempt: work.attempt,
                    secret_id: delivery.secret_id(),
                    sealed_body: &sealed.map_err(not_sealed)?,
                    body_bytes: delivery.body().len(),
                    outcome,
                    caused: &work.caused,
                    steps: &work.steps,
                };
                Ok(self.app.logs.record(&row).await?)
            }
            .await;
            if let Err(later) = recorded {
                line.ended("later", later.code.as_str()).end("a delivery must come again");
                return Err(later);
            }
        }
        let (outcome, code) = outcome.as_ref().map_or(("repeat", None), |outcome| {
            let (outcome, code) = outcome.words();
            (outcome.as_str(), code)
        });
        let code = code.map_or("", Code::as_str);
        metrics::delivery_ended(delivery.provider(), outcome, code);
        line.age_ms = Some(age_ms(delivery.received_at()));
        line.transaction_id = work.caused.first().map(|caused| caused.transaction.to_string());
        line.counts = vec![("transactions", u64::try_from(work.caused.len()).unwrap_or(u64::MAX))];
        line.ended(outcome, code).end("worked on a delivery");
        Ok(())
    }

    /// From a notification of a known merchant to stored and sent transactions.
    async fn follow(
        &mut self,
        found: &SealedConfiguration,
        owner: &LogOwner,
        notification: &Notification,
        trace: &TraceParent,
        work: &mut Work,
    ) -> Result<Ended, Stop> {
        let app = self.app;
        if app.logs.is_final(owner, &notification.event_id).await? {
            app.logs.count_repeat(owner, &notification.event_id).await?;
            return Ok(Ended::Repeat);
        }
        self.work_on(found, notification, trace, work).await
    }

    /// The same, whether it has been worked on before or not. A replay is a doorbell, too: the order is read again, and
    /// what the delivery has brought along counts only while nothing can be read.
    pub(crate) async fn work_on(
        &mut self,
        found: &SealedConfiguration,
        notification: &Notification,
        trace: &TraceParent,
        work: &mut Work,
    ) -> Result<Ended, Stop> {
        let app = self.app;
        if notification.subject == Subject::Revoked {
            return self.try_credentials(found).await;
        }
        let Subject::Order { id, location, changed_at, expects, pushed } = &notification.subject else {
            return Err(Stop::Final(Outcome::Ignored(Code::NoOrder)));
        };
        if !is_about(&notification.origin, &found.configuration) {
            return Err(Stop::Final(Outcome::Ignored(Code::OtherMerchant)));
        }
        let can_read = match found.configuration.status {
            ConfigurationStatus::Active | ConfigurationStatus::Degraded => true,
            ConfigurationStatus::Paused => return Err(Stop::Final(Outcome::Ignored(Code::Paused))),
            ConfigurationStatus::Deleting => return Err(Stop::Final(Outcome::Ignored(Code::Deleting))),
            ConfigurationStatus::ReauthRequired => false,
        };
        if !can_read && pushed.is_none() {
            return Err(must_connect());
        }
        work.steps.changed_at = *changed_at;
        if !work.is_replay {
            self.note_webhook(found).await?;
        }
        let order = (found.configuration.id, id.clone());
        // A second attempt looks for itself: the first may have ended between what it wrote and what follows from that.
        if work.attempt == 1
            && let Some((read, caused)) = self.orders.get(&order)
            && is_shown(expects, read)
        {
            work.has_caused(caused.clone(), OrderSource::Neighbour);
            return Ok(Ended::Done);
        }
        let (cause, attempt, changed_at) = (&notification.event_id, work.attempt, *changed_at);
        let way = if work.is_replay { Way::Replay } else { Way::Webhook };
        let errand = Errand { found, cause, attempt, trace, way, received_at: work.received_at, changed_at };
        let takes_pushed = !(work.is_replay && can_read);
        if let Some(body) = pushed
            && takes_pushed
        {
            work.steps.normalized_at = Some(Timestamp::now());
            if let Some(stored) = errand.put_pushed(app, body, location.as_ref()).await? {
                work.has_caused(stored, OrderSource::Pushed);
                return Ok(Ended::Done);
            }
        }
        if !can_read {
            return Err(must_connect());
        }
        let copies = app.transactions.find_by_order(&found.scope, found.configuration.id, id).await?;
        // An earlier attempt may have ended between the two transactions of an exchange, or before it sent.
        if work.attempt == 1 && !work.is_replay && is_settled(&copies, changed_at, expects) {
            let known = |copy: &KnownCopy| Caused { transaction: copy.transaction_id, revision: copy.revision };
            work.has_caused(copies.iter().map(known).collect(), OrderSource::Known);
            return Ok(Ended::Done);
        }
        // A receipt that Lightspeed mirrors does not say in which shop: it is looked for in all of them.
        let shops = match (location, &notification.origin) {
            (None, Origin::Url) => found.configuration.locations.iter().map(|shop| Some(shop.id.clone())).collect(),
            _ => vec![location.clone()],
        };
        let order_ref = |location| OrderRef { id: id.clone(), location, changed_at };
        let priority = if work.is_replay { Priority::Manual } else { Priority::Live };
        let raw = self.fetch(found, &shops.into_iter().map(order_ref).collect::<Vec<_>>(), priority).await?;
        work.steps.read_at = Some(raw.observed_at);
        let read =
            app.connections.providers.get(found.configuration.provider).normalize_order(&raw, &found.configuration)?;
        work.steps.normalized_at = Some(Timestamp::now());
        if !is_shown(expects, &read) && (work.attempt < PATIENCE || matches!(expects, Expectation::Version(_))) {
            return Err(Stop::Later(Later::unexpected(Code::ProviderLags)));
        }
        if read.is_empty() {
            return Err(Stop::Final(Outcome::Ignored(Code::Draft)));
        }
        let caused =
            errand.put(app, &raw, &read, Some(raw.observed_at), pushed.is_some() && takes_pushed).await?.caused;
        self.orders.insert(order, (read, caused.clone()));
        work.has_caused(caused, OrderSource::Read);
        Ok(Ended::Done)
    }

    /// Reads an order where it may be, with renewed credentials if the ones we have are refused. When those are refused
    /// too, a person must connect again.
    async fn fetch(
        &self,
        found: &SealedConfiguration,
        order: &[OrderRef],
        priority: Priority,
    ) -> Result<RawOrder, Stop> {
        let tokens = &self.app.tokens;
        let mut token = tokens.current(found).await?;
        let mut fetched = self.fetch_with(found, &token, order, priority).await?;
        if is_refused(&fetched, ProviderErrorKind::Unauthorized) {
            token = tokens.after_refusal(found, &token).await?;
            fetched = self.fetch_with(found, &token, order, priority).await?;
        }
        let reason = if is_refused(&fetched, ProviderErrorKind::Unauthorized) {
            Some(ReasonCode::CredentialsRefused)
        } else if is_refused(&fetched, ProviderErrorKind::Forbidden) {
            Some(ReasonCode::PermissionMissing)
        } else {
            None
        };
        if let (Err(error), Some(reason)) = (&fetched, reason) {
            tracing::error!(configuration.id = %found.configuration.id, tenant.id = %found.scope.tenant_id(), error = %error, "the provider refuses the credentials");
            tokens.state_refusal(found, &token, reason, &error.to_string()).await?;
        }
        Ok(fetched?)
    }

    /// One reading for each place, when it is its turn, until one has the order. What the provider says counts for all who
    /// ask with these credentials.
    async fn fetch_with(
        &self,
        found: &SealedConfiguration,
        token: &Token,
        order: &[OrderRef],
        priority: Priority,
    ) -> Result<Result<RawOrder, ProviderError>, NotNow> {
        let connections = &self.app.connections;
        let Configuration { provider, environment, .. } = found.configuration;
        let budget = BudgetKey::of(&found.configuration);
        let nowhere = ProviderErrorKind::NotFound;
        let mut fetched = Err(ProviderError { provider, operation: "fetch_order", kind: nowhere, source: None });
        for place in order {
            let time_left = self.deadline.saturating_duration_since(Instant::now());
            let patience = TURN.min(time_left.saturating_sub(ROOM));
            connections.pace.acquire_within(&budget, priority, patience).await?;
            let access = Access { environment, token: &token.access };
            fetched = connections.providers.get(provider).fetch_order(&access, place).await;
            connections.pace.note(&budget, &fetched).await;
            if !is_refused(&fetched, ProviderErrorKind::NotFound) {
                break;
            }
        }
        Ok(fetched)
    }

    /// The merchant is said to have withdrawn its consent. It may have given it again since, so the provider decides: what
    /// it does not renew is marked as refused.
    async fn try_credentials(&self, found: &SealedConfiguration) -> Result<Ended, Stop> {
        let tokens = &self.app.tokens;
        let renewed = match tokens.current(found).await {
            Ok(token) => tokens.after_refusal(found, &token).await.map(drop),
            Err(error) => Err(error),
        };
        match renewed {
            Ok(()) | Err(TokenError::ReauthRequired) => Ok(Ended::Done),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes about once a minute that the webhooks of a configuration work.
    async fn note_webhook(&mut self, found: &SealedConfiguration) -> Result<(), StoreError> {
        let (id, now) = (found.configuration.id, Timestamp::now());
        let last = self.noted.get(&id).copied().or(found.configuration.health.last_webhook_at);
        if last.is_none_or(|last| now.duration_since(last) >= NOTE_EVERY) {
            let heals = |reason: &StatusReason| {
                matches!(reason.code, ReasonCode::SignaturesFailing | ReasonCode::WebhooksSilent)
            };
            let wants_look = found.configuration.reasons.iter().any(heals);
            self.app.connections.configurations.note_webhook(&found.scope, id, now, wants_look).await?;
            self.noted.insert(id, now);
        }
        Ok(())
    }

    /// Looked up once per batch.
    pub(crate) async fn configuration(&mut self, lead: Lead) -> Result<Option<SealedConfiguration>, StoreError> {
        if let Some(found) = self.configurations.get(&lead) {
            return Ok(found.clone());
        }
        let configurations = &self.app.connections.configurations;
        let found = match &lead {
            Lead::Owner(scope, id) => configurations.load(scope, *id).await?,
            Lead::Account(provider, environment, account) => {
                configurations.find_by_account(*provider, *environment, account).await?
            }
        };
        self.configurations.insert(lead, found.clone());
        Ok(found)
    }
}

/// How long ago that was.
pub(crate) fn age_ms(at: Timestamp) -> i64 {
    i64::try_from(Timestamp::now().duration_since(at).as_millis()).unwrap_or(i64::MAX)
}

/// `None`: it came to the URL that all share, and does not say whose it is.
fn lead(
    delivery: &VerifiedDelivery<'_>,
    proven_for: Option<(TenantScope, ConfigurationId)>,
    origin: &Origin,
) -> Option<Lead> {
    match (proven_for, origin) {
        (Some((scope, id)), _) => Some(Lead::Owner(scope, id)),
        (None, Origin::Merchant(_) | Origin::Location(_)) => {
            Some(Lead::Account(delivery.provider(), delivery.environment(), origin.as_str().to_owned()))
        }
        (None, Origin::Url) => None,
    }
}

fn must_connect() -> Stop {
    let detail = "the configuration must be connected again".to_owned();
    Stop::Final(Outcome::Failed { code: Code::ReauthRequired, detail })
}

fn is_refused(fetched: &Result<RawOrder, ProviderError>, kind: ProviderErrorKind) -> bool {
    fetched.as_ref().is_err_and(|error| error.kind == kind)
}

/// Whether a delivery is about this configuration's own tills: a secret of one tenant proves nothing about another's.
fn is_about(origin: &Origin, configuration: &Configuration) -> bool {
    match origin {
        Origin::Merchant(id) => configuration.merchant.as_ref().is_some_and(|merchant| merchant.id == *id),
        Origin::Location(id) => configuration.location(id).is_some(),
        Origin::Url => true,
    }
}

/// How following a notification ended well.
pub(crate) enum Ended {
    /// What it announced is stored and sent.
    Done,
    /// It had been followed before.
    Repeat,
}

/// Whether what was read is at least as new as the event.
fn is_shown(expects: &Expectation, read: &[Transaction]) -> bool {
    match expects {
        Expectation::Any => true,
        Expectation::Version(version) => read.iter().all(|transaction| transaction.source_version >= *version),
        // A payment stands in the order from its authorization on. Once it is paid the order is closed, or waits for
        // the rest of a split bill.
        Expectation::Payment(id) => read.iter().any(|transaction| {
            let has_it = transaction.payments.iter().any(|payment| payment.id == *id);
            has_it && (transaction.status != TransactionStatus::Open || !transaction.is_paid())
        }),
    }
}

/// Whether the table's copies were read so long after the event's change that another reading would show nothing new.
fn is_settled(copies: &[KnownCopy], changed_at: Option<Timestamp>, expects: &Expectation) -> bool {
    let Some(changed_at) = changed_at.filter(|_| !copies.is_empty()) else { return false };
    copies.iter().all(|copy| {
        let is_reached = match expects {
            Expectation::Any | Expectation::Payment(_) => true,
            Expectation::Version(version) => copy.source_version >= *version,
        };
        // A pushed copy was read by nobody, and spares nobody a reading.
        let is_read = copy.observed_at.is_some_and(|at| at.duration_since(changed_at) >= SETTLE_MARGIN);
        is_reached && is_read
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::domain::SourceVersion;

    #[test]
    fn only_a_copy_read_well_after_the_change_spares_a_reading() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let transaction_id = "01938d5e-0000-8000-8000-000000000001".parse().unwrap();
        let copy = |observed_at: &str, version| KnownCopy {
            observed_at: Some(at(observed_at)),
            source_version: SourceVersion(version),
            transaction_id,
            revision: 1,
        };
        let changed = Some(at("2026-02-14T08:00:00Z"));
        let late = copy("2026-02-14T08:00:10Z", 3);
        let soon = copy("2026-02-14T08:00:09.999Z", 3);
        let pushed = KnownCopy { observed_at: None, ..late };
        for (copies, changed_at, expects, settled) in [
            (vec![late], changed, Expectation::Any, true),
            (vec![pushed], changed, Expectation::Version(SourceVersion(3)), false),
            (vec![soon], changed, Expectation::Any, false),
            (vec![late, soon], changed, Expectation::Any, false),
            (vec![], changed, Expectation::Any, false),
            (vec![late], None, Expectation::Any, false),
            (vec![late], changed, Expectation::Version(SourceVersion(3)), true),
            (vec![late], changed, Expectation::Version(SourceVersion(4)), false),
        ] {
            assert_eq!(is_settled(&copies, changed_at, &expects), settled, "{copies:?} {expects:?}");
        }
    }
}
