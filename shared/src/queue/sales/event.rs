//! What the sales domain receives:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.
//!
//! Fields are added, never taken away or given another meaning; that would be a type of another version.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Serialize, Serializer};

use crate::domain::{
    AvailabilityVerdict, Certificate, ConfigurationId, DayState, Figures, LocationId, ProductId, ProviderKind,
    TenantId, TenantScope, Transaction, TransactionStatus,
};
use crate::store::days::{Day, DayKey, Said};
use crate::store::transactions::Stored;
use crate::telemetry::TraceParent;

/// A CloudEvent in JSON.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event<D> {
    /// `1.0`
    specversion: &'static str,
    /// A repeat has the same.
    id: String,
    /// `/pos/{provider}/{configuration}`
    source: String,
    /// What has happened.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub(super) event_type: EventType,
    /// To what.
    subject: String,
    /// When this message was made.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    time: Timestamp,
    /// `application/json`
    datacontenttype: &'static str,
    /// The JSON Schema of this event; the first ones did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    dataschema: Option<String>,
    /// Whose.
    pub(super) tenantid: TenantId,
    /// Counts what became of the subject, ten digits, sorts as text.
    sequence: String,
    /// W3C trace context.
    traceparent: String,
    data: D,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// A transaction is new or has changed.
    Recorded,
    /// A transaction was taken back before money moved.
    Voided,
    /// A shop's business day is complete.
    DayClosed,
    /// A day that was closed has changed.
    DayRestated,
    /// A connection and all that came through it is gone.
    Erased,
    /// A sold-out command has been carried out, or not.
    AvailabilityAnswered,
}

impl EventType {
    /// Every type.
    pub const ALL: [Self; 6] =
        [Self::Recorded, Self::Voided, Self::DayClosed, Self::DayRestated, Self::Erased, Self::AvailabilityAnswered];

    /// The word in the events, and in the message attribute `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "pos.transaction.recorded.v1",
            Self::Voided => "pos.transaction.voided.v1",
            Self::DayClosed => "pos.day.closed.v1",
            Self::DayRestated => "pos.day.restated.v1",
            Self::Erased => "pos.configuration.erased.v1",
            Self::AvailabilityAnswered => "pos.availability.answered.v1",
        }
    }

    /// The file below `schemas/` that describes it.
    pub const fn schema(self) -> &'static str {
        match self {
            Self::Recorded | Self::Voided => "pos.transaction.v1.json",
            Self::DayClosed | Self::DayRestated => "pos.day.v1.json",
            Self::Erased => "pos.configuration.erased.v1.json",
            Self::AvailabilityAnswered => "pos.availability.answered.v1.json",
        }
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What an event is about.
struct About<'e> {
    scope: &'e TenantScope,
    provider: ProviderKind,
    configuration_id: ConfigurationId,
    subject: String,
    sequence: u64,
}

impl<D> Event<D> {
    fn new(event_type: EventType, about: About<'_>, trace: &TraceParent, data: D) -> Self {
        let About { scope, provider, configuration_id, subject, sequence } = about;
        Self {
            specversion: "1.0",
            id: format!("{subject}:{sequence}"),
            source: format!("/pos/{provider}/{configuration_id}"),
            event_type,
            subject,
            time: Timestamp::now(),
            datacontenttype: "application/json",
            dataschema: Some(format!("https://pos-integration.dev/schemas/{}", event_type.schema())),
            tenantid: scope.tenant_id().clone(),
            sequence: format!("{sequence:010}"),
            traceparent: trace.to_string(),
            data,
        }
    }
}

/// One revision of a transaction in full. Its id is `transaction:revision`.
pub type TransactionEvent = Event<TransactionData>;

/// The state of one revision.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TransactionData {
    /// Counts from 1, without gaps. The highest is the truth.
    revision: u64,
    transaction: Transaction,
}

impl TransactionEvent {
    /// The event of what is stored.
    pub fn of(stored: &Stored, trace: &TraceParent) -> Self {
        let Stored { key, transaction, revision, .. } = stored;
        // Whoever has asked for it to be sent again is nearer than whoever sweeps.
        let asked = stored.resend_trace.as_ref().map(TraceParent::next_hop);
        let trace = asked.as_ref().unwrap_or(trace);
        let event_type = match transaction.status {
            TransactionStatus::Open | TransactionStatus::Completed => EventType::Recorded,
            TransactionStatus::Voided => EventType::Voided,
        };
        let about = About {
            scope: &key.scope,
            provider: transaction.provider,
            configuration_id: transaction.configuration_id,
            subject: transaction.id.to_string(),
            sequence: *revision,
        };
        Self::new(event_type, about, trace, TransactionData { revision: *revision, transaction: transaction.clone() })
    }
}

/// A connection is gone, with all that came through it. Its id is `configuration:1`, and it is the last event of it.
pub type ErasedEvent = Event<ConfigurationErased>;

/// What was erased.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConfigurationErased {
    /// Everything that named it may go.
    pub configuration_id: ConfigurationId,
    /// How many transactions we had of it.
    pub transactions: u64,
}

impl ErasedEvent {
    /// The event of a removal.
    pub fn of(scope: &TenantScope, provider: ProviderKind, erased: ConfigurationErased, trace: &TraceParent) -> Self {
        let configuration_id = erased.configuration_id;
        let about = About { scope, provider, configuration_id, subject: configuration_id.to_string(), sequence: 1 };
        Self::new(EventType::Erased, about, trace, erased)
    }
}

/// What has become of a sold-out command. Its id is `command:1`, and a repeat says the same, or that a newer command has
/// come in between. One with `until` is answered once more when that has come, as `command:2`.
pub type AvailabilityEvent = Event<AvailabilityAnswered>;

/// The answer to a command, shop by shop and item by item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AvailabilityAnswered {
    /// The `id` of the command.
    pub command_id: String,
    /// As in the command.
    pub configuration_id: ConfigurationId,
    /// As in the command.
    pub product_id: ProductId,
    /// What was tried, one for each item and shop; `reason` says why it was not all, or nothing.
    pub results: Vec<AvailabilityResult>,
    /// Why not: `not_enabled` (nobody has switched it on), `unsupported` (no such call at the provider), `paused`,
    /// `not_connected` (a person must connect again), `not_mapped` (no item is mapped to the product), `too_late`
    /// (`until` had passed before the command came).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The command.
    Given,
    /// That its `until` has come.
    Ended,
}

/// What became of one item in one shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AvailabilityResult {
    /// The shop.
    pub location_id: LocationId,
    /// The till's id of the item.
    pub item_id: String,
    /// What became of it.
    pub verdict: AvailabilityVerdict,
}

impl AvailabilityEvent {
    /// The answer to a command, or to the end of its `until`.
    pub fn of(
        scope: &TenantScope,
        provider: ProviderKind,
        (answered, phase): (AvailabilityAnswered, Phase),
        trace: &TraceParent,
    ) -> Self {
        let (subject, configuration_id) = (answered.command_id.clone(), answered.configuration_id);
        let sequence = match phase {
            Phase::Given => 1,
            Phase::Ended => 2,
        };
        let about = About { scope, provider, configuration_id, subject, sequence };
        Self::new(EventType::AvailabilityAnswered, about, trace, answered)
    }
}

/// A shop's business day: closed, or closed once and changed since. Its id is `configuration/location/date:revision`.
pub type DayEvent = Event<DayFigures>;

/// What a shop's business day came to.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DayFigures {
    /// Counts from 1, without gaps. The highest is the truth.
    revision: u64,
    /// Through which connection.
    configuration_id: ConfigurationId,
    /// The shop.
    location_id: LocationId,
    /// Its accounting day.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date")))]
    business_date: Date,
    /// How sure we are.
    state: DayState,
    /// What was asked to be so sure, when, and what was compared; the first ones did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Certificate>,
    #[serde(flatten)]
    figures: Figures,
}

impl DayEvent {
    /// The event of a revision. `None`: nothing has been said of the day yet.
    pub fn of_day(day: &Day, provider: ProviderKind, trace: &TraceParent) -> Option<Self> {
        let Said { figures, certificate, products, .. } = day.said.clone()?;
        let event_type = if day.revision == 1 { EventType::DayClosed } else { EventType::DayRestated };
        let DayKey { scope, configuration_id, location_id, date } = &day.key;
        let subject = format!("{configuration_id}/{location_id}/{date}");
        let about = About { scope, provider, configuration_id: *configuration_id, subject, sequence: day.revision };
        let data = DayFigures {
            revision: day.revision,
            configuration_id: *configuration_id,
            location_id: location_id.clone(),
            business_date: *date,
            state: certificate.state.clone(),
            certificate: Some(certificate),
            // With what has changed of each, if there was a revision before.
            figures: Figures { products: products.unwrap_or(figures.products), ..figures },
        };
        Some(Self::new(event_type, about, trace, data))
    }
}
